"""Nested values as JSON and back."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import activations, initializers
from torchkeras_fn.registry import custom_object_scope
from torchkeras_fn.saving.trees import decode, encode, name_module, parse_json, write_json

TREE = {
    "nothing": None,
    "numbers": [1, 2.5, True, float("inf")],
    "pair": (0.9, 0.999),
    3: {"step": torch.tensor(2.0)},
    "dtype": torch.bfloat16,
    "array": np.arange(3),
    "$strange": "key",
    "function": torch.cat,
}


@pytest.mark.parametrize("beside", [True, False])
def test_what_is_encoded_is_decoded(beside):
    tensors = {} if beside else None
    text = json.dumps(encode(TREE, tensors))
    found = decode(json.loads(text), tensors)
    assert list(found) == list(TREE)
    for key in ("nothing", "numbers", "pair", "dtype", "$strange", "function"):
        assert found[key] == TREE[key] and type(found[key]) is type(TREE[key])
    assert torch.equal(found[3]["step"], TREE[3]["step"])
    assert np.array_equal(found["array"], TREE["array"]) and found["array"].dtype == TREE["array"].dtype


def own(x):
    return x


def test_functions_and_modules_are_named():
    assert encode({"a": own, "b": activations.gelu, "c": torch.relu}) == {
        "a": {"$function": "own"},
        "b": {"$function": "activations.gelu"},
        "c": {"$function": "torch.relu"},
    }
    with custom_object_scope({"own": own}):
        assert decode({"$function": "own"}) is own
    assert encode(initializers.Constant(2.0))["class_name"] == "Constant"


@pytest.mark.parametrize(
    "module",
    [
        nn.GELU("tanh"),
        nn.PReLU(3),
        nn.Softmax(-1),
        nn.Hardtanh(-2.0, 2.0),
        nn.CrossEntropyLoss(torch.tensor([1.0, 2.0])),
        nn.HuberLoss(delta=0.3),
    ],
)
def test_activations_and_losses_of_torch_are_made_anew(module):
    found = decode(json.loads(json.dumps(encode(module))))
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    if module.__module__.endswith("loss"):
        y = torch.tensor([0, 1, 1, 0]) if isinstance(module, nn.CrossEntropyLoss) else y
        x = x[:, :2] if isinstance(module, nn.CrossEntropyLoss) else x
        assert torch.equal(found(x, y), module(x, y))
    else:
        assert torch.equal(found(x), module(x))


def test_other_modules_have_only_a_name():
    assert name_module(nn.MultiheadAttention(2, 1), "a") == {"$module": "MultiheadAttention", "layer": "a"}


@pytest.mark.parametrize(("value", "message"), [(lambda x: x, "def"), ({1, 2}, "set"), (object(), "object")])
def test_what_cannot_be_written_is_refused_with_its_owner(value, message):
    with pytest.raises(ValueError, match=f"dense_1: .*{message}"):
        encode({"name": "dense_1", "config": {"value": value}})


@pytest.mark.parametrize(
    "text", [b"[" * 10**5, b"{", b'{"a": 1, "a": 2}', b"\xff", b"[" + b"[]," * 2**20 + b"1]", b" " * (2**25 + 1), b"1" * 5000]
)
def test_text_is_bounded(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_what_could_not_be_read_is_not_written():
    with pytest.raises(ValueError, match="set_weights"):
        write_json([0.123456789] * 4 * 10**6, "The configuration")


def test_a_number_that_could_not_be_read_again_is_not_written():
    with pytest.raises(ValueError, match="The configuration cannot be saved: 10000000000000000000... is no number of 64 bits"):
        write_json({"units": 10**30}, "The configuration")
