"""`Telling`: who is told of a run: the callbacks of `fit`, `evaluate` and `predict`, and the bar."""

from collections.abc import Callable, Mapping
from typing import Any

from torchkeras_fn.callbacks.base import CallbackList
from torchkeras_fn.callbacks.history import History
from torchkeras_fn.callbacks.progress import ProgbarLogger, Progress
from torchkeras_fn.callbacks.validation_data import ValidationData
from torchkeras_fn.engine.basics import threads
from torchkeras_fn.engine.basics.logs import Logs
from torchkeras_fn.engine.batches.groups import Listener, samples_of, steps_of
from torchkeras_fn.engine.batches.loading import Epochs
from torchkeras_fn.engine.data import Batch
from torchkeras_fn.engine.trainer_parts.across_processes import AcrossProcesses


class Telling(AcrossProcesses):
    """The part of a `Trainer` that gathers its listeners, and says what each is told."""

    history: Any = None

    def _names_are_known(self) -> bool:
        """Whether no figure will come up that `metrics_names` does not name before the first batch."""
        return False

    def _listeners(
        self, callbacks: Any, train: Epochs, validation: Epochs | None, epochs: int, progress: Progress, size: int
    ) -> tuple[CallbackList, History]:
        names = self._compiled("fit").metrics_names
        if validation is not None:
            names = names + [f"val_{name}" for name in names]
        history = History()
        self.__dict__["history"] = history  # past the `__setattr__` of modules, which is slow
        params = {"epochs": epochs, "batch_size": size, "metrics": names, "metrics_are_all": self._names_are_known()}
        listeners = self._told([callbacks, history], train, progress, {**params, "do_validation": validation is not None})
        arrays = getattr(validation.source, "arrays", None) if validation is not None else None
        listeners.set_validation_data(None if arrays is None else ValidationData(arrays))
        return listeners, history

    def _told(self, callbacks: Any, batches: Epochs, progress: Progress, params: Mapping[str, Any]) -> CallbackList:
        """The callbacks, with the model and the parameters. A `ProgbarLogger` among them shows the progress instead of the model."""
        steps = length_of(batches)
        counted = {"epochs": 1, "steps": steps, "samples": batches.samples or steps, "verbose": progress.verbose}
        listeners = CallbackList(callbacks) if hasattr(batches.source, "arrays") else _OfChangingLength(batches, callbacks)
        listeners.set_model(self)
        listeners.set_params({**counted, **params})
        for callback in listeners.callbacks:
            if isinstance(callback, ProgbarLogger):
                progress.verbose = 0
        return listeners

    def _progress(self, verbose: Any) -> Progress:
        """Return what shows how far a run is; of several processes the first alone shows it."""
        progress = Progress(verbose)
        return progress if self.is_first_process else Progress(0)

    def _hooks(self, listeners: CallbackList, stage: str, progress: Progress | None = None) -> tuple[list[Listener], list[Listener]]:
        """The listeners of each batch: only those that somebody overrode, and the bar."""
        before, after = [], []
        for listener in listeners.listeners(f"on_{stage}_batch_begin"):
            before.append(self._telling(listener, False))
        for listener in listeners.listeners(f"on_{stage}_batch_end"):
            after.append(self._telling(listener, True) if stage != "predict" else _telling_outputs(listener))
        if progress is not None and progress.active:

            def show(index: int, batch: Batch, result: Any) -> None:
                progress.step(lambda: self._figures(result if stage != "predict" else {}), steps_of(batch))

            after.insert(0, show)
        return before, after

    def _telling(self, listener: Callable[..., None], with_figures: bool) -> Listener:
        """What tells one callback of a batch. It may take its time, and wait for a thread that uses the model."""

        def tell(index: int, batch: Batch, result: Any) -> None:
            figures = self._figures(result).figures if with_figures else {}
            threads.aside(listener, index, Logs({"batch": index, "size": samples_of(batch), **figures}))

        return tell


def _telling_outputs(listener: Callable[..., None]) -> Listener:
    """What tells one callback of a predicted batch, and its outputs as they are on the device."""
    return lambda index, batch, outputs: threads.aside(listener, index, {"batch": index, "size": samples_of(batch), "outputs": outputs})


class _OfChangingLength(CallbackList):
    """The callbacks of a run over data that may give every epoch another number of batches: `params`, which all share, says how many."""

    def __init__(self, batches: Epochs, callbacks: Any):
        super().__init__(callbacks)
        self.batches = batches

    def tell(self, event: str, *args: Any) -> None:
        if event == "on_epoch_begin":
            steps = length_of(self.batches)
            self.params.update(steps=steps, samples=self.batches.samples or steps)
        super().tell(event, *args)


def length_of(batches: Epochs) -> int | None:
    """Return the number of batches in an epoch, `None` where it is not known."""
    try:
        return len(batches)
    except TypeError:
        return None
