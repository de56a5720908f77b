"""Things around training that Keras users look for here."""

from torchkeras_fn.absent import utility as __getattr__  # noqa: F401 - Python asks it for names that are not here
from torchkeras_fn.backend import clear_session, is_keras_tensor
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.registry import (
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from torchkeras_fn.registry import custom_object_scope as CustomObjectScope
from torchkeras_fn.saving.objects import deserialize_keras_object, serialize_keras_object
from torchkeras_fn.utils.batches import pack_x_y_sample_weight, unpack_x_y_sample_weight
from torchkeras_fn.utils.drawing import model_to_dot, plot_model
from torchkeras_fn.utils.layer_utils import get_source_inputs
from torchkeras_fn.utils.np_utils import normalize, to_categorical
from torchkeras_fn.utils.progbar import Progbar
from torchkeras_fn.utils.sequence import Sequence
from torchkeras_fn.utils.sequence_utils import pad_sequences

PyDataset = Sequence
"""Keras 3's name of it."""

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "get_source_inputs",
    "is_keras_tensor",
    "model_to_dot",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "to_categorical",
    "unpack_x_y_sample_weight",
]
