"""Models as files: one that holds everything, one that holds the weights, and how they are read without trust."""

from torchkeras_fn.registry import (
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from torchkeras_fn.registry import custom_object_scope as CustomObjectScope
from torchkeras_fn.saving import keras_files
from torchkeras_fn.saving.json_text import model_from_config, model_from_json, to_json
from torchkeras_fn.saving.model_file import load_model, save_model
from torchkeras_fn.saving.objects import deserialize_keras_object, serialize_keras_object
from torchkeras_fn.saving.weights_file import load_weights, save_weights

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "keras_files",
    "load_model",
    "load_weights",
    "model_from_config",
    "model_from_json",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
    "to_json",
]
