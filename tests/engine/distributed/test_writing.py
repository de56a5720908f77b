"""Who writes a file: whoever is alone; several processes are in `tests/distributed/test_one_voice.py`."""

import io

import pytest
from torch import nn

from torchkeras_fn.engine.distributed.writing import first_writes


@pytest.mark.parametrize("model", [nn.Linear(1, 1), object()])
@pytest.mark.parametrize("target", ["file", io.BytesIO()])
def test_one_that_is_alone_writes(model, target):
    written = []
    first_writes(model, target, lambda: written.append(1))
    assert written == [1]
