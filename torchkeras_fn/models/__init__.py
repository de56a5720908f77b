"""Models: `Model` between drawn inputs and outputs or with a `forward` of its own, `Sequential`, and copies of them."""

from torchkeras_fn.models.model import Model, clone_model
from torchkeras_fn.models.sequential import Sequential

Functional = Model
"""Keras' name for a model that was drawn; here every `Model` may be."""

__all__ = ["Functional", "Model", "Sequential", "clone_model"]
