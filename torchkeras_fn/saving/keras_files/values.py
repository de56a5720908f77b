"""The values in a configuration: what Keras writes there, what the constructors here take, and back."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn import activations, constraints, initializers, losses, metrics, optimizers, regularizers
from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.layer_parts.keras_words import POLICIES, changes_nothing, dtype_name
from torchkeras_fn.registry import get_custom_objects, get_registered_name
from torchkeras_fn.saving.compile_config import describes_loss
from torchkeras_fn.saving.trees import dtype_named, given

_KEPT = {
    "GroupNormalization": {"groups"},
    "InputLayer": {"sparse"},
    "LSTM": {"zero_output_for_mask"},
    "GRU": {"zero_output_for_mask"},
    "BatchNormalization": {"synchronized"},
}
_OF_NO_USE = {
    **{
        f"{kind}{rank}D": {"kernel_initializer", "kernel_regularizer", "kernel_constraint"}
        for kind in ("DepthwiseConv", "SeparableConv", "SeparableConvolution")
        for rank in (1, 2)
    },
    "MultiHeadAttention": {"query_shape", "key_shape", "value_shape"},
}
"""Arguments that layers of `tf.keras` wrote, though they read others in their place, or see it from the inputs."""
_VOCABULARIES: dict[str, Any] = {
    "initializers": initializers,
    "regularizers": regularizers,
    "constraints": constraints,
    "losses": losses,
    "metrics": metrics,
    "optimizers": optimizers,
    "optimizers.schedules": optimizers.schedules,
}
SHARED = "shared_layer"
"""Marks, in files written here, the entries of one layer in several models. Keras has a mark too, but cannot read it back."""

# ---------------------------------------------------------------------- from Keras


def from_keras(value: Any, make_layer: Callable[[Any], Layer]) -> Any:
    """Return a value in a configuration as a constructor here takes it; `make_layer` makes the layers that stand in it.

    Objects of the vocabularies, such as initializers, stay descriptions of a class and its configuration, functions stay
    names: whoever reads them looks them up, and finds only what is known or was given. Raises `ValueError` for code.

    >>> from_keras({"module": "keras.initializers", "class_name": "Ones", "config": {}, "registered_name": None}, None)
    {'class_name': 'Ones', 'config': {}}
    """
    if isinstance(value, list):
        return [from_keras(part, make_layer) for part in value]
    if not isinstance(value, Mapping):
        return value
    name, config = value.get("class_name"), value.get("config")
    if value.keys() == {"type", "value"} and value["type"] == "ndarray":  # as Keras 2 wrote the arrays of numpy, and its numbers
        array = np.asarray(value["value"])
        return array if array.ndim else array.item()
    if not isinstance(name, str):
        return {key: from_keras(part, make_layer) for key, part in value.items()}
    if name in _SPECIAL:
        return _SPECIAL[name](value, make_layer)
    if name in POLICIES:
        return dtype_name(value)
    if name == "function":
        return str(value.get("registered_name") if value.get("registered_name") in get_custom_objects() else config)
    if is_layer(value):
        return make_layer(value)
    kept = from_keras(config or {}, make_layer)
    known_as = value.get("registered_name")
    plain = name.removeprefix("Custom>")  # where the optimizers of Keras 2.11 said they were
    if name not in get_custom_objects() and inspect.isclass(getattr(optimizers, plain, None)):
        name = plain
    if isinstance(known_as, str) and known_as in get_custom_objects():
        name = known_as
    elif isinstance(kept, dict):
        kept = without_defaults(name, kept)
    return {"class_name": name, "config": kept}


def _refused(value: Any, make_layer: Any) -> Any:
    raise ValueError(
        "it holds the code of a lambda, which is not run. Define the function with def before the model is saved, and give it in "
        "custom_objects under its name; for a Lambda layer, give it under the layer's name."
    )


def _array(value: Mapping[str, Any], make_layer: Any) -> Any:
    config = value["config"]
    return np.asarray(config["value"], dtype=str(dtype_named(config["dtype"])).removeprefix("torch."))


_SPECIAL: dict[str, Callable[[Mapping[str, Any], Any], Any]] = {
    "__lambda__": _refused,
    "__bytes__": _refused,
    "__typespec__": _refused,
    "__tensor__": _array,
    "__numpy__": _array,
    "__slice__": lambda value, make: slice(*(from_keras(value["config"][name], make) for name in ("start", "stop", "step"))),
    "__ellipsis__": lambda value, make: Ellipsis,
    "__tuple__": lambda value, make: tuple(from_keras(value.get("items", []), make)),
}


def is_layer(value: Any) -> bool:
    """Return whether a value describes a layer or a model."""
    if not isinstance(value, Mapping) or not isinstance(value.get("class_name"), str) or "config" not in value:
        return False
    home = value.get("module")
    if isinstance(home, str) and home.startswith("keras.") and not home.startswith(("keras.layers", "keras.models", "keras.src")):
        return False
    try:
        found = find_class(value)
    except ValueError:
        return False
    return isinstance(found, type) and issubclass(found, Layer)


def find_class(entry: Mapping[str, Any]) -> Any:
    """Return the class of layers that an entry names: one that is registered or given, or one of this library.

    The module that the entry names is not imported. Raises `ValueError` for an unknown name.
    """
    known_as = entry.get("registered_name")
    if isinstance(known_as, str) and known_as in get_custom_objects():
        return get_custom_objects()[known_as]
    return registry.find(str(entry["class_name"]))


def without_defaults(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without the arguments that there are not here, where they change nothing."""
    kept, useless = _KEPT.get(name, ()), _OF_NO_USE.get(name, set())
    if name not in get_custom_objects() and inspect.isclass(getattr(initializers, name, None)):
        useless = {"dtype"}  # which the initializers of TensorFlow 1 wrote: here it is that of the weights
    return {key: value for key, value in config.items() if key not in useless and (key in kept or not changes_nothing(key, value))}


# ---------------------------------------------------------------------- to Keras


def to_keras(value: Any, describe_layer: Callable[[Layer], Any], owner: str, home: str | None = None) -> Any:
    """Return a value of a configuration here as Keras reads it. Raises `ValueError`, naming the owner, for what it cannot.

    `home` says whether an object is one of the `losses` or of the `metrics`, where both have a class of its name.

    >>> to_keras({"class_name": "L2", "config": {"l2": 0.1}}, None, "dense")["module"]
    'keras.regularizers'
    """
    if isinstance(value, str) and value == activations.keras_2_hard_sigmoid.__name__:  # Keras 3 is given it in custom_objects
        return _named_function(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [to_keras(part, describe_layer, owner, home) for part in value]
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return value.tolist()
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, Layer):
        return describe_layer(value)
    if isinstance(value, Mapping):
        if not isinstance(value.get("class_name"), str):
            return {key: to_keras(part, describe_layer, owner, home) for key, part in value.items()}
        if value["class_name"] == "function":
            return _named_function(str(value["config"]))
        return _object(value["class_name"], to_keras(value.get("config") or {}, describe_layer, owner, home), home)
    if isinstance(value, nn.Module):
        raise ValueError(f"{owner}: {value!r:.80} is a torch module, which Keras does not know. Name the activation, or use a layer.")
    if hasattr(value, "get_config") and not inspect.isclass(value):
        described = {"class_name": get_registered_name(type(value)), "config": value.get_config()}
        return to_keras(described, describe_layer, owner, home)
    if callable(value):
        return _function(value, owner)
    raise ValueError(f"{owner}: {value!r:.80} of type {type(value).__name__} cannot be written to a Keras file.")


def _object(name: str, config: Any, home: str | None) -> dict[str, Any]:
    kept = {key: part for key, part in config.items() if part is not None}
    if name not in get_custom_objects():
        first = "losses" if describes_loss({"class_name": name, "config": config}) else home
        for place in sorted(_VOCABULARIES, key=lambda place: place != first):
            found = getattr(_VOCABULARIES[place], name, None)
            if inspect.isclass(found):
                return {"module": f"keras.{place}", "class_name": name, "config": kept, "registered_name": None}
    return {"module": "__main__", "class_name": name.rpartition(">")[2], "config": config, "registered_name": name}


def _function(value: Callable[..., Any], owner: str) -> Any:
    name = getattr(value, "__name__", "<nameless>")
    if getattr(activations, name, None) is value:
        return name
    if "<" in name:
        raise ValueError(
            f"{owner}: {value!r:.80} has no name, so a file cannot refer to it. Define it with def, and give it to load_model in "
            "custom_objects under that name."
        )
    return _named_function(get_registered_name(value))


def _named_function(known_as: str) -> dict[str, Any]:
    return {"module": "builtins", "class_name": "function", "config": known_as, "registered_name": known_as}


def lambda_function(config: Mapping[str, Any]) -> Any:
    """Return the function of a `Lambda` layer, which the caller gave under the function's name or the layer's.

    Raises `ValueError` where there is none: a file cannot hold it.
    """
    function = config.get("function")
    described = function.get("config") if isinstance(function, Mapping) else function
    names = [name for name in (described, config.get("name")) if isinstance(name, str) and name in get_custom_objects()]
    if names:
        return given(names[0])
    wanted = config.get("name") if not isinstance(described, str) or "<" in described or len(described) > 80 else described
    return given(str(wanted))
