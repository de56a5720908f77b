"""A model without its weights as plain values and back: its class, its configuration, and what its sublayers were built for."""

import warnings
from collections.abc import Mapping
from typing import Any

from torch import nn

from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import get_registered_name
from torchkeras_fn.saving.bounds import CallsInside
from torchkeras_fn.saving.trees import decode, encode, size_of

_MANY_VALUES = 1000


def describe_model(model: Any, with_constants: bool = True) -> dict[str, Any]:
    """Return a model as JSON can hold it. Large tensors mixed into the graph are left out unless `with_constants`.

    Raises `ValueError` for what can neither be written nor named, and `TypeError` for what is no model.
    """
    check_is_model(model)
    config = encode(model.get_config(), owner=model.name)
    if not with_constants:
        config = _without_constants(config)
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    return {"class_name": get_registered_name(type(model)), "config": config, "built": _built_shapes(model), "frozen": frozen}


def check_is_model(model: Any) -> None:
    """Raise `TypeError` for what is no model, such as a module that derives from `Trainer` alone."""
    if not isinstance(model, Drawn):
        raise TypeError(
            f"{type(model).__name__} is no Model, so its architecture cannot be written down. Derive it from Model instead of Trainer, "
            "or save its weights alone: save_weights(path), or save_weights_only=True in a callback."
        )


def make_model(description: Any) -> Any:
    """Return the model that `describe_model` described, with new weights."""
    kind = registry.find(description["class_name"])
    if not (isinstance(kind, type) and issubclass(kind, Drawn)):
        raise ValueError(f"{description['class_name']!r} is no class of models.")
    _calls_of(description["config"], CallsInside(size_of(description)), {})
    model = kind.from_config(decode(description["config"]))
    if not isinstance(model, Drawn):
        raise ValueError(f"{description['class_name']}.from_config returned {model!r:.80}, which is no model.")
    _build(model, description.get("built") or {})
    parameters = dict(model.named_parameters())
    for name in description.get("frozen") or ():
        if name not in parameters:
            raise ValueError(f"it freezes {name!r:.80}, which is no weight of the model.")
        parameters[name].requires_grad_(False)
    return model


def _calls_inside(entry: Any, counted: CallsInside, known: dict[Any, int | None]) -> int | None:
    """How many calls of layers and functions one of an entry's layer is; `None` for what is no model. Raises `ValueError` for very many.

    Of a layer with a `key` that is `known` the first entry counts, as where layers are made.
    """
    if not isinstance(entry, Mapping):
        return None
    key = entry.get("key")
    if key is None or key not in known:
        known[key] = _calls_of(entry.get("config"), counted, known)
    return known[key]


def _calls_of(config: Any, counted: CallsInside, known: dict[Any, int | None]) -> int | None:
    if not isinstance(config, Mapping):
        return None
    if isinstance(config.get("layer"), Mapping):
        return _calls_inside(config["layer"], counted, known)
    layers, nodes = config.get("layers"), config.get("nodes")
    if not isinstance(layers, list):
        return None
    inside = [_calls_inside(part, counted, known) for part in layers]
    if isinstance(nodes, list):
        named = {part["name"]: calls for part, calls in zip(layers, inside, strict=True)}
        inside = [named[node["layer"]] if "layer" in node else None for node in nodes]
    return counted.of((calls, 1) for calls in inside)


def _without_constants(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_constants(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"constant", "dtype", "trained", "key"}:
        shape, part = [], value["constant"]
        while isinstance(part, list):
            shape.append(len(part))
            part = part[0] if part else None
        return value if _product(shape) <= _MANY_VALUES else {**value, "constant": None, "shape": shape}
    return {key: _without_constants(part) for key, part in value.items()}


def _product(sizes: list[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


# ---------------------------------------------------------------------- models with a call of their own


def _built_shapes(model: Drawn) -> dict[str, Any]:
    """The input shapes that the layers inside a model with its own `call` were built for; what is drawn says so itself."""
    if model.graph is not None:
        return {}
    found: dict[str, Any] = {}
    drawn: list[str] = []
    for path, module in model.named_modules():
        if any(path.startswith(f"{outer}.") for outer in drawn) or not isinstance(module, Layer):
            continue
        if isinstance(module, Drawn) and module.graph is not None:
            drawn.append(path)
            shapes = [tensor.shape for tensor in module.inputs]
            found[path] = shapes[0] if len(shapes) == 1 else list(shapes)
        elif module.built and module.built_for is not None:
            found[path] = module.built_for
    return {path: encode(shape) for path, shape in found.items()}


def _build(model: Drawn, shapes: Mapping[str, Any]) -> None:
    """Build the layers inside, outer ones first, since they may make inner ones."""
    model.own_listed_modules()
    for path, described in shapes.items():
        shape = decode(described)
        layer = model.get_submodule(path)
        if not isinstance(layer, Layer):
            raise ValueError(f"{path!r:.80} is no layer of {type(model).__name__}.")
        if isinstance(layer, Drawn) and layer is not model and is_ours(type(layer).call):
            if layer.graph is None:
                layer.build(shape)
        else:
            layer._build(shape)


_OF_KERAS = ("save_own_variables", "save_assets", "get_build_config", "get_compile_config")
"""The methods by which a class of Keras 3 writes more to a file than its weights and its configuration."""


def warn_of_uncalled(model: nn.Module) -> None:
    """Warn of methods by which a layer would write more to a file of Keras 3, as nobody calls them here."""
    for kind in dict.fromkeys(type(part) for part in (model.sublayers() if isinstance(model, Layer) else model.modules())):
        named = [name for name in _OF_KERAS if hasattr(kind, name)]
        if named:
            warnings.warn(
                f"{kind.__name__}.{named[0]} is not called: a file holds the weights, those of add_weight and torch's parameters and "
                "buffers, and what get_config returns. Keep there what load_model is to bring back.",
                stacklevel=2,
            )


def check_kept(model: nn.Module) -> None:
    """Raise `ValueError` where a part of the loss would be lost: terms that were added to layers from outside."""
    for layer in model.modules():
        if not isinstance(layer, Layer) or not is_ours(type(layer).__init__) or not is_ours(type(layer).build):
            continue
        written = isinstance(layer, Drawn) and "nodes" in layer.get_config()
        if layer._loss_functions or (layer._symbolic_losses or layer._symbolic_metrics) and not written:
            raise ValueError(
                f"{layer.name}: what was added with add_loss or add_metric would be lost. Add a symbolic tensor to a "
                "Model(inputs, outputs), or add it inside a layer of your own, or save without the training configuration: "
                "save(path, include_optimizer=False)."
            )
