"""Models: `Model` between drawn inputs and outputs or with a `forward` of its own, `Sequential`, and copies of them."""

from torchkeras_fn.layers import Input
from torchkeras_fn.models.cloning import clone_model
from torchkeras_fn.models.model import Model
from torchkeras_fn.models.sequential import Sequential
from torchkeras_fn.saving.json_text import model_from_config, model_from_json, model_from_yaml
from torchkeras_fn.saving.model_file import load_model, save_model

Functional = Model
"""Keras' name for a model that was drawn; here every `Model` may be."""

__all__ = [
    "Functional",
    "Input",
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_config",
    "model_from_json",
    "model_from_yaml",
    "save_model",
]
