"""`ReduceLROnPlateau`: lowers the learning rate when a figure gets no better."""

from collections.abc import Mapping
from typing import Any

from torchkeras_fn.arguments import number, positive_integer
from torchkeras_fn.callbacks.learning_rates import change_learning_rate, check_changeable, learning_rate
from torchkeras_fn.callbacks.monitoring import MonitorCallback


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by `factor` when `monitor` has not become better for `patience` epochs.

    Better is better by more than `min_delta` (or `epsilon`, its old name). After that nothing counts for `cooldown`
    epochs. The rate never falls below `min_lr`. Every group of a torch optimizer's is changed by itself. The rate of each
    epoch is in the logs as `learning_rate`, which answers to `lr` as well. `verbose=1` prints every change.

    Raises `ValueError` for bad values, and for a figure that is not there as `MonitorCallback` says, and `TypeError`
    when training begins with an optimizer whose learning rate follows a schedule.

    >>> ReduceLROnPlateau("loss", factor=0.5, epsilon=0.01).min_delta
    0.01
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        *,
        epsilon: float | None = None,
    ):
        super().__init__(monitor, mode, min_delta=min_delta if epsilon is None else epsilon)
        self.factor = number(factor, "factor", minimum=0)
        if self.factor >= 1:
            raise ValueError(f"ReduceLROnPlateau does not support a factor >= 1.0: the rate would not fall. Got factor={factor!r}.")
        self.patience = positive_integer(patience, "patience", minimum=0)
        self.verbose = verbose
        self.cooldown = positive_integer(cooldown, "cooldown", minimum=0)
        self.min_lr = number(min_lr, "min_lr", minimum=0)
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.wait = self.cooldown_counter = 0

    def in_cooldown(self) -> bool:
        """Return whether nothing counts yet."""
        return self.cooldown_counter > 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin anew."""
        check_changeable(self.model.optimizer, type(self).__name__)
        self._reset()
        self._begin_monitoring()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare the figure with the best so far, and lower the rate where patience is over."""
        if logs is not None:
            logs["learning_rate"] = learning_rate(self.model.optimizer)
        current = self.get_monitor_value(logs)
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
        if self._is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        changes = change_learning_rate(self.model.optimizer, lambda rate: min(rate, max(rate * self.factor, self.min_lr)))
        changed = [after for before, after in changes if after != before]
        if not changed:
            return
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose:
            self._print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {', '.join(map(str, changed))}.")

    def state_dict(self) -> dict[str, Any]:
        """Return the patience spent, what is left of the cooldown, and the best so far."""
        return {"wait": self.wait, "cooldown_counter": self.cooldown_counter, "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the patience and the best of an earlier run."""
        self.wait, self.cooldown_counter, self.best = state["wait"], state["cooldown_counter"], state["best"]
