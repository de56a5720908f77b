"""Keras' files: `.keras` of Keras 3, `.weights.h5`, and `.h5` of Keras 2 and 3; each is written and read whole.

Reading is as safe as with this library's own files: no code of the file is run, no module that it names is imported, and
what it asks for is bounded by the weights that it holds. HDF5 has no checksums: only those of a `.keras` file's container
tell flipped bits in the numbers.
"""

import contextlib
import datetime
import io
import json
from collections.abc import Mapping
from typing import Any

from torchkeras_fn.registry import custom_object_scope
from torchkeras_fn.saving.archive import part
from torchkeras_fn.saving.bounds import bounded
from torchkeras_fn.saving.describe import check_is_model
from torchkeras_fn.saving.formats import called
from torchkeras_fn.saving.keras_files import hdf5
from torchkeras_fn.saving.keras_files.container import CONFIG, METADATA, WEIGHTS, KerasArchive, write_container
from torchkeras_fn.saving.keras_files.keras_2 import in_words_of_today
from torchkeras_fn.saving.keras_files.reading import Reader
from torchkeras_fn.saving.keras_files.slots import take_state, written_state
from torchkeras_fn.saving.keras_files.state import LayersOf
from torchkeras_fn.saving.keras_files.training import OWN, compile_as_saved, own_scale, own_settings, written_compile_config
from torchkeras_fn.saving.keras_files.weights import Pairs, pairs_by_layers, pairs_by_paths, take, write_layers, write_paths
from torchkeras_fn.saving.keras_files.writing import Writer
from torchkeras_fn.saving.trees import size_of, write_json

KERAS_VERSION = "3.15.0"
"""The version of Keras whose files are written."""
_LAYERS = "model_weights"
_STATE = "optimizer_weights"


# ---------------------------------------------------------------------- .keras


def save_keras(model: Any, path: Any, include_optimizer: bool) -> None:
    """Write a model to a `.keras` file. Raises `ValueError`, before anything is written, for what Keras 3 does not know."""
    h5py = hdf5.h5py_module()
    check_is_model(model)
    entry = Writer().model(model)
    trained = include_optimizer and model.objective is not None
    if trained:
        entry |= {"compile_config": written_compile_config(model), **own_settings(model)}
    _check_data(model)
    with h5py.File(whole := io.BytesIO(), "w") as root:
        write_paths(root, model)
        if trained:
            inside = root.create_group("optimizer/vars")
            inside.attrs["name"] = model.optimizer.name
            for number, (_, value) in enumerate(written_state(model)):
                hdf5.write_tensor(inside, str(number), value)
    saved = {"keras_version": KERAS_VERSION, "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")}
    config = write_json(entry, "The configuration")
    write_container(path, {METADATA: json.dumps(saved).encode(), CONFIG: config, WEIGHTS: whole.getvalue()})


def load_keras(path: Any, custom_objects: Mapping[str, Any], compile: bool) -> Any:
    """Return the model in a `.keras` file, compiled as it was. Raises `ValueError` that says which part of the file is bad."""
    hdf5.h5py_module()
    reader = Reader()
    with KerasArchive(path) as archive, custom_object_scope(custom_objects), contextlib.ExitStack() as held:
        with archive.part(WEIGHTS):
            size, version = archive.size(WEIGHTS), archive.version
        with archive.part(CONFIG), bounded(size, size_of(archive.config)):
            model = reader.model(in_words_of_today(archive.config, version))
        with archive.part(WEIGHTS):
            root = held.enter_context(hdf5.reading(io.BytesIO(archive.read(WEIGHTS))))
            take(pairs_by_paths(root, model, layers_of=reader.layers_of))
        if compile:
            with archive.part(f"compile_config in {CONFIG}"), bounded(size, 0):
                compiled = compile_as_saved(model, archive.config.get("compile_config"), reader, archive.config.get(OWN))
            if compiled:
                with archive.part(f"the optimizer's state in {WEIGHTS}"):
                    state = _numbered(root, "optimizer/vars", _most_values(model))
                    take_state(model, state, layers_of=reader.layers_of, scaling=own_scale(archive.config.get(OWN)))
    return model


def _numbered(root: Any, path: str, most: int) -> list[hdf5.Stored]:
    group = hdf5.find(root, path)
    count = 0 if group is None else len(group)
    return [hdf5.stored_at(group, str(number)) for number in range(min(count, most))]


def _most_values(model: Any) -> int:
    """A bound on how many values an optimizer may keep; more fit none, and need not be looked at."""
    return 8 * len(model.weights) + 16


def _check_data(model: Any) -> None:
    if not model.weights and not getattr(model, "built", True):
        raise ValueError("The model has no weights yet. Build it, or call it on data, before it is saved to a Keras file.")


# ---------------------------------------------------------------------- .h5


def save_h5(model: Any, path: Any, include_optimizer: bool) -> None:
    """Write a model to an `.h5` file, in the older layout. Raises `ValueError` as `save_keras` does."""
    check_is_model(model)
    entry = Writer().model(model)
    trained = include_optimizer and model.objective is not None
    training = written_compile_config(model, in_full=True) if trained else None
    _check_data(model)
    with hdf5.writing(path) as root:
        root.attrs["backend"] = "torch"
        root.attrs["keras_version"] = KERAS_VERSION
        hdf5.write_json(root, "model_config", {"class_name": entry["class_name"], "config": entry["config"]})
        _write_layers(root.create_group(_LAYERS), model)
        if training is not None:
            optimizer = training.pop("optimizer")
            described = {"class_name": optimizer["class_name"], "config": optimizer["config"]}
            hdf5.write_json(root, "training_config", {**training, "optimizer_config": described, **own_settings(model, in_full=True)})
            values = written_state(model)
            group = root.create_group(_STATE)
            hdf5.write_names(group, "weight_names", [name for name, _ in values])
            for name, value in values:
                hdf5.write_tensor(group, name, value)


def load_h5(path: Any, custom_objects: Mapping[str, Any], compile: bool) -> Any:
    """Return the model in an `.h5` file of Keras 2 or 3, compiled as it was."""
    reader = Reader()
    with hdf5.opened(path) as root, custom_object_scope(custom_objects):
        size = root.file.id.get_filesize()
        with part(called(path), "model_config"):
            described = hdf5.json_in(root, "model_config")
            if described is None:
                raise ValueError("there is none: the file holds weights alone. Make the model, and call its load_weights.")
            with bounded(size, size_of(described)):
                model = reader.model(in_words_of_today(described, _version(root)))
        with part(called(path), _LAYERS):
            take(pairs_by_layers(hdf5.group_at(root, _LAYERS), model, False, False, reader.layers_of))
        if compile:
            with part(called(path), "training_config"), bounded(size, 0):
                config = hdf5.json_in(root, "training_config")
                own = config.get(OWN) if isinstance(config, Mapping) else None
                compiled = compile_as_saved(model, config, reader, own)
            if compiled and _STATE in root:
                with part(called(path), _STATE):
                    _take_named_state(root, model, reader.layers_of, own_scale(own))
    return model


def _take_named_state(root: Any, model: Any, layers_of: LayersOf, scaling: Any) -> None:
    group = hdf5.group_at(root, _STATE)
    values = [hdf5.stored_at(group, name) for name in hdf5.names_in(group, "weight_names")[: _most_values(model)]]
    take_state(model, values, grouped=not _version(root).startswith("3"), layers_of=layers_of, scaling=scaling)


def _version(root: Any) -> str:
    """The version of Keras that wrote an `.h5` file; Keras 2's where it does not say."""
    return hdf5.text_in(root, "keras_version") or "2"


def _write_layers(root: Any, model: Any) -> None:
    root.attrs["backend"] = "torch"
    root.attrs["keras_version"] = KERAS_VERSION
    write_layers(root, model)


# ---------------------------------------------------------------------- weights alone


def save_paths(model: Any, path: Any) -> None:
    """Write the weights of a model to a `.weights.h5` file of Keras 3."""
    _check_data(model)
    with hdf5.writing(path) as root:
        write_paths(root, model)


def save_layers(model: Any, path: Any) -> None:
    """Write the weights of a model to an `.h5` file, layer by layer, as Keras 2 did."""
    _check_data(model)
    with hdf5.writing(path) as root:
        _write_layers(root, model)


def load_keras_weights(model: Any, path: Any, by_name: bool, skip_mismatch: bool, reshape: bool = False) -> None:
    """Set the weights of a model from a `.keras` file. A call that raises changes nothing."""
    with KerasArchive(path) as archive, archive.part(WEIGHTS), hdf5.reading(io.BytesIO(archive.read(WEIGHTS))) as root:
        pairs = _weights(root, model, by_name, skip_mismatch, reshape)
    take(pairs)


def load_h5_weights(model: Any, path: Any, by_name: bool, skip_mismatch: bool, reshape: bool = False) -> None:
    """Set the weights of a model from an HDF5 file of either layout, or from a whole model's. A call that raises changes nothing."""
    with hdf5.opened(path) as root, part(called(path), "the weights"):
        pairs = _weights(root, model, by_name, skip_mismatch, reshape)
    take(pairs)


def _weights(root: Any, model: Any, by_name: bool, skip_mismatch: bool, reshape: bool) -> Pairs:
    if not model.weights and not getattr(model, "built", True):
        raise ValueError("the model has no weights yet, so none can be loaded. Build it, or call it on data, before.")
    inner = hdf5.group_at(root, _LAYERS) if _LAYERS in root else root
    if "layer_names" in inner.attrs or "layer_names0" in inner.attrs:
        return pairs_by_layers(inner, model, by_name, skip_mismatch, reshape=reshape)
    if by_name:
        raise ValueError("by_name needs a file that names the layers: '.h5', not '.weights.h5', whose layers are numbered.")
    return pairs_by_paths(root, model, skip_mismatch, reshape=reshape)
