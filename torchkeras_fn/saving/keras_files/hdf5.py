"""HDF5 files that nobody vouches for: what is read from one is checked first, and nothing in it leads elsewhere."""

import contextlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from torchkeras_fn.saving.archive import part
from torchkeras_fn.saving.atomic import replacing
from torchkeras_fn.saving.formats import called, is_group, is_open_file, open_to_read
from torchkeras_fn.saving.trees import MOST_TEXT, parse_json

_MOST_IN_ATTRIBUTE = 64_000
"""The bytes of a list of names that HDF5 keeps in one attribute; longer lists are cut into several."""
_MOST_EXPANSION = 100
_FREE_BYTES = 2**24
_HEAP = b"GCOL"
_GROUPS = ("model_weights", "optimizer_weights")
_ATTRIBUTES = ("model_config", "training_config", "layer_names")
"""What files of Keras have, the last in several pieces perhaps: beside another model it would be taken for a part of that."""


def h5py_module() -> Any:
    """Return h5py. Raises `ImportError` that names the extra where it is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Keras' files need h5py: pip install 'torchkeras_fn[keras]'.") from error
    return h5py


@contextmanager
def reading(file: Any) -> Iterator[Any]:
    """Give the HDF5 file in a binary file object. Raises `ValueError` for what is none."""
    h5py = h5py_module()
    _check_heaps(file)
    try:
        root = h5py.File(file, "r")
    except Exception as error:
        raise ValueError(f"it is no HDF5 file, or it is damaged: {error}") from error
    with root:
        yield root


def _check_heaps(file: Any) -> None:
    """Refuse damaged heaps of texts, in which the HDF5 library would turn round for ever."""
    data = file.read()
    file.seek(0)
    for _ in _texts_in(data):
        pass


def _texts_in(data: bytes) -> Iterator[int]:
    """Yield the length of each text in the heaps of a file. Raises `ValueError` for a heap that is damaged.

    Source of the layout: https://docs.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html#GlobalHeap
    """
    start, left = data.find(_HEAP), len(data) // 16
    while start >= 0:
        size, place = int.from_bytes(data[start + 8 : start + 16], "little"), 16
        if start + size > len(data):
            raise ValueError("it is cut off: a heap of texts ends outside of the file.")
        while place + 16 <= size:
            head = data[start + place : start + place + 16]
            index, length = int.from_bytes(head[:2], "little"), int.from_bytes(head[8:], "little")
            step = length if index == 0 else 16 + (length + 7) // 8 * 8
            if step < 16 or place + step > size:
                raise ValueError("a heap of texts is damaged.")
            left -= 1
            if left < 0:
                raise ValueError("heaps of texts lie inside of others.")
            yield length
            place += step
        start = data.find(_HEAP, start + 4)


@contextmanager
def opened(source: Any) -> Iterator[Any]:
    """Give the HDF5 file at a path or in a file object, or the group that is given.

    Raises `ValueError` for what is none, and what the system says of the path.
    """
    h5py_module()
    if is_group(source):
        with part(called(source), "the group"):
            source.file.flush()  # what is not yet in the file counts as not stored
        yield source
        return
    with contextlib.ExitStack() as stack:
        file = source if is_open_file(source) else stack.enter_context(open_to_read(source))
        with part(called(source), "the HDF5 container"):
            root = stack.enter_context(reading(file))
        yield root


@contextmanager
def writing(target: Any) -> Iterator[Any]:
    """Give an HDF5 file to write, which stands at a path, in a file object or in a group, whole, when the block ends.

    A model or weights that were in the group are replaced; other things stay there.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "numbers.h5")
    >>> with writing(path) as root:
    ...     write_tensor(root, "ones", torch.ones(2))
    >>> with opened(path) as root:
    ...     tensor_at(root, "ones")
    tensor([1., 1.])
    """
    h5py = h5py_module()
    if is_group(target) and target.file.mode == "r":
        raise ValueError(f"{called(target)} is open to be read only. Open it with mode 'a' or 'w'.")
    with h5py.File(whole := io.BytesIO(), "w") as root:
        yield root
        if is_group(target):
            _copy(root, target)
            return
    if is_open_file(target):
        target.write(whole.getbuffer())
        return
    with replacing(target) as file:
        file.write(whole.getbuffer())


def _copy(root: Any, group: Any) -> None:
    """Put what is in a file in place of what such files have."""
    for name in [name for name in group.attrs if name.startswith(_ATTRIBUTES)]:
        del group.attrs[name]
    for name in {*_GROUPS, *root} & set(group):
        del group[name]
    for name in root:
        root.copy(name, group)
    for name, value in root.attrs.items():
        group.attrs[name] = value


def find(parent: Any, path: str) -> Any:
    """Return the group or dataset at a path, or `None`. Raises `ValueError` for a link to another place or file."""
    h5py = h5py_module()
    found = parent
    for name in path.split("/"):
        if not name:
            continue
        if not isinstance(found, h5py.Group) or name not in found:
            return None
        if not isinstance(found.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r:.80} is a link to another place, which is not followed.")
        found = found[name]
    return found


def group_at(parent: Any, path: str) -> Any:
    """Return the group at a path. Raises `ValueError` where there is none."""
    found = find(parent, path)
    if not isinstance(found, h5py_module().Group):
        raise ValueError(f"there is no group {path!r:.80}.")
    return found


class Stored:
    """An array in a file, of which the shape is known and nothing read so far: many names can lead to the same large one.

    Raises `ValueError` for what holds no numbers, or fewer than its shape says.

    >>> import h5py
    >>> with h5py.File(io.BytesIO(), "w") as root:
    ...     write_tensor(root, "ones", torch.ones(2))
    ...     stored = Stored(root["ones"], "ones")
    ...     stored.shape, stored.tensor()
    ((2,), tensor([1., 1.]))
    """

    def __init__(self, dataset: Any, path: str):
        _check_stored(dataset, path)
        self._dataset, self._is_bfloat16 = dataset, dataset.dtype.itemsize == 2 and text_in(dataset, "dtype") == "bfloat16"
        if not self._is_bfloat16 and dataset.dtype.kind not in "fiub":
            raise ValueError(f"{path!r:.80} holds no numbers but {dataset.dtype!s:.80}.")
        self.shape: tuple[int, ...] = tuple(dataset.shape)

    @property
    def is_count(self) -> bool:
        """Whether it is one whole number."""
        return self.shape == () and self._dataset.dtype.kind in "iu" and not self._is_bfloat16

    def tensor(self) -> torch.Tensor:
        """Read the numbers."""
        if self._is_bfloat16:
            return torch.from_numpy(np.array(self._dataset).view(np.int16).copy()).view(torch.bfloat16)
        return torch.as_tensor(np.array(self._dataset, dtype=self._dataset.dtype.newbyteorder("=")))


def stored_at(parent: Any, path: str) -> Stored:
    """Return the array at a path, not yet read. Raises `ValueError` where there is none, or fewer numbers than its shape says."""
    dataset = find(parent, path)
    if not isinstance(dataset, h5py_module().Dataset):
        raise ValueError(f"there is no array {path!r:.80}.")
    return Stored(dataset, path)


def tensor_at(parent: Any, path: str) -> torch.Tensor:
    """Return the numbers at a path. Raises `ValueError` as `stored_at` does."""
    return stored_at(parent, path).tensor()


def _check_stored(dataset: Any, path: str) -> None:
    """Refuse an array whose numbers are elsewhere, or that is larger than what is stored of it."""
    if dataset.shape is None or dataset.is_virtual or dataset.external:
        raise ValueError(f"{path!r:.80} holds no numbers of its own.")
    size, stored = dataset.size * dataset.dtype.itemsize, min(dataset.id.get_storage_size(), dataset.file.id.get_filesize())
    most = stored if dataset.chunks is None else _MOST_EXPANSION * stored
    if size > most:
        raise ValueError(f"{path!r:.80} is said to be of shape {dataset.shape}, {size} bytes, but {stored} bytes are stored.")
    piece = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize  # which is read whole
    if piece > max(most, _FREE_BYTES):
        raise ValueError(f"{path!r:.80} is said to be in pieces of {piece} bytes, but {stored} bytes are stored.")


def address_of(group: Any) -> int:
    """Return where in its file a group is: the same for all names that lead to it."""
    return int(h5py_module().h5o.get_info(group.id).addr)


def names_in(group: Any, attribute: str) -> list[str]:
    """Return the list of names in an attribute, or in the several that a long list is cut into."""
    pieces = [attribute] if attribute in group.attrs else []
    while not pieces or pieces[0] != attribute:
        if f"{attribute}{len(pieces)}" not in group.attrs:
            break
        pieces.append(f"{attribute}{len(pieces)}")
    return [_text(name) for piece in pieces for name in np.ravel(_attribute(group, piece))]


def _attribute(group: Any, name: str) -> Any:
    """Return an attribute, if it can be as large as it says."""
    described, size = group.attrs.get_id(name), group.file.id.get_filesize()
    count = math.prod(described.shape)
    if count * described.dtype.itemsize > size:
        raise ValueError(f"the attribute {name!r} is said to be larger than the file.")
    if count > _MOST_EXPANSION and described.dtype.hasobject:  # texts that stand elsewhere, perhaps all at one place
        group.file.flush()
        longest = max(_texts_in(group.file.id.get_file_image()), default=0)
        if count * longest > max(_MOST_EXPANSION * size, _FREE_BYTES):
            raise ValueError(f"the attribute {name!r} has {count} texts, which may be of {longest} bytes each.")
    return group.attrs[name]


def write_names(group: Any, attribute: str, names: Sequence[str]) -> None:
    """Write a list of names into an attribute, or into several where it is long."""
    encoded = [name.encode() for name in names]
    per_piece = max(1, _MOST_IN_ATTRIBUTE // max([1, *map(len, encoded)]))
    pieces = [encoded[start : start + per_piece] for start in range(0, len(encoded), per_piece)]
    if len(pieces) <= 1:
        group.attrs[attribute] = encoded
        return
    for number, piece in enumerate(pieces):
        group.attrs[f"{attribute}{number}"] = piece


def json_in(group: Any, attribute: str) -> Any:
    """Return what the JSON text in an attribute says; `None` where there is none."""
    if attribute not in group.attrs:
        return None
    text = _text(_attribute(group, attribute))
    if len(text) > MOST_TEXT:
        raise ValueError(f"the text {attribute!r} has {len(text)} characters, more than {MOST_TEXT}.")
    return parse_json(text.encode())


def write_json(group: Any, attribute: str, value: Any) -> None:
    """Write a value as JSON text into an attribute."""
    group.attrs[attribute] = json.dumps(value)


def text_in(group: Any, attribute: str) -> str | None:
    """Return the text in an attribute; `None` where there is none."""
    return _text(_attribute(group, attribute)) if attribute in group.attrs else None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is no text.")
    return value


def write_tensor(group: Any, name: str, tensor: torch.Tensor) -> None:
    """Write a tensor as an array."""
    values = tensor.detach().cpu()
    if values.dtype == torch.bfloat16:
        raise ValueError(f"{name!r} is of bfloat16, which is not written to Keras' files. Cast the model first: model.float().")
    group.create_dataset(name, data=values.contiguous().numpy())
