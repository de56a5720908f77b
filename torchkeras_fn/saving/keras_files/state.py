"""Where Keras keeps the weights of a model in a file, and in which order it knows them."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torchkeras_fn.engine.drawing.incoming import cast_inside
from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight
from torchkeras_fn.engine.layer_parts.weights import ACTIVATIONS
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.engine.symbolic import KerasTensor
from torchkeras_fn.origin import is_ours

CLASS_NAMES = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU", "ThresholdedReLU": "ReLU"}
"""Layers of Keras 2, and the layers of Keras 3 that do the same."""
_PROJECTIONS = ("query", "key", "gate", "value", "attention_output")
_CONTAINERS = (list, tuple, dict)

LayersOf = Callable[[Drawn], list[Layer]]


class Part(NamedTuple):
    """A place in a file of weights: its path, the name of the layer, and the weights that are there, in their order.

    >>> Part("layers/dense", "dense_1", []).path
    'layers/dense'
    """

    path: str
    name: str
    weights: list[NamedWeight]
    second: str = ""
    """Where files of Keras have it, if that is another path."""


def class_name_of(layer: Any) -> str:
    """Return the name of the class that a layer has in Keras.

    >>> class_name_of(Drawn())
    'Functional'
    """
    name = type(layer).__name__
    if isinstance(layer, Drawn) and is_ours(type(layer)) and name in ("Model", "Drawn"):
        return "Functional"
    return CLASS_NAMES.get(name, name)


def is_functional(layer: Any) -> bool:
    """Whether a layer is a model with a graph from inputs to outputs, be its class a user's own, which Keras counts as its first call.

    >>> is_functional(Drawn())
    False
    """
    if not isinstance(layer, Drawn) or hasattr(layer, "layer") or isinstance(layer, registry.find("Sequential")):
        return False
    return layer.graph is not None


def path_name(class_name: str) -> str:
    """Return the name of a class as Keras spells it in the paths of a file, where digits stay with what is before them.

    >>> path_name("ConvLSTM2D"), path_name("PReLU")
    ('conv_lstm2d', 'p_re_lu')
    """
    spaced = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()


def parts_of(model: Any, layers_of: LayersOf | None = None) -> list[Part]:
    """Return the places of a model's weights, in Keras' order; those of a layer in several models are at several.

    `layers_of` says the order of the layers of each model inside, where a file does; otherwise it is that of the graph.
    """
    return list(_parts(model, "", layers_of or keras_layers))


def weights_of(layer: Any, layers_of: LayersOf | None = None) -> list[NamedWeight]:
    """Return all weights of a layer or model in the order of Keras' `weights`, each once."""
    return list({id(weight.tensor): weight for part in parts_of(layer, layers_of) for weight in part.weights}.values())


def _parts(layer: Any, path: str, layers_of: LayersOf) -> Iterator[Part]:
    children = list(_children(layer, layers_of))
    if not children and not (isinstance(layer, Drawn) and is_ours(type(layer))):
        yield from _own_parts(layer, path)
        return
    inside = {id(weight.tensor) for _, child in children for weight in child.named_weights()}
    own = [] if isinstance(layer, Drawn) and is_ours(type(layer)) else layer.named_weights()
    twice = {id(layer.vector_u), id(own[0].tensor)} if type(layer).__name__ == "SpectralNormalization" and own else set()
    yield Part(path, layer.name, [weight for weight in own if id(weight.tensor) not in inside or id(weight.tensor) in twice])
    listed = _names_in_list(layer)
    for name, child in children:
        place, second = (f"{path}/{part}" if path else part for part in (name, listed.get(id(child), name)))
        for part in _parts(child, place, layers_of):
            yield part._replace(second=second + (part.second or part.path).removeprefix(place))


def _names_in_list(layer: Any) -> dict[int, str]:
    """Where Keras has layers of a model with a `call` of its own: it comes by `layers` before attributes that are later in the alphabet."""
    if not isinstance(layer, Drawn) or is_ours(type(layer)) or is_functional(layer) or isinstance(layer, registry.find("Sequential")):
        return {}
    names = {id(child): f"layers/{name}" for name, child in _numbered(layer.layers)}
    return {id(child): names[id(child)] for name, child in _attributes(layer) if name > "layers" and id(child) in names}


def _own_parts(layer: Layer, path: str) -> Iterator[Part]:
    """A layer's own weights; those of attention belong to layers inside it in Keras."""
    weights = layer.named_weights()
    if not is_ours(type(layer)) or not weights or weights[0].name.partition("/")[0] not in _PROJECTIONS:
        yield Part(path, layer.name, weights)
        return
    hidden = "_" if type(layer).__name__ == "GroupedQueryAttention" else ""
    yield Part(path, layer.name, [])
    for projection in _PROJECTIONS:
        inside = [weight for weight in weights if weight.name.partition("/")[0] == projection]
        if inside:
            name = f"{'_' if projection == 'gate' else hidden}{projection.removeprefix('attention_')}_dense"
            yield Part(f"{path}/{name}", projection, inside)


def _children(layer: Any, layers_of: LayersOf) -> Iterator[tuple[str, Layer]]:
    """The layers inside, under the paths that Keras gives them."""
    if isinstance(layer, Drawn) and is_ours(type(layer)) and not hasattr(layer, "layer"):
        yield from ((f"layers/{name}", child) for name, child in _numbered(layers_of(layer)))
    elif is_ours(type(layer)):
        for name in ("forward_layer", "backward_layer", "cell", "layer"):
            if isinstance(getattr(layer, name, None), Layer) and not (name == "layer" and hasattr(layer, "forward_layer")):
                yield name, getattr(layer, name)
        cells = getattr(layer, "cells", None)
        if isinstance(cells, (list, tuple)):
            yield from ((f"cells/{name}", cell) for name, cell in _numbered([cell for cell in cells if isinstance(cell, Layer)]))
        yield from ((name, getattr(layer, name)) for name in ACTIVATIONS if isinstance(getattr(layer, name, None), Layer))
    else:
        drawn = layers_of(layer) if is_functional(layer) or isinstance(layer, registry.find("Sequential")) else []
        yield from ((f"layers/{name}", child) for name, child in _numbered(drawn))
        yield from ((name, child) for name, child in _attributes(layer) if child not in drawn)


def _attributes(layer: Any) -> list[tuple[str, Layer]]:
    """The layers in the attributes of a user's own layer or model, alone or in lists, in the order in which they were set."""
    listed: dict[int, tuple[str, Layer]] = {}
    for name, value in vars(layer).items():
        if isinstance(value, _CONTAINERS) and not name.startswith("_"):
            held = value.values() if isinstance(value, dict) else value
            listed |= {id(part): (f"{name}/{unique}", part) for unique, part in _in_container(held)}
    alone = [(name, child) for name, child in layer._modules.items() if isinstance(child, Layer)]
    unlisted = listed.keys() - {id(child) for _, child in alone}
    found = [listed[key] for key in listed if key in unlisted] + [listed.get(id(child), (name, child)) for name, child in alone]
    return list(dict.fromkeys(found))


def _in_container(held: Any) -> Iterator[tuple[str, Layer]]:
    """The layers in a list or table, and in those inside it."""
    for name, part in _numbered([part for part in held if isinstance(part, (Layer, *_CONTAINERS))]):
        if isinstance(part, Layer):
            yield name, part
        else:
            yield from ((f"{name}/{unique}", layer) for unique, layer in _in_container(part.values() if isinstance(part, dict) else part))


def _numbered(layers: list[Any]) -> Iterator[tuple[str, Any]]:
    """Each layer with the name of its class, numbered where it repeats; so is a list among them."""
    counts: dict[str, int] = {}
    for layer in layers:
        name = "container" if isinstance(layer, _CONTAINERS) else path_name(class_name_of(layer))
        number = counts[name] = counts.get(name, -1) + 1
        yield f"{name}_{number}" if number else name, layer


# ---------------------------------------------------------------------- the order of layers


def keras_layers(model: Drawn) -> list[Layer]:
    """Return the layers of a model in the order in which Keras lists them: from the inputs on, by their longest way to an output."""
    graph = model.graph
    if graph is None or isinstance(model, registry.find("Sequential")):
        return [layer for layer in model.layers if not hasattr(layer, "batch_shape")]
    return graph.layers_of_outputs()


def past_casts(tensor: KerasTensor) -> KerasTensor:
    """Return the tensor that another is a cast of; Keras casts inside its layers."""
    while tensor.node.operation is cast_inside:
        tensor = tensor.node.parents[0]
    return tensor
