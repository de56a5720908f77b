"""Every line of the tables means what it means in the real Keras: `ops` under the same names, the backend in terms of `ops`."""

import keras
import numpy as np
import pytest
import torch

from parity.twins import array
from tests.drawing import evaluate, tensors
from tests.expressions import BACKEND, CREATED, KERNELS, OPS, VALUES, names_in

# Where Keras 3.15 on torch does not do what numpy does, though it says so, or does not run: numpy is asked instead.
NUMPY = {
    "ops.imag(x)": "np.imag(x)",
    "ops.average(x, axis=1, weights=[1.0, 2.0, 3.0, 4.0])": "np.average(x, axis=1, weights=[1.0, 2.0, 3.0, 4.0])",
    "ops.average(x, axis=1, weights=p)": "np.average(x, axis=1, weights=p)",
    "ops.count_nonzero(b, axis=1)": "np.count_nonzero(b, axis=1)",
    "ops.repeat(x, [1, 2, 3, 1], axis=1)": "np.repeat(x, [1, 2, 3, 1], axis=1)",
    "ops.pad(x, 1)": "np.pad(x, 1)",
    "ops.pad(x, ((0, 0), (1, 2), (0, 1)), mode='symmetric')": "np.pad(x, ((0, 0), (1, 2), (0, 1)), mode='symmetric')",
    "ops.one_hot(i, 3, axis=1)": "np.moveaxis(np.eye(4)[i][:, :, :3], -1, 1)",
    "ops.segment_sum(row, [0, 1, 1], 4)": "np.stack([row[0], row[1] + row[2], row[0] * 0, row[0] * 0])",
    "ops.slice(x, (0, 1, 2), (-1, 2, -1))": "x[:, 1:3, 2:]",
    "ops.pad(x, ((0, 0), (1, 2), (0, 3)), mode='edge')": "np.pad(x, ((0, 0), (1, 2), (0, 3)), mode='edge')",
    "ops.pad(x, (1, 2))": "np.pad(x, (1, 2))",
    "ops.pad(x, ((1, 2),))": "np.pad(x, ((1, 2),))",
    "ops.rms_normalization(x, 2.0, epsilon=0.5)": "2.0 * x / np.sqrt(np.mean(x * x, -1, keepdims=True) + 0.5)",
    "ops.logsumexp(x, axis=())": "x",
    "ops.linspace(x, y, 3, endpoint=False, axis=-1)": "np.linspace(x, y, 3, endpoint=False, axis=-1)",
    "ops.logspace(x, 1.0, 3)": "np.logspace(x, 1.0, 3)",
    "ops.take_along_axis(row, c - 4, axis=None)": "np.take_along_axis(row, c - 4, axis=None)",
    "ops.vdot(row, other)": "np.vdot(row, other)",
    "ops.dot(x, wide)": "np.dot(x, wide)",
    "ops.cross(x[:, :, :3], y[:, :, :3])": "np.cross(x[:, :, :3], y[:, :, :3])",
    # Keras repeats the border where the two ends of an axis need unequal padding, and averages that too.
    "ops.average_pool(image, 3, 2, 'same')": "windows(image, (3, 3), (2, 2))",
    "ops.average_pool(image, (2, 3), 1, 'same')": "windows(image, (2, 3), (1, 1))",
    "K.pool2d(image, (2, 3), (2, 2), 'same', pool_mode='avg')": "windows(image, (2, 3), (2, 2))",
}


def windows(image, sizes, strides):
    """The means of windows by loops, those that hang over of what is inside; the odd place that is too much hangs over the end."""
    counts = [-(-size // stride) for size, stride in zip(image.shape[1:3], strides, strict=True)]
    starts = [
        [place * stride - max((count - 1) * stride + window - size, 0) // 2 for place in range(count)]
        for count, window, stride, size in zip(counts, sizes, strides, image.shape[1:3], strict=True)
    ]
    rows = [
        [image[:, max(a, 0) : a + sizes[0], max(b, 0) : b + sizes[1]].mean((1, 2)) for b in starts[1]]
        for a in starts[0]
    ]
    return np.stack([np.stack(row, 1) for row in rows], 1)


def theirs(line):
    values = {name: keras.ops.convert_to_tensor(VALUES[name]) for name in names_in(line)}
    kernels = {name: keras.ops.convert_to_tensor(kernel) for name, kernel in KERNELS.items()}
    if line in NUMPY:
        return [eval(NUMPY[line], {**VALUES, "np": np, "windows": windows})]
    result = eval(line, {**kernels, **values, "ops": keras.ops})
    return list(result) if isinstance(result, (list, tuple)) else [result]


def compare(line, keras_line):
    ours, others = evaluate(line, tensors(line)), theirs(keras_line)
    assert len(ours) == len(others)
    for mine, other in zip(ours, others, strict=True):
        mine = mine.numpy() if isinstance(mine, torch.Tensor) else np.asarray(mine)
        other = array(other)
        assert mine.shape == other.shape
        assert (mine.dtype == bool) == (other.dtype == bool)
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("line", [*OPS, *CREATED])
def test_ops(line):
    compare(line, line)


@pytest.mark.parametrize("line", BACKEND)
def test_backend(line):
    compare(line, line if line in NUMPY else BACKEND[line])
