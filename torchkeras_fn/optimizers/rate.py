"""The learning rate of an optimizer: what it may be, how it is read and set, and when it changes."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from torchkeras_fn.optimizers import schedules
from torchkeras_fn.optimizers.schedules import LearningRateSchedule


class Rate(float):
    """The learning rate of an optimizer as it was read: a float that can also be set, as Keras' variable can.

    >>> given = []
    >>> rate = Rate(0.5, given.append)
    >>> rate.assign(rate / 2)
    >>> given, rate.numpy()
    ([0.25], 0.5)
    """

    _set: Callable[[float], None]

    def __new__(cls, value: float, set_rate: Callable[[float], None]) -> "Rate":
        self = super().__new__(cls, value)
        self._set = set_rate
        return self

    def assign(self, value: Any) -> None:
        """Set the learning rate of the optimizer that this was read from."""
        self._set(value)

    def numpy(self) -> float:
        """Return the learning rate as a number."""
        return float(self)

    def __reduce__(self) -> Any:
        return float, (float(self),)


class Count(int):
    """The number of steps as it was read: an integer that can also be set, as Keras' variable can.

    >>> given = []
    >>> count = Count(3, given.append)
    >>> count.assign(count + 1)
    >>> given, count.numpy()
    ([4], 3)
    """

    _set: Callable[[int], None]

    def __new__(cls, value: int, set_count: Callable[[int], None]) -> "Count":
        self = super().__new__(cls, value)
        self._set = set_count
        return self

    def assign(self, value: Any) -> None:
        """Set the number of steps of the optimizer that this was read from."""
        self._set(value)

    def numpy(self) -> int:
        """Return the number of steps as a number."""
        return int(self)

    def __reduce__(self) -> Any:
        return int, (int(self),)


def source_of(learning_rate: Any) -> Any:
    """Return what a `learning_rate` argument stands for: a float, a schedule, or a function without arguments.

    Raises `ValueError` for anything else, and for a negative number.

    >>> source_of({"class_name": "ExponentialDecay", "config": {"initial_learning_rate": 1, "decay_steps": 2, "decay_rate": 0.5}}).at(2)
    0.5
    """
    if isinstance(learning_rate, Mapping):
        learning_rate = schedules.deserialize(learning_rate)
    if isinstance(learning_rate, LearningRateSchedule) or (callable(learning_rate) and not hasattr(learning_rate, "item")):
        return learning_rate
    if isinstance(learning_rate, bool) or not (isinstance(learning_rate, (int, float)) or hasattr(learning_rate, "item")):
        raise ValueError(
            f"'learning_rate' must be a number, got {learning_rate!r} of type {type(learning_rate).__name__}. "
            "A LearningRateSchedule, its config, or a function without arguments will do too."
        )
    if not float(learning_rate) >= 0:
        raise ValueError(f"'learning_rate' must not be negative, got {learning_rate!r}.")
    return float(learning_rate)


def rate_at(source: Any, step: int) -> float:
    """Return the learning rate that a source gives after so many steps.

    >>> rate_at(0.5, 3), rate_at(lambda: 0.25, 3)
    (0.5, 0.25)
    """
    if isinstance(source, float):
        return source
    return source.at(step) if isinstance(source, LearningRateSchedule) else float(source())


class Rated:
    """What has a learning rate: a number, or one that follows a schedule; with a `decay`, as in Keras 2; in a torch optimizer.

    >>> rated = Rated(0.5)
    >>> rated.lr = rated.lr / 2
    >>> rated.learning_rate
    0.25
    """

    rate_in_momentum: ClassVar[bool] = False
    """Whether Keras' momentum remembers steps, with the learning rates they had, and torch's `momentum_buffer` gradients."""
    torch_optimizer: torch.optim.Optimizer | None = None
    _batches_per_step = 1

    def __init__(self, learning_rate: Any, decay: float = 0.0):
        self._rate_source = source_of(learning_rate)
        self.decay = decay
        self._batches = 0

    @property
    def iterations(self) -> int:
        """The number of steps taken."""
        return Count(self._batches // self._batches_per_step, self._assign_count)

    @iterations.setter
    def iterations(self, value: int) -> None:
        self._assign_count(value)

    def _assign_count(self, value: Any) -> None:
        self._batches = int(value) * self._batches_per_step

    @property
    def learning_rate(self) -> float:
        """The learning rate: that of the next step; `decay` aside, and that of the torch optimizer once bound, whoever set it."""
        bound = self.torch_optimizer is not None and isinstance(self._rate_source, float) and not self.decay
        return Rate(self.param_groups[0]["lr"] if bound else rate_at(self._rate_source, self._batches), self._assign_rate)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._assign_rate(value)

    @property
    def lr(self) -> float:
        """The learning rate, under its old name."""
        return self.learning_rate

    @lr.setter
    def lr(self, value: Any) -> None:
        self._assign_rate(value)

    def _assign_rate(self, value: Any) -> None:
        source = source_of(value)
        if isinstance(source, float) and not isinstance(self._rate_source, float):
            raise TypeError(
                f"The learning rate follows {self._rate_source!r}, and cannot be set to a number. "
                "Make the optimizer with a number, or set another schedule."
            )
        self._rate_source = source
        self._set_rate(self._rate())

    def _rate_moves(self) -> bool:
        return bool(self.decay) or not isinstance(self._rate_source, float)

    def _rate_source_now(self) -> Any:
        """The `learning_rate` argument of an optimizer that goes on as this one does, whoever set the rate since."""
        return self._rate_source if self._rate_moves() else float(self.learning_rate)

    def _rate(self) -> float:
        """The learning rate of the next step."""
        return rate_at(self._rate_source, self._batches) / (1 + self.decay * (self._batches // self._batches_per_step))

    def _set_rate(self, rate: float) -> None:
        for group in self.param_groups:
            before, group["lr"] = group["lr"], rate
            if self.rate_in_momentum and rate and rate != before:
                self._scale_momentum(group["params"], before / rate)

    def _scale_momentum(self, parameters: list[torch.Tensor], factor: float) -> None:
        """Let the gradients in torch's momentum weigh what they did at the rate they came with, as the steps in Keras' do."""
        states = [self.torch_optimizer.state.get(parameter, {}) for parameter in parameters] if self.torch_optimizer is not None else []
        momenta = [state["momentum_buffer"] for state in states if state.get("momentum_buffer") is not None]
        if momenta:
            torch._foreach_mul_(momenta, factor)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of the torch optimizer."""
        return self.torch_optimizer.param_groups if self.torch_optimizer is not None else []
