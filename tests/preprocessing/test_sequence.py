"""`TimeseriesGenerator`: a long series as batches of windows."""

import numpy as np
import pytest

from torchkeras_fn import Sequential, layers
from torchkeras_fn.preprocessing import TimeseriesGenerator, sequence

DATA = np.arange(40).reshape(20, 2)
TARGETS = np.arange(20) * 10


def by_loops(length, sampling_rate=1, stride=1, start_index=0, end_index=19, reverse=False, batch_size=128):
    steps = range(start_index + length, end_index + 1, stride)
    windows = [DATA[step - length : step : sampling_rate] for step in steps]
    pairs = [(window[::-1] if reverse else window, TARGETS[step]) for window, step in zip(windows, steps, strict=True)]
    batches = [pairs[start : start + batch_size] for start in range(0, len(pairs), batch_size)]
    return [tuple(np.stack(part).tolist() for part in zip(*batch, strict=True)) for batch in batches]


@pytest.mark.parametrize(
    "options",
    [
        {"length": 3},
        {"length": 3, "batch_size": 4},
        {"length": 5, "sampling_rate": 2, "batch_size": 5},
        {"length": 4, "sampling_rate": 2, "stride": 3, "reverse": True, "batch_size": 2},
        {"length": 2, "start_index": 3, "end_index": 12, "batch_size": 3},
        {"length": 19},
    ],
)
def test_batches_are_those_of_the_loops(options):
    generator = TimeseriesGenerator(DATA, TARGETS, **options)
    assert [tuple(part.tolist() for part in generator[index]) for index in range(len(generator))] == by_loops(**options)


def test_shuffled_windows_keep_their_targets():
    inputs, targets = TimeseriesGenerator(DATA, TARGETS, 3, shuffle=True, batch_size=50)[0]
    assert inputs.shape == (50, 3, 2)
    assert (inputs[:, -1, 0] * 5 + 10 == targets).all()


def test_an_epoch_of_fit_has_its_batches():
    model = Sequential([layers.Input((3, 2)), layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    generator = sequence.TimeseriesGenerator(DATA / 40, TARGETS / 200, 3, batch_size=5)
    assert model.fit(generator, verbose=0).params["steps"] == 4


def test_targets_of_another_length_are_refused():
    with pytest.raises(ValueError, match="'data' and 'targets' must have as many steps, got 20 and 19"):
        TimeseriesGenerator(DATA, TARGETS[1:], 3)


@pytest.mark.parametrize("options", [{"length": 20}, {"length": 3, "start_index": 9, "end_index": 11}, {"length": 3, "end_index": 20}])
def test_a_series_without_a_window_is_refused(options):
    with pytest.raises(ValueError, match="No window of"):
        TimeseriesGenerator(DATA, TARGETS, **options)
