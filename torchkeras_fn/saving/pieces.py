"""Tensors in pieces: torch.distributed.checkpoint writes and reads them, by a description in plain numbers that is made here.

Its own description is a pickle, which is never read, and of the tensors' files nothing that could run code.
"""

import io
import math
import os
import pickletools
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import torch

from torchkeras_fn.engine.drawing.functions import dtype_named
from torchkeras_fn.saving.formats import open_to_read
from torchkeras_fn.shards import is_sharded, torch_distributed

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


def write_pieces(folder: str, tensors: dict[str, torch.Tensor], team: Any, sharded: bool) -> Any:
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


def describe_pieces(tensors: Mapping[str, Any], places: Mapping[Any, Any]) -> dict[str, Any]:
    """Return as JSON can hold it what torch says of tensors, and where it put the pieces of each."""
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


# ---------------------------------------------------------------------- reading


def checked_pieces(name: str, kept: Any, folder: str) -> Saved:
    """Return what is said of a tensor. Raises `ValueError` where pieces do not follow each other, or are larger than their file.

    >>> checked_pieces("loss", {"dtype": "float32", "shape": [0], "pieces": []}, ".").shape
    (0,)
    """
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


def read_pieces(folder: str, wanted: dict[str, torch.Tensor], saved: Mapping[str, Saved]) -> None:
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


# ---------------------------------------------------------------------- what torch says


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
