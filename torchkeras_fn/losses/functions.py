"""The losses as functions `(y_true, y_pred)`, which return a value per sample, under all names that they have in Keras 2 and 3."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from torchkeras_fn.alignment import as_tensor
from torchkeras_fn.losses.base import Loss
from torchkeras_fn.losses.categorical import (
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    SparseCategoricalCrossentropy,
)
from torchkeras_fn.losses.hinge import CategoricalHinge, Hinge, SquaredHinge
from torchkeras_fn.losses.probabilistic import BinaryCrossentropy, BinaryFocalCrossentropy, KLDivergence, Poisson
from torchkeras_fn.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)
from torchkeras_fn.losses.segmentation import Dice, Tversky
from torchkeras_fn.losses.sequences import CTC
from torchkeras_fn.losses.similarity import Circle, circle


def as_function(loss: type[Loss], name: str) -> Callable[..., torch.Tensor]:
    """Return the function of a loss: `(y_true, y_pred)` and the loss' own options, in the order of its constructor.

    >>> inspect.signature(as_function(CosineSimilarity, "cosine"))
    <Signature (y_true, y_pred, axis: int = -1)>
    """
    taken = list(inspect.signature(loss.__init__).parameters.values())[1:]
    options = [parameter for parameter in taken if parameter.name not in ("reduction", "name", "dtype")]
    tensors = [inspect.Parameter(each, inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in ("y_true", "y_pred")]
    signature = inspect.Signature([*tensors, *options])

    def function(*args: Any, **kwargs: Any) -> torch.Tensor:
        bound = signature.bind(*args, **kwargs).arguments
        y_true, y_pred = bound.pop("y_true"), as_tensor(bound.pop("y_pred"))
        y_true = as_tensor(y_true, y_pred)
        # To a function, as in Keras, the last axis of the targets holds one sample; to a loss object `(N,)` are N samples of one
        # value and `(N, T)` targets of `(N, T, 1)` predictions T steps of one, each of which may have a weight.
        if y_true.ndim > 1 and y_pred.shape == (*y_true.shape, 1) and not loss.indices:
            y_pred = y_pred.squeeze(-1)
        chosen = loss(**bound)
        values = chosen.call(*chosen.prepare(y_true, y_pred))
        return values.mean() if values.ndim == y_pred.ndim == y_true.ndim == 1 else values

    function.__name__ = function.__qualname__ = name
    function.__module__ = __name__
    function.__doc__ = f"Return the value of each sample: see `{loss.__name__}`, which has the same options."
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


CLASSES: dict[str, type[Loss]] = {
    "mean_squared_error": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_absolute_percentage_error": MeanAbsolutePercentageError,
    "mean_squared_logarithmic_error": MeanSquaredLogarithmicError,
    "cosine_similarity": CosineSimilarity,
    "huber": Huber,
    "log_cosh": LogCosh,
    "binary_crossentropy": BinaryCrossentropy,
    "binary_focal_crossentropy": BinaryFocalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "categorical_focal_crossentropy": CategoricalFocalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "categorical_generalized_cross_entropy": CategoricalGeneralizedCrossEntropy,
    "kl_divergence": KLDivergence,
    "poisson": Poisson,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "categorical_hinge": CategoricalHinge,
    "dice": Dice,
    "tversky": Tversky,
    "circle": Circle,
    "ctc": CTC,
}
"""The class of each loss, by the name of its function."""

ALIASES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "cosine": "cosine_similarity",
    "cosine_proximity": "cosine_similarity",
    "huber_loss": "huber",
    "logcosh": "log_cosh",
    "bce": "binary_crossentropy",
    "cce": "categorical_crossentropy",
    "scce": "sparse_categorical_crossentropy",
    "kld": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence",
}
"""Shorter and older names."""

mean_squared_error = as_function(MeanSquaredError, "mean_squared_error")
mean_absolute_error = as_function(MeanAbsoluteError, "mean_absolute_error")
mean_absolute_percentage_error = as_function(MeanAbsolutePercentageError, "mean_absolute_percentage_error")
mean_squared_logarithmic_error = as_function(MeanSquaredLogarithmicError, "mean_squared_logarithmic_error")
cosine_similarity = as_function(CosineSimilarity, "cosine_similarity")
huber = as_function(Huber, "huber")
log_cosh = as_function(LogCosh, "log_cosh")
binary_crossentropy = as_function(BinaryCrossentropy, "binary_crossentropy")
binary_focal_crossentropy = as_function(BinaryFocalCrossentropy, "binary_focal_crossentropy")
categorical_crossentropy = as_function(CategoricalCrossentropy, "categorical_crossentropy")
categorical_focal_crossentropy = as_function(CategoricalFocalCrossentropy, "categorical_focal_crossentropy")
sparse_categorical_crossentropy = as_function(SparseCategoricalCrossentropy, "sparse_categorical_crossentropy")
categorical_generalized_cross_entropy = as_function(CategoricalGeneralizedCrossEntropy, "categorical_generalized_cross_entropy")
kl_divergence = as_function(KLDivergence, "kl_divergence")
poisson = as_function(Poisson, "poisson")
hinge = as_function(Hinge, "hinge")
squared_hinge = as_function(SquaredHinge, "squared_hinge")
categorical_hinge = as_function(CategoricalHinge, "categorical_hinge")
dice = as_function(Dice, "dice")
tversky = as_function(Tversky, "tversky")
ctc = as_function(CTC, "ctc")

mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kullback_leibler_divergence = kl_divergence
bce = BCE = binary_crossentropy
cosine = cosine_proximity = cosine_similarity
huber_loss = huber
logcosh = log_cosh

FUNCTIONS: Mapping[Any, type[Loss]] = {circle: Circle, **{globals()[name]: loss for name, loss in CLASSES.items()}}
"""The class of each function."""
