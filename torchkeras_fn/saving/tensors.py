"""Named tensors as bytes and back, in the safetensors format: a JSON header, then the data of the tensors and nothing else.

Source of the format: https://github.com/huggingface/safetensors#format
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch.nn.parameter import is_lazy

from torchkeras_fn.saving.trees import parse_json

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_LENGTH = 8
"""The bytes of the number that says how long the header is; the data begins at a multiple of it."""


class Entry(NamedTuple):
    """What a header says of a tensor: its dtype, its shape, and which bytes of the data are its own.

    >>> Entry(torch.float32, (2,), 0, 8).shape
    (2,)
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def pack(tensors: Mapping[str, torch.Tensor]) -> Iterator[Any]:
    """Yield the bytes of named tensors, piece by piece; the header comes first.

    Raises `ValueError`, before the first piece, for a tensor that has no place in the format: one that is sparse,
    without data, or of an unknown dtype.

    >>> tensors = unpack(bytearray(b"".join(pack({"a": torch.ones(2)}))))
    >>> tensors["a"]
    tensor([1., 1.])
    """
    for name, tensor in tensors.items():
        _check(name, tensor)
    order = sorted(tensors, key=lambda name: -tensors[name].element_size())  # each begins at a multiple of its element's size
    offset, places = 0, {}
    for name in order:
        size = tensors[name].numel() * tensors[name].element_size()
        places[name] = [offset, offset + size]
        offset += size
    header = {
        name: {"dtype": _CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": places[name]} for name, tensor in tensors.items()
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _LENGTH)
    return _pieces(text, [tensors[name] for name in order])


def _pieces(header: bytes, tensors: list[torch.Tensor]) -> Iterator[Any]:
    yield len(header).to_bytes(_LENGTH, "little") + header
    for tensor in tensors:
        if tensor.numel():
            dense = tensor.detach().cpu().contiguous()
            flat = dense.as_strided((dense.numel(),), (1,))  # a single number may keep the stride of what it was cut out of
            yield flat.view(torch.uint8).numpy().data


def _check(name: str, tensor: Any) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"{name!r} is no tensor but {tensor!r} of type {type(tensor).__name__}, which cannot be saved.")
    if is_lazy(tensor) or tensor.is_meta or tensor.layout != torch.strided:
        raise ValueError(f"{name!r} cannot be saved: it is {'sparse' if tensor.layout != torch.strided else 'without data so far'}.")
    if tensor.dtype not in _CODES:
        raise ValueError(f"{name!r} cannot be saved: there is no code for its dtype {tensor.dtype}.")


def read_length(data: bytes, size: int) -> int:
    """Return the length of the header, its number included, from the first bytes of data of `size` bytes.

    Raises `ValueError` where the data is not so long.

    >>> read_length(bytes([2, 0, 0, 0, 0, 0, 0, 0]), 10)
    10
    """
    if len(data) < _LENGTH:
        raise ValueError(f"there are {size} bytes, too few for a header.")
    length = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    if length > size:
        raise ValueError(f"the header is said to be {length} bytes long, but there are {size} bytes in all.")
    return length


def read_header(data: Any, size: int) -> dict[str, Entry]:
    """Return the entries of a header, given its bytes (its length included) and the size of the whole.

    Raises `ValueError` unless the tensors fill the data exactly: none is larger than its bytes, and none overlaps another.

    >>> read_header(b"".join(pack({"a": torch.ones(2)})), 80)["a"].shape
    (2,)
    """
    length = read_length(bytes(data[:_LENGTH]), size)
    header = parse_json(bytes(data[_LENGTH:length]))
    if not isinstance(header, dict):
        raise ValueError("the header is no table of tensors.")
    header.pop("__metadata__", None)
    entries = {name: _entry(name, described) for name, described in header.items()}
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != position:
            raise ValueError(f"the tensor {name!r} begins at byte {entry.begin}, where {position} was expected.")
        position = entry.end
    if position != size - length:
        raise ValueError(f"the tensors need {position} bytes, but there are {size - length}.")
    return entries


def _entry(name: str, described: Any) -> Entry:
    dtype, shape, offsets = (described[key] for key in ("dtype", "shape", "data_offsets"))
    if dtype not in _DTYPES:
        raise ValueError(f"the tensor {name!r} has the unknown dtype {dtype!r}.")
    if len(offsets) != 2 or len(shape) > 64 or not all(type(number) is int and 0 <= number < 2**63 for number in (*shape, *offsets)):
        raise ValueError(f"the tensor {name!r} is of shape {shape!r:.80} at {offsets!r:.80}, which are no sizes.")
    needed = math.prod(shape) * _DTYPES[dtype].itemsize
    if needed != offsets[1] - offsets[0]:
        raise ValueError(f"the tensor {name!r} of shape {shape} needs {needed} bytes, but {offsets[1] - offsets[0]} are its own.")
    return Entry(_DTYPES[dtype], tuple(shape), *offsets)


def unpack(data: bytearray) -> dict[str, torch.Tensor]:
    """Return the tensors that `pack` wrote; they share the memory of `data`. Raises `ValueError` for data that is no such thing.

    >>> unpack(bytearray(b"".join(pack({"a": torch.tensor(3)}))))
    {'a': tensor(3)}
    """
    start = read_length(bytes(data[:_LENGTH]), len(data))
    return {name: _tensor(data, start, name, entry) for name, entry in read_header(data, len(data)).items()}


def _tensor(data: bytearray, start: int, name: str, entry: Entry) -> torch.Tensor:
    if entry.begin == entry.end:
        return torch.empty(entry.shape, dtype=entry.dtype)
    raw = torch.frombuffer(data, dtype=torch.uint8, count=entry.end - entry.begin, offset=start + entry.begin)
    if entry.dtype is torch.bool and int(raw.max()) > 1:
        raise ValueError(f"the tensor {name!r} of truth values holds bytes other than 0 and 1.")
    aligned = raw if (start + entry.begin) % entry.dtype.itemsize == 0 else raw.clone()
    return aligned.view(entry.dtype).reshape(entry.shape)
