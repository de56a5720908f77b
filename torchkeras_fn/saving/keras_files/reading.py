"""From what Keras' configurations say to models here. Nothing is imported, and no class is made but known and given ones."""

import inspect
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.layer_parts.keras_words import dtype_name
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.engine.symbolic import KerasTensor, symbolic_leaves
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import get_custom_objects
from torchkeras_fn.saving.bounds import CallsInside
from torchkeras_fn.saving.keras_files.operations import drawer_of, is_operation
from torchkeras_fn.saving.keras_files.state import is_functional, keras_layers
from torchkeras_fn.saving.keras_files.values import SHARED, find_class, from_keras, is_layer, lambda_function, without_defaults
from torchkeras_fn.saving.trees import size_of

Place = tuple[str, int]
"""A call in a graph: the name of the layer, and the number of the call."""
_AUTOMATIC_INPUT = re.compile(r"(input|input_layer|keras_tensor)(_\d+)?|.*_input")
"""Names that inputs have which nobody named, here, in Keras 3 and in Keras 2: where one is taken, another is found."""


class Reader:
    """Makes models out of descriptions, and notes the order in which those list their layers.

    >>> entry = {"class_name": "Sequential", "config": {"name": "s", "layers": []}}
    >>> Reader().model(entry).name
    's'
    """

    def __init__(self) -> None:
        self._shared: dict[Any, Layer] = {}
        self._unmarked: dict[str, Layer] = {}
        """What was made without a mark: Keras loses that of the first of several entries for one layer."""
        self._listed: dict[int, list[Layer]] = {}
        self._calls: dict[int, int] = {}
        """How many layers and operations are called when a model is, those inside included."""
        self._inside = CallsInside(0)

    def layers_of(self, model: Drawn) -> list[Layer]:
        """Return the layers of a model in the order of the file, which numbers the weights by it."""
        return self._listed.get(id(model)) or keras_layers(model)

    def model(self, entry: Any) -> Any:
        """Return the model that an entry describes, with new weights. Raises `ValueError` for what is no model."""
        if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str):
            raise ValueError("it describes no model.")
        self._inside = CallsInside(size_of(entry))
        made = self.layer({**entry, "class_name": _model_class(entry)})
        if not isinstance(made, Drawn):
            raise ValueError(f"{entry['class_name']!r:.80} is no model.")
        return made

    def layer(self, entry: Any) -> Layer:
        """Return the layer of an entry: a new one, or that of an earlier entry for the same."""
        if not isinstance(entry, Mapping) or "class_name" not in entry:
            raise ValueError(f"{entry!r:.80} describes no layer.")
        shared = entry.get(SHARED, entry.get("shared_object_id"))
        if shared is not None and shared in self._shared:
            return self._shared[shared]
        described = json.dumps([entry["class_name"], _without_marks(entry.get("config"))], sort_keys=True)
        if shared is not None and described in self._unmarked:
            made = self._unmarked[described]
        else:
            made = self._made({**entry, "class_name": _model_class(entry)})
        if shared is not None:
            self._shared[shared] = made
        else:
            self._unmarked[described] = made
        return made

    def _made(self, entry: Mapping[str, Any]) -> Layer:
        kind, config = find_class(entry), entry.get("config")
        if not (isinstance(kind, type) and issubclass(kind, Layer)):
            raise ValueError(f"{entry['class_name']!r:.80} is no class of layers.")
        stacked = issubclass(kind, registry.find("Sequential"))
        if stacked and isinstance(config, list):  # as Keras 2 wrote it at first
            config = {"layers": config}
        if issubclass(kind, Drawn) and isinstance(config, Mapping) and isinstance(config.get("layers"), list):
            return self.sequential(kind, config) if stacked else self.functional(kind, config)
        if not isinstance(config, Mapping):
            raise ValueError(f"the configuration of {entry['class_name']!r:.80} is no table.")
        name = config.get("name")
        try:
            made = kind.from_config(self.arguments(entry, kind, config))
        except Exception as error:
            raise ValueError(f"{name!r:.80} of class {entry['class_name']!r:.80} cannot be made: {error}") from error
        if not isinstance(made, Layer):
            raise ValueError(f"{entry['class_name']!r:.80}.from_config returned {made!r:.80}, which is no layer.")
        if isinstance(name, str):
            is_automatic = entry["class_name"] == "InputLayer" and _AUTOMATIC_INPUT.fullmatch(name) is not None
            made.given_name, made.automatic_name = (None, name) if is_automatic else (name, None)
        if isinstance(made, Drawn):
            _build(made, entry.get("build_config"))
        return made

    def arguments(self, entry: Mapping[str, Any], kind: type[Layer], config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a layer's constructor: those here for a class of this library."""
        config = {key: dtype_name(value) if key == "dtype" else value for key, value in config.items()}
        if entry["class_name"] in get_custom_objects() or entry.get("registered_name") in get_custom_objects():
            kept = {key: self.layer(value) if is_layer(value) else value for key, value in config.items()}
            plain = without_defaults(kind.__name__, kept)
            return {key: value for key, value in kept.items() if key in plain and key != "autocast" or key in _taken_by_own(kind)}
        if entry["class_name"] == "Lambda":
            config = _lambda_arguments(config)
        if entry["class_name"] == "InputLayer":
            config = _input_arguments(config)
        revived = {key: value if callable(value) else from_keras(value, self.layer) for key, value in config.items()}
        if entry["class_name"] in ("TimeDistributed", "Bidirectional", "SpectralNormalization") and not is_layer(config.get("layer")):
            raise ValueError(f"{entry['class_name']} wraps {config.get('layer')!r:.80}, which describes no layer known here.")
        if entry["class_name"] in ("GRU", "GRUCell"):  # files from before there was a choice say nothing of it
            revived = {"reset_after": False, **revived}
        return without_defaults(entry["class_name"], revived)

    # ------------------------------------------------------------------ stacks

    def sequential(self, kind: Any, config: Mapping[str, Any]) -> Layer:
        """Return a stack of layers, built where the shape of its input is known."""
        layers = [self.layer(entry) for entry in config["layers"]]
        calls = self._count((layer, 1) for layer in layers)
        model: Any = kind(layers)
        self._calls[id(model)] = calls
        shape = config.get("build_input_shape")
        if model.graph is None and layers and isinstance(shape, list) and not any(isinstance(part, list) for part in shape):
            model.build(tuple(shape))
        return self._named(model, config, model.layers)

    def _named(self, model: Any, config: Mapping[str, Any], layers: list[Layer]) -> Layer:
        if isinstance(config.get("name"), str):
            model.given_name = config["name"]
        model._trainable = config.get("trainable") is not False
        self._listed[id(model)] = layers
        self._shared[("kept", id(model))] = model
        found: Layer = model
        return found

    def _count(self, called: Iterable[tuple[Any, int]]) -> int:
        """The calls that these are, each so many times. Raises `ValueError` for more of models inside than anybody draws."""
        return self._inside.of((self._calls.get(id(getattr(layer, "layer", layer))), times) for layer, times in called)  # or what it wraps

    # ------------------------------------------------------------------ graphs

    def functional(self, kind: Any, config: Mapping[str, Any]) -> Layer:
        """Return the model of a graph: its layers are made, and called one after the other as their inputs come."""
        entries = {str(entry.get("name") or entry["config"]["name"]): entry for entry in config["layers"]}
        if len(entries) != len(config["layers"]):
            raise ValueError("two layers have the same name.")
        operations: dict[str, Any] = {}
        for name, entry in entries.items():
            operations[name] = drawer_of(entry) if is_operation(entry) else self.layer(entry)
        calls = self._count((operations[name], len(entry.get("inbound_nodes") or [])) for name, entry in entries.items())
        drawing = _Drawing(entries, operations, config["output_layers"], self)
        inputs, outputs = drawing.ends(config["input_layers"]), drawing.ends(config["output_layers"])
        model = kind(inputs=inputs, outputs=outputs)
        self._calls[id(model)] = calls
        inside = set(model.graph.layers)
        return self._named(model, config, [layer for layer in operations.values() if isinstance(layer, Layer) and layer in inside])


def _taken_by_own(kind: type) -> set[str]:
    """The names of the arguments that the constructors of a user's class, and of its own parents, take."""
    own = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base) and base is not object and not is_ours(base)]
    return {name for method in own for name in inspect.signature(method).parameters}


def _ends_in(described: Any) -> Iterator[Any]:
    """The references in what a file says of inputs or outputs: one, or a list or a table of them, which may be nested."""
    if isinstance(described, list) and len(described) == 3 and isinstance(described[0], str):
        yield described
    elif isinstance(described, (list, Mapping)):
        for part in described.values() if isinstance(described, Mapping) else described:
            yield from _ends_in(part)


def _without_marks(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_marks(part) for part in value]
    return {key: _without_marks(part) for key, part in value.items() if key != "shared_object_id"} if isinstance(value, dict) else value


def _model_class(entry: Mapping[str, Any]) -> Any:
    return "Functional" if entry["class_name"] == "Model" and "Model" not in get_custom_objects() else entry["class_name"]


def _lambda_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: config[key] for key in ("name", "trainable", "dtype") if key in config}
    for key in ("output_shape", "mask"):
        if isinstance(config.get(key), (list, tuple)):
            kept[key] = config[key]
    return {**kept, "function": lambda_function(config), "arguments": config.get("arguments") or {}}


def _input_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if shape is None and config.get("shape") is not None:
        shape = [config.get("batch_size"), *config["shape"]]
    return {"batch_shape": shape, "dtype": config.get("dtype"), "name": config.get("name"), "sparse": bool(config.get("sparse"))}


class _Drawing:
    """Draws the calls of one graph: each as soon as those that it reads are drawn."""

    def __init__(self, entries: Mapping[str, Any], operations: Mapping[str, Any], outputs: Any, reader: Reader):
        self.operations = operations
        self._made: dict[Place, list[KerasTensor]] = {}
        self._reader = reader
        self._calls: dict[Place, Any] = {}
        for name, entry in entries.items():
            operation = operations[name]
            if hasattr(operation, "open"):
                self._made[name, 0] = symbolic_leaves(operation.output)
            else:
                self._calls |= {(name, number): call for number, call in enumerate(entry.get("inbound_nodes") or [])}
        self._counts = {name: len(entry.get("inbound_nodes") or []) for name, entry in entries.items()}
        self._legacy_from_one = self._numbered_from_one(outputs)
        self._calls = {place: self._with_marks(call) if isinstance(call, list) else call for place, call in self._calls.items()}
        self._draw_all()

    def _numbered_from_one(self, outputs: Any) -> set[str]:
        """The nested models whose calls Keras 2 numbered from 1, as the model itself counted as the first."""
        legacy = [call for call in self._calls.values() if isinstance(call, list)]
        found = set()
        for call in [*legacy, list(_ends_in(outputs))] if legacy else ():
            for reference in [*call, *_ends_in([reference[3] for reference in call if len(reference) > 3])]:
                name, number = reference[0], reference[1]
                if isinstance(self.operations.get(name), Drawn) and isinstance(number, int) and number >= self._counts[name] > 0:
                    found.add(name)
        return found

    def _with_marks(self, call: list[Any]) -> list[Any]:
        """A call as Keras 2 wrote it, with the tensors among its keywords marked as Keras 3 does: there they are bare places."""
        return [[*reference[:3], self._marked(reference[3])] if len(reference) > 3 else reference for reference in call]

    def _marked(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._marked(part) for key, part in value.items()}
        if not isinstance(value, list):
            return value
        if len(value) == 3 and isinstance(value[0], str) and value[0] in self._counts and all(type(part) is int for part in value[1:]):
            return {"class_name": "__keras_tensor__", "config": {"keras_history": [*self._legacy_place(value), value[2]]}}
        return [self._marked(part) for part in value]

    def _draw_all(self) -> None:
        waiting: dict[Place, list[Place]] = {}
        missing: dict[Place, int] = {}
        ready: deque[Place] = deque()
        for place, call in self._calls.items():
            needed = {reference for reference in self._references(call) if reference not in self._made}
            missing[place] = len(needed)
            for reference in needed:
                waiting.setdefault(reference, []).append(place)
            if not needed:
                ready.append(place)
        while ready:
            place = ready.popleft()
            self._made[place] = self._draw(place)
            for follower in waiting.pop(place, ()):
                missing[follower] -= 1
                if not missing[follower]:
                    ready.append(follower)
        if waiting:
            name, number = next(iter(waiting))
            raise ValueError(f"call {number} of {name!r:.80}, which others read, is not there, or needs itself.")

    def _references(self, call: Any) -> Iterator[Place]:
        """The calls that a call reads."""
        if isinstance(call, list):
            for reference in call:
                yield self._legacy_place(reference)
                yield from self._references_in(reference[3] if len(reference) > 3 else None)
        else:
            yield from self._references_in([call.get("args"), call.get("kwargs")])

    def _references_in(self, value: Any) -> Iterator[Place]:
        if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
            name, number, _ = value["config"]["keras_history"]
            yield name, number
        elif isinstance(value, (list, Mapping)):
            for part in value.values() if isinstance(value, Mapping) else value:
                yield from self._references_in(part)

    def _legacy_place(self, reference: Any) -> Place:
        name, number = reference[0], reference[1]
        return name, number - (name in self._legacy_from_one)

    def _draw(self, place: Place) -> list[KerasTensor]:
        name, call = place[0], self._calls[place]
        operation: Callable[..., Any] = self.operations[name]
        if isinstance(call, list):
            tensors = [self._tensor(*self._legacy_place(reference), reference[2]) for reference in call]
            args, kwargs = [tensors[0] if len(tensors) == 1 else tensors], dict(call[0][3]) if call and len(call[0]) > 3 else {}
        else:
            args, kwargs = [self._argument(value) for value in call.get("args") or []], dict(call.get("kwargs") or {})
        named = {key: self._argument(value) for key, value in kwargs.items() if value is not None}
        says_training = not getattr(operation, "mode_is_written", False)
        named = {key: value for key, value in named.items() if key != "training" or says_training and value is True}
        for key in named:
            if not key.isidentifier():
                raise ValueError(f"{key!r:.80} is no name of an argument.")
        if isinstance(operation, Layer) and not operation.call_takes("mask"):
            named.pop("mask", None)
        try:
            return symbolic_leaves(operation(*args, **named))
        except Exception as error:
            raise ValueError(f"{name!r:.80} cannot be called as it was: {error}") from error

    def _argument(self, value: Any) -> Any:
        """An argument of a call, with the tensors that it refers to."""
        if isinstance(value, list):
            return [self._argument(part) for part in value]
        if not isinstance(value, Mapping):
            return value
        if value.get("class_name") == "__keras_tensor__":
            return self._tensor(*value["config"]["keras_history"])
        if "class_name" not in value:
            return {key: self._argument(part) for key, part in value.items()}
        found = from_keras(value, self._reader.layer)
        return torch.as_tensor(found) if isinstance(found, np.ndarray) else found

    def _tensor(self, name: str, number: int, index: int) -> KerasTensor:
        made = self._made.get((name, number))
        if made is None or not 0 <= index < len(made):
            raise ValueError(f"there is no tensor {index} of call {number} of {name!r:.80}.")
        return made[index]

    def ends(self, described: Any) -> Any:
        """Return the inputs or the outputs: one, or a list or a table of them, which may be nested."""
        if isinstance(described, Mapping):
            return {name: self.ends(part) for name, part in described.items()}
        if len(described) == 3 and isinstance(described[0], str):
            return self._end(*described)
        return [self.ends(part) for part in described]

    def _end(self, name: str, number: int, index: int) -> KerasTensor:
        """Keras counts a nested graph itself as its first call, where it lists the outputs; other models it counts so or not."""
        operation = self.operations.get(name)
        if isinstance(operation, Drawn) and not hasattr(operation, "layer"):
            number -= name in self._legacy_from_one or is_functional(operation) or number >= self._counts.get(name, 0)
        return self._tensor(name, number, index)


def _build(model: Any, config: Any) -> None:
    """Make the weights of a model that nothing was drawn of, for the shape that the file says it was built for."""
    shape = config.get("input_shape") if isinstance(config, Mapping) else None
    if not model.built and isinstance(shape, list) and all(size is None or type(size) is int for size in shape):
        model.build(tuple(shape))
