"""Targets and weights brought into the shape of predictions, or refused: nothing is ever broadcast by chance."""

from collections.abc import Callable
from typing import Any

import torch

from torchkeras_fn import portion


def as_tensor(value: Any, like: Any = None) -> Any:
    """Return an array or nested lists as a tensor, on the device of the tensor `like`; what answers to torch functions as it is.

    >>> as_tensor([1.0, 2.0])
    tensor([1., 2.])
    """
    if hasattr(type(value), "__torch_function__"):
        return value
    return torch.as_tensor(value, device=like.device if isinstance(like, torch.Tensor) else None)


def as_values(value: Any, what: str, like: torch.Tensor) -> Any:
    """Return what a user's loss or metric returned as a tensor of real numbers of the type of `like`, where it is not one yet.

    Raises `TypeError`, with `what` returned it, for anything that no number can be made of.

    >>> as_values(True, "The loss 'same'", torch.zeros(1))
    tensor(1.)
    """
    if not hasattr(type(value), "__torch_function__"):
        listed = isinstance(value, (list, tuple))
        try:
            if listed and all(isinstance(part, torch.Tensor) and not part.ndim for part in value):
                value = torch.stack(tuple(value))  # with their gradients
            else:
                value = torch.as_tensor(value, device=like.device)
        except (TypeError, ValueError, RuntimeError):
            hint = " Return one tensor: their sum, or torch.stack of them." if listed else " Does it end with a return?"
            hint = hint if listed or value is None else ""
            raise TypeError(f"{what} {_MUST_BE}, but it returned something of type {type(value).__name__}.{hint}") from None
    if not isinstance(value, torch.Tensor) or value.is_floating_point():
        return value
    if value.is_complex():
        raise TypeError(f"{what} {_MUST_BE}, but it returned complex ones. Take their .abs() or .real.")
    return value.to(like.dtype if like.is_floating_point() else torch.float32)


_MUST_BE = "has to return a tensor of real numbers, one for each sample or one alone"


def weighted(values: torch.Tensor, weight: Any) -> torch.Tensor:
    """Return the values times the weights; weights of lower rank, or of size 1 on a later axis, count for all steps of a sample.

    Raises `ValueError` for weights that do not go with the values.

    >>> weighted(torch.ones(2, 3), torch.tensor([1.0, 2.0])).sum()
    tensor(9.)
    """
    if weight is None:
        return values
    weight = torch.as_tensor(weight, device=values.device).to(values.dtype)
    if weight.ndim > values.ndim and weight.shape[-1] == 1:
        weight = weight.squeeze(-1)
    if values.ndim and weight.shape != values.shape[: weight.ndim]:
        sizes = zip(weight.shape[1:], values.shape[1 : weight.ndim], strict=False)
        if weight.ndim > values.ndim or weight.shape[0] != values.shape[0] or any(size not in (1, wanted) for size, wanted in sizes):
            raise ValueError(f"Weights of shape {tuple(weight.shape)} do not fit values of shape {tuple(values.shape)}.")
    product: torch.Tensor = values * weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim))
    return product


def combine(weight: Any, mask: Any, scaled: bool = False) -> Any:
    """Return one weight out of sample weights and a mask, either of which may be `None`.

    The mask is `scaled` so that a mean over all steps is one over those that it keeps. Of a list of masks, as a layer of several
    inputs may hand them on, an output has the first, as in Keras.

    >>> combine(None, torch.tensor([True, False]), scaled=True)
    tensor([2., 0.])
    """
    if isinstance(mask, (list, tuple)):
        mask = mask[0] if mask else None
    if mask is None:
        return weight
    mask = mask.to(torch.float32)
    if scaled:
        mask = portion.of_sum(mask * (mask.numel() / portion.whole(mask.sum()).clamp(min=1)))
    if weight is None:
        return mask
    weight = torch.as_tensor(weight, device=mask.device)
    return weighted(mask, weight) if mask.ndim >= weight.ndim else weighted(weight.to(mask.dtype), mask)


def align(y_true: torch.Tensor, y_pred: torch.Tensor, indices: bool = False, axis: int = -1) -> torch.Tensor:
    """Return the targets in the shape of the predictions, `(N,)` and `(N, 1)` being one thing, and in their dtype.

    With `indices`, targets are class indices and take the predictions' shape without the `axis` of the classes. Raises
    `ValueError` for any other mismatch: nothing is broadcast.

    >>> align(torch.ones(4), torch.zeros(4, 1)).shape
    torch.Size([4, 1])
    """
    true, pred = y_true.shape, y_pred.shape
    if indices:
        return _as_indices(y_true, pred[:-1] if axis == -1 else _without(axis, pred), pred, axis)
    if true != pred:
        if len(true) + 1 == len(pred) and pred[-1] == 1 and true == pred[:-1]:
            y_true = y_true.unsqueeze(-1)
        elif len(true) == len(pred) + 1 and true[-1] == 1 and true[:-1] == pred:
            y_true = y_true.squeeze(-1)
        else:
            hint = ""
            if true == pred[:-1] or (len(true) == len(pred) and true[-1:] == (1,) and true[:-1] == pred[:-1]):
                hint = " If the targets are class indices, use 'sparse_categorical_crossentropy'."
            raise ValueError(f"Targets of shape {_shown(true)} do not fit predictions of shape {_shown(pred)}.{hint}")
    return y_true if y_true.dtype == y_pred.dtype or not y_pred.dtype.is_floating_point else y_true.to(y_pred.dtype)


def refit(y_true: torch.Tensor, aligned: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return the function that does to other targets of this shape and type what made them `aligned`; `None` for nothing.

    >>> refit(torch.ones(4), align(torch.ones(4), torch.zeros(4, 1)))(torch.zeros(4)).shape
    torch.Size([4, 1])
    """
    if aligned is y_true:
        return None
    shape, dtype = aligned.shape, aligned.dtype
    if dtype == y_true.dtype:
        return lambda y_true: y_true.reshape(shape)
    return lambda y_true: y_true.reshape(shape).to(dtype)


def align_with_classes(y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
    """Align targets with predictions that have the classes on axis 1, where torch has them: indices, or a share per class.

    >>> align_with_classes(torch.zeros(4, 1), torch.zeros(4, 3)).shape
    torch.Size([4])
    """
    if y_true.shape == y_pred.shape:
        return align(y_true, y_pred)
    return _as_indices(y_true, y_pred.shape[:1] + y_pred.shape[2:], y_pred.shape)


def align_loosely(y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
    """Align as `align` does where the shapes differ by a last axis of 1 or not at all; leave other targets as they are.

    Integers of another shape than the predictions' are class indices and become int64.

    >>> align_loosely(torch.ones(4), torch.zeros(4, 1)).shape
    torch.Size([4, 1])
    """
    same = y_true.shape == y_pred.shape
    trailing = y_true.shape[:-1] == y_pred.shape if y_true.ndim > y_pred.ndim else y_true.shape == y_pred.shape[:-1]
    one = (y_true if y_true.ndim > y_pred.ndim else y_pred).shape[-1:] == (1,)
    if same or (trailing and one and abs(y_true.ndim - y_pred.ndim) == 1):
        return align(y_true, y_pred)
    if y_true.dtype.is_floating_point or y_true.dtype == torch.bool:
        return y_true
    return y_true.long()


def _without(axis: int, shape: Any) -> tuple[Any, ...]:
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"There is no axis {axis} in predictions of shape {tuple(shape)}.")
    return tuple(size for place, size in enumerate(shape) if place != axis % len(shape))


def _as_indices(y_true: torch.Tensor, wanted: Any, pred: Any, axis: int = -1) -> torch.Tensor:
    true = y_true.shape
    if true == wanted:
        return y_true if y_true.dtype == torch.int64 else y_true.long()
    if len(true) == len(wanted) + 1 and true[axis] == 1 and _without(axis, true) == tuple(wanted):
        return y_true.squeeze(axis).long()
    hint = " The targets look one-hot: use 'categorical_crossentropy'." if true == pred else ""
    needed = f"Class indices of shape {_shown(wanted)} are needed for predictions of shape {_shown(pred)}"
    raise ValueError(f"{needed}, got {_shown(true)}.{hint}")


def _shown(shape: Any) -> tuple[int | None, ...]:
    """A shape as messages have it: a check before the first batch is made without rows, which stand for any number of them."""
    return tuple(None if place == 0 and size == 0 else size for place, size in enumerate(shape))
