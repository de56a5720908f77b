"""A good file, damaged at random a thousand times: an error each time, or a model equal to the original."""

import json
import random

import numpy as np
import pytest
import torch

from saving.archives import file_of, forged, load, members_of, small_model
from torchkeras_fn.saving.archive import Archive
from torchkeras_fn.saving.model_file import COMPILE, STATE, STATE_TENSORS, WEIGHTS


@pytest.fixture(scope="module")
def good():
    model = small_model()
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    return model, file_of(model)


def flipped(data, dice):
    damaged = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 8])):
        damaged[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def cut_off(data, dice):
    return data[: dice.randrange(len(data))]


def swapped(data, dice):
    length = dice.randrange(1, 64)
    one, other = sorted(dice.randrange(len(data) - length) for _ in range(2))
    damaged = bytearray(data)
    damaged[one : one + length], damaged[other : other + length] = data[other : other + length], data[one : one + length]
    return bytes(damaged[: len(data)])


def doubled(data, dice):
    place, length = dice.randrange(len(data)), dice.randrange(1, 200)
    return data[: place + length] + data[place:]


def left_out(data, dice):
    place, length = dice.randrange(len(data)), dice.randrange(1, 200)
    return data[:place] + data[place + length :]


def zeroed(data, dice):
    place, length = dice.randrange(len(data)), dice.randrange(1, 200)
    return data[:place] + bytes(len(data[place : place + length])) + data[place + length :]


def at_the_ends(data, dice):
    """Damage where the container says what is where."""
    damaged = bytearray(data)
    start = data.index(b"PK\1\2")
    damaged[dice.randrange(start, len(data))] = dice.randrange(256)
    return bytes(damaged)


DAMAGES = [flipped, cut_off, swapped, doubled, left_out, zeroed, at_the_ends]


def test_a_damaged_file_is_an_error_or_the_same_model(good):
    model, data = good
    dice = random.Random(0)
    errors = 0
    for index in range(1000):
        damaged = DAMAGES[index % len(DAMAGES)](data, dice)
        try:
            twin = load(damaged)
        except ValueError as error:
            assert " cannot be used: " in str(error)
            errors += 1
            continue
        assert all(torch.equal(value, twin.state_dict()[name]) for name, value in model.state_dict().items())
        assert twin.get_config() == model.get_config()
        assert twin.optimizer.iterations == model.optimizer.iterations
        assert twin.metrics_names == model.metrics_names
    assert errors > 900


def test_every_byte_of_the_tensors_counts(good, tmp_path):
    _, data = good
    start = data.index(members_of(data)[WEIGHTS])
    for offset in range(0, len(members_of(data)[WEIGHTS]), 7):
        (tmp_path / "m").write_bytes(data[: start + offset] + bytes([data[start + offset] ^ 1]) + data[start + offset + 1 :])
        with Archive(tmp_path / "m", {WEIGHTS, COMPILE, STATE, STATE_TENSORS}) as archive, pytest.raises(ValueError, match="checksum"):
            archive.read(WEIGHTS)


def test_text_damaged_inside_a_sealed_file_is_an_error_too(good):
    """Damage that the checksums do not see, as of a forger who mends them."""
    _, data = good
    members = members_of(data)
    dice = random.Random(1)
    for index in range(300):
        name = ("config.json", "compile.json", "optimizer.json", "weights.safetensors")[index % 4]
        damaged = flipped(members[name], dice)
        try:
            config = json.loads(damaged) if name == "config.json" else None
        except ValueError:
            continue
        changed = members if name == "config.json" else {**members, name: damaged}
        try:
            load(forged(changed, config))
        except ValueError as error:
            assert " cannot be used: " in str(error)
