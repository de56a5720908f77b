"""A line of the tables of `expressions`, evaluated on real tensors, on arrays, and drawn."""

import numpy as np
import torch

from tests.expressions import KERNELS, VALUES, names_in
from torchkeras_fn import Input, Model, backend, ops


def evaluate(line, values):
    """Return the results of a line, flat."""
    kernels = {name: torch.as_tensor(kernel) for name, kernel in KERNELS.items()}
    result = eval(line, {**kernels, **values, "ops": ops, "K": backend})
    return list(result) if isinstance(result, (list, tuple)) else [result]


def tensors(line):
    """The inputs of a line, as real tensors."""
    return {name: torch.as_tensor(VALUES[name]) for name in names_in(line)}


def drawn(line):
    """Return the inputs and results of a line on symbolic tensors of an unknown batch."""
    inputs = {name: Input(shape=VALUES[name].shape[1:], dtype=str(VALUES[name].dtype), name=name) for name in names_in(line)}
    return list(inputs.values()), evaluate(line, inputs)


def check_drawing(line):
    """Compare a drawn line with the line itself: shapes, and values of the model and of one made from its configuration."""
    values = tensors(line)
    expected = evaluate(line, values)
    inputs, outputs = drawn(line)
    for ours, real in zip(outputs, expected, strict=True):
        assert ours.ndim == real.ndim
        assert all(a in (None, b) for a, b in zip(ours.shape, real.shape, strict=True)), (ours.shape, real.shape)
        assert ours.dtype == real.dtype
    used = [tensor for tensor in inputs if reaches(tensor, outputs)]
    model = Model(used, outputs)
    given = [values[tensor.name] for tensor in used]
    for each in (model, Model.from_config(model.get_config())):
        with torch.no_grad():
            found = each(given if len(given) > 1 else given[0])
        for ours, real in zip(found if isinstance(found, (list, tuple)) else [found], expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), real.numpy(), rtol=1e-5, atol=1e-5)


def reaches(tensor, outputs):
    """Whether any output depends on a tensor: some need no more of it than its dtype or rank."""
    waiting, seen = list(outputs), set()
    while waiting:
        each = waiting.pop()
        if each is tensor:
            return True
        if id(each) not in seen:
            seen.add(id(each))
            waiting.extend(each.node.parents)
    return False
