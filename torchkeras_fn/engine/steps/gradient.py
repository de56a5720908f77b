"""The backward pass of a loss, straight into torch's autograd engine."""

from typing import Any

import torch

_run: Any = getattr(getattr(torch.autograd.Variable, "_execution_engine", None), "run_backward", None)
_METHOD, _FUNCTION = torch.Tensor.backward, torch.autograd.backward
_ones: dict[torch.dtype, torch.Tensor] = {}


def run_backward(loss: torch.Tensor) -> None:
    """Add the gradients of a loss to the `grad` of all it was computed from, as `loss.backward()` does.

    For a plain scalar on the CPU this calls the engine past the Python in front of it, which costs a third of the
    backward pass of a small model, with a 1 that is made once. A subclass of `Tensor`, and a `backward` that somebody
    put in place of torch's, take the public way.

    >>> weight = torch.ones(2, requires_grad=True)
    >>> run_backward((weight * 3).sum())
    >>> weight.grad
    tensor([3., 3.])
    """
    is_torchs = torch.Tensor.backward is _METHOD and torch.autograd.backward is _FUNCTION and _run is not None
    if not is_torchs or type(loss) is not torch.Tensor or loss.ndim or not loss.is_cpu:
        loss.backward()  # type: ignore[no-untyped-call]
        return
    dtype = loss.dtype
    one = _ones.get(dtype)
    if one is None:
        with torch.inference_mode(False):
            one = _ones[dtype] = torch.ones((), dtype=dtype, device="cpu")
    _run((loss,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True)
