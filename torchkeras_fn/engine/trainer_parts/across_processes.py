"""`AcrossProcesses`: what a `Trainer` does where several processes train one model: shared steps, figures, weights and predictions."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from torchkeras_fn import portion
from torchkeras_fn.engine.basics.logs import Logs
from torchkeras_fn.engine.batches.groups import samples_of
from torchkeras_fn.engine.batches.loading import Epochs
from torchkeras_fn.engine.batches.lockstep import Lockstep
from torchkeras_fn.engine.batches.sink import SharedSink, Sink
from torchkeras_fn.engine.distributed.replica import Replica, Weighed, averaging, optimizers_of, replicate
from torchkeras_fn.engine.outputs.custom_metrics import figures_of_all, keep_metrics_in
from torchkeras_fn.engine.outputs.figures import Running
from torchkeras_fn.engine.processes.processes import Processes
from torchkeras_fn.engine.trainer_parts.opening import Opening
from torchkeras_fn.portion import Portion

Step = Callable[[Any], Any]

_alone = nullcontext()

_TORCHS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class AcrossProcesses(Opening):
    """The part of a `Trainer` for several processes. Where there is one, every method here gives way at once."""

    stop_training: bool = False
    _replica = Replica()
    _shared_weights: Any = None

    # ------------------------------------------------------------------ opening

    def _together(self) -> AbstractContextManager[None]:
        """Let no process go on alone where another fails within the block, and begin with the weights of the first."""
        return _alone if self._team is None else self._meeting(self._team)

    @contextmanager
    def _meeting(self, team: Processes) -> Iterator[None]:
        with team.failures.together():
            yield
            team.failures.meet()
            self._share_weights()

    def _failing_together(self) -> AbstractContextManager[None]:
        """Let an error in the block, which all processes run, reach each of them."""
        return _alone if self._team is None else self._team.failures.together(watching=True)

    # ------------------------------------------------------------------ steps

    def _in_lockstep(
        self, batches: Epochs, step: Step, may_stop: bool = False, told_before: bool = False, last: Any = None
    ) -> tuple[Any, Step]:
        """Return the batches and the step as several processes take them: all at once, each with its portion.

        Somebody `may_stop` after a step, or is `told_before` it, and may fail: the processes see to each other then. The `last`
        result is that of a step before, with rows of this process.
        """
        team = self._team
        if team is None:
            return batches, step
        may_stop, told_before = map(bool, team.total([may_stop, told_before]))  # by what any of them has: callbacks may differ
        shared = Lockstep(batches, team, self._execution.sync_batchnorm, (lambda: self.stop_training) if may_stop else None, self._stop)

        def step_together(batch: Any) -> Any:
            nonlocal last
            if told_before:
                team.failures.meet()
            with _with_portion(shared.portion):
                if shared.portion is None or shared.portion.rows:
                    last = step(batch)
                    return last
                with self._counting_nothing():
                    result = step(batch)
            return result if last is None else last

        return shared, step_together

    def _stop(self) -> None:
        self.stop_training = True

    def _meet(self) -> None:
        """Go on where all processes have come to this point; raise where one has failed on its way."""
        if self._team is not None:
            self._team.failures.meet()

    def _agree_to_stop(self) -> None:
        """Stop in all processes where one of them is to stop. A collective."""
        if self._team is not None:
            self.stop_training = self._team.any(bool(self.stop_training))

    @contextmanager
    def _counting_nothing(self) -> Iterator[None]:
        """Take part in a step without rows of one's own: nothing is gathered from it, and buffers stay as they are."""
        module = self._as_module()
        buffers = [] if self._execution.sync_batchnorm else [(buffer, buffer.clone()) for buffer in module.buffers()]
        put_metrics_back = keep_metrics_in(module)
        with ExitStack() as stack:
            if self.objective is not None:
                stack.enter_context(self.objective.apart())
            yield
        put_metrics_back()
        for buffer, values in buffers:
            if buffer.shape == values.shape:
                buffer.copy_(values)

    def _batch_of_all(self, *args: Any) -> Any:
        """Return the batch that this process brought."""
        with self._together():
            return self._batch(*args)

    def _step_of_all(self, team: Processes, step: Step, batch: Any) -> Any:
        """Take a step with a batch that each process brought; return the figures of all."""
        rows = samples_of(batch)
        with _with_portion(Portion(rows, int(team.total([rows])[0]), team.count, team, self._execution.sync_batchnorm)):
            result = step(batch)
        return self._figures_of_all(result, rows)

    def _to_predict(self, batches: Epochs, samples: int | None) -> tuple[Any, Step, Sink]:
        """Return the batches and the step of a prediction, and where its outputs go: all rows of data that is dealt out."""
        step: Step = self._as_given(self.predict_step)  # type: ignore[attr-defined]
        if self._team is None or not batches.source.is_dealt:
            return batches, step, Sink(samples)
        shared = Lockstep(batches, self._team)
        return shared, step, SharedSink(shared)

    # ------------------------------------------------------------------ training

    @contextmanager
    def _training_together(self, team: Processes) -> Iterator[None]:
        """Let every training step end with the same gradients in all processes."""
        own, scale = self.__dict__, self._scale_loss
        is_sharded, is_own = self._execution.distributed == "fsdp", self._overrides_train_step()
        with ExitStack() as stack:
            if not is_own:  # of a user's own step, what is sharded weighs the outputs of the model
                own["_scale_loss"] = Weighed.over(scale)
                stack.callback(own.__setitem__, "_scale_loss", scale)
            if is_own and not is_sharded:
                stack.enter_context(averaging(optimizers_of(self), team))
            elif not is_sharded:
                self._make_replica(team)
            try:
                yield
            except BaseException:
                own.pop("_replica", None)  # which may be in the middle of a step
                raise

    def _make_replica(self, team: Processes) -> None:
        if "_replica" not in self.__dict__:
            self.__dict__["_replica"] = Replica()
        module: nn.Module = self._as_module()
        parts = [self._collected, self._places, getattr(self, "_views", {}).get("training")]
        self._replica.fit(parts, lambda: replicate(module, self._all_of_the_loss, team, self._uses_all_alike()))

    def _uses_all_alike(self) -> bool:
        """Whether every training step uses the same parameters, whatever the data."""
        return False

    def _all_of_the_loss(self, x: Any) -> Any:
        """The outputs for a step, without the history of those that have no loss."""
        outputs = self._training_outputs(x)
        pairs = zip(outputs.predictions, self._compiled("training").losses_as_returned(), strict=True)
        return outputs._replace(predictions=[part.detach() if loss is None else part for part, loss in pairs])

    def _bind(self) -> None:
        """Forget the replica, and refuse what cannot be done by several processes."""
        self.__dict__.pop("_replica", None)
        if self._team is not None and self._execution.sync_batchnorm:
            for name, part in self._as_module().named_modules():
                if isinstance(part, _TORCHS) and not isinstance(part, nn.SyncBatchNorm) and type(part).__module__.startswith("torch."):
                    raise ValueError(
                        f"sync_batchnorm=True is for BatchNormalization layers, but {name!r} is a {type(part).__name__} of torch's. "
                        "Convert it with torch.nn.SyncBatchNorm.convert_sync_batchnorm before the model is compiled."
                    )
        super()._bind()

    # ------------------------------------------------------------------ weights

    def _share_weights(self) -> None:
        """Give all processes the weights of the first, once after `compile`."""
        team = self._team
        if team is None or not self._bound or self._shared_weights is self._collected:
            return
        self._shared_weights = self._collected
        if self._execution.distributed != "fsdp":
            team.take_from_first(self._as_module().parameters())
            self._share_buffers()

    def _share_buffers(self) -> None:
        """Give all processes the running statistics of the first, which it gathered from its own rows."""
        if self._team is not None:
            module = self._as_module()
            passing = {f"{path}.{name}".lstrip(".") for path, part in module.named_modules() for name in part._non_persistent_buffers_set}
            self._team.take_from_first([buffer for name, buffer in module.named_buffers() if name not in passing])

    # ------------------------------------------------------------------ figures

    def _figures_of_all(self, result: Any, rows: Any) -> Logs:
        """The figures behind what the last step returned, of all processes together; this one has seen `rows`, or those of a `Lockstep`."""
        team = self._team
        if team is None:
            return self._figures(result)
        rows, last = (rows.rows, rows.epochs.last_rows) if isinstance(rows, Lockstep) else (rows, rows)
        if isinstance(result, Running) or result is None:
            objective = self._compiled("figures")
            with torch.inference_mode(False), torch.no_grad():
                objective.merge(team.gathered)
            return self._figures(None if result is None else objective.running)
        return Logs(figures_of_all(result, rows, last, self._as_module(), team.gathered))

    def _figures(self, result: Any) -> Logs:
        """The figures behind what a step returned, as they are now."""
        figures = result.computed() if isinstance(result, Running) else result or {}
        # A metric may return the very state in which it goes on.
        return Logs({name: value.detach().clone() if isinstance(value, torch.Tensor) else value for name, value in figures.items()})


@contextmanager
def _with_portion(own: Portion | None) -> Iterator[None]:
    before = portion.take(own)
    try:
        yield
    finally:
        portion.take(before)
