"""`State`: the tensors that metrics gather in, with the methods that Keras' variables have; and what arithmetic on them needs."""

from numbers import Real
from typing import Any

import torch


class State(torch.Tensor):
    """A tensor that is changed in place, by `assign`, `assign_add` and `assign_sub` as in Keras or by torch's own methods.

    It works in any torch function; what is computed from it is a plain tensor.

    >>> total = new_state(torch.zeros(()), "total")
    >>> total.assign_add(torch.tensor(3.0)), total / 2
    (State(3.), tensor(1.5000))
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    name: str | None = None

    def assign(self, value: Any) -> "State":
        """Take over a number, or values of this shape. Raises `ValueError` for another shape."""
        with torch.no_grad():
            if isinstance(value, Real):
                return self.fill_(float(value))  # type: ignore[return-value]
            value = torch.as_tensor(value)
            if value.ndim and value.shape != self.shape:
                raise ValueError(f"The state {self.name!r} has the shape {tuple(self.shape)}, but the new value {tuple(value.shape)}.")
            return self.copy_(value)  # type: ignore[return-value]

    def assign_add(self, value: Any) -> "State":
        """Add a number, or values that broadcast to this shape."""
        with torch.no_grad():
            return self.add_(self._like(value))  # type: ignore[return-value]

    def assign_sub(self, value: Any) -> "State":
        """Subtract a number, or values that broadcast to this shape."""
        with torch.no_grad():
            return self.sub_(self._like(value))  # type: ignore[return-value]

    def _like(self, value: Any) -> Any:
        return value if isinstance(value, Real) else torch.as_tensor(value).to(self.device, self.dtype)

    @property
    def value(self) -> "State":
        """The tensor itself, for programs that ask a variable for its value."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "State":
        memo[id(self)] = copied = new_state(self, self.name)
        return copied


def new_state(values: torch.Tensor, name: str | None = None) -> State:
    """Return a state with a copy of the values; one made during an evaluation can be changed in training too.

    >>> with torch.inference_mode():
    ...     state = new_state(torch.zeros(2))
    >>> state.is_inference()
    False
    """
    with torch.inference_mode(False), torch.no_grad():
        state = values.clone().as_subclass(State)
    state.name = name
    return state


def move(state: State, device: torch.device) -> None:
    """Move a state to a device, for all that refer to it. What comes from the `meta` device, which holds no values, is 0."""
    dtype = supported(state.dtype, device)
    with torch.inference_mode(False), torch.no_grad():
        values = torch.zeros_like(state, dtype=dtype, device=device) if state.is_meta else state.to(device, dtype)
        torch.utils.swap_tensors(state, new_state(values, state.name))


def supported(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype, or `float32` for a `float64` that the device does not have.

    >>> supported(torch.float64, torch.device("mps"))
    torch.float32
    """
    return torch.float32 if dtype == torch.float64 and device.type == "mps" else dtype


def divide(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """Return the quotient, 0 where the denominator is 0.

    >>> divide(torch.ones(2), torch.tensor([0.0, 2.0]))
    tensor([0.0000, 0.5000])
    """
    return torch.where(denominator == 0, 0.0, numerator / denominator)


def fit_weights(weight: Any, values: torch.Tensor) -> torch.Tensor:
    """Return weights as a tensor like the values whose axes are the first axes of the values.

    An axis of 1 stands for all that the values have there. Raises `ValueError` for any other mismatch.

    >>> fit_weights([[1.0], [2.0]], torch.zeros(2, 3))
    tensor([1., 2.])
    """
    weight = torch.as_tensor(weight, device=values.device)
    weight = weight.to(values.dtype if values.dtype.is_floating_point else torch.float32)
    given = weight.shape
    while weight.ndim > 1 and weight.shape[-1] == 1 and values.shape[weight.ndim - 1 : weight.ndim] != (1,):
        weight = weight.squeeze(-1)
    if weight.ndim == values.ndim > 1 and all(size in (1, wanted) for size, wanted in zip(weight.shape, values.shape, strict=True)):
        weight = weight.expand(values.shape)
    if weight.shape != values.shape[: weight.ndim]:
        raise ValueError(f"Weights of shape {tuple(given)} do not fit values of shape {tuple(values.shape)}.")
    fitted: torch.Tensor = weight
    return fitted


def spread_weights(weight: Any, values: torch.Tensor) -> torch.Tensor:
    """Return weights of the shape of the values: one for a sample counts for all values of that sample.

    >>> spread_weights([1.0, 2.0], torch.zeros(2, 2))
    tensor([[1., 1.],
            [2., 2.]])
    """
    fitted = fit_weights(weight, values)
    return fitted.reshape(fitted.shape + (1,) * (values.ndim - fitted.ndim)).expand(values.shape)
