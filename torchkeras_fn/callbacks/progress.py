"""The progress bar, and the one line an epoch."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from tqdm.auto import tqdm

from torchkeras_fn.arguments import one_of
from torchkeras_fn.callbacks.callback import Callback, only_if

_REDRAW_SECONDS = 0.1


class Progress:
    """Shows how far an epoch is: `verbose=1` a bar, redrawn at most ten times a second; 2 one line; 0 nothing.

    Figures are read from the device only when the bar is drawn. `unit` is what is counted.

    >>> Progress(0).active
    False
    """

    def __init__(self, verbose: Any, unit: str = "step"):
        if verbose not in (0, 1, 2, "auto"):
            raise ValueError(f"'verbose' must be 0, 1, 2 or 'auto', got {verbose!r}.")
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.unit = unit
        self._bar: Any = None

    @property
    def active(self) -> bool:
        """Whether every batch is of interest."""
        return self.verbose == 1

    def begin(self, title: str, total: int | None, done: int = 0) -> None:
        """Begin an epoch of so many steps (`None`: not known), some of which may be `done`."""
        self._title, self._begun = title, time.perf_counter()
        self.done = done
        self._due = self._begun + _REDRAW_SECONDS
        if self.verbose == 1:
            options: dict[str, Any] = {"total": total, "initial": done, "unit": self.unit, "mininterval": 0, "miniters": 1}
            self._bar = tqdm(desc=title, leave=True, file=sys.stderr, **options)

    def step(self, read: Callable[[], Mapping[str, Any]], count: int = 1) -> None:
        """Note that a batch is done; `read` returns its figures, and is called only when the bar is drawn."""
        self.done += count
        if time.perf_counter() >= self._due:
            self._note(read())
            self._bar.update(self.done - self._bar.n)
            self._due = time.perf_counter() + _REDRAW_SECONDS

    def end(self, logs: Mapping[str, Any]) -> None:
        """End the epoch, and show its figures."""
        if self.verbose == 1:
            self._note(logs)
            self._bar.n = self.done
            self._bar.close()  # draws it once more
            self._bar = None
        elif self.verbose == 2:
            seconds = f"{time.perf_counter() - self._begun:.1f}s"
            figures = [f"{name}: {_short(value)}" for name, value in logs.items()]
            print(self._title, seconds, *figures, sep=" - ", flush=True)

    def abandon(self) -> None:
        """Close the bar of an epoch that was broken off."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _note(self, logs: Mapping[str, Any]) -> None:
        self._bar.set_postfix({name: _short(value) for name, value in logs.items()}, refresh=False)


class ProgbarLogger(Callback):
    """Shows the progress that `fit`, `evaluate` and `predict` show by themselves, which then leave it to this.

    `count_mode` is `'steps'` or `'samples'`: what is counted. `stateful_metrics` is accepted and has no effect: all
    figures are those of the epoch so far. Raises `ValueError` for another `count_mode`.

    >>> ProgbarLogger(count_mode="samples").count_mode
    'samples'
    """

    def __init__(self, count_mode: str = "steps", stateful_metrics: Any = None):
        self.count_mode = one_of(count_mode, "count_mode", "steps", "samples")
        self.progress = Progress(0)
        self._training = False

    def set_params(self, params: dict[str, Any]) -> None:
        """Take note of the verbosity, and of how much is to be done."""
        super().set_params(params)
        self.progress.abandon()
        self.progress = Progress(params.get("verbose", 1), self.count_mode.removesuffix("s"))
        self._training = False

    def _begin(self, title: str) -> None:
        self.progress.abandon()
        self.progress.begin(title, self.params.get(self.count_mode))

    def _step(self, batch: int, logs: Any, show: bool = True) -> None:
        logs = logs or {}
        count = logs.get("size", 0) if self.count_mode == "samples" else batch + 1 - self.progress.done
        self.progress.step(lambda: {name: logs[name] for name in logs if show and name not in ("batch", "size")}, count)

    def on_train_begin(self, logs: Any = None) -> None:
        """Note that evaluations from now on are a part of the training."""
        self._training = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin a bar."""
        self._begin(f"Epoch {epoch + 1}/{self.params.get('epochs', '?')}")

    @only_if(lambda self: self.progress.active)
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar."""
        self._step(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """End the bar, with all figures."""
        self.progress.end(logs or {})

    def on_train_end(self, logs: Any = None) -> None:
        """Close a bar that was begun for an epoch without data."""
        self.progress.abandon()
        self._training = False

    def on_test_begin(self, logs: Any = None) -> None:
        """Begin a bar, unless the evaluation is a part of a training."""
        if not self._training:
            self._begin("Evaluate")

    @only_if(lambda self: self.progress.active and not self._training)
    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar."""
        self._step(batch, logs)

    def on_test_end(self, logs: Any = None) -> None:
        """End the bar, with all figures."""
        if not self._training:
            self.progress.end(logs or {})

    def on_predict_begin(self, logs: Any = None) -> None:
        """Begin a bar."""
        self._begin("Predict")

    @only_if(lambda self: self.progress.active)
    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar."""
        self._step(batch, logs, show=False)

    def on_predict_end(self, logs: Any = None) -> None:
        """End the bar."""
        self.progress.end({})


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4e}" if 0 < abs(value) < 1e-3 or abs(value) >= 1e8 else f"{value:.4f}"
