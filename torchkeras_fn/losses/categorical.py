"""Losses of distributions over classes: crossentropy for one-hot targets and for class indices, and their focal and robust forms."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn import portion
from torchkeras_fn.alignment import align
from torchkeras_fn.arguments import fraction, integer, number
from torchkeras_fn.losses.base import Kernel, kernel_named
from torchkeras_fn.losses.probabilistic import Probabilistic, inside, power, smoothed


class CategoricalCrossentropy(Probabilistic):
    """`-Σ t log p` over `axis`, for one-hot or other distributions as targets.

    With `from_logits=True`, `p` is the softmax of the predictions; else they are scaled to sum to 1.
    `label_smoothing` moves targets towards the uniform distribution. Raises `ValueError` for a smoothing that is not
    between 0 and 1.

    >>> CategoricalCrossentropy()([[1.0, 0.0]], [[0.5, 0.5]])
    tensor(0.6931)
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.from_logits = bool(from_logits)
        self.label_smoothing = fraction(label_smoothing, "label_smoothing")
        self.axis = integer(axis, "axis")

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the crossentropy of each sample."""
        y_true = smoothed(y_true, self.label_smoothing, y_true.shape[self.axis])
        return -(y_true * _logarithms(y_pred, self.axis, self.from_logits)).sum(self.axis)

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the crossentropy over all samples."""
        if not self.from_logits:
            return self.call(y_true, y_pred).mean()
        y_true, y_pred = _classes_second(y_true, self.axis), _classes_second(y_pred, self.axis)
        return F.cross_entropy(y_pred, y_true, label_smoothing=self.label_smoothing)

    def recipe(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> Kernel | None:
        """Return torch's own function of predictions and targets where the classes are on axis 1."""
        return super().recipe(y_true, y_pred) if y_pred.ndim > 1 and self.axis % y_pred.ndim == 1 else None

    def kernel(self) -> Kernel | None:
        """Return torch's function for the mean over logits."""
        if not self.from_logits or type(self) is not CategoricalCrossentropy:
            return None
        return kernel_named("cross_entropy_loss", label_smoothing=self.label_smoothing)


class CategoricalFocalCrossentropy(CategoricalCrossentropy):
    """Categorical crossentropy with each class' term times `alpha (1 - p)^gamma`: what is easy counts little.

    `alpha` is a number, or one for each class. The other arguments are those of `CategoricalCrossentropy`.
    Formula: Lin et al., 2017, https://arxiv.org/abs/1708.02002

    >>> CategoricalFocalCrossentropy()([[1.0, 0.0]], [[0.5, 0.5]])
    tensor(0.0433)
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        self.alpha = [number(each, "alpha") for each in alpha] if isinstance(alpha, Sequence) else number(alpha, "alpha")
        self.gamma = number(gamma, "gamma", minimum=0)
        self._weights: torch.Tensor | None = None

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the loss of each sample."""
        y_true = smoothed(y_true, self.label_smoothing, y_true.shape[self.axis])
        logarithms = _logarithms(y_pred, self.axis, self.from_logits)
        values = y_true * logarithms * power(-torch.expm1(logarithms), self.gamma)
        return -(values * self._class_weights(values)).sum(self.axis)

    def _class_weights(self, values: torch.Tensor) -> float | torch.Tensor:
        """`alpha` as it multiplies the values; several numbers are put onto the device once."""
        if isinstance(self.alpha, float):
            return self.alpha
        if self._weights is None or (self._weights.device, self._weights.dtype) != (values.device, values.dtype):
            with torch.inference_mode(False):  # an evaluation may make what training goes on with
                self._weights = torch.tensor(self.alpha, device=values.device, dtype=values.dtype)
        return self._weights.reshape(-1, *(1,) * (values.ndim - 1 - self.axis % values.ndim))


class SparseCategoricalCrossentropy(Probabilistic):
    """`-log p[t]` for class indices `t`: predictions `(..., classes)`, targets `(...)` or `(..., 1)`; the classes may be on another `axis`.

    With `from_logits=True`, `p` is the softmax of the predictions; else they are scaled to sum to 1. Where the target is
    `ignore_class` the value is 0, and a mean leaves it out. Raises `ValueError` for indices beyond the last class.

    >>> SparseCategoricalCrossentropy(ignore_class=-1)([1, -1], [[0.5, 0.5], [0.1, 0.9]])
    tensor(0.6931)
    """

    indices = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.from_logits = bool(from_logits)
        self.ignore_class = None if ignore_class is None else integer(ignore_class, "ignore_class")
        self.axis = integer(axis, "axis")

    def align(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the class indices in the predictions' shape without their axis. Raises `ValueError` where they do not fit."""
        return align(y_true, y_pred, indices=True, axis=self.axis)

    def valid(self, y_true: torch.Tensor, values: torch.Tensor) -> torch.Tensor | None:
        """Return where the target is not `ignore_class`."""
        return None if self.ignore_class is None else y_true != self.ignore_class

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the crossentropy of each sample."""
        valid = self.valid(y_true, y_pred)
        chosen = y_true if valid is None else torch.where(valid, y_true, 0)
        values = -_pick(_logarithms(y_pred, self.axis, self.from_logits), chosen, self.axis)
        return values if valid is None else torch.where(valid, values, 0)

    def recipe(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> Kernel | None:
        """Return torch's own function of predictions and targets where the classes are on axis 1."""
        return super().recipe(y_true, y_pred) if y_pred.ndim > 1 and self.axis % y_pred.ndim == 1 else None

    def kernel(self) -> Kernel | None:
        """Return torch's function for the mean over logits."""
        return kernel_named("cross_entropy_loss") if self.from_logits and self.ignore_class is None else None

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the crossentropy over all samples."""
        rows = _classes_second(y_pred, self.axis)
        classes = y_true if rows is y_pred else y_true.reshape(-1)
        ignored = -100 if self.ignore_class is None else self.ignore_class
        reduction = "mean" if self.ignore_class is None else "sum"
        try:
            if self.from_logits:
                value = F.cross_entropy(rows, classes, ignore_index=ignored, reduction=reduction)
            else:
                value = F.nll_loss(_logarithms(rows, 1, False), classes, ignore_index=ignored, reduction=reduction)
        except IndexError as error:
            raise _beyond(classes, rows.shape[1]) from error
        valid = self.valid(y_true, value)
        return value if valid is None else portion.of_sum(value / portion.whole(valid.sum()).clamp(min=1))


class CategoricalGeneralizedCrossEntropy(Probabilistic):
    """`(1 - p[t]^q) / q` for class indices `t`: between crossentropy (`q` near 0) and the mean absolute error (`q` near 1).

    It forgives wrong labels. Raises `ValueError` for a `q` that is not between 0 and 1.
    Formula: Zhang & Sabuncu, 2018, https://arxiv.org/abs/1805.07836

    >>> CategoricalGeneralizedCrossEntropy()([1], [[0.75, 0.25]])
    tensor(1.)
    """

    indices = True

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.q = fraction(q, "q")
        if self.q in (0, 1):
            raise ValueError(f"'q' must be between 0 and 1, neither of them, got {q!r}.")

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the loss of each sample."""
        if self.from_logits:
            return -torch.expm1(self.q * _pick(torch.log_softmax(y_pred, -1), y_true, -1)) / self.q
        return (1 - power(_pick(y_pred, y_true, -1), self.q)) / self.q


def _logarithms(predictions: torch.Tensor, axis: int, from_logits: bool) -> torch.Tensor:
    """The logarithms of probabilities along an axis."""
    if from_logits:
        return torch.log_softmax(predictions, axis)
    return inside(predictions / predictions.sum(axis, keepdim=True)).log()


def _classes_second(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Values with the classes on axis 1, where torch's kernels look for them: as they are, or `(N, classes)` for all steps."""
    if values.ndim > 1 and axis % values.ndim == 1:
        return values
    return values.movedim(axis, -1).reshape(-1, values.shape[axis])


def _pick(values: torch.Tensor, classes: torch.Tensor, axis: int) -> torch.Tensor:
    """The values of the classes. Raises `ValueError` for a class that is not there."""
    try:
        return values.gather(axis, classes.unsqueeze(axis)).squeeze(axis)
    except (IndexError, RuntimeError) as error:
        raise _beyond(classes, values.shape[axis]) from error


def _beyond(classes: torch.Tensor, count: int) -> ValueError:
    hint = " For two classes told by a single output use 'binary_crossentropy'." if count == 1 else ""
    return ValueError(
        f"Classes are integers between 0 and {count - 1}, but the targets hold {int(classes.min())} to {int(classes.max())}.{hint}"
    )
