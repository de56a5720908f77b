"""Batches as inputs, targets and sample weights."""

import pytest

from torchkeras_fn.utils import PyDataset, Sequence, pack_x_y_sample_weight, unpack_x_y_sample_weight


@pytest.mark.parametrize("data, parts", [(1, (1, None, None)), ((1,), (1, None, None)), ((1, 2), (1, 2, None)), ([1, 2, 3], (1, 2, 3))])
def test_what_a_batch_does_not_have_is_none(data, parts):
    assert unpack_x_y_sample_weight(data) == parts


def test_more_than_three_parts_are_no_batch():
    with pytest.raises(ValueError, match=r"\(x, y, sample_weight\), got 4"):
        unpack_x_y_sample_weight((1, 2, 3, 4))


@pytest.mark.parametrize("parts, data", [((1,), 1), (([1, 2],), ([1, 2],)), ((1, 2), (1, 2)), ((1, 2, 3), (1, 2, 3))])
def test_a_batch_is_packed_as_short_as_it_can_be(parts, data):
    assert pack_x_y_sample_weight(*parts) == data


def test_a_sequence_has_the_name_it_has_in_keras_3():
    assert PyDataset is Sequence
