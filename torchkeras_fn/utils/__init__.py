"""Things around training that Keras users look for here."""

from torchkeras_fn.config import set_random_seed
from torchkeras_fn.registry import custom_object_scope
from torchkeras_fn.registry import custom_object_scope as CustomObjectScope
from torchkeras_fn.utils.numpy_utils import to_categorical
from torchkeras_fn.utils.sequence import Sequence

__all__ = ["CustomObjectScope", "Sequence", "custom_object_scope", "set_random_seed", "to_categorical"]
