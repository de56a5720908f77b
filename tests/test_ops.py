"""Every function of `ops`: drawn on symbolic tensors it means what it means on real ones, and it takes arrays as well."""

import numpy as np
import pytest

from tests.drawing import check_drawing, evaluate, tensors
from tests.expressions import OPS, VALUES, names_in

NOT_DRAWN = ("ops.nonzero", "ops.squeeze(one)", "ops.broadcast_to(one, (3", "ops.segment_sum(row, [0", "ops.ctc_loss")
DRAWN = [line for line in OPS if not line.startswith(NOT_DRAWN)]


@pytest.mark.parametrize("line", DRAWN)
def test_a_drawn_line_means_what_it_says(line):
    check_drawing(line)


@pytest.mark.parametrize("line", [line for line in OPS if not any(sign in line for sign in "+*>&[" )])
def test_arrays_are_taken_where_tensors_are(line):
    with_arrays = evaluate(line, {name: VALUES[name] for name in names_in(line)})
    for ours, real in zip(with_arrays, evaluate(line, tensors(line)), strict=True):
        np.testing.assert_allclose(ours.numpy(), real.numpy(), rtol=1e-6, atol=1e-6)
