"""Nested lists and dicts as JSON and back, with tensors, and with the objects that a file can only name.

JSON that comes from a file is bounded in size, in depth and in the number of its containers, since a list of nothing
takes thirty times more memory than the text that asks for it.
"""

import contextlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn import activations
from torchkeras_fn.engine.drawing.functions import dtype_named, find_function, function_name
from torchkeras_fn.registry import Registry, get_registered_name

MOST_TEXT = 2**25
"""The most bytes that a JSON text in a file may have: 32 MiB."""
MOST_CONTAINERS = 2**20

_custom = Registry("function, class or module", {})
"""Knows nothing but what the caller gave in `custom_objects`, or registered."""
_TORCH = {
    name: kind
    for module in (nn.modules.activation, nn.modules.loss)
    for name, kind in vars(module).items()
    if inspect.isclass(kind) and issubclass(kind, nn.Module) and kind.__module__ == module.__name__ and not name.startswith("_")
}
_OLD_ARGUMENTS = {"self", "size_average", "reduce", "device", "dtype", "min_value", "max_value"}


def parse_json(text: bytes) -> Any:
    """Return what a JSON text from a file says. Raises `ValueError` where it is none, is too large, or names a key twice.

    >>> parse_json(b'{"a": [1, 2]}')
    {'a': [1, 2]}
    """
    if len(text) > MOST_TEXT:
        raise ValueError(f"the text has {len(text)} bytes, more than {MOST_TEXT}.")
    if text.count(b"[") + text.count(b"{") > MOST_CONTAINERS:
        raise ValueError(f"the text has more than {MOST_CONTAINERS} lists and tables.")
    try:
        return json.loads(text.decode(), object_pairs_hook=_once_each, parse_int=_bounded_integer)
    except RecursionError:
        raise ValueError("the text is nested too deeply.") from None


def _bounded_integer(digits: str) -> int:
    """Python's integers have no bounds, and neither has the time that a power of them takes."""
    if len(digits) > 20:
        raise ValueError(f"{digits[:20]}... is no number of 64 bits.")
    return int(digits)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a key is there twice among {[key for key, _ in pairs]!r:.200}.")
    return found


def write_json(value: Any, what: str) -> bytes:
    """Return the JSON text of what `encode` returned. Raises `ValueError` for one that `parse_json` would refuse."""
    text = json.dumps(value).encode()
    if len(text) > MOST_TEXT or text.count(b"[") + text.count(b"{") > MOST_CONTAINERS:
        raise ValueError(
            f"{what} takes {len(text)} bytes as JSON, too many to be saved. Arrays belong into weights: give them with set_weights, "
            "not as an argument of a layer or an initializer."
        )
    try:
        parse_json(text)
    except ValueError as error:
        raise ValueError(f"{what} cannot be saved: {error}") from None
    return text


# ---------------------------------------------------------------------- to JSON


def encode(value: Any, tensors: dict[str, torch.Tensor] | None = None, path: str = "", owner: str = "") -> Any:
    """Return nested values as JSON can hold them, for `decode`.

    Tensors go to `tensors`, named after the path to them, or where there is none are written out. `owner` is the layer to
    which the values belong, for the messages. Raises `ValueError` for what can neither be written nor named.

    >>> encode({"a": (1, torch.ones(1)), 2: None}, kept := {})
    {'$dict': [['a', {'$tuple': [1, {'$tensor': 'a/1'}]}], [2, None]]}
    >>> kept
    {'a/1': tensor([1.])}
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return _encode_array(value, tensors, path)
    if isinstance(value, (list, tuple)):
        parts = [encode(part, tensors, f"{path}/{index}" if path else str(index), owner) for index, part in enumerate(value)]
        return parts if isinstance(value, list) else {"$tuple": parts}
    if isinstance(value, Mapping):
        return _encode_mapping(value, tensors, path, owner)
    if isinstance(value, torch.dtype):
        return {"$dtype": str(value).removeprefix("torch.")}
    if isinstance(value, (bool, int, float, str)):
        return encode(next(kind for kind in (bool, int, float, str) if isinstance(value, kind))(value))
    if isinstance(value, nn.Module) and not hasattr(value, "get_config"):
        return name_module(value, owner)
    if hasattr(value, "get_config") and not inspect.isclass(value):
        return {"class_name": get_registered_name(type(value)), "config": encode(value.get_config(), tensors, f"{path}/config", owner)}
    if callable(value):
        return {"$function": name_function(value, owner)}
    raise ValueError(f"{_of(owner)}{value!r} of type {type(value).__name__} cannot be saved.")


def _encode_array(value: Any, tensors: dict[str, torch.Tensor] | None, path: str) -> Any:
    kind = "$tensor" if isinstance(value, torch.Tensor) else "$array"
    tensor = torch.as_tensor(value).detach()
    if tensors is None:
        return {kind: tensor.cpu().tolist(), "dtype": str(tensor.dtype).removeprefix("torch.")}
    tensors[path] = tensor
    return {kind: path}


def _encode_mapping(value: Mapping[Any, Any], tensors: dict[str, torch.Tensor] | None, path: str, owner: str) -> Any:
    owner = value["name"] if isinstance(value.get("name"), str) else owner
    parts = [(key, encode(part, tensors, f"{path}/{key}" if path else str(key), owner)) for key, part in value.items()]
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return dict(parts)
    return {"$dict": [[encode(key), part] for key, part in parts]}


def name_function(function: Callable[..., Any], owner: str = "") -> str:
    """Return the name under which a file knows a function: of torch, of this library, or of the user's own.

    Raises `ValueError` for one without a name, such as a `lambda`.

    >>> name_function(torch.cat), name_function(activations.relu), name_function(len)
    ('torch.cat', 'activations.relu', 'len')
    """
    name: str = getattr(function, "__name__", "<nameless>")
    if getattr(activations, name, None) is function:
        return f"activations.{name}"
    with contextlib.suppress(ValueError):
        return function_name(function)
    if "<" in name:
        raise ValueError(
            f"{_of(owner)}{function!r} has no name, so a file cannot refer to it. Define it with def, and give it to load_model "
            "in custom_objects under that name."
        )
    return get_registered_name(function)


def name_module(module: nn.Module, owner: str = "") -> Any:
    """Return what a file says of a torch module: its arguments for an activation or loss of torch's own, else only its class.

    >>> name_module(nn.LeakyReLU(0.5))
    {'$torch': 'LeakyReLU', 'arguments': {'negative_slope': 0.5, 'inplace': False}}
    >>> name_module(nn.Linear(2, 3), "head")
    {'$module': 'Linear', 'layer': 'head'}
    """
    kind = type(module)
    names = [name for name in inspect.signature(kind.__init__).parameters if name not in _OLD_ARGUMENTS]
    if _TORCH.get(kind.__name__) is kind and all(hasattr(module, name) for name in names):
        return {"$torch": kind.__name__, "arguments": {name: encode(getattr(module, name)) for name in names}}
    return {"$module": kind.__name__, "layer": owner}


def _of(owner: str) -> str:
    return f"{owner}: " if owner else ""


# ---------------------------------------------------------------------- from JSON


def decode(value: Any, tensors: Mapping[str, torch.Tensor] | None = None) -> Any:
    """Return what `encode` was given. Functions, classes and modules come from the caller: a file can only name them.

    Raises `ValueError` for a name that nobody gave, and for what `encode` does not write.

    >>> decode({"$tuple": [1, {"$function": "torch.cat"}]})[1] is torch.cat
    True
    """
    if isinstance(value, list):
        return [decode(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    marks = [key for key in value if key.startswith("$")]
    if not marks:
        return {key: decode(part, tensors) for key, part in value.items()}
    if len(marks) > 1 or marks[0] not in _DECODERS:
        raise ValueError(f"{marks[0]!r} is nothing that a file may say.")
    return _DECODERS[marks[0]](value, tensors)


def _decode_array(value: Mapping[str, Any], tensors: Mapping[str, torch.Tensor] | None) -> Any:
    held = value.get("$tensor", value.get("$array"))
    if tensors is None:
        tensor = torch.tensor(held, dtype=dtype_named(value["dtype"]))
    elif held in tensors:
        tensor = tensors[held].clone()
    else:
        raise ValueError(f"there is no tensor {held!r} beside the text that needs it.")
    return tensor if "$tensor" in value else tensor.numpy()


def _decode_function(value: Mapping[str, Any], _: Any) -> Any:
    name = value["$function"]
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is no name of a function.")
    if name.startswith("activations."):
        return activations.get(name.removeprefix("activations."))
    if name.startswith(("torch.", "operator.")):
        return find_function(name)
    return given(name)


def _decode_module(value: Mapping[str, Any], _: Any) -> nn.Module:
    names = [name for name in (value.get("layer"), value["$module"]) if isinstance(name, str) and name]
    for name in names:
        try:
            found = given(name)
        except ValueError:
            continue
        module = found if isinstance(found, nn.Module) else found()
        if not isinstance(module, nn.Module):
            raise ValueError(f"custom_objects[{name!r}] made {module!r}, which is no torch module.")
        return module
    raise ValueError(
        f"A torch module of class {value['$module']!r} is needed, which a file cannot hold. Give one in custom_objects, or a function "
        f"that makes one, under the name {' or '.join(map(repr, names))}."
    )


def _decode_torch(value: Mapping[str, Any], _: Any) -> nn.Module:
    kind = _TORCH.get(value["$torch"])
    if kind is None:
        raise ValueError(f"{value['$torch']!r} is no activation or loss of torch.")
    arguments = decode(value["arguments"])
    made: nn.Module = kind(**{name: argument for name, argument in arguments.items() if name not in _OLD_ARGUMENTS})
    return made


def given(name: str) -> Any:
    """Return what the caller gave under that name in `custom_objects`, or registered. Raises `ValueError` where there is nothing."""
    try:
        return _custom.find(name)
    except ValueError:
        raise ValueError(f"{name!r} must come from you: give it in custom_objects={{{name!r}: ...}}. A file cannot hold it.") from None


_DECODERS: dict[str, Callable[[Mapping[str, Any], Any], Any]] = {
    "$tuple": lambda value, tensors: tuple(decode(value["$tuple"], tensors)),
    "$dict": lambda value, tensors: {decode(key): decode(part, tensors) for key, part in value["$dict"]},
    "$dtype": lambda value, _: dtype_named(value["$dtype"]),
    "$tensor": _decode_array,
    "$array": _decode_array,
    "$function": _decode_function,
    "$module": _decode_module,
    "$torch": _decode_torch,
}


def size_of(tree: Any) -> int:
    """Return the number of containers in a nested value.

    >>> size_of([1, {"a": []}])
    3
    """
    parts = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else None
    return 0 if parts is None else 1 + sum(size_of(part) for part in parts)
