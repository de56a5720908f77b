"""`Metric`: a figure gathered over many batches. It lives on the device, and is read when somebody asks."""

import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from torchkeras_fn import config, initializers
from torchkeras_fn.configurable import Configurable
from torchkeras_fn.metrics.state import State, move, new_state, supported
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import snake_case

_dtype_named = functools.lru_cache(maxsize=16)(config.dtype)


class Metric(Configurable):
    """A figure over all batches since `reset_state()`. Subclasses define `update_state` and `result`.

    What is gathered may be kept in variables of `add_variable`, which `reset_state` sets to 0 and which follow the
    predictions to their device, or in attributes of any kind, with a `reset_state` of one's own. `dtype` is the type of
    the result (`None`: `config.floatx()`); a first argument that is no dtype is the name, which came first in Keras 2.
    `direction` says which way is better: `'up'`, `'down'`, or `None` where that is not known.

    >>> class Largest(Metric):
    ...     direction = "up"
    ...     def __init__(self, name="largest", **options):
    ...         super().__init__(name=name, **options)
    ...         self.largest = self.add_variable(shape=(), initializer="zeros", name="largest")
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.largest.assign(torch.maximum(self.largest, y_pred.max()))
    ...     def result(self):
    ...         return self.largest
    >>> metric = Largest()
    >>> metric.update_state(None, torch.tensor([3.0]))
    >>> float(metric.result())
    3.0
    """

    direction: str | None = None
    name: str = ""
    _dtype: str = "float32"
    _states: Sequence[State] = ()
    _aggregations: Mapping[int, str] = {}
    _is_ours: ClassVar[bool] = True

    def __init__(self, dtype: Any = None, name: str | None = None):
        if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
            dtype, name = name, dtype
        self.name = name or snake_case(type(self).__name__)
        self._dtype = str(config.dtype(dtype)).removeprefix("torch.")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """See to it that an update keeps no history of gradients, and finds the state on the device of its batch."""
        super().__init_subclass__(**kwargs)
        cls._is_ours = is_ours(cls)
        if "update_state" in cls.__dict__:
            cls.update_state = _without_history(cls.__dict__["update_state"])  # type: ignore[method-assign]

    @property
    def dtype(self) -> str:
        """The name of the result's type."""
        return self._dtype

    # ------------------------------------------------------------------ the three methods

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch."""
        raise NotImplementedError(f"{type(self).__name__} needs an update_state(y_true, y_pred, sample_weight=None).")

    def result(self) -> Any:
        """Return the figure so far: a tensor on the device, or a dict of them by name."""
        raise NotImplementedError(f"{type(self).__name__} needs a result().")

    def reset_state(self) -> None:
        """Forget all batches: set all variables to 0, those of metrics in attributes too."""
        inner = list(self._inner())
        if not self._states and not inner:
            raise NotImplementedError(f"{type(self).__name__} needs a reset_state(), as it has no variables of add_variable.")
        for state in self._states:
            state.zero_()
        for metric in inner:
            metric.reset_state()

    def reset_states(self) -> None:
        """Forget all batches, under Keras 2's name."""
        self.reset_state()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take in a batch, and return the figure so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    # ------------------------------------------------------------------ what is gathered

    def add_variable(
        self,
        shape: Any = (),
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str | None = None,
        name: str | None = None,
        synchronization: str | None = None,
    ) -> State:
        """Return a new variable of the state. `synchronization` is taken and has no effect.

        Of the variables of several processes, which train one model together, `aggregation` makes one: `'sum'`, unless it is
        `'mean'` or `'only_first_replica'`. A metric for which that does not do has a `merge_state(metrics)` of its own.
        """
        values = initializers.get("zeros" if initializer is None else initializer)(shape, config.dtype(dtype))
        state = new_state(values, name)
        self._states = [*self._states, state]
        if aggregation is not None:
            self._aggregations = {**self._aggregations, len(self._states) - 1: str(aggregation)}
        return state

    def aggregation_of(self, index: int) -> str:
        """Return how the values of several processes make one of the variable with this number."""
        return self._aggregations.get(index, "sum")

    def add_weight(self, *args: Any, **options: Any) -> State:
        """Return a new variable of the state: `add_variable(shape, initializer, dtype, name)`, or Keras 2's `(name, shape, ...)`."""
        older = ("name", "shape", "aggregation", "synchronization", "initializer", "dtype")
        names = older if args and isinstance(args[0], str) else ("shape", "initializer", "dtype", "name")
        return self.add_variable(**dict(zip(names, args, strict=False)), **options)

    def _counter(self, shape: Any, name: str) -> State:
        """A variable for sums over a whole epoch, which are kept in float64 where the device has it."""
        return self.add_variable(shape, dtype=torch.float64, name=name)

    @property
    def variables(self) -> list[torch.Tensor]:
        """The variables of `add_variable`, those of metrics in attributes too."""
        return [*self._states, *(state for metric in self._inner() for state in metric.variables)]

    def _inner(self) -> "Iterator[Metric]":
        for value in vars(self).values():
            parts: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,)
            yield from (part for part in parts if isinstance(part, Metric))

    def _follow(self, device: torch.device) -> None:
        for state in self._states:
            if state.device != device:
                move(state, device)

    def _set_apart(self) -> None:
        """Leave alone what `keep` has taken note of, from now until it is put back."""

    def _finish(self, value: torch.Tensor) -> torch.Tensor:
        return value.to(supported(_dtype_named(self._dtype), value.device))

    # ------------------------------------------------------------------ what the objective asks

    @property
    def is_plain(self) -> bool:
        """Whether this library computes the figure, not a user's subclass, which sees what the model returns."""
        methods = (getattr(type(self), name, None) for name in ("update_state", "compare"))
        return all(method is None or is_ours(method) for method in methods)

    def check(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Raise `ValueError` for targets that do not fit, told by tensors without samples."""

    def on_logits(self, kind: str) -> "Callable[[Any, Any, Any], None] | None":
        """Return an `update_state` for predictions before their `'softmax'` or `'sigmoid'`; `None` where there is none."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, defaults included."""
        arguments = super().get_config()
        return arguments | {key: getattr(self, key) for key in ("name", "dtype") if key in arguments}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def keep(metric: Any) -> Callable[[], None]:
    """Return a function that puts a metric, after a `reset_state()`, back into the state it is in now.

    >>> metric = Metric()
    >>> metric.seen = [1]
    >>> restore = keep(metric)
    >>> metric.seen.append(2)
    >>> restore()
    >>> metric.seen
    [1]
    """
    if not isinstance(metric, Metric):
        attributes = copy.deepcopy(vars(metric))
        return lambda: vars(metric).update(attributes)
    states = [(state, state.clone()) for state in metric._states]
    others = {name: _copy(value) for name, value in vars(metric).items()}
    inner = [keep(part) for part in metric._inner()]
    metric._set_apart()

    def restore() -> None:
        vars(metric).update(others)
        for state, values in states:
            state.assign(values)
        for put_back in inner:
            put_back()

    return restore


def _copy(value: Any) -> Any:
    """What a metric gathered in an attribute, apart from what it gathers next; other objects as they are."""
    if isinstance(value, (State, Metric)):
        return value
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) is dict:
        return {key: _copy(part) for key, part in value.items()}
    return type(value)(map(_copy, value)) if type(value) in (list, tuple, set) else value


def _check_numbers(metric: Metric, given: Iterable[Any]) -> None:
    """Raise `TypeError` for a symbolic tensor: what answers to torch functions, and is no tensor."""
    for value in given:
        if hasattr(type(value), "__torch_function__") and not isinstance(value, torch.Tensor):
            raise TypeError(
                f"The metric {metric.name!r} takes numbers: tensors, arrays or lists. Got {value!r}, which has none yet. Give the metric "
                "to compile(metrics=[...]), or let the model report the mean of a symbolic tensor: model.add_metric(tensor, name=...)."
            )


def _without_history(update: Callable[..., None]) -> Callable[..., None]:
    is_known = is_ours(update)  # and takes no gradients but through its arguments

    @functools.wraps(update)
    def update_state(self: Metric, *args: Any, **kwargs: Any) -> None:
        given = (*args, *kwargs.values())
        tensors = [value for value in given if isinstance(value, torch.Tensor)]
        if len(tensors) < len(given):
            _check_numbers(self, given)
        if self._states and any(tensor.device != self._states[0].device for tensor in tensors):
            self._follow(next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), tensors[0].device))
        if is_known and not any(tensor.requires_grad for tensor in tensors):
            update(self, *args, **kwargs)
        else:
            with torch.no_grad():
                update(self, *args, **kwargs)

    return update_state
