"""Tensors in the safetensors format: every dtype and shape comes back, and the bytes are those of the format."""

import json

import pytest
import torch

from torchkeras_fn.saving.tensors import pack, read_header, unpack

ALL = {
    "scalar": torch.tensor(3.5),
    "empty": torch.empty(0, 4),
    "odd": torch.arange(5, dtype=torch.uint8),
    "truth": torch.tensor([[True], [False]]),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "not finite": torch.tensor([float("nan"), float("inf")]),
    "complex": torch.tensor([1 + 2j], dtype=torch.complex64),
    **{str(dtype): torch.ones(3).to(dtype) for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int16)},
    'name with \u00fc, " and .': torch.ones(1),
}


def test_what_is_packed_is_unpacked():
    found = unpack(bytearray(b"".join(pack(ALL))))
    assert list(found) == list(ALL)
    for name, tensor in ALL.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape, name
        assert torch.equal(found[name].nan_to_num(), tensor.nan_to_num()), name


def test_the_data_follows_the_header_without_holes():
    data = b"".join(pack(ALL))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    places = sorted(entry["data_offsets"] for entry in header.values())
    assert places[0][0] == 0 and places[-1][1] == len(data) - 8 - length
    assert all(one[1] == other[0] for one, other in zip(places, places[1:], strict=False))
    assert all(entry.begin % entry.dtype.itemsize == 0 for entry in read_header(data, len(data)).values())


def test_files_of_others_may_hold_metadata_and_crooked_tensors():
    entries = b'"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}'
    header = b'{"__metadata__":{"a":"b"},' + entries + b"}"
    data = bytearray(len(header).to_bytes(8, "little") + header + b"\7" + torch.tensor([2.5]).numpy().tobytes())
    assert {name: value.tolist() for name, value in unpack(data).items()} == {"x": [7], "y": [2.5]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.empty(2, device="meta"), "without data"),
        (torch.nn.parameter.UninitializedParameter(), "without data"),
        (torch.ones(1, dtype=torch.complex128), "complex128"),
        ({"a": 1}, "no tensor"),
    ],
)
def test_what_has_no_place_in_the_format_is_refused_at_once(value, message):
    with pytest.raises(ValueError, match=f"'odd one'.*{message}"):
        pack({"odd one": value})


def test_a_number_that_was_cut_out_of_a_larger_tensor_is_packed():
    cut = torch.arange(4)[::2][1:]
    assert unpack(bytearray(b"".join(pack({"a": cut}))))["a"].tolist() == [2]
