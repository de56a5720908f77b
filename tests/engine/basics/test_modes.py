"""The mode of modules is switched for a while, and comes back as it was."""

import pytest
from torch import nn

from torchkeras_fn.engine.basics.modes import mode_of


def test_inference_mode_is_undone_for_each_module_alone():
    module = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    with mode_of(module, training=False):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == [True, True, False]


def test_inference_mode_is_undone_after_an_error():
    module = nn.Dropout()
    with pytest.raises(KeyError), mode_of(module, training=False):
        raise KeyError
    assert module.training


def test_a_module_made_meanwhile_gets_the_mode_of_its_parent():
    module = nn.Sequential()
    with mode_of(module, training=False):
        module.append(nn.Sequential(nn.Dropout()).eval())
    assert all(part.training for part in module.modules())
