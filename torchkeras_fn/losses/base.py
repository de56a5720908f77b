"""What all losses share: how targets are fitted to predictions, and how the values of samples become one number."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from torchkeras_fn import config, portion
from torchkeras_fn.alignment import align, align_loosely, as_tensor, as_values, combine, refit, weighted
from torchkeras_fn.arguments import one_of
from torchkeras_fn.configurable import Configurable
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import snake_case

AVERAGES = ("sum_over_batch_size", "mean", "mean_with_sample_weight")
"""The reductions that are a plain mean where there are no weights."""


class Reduction:
    """Keras 2's names of the reductions.

    >>> Reduction.SUM
    'sum'
    """

    AUTO = "auto"
    NONE = "none"
    SUM = "sum"
    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"


Kernel = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A function of predictions and targets that returns the mean over all samples."""


def kernel_named(name: str, **options: Any) -> Kernel | None:
    """Return torch's own function of that name for a mean, past the Python in front of it; `None` where this torch has none.

    >>> kernel_named("mse_loss")(torch.zeros(2), torch.ones(2))
    tensor(1.)
    """
    function = getattr(torch._C._nn, name, None) or getattr(torch._C._VariableFunctions, name, None)
    return None if function is None else partial(function, reduction=_MEAN, **options)


_MEAN = 1
"""The mean among torch's numbers for reductions."""


class Loss(Configurable):
    """A loss over a batch. Subclasses define `call(y_true, y_pred)`, which returns a value per sample (or per step of a sample).

    `reduction` says what becomes of these values: `'sum_over_batch_size'` or `'mean'`, Σ weight·value over their number (Keras 2's
    `'auto'` is the same); `'mean_with_sample_weight'`, over the sum of the weights; `'sum'`; `'none'` or `None`, as they are.
    `name` is by default the class in snake case. `dtype` is the float type to compute in: by default that of the predictions,
    float32 for shorter ones, `floatx()` for integers. Raises `ValueError` for an unknown reduction or dtype.

    >>> class Cubic(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return (y_true - y_pred).abs().pow(3).mean(-1)
    >>> Cubic()(torch.zeros(2, 1), torch.ones(2, 1))
    tensor(1.)
    """

    indices = False
    """Targets are class indices, of the predictions' shape without its class axis."""

    axis: Any = -1
    """The axis of the classes, or the one that is averaged over."""

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None):
        if reduction is not None:
            one_of(reduction, "reduction", *AVERAGES, "sum", "none", "auto")
        self.name = name or snake_case(type(self).__name__)
        self.reduction = "sum_over_batch_size" if reduction == "auto" else reduction
        self._dtype = None if dtype is None else config.dtype(dtype)
        if self._dtype is not None and not self._dtype.is_floating_point:
            raise ValueError(f"'dtype' must be a float type, got {dtype!r}.")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """See to it that a subclass with a `call` of its own is not averaged by its parent's kernel, and a user's takes any targets."""
        super().__init_subclass__(**kwargs)
        if "call" in cls.__dict__ and "mean" not in cls.__dict__:
            cls.mean = Loss.mean  # type: ignore[method-assign]
        if not is_ours(cls) and cls.align is Loss.align and not cls.indices:
            cls.align = Loss._align_loosely  # type: ignore[method-assign]

    @property
    def dtype(self) -> str:
        """The name of the float type that was asked for, `floatx()` where none was."""
        return str(self._dtype or config.dtype(None)).removeprefix("torch.")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments by name; without `dtype`, as in Keras, where none was given."""
        arguments = super().get_config()
        if arguments.get("dtype", ...) is None:
            del arguments["dtype"]
        return arguments

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return a value per sample."""
        raise NotImplementedError(f"{type(self).__name__} needs a call(y_true, y_pred).")

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the mean over the samples of aligned targets; overridden where torch has one kernel for it."""
        values = self.call(y_true, y_pred)
        if type(values) is not torch.Tensor or not values.dtype.is_floating_point:
            values = as_values(values, f"The loss {self.name!r}", y_pred)
        valid = self.valid(y_true, values)
        return values.mean() if valid is None else weighted(values, combine(None, valid, scaled=True)).mean()

    def valid(self, y_true: torch.Tensor, values: torch.Tensor) -> torch.Tensor | None:
        """Return which of the values count, as a mask that a mean is taken over; `None` for all of them."""
        return None

    def align(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the targets in the shape and dtype that the predictions call for. Raises `ValueError` where they cannot be."""
        return align(y_true, y_pred, self.indices)

    def _align_loosely(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return align_loosely(y_true, y_pred)

    def prepare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return aligned targets and predictions of the type to compute in. Raises `ValueError` as `align` does."""
        dtype = y_pred.dtype
        if self._dtype is not None:
            wanted = self._dtype
        elif dtype.is_floating_point or dtype.is_complex:
            wanted = torch.float32 if dtype.itemsize < 4 else dtype
        else:
            wanted = config.dtype(None)
        y_pred = y_pred if dtype == wanted else y_pred.to(wanted)
        return self.align(y_true, y_pred), y_pred

    def shares(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor | None:
        """Return how much each prepared target counts in the mean of its batch; `None` where all count alike."""
        return None

    def on_logits(self, kind: str) -> "Loss | None":
        """Return this loss for predictions before their `'softmax'` or `'sigmoid'`; `None` where there is no such form."""
        return None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> torch.Tensor:
        """Return the loss; `sample_weight` holds a number per sample (or per step)."""
        y_pred = as_tensor(y_pred)
        return self.compute(*self.prepare(as_tensor(y_true, y_pred), y_pred), sample_weight)

    def compute(self, y_true: torch.Tensor, y_pred: torch.Tensor, sample_weight: Any = None, mask: Any = None) -> torch.Tensor:
        """Return the loss of prepared tensors, over the samples or steps that `mask` keeps."""
        if sample_weight is None and mask is None and self.reduction in AVERAGES:
            return self.mean(y_true, y_pred)
        values = self.values_for(y_true, y_pred, sample_weight)
        if type(values) is not torch.Tensor or not values.dtype.is_floating_point:
            values = as_values(values, f"The loss {self.name!r}", y_pred)
        valid = self.valid(y_true, values)
        return self.reduce(values, sample_weight, mask if valid is None else combine(valid, mask))

    def average(self, y_true: torch.Tensor, y_pred: torch.Tensor, sample_weight: Any = None, mask: Any = None) -> torch.Tensor:
        """Return the weighted mean of prepared tensors over the samples or steps that `mask` keeps, whatever `reduction` says."""
        values = self.values_for(y_true, y_pred, sample_weight)
        if type(values) is not torch.Tensor or not values.dtype.is_floating_point:
            values = as_values(values, f"The loss {self.name!r}", y_pred)
        valid = self.valid(y_true, values)
        return weighted(values, combine(sample_weight, mask if valid is None else combine(valid, mask), scaled=True)).mean()

    @property
    def has_elements(self) -> bool:
        """Whether each element of the predictions has a value of its own."""
        return False

    def values_for(self, y_true: torch.Tensor, y_pred: torch.Tensor, sample_weight: Any) -> torch.Tensor:
        """Return the values that the weights are for: what `call` returns, or one for each element where each has a weight."""
        return self.call(y_true, y_pred)

    def reduce(self, values: torch.Tensor, sample_weight: Any = None, mask: Any = None) -> torch.Tensor:
        """Weight values per sample and reduce them as `reduction` says; a mean is one over what `mask` keeps."""
        weight = combine(sample_weight, mask, scaled=self.reduction in AVERAGES[:2])
        values = weighted(values, weight)
        if self.reduction in (None, "none"):
            return values
        if self.reduction == "sum":
            return portion.of_sum(values.sum())  # type: ignore[no-any-return]
        if weight is None or self.reduction in AVERAGES[:2]:
            return values.mean()
        total = portion.whole(torch.as_tensor(weight, device=values.device).sum()).to(values.dtype)
        return portion.of_sum(values.sum() / torch.where(total == 0, torch.inf, total))  # type: ignore[no-any-return]

    def kernel(self) -> Kernel | None:
        """Return torch's own function of aligned predictions and targets that is this mean, if there is one."""
        return None

    def recipe(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> Kernel | None:
        """Return a function of predictions and targets, of just these shapes and types, that computes what `compute` does.

        All that there is to decide is decided here, once. `None` where that is not known beforehand, and for losses of the user's.
        """
        kernel = self.kernel() if is_ours(type(self)) and self.reduction in AVERAGES else None
        if kernel is None:
            return None
        aligned, prediction = self.prepare(y_true, y_pred)
        if prediction is not y_pred:
            return None
        fit = refit(y_true, aligned)
        return kernel if fit is None else lambda y_pred, y_true: kernel(y_pred, fit(y_true))

    def _is_ours(self) -> bool:
        """Whether this library computes the values, not a subclass of the user's."""
        computing = {"call", "mean", "_elements"}
        users = [cls for cls in type(self).__mro__ if not is_ours(cls)]
        return not any(computing & cls.__dict__.keys() for cls in users)


def for_elements(weight: Any, y_pred: torch.Tensor) -> bool:
    """Return whether there is a weight for each element of predictions that have more axes than samples of a few features have.

    >>> for_elements(torch.ones(2, 4, 4), torch.ones(2, 4, 4)), for_elements(torch.ones(2, 4), torch.ones(2, 4, 4))
    (True, False)
    """
    return getattr(weight, "ndim", 0) == y_pred.ndim > 2 and weight.shape[-1] == y_pred.shape[-1]


class Elementwise(Loss):
    """A loss with a value for each element: a sample's is the mean over `axis`. Subclasses define `_elements(y_true, y_pred)`.

    Predictions `(N,)` are N samples of one value, each with a weight of its own.
    """

    @property
    def has_elements(self) -> bool:
        """Whether each element of the predictions has a value of its own."""
        return type(self).call is Elementwise.call and self.axis == -1

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the value of each sample."""
        values = self._elements(y_true, y_pred)
        return values.mean(self.axis) if values.ndim > 1 else values

    def values_for(self, y_true: torch.Tensor, y_pred: torch.Tensor, sample_weight: Any) -> torch.Tensor:
        """Return the value of each sample, or of each element where each has a weight, as pixels may."""
        if for_elements(sample_weight, y_pred) and self.has_elements:
            return self._elements(y_true, y_pred)
        return self.call(y_true, y_pred)

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the mean over all elements; overridden where torch has one kernel for it."""
        return self._elements(y_true, y_pred).mean()
