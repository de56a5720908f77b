"""What was not written for this library, as a `Loss`: a function of one's own, and torch's losses."""

import copy
import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from torchkeras_fn import portion
from torchkeras_fn.alignment import align, align_loosely, align_with_classes, as_values, combine, weighted
from torchkeras_fn.losses.base import AVERAGES, Loss, for_elements
from torchkeras_fn.registry import snake_case


class FunctionLoss(Loss):
    """A user's function `f(y_true, y_pred)`, which returns a value per sample, or a scalar, as a loss.

    >>> FunctionLoss(lambda y_true, y_pred: (y_true - y_pred).abs().mean(-1))([[1.0]], [[3.0]])
    tensor(2.)
    """

    def __init__(self, function: Callable[..., Any], reduction: str | None = "sum_over_batch_size", name: str | None = None):
        super().__init__(name or getattr(function, "__name__", None) or snake_case(type(function).__name__), reduction)
        self.function = function

    def align(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Make `(N,)` and `(N, 1)` agree; leave other shapes, which the function may know how to read."""
        return align_loosely(y_true, y_pred)

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return what the function returns. It is given copies: `y_pred /= ...`, as in many a Keras loss, must not reach the data."""
        values = self.function(y_true.clone(), y_pred.clone())
        if type(values) is not torch.Tensor:
            values = as_values(values, f"The loss {self.name!r}", y_pred)
        return values  # type: ignore[no-any-return]


class TorchLoss(Loss):
    """A torch loss, called in torch's order `loss(prediction, target)`: an `nn` module or a `torch.nn.functional` function.

    Where sample weights come in, its own `reduction` is set to `'none'` for that call. The sum is divided by what the loss divides by
    without them: for a crossentropy with `weight` that is the sum of the weights of the samples' classes, and those of
    `ignore_index` are left out. So sample weights of 1 change nothing.

    >>> TorchLoss(nn.CrossEntropyLoss())(torch.tensor([1]), torch.tensor([[0.0, 0.0]]))
    tensor(0.6931)
    """

    def __init__(self, function: Callable[..., Any], reduction: str | None = None, name: str | None = None):
        options = function.keywords if isinstance(function, functools.partial) else {}
        self.own_reduction = str(options.get("reduction", getattr(function, "reduction", "mean")))
        reduction = reduction or ("sum" if self.own_reduction == "sum" else "sum_over_batch_size")
        plain = function.func if isinstance(function, functools.partial) else function
        super().__init__(name or getattr(plain, "__name__", None) or type(plain).__name__, reduction)
        self.function = function
        bases = [base.__name__ for base in type(plain).__mro__ if base.__module__ == nn.MSELoss.__module__]
        self.kind = str(getattr(plain, "__name__", None) or next(iter(bases), ""))

    def align(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return targets of the predictions' shape, or class indices, as the loss takes them; a loss that torch has not sees its own."""
        if self.kind in _BY_ELEMENT:
            return align(y_true, y_pred)
        return align_with_classes(y_true, y_pred) if self.kind in _BY_CLASS and y_pred.ndim > 1 else align_loosely(y_true, y_pred)

    def prepare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return aligned targets, and the predictions as they are: torch's losses know their types."""
        return self.align(y_true, y_pred), y_pred

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the value of each sample or step: where the loss gives one for each element, the mean over the last axis."""
        return self.values_for(y_true, y_pred, None)

    def values_for(self, y_true: torch.Tensor, y_pred: torch.Tensor, sample_weight: Any) -> torch.Tensor:
        """Return what `call` returns, or the value of each element where each has a weight, as pixels may."""
        values: torch.Tensor = self._with_reduction("none")(y_pred, y_true)
        if type(values) is not torch.Tensor or not values.dtype.is_floating_point:
            values = as_values(values, f"The loss {self.name!r}", y_pred)
        if for_elements(sample_weight, y_pred) and self.has_elements:
            return values
        if values.shape != y_pred.shape or values.ndim < 2 or self.own_reduction == "sum":
            return values
        return values.sum(-1) if self.own_reduction == "batchmean" else values.mean(-1)

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return what the loss returns as it was given."""
        value: torch.Tensor = self.function(y_pred, y_true)
        if type(value) is not torch.Tensor or not value.dtype.is_floating_point:
            value = as_values(value, f"The loss {self.name!r}", y_pred)
        return value if value.ndim == 0 else value.mean()

    @property
    def has_elements(self) -> bool:
        """Whether torch's loss gives a value for each element of the predictions."""
        return self.kind in _BY_ELEMENT - {"MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"} and self.own_reduction != "batchmean"

    def compute(self, y_true: torch.Tensor, y_pred: torch.Tensor, sample_weight: Any = None, mask: Any = None) -> torch.Tensor:
        """Return the loss of prepared tensors, over the samples or steps that `mask` keeps, divided by what torch divides it by."""
        is_torchs_own = sample_weight is None and mask is None and portion.current() is None  # of all processes' rows none knows it
        shares = None if is_torchs_own or self.reduction not in AVERAGES[:2] else self.shares(y_true, y_pred)
        if shares is None:
            return super().compute(y_true, y_pred, sample_weight, mask)
        return self._by_shares(shares, y_true, y_pred, sample_weight, mask)

    def average(self, y_true: torch.Tensor, y_pred: torch.Tensor, sample_weight: Any = None, mask: Any = None) -> torch.Tensor:
        """Return the weighted mean of prepared tensors over what `mask` keeps, divided by what torch divides it by."""
        shares = self.shares(y_true, y_pred)
        if shares is None:
            return super().average(y_true, y_pred, sample_weight, mask)
        return self._by_shares(shares, y_true, y_pred, sample_weight, mask)

    def _by_shares(self, shares: torch.Tensor, y_true: torch.Tensor, y_pred: torch.Tensor, sample_weight: Any, mask: Any) -> torch.Tensor:
        values = weighted(self.call(y_true, y_pred), combine(sample_weight, mask))
        total = portion.whole(weighted(shares, combine(None, mask)).sum())
        return portion.of_sum(values.sum() / torch.where(total == 0, torch.inf, total))  # type: ignore[no-any-return]

    def shares(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor | None:
        """Return how much each target counts in the mean that torch takes, by its class; `None` where all count alike."""
        if isinstance(self.function, functools.partial):
            plain, options = self.function.func, self.function.keywords
        else:
            plain, options = self.function, {name: getattr(self.function, name, None) for name in ("weight", "ignore_index")}
        is_torchs = (type(plain) if isinstance(plain, nn.Module) else plain).__module__.startswith("torch.nn.")
        if self.kind not in _BY_WEIGHT_OF_CLASS or not is_torchs or self.own_reduction != "mean" or y_true.dtype.is_floating_point:
            return None
        ignored, weight = options.get("ignore_index"), options.get("weight")
        counts = y_true != (-100 if ignored is None else ignored)
        shares: torch.Tensor = counts.to(y_pred.dtype)
        return shares if weight is None else weight.to(y_pred)[torch.where(counts, y_true, 0)] * shares

    @property
    def is_by_class(self) -> bool:
        """Whether targets of an axis less than the predictions are class indices, and the classes lie along axis 1 of others."""
        return self.kind in _BY_CLASS

    @property
    def is_binary(self) -> bool:
        """Whether each value of an output is a yes or no."""
        return self.kind in _BINARY

    @property
    def takes_logits(self) -> bool:
        """Whether each value of an output is what a sigmoid would make a probability."""
        return self.kind in _BINARY_OF_LOGITS

    def _with_reduction(self, reduction: str) -> Callable[..., Any]:
        if isinstance(self.function, nn.Module):
            if not hasattr(self.function, "reduction"):
                return self.function
            unreduced: Any = copy.copy(self.function)
            unreduced.reduction = reduction
            return unreduced  # type: ignore[no-any-return]
        return functools.partial(self.function, reduction=reduction)


_BY_CLASS = {"CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "cross_entropy", "nll_loss", "multi_margin_loss"}
_BY_WEIGHT_OF_CLASS = {"CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss"}
_BINARY_OF_LOGITS = {"BCEWithLogitsLoss", "binary_cross_entropy_with_logits"}
_BINARY = {"BCELoss", "binary_cross_entropy"} | _BINARY_OF_LOGITS
_BY_ELEMENT = _BINARY | {
    *("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "KLDivLoss", "PoissonNLLLoss"),
    *("SoftMarginLoss", "HingeEmbeddingLoss", "MultiLabelSoftMarginLoss"),
    *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss"),
    *("soft_margin_loss", "hinge_embedding_loss", "multilabel_soft_margin_loss"),
}


def check_no_layer(function: Any, what: str) -> None:
    """Raise `TypeError` for a Keras layer, which torch's order of arguments would be wrong for, as it is a torch module too.

    >>> check_no_layer(nn.MSELoss(), "loss")
    """
    if any(base.__module__ == "torchkeras_fn.engine.layer" for base in type(function).__mro__):
        name = type(function).__name__
        raise TypeError(f"{name} is a layer, which no {what} can be. Derive it from {what.capitalize()}, or pass a function.")


_PREDICTIONS = {"y_pred", "y_hat", "pred", "preds", "prediction", "predictions", "output", "outputs", "logits", "input"}
_TARGETS = {"y_true", "y", "true", "target", "targets", "label", "labels"}


def warn_of_order(function: Any, what: str) -> None:
    """Warn where the names of a user's arguments tell that predictions and targets will come the other way round.

    >>> warn_of_order(lambda y_true, y_pred: y_pred, "loss")
    """
    called = function.forward if isinstance(function, nn.Module) else function
    if not (inspect.isfunction(called) or inspect.ismethod(called)) or str(called.__module__).startswith("torch."):
        return
    names, is_torchs = list(inspect.signature(called).parameters)[:2], in_torch_order(function)
    first, second = (_TARGETS, _PREDICTIONS) if is_torchs else (_PREDICTIONS, _TARGETS)
    if len(names) == 2 and names[0] in first and names[1] in second:
        name = getattr(function, "__name__", type(function).__name__)
        order = "prediction first, as modules of torch are" if is_torchs else "with y_true first, as in Keras"
        warnings.warn(
            f"The {what} {name!r} is called {order}, but its arguments are {names[0]!r} and {names[1]!r}. Change their order, or "
            f"pass {'a function, which is given y_true' if is_torchs else 'a torch.nn.Module, which is given the prediction'} first.",
            stacklevel=2,
        )


def in_torch_order(function: Any) -> bool:
    """Return whether a loss takes the prediction first: an `nn.Module`, or a function of `torch.nn.functional`.

    >>> in_torch_order(nn.functional.mse_loss), in_torch_order(lambda y_true, y_pred: y_pred)
    (True, False)
    """
    while isinstance(function, functools.partial):
        function = function.func
    return isinstance(function, nn.Module) or getattr(inspect.getmodule(function), "__name__", "") == "torch.nn.functional"
