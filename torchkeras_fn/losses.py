"""Losses: how far predictions are from targets. Functions `(y_true, y_pred)` give a value per sample, classes reduce them."""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import config
from torchkeras_fn.alignment import align, align_loosely, align_with_classes, as_tensor, weighted
from torchkeras_fn.configurable import Configurable
from torchkeras_fn.registry import Registry


class Loss(Configurable):
    """A loss over a batch. `reduction` is `'sum_over_batch_size'` (the mean), `'sum'`, or `'none'` (a value per sample).

    Subclasses define `call(y_true, y_pred)`, which returns a value per sample (or per step of a sample).

    >>> class Cubic(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return (y_true - y_pred).abs().pow(3).mean(-1)
    >>> Cubic()(torch.zeros(2, 1), torch.ones(2, 1))
    tensor(1.)
    """

    indices = False
    """Targets are class indices, of the predictions' shape without its last axis."""

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = None):
        if reduction not in ("sum_over_batch_size", "mean", "sum", "none", None):
            raise ValueError(f"'reduction' must be 'sum_over_batch_size', 'sum' or 'none', got {reduction!r}.")
        self.reduction = "sum_over_batch_size" if reduction == "mean" else reduction
        self.name = name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """See to it that a subclass with a `call` of its own is not averaged by its parent's kernel."""
        super().__init_subclass__(**kwargs)
        if "call" in cls.__dict__ and "mean" not in cls.__dict__:
            cls.mean = Loss.mean  # type: ignore[method-assign]

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return a value per sample."""
        raise NotImplementedError(f"{type(self).__name__} needs a call(y_true, y_pred).")

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the mean over the samples of aligned targets; overridden where torch has one kernel for it."""
        return self.call(y_true, y_pred).mean()

    def align(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the targets in the shape and dtype that the predictions call for. Raises `ValueError` where they cannot be."""
        return align(y_true, y_pred, self.indices)

    def on_logits(self, kind: str) -> "Loss | None":
        """Return this loss for predictions before their `'softmax'` or `'sigmoid'`; `None` where there is no such form."""
        return None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> torch.Tensor:
        """Return the loss; `sample_weight` holds a number per sample (or per step)."""
        y_pred = as_tensor(y_pred)
        y_true = self.align(as_tensor(y_true), y_pred)
        if sample_weight is None and self.reduction == "sum_over_batch_size":
            return self.mean(y_true, y_pred)
        return self.reduce(weighted(self.call(y_true, y_pred), sample_weight))

    def reduce(self, values: torch.Tensor) -> torch.Tensor:
        """Reduce weighted values per sample as `reduction` says."""
        if self.reduction == "sum_over_batch_size":
            return values.mean()
        return values.sum() if self.reduction == "sum" else values


class MeanSquaredError(Loss):
    """The mean of `(y_true - y_pred)²` over the last axis.

    >>> MeanSquaredError()([[0.0, 1.0]], [[1.0, 1.0]])
    tensor(0.5000)
    """

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the error of each sample."""
        return _per_sample(F.mse_loss(y_pred, y_true, reduction="none"))

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the error over all samples."""
        return F.mse_loss(y_pred, y_true)


class MeanAbsoluteError(Loss):
    """The mean of `|y_true - y_pred|` over the last axis.

    >>> MeanAbsoluteError()([[0.0, 1.0]], [[2.0, 1.0]])
    tensor(1.)
    """

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the error of each sample."""
        return _per_sample(F.l1_loss(y_pred, y_true, reduction="none"))

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the error over all samples."""
        return F.l1_loss(y_pred, y_true)


class _Crossentropy(Loss):
    kind = "softmax"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(reduction, name)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"'label_smoothing' must be between 0 and 1, got {label_smoothing!r}.")
        self.from_logits = from_logits
        self.label_smoothing = float(label_smoothing)

    def on_logits(self, kind: str) -> Loss | None:
        """Return the same loss with `from_logits=True`, for the activation that belongs to it; none where a subclass computes it."""
        own = {type(self).call.__module__, type(self).mean.__module__} == {__name__}
        if self.from_logits or kind != self.kind or not own:
            return None
        form = copy.copy(self)
        form.from_logits = True
        return form


class BinaryCrossentropy(_Crossentropy):
    """`-t log p - (1 - t) log(1 - p)`, the mean over the last axis, for targets between 0 and 1.

    With `from_logits=True`, `p` is the sigmoid of the predictions. `label_smoothing` moves targets towards 1/2.

    >>> BinaryCrossentropy()([[1.0]], [[0.5]])
    tensor(0.6931)
    """

    kind = "sigmoid"

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the crossentropy of each sample."""
        return _per_sample(self._elements(y_true, y_pred, "none"))

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the crossentropy over all samples."""
        return self._elements(y_true, y_pred, "mean")

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor, reduction: str) -> torch.Tensor:
        if self.label_smoothing:
            y_true = y_true * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.from_logits:
            return F.binary_cross_entropy_with_logits(y_pred, y_true, reduction=reduction)
        return F.binary_cross_entropy(_inside(y_pred), y_true, reduction=reduction)


class CategoricalCrossentropy(_Crossentropy):
    """`-Σ t log p` over the last axis, for one-hot or other distributions as targets.

    With `from_logits=True`, `p` is the softmax of the predictions; else they are scaled to sum to 1.
    `label_smoothing` moves targets towards the uniform distribution.

    >>> CategoricalCrossentropy()([[1.0, 0.0]], [[0.5, 0.5]])
    tensor(0.6931)
    """

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the crossentropy of each sample."""
        if self.label_smoothing:
            y_true = y_true * (1 - self.label_smoothing) + self.label_smoothing / y_true.shape[-1]
        return -(y_true * _log_probabilities(y_pred, self.from_logits)).sum(-1)


class SparseCategoricalCrossentropy(_Crossentropy):
    """`-log p[t]` for class indices `t`: predictions `(..., classes)`, targets `(...)` or `(..., 1)`.

    With `from_logits=True`, `p` is the softmax of the predictions; else they are scaled to sum to 1.

    >>> SparseCategoricalCrossentropy()([1], [[0.5, 0.5]])
    tensor(0.6931)
    """

    indices = True

    def __init__(self, from_logits: bool = False, reduction: str | None = "sum_over_batch_size", name: str | None = None):
        super().__init__(from_logits, reduction=reduction, name=name)

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the crossentropy of each sample."""
        return self._elements(y_true.reshape(-1), y_pred.reshape(-1, y_pred.shape[-1]), "none").reshape(y_true.shape)

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the crossentropy over all samples."""
        if y_pred.ndim != 2:
            y_true, y_pred = y_true.reshape(-1), y_pred.reshape(-1, y_pred.shape[-1])
        return self._elements(y_true, y_pred, "mean")

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor, reduction: str) -> torch.Tensor:
        try:
            if self.from_logits:
                return F.cross_entropy(y_pred, y_true, reduction=reduction)
            return F.nll_loss(_log_probabilities(y_pred, False), y_true, reduction=reduction)
        except IndexError as error:
            found = f"{int(y_true.min())} to {int(y_true.max())}"
            raise ValueError(f"Classes are integers between 0 and {y_pred.shape[-1] - 1}, but the targets hold {found}.") from error


def _per_sample(values: torch.Tensor) -> torch.Tensor:
    """The mean over the last axis; predictions `(N,)` are N samples of one value, each with a weight of its own."""
    return values.mean(-1) if values.ndim > 1 else values


def _inside(probabilities: torch.Tensor) -> torch.Tensor:
    """Probabilities kept away from 0 and 1, so that their logarithms are finite."""
    return probabilities.clamp(config.epsilon(), 1 - config.epsilon())


def _log_probabilities(predictions: torch.Tensor, from_logits: bool) -> torch.Tensor:
    if from_logits:
        return torch.log_softmax(predictions, -1)
    return _inside(predictions / predictions.sum(-1, keepdim=True)).log()


class FunctionLoss(Loss):
    """A user's function `f(y_true, y_pred)`, which returns a value per sample, or a scalar, as a loss.

    >>> FunctionLoss(lambda y_true, y_pred: (y_true - y_pred).abs().mean(-1))([[1.0]], [[3.0]])
    tensor(2.)
    """

    def __init__(self, function: Callable[..., Any], reduction: str | None = "sum_over_batch_size", name: str | None = None):
        super().__init__(reduction, name or getattr(function, "__name__", None))
        self.function = function

    def align(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Make `(N,)` and `(N, 1)` agree; leave other shapes, which the function may know how to read."""
        return align_loosely(y_true, y_pred)

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return what the function returns."""
        return torch.as_tensor(self.function(y_true, y_pred))


class TorchLoss(Loss):
    """A torch loss, called in torch's order `loss(prediction, target)`: an `nn` module or a `torch.nn.functional` function.

    Where sample weights come in, its own `reduction` is set to `'none'` for that call.

    >>> TorchLoss(nn.CrossEntropyLoss())(torch.tensor([1]), torch.tensor([[0.0, 0.0]]))
    tensor(0.6931)
    """

    def __init__(self, function: Callable[..., Any], reduction: str | None = None, name: str | None = None):
        options = function.keywords if isinstance(function, functools.partial) else {}
        self.own_reduction = str(options.get("reduction", getattr(function, "reduction", "mean")))
        reduction = reduction or ("sum" if self.own_reduction == "sum" else "sum_over_batch_size")
        plain = function.func if isinstance(function, functools.partial) else function
        super().__init__(reduction, name or getattr(plain, "__name__", None) or type(plain).__name__)
        self.function = function
        bases = [base.__name__ for base in type(plain).__mro__ if base.__module__ == nn.MSELoss.__module__]
        self.kind = str(getattr(plain, "__name__", None) or next(iter(bases), ""))

    def align(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return targets of the predictions' shape, or class indices, as the loss takes them; a loss that torch has not sees its own."""
        if self.kind in _BY_ELEMENT:
            return align(y_true, y_pred)
        return align_with_classes(y_true, y_pred) if self.kind in _BY_CLASS and y_pred.ndim > 1 else align_loosely(y_true, y_pred)

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the value of each sample or step: where the loss gives one for each element, the mean over the last axis."""
        values: torch.Tensor = self._with_reduction("none")(y_pred, y_true)
        if values.shape != y_pred.shape or values.ndim < 2 or self.own_reduction == "sum":
            return values
        return values.sum(-1) if self.own_reduction == "batchmean" else values.mean(-1)

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return what the loss returns as it was given."""
        value: torch.Tensor = self.function(y_pred, y_true)
        return value if value.ndim == 0 else value.mean()

    def _with_reduction(self, reduction: str) -> Callable[..., Any]:
        if isinstance(self.function, nn.Module):
            if not hasattr(self.function, "reduction"):
                return self.function
            unreduced: Any = copy.copy(self.function)
            unreduced.reduction = reduction
            return unreduced  # type: ignore[no-any-return]
        return functools.partial(self.function, reduction=reduction)


_BY_CLASS = {"CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "cross_entropy", "nll_loss", "multi_margin_loss"}
_BINARY = {"BCELoss", "BCEWithLogitsLoss", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
_BY_ELEMENT = _BINARY | {
    *("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "KLDivLoss", "PoissonNLLLoss"),
    *("SoftMarginLoss", "HingeEmbeddingLoss", "MultiLabelSoftMarginLoss"),
    *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss"),
    *("soft_margin_loss", "hinge_embedding_loss", "multilabel_soft_margin_loss"),
}


def _as_function(loss: type[Loss], name: str) -> Callable[..., torch.Tensor]:
    def function(y_true: Any, y_pred: Any, **options: Any) -> torch.Tensor:
        chosen = loss(**options)
        y_pred = as_tensor(y_pred)
        return chosen.call(chosen.align(as_tensor(y_true), y_pred), y_pred)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Return the value of `{loss.__name__}(**options)` for each sample."
    return function


mean_squared_error = _as_function(MeanSquaredError, "mean_squared_error")
mean_absolute_error = _as_function(MeanAbsoluteError, "mean_absolute_error")
binary_crossentropy = _as_function(BinaryCrossentropy, "binary_crossentropy")
categorical_crossentropy = _as_function(CategoricalCrossentropy, "categorical_crossentropy")
sparse_categorical_crossentropy = _as_function(SparseCategoricalCrossentropy, "sparse_categorical_crossentropy")
mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error

_CLASSES: dict[str, type[Loss]] = {
    "mean_squared_error": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
}
_FUNCTIONS: Mapping[Any, type[Loss]] = {globals()[name]: loss for name, loss in _CLASSES.items()}
ALIASES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "bce": "binary_crossentropy",
    "cce": "categorical_crossentropy",
    "scce": "sparse_categorical_crossentropy",
}
registry = Registry("loss", _CLASSES, ALIASES)


def get(identifier: Any) -> Any:
    """Return a `Loss` for a name, a config, a loss object, a function `(y_true, y_pred)`, or a torch loss.

    Raises `ValueError` for an unknown name, with the nearest known one.

    >>> get("mse").__class__.__name__
    'MeanSquaredError'
    """
    found = registry.get(identifier)
    if found is None or isinstance(found, Loss):
        return found
    if found in _FUNCTIONS:
        return _FUNCTIONS[found]()
    return (TorchLoss if in_torch_order(found) else FunctionLoss)(found)


def in_torch_order(function: Any) -> bool:
    """Return whether a loss takes the prediction first: an `nn.Module`, or a function of `torch.nn.functional`.

    >>> in_torch_order(F.mse_loss), in_torch_order(mean_squared_error)
    (True, False)
    """
    while isinstance(function, functools.partial):
        function = function.func
    return isinstance(function, nn.Module) or getattr(inspect.getmodule(function), "__name__", "") == "torch.nn.functional"


def is_binary(loss: Any) -> bool:
    """Return whether a loss is a binary crossentropy, ours or torch's: each value of an output is a yes or no.

    >>> is_binary(BinaryCrossentropy()), is_binary(get(nn.BCELoss())), is_binary(get("mse"))
    (True, True, False)
    """
    return isinstance(loss, BinaryCrossentropy) or (isinstance(loss, TorchLoss) and loss.kind in _BINARY)


def serialize(loss: Any) -> Any:
    """Return the name or config that `deserialize` turns back into the loss.

    >>> serialize(MeanSquaredError())["class_name"]
    'MeanSquaredError'
    """
    if isinstance(loss, (FunctionLoss, TorchLoss)):
        loss = loss.function
    return registry.serialize(loss)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the loss that `serialize` described.

    >>> deserialize("mse").__class__.__name__
    'MeanSquaredError'
    """
    return get(registry.deserialize(config, custom_objects))
