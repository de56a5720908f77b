"""Numbers for functions of which no shape can be told without data: how many there are, and of what kind."""

import pytest
import torch

from torchkeras_fn.engine.drawing import dummy_data

BASES = (((240, 600), (2, 3)), ((480, 960), (32, 64)))


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ((5, 5), (5, 5)),
        ((240, 600), (2, 3)),
        ((480, 960), (32, 64)),
        ((478, 958), (30, 62)),  # behind a convolution
        ((240, 480), (16, 32)),  # behind a pooling
        ((1200, 3000), (10, 15)),  # five steps of each sample in one row
        ((15, 30), (1, 2)),
        ((7, 15), (1, 2)),
        ((43000, 172000), (32, 64)),  # all pixels, of two unknown sides
    ],
)
def test_sizes_that_were_made_of_others_are_made_likewise(pair, expected):
    assert dummy_data.sizes(pair, BASES) == expected


def test_an_unknown_size_stays_unknown():
    small, large = dummy_data.sizes((3, 6), BASES)
    assert small != large


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.uint8, torch.complex64])
@pytest.mark.parametrize("size", [(), (3,), (2, 4), (2, 0, 3)])
@pytest.mark.parametrize("kind", dummy_data.KINDS)
def test_every_type_and_size_is_made_in_every_kind(dtype, size, kind):
    made = dummy_data.tensor(size, dtype, None, kind, torch.Generator())
    assert made.dtype == dtype and tuple(made.shape) == size


def test_one_kind_has_less_that_is_positive_than_another():
    made = [dummy_data.tensor((100,), torch.float32, None, kind, torch.Generator()) for kind in ("mixed", "negative")]
    shares = [(numbers > 0).float().mean() for numbers in made]
    assert shares[0] > 0.4 and shares[1] < 0.3


def test_the_random_numbers_of_others_are_left_alone():
    before = torch.get_rng_state()
    dummy_data.tensor((3,), torch.float32, None, "mixed", torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)
