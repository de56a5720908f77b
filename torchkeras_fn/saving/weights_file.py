"""The weights alone in one file, for a model that is there already: read by position, or by the names of the layers."""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from torchkeras_fn.engine.distributed.writing import first_writes
from torchkeras_fn.engine.graphs.graph import graph_of
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.saving.archive import Archive, part, write_archive
from torchkeras_fn.saving.formats import called, function_for
from torchkeras_fn.saving.model_file import FORMAT as MODEL_FORMAT
from torchkeras_fn.saving.model_file import MEMBERS, WEIGHTS, check_header, check_overwrite, header
from torchkeras_fn.saving.tensors import pack, unpack
from torchkeras_fn.shards import like

FORMAT = "torchkeras_fn weights"

Tensors = Mapping[str, torch.Tensor]


def save_weights(model: Any, filepath: Any, overwrite: bool = True, save_format: str | None = None) -> None:
    """Write the weights of a model, or of any torch module, to one file, in one step.

    Raises `FileExistsError` for a file that is there with `overwrite=False`, `ValueError` for weights that have no data
    yet, and `TypeError` for a file of Keras' and a module that is no `Model`. Of several processes the first writes, as `save_model` says.
    """

    def write() -> None:
        check_overwrite(filepath, overwrite)
        function_to_save(model, filepath, save_format)(model, filepath)

    first_writes(model, filepath, write)


def function_to_save(model: Any, filepath: Any, save_format: str | None = None) -> Any:
    """Return what writes the weights of a model to a path. Raises as `save_weights` does for what no weights can be written to."""
    return _checked(model, filepath, function_for(filepath, "save_weights", _save, save_format))


def _checked(model: Any, filepath: Any, function: Any) -> Any:
    """The function, if it can be used: Keras' files hold weights by the layers of a model."""
    if function not in (_save, _load) and not isinstance(model, Drawn):
        raise TypeError(
            f"{type(model).__name__} is no Model, and Keras' files hold weights by the layers of one, so {called(filepath)!r} cannot "
            "be written or read. Give the file another ending, such as '.weights', or derive from Model instead of Trainer."
        )
    return function


def _save(model: Any, filepath: Any) -> None:
    weights = model.state_dict()
    if not weights and not getattr(model, "built", True):
        raise ValueError("The model has no weights yet. Build it, or call it on data, before its weights are saved.")
    write_archive(filepath, header(FORMAT), {WEIGHTS: pack(weights)})


def load_weights(model: Any, filepath: Any, by_name: bool = False, skip_mismatch: bool = False, reshape: bool = False) -> None:
    """Set the weights of a model from a file that `save_weights` or `save` wrote.

    The layers with weights take them by their position, whatever their names; with `by_name` each takes those of the
    layer of its own name, and keeps its own where there is none. `reshape` takes weights of another shape with as many
    values, in their order. `skip_mismatch` warns of weights that do not fit, and keeps the model's. Raises `ValueError`,
    saying what does not fit, and then changes nothing.
    """
    asked = {"reshape": True} if reshape else {}
    _checked(model, filepath, function_for(filepath, "load_weights", _load))(model, filepath, by_name, skip_mismatch, **asked)


def _load(model: Any, filepath: Any, by_name: bool, skip_mismatch: bool, reshape: bool = False) -> None:
    with Archive(filepath, MEMBERS) as archive:
        check_header(archive, FORMAT, MODEL_FORMAT)
        with archive.part(WEIGHTS):
            saved = unpack(archive.read(WEIGHTS))
    own = model.state_dict()
    pairing = _Pairing(skip_mismatch, reshape)
    with part(called(filepath), "the weights"):
        if not own:
            raise ValueError("The model has no weights yet, so none can be loaded. Build it, or call it on data, before.")
        pairs = _pairs_by_name(own, saved, pairing) if by_name else _pairs_by_position(model, own, saved, pairing)
    own.update({name: like(own[name], tensor) for name, tensor in pairs.items()})
    model.load_state_dict(own)


class _Pairing(NamedTuple):
    """What is done with weights of another shape."""

    skip_mismatch: bool
    reshape: bool


def _layers(tensors: Tensors) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of each layer, by the attribute under which it is kept."""
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        layers.setdefault(name.partition(".")[0], {})[name] = tensor
    return layers


def _pairs_by_position(model: Any, own: Tensors, saved: Tensors, pairing: _Pairing) -> dict[str, torch.Tensor]:
    if graph_of(model) is None and own.keys() == saved.keys():
        saved = {name: saved[name] for name in own}  # the order of attributes says nothing
    ours, theirs = _layers(own), _layers(saved)
    if len(ours) != len(theirs):
        raise ValueError(
            f"The model has {len(ours)} layers with weights, {list(ours)[:8]}, but the file has {len(theirs)}, {list(theirs)[:8]}. "
            "With by_name=True those of equal names are loaded."
        )
    pairs: dict[str, torch.Tensor] = {}
    for (layer, tensors), (other, saved_tensors) in zip(ours.items(), theirs.items(), strict=True):
        pairs |= _pairs_of_layer(layer, tensors, other, saved_tensors, pairing)
    return pairs


def _pairs_by_name(own: Tensors, saved: Tensors, pairing: _Pairing) -> dict[str, torch.Tensor]:
    theirs = _layers(saved)
    pairs: dict[str, torch.Tensor] = {}
    for layer, tensors in _layers(own).items():
        if layer in theirs:
            pairs |= _pairs_of_layer(layer, tensors, layer, theirs[layer], pairing)
    return pairs


def _pairs_of_layer(layer: str, own: Tensors, other: str, saved: Tensors, pairing: _Pairing) -> dict[str, torch.Tensor]:
    """The saved tensor for each of a layer's own, both in their order."""
    if len(own) != len(saved):
        message = f"Layer {layer!r} has {len(own)} weights {list(own)[:8]}, but {other!r} in the file has {len(saved)}, {list(saved)[:8]}."
        if not pairing.skip_mismatch:
            raise ValueError(message)
        warnings.warn(f"{message} They are skipped.", UserWarning, stacklevel=6)
        return {}
    pairs = {}
    for (name, tensor), (saved_name, saved_tensor) in zip(own.items(), saved.items(), strict=True):
        if tensor.shape == saved_tensor.shape or pairing.reshape and tensor.numel() == saved_tensor.numel():
            pairs[name] = saved_tensor.reshape(tensor.shape)
            continue
        message = f"Weight {name!r} has shape {tuple(tensor.shape)}, but {saved_name!r} in the file has shape {tuple(saved_tensor.shape)}."
        if not pairing.skip_mismatch:
            raise ValueError(message)
        warnings.warn(f"{message} It is skipped.", UserWarning, stacklevel=6)
    return pairs
