"""Checkpoints: the weights and the state of the training in a folder, for a model that is there already.

torch.distributed.checkpoint writes them: each process the parts that it holds, and any number of processes, one included,
reads what it needs. Beside torch's own description, a pickle, lies one in JSON. The pickle is for other programs; here it
is never read, and of the tensors' files nothing that could run code.
"""

import contextlib
import io
import math
import os
import pickletools
import re
import secrets
import shutil
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, NamedTuple

import torch
from torch.utils._pytree import tree_leaves

from torchkeras_fn.engine.functions import dtype_named
from torchkeras_fn.saving.archive import part
from torchkeras_fn.saving.atomic import locked, replacing
from torchkeras_fn.saving.formats import open_to_read
from torchkeras_fn.saving.model_file import check_entries, check_version, header
from torchkeras_fn.saving.own_state import own_states, own_states_loaded
from torchkeras_fn.saving.tensors import Entry
from torchkeras_fn.saving.training_state import load_training_state, training_state
from torchkeras_fn.saving.trees import MOST_TEXT, decode, encode, parse_json, write_json
from torchkeras_fn.shards import is_sharded, torch_distributed

FORMAT = "torchkeras_fn checkpoint"
CONFIG = "checkpoint.json"
_NAME = "parts-[0-9a-f]{8}"
_WEIGHTS, _TRAINING, _OWN = "weights", "training", "own"
_HAS_A_PLACE = ("optimizer", "_around_steps")
"""Attributes of the model whose state is in `training_state`."""
_TRIES = 10
"""How often a checkpoint is begun to be read that another process replaces meanwhile."""
_MOST_OF_A_DESCRIPTION = 2**16
"""The most bytes in which torch may say of what dtype and shape a piece of a tensor is."""


class Saved(NamedTuple):
    """What is said of a tensor: its dtype and shape, and where its rows are: file, first byte, number of bytes, first row, end.

    >>> Saved(torch.float32, (4, 2), [["__0_0.distcp", 0, 1500, 0, 4]]).shape
    (4, 2)
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    pieces: list[Any]


# ---------------------------------------------------------------------- writing


def save_checkpoint(model: Any, folder: Any) -> None:
    """Write the weights of a model, and, if it is compiled, all that training needs to go on, into a folder, which is made.

    That is the state of the optimizer, and of the optimizers, schedules, metrics and other things with a `state_dict` that the
    model and the modules in it have in their attributes. One that is nothing a file can hold is left out, with a warning.
    A checkpoint that is there is replaced when the new one is whole; whatever happens, the folder holds one of them. Of
    several processes that train a model together all call this, and see the same folder. Raises `ValueError` for a model
    without weights, and `OSError` for a folder that cannot be written to.
    """
    folder = os.path.abspath(os.fsdecode(folder))
    team = getattr(model, "_team", None)
    with model._together():
        tensors = {f"{_WEIGHTS}/{name}": value for name, value in model.state_dict().items()}
        if not tensors and not getattr(model, "built", True):
            raise ValueError("The model has no weights yet. Build it, or call it on data, before it is saved.")
        training = encode(_training_state(model), tensors, _TRAINING) if model.objective is not None and model._bound else None
        name = f"parts-{secrets.token_hex(4)}"
        name = name if team is None else team.from_first(name)
        is_first = team is None or team.is_first
        with ExitStack() as held:
            try:
                if is_first:
                    _begin(folder, name, held)
                model._meet()  # in what torch does now, one that fails is waited for
                written = _write(os.path.join(folder, name), tensors, team, model._sharding is not None)
                if is_first:
                    config = {**header(FORMAT), "parts": name, "tensors": _described(*written), "training": training}
                    text = write_json(config, "The checkpoint")
                    with locked(folder):
                        with replacing(os.path.join(folder, CONFIG)) as file:
                            file.write(text)
                        _remove_others(folder, name)
            except BaseException:
                if is_first and not _is_current(folder, name):
                    shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
                raise


def _training_state(model: Any) -> dict[str, Any]:
    """The state of the training, with that of the things in the model's attributes of which a file can hold it."""
    own = own_states(model, _HAS_A_PLACE)
    for path, states in own.items():
        for name, state in list(states.items()):
            try:
                encode(state, {})
                strange = [part for part in tree_leaves(state) if callable(part) or hasattr(part, "get_config")]
                reason = f"there is {strange[0]!r:.80} in it" if strange else None
            except ValueError as error:
                reason = str(error)
            if reason is not None:
                what = f"{path}.{name}".removeprefix(".")
                warnings.warn(f"The checkpoint is without the state of the model's {what!r}: {reason}", UserWarning, stacklevel=4)
                del states[name]
    return {**training_state(model), _OWN: own}


def _begin(folder: str, name: str, held: ExitStack) -> None:
    """Make the folder of the parts, and hold its lock, by which others know that somebody is writing them."""
    with contextlib.suppress(FileExistsError):  # of a file in its place, the next call says so
        os.makedirs(folder)
    with locked(folder):
        os.mkdir(os.path.join(folder, name))
        held.enter_context(locked(os.path.join(folder, name)))


def _is_current(folder: str, name: str) -> bool:
    """Whether the checkpoint in a folder is the one with these parts: it may have been put there before something failed."""
    try:
        return f'"{name}"'.encode() in _description(folder)
    except OSError:
        return False


def _write(folder: str, tensors: dict[str, torch.Tensor], team: Any, sharded: bool) -> Any:
    """Let torch write the tensors, and return in the first process what it says of them, and where it put their pieces."""
    checkpoint, found = torch_distributed("checkpoint"), []
    writer = checkpoint.FileSystemWriter(folder)
    finish = writer.finish

    def noting(metadata: Any, results: Any) -> None:
        finish(metadata, results)
        places = {piece.index: piece.storage_data for own in results for piece in own}
        found.append((metadata.state_dict_metadata, places))

    writer.finish, writer.fs.create_stream = noting, _opened
    with _plainly("a tensor cannot be written.", os.path.dirname(folder)):
        if sharded:
            if not team.is_first:  # of what all have, that of the first counts
                tensors = {name: tensor for name, tensor in tensors.items() if is_sharded(tensor)}
            checkpoint.save(tensors, storage_writer=writer, process_group=team.group_for(torch.device("cpu")))
        elif team is None or team.is_first:
            checkpoint.save(tensors, storage_writer=writer, no_dist=True)
    return found[0] if found else None


class _File(io.BufferedWriter):
    """A file that may be flushed after it was closed, as what torch wraps around it does when a write failed: Python 3.13 told of that."""

    def flush(self) -> None:
        if not self.closed:
            super().flush()


@contextmanager
def _opened(path: Any, mode: str) -> Iterator[_File]:
    with _File(io.FileIO(path, mode)) as file:
        yield file


def _described(tensors: Mapping[str, Any], places: Mapping[Any, Any]) -> dict[str, Any]:
    found = {}
    for name, kept in tensors.items():
        pieces = []
        for index, chunk in enumerate(kept.chunks):
            if math.prod(chunk.sizes):
                place = places[_index(name, chunk.offsets, index)]
                first = chunk.offsets[0] if len(chunk.offsets) else 0
                rows = chunk.sizes[0] if len(chunk.sizes) else 1
                pieces.append([place.relative_path, place.offset, place.length, first, first + rows])
        found[name] = {"dtype": str(kept.properties.dtype).removeprefix("torch."), "shape": list(kept.size), "pieces": pieces}
    return found


def _index(name: str, offsets: Any, number: int) -> Any:
    return torch_distributed("checkpoint.metadata").MetadataIndex(name, offsets, number)


def _remove_others(folder: str, name: str) -> None:
    """Remove the parts of earlier checkpoints, and of those that a kill left half written; not what another process writes now."""
    for other in os.listdir(folder):
        if re.fullmatch(_NAME, other) and other != name:
            path = os.path.join(folder, other)
            with contextlib.suppress(OSError), locked(path, waits=False):
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _plainly(what: str, folder: str | None = None) -> Iterator[None]:
    """Without torch's warnings to itself, and with its exception, which no `except Exception` sees, as another.

    Of a `folder` that is written to, what the disk refused is told, such as that it is full: torch says then where it stopped.
    """
    failure, outside = torch_distributed("checkpoint.api").CheckpointException, sys.exc_info()[1]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled, unavailable or uninitialized|TypedStorage is deprecated")
        try:
            yield
        except failure as error:
            first = next(iter(error.failures.values()))[0]
            refused = _refused(first, outside) if folder is not None else None
            if refused is not None:
                raise OSError(refused.errno, refused.strerror, refused.filename or folder) from error
            words = str(first).partition(". ")[0]  # torch goes on to advise how to run what is in a file
            raise first if isinstance(first, OSError) else ValueError(f"{what} ({type(first).__name__}: {words:.300})") from error


def _refused(error: BaseException | None, outside: BaseException | None) -> OSError | None:
    """The error of the system in whose handling another was raised, if there is one; not that which was handled `outside` already."""
    while error is not None and error is not outside:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        error = error.__context__
    return None


# ---------------------------------------------------------------------- reading


def load_checkpoint(model: Any, folder: Any) -> None:
    """Set the weights of a model, and, if it is compiled, the state of its training, from what `save_checkpoint` wrote.

    The number of processes, and whether each holds a part of the model, may differ from those that wrote it. Nothing in the
    folder is run. Raises `FileNotFoundError` where there is no checkpoint, and `ValueError`, saying what is bad, for one
    that is damaged or of another model; then nothing has changed.
    """
    folder = os.path.abspath(os.fsdecode(folder))
    for tries_left in reversed(range(_TRIES if getattr(model, "_team", None) is None else 1)):
        before = _description(folder) if tries_left else None
        try:
            _load(model, folder)
            return
        except ValueError:  # a writer removes what it has replaced, and then there is a newer one
            if not tries_left or _description(folder) == before:
                raise


def _description(folder: str) -> bytes:
    with open_to_read(os.path.join(folder, CONFIG)) as file:
        return file.read(MOST_TEXT + 1)


def _load(model: Any, folder: str) -> None:
    with model._together():
        path, text = os.path.join(folder, CONFIG), _description(folder)
        with part(path, "the description"):
            config = parse_json(text)
            check_version(config, FORMAT)
            name = config["parts"]
            if not isinstance(name, str) or not re.fullmatch(_NAME, name):
                raise ValueError(f"its parts are said to be in {name!r:.80}.")
            saved = {key: _checked(key, kept, os.path.join(folder, name)) for key, kept in config["tensors"].items()}
        model._meet()
        if model._is_built():
            model._bind_if_needed()
        own = model.state_dict()
        prefix = f"{_WEIGHTS}/"
        with part(path, "the checkpoint"):
            check_entries(own, {key.removeprefix(prefix): _entry(kept) for key, kept in saved.items() if key.startswith(prefix)})
            wanted = {f"{prefix}{key}": torch.empty_like(tensor) for key, tensor in own.items()}
            has_training = config["training"] is not None and model.objective is not None and model._bound
            if has_training:
                wanted |= _places_for_training(model, saved)
            _check_types(wanted, saved)
            _read(os.path.join(folder, name), wanted, saved)
            training = decode(config["training"], wanted) if has_training else None
        model._meet()  # each has read what it holds: where another could not, nothing changes in any
        if training is not None:
            with part(path, "the checkpoint"), own_states_loaded(model, training.get(_OWN, {}), _HAS_A_PLACE):
                load_training_state(model, training)
        own.update({key: wanted[f"{prefix}{key}"] for key in own})
        model.load_state_dict(own)


def _entry(kept: Saved) -> Entry:
    return Entry(kept.dtype, kept.shape, 0, 0)


def _checked(name: str, kept: Any, folder: str) -> Saved:
    """What is said of a tensor, if it can be: its pieces follow each other, and no file is smaller than they are."""
    dtype, shape = dtype_named(kept["dtype"]), tuple(kept["shape"])
    saved = Saved(dtype, shape, kept["pieces"])
    if len(shape) > 64 or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise ValueError(f"the tensor {name!r} is of shape {shape!r:.80}.")
    end, row = 0, dtype.itemsize * math.prod(shape[1:])
    for file, begin, length, first, last in sorted(saved.pieces, key=lambda piece: piece[3]):
        if not isinstance(file, str) or os.path.basename(file) != file or not file.endswith(".distcp"):
            raise ValueError(f"the tensor {name!r} is said to be in {file!r:.80}.")
        if not all(type(number) is int and number >= 0 for number in (begin, length, first, last)) or first != end or last <= first:
            raise ValueError(f"the rows of the tensor {name!r} do not follow each other.")
        if begin + length > os.path.getsize(os.path.join(folder, file)) or (last - first) * row > length:
            raise ValueError(f"the tensor {name!r} is said to be larger than its file {file!r}.")
        end = last
    if end != ((shape[0] if shape else 1) if math.prod(shape) else 0):
        raise ValueError(f"of the tensor {name!r} of shape {shape} there are {end} rows.")
    return saved


def _check_types(wanted: Mapping[str, torch.Tensor], saved: Mapping[str, Saved]) -> None:
    for name, tensor in wanted.items():
        if saved[name].dtype != tensor.dtype:
            raise ValueError(f"{name!r} is of {saved[name].dtype}, but the model's is of {tensor.dtype}. Cast the model first.")


def _places_for_training(model: Any, saved: Mapping[str, Saved]) -> dict[str, torch.Tensor]:
    """A tensor to read each of the training's into: in parts where the weight that it belongs to is."""
    parameters = [parameter for group in getattr(model.optimizer, "param_groups", []) for parameter in group["params"]]
    found = {}
    for name, kept in saved.items():
        section, *path = name.split("/")
        if section == _TRAINING:
            owner = None if path[0] == _OWN else _owner(path, parameters)
            if owner is not None and is_sharded(owner) and tuple(owner.shape) == kept.shape:
                found[name] = torch.empty_like(owner, dtype=kept.dtype, requires_grad=False)
            else:
                found[name] = torch.empty(kept.shape, dtype=kept.dtype)
    return found


def _owner(path: list[str], parameters: list[Any]) -> Any:
    """The parameter to which a state at this path belongs, if any."""
    for place in ("state", "averages", "sums"):
        number = path[path.index(place) + 1] if place in path[:-1] else ""
        if number.isdigit() and int(number) < len(parameters):
            return parameters[int(number)]
    return None


def _read(folder: str, wanted: dict[str, torch.Tensor], saved: Mapping[str, Saved]) -> None:
    """Let torch read what this process holds of each tensor, by this library's description."""
    checkpoint = torch_distributed("checkpoint")
    metadata = _metadata({name: saved[name] for name in wanted})
    reader = checkpoint.FileSystemReader(folder)
    reader.read_metadata = lambda *args, **options: metadata
    read = reader.read_data

    def checking(plan: Any, planner: Any) -> Any:
        for item in plan.items:
            place = metadata.storage_data[item.storage_index]
            with open_to_read(os.path.join(folder, place.relative_path)) as whole:
                _check_piece(item.storage_index.fqn, _Slice(whole, place.offset, place.length))
        return read(plan, planner)

    reader.read_data = checking
    with _plainly("the bytes of a tensor are damaged, or those of another."):
        checkpoint.load(wanted, storage_reader=reader, no_dist=True)


class _Slice(io.RawIOBase):
    """Some bytes of an open file as a file."""

    def __init__(self, file: BinaryIO, begin: int, length: int):
        self._file, self._begin, self._length, self._place = file, begin, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max((0, self._place, self._length)[whence] + offset, 0)
        return self._place

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._begin + self._place)
        data = self._file.read(max(min(len(buffer), self._length - self._place), 0))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def _check_piece(name: str, file: Any) -> None:
    """Refuse what is not as `torch.save` writes a tensor: torch runs no code of it, but would count to a number in it for minutes."""
    try:
        with zipfile.ZipFile(file) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise ValueError("it is compressed")
            (info,) = (info for info in archive.infolist() if info.filename.endswith("/data.pkl"))
            if info.file_size > _MOST_OF_A_DESCRIPTION:
                raise ValueError(f"its description has {info.file_size} bytes")
            description = archive.read(info)
        for operation, argument, _ in pickletools.genops(description):
            home = str(argument).partition(" ")[0].partition(".")[0]
            is_known = home == "torch" or argument == "collections OrderedDict"
            if operation.name == "STACK_GLOBAL" or operation.name in ("GLOBAL", "INST") and not is_known:
                raise ValueError(f"it names {argument!r:.80}")
    except Exception as error:
        raise ValueError(f"{name!r:.80}: {error!s:.200}") from error


def _metadata(saved: Mapping[str, Saved]) -> Any:
    """What torch wants to know, made of plain numbers."""
    kinds, filesystem = torch_distributed("checkpoint.metadata"), torch_distributed("checkpoint.filesystem")
    described, places = {}, {}
    for name, kept in saved.items():
        chunks = []
        for number, (file, begin, length, first, last) in enumerate(kept.pieces):
            offsets = (first, *[0] * (len(kept.shape) - 1)) if kept.shape else ()
            sizes = (last - first, *kept.shape[1:]) if kept.shape else ()
            chunks.append(kinds.ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)))
            places[_index(name, offsets, number)] = filesystem._StorageInfo(file, begin, length)
        properties = kinds.TensorProperties(dtype=kept.dtype)
        described[name] = kinds.TensorStorageMetadata(properties, torch.Size(kept.shape), chunks)
    return kinds.Metadata(described, planner_data=None, storage_data=places, storage_meta=kinds.StorageMeta())
