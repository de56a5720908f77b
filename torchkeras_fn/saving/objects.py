"""From any object that has a configuration to a description of it, and back, whichever vocabulary it is of."""

import inspect
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from torchkeras_fn import activations, config, constraints, initializers, losses, metrics, optimizers, regularizers
from torchkeras_fn.engine.layer import registry as layers
from torchkeras_fn.optimizers import schedules
from torchkeras_fn.registry import custom_object_scope, get_custom_objects, get_registered_name

_VOCABULARIES: Mapping[str, Any] = {
    "keras.initializers": initializers,
    "keras.regularizers": regularizers,
    "keras.constraints": constraints,
    "keras.losses": losses,
    "keras.metrics": metrics,
    "keras.optimizers": optimizers,
    "keras.optimizers.schedules": schedules,
}


def serialize_keras_object(obj: Any) -> Any:
    """Return a description of a layer, model, loss, optimizer or the like, or of several in a structure, as Keras 3 words it.

    It has the keys `module`, `class_name`, `config` and `registered_name`. Functions are described by their names, arrays and tensors
    by their values; numbers, strings and `None` are what they are. Raises `ValueError` for an object without `get_config`, and a
    function without a name.

    >>> from torchkeras_fn import regularizers
    >>> serialize_keras_object(regularizers.L1(0.5))
    {'module': 'keras.regularizers', 'class_name': 'L1', 'config': {'l1': 0.5}, 'registered_name': None}
    """
    if obj is None or isinstance(obj, (str, bool, int, float)):
        return obj
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, (np.ndarray, torch.Tensor)):
        kind = "__numpy__" if isinstance(obj, np.ndarray) else "__tensor__"
        return {"class_name": kind, "config": {"value": obj.tolist(), "dtype": str(obj.dtype).removeprefix("torch.")}}
    if isinstance(obj, (list, tuple)):
        return [serialize_keras_object(part) for part in obj]
    if isinstance(obj, Mapping):
        return {key: serialize_keras_object(part) for key, part in obj.items()}
    if hasattr(obj, "get_config") and not inspect.isclass(obj):
        return _description(type(obj), obj.get_config())
    name = get_registered_name(obj) if isinstance(obj, (types.FunctionType, types.BuiltinFunctionType)) else "<none>"
    if "<" in name:
        raise ValueError(f"{obj!r:.80} cannot be described: it has no get_config(), and no name. Define a class, or a function with def.")
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": name}


def deserialize_keras_object(
    identifier: Any,
    module_objects: Mapping[str, Any] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    printable_module_name: str = "object",
    safe_mode: bool = True,
) -> Any:
    """Return the object, or the structure of objects, that `serialize_keras_object` described; what is no description, as it is.

    A class is one of `custom_objects`, one that is registered, one of `module_objects`, or one of this library; no module
    is imported. No code is in these descriptions, so `safe_mode` changes nothing. Raises `ValueError` for an unknown name.

    >>> from torchkeras_fn import layers
    >>> deserialize_keras_object(serialize_keras_object(layers.Dense(3))).units
    3
    """
    with custom_object_scope(custom_objects or {}):
        return _made(identifier, module_objects or {}, printable_module_name)


def _description(kind: type, config: Any) -> dict[str, Any]:
    known_as, name = get_registered_name(kind), kind.__name__
    home = "keras.layers" if layers.entries.get(name) is kind else None
    home = home or next((place for place, room in _VOCABULARIES.items() if getattr(room, name, None) is kind), None)
    return {
        "module": home or kind.__module__,
        "class_name": name,
        "config": config,
        "registered_name": None if home else known_as,
    }


def _made(value: Any, module_objects: Mapping[str, Any], kind: str) -> Any:
    if isinstance(value, (list, tuple)):
        return [_made(part, module_objects, kind) for part in value]
    if isinstance(value, str):
        return get_custom_objects().get(value, module_objects.get(value, value))
    if not isinstance(value, Mapping):
        return value
    if not isinstance(value.get("class_name"), str):
        return {key: _made(part, module_objects, kind) for key, part in value.items()}
    if value["class_name"] in ("__numpy__", "__tensor__"):
        described = value.get("config") or {}
        held, dtype = described.get("value"), described.get("dtype")
        return np.array(held, dtype) if value["class_name"] == "__numpy__" else torch.tensor(held, dtype=config.dtype(dtype))
    if value["class_name"] == "function":
        return _function(value, module_objects)
    found = _class_of(value, module_objects)
    if found is None:
        raise ValueError(
            f"Unknown {kind} {value['class_name']!r}. Put @register_keras_serializable() before its class, or give the class in "
            f"custom_objects={{{value['class_name']!r}: ...}}."
        )
    options = dict(value.get("config") or {})
    return found.from_config(options) if hasattr(found, "from_config") else found(**options)


def _class_of(described: Mapping[str, Any], module_objects: Mapping[str, Any]) -> Any:
    name, known_as = described["class_name"], described.get("registered_name")
    own = get_custom_objects()
    for known, objects in ((known_as, own), (name, own), (name, module_objects)):
        if isinstance(known, str) and known in objects:
            return objects[known]
    home = described.get("module")
    if home in (None, "keras.layers") and name in layers.entries:
        return layers.entries[name]
    rooms = sorted(_VOCABULARIES, key=lambda place: place != home)
    found = (getattr(_VOCABULARIES[place], name, None) for place in rooms)
    return next((kind for kind in found if inspect.isclass(kind)), layers.entries.get(name))


def _function(described: Mapping[str, Any], module_objects: Mapping[str, Any]) -> Any:
    name = str(described.get("config"))
    for objects in (get_custom_objects(), module_objects):
        if name in objects:
            return objects[name]
    found = (getattr(room, name, None) for room in (activations, losses, metrics))
    function = next((item for item in found if isinstance(item, types.FunctionType)), None)
    if function is None:
        raise ValueError(f"Unknown function {name!r}. Give it in custom_objects={{{name!r}: ...}}.")
    return function
