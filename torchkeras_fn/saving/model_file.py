"""A whole model in one file: architecture, weights, what it was compiled with, and the state of its training.

The file is a zip of JSON and safetensors, so it can be read without this library, and holds no code: what a stranger's
file can do is to make layers of this library, and of those classes and functions that the caller gave.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from torchkeras_fn.engine.distributed.writing import first_writes
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.registry import custom_object_scope
from torchkeras_fn.saving.archive import Archive, write_archive
from torchkeras_fn.saving.bounds import bounded
from torchkeras_fn.saving.compile_config import compile_config, compile_from
from torchkeras_fn.saving.describe import check_kept, describe_model, make_model, warn_of_uncalled
from torchkeras_fn.saving.formats import called, function_for, is_group, is_open_file
from torchkeras_fn.saving.tensors import Entry, pack, read_header, read_length, unpack
from torchkeras_fn.saving.training_state import load_training_state, training_state
from torchkeras_fn.saving.trees import decode, encode, size_of, write_json

FORMAT = "torchkeras_fn model"
VERSION = 1
WEIGHTS = "weights.safetensors"
COMPILE = "compile.json"
STATE = "optimizer.json"
STATE_TENSORS = "optimizer.safetensors"
CONSTANTS = "constants.safetensors"
"""The tensors that were mixed into the graphs, which are no weights."""
MEMBERS = frozenset((WEIGHTS, COMPILE, STATE, STATE_TENSORS, CONSTANTS))


def save_model(model: Any, filepath: Any, overwrite: bool = True, include_optimizer: bool = True, **options: Any) -> None:
    """Write a model to one file: architecture, weights, and, if it is compiled, all that training needs to go on.

    `filepath` is a path, a binary file object, or a group of h5py for Keras' `.h5`; the end of its name chooses the
    format, and where that says nothing, `save_format="keras"` or `"h5"`. A crash, a full disk or an error leaves an old file
    as it was. Folders are not made. `include_optimizer=False` leaves the training out.

    Raises `FileExistsError` for a file that is there with `overwrite=False`, and `ValueError` for what a file can
    neither hold nor name, such as a `lambda`. Of several processes that train a model together all call this, the first
    writes, and the others return when it has; where it fails they raise `ProcessError`.
    """
    save_format = options.pop("save_format", None)
    if options or save_format not in (None, "keras", "h5"):
        known = f"'save_format' must be 'keras' or 'h5', or left to the end of the file's name; got {save_format!r}."
        raise ValueError(known if save_format else f"save takes no argument {next(iter(options))!r}.")

    def write() -> None:
        check_overwrite(filepath, overwrite)
        warn_of_uncalled(model)
        function_for(filepath, "save_model", _save, save_format)(model, filepath, include_optimizer)

    first_writes(model, filepath, write)


def check_overwrite(filepath: Any, overwrite: bool) -> None:
    """Raise `FileExistsError` for a file that is there and must not be replaced, or a group that holds something."""
    if overwrite or is_open_file(filepath):
        return
    if is_group(filepath):
        if len(filepath) or len(filepath.attrs):
            raise FileExistsError(f"{called(filepath)} holds something already. Pass overwrite=True to replace a model in it.")
    elif os.path.exists(filepath):
        raise FileExistsError(f"{os.fsdecode(filepath)!r} is there already. Pass overwrite=True to replace it.")


def _save(model: Any, filepath: Any, include_optimizer: bool) -> None:
    config = {**header(FORMAT), "model": describe_model(model, with_constants=False)}
    members: dict[str, Iterable[Any]] = {WEIGHTS: pack(model.state_dict())}
    if constants := _constants_of(model):
        members[CONSTANTS] = pack(constants)
    if include_optimizer and model.objective is not None:
        check_kept(model)
        members |= _training_members(model)
    write_archive(filepath, config, members)


def _constants_of(model: Any) -> dict[str, torch.Tensor]:
    """The constants of the graph, and of those inside, by their names among the buffers."""
    return {
        f"{path}.constants.{key}".removeprefix("."): constant
        for path, module in model.named_modules()
        if isinstance(module, Drawn) and module.graph is not None
        for key, constant in module.graph.constants.named_buffers()
    }


def header(format: str) -> dict[str, Any]:
    """Return what every file says of itself."""
    library = sys.modules[__name__.split(".")[0]]
    return {"format": format, "version": VERSION, "library": getattr(library, "__version__", None), "torch": str(torch.__version__)}


def _training_members(model: Any) -> dict[str, Iterable[Any]]:
    tensors: dict[str, torch.Tensor] = {}
    state = encode(training_state(model), tensors)
    return {
        COMPILE: [write_json(compile_config(model), "The training configuration")],
        STATE: [write_json(state, "The optimizer's state")],
        STATE_TENSORS: pack(tensors),
    }


# ---------------------------------------------------------------------- loading


def load_model(filepath: Any, custom_objects: Mapping[str, Any] | None = None, compile: bool = True, safe_mode: bool = True) -> Any:
    """Return the model in a file, compiled as it was, with its optimizer's state: training goes on as if never interrupted.

    `custom_objects` holds by name the user's own classes and functions, the functions of `Lambda` layers, and for a
    `TorchModuleWrapper` a module or a function that makes one, under the layer's name or the module's class.
    `compile=False` leaves the training out. Loading is always safe, whatever `safe_mode` and the file say: nothing in
    the file is run, and no module is imported.

    Of a file object, and of a file whose name does not end as Keras' files do, the first bytes tell the format. Raises
    `FileNotFoundError` where there is no file, and `ValueError`, saying which part is bad, for any other thing than a
    whole file that `save` or Keras wrote.
    """
    found = function_for(filepath, "load_model", _load)(filepath, custom_objects or {}, compile)
    return found


def _load(filepath: Any, custom_objects: Mapping[str, Any], compile: bool) -> Any:
    with Archive(filepath, MEMBERS) as archive, custom_object_scope(custom_objects):
        check_header(archive, FORMAT)
        with archive.part(WEIGHTS):
            entries = read_entries(archive, WEIGHTS)
            weight_bytes = archive.size(WEIGHTS) + (archive.size(CONSTANTS) if CONSTANTS in archive else 0)
        with archive.part("config.json"):
            description = archive.config["model"]
            with bounded(weight_bytes, size_of(description)):
                model = make_model(description)
            check_entries(model.state_dict(), entries)
        with archive.part(WEIGHTS):
            take_weights(model, unpack(archive.read(WEIGHTS)))
        with archive.part(CONSTANTS):
            check_entries(_constants_of(model), read_entries(archive, CONSTANTS) if CONSTANTS in archive else {})
            _take_constants(model, unpack(archive.read(CONSTANTS)) if CONSTANTS in archive else {})
        if compile and COMPILE in archive:
            _load_training(archive, model, weight_bytes)
    return model


def _load_training(archive: Archive, model: Any, weight_bytes: int) -> None:
    with archive.part(COMPILE), bounded(weight_bytes, 0):
        if not compile_from(model, archive.read_json(COMPILE)):
            return
    with archive.part(STATE_TENSORS):
        tensors = unpack(archive.read(STATE_TENSORS))
    with archive.part(STATE):
        load_training_state(model, decode(archive.read_json(STATE), tensors))


def check_header(archive: Archive, *formats: str) -> None:
    """Raise `ValueError` for a file of another kind, or of a later version."""
    with archive.part("config.json"):
        check_version(archive.config, *formats)


def check_version(config: Mapping[str, Any], *formats: str) -> None:
    """Raise `ValueError` where `header` said something else than one of these formats, or of a later version."""
    found, version = config.get("format"), config.get("version")
    if found not in formats:
        raise ValueError(f"it says that this is {found!r:.80}, where {formats[0]!r} was expected.")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise ValueError(f"its format is of version {version!r:.80}; this library reads up to {VERSION}. Install a later one.")


def read_entries(archive: Archive, name: str) -> dict[str, Entry]:
    """Return what the header of a member with tensors says, without reading the tensors."""
    size = archive.size(name)
    length = read_length(archive.head(name, 8), size)
    return read_header(archive.head(name, length), size)


def check_entries(state: Mapping[str, torch.Tensor], entries: Mapping[str, Entry]) -> None:
    """Raise `ValueError` unless a file has exactly the tensors that a model has."""
    missing, unknown = [name for name in state if name not in entries], [name for name in entries if name not in state]
    if missing or unknown:
        raise ValueError(
            f"the model that it describes has weights {missing[:3]} that are not in the file, and the file has {unknown[:3]} "
            "that are not in the model."
        )
    for name, entry in entries.items():
        if tuple(state[name].shape) != entry.shape:
            shape = tuple(state[name].shape)
            raise ValueError(f"weight {name!r} of the model has shape {shape}, but that in the file has shape {entry.shape}.")


def take_weights(model: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Set the weights of a model that fits, which takes over their dtypes: one that was cast before it was saved stays cast."""
    _check_and_cast(model, tensors)
    state = model.state_dict()  # which also says of what version its modules are
    state.update(tensors)
    model.load_state_dict(state)


def _take_constants(model: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    _check_and_cast(model, tensors)
    for name, constant in _constants_of(model).items():
        constant.copy_(tensors[name])


def _check_and_cast(model: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    owned = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for name, tensor in owned:
        if name in tensors and tensors[name].dtype != tensor.dtype:
            if tensors[name].is_floating_point() != tensor.is_floating_point():
                raise ValueError(f"weight {name!r} of the model is of {tensor.dtype}, but that in the file of {tensors[name].dtype}.")
            tensor.data = tensor.data.to(tensors[name].dtype)
