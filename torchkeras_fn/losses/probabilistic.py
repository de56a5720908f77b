"""Losses of probabilities that stand for themselves: binary crossentropy and its focal form, Kullback-Leibler divergence, Poisson."""

import copy
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn import config
from torchkeras_fn.arguments import fraction, integer, number
from torchkeras_fn.losses.base import Elementwise, Kernel, Loss, kernel_named


class Probabilistic(Loss):
    """A loss of probabilities that can also be computed from the logits behind them. `kind` is the activation in between.

    >>> BinaryCrossentropy().on_logits("sigmoid").from_logits
    True
    """

    kind = "softmax"
    from_logits = False

    def on_logits(self, kind: str) -> Loss | None:
        """Return the same loss with `from_logits=True`, for the activation that belongs to it; none where a subclass computes it."""
        if self.from_logits or kind != self.kind or not self._is_ours():
            return None
        form = copy.copy(self)
        form.from_logits = True
        return form


class BinaryCrossentropy(Probabilistic, Elementwise):
    """`-t log p - (1 - t) log(1 - p)`, the mean over `axis`, for targets between 0 and 1.

    With `from_logits=True`, `p` is the sigmoid of the predictions. `label_smoothing` moves targets towards 1/2.
    Raises `ValueError` for a smoothing that is not between 0 and 1.

    >>> BinaryCrossentropy()([[1.0]], [[0.5]])
    tensor(0.6931)
    """

    kind = "sigmoid"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.from_logits = bool(from_logits)
        self.label_smoothing = fraction(label_smoothing, "label_smoothing")
        self.axis = integer(axis, "axis")

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor, reduction: str = "none") -> torch.Tensor:
        y_true = smoothed(y_true, self.label_smoothing, 2)
        if self.from_logits:
            return F.binary_cross_entropy_with_logits(y_pred, y_true, reduction=reduction)
        return F.binary_cross_entropy(inside(y_pred), y_true, reduction=reduction)

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the crossentropy over all samples."""
        return self._elements(y_true, y_pred, "mean")

    def kernel(self) -> Kernel | None:
        """Return torch's function for the mean over logits."""
        plain = self.from_logits and not self.label_smoothing and type(self) is BinaryCrossentropy
        return kernel_named("binary_cross_entropy_with_logits") if plain else None


class BinaryFocalCrossentropy(BinaryCrossentropy):
    """Binary crossentropy times `(1 - p_t)^gamma`, `p_t` being the probability given to the truth: what is easy counts little.

    With `apply_class_balancing`, ones weigh `alpha` and zeros `1 - alpha`. The other arguments are those of `BinaryCrossentropy`.
    Formula: Lin et al., 2017, https://arxiv.org/abs/1708.02002

    >>> BinaryFocalCrossentropy()([[1.0]], [[0.5]])
    tensor(0.1733)
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        self.apply_class_balancing = bool(apply_class_balancing)
        self.alpha = number(alpha, "alpha")
        self.gamma = number(gamma, "gamma", minimum=0)

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor, reduction: str = "none") -> torch.Tensor:
        crossentropy = super()._elements(y_true, y_pred)
        y_true = smoothed(y_true, self.label_smoothing, 2)
        one, zero = (y_pred.sigmoid(), (-y_pred).sigmoid()) if self.from_logits else (y_pred, 1 - y_pred)
        values = power(y_true * zero + (1 - y_true) * one, self.gamma) * crossentropy
        if self.apply_class_balancing:
            values = values * (y_true * self.alpha + (1 - y_true) * (1 - self.alpha))
        return values.mean() if reduction == "mean" else values


class KLDivergence(Probabilistic):
    """`Σ t log(t / p)` over the last axis, for distributions; both are kept between `epsilon()` and 1.

    Formula: https://en.wikipedia.org/wiki/Kullback%E2%80%93Leibler_divergence

    >>> KLDivergence()([[1.0, 0.0]], [[0.5, 0.5]])
    tensor(0.6931)
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "kl_divergence", dtype: Any = None):
        super().__init__(name, reduction, dtype)

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the divergence of each sample."""
        y_true = y_true.clamp(config.epsilon(), 1)
        logarithms = torch.log_softmax(y_pred, -1) if self.from_logits else y_pred.clamp(config.epsilon(), 1).log()
        return F.kl_div(logarithms, y_true, reduction="none").sum(-1)


class Poisson(Elementwise):
    """`y_pred - y_true log(y_pred)`, the mean over the last axis: what a Poisson distribution of rate `y_pred` makes of counts.

    >>> Poisson()([[1.0]], [[1.0]])
    tensor(1.0000)
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "poisson", dtype: Any = None):
        super().__init__(name, reduction, dtype)

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor, reduction: str = "none") -> torch.Tensor:
        return F.poisson_nll_loss(y_pred, y_true, log_input=False, eps=config.epsilon(), reduction=reduction)

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the loss over all samples."""
        return self._elements(y_true, y_pred, "mean")


def smoothed(y_true: torch.Tensor, smoothing: float, classes: int) -> torch.Tensor:
    """Return targets moved by the share `smoothing` towards a uniform distribution over the classes.

    >>> smoothed(torch.tensor([1.0, 0.0]), 0.5, 2)
    tensor([0.7500, 0.2500])
    """
    return y_true * (1 - smoothing) + smoothing / classes if smoothing else y_true


def inside(probabilities: torch.Tensor) -> torch.Tensor:
    """Return probabilities kept away from 0 and 1, so that their logarithms are finite.

    >>> inside(torch.tensor([0.0, 0.5]))
    tensor([1.0000e-07, 5.0000e-01])
    """
    return probabilities.clamp(config.epsilon(), 1 - config.epsilon())


def power(base: torch.Tensor, exponent: float) -> torch.Tensor:
    """Return `base ** exponent` for a base of at least 0, whose gradient at 0 is finite also where the exponent is below 1.

    >>> zero = torch.zeros((), requires_grad=True)
    >>> power(zero, 0.5).backward()
    >>> zero.grad
    tensor(0.)
    """
    return base.clamp(min=torch.finfo(base.dtype).tiny).pow(exponent) if exponent < 1 else base.pow(exponent)
