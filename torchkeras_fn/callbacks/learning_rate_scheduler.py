"""`LearningRateScheduler`: sets the learning rate by a function of the epoch, or steps one of torch's schedules."""

import functools
import inspect
import numbers
from typing import Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from torchkeras_fn.arguments import one_of
from torchkeras_fn.callbacks.callback import Callback, only_if
from torchkeras_fn.callbacks.learning_rates import change_learning_rate, check_changeable, learning_rate


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch, or each batch with `step='batch'`, or steps a schedule of torch's after it.

    `schedule` is a function `(epoch, learning_rate)`, or of the epoch alone, counted from 0, which returns the learning
    rate (with `step='batch'`, of the batches so far); or a torch schedule, made for the torch optimizer that trains; or
    what makes one of it, such as `torch.optim.lr_scheduler.CosineAnnealingLR` in a `functools.partial`, which is called
    when training begins, and again only if the model was compiled anew. A torch schedule among the `callbacks` of `fit` is
    stepped after each epoch.

    torch's `ReduceLROnPlateau` is told the figure `monitor` after each epoch that has it. The rate of each epoch is in the
    logs as `learning_rate`, which answers to `lr` as well. `verbose=1` prints it.

    Raises `TypeError` for a schedule that is none of these, and, when training begins, where the optimizer follows a
    `LearningRateSchedule`, or a `decay` besides torch's schedule; `ValueError` for a torch schedule of another optimizer,
    for a rate that is no number, and for a figure that is not there.

    >>> LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)).rate_at(1, 0.1)
    0.05
    """

    def __init__(self, schedule: Any, verbose: int = 0, step: str = "epoch", monitor: str = "val_loss"):
        if not callable(schedule) and not isinstance(schedule, LRScheduler):
            raise TypeError(f"A schedule is a function, a torch schedule, or what makes one; got {schedule!r}.")
        self.schedule = schedule
        self.verbose = verbose
        self.step = one_of(step, "step", "epoch", "batch")
        self.monitor = monitor
        self.steps = 0
        """The number of batches so far, where the rate changes with each."""
        self._torch_schedule: Any = schedule if isinstance(schedule, LRScheduler) else None
        kind = _kind_made(schedule)
        self._makes_torch_schedule = kind is not None
        if self.step == "batch" and issubclass(kind or type(schedule), ReduceLROnPlateau):
            raise ValueError("ReduceLROnPlateau follows a figure of the epoch: step='batch' is not for it.")

    @property
    def _is_function(self) -> bool:
        return self._torch_schedule is None and not self._makes_torch_schedule

    def on_train_begin(self, logs: Any = None) -> None:
        """Make the torch schedule, and check that it is for the optimizer that trains."""
        check_changeable(self.model.optimizer, "LearningRateScheduler")
        if self._is_function:
            return
        if getattr(self.model.optimizer, "decay", 0):
            raise TypeError("This optimizer has a 'decay', which sets the learning rate at every step. Compile without it.")
        used = getattr(self.model.optimizer, "torch_optimizer", self.model.optimizer)
        if self._makes_torch_schedule and getattr(self._torch_schedule, "optimizer", None) is not used:
            self._torch_schedule = self.schedule(used)
        if self._torch_schedule.optimizer is not used:
            raise ValueError(
                f"The {type(self._torch_schedule).__name__} was made for another optimizer than the one that trains. Make it "
                "of model.optimizer.torch_optimizer after compile, or pass what makes it: its class in a functools.partial."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the rate of the epoch."""
        if self._is_function and self.step == "epoch":
            change_learning_rate(self.model.optimizer, lambda rate: self.rate_at(epoch, rate))
        if self.verbose and self.step == "epoch":
            rate = learning_rate(self.model.optimizer)
            self._print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the rate of the epoch in the logs, and step torch's schedule."""
        if logs is not None:
            logs["learning_rate"] = learning_rate(self.model.optimizer)
        if not self._is_function and self.step == "epoch":
            self._step_torch_schedule(logs or {})

    @only_if(lambda self: self.step == "batch" and self._is_function)
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of the batch."""
        change_learning_rate(self.model.optimizer, lambda rate: self.rate_at(self.steps, rate))
        self.steps += 1

    @only_if(lambda self: self.step == "batch" and not self._is_function)
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Step torch's schedule."""
        self._step_torch_schedule({})

    def rate_at(self, index: int, rate: float) -> float:
        """Return the learning rate that the function gives for an epoch, or a batch, given the rate before it."""
        chosen = self.schedule(index, rate) if _takes_two(self.schedule) else self.schedule(index)
        if isinstance(chosen, bool) or not (isinstance(chosen, numbers.Real) or getattr(chosen, "ndim", None) == 0):
            raise ValueError(f"The output of the schedule should be a float, got {chosen!r} of type {type(chosen).__name__}.")
        return float(chosen)

    def _step_torch_schedule(self, logs: Any) -> None:
        schedule = self._torch_schedule
        # torch warns of a schedule that is stepped before the optimizer: here it may be, while gradients are gathered.
        schedule.optimizer._opt_called = True
        if not isinstance(schedule, ReduceLROnPlateau):
            schedule.step()
        elif self.monitor in logs:
            schedule.step(logs[self.monitor])
        elif not (self.monitor.startswith("val_") and self.params.get("do_validation")):  # there is no validation in every epoch
            raise ValueError(f"ReduceLROnPlateau follows {self.monitor!r}, but there are only: {', '.join(logs)}. Set monitor to one.")

    def state_dict(self) -> dict[str, Any]:
        """Return how far the schedule has come."""
        return {"steps": self.steps, "schedule": None if self._torch_schedule is None else self._torch_schedule.state_dict()}

    def load_state_dict(self, state: Any) -> None:
        """Go on from there."""
        self.steps = state["steps"]
        if self._torch_schedule is not None and state["schedule"] is not None:
            self._torch_schedule.load_state_dict(state["schedule"])


def _kind_made(schedule: Any) -> type | None:
    """The class of the torch schedule that this makes when it is called with an optimizer, if it does."""
    made = schedule.func if isinstance(schedule, functools.partial) else schedule
    return made if inspect.isclass(made) and issubclass(made, LRScheduler) else None


def _takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind(0, 0.0)
    except (TypeError, ValueError):
        return False
    return True
