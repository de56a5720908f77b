"""The walks through a module agree with torch's own."""

import torch
from torch import nn

from torchkeras_fn.engine.basics.walking import modules_of, parameters_of


def shared_and_nested() -> nn.Module:
    inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    outer = nn.Sequential(inner, nn.Sequential(inner, nn.Linear(2, 2)), nn.Linear(2, 2))
    outer[2].weight = inner[0].weight
    outer[2].register_parameter("none", None)
    outer.register_module("nothing", None)
    return outer


def test_modules_come_in_torchs_order_and_once():
    module = shared_and_nested()
    assert [id(part) for part in modules_of(module)] == [id(part) for part in module.modules()]


def test_parameters_come_in_torchs_order_and_once():
    module = shared_and_nested()
    assert [id(parameter) for parameter in parameters_of(module)] == [id(parameter) for parameter in module.parameters()]


def test_parameters_of_a_module_without_any():
    assert parameters_of(nn.ReLU()) == []
    assert isinstance(next(iter(parameters_of(nn.Linear(1, 1)))), torch.nn.Parameter)
