"""What one `optimizer.step()` costs, counted: operations of the device, and calls of Python functions. No clocks."""

import sys
from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from torchkeras_fn import optimizers
from torchkeras_fn.optimizers.schedules import ExponentialDecay


class Recorder(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations[function._schema.name.partition("::")[2]] += 1
        return function(*args, **(kwargs or {}))


def ready(optimizer: Any) -> Any:
    """Bind the optimizer to six weights that have gradients, and take the first two steps, which make its state."""
    weights = [nn.Parameter(torch.ones(size)) for size in ((8, 4), (8,), (8, 8), (8,), (2, 8), (2,))]
    optimizer.bind(weights)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    for _ in range(2):
        optimizer.step()
    return optimizer


def operations(optimizer: Any) -> dict[str, int]:
    ready(optimizer)
    with Recorder() as recorder:
        optimizer.step()
    return dict(recorder.operations)


def calls(step: Any) -> list[str]:
    """The names of the Python functions that a step enters, those of this library marked."""
    names: list[str] = []

    def note(frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and not code.co_name.startswith("<"):
            names.append(f"ours: {code.co_name}" if "torchkeras_fn" in code.co_filename else code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        step()
    finally:
        sys.setprofile(before)
    return names


RATE = ExponentialDecay(0.1, 10, 0.5)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (optimizers.Adam(), {"add_": 1, "_fused_adam_": 1}),
        (optimizers.Adam(RATE), {"add_": 1, "_fused_adam_": 1}),
        (optimizers.Adam(weight_decay=0.1), {"add_": 1, "_fused_adamw_": 1}),
        (optimizers.AdamW(), {"add_": 1, "_fused_adamw_": 1}),
        (optimizers.Adagrad(), {"add_": 1, "_fused_adagrad_": 1}),
        (optimizers.SGD(), {"_fused_sgd_": 1}),
        (optimizers.SGD(RATE), {"_fused_sgd_": 1}),
        (optimizers.SGD(momentum=0.9, nesterov=True), {"_fused_sgd_": 1}),
        (optimizers.SGD(RATE, momentum=0.9), {"_foreach_mul_": 1, "_fused_sgd_": 1}),
        (optimizers.SGD(weight_decay=0.1), {"_foreach_mul_": 1, "_fused_sgd_": 1}),
        (optimizers.SGD(clipvalue=0.1), {"_foreach_clamp_min_": 1, "_foreach_clamp_max_": 1, "_fused_sgd_": 1}),
        (
            optimizers.SGD(clipnorm=0.1),
            {"_foreach_norm": 1, "_foreach_div": 1, "_foreach_clamp_min_": 1, "_foreach_div_": 1, "_fused_sgd_": 1},
        ),
        (optimizers.SGD(use_ema=True), {"_fused_sgd_": 1, "_foreach_lerp_": 1}),
        (optimizers.SGD(loss_scale_factor=8.0), {"_foreach_div_": 1, "_fused_sgd_": 1}),
        (optimizers.SGD(gradient_accumulation_steps=2), {"_foreach_add_": 1}),
    ],
    ids=str,
)
def test_operations_of_a_step(optimizer: Any, expected: dict[str, int]) -> None:
    assert operations(optimizer) == expected


def test_a_global_norm_is_a_handful_of_operations_for_any_number_of_weights() -> None:
    assert sum(operations(optimizers.SGD(global_clipnorm=0.1)).values()) <= 8


@pytest.mark.parametrize("kind", [optimizers.RMSprop, optimizers.Adadelta, optimizers.Adamax, optimizers.Lion])
def test_the_others_call_each_operation_once_for_all_weights(kind: Any) -> None:
    found = operations(kind())
    found.pop("_local_scalar_dense", None)  # torch counts the steps of each weight in a tensor on the CPU
    assert max(found.values()) <= 3, found  # of six weights


@pytest.mark.parametrize("kind", [optimizers.Adam, optimizers.AdamW, optimizers.SGD])
def test_few_python_functions_lie_between_a_step_and_its_kernel(kind: Any) -> None:
    optimizer = ready(kind())
    entered = calls(optimizer.step)
    ours = [name.removeprefix("ours: ") for name in entered if name.startswith("ours: ")]
    assert ours == ["step", "__call__", "kernel"]
    public = calls(optimizer.torch_optimizer.step)
    assert len(entered) < len(public) / 2
