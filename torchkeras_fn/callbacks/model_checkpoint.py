"""`ModelCheckpoint`: saves the model, or its weights, while it is trained."""

import os
import string
from collections.abc import Mapping, Sequence
from typing import Any

from torchkeras_fn.arguments import positive_integer
from torchkeras_fn.callbacks.callback import only_if
from torchkeras_fn.callbacks.monitoring import MonitorCallback
from torchkeras_fn.engine.basics.logs import Logs


class ModelCheckpoint(MonitorCallback):
    """Saves the model to `filepath` after every epoch, every `period` epochs, or every `save_freq` batches.

    `filepath` may name `epoch` and `batch`, counted from 1, and any figure: `'{epoch:02d}-{val_loss:.2f}.keras'`. Folders
    are made. With `save_best_only` it saves only where `monitor` is better than at every save before, and than
    `initial_value_threshold`; this goes on when the object is used again or restored from a backup. `save_weights_only`
    calls `save_weights` instead of `save`. `verbose=1` says what was done.

    Raises `ValueError` for bad values, for a figure that is not there as `MonitorCallback` says, and `KeyError` for a
    name in `filepath` that no figure has; and, as far as it can be told when training begins, what saving would raise.

    >>> checkpoint = ModelCheckpoint("{epoch:02d}-{val_acc:.2f}.keras")
    >>> checkpoint.path(0, {"val_accuracy": 0.5})
    '01-0.50.keras'
    """

    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: Any = "epoch",
        initial_value_threshold: float | None = None,
        *,
        period: int = 1,
    ):
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        if isinstance(save_freq, str) and save_freq != "epoch":
            raise ValueError(f"Unrecognized save_freq: {save_freq!r}. It is 'epoch' or a number of batches.")
        self.save_freq = save_freq if save_freq == "epoch" else positive_integer(save_freq, "save_freq")
        self.period = positive_integer(period, "period")
        self._names = [name.partition(".")[0].partition("[")[0] for _, name, _, _ in string.Formatter().parse(self.filepath) if name]
        self._epoch = 0
        self.epochs_since_last_save = self._batches_seen_since_last_saving = 0
        self._last_batch = -1

    @property
    def _counts_batches(self) -> bool:
        return self.save_freq != "epoch"

    def on_train_begin(self, logs: Any = None) -> None:
        """Check the names, and that the model can be saved. What is best, and how long ago the last save was, stays as it is."""
        save = "save_weights" if self.save_weights_only else "save"
        if not hasattr(self.model, save):
            raise TypeError(f"ModelCheckpoint calls the model's {save!r}, which a {type(self.model).__name__} does not have.")
        if hasattr(self.model, "_check_can_save"):
            self.model._check_can_save(self.filepath, self.save_weights_only)
        if self.save_best_only:
            self._begin_monitoring()
        missing = [name for name in self._names if name not in ("epoch", "batch") and self._is_missing(name)]
        if missing:
            raise KeyError(self._unknown_in_path(missing[0], self._names_to_come()))

    def _names_to_come(self) -> Sequence[str]:
        names = super()._names_to_come()
        return [name for name in names if not name.startswith("val_")] if self._counts_batches else names

    def _is_missing(self, name: str) -> bool:
        told = "metrics" in self.params and self._counts_batches and name.startswith("val_")
        return told or super()._is_missing(name)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the epoch."""
        self._epoch, self._last_batch = epoch, -1

    @only_if(lambda self: self._counts_batches)
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save, if it is time."""
        last = self._last_batch if self._last_batch < batch else -1
        self._batches_seen_since_last_saving += batch - last  # several with `steps_per_execution`
        self._last_batch = batch
        if self._batches_seen_since_last_saving >= self.save_freq:
            self._batches_seen_since_last_saving = 0
            self._save(self._epoch, batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save, if it is time."""
        if self._counts_batches:
            return
        self.epochs_since_last_save += 1
        if self.epochs_since_last_save >= self.period:
            self.epochs_since_last_save = 0
            self._save(epoch, None, logs)

    def _save(self, epoch: int, batch: int | None, logs: Any) -> None:
        best, current = self.best, None
        if self.save_best_only:
            current = self.get_monitor_value(logs)
            if current is None:
                return
            if not self._is_improvement(current, self.best):
                self._say(epoch, f"{self.monitor} did not improve from {_shown(best)}")
                return
        path = self.path(epoch, logs, batch)
        improved = f"{self.monitor} improved from {_shown(best)} to {_shown(current)}, " if current is not None else ""
        self._say(epoch, f"{improved}saving model to {path}")
        if self._speaks:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        save = self.model.save_weights if self.save_weights_only else self.model.save
        save(path, overwrite=True)
        self.best = best if current is None else current

    def path(self, epoch: int, logs: Any = None, batch: int | None = None) -> str:
        """Return the path for an epoch and a batch, both counted from 0. Raises `KeyError` that lists the names there are."""
        fields = Logs({**(logs or {}), "epoch": epoch + 1, **({} if batch is None else {"batch": batch + 1})})
        try:
            return str(self.filepath.format_map(fields))
        except KeyError as error:
            raise KeyError(self._unknown_in_path(error.args[0], fields)) from None

    def _unknown_in_path(self, name: str, names: Any) -> str:
        known = list(dict.fromkeys(["epoch", *names]))
        return f"Failed to format this callback filepath: {self.filepath!r} names {name!r}, which is none of {known}."

    def _say(self, epoch: int, what: str) -> None:
        if self.verbose:
            self._print(f"\nEpoch {epoch + 1}: {what}")

    def state_dict(self) -> dict[str, Any]:
        """Return the best so far, and how long ago the last save was."""
        counts = {"epochs": self.epochs_since_last_save, "batches": self._batches_seen_since_last_saving, "last_batch": self._last_batch}
        return {"best": self.best, **counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier run."""
        self.best, self.epochs_since_last_save = state["best"], state["epochs"]
        self._batches_seen_since_last_saving, self._last_batch = state["batches"], state.get("last_batch", -1)


def _shown(figure: float | None) -> str:
    return "None" if figure is None else f"{figure:.5f}"
