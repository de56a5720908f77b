"""The weights of a model in an HDF5 file: in Keras 3's layout, by paths, and in Keras 2's, by the layers' names."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any

import torch

from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight
from torchkeras_fn.saving.keras_files.hdf5 import Stored, address_of, find, group_at, names_in, stored_at, write_names, write_tensor
from torchkeras_fn.saving.keras_files.state import LayersOf, Part, keras_layers, parts_of, weights_of

Pairs = list[tuple[NamedWeight, torch.Tensor]]
_TOP = "top_level_model_weights"


def take(pairs: Iterable[tuple[NamedWeight, torch.Tensor]]) -> None:
    """Set weights to what a file has for them; they were compared before."""
    with torch.no_grad():
        for weight, tensor in pairs:
            weight.write(tensor.to(weight.tensor.device, weight.tensor.dtype))


def _are_as_many(what: str, own: Sequence[NamedWeight], names: Sequence[str], skip_mismatch: bool) -> bool:
    """Whether a file has as many arrays as there are weights. Raises `ValueError`, or warns, where it has not; none is opened before."""
    if len(own) != len(names):
        _mismatch(f"{what} has {len(own)} weights {[weight.name for weight in own][:8]}, but in the file {len(names)}", skip_mismatch)
    return len(own) == len(names)


def _pairs(what: str, own: Sequence[NamedWeight], saved: Sequence[Stored | torch.Tensor], skip_mismatch: bool, reshape: bool) -> Pairs:
    """Each weight with what a file has for it, of which only that is read.

    Raises `ValueError` where a shape is another, or warns and leaves that weight out; with `reshape` as many values will do.
    """
    found = []
    for weight, stored in zip(own, saved, strict=True):
        shape = tuple(weight.view.shape)
        if shape != tuple(stored.shape) and not (reshape and prod(shape) == prod(stored.shape)):
            _mismatch(f"Weight {weight.name!r} of {what} has shape {shape}, but in the file {tuple(stored.shape)}", skip_mismatch)
        else:
            found.append((weight, (stored.tensor() if isinstance(stored, Stored) else stored).reshape(shape)))
    return found


def _mismatch(message: str, skip_mismatch: bool) -> None:
    if not skip_mismatch:
        raise ValueError(f"{message}.")
    warnings.warn(f"{message}. It is skipped.", UserWarning, stacklevel=8)


# ---------------------------------------------------------------------- by paths


def write_paths(root: Any, model: Any) -> None:
    """Write the weights of a model under the paths that Keras 3 looks for."""
    for part in parts_of(model):
        path = part.second or part.path
        group = root.require_group(path) if path else root
        if "vars" in group:  # a layer in two attributes, which Keras lists once
            continue
        inside = group.create_group("vars")
        inside.attrs["name"] = part.name
        for number, weight in enumerate(part.weights):
            write_tensor(inside, str(number), weight.view)


def pairs_by_paths(root: Any, model: Any, skip_mismatch: bool = False, layers_of: LayersOf | None = None, reshape: bool = False) -> Pairs:
    """Return each weight of a model with what is under its path.

    Raises `ValueError`, before anything is read into the model, where the file has other weights than the model.
    """
    found: dict[int, tuple[NamedWeight, torch.Tensor]] = {}
    read, empty = set(), []
    for part in parts_of(model, layers_of):
        path = _place_of(root, part)
        read.add(path)
        group = find(root, path)
        names = sorted(group, key=_number) if group is not None else []
        if names and _are_as_many(_called(part), part.weights, names, skip_mismatch):
            stored = [stored_at(group, name) for name in names]
            pairs = _pairs(_called(part), part.weights, stored, skip_mismatch, reshape)
            found |= {id(weight.tensor): (weight, tensor) for weight, tensor in pairs}
        elif not names and part.weights:
            empty.append(part)
    for part in empty:  # Keras writes a layer that stands in several models at the first place only
        if not all(id(weight.tensor) in found for weight in part.weights):
            _are_as_many(_called(part), part.weights, [], skip_mismatch)
    unread = [path for path in _places_with_arrays(root) if path not in read and not _is_of_optimizer(root, path)]
    if unread and not skip_mismatch:
        raise ValueError(f"the file has weights at {unread[:3]}, for which the model has no layer.")
    return list(found.values())


def _called(part: Part) -> str:
    return f"{part.path or 'the model'} ({part.name})"


def _place_of(root: Any, part: Part) -> str:
    """Where a file has a part; files of Keras 2.13 to 2.15 name the list of layers otherwise."""
    path = f"{part.path}/vars" if part.path else "vars"
    if part.second not in ("", part.path) and find(root, path) is None and find(root, f"{part.second}/vars") is not None:
        return f"{part.second}/vars"
    if find(root, path) is None and "_layer_checkpoint_dependencies" in root:
        return path.replace("layers/", "_layer_checkpoint_dependencies/")
    return path


def _number(name: str) -> int:
    if not name.isdecimal() or len(name) > 6:
        raise ValueError(f"{name!r:.80} is no number of a weight.")
    return int(name)


def _is_of_optimizer(root: Any, path: str) -> bool:
    """Whether an optimizer keeps a group, that of the model, of one inside, or in an attribute: it begins with the count of steps."""
    return path.startswith("optimizer/") or "0" in find(root, path) and stored_at(find(root, path), "0").is_count


def _places_with_arrays(root: Any) -> Iterator[str]:
    """The paths of groups called `vars` that hold something. Raises `ValueError` for a group with several names."""
    seen: set[int] = set()

    def places(path: str) -> Iterator[str]:
        group = find(root, path)
        for name in group if hasattr(group, "keys") else ():
            place = f"{path}/{name}" if path else name
            inside = find(root, place)
            if not hasattr(inside, "keys"):
                continue
            if address_of(inside) in seen:  # groups inside each other have no end
                raise ValueError(f"the group {place!r:.80} is there under another name too.")
            seen.add(address_of(inside))
            if name != "vars":
                yield from places(place)
            elif len(inside):
                yield place

    return places("")


# ---------------------------------------------------------------------- by layers


def legacy_weights(layer: Any, layers_of: LayersOf | None = None) -> list[NamedWeight]:
    """Return the weights of a layer in the order of Keras 2's files: those that are trained, then the others."""
    weights = weights_of(layer, layers_of)
    trained = {id(tensor) for tensor in layer.trainable_weights}
    return [w for w in weights if id(w.tensor) in trained] + [w for w in weights if id(w.tensor) not in trained]


def write_layers(root: Any, model: Any) -> None:
    """Write the weights of a model layer by layer, each under its name."""
    names = []
    for layer in keras_layers(model):
        name = model.layer_name(layer)
        names.append(name)
        group = root.create_group(name)
        weights = legacy_weights(layer)
        places = _unique([f"{name}/{weight.name}" for weight in weights])
        write_names(group, "weight_names", places)
        for place, weight in zip(places, weights, strict=True):
            write_tensor(group, place, weight.view)
    write_names(root, "layer_names", names)
    write_names(root.create_group(_TOP), "weight_names", [])


def _unique(names: list[str]) -> list[str]:
    return [name if names.index(name) == position else f"{name}_{position}" for position, name in enumerate(names)]


def pairs_by_layers(
    root: Any, model: Any, by_name: bool, skip_mismatch: bool, layers_of: LayersOf | None = None, reshape: bool = False
) -> Pairs:
    """Return each weight of a model with that of the layer at its place in the file or, `by_name`, of the layer of its name."""
    order = (layers_of or keras_layers)(model)
    layers = [(layer, legacy_weights(layer, layers_of)) for layer in order]
    groups = {name: group_at(root, name) for name in names_in(root, "layer_names")}
    if len({address_of(group) for group in groups.values()}) < len(groups):
        raise ValueError("the group of a layer is there under another name too.")
    saved = {name: names_in(group, "weight_names") for name, group in groups.items()}
    if by_name:
        matched = [(layer, own, model.layer_name(layer)) for layer, own in layers if model.layer_name(layer) in saved]
    else:
        weighted = [(layer, own) for layer, own in layers if own]
        names = [name for name, weights in saved.items() if weights]
        if len(names) != len(weighted):
            ours = [model.layer_name(layer) for layer, _ in weighted]
            raise ValueError(
                f"the model has {len(ours)} layers with weights {ours[:8]}, but the file has {len(names)} {names[:8]}. "
                "With by_name=True those of equal names are loaded."
            )
        matched = [(layer, own, name) for (layer, own), name in zip(weighted, names, strict=True)]
    found: Pairs = []
    for layer, own, name in matched:
        what = f"layer {model.layer_name(layer)!r}"
        if _are_as_many(what, own, saved[name], skip_mismatch):
            stored = [stored_at(root, f"{name}/{weight}") for weight in saved[name]]
            found += _pairs(what, own, _converted(layer, own, stored), skip_mismatch, reshape)
    return found


def _converted(layer: Any, own: Sequence[NamedWeight], stored: list[Stored]) -> Sequence[Stored | torch.Tensor]:
    """Return the weights of a layer, those of recurrent ones on cuDNN, also inside, in the layout of the others."""
    found: list[Stored | torch.Tensor] = list(stored)
    if len(stored) != len(own):
        return found
    places = {id(weight.tensor): place for place, weight in enumerate(own)}
    for part in layer.sublayers():
        gates = _GATES.get(type(part).__name__)
        inside = [places[id(weight.tensor)] for weight in part.named_weights() if id(weight.tensor) in places] if gates else []
        if gates and len(inside) == 3:
            replaced = _from_cudnn(gates, [own[place] for place in inside], [stored[place] for place in inside])
            for place, value in zip(inside, replaced, strict=True):
                found[place] = value
    return found


_GATES = {"LSTM": 4, "CuDNNLSTM": 4, "GRU": 3, "CuDNNGRU": 3}


def _from_cudnn(gates: int, own: Sequence[NamedWeight], stored: Sequence[Stored]) -> Sequence[Stored | torch.Tensor]:
    """Return the kernels and the bias of a layer on cuDNN as Keras 2 saved them in the layout of the others.

    cuDNN has two biases, where others have one of their sums, and its kernels' gates are transposed.
    """
    units = own[1].view.shape[0]
    if stored[2].shape != (2 * gates * units,):
        return stored
    fits = [tuple(weight.view.shape) == found.shape for weight, found in zip(own, stored, strict=True)]
    bias = stored[2].tensor().reshape(2, -1)
    return [
        _turned(stored[0], gates, units) if fits[0] else stored[0],
        _turned(stored[1], gates, units) if fits[1] else stored[1],
        bias.sum(0) if gates == 4 else bias,
    ]


def _turned(stored: Stored, gates: int, units: int) -> torch.Tensor:
    return torch.cat([gate.reshape(units, -1).t() for gate in stored.tensor().chunk(gates, 1)], 1)
