"""`Execution`: what `compile` may be told of how to run the steps."""

import numpy as np
import pytest

from torchkeras_fn.engine.steps.execution import Execution


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"precision": "float16"}, "precision is one of 'float32', 'mixed_bfloat16', 'mixed_float16', got 'float16'"),
        ({"precision": ["mixed_float16"]}, "precision is one of"),
        ({"auto_scale_loss": "yes"}, "auto_scale_loss is True or False, got 'yes'"),
        ({"jit_compile": 1}, "jit_compile is True or False, got 1"),
        *(
            ({"gradient_accumulation_steps": value}, "'gradient_accumulation_steps' must be an integer")
            for value in (0, -1, 2.0, "2", True)
        ),
        *(({"steps_per_execution": value}, "'steps_per_execution' must be an integer") for value in (0, -1, 2.0, "auto", None, True)),
        ({"distributed": "everywhere"}, "distributed is None, True, False, 'ddp' or 'fsdp'"),
    ],
)
def test_values_that_cannot_be_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        Execution(**options)


def test_what_is_usual():
    assert Execution() == Execution.of(False, False, auto_scale_loss=True, steps_per_execution=1)
    assert Execution().differing_settings == {}


@pytest.mark.parametrize("value", [True, False, None, "auto"])
def test_compiling_is_a_wish_only_where_it_is_said(value):
    assert Execution.of(value, False).jit_compile is (value is True)


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="contradict each other"):
        Execution.of(True, True)
    with pytest.raises(ValueError, match="jit_compile is True, False or 'auto'"):
        Execution.of("always", False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"precision": "mixed_bfloat16"}, False),
        ({"precision": "mixed_float16"}, True),
        ({"precision": "mixed_float16", "auto_scale_loss": False}, False),
    ],
)
def test_the_loss_is_scaled_in_float16_alone(options, expected):
    assert Execution(**options).scales_loss is expected


def test_settings_are_plain_values_that_make_the_same_again():
    execution = Execution(
        precision="mixed_float16", gradient_accumulation_steps=np.int64(2), steps_per_execution=np.int32(3), distributed="ddp"
    )
    assert {type(value) for value in execution.settings.values()} == {bool, str, int}
    assert Execution(**execution.settings) == Execution(precision="mixed_float16", gradient_accumulation_steps=2, steps_per_execution=3)
    assert execution.differing_settings == {"precision": "mixed_float16", "gradient_accumulation_steps": 2}
