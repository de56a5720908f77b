"""Learning-rate schedules: their values, configs, what they may be called with, and what they refuse."""

import json
import math

import numpy as np
import pytest
import torch

from torchkeras_fn.optimizers import schedules
from torchkeras_fn.optimizers.schedules import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

VALUES = [
    (ExponentialDecay(1.0, 10, 0.25), {0: 1.0, 5: 0.5, 10: 0.25, 15: 0.125}),
    (ExponentialDecay(1.0, 10, 0.25, True), {0: 1.0, 9: 1.0, 10: 0.25, 19: 0.25, 20: 0.0625}),
    (InverseTimeDecay(1.0, 2, 0.5), {0: 1.0, 4: 0.5, 12: 0.25}),
    (InverseTimeDecay(1.0, 4, 1.0, staircase=True), {3: 1.0, 4: 0.5, 7: 0.5}),
    (PiecewiseConstantDecay([2, 5], [1.0, 0.5, 0.1]), {0: 1.0, 2: 1.0, 3: 0.5, 5: 0.5, 6: 0.1, 99: 0.1}),
    (PolynomialDecay(1.0, 10, 0.5), {0: 1.0, 5: 0.75, 10: 0.5, 99: 0.5}),
    (PolynomialDecay(1.0, 10, 0.0, power=2.0), {5: 0.25}),
    (PolynomialDecay(1.0, 10, 0.0, cycle=True), {0: 1.0, 10: 0.0, 11: 1 - 11 / 20, 20: 0.0, 25: 1 - 25 / 30}),
    (CosineDecay(1.0, 10), {0: 1.0, 5: 0.5, 10: 0.0, 99: 0.0}),
    (CosineDecay(1.0, 10, alpha=0.5), {0: 1.0, 5: 0.75, 10: 0.5}),
    (CosineDecay(0.0, 10, warmup_target=1.0, warmup_steps=4), {0: 0.0, 2: 0.5, 4: 1.0, 9: 0.5, 14: 0.0, 99: 0.0}),
    (CosineDecayRestarts(1.0, 10), {0: 1.0, 5: 0.5, 10: 1.0, 20: 0.5, 30: 1.0, 50: 0.5}),
    (CosineDecayRestarts(1.0, 10, t_mul=1.0, m_mul=0.5), {5: 0.5, 10: 0.5, 15: 0.25, 20: 0.25}),
    (CosineDecayRestarts(1.0, 10, t_mul=0.5, alpha=0.25), {10: 1.0, 15: 1.0, 20: 0.25, 99: 0.25}),
    (CosineDecayRestarts(1.0, 10, alpha=0.5), {5: 0.75}),
]
ALL = [schedule for schedule, _ in VALUES]


@pytest.mark.parametrize(("schedule", "values"), VALUES, ids=lambda x: type(x).__name__)
def test_values(schedule, values):
    for step, rate in values.items():
        for given in (schedule(step), schedule.at(step), schedule(torch.tensor(step)), schedule(np.int64(step))):
            assert type(given) is float and given == pytest.approx(rate)


@pytest.mark.parametrize("schedule", ALL, ids=lambda x: type(x).__name__)
def test_many_steps_at_once(schedule):
    steps = np.arange(40).reshape(5, 8)
    rates = schedule(steps)
    assert rates.shape == (5, 8) and rates[2, 3] == schedule(19)
    torch.testing.assert_close(schedule(torch.from_numpy(steps)), torch.from_numpy(rates))
    assert list(schedule([1, 2])) == [schedule(1), schedule(2)]


@pytest.mark.parametrize("schedule", ALL, ids=lambda x: type(x).__name__)
def test_the_config_is_json_and_makes_an_equal_schedule(schedule):
    config = json.loads(json.dumps(schedules.serialize(schedule)))
    again = schedules.deserialize(config)
    assert type(again) is type(schedule) and again.get_config() == schedule.get_config()
    assert [again(step) for step in range(40)] == [schedule(step) for step in range(40)]
    assert "name" in config["config"]
    assert schedules.get(schedule) is schedule


def test_restarts_are_at_the_step_where_the_last_cosine_ends():
    schedule = CosineDecayRestarts(0.1, 3, t_mul=3.0)
    for restart in (3, 12, 39, 120, 363):
        assert schedule(restart) == pytest.approx(0.1) and schedule(restart - 1) < 0.05


class Warmup(LearningRateSchedule):
    """The schedule of Vaswani et al., 2017, as it is ported from Keras."""

    def __init__(self, width, steps=4):
        super().__init__()
        self.width = width
        self.steps = steps

    def __call__(self, step):
        step = step.to(torch.float32) + 1
        return torch.rsqrt(torch.tensor(self.width)) * torch.minimum(torch.rsqrt(step), step * self.steps**-1.5)


class Plain(LearningRateSchedule):
    def __init__(self, start):
        self.start = start

    def __call__(self, step):
        return self.start * math.exp(-0.1 * step) if step >= 2 else np.interp(step, [0, 2], [0.0, 2.0]) + self.start


def test_schedules_of_users_take_torch_functions_and_those_of_python_and_numpy():
    assert Warmup(16.0).at(15) == pytest.approx(0.25 * 0.25)
    assert Plain(0.5).at(1) == pytest.approx(1.5) and Plain(0.5).at(10) == pytest.approx(0.5 / math.e)
    assert Warmup(16.0).get_config() == {"width": 16.0, "steps": 4}
    config = schedules.serialize(Warmup(16.0))
    assert schedules.deserialize(config, {"Warmup": Warmup}).at(15) == Warmup(16.0).at(15)


def test_a_subclass_of_ours_may_override_the_call():
    class Doubled(ExponentialDecay):
        def __call__(self, step):
            return 2 * super().__call__(step)

    assert Doubled(1.0, 10, 0.25).at(5) == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExponentialDecay(1.0, 0, 0.5), "'decay_steps' must be greater than 0, got 0"),
        (lambda: InverseTimeDecay(1.0, -1, 0.5), "'decay_steps' must be greater than 0, got -1"),
        (lambda: PolynomialDecay("fast", 3), "'initial_learning_rate' must be a finite number, got 'fast'"),
        (lambda: CosineDecay(1.0, None), "'decay_steps' must be a finite number, got None"),
        (lambda: CosineDecayRestarts(1.0, 0), "'first_decay_steps' must be greater than 0"),
        (lambda: CosineDecayRestarts(1.0, 1, t_mul=0), "'t_mul' must be greater than 0"),
        (lambda: PiecewiseConstantDecay([1, 2], [0.1, 0.2]), "'values' must be one more than 'boundaries', got 2 values and 2"),
        (lambda: PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]), r"'boundaries' must ascend, got \[2, 1\]"),
        (lambda: schedules.get("cosine_decays"), "Unknown learning rate schedule .*Did you mean 'CosineDecay'"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_schedule_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match="Lazy must override __call__"):
        type("Lazy", (LearningRateSchedule,), {})().at(1)
