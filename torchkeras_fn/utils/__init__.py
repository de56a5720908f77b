"""Things around training that Keras users look for here."""

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
from torchkeras_fn.utils.numpy_utils import normalize, to_categorical
from torchkeras_fn.utils.sequence import Sequence
from torchkeras_fn.utils.sequence_utils import pad_sequences

__all__ = [
    "CustomObjectScope",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "is_keras_tensor",
    "normalize",
    "pad_sequences",
    "register_keras_serializable",
    "set_random_seed",
    "to_categorical",
]
