"""`steps_per_execution`: callbacks are told once for several batches, and everything else stays the same."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from torchkeras_fn import Sequential, layers
from torchkeras_fn.callbacks import Callback, LambdaCallback, ModelCheckpoint, ProgbarLogger
from torchkeras_fn.engine.batches.groups import in_groups, samples_of, steps_of

SAMPLES = 26
X = np.random.default_rng(0).normal(size=(SAMPLES, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def model_of(steps_per_execution=1, **options):
    torch.manual_seed(0)
    model = Sequential([layers.Dense(4, "tanh", input_shape=(3,)), layers.Dropout(0.5), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"], steps_per_execution=steps_per_execution, **options)
    return model


class Told(Callback):
    """Notes the batch events."""

    def __init__(self):
        self.events, self.logs = [], []

    def _note(self, event, batch, logs):
        self.events.append((event, batch))
        self.logs.append(dict(logs))


for _stage in ("train", "test", "predict"):
    for _end in ("begin", "end"):
        setattr(
            Told,
            f"on_{_stage}_batch_{_end}",
            lambda self, batch, logs=None, event=f"{_stage} {_end}": self._note(event, batch, logs),
        )


class Stream(IterableDataset):
    """Data of which nobody knows how long it is."""

    def __iter__(self):
        return zip(X[:24], Y[:24], strict=True)


def expected(stage, *groups):
    return [entry for first, last in groups for entry in ((f"{stage} begin", first), (f"{stage} end", last))]


def test_the_rows_of_an_object_are_told_by_its_targets():
    class Graph:
        def to(self, device):
            return self

        def __len__(self):
            return 7

    assert samples_of((Graph(), torch.ones(3, 1), None)) == samples_of(([Graph()], {"y": torch.ones(3)}, None)) == 3
    assert samples_of((Graph(), None, None)) == 1


# ---------------------------------------------------------------------- who is told what


@pytest.mark.parametrize(
    ("count", "groups"),
    [(1, [(i, i) for i in range(7)]), (2, [(0, 1), (2, 3), (4, 5), (6, 6)]), (3, [(0, 2), (3, 5), (6, 6)]), (7, [(0, 6)]), (50, [(0, 6)])],
)
def test_callbacks_are_told_once_for_each_group(count, groups):
    told, model = Told(), model_of(count)
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=[told])
    assert told.events == expected("train", *groups) * 2
    for stage, call in (("test", lambda **o: model.evaluate(X, Y, **o)), ("predict", lambda **o: model.predict(X, **o))):
        told = Told()
        call(batch_size=4, verbose=0, callbacks=[told])
        assert told.events == expected(stage, *groups)


def test_a_validation_is_told_of_in_groups_too():
    told = Told()
    model_of(2).fit(X, Y, batch_size=13, verbose=0, validation_data=(X[:12], Y[:12]), validation_batch_size=4, callbacks=[told])
    assert told.events == [*expected("train", (0, 1)), *expected("test", (0, 1), (2, 2))]


def test_data_of_unknown_length():
    told = Told()
    model_of(4).evaluate(DataLoader(Stream(), batch_size=4), verbose=0, callbacks=[told])
    assert told.events == expected("test", (0, 3), (4, 5))


def test_steps_of_an_epoch_end_a_group():
    told = Told()
    model_of(2).fit(X, Y, batch_size=2, epochs=2, steps_per_epoch=3, verbose=0, callbacks=[told])
    assert told.events == expected("train", (0, 1), (2, 2)) * 2


def test_the_logs_are_those_after_the_group():
    ones, groups = Told(), Told()
    model_of(1).fit(X, Y, batch_size=4, verbose=0, shuffle=False, callbacks=[ones])
    model_of(3).fit(X, Y, batch_size=4, verbose=0, shuffle=False, callbacks=[groups])
    ends = [logs for (event, _), logs in zip(ones.events, ones.logs, strict=True) if event == "train end"]
    told = [logs for (event, _), logs in zip(groups.events, groups.logs, strict=True) if event == "train end"]
    assert [logs["loss"] for logs in told] == [ends[last]["loss"] for last in (2, 5, 6)]
    assert [(logs["batch"], logs["size"]) for logs in told] == [(2, 12), (5, 12), (6, 2)]
    begins = [logs for (event, _), logs in zip(groups.events, groups.logs, strict=True) if event == "train begin"]
    assert begins == [{"batch": 0, "size": 4}, {"batch": 3, "size": 4}, {"batch": 6, "size": 2}]


@pytest.mark.parametrize("verbose", [0, 1])
def test_the_bar_counts_batches(verbose, capfd):
    callbacks = [ProgbarLogger()] if verbose == 0 else []
    model_of(3).fit(X, Y, batch_size=4, verbose=1, callbacks=callbacks)
    assert "7/7" in capfd.readouterr().err


def test_a_bar_of_samples_counts_samples(capfd):
    model_of(3).fit(X, Y, batch_size=4, verbose=1, callbacks=[ProgbarLogger("samples")])
    assert "26/26" in capfd.readouterr().err


def test_checkpoints_count_batches(tmp_path):
    saved = ModelCheckpoint(tmp_path / "{epoch}-{batch}.zip", save_freq=4)
    model_of(3).fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=[saved])
    # 6 batches after the second group of the first epoch; then 1 and 3, the first group of the second; then 3 and 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-6.zip", "2-3.zip", "2-7.zip"]


# ---------------------------------------------------------------------- what stays the same


@pytest.mark.parametrize("count", [2, 3, 100])
def test_the_results_are_those_of_single_batches(count):
    results = []
    for one in (1, count):
        model = model_of(one)
        history = model.fit(X, Y, batch_size=4, epochs=3, verbose=0, validation_split=0.2).history
        results.append(
            (history, model.evaluate(X, Y, batch_size=4, verbose=0), model.predict(X, batch_size=4, callbacks=[Told()]).tolist())
        )
    assert results[0] == results[1]


def test_train_on_batch_is_one_batch():
    histories = []
    for count in (1, 5):
        model = model_of(count)
        histories.append([model.train_on_batch(X, Y)[0] for _ in range(3)])
    assert histories[0] == histories[1]


def test_the_end_of_training_is_looked_at_after_each_group():
    steps = []

    class Stopping(Sequential):
        def train_step(self, batch):
            steps.append(len(steps))
            self.stop_training = True
            return super().train_step(batch)

    model = Stopping([layers.Dense(1, input_shape=(3,))])
    model.compile("sgd", "mse", steps_per_execution=3)
    told = Told()
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=[told])
    assert steps == [0, 1, 2]
    assert told.events == expected("train", (0, 2))


def test_a_callback_ends_the_training_after_a_group():
    model, told = model_of(2), Told()

    def stop(batch, logs):
        model.stop_training = batch >= 3

    model.fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=[told, LambdaCallback(on_train_batch_end=stop)])
    assert told.events == expected("train", (0, 1), (2, 3))


def test_an_evaluation_under_a_stopped_training_goes_on():
    model, told = model_of(2), Told()
    model.stop_training = True
    model.evaluate(X, Y, batch_size=4, verbose=0, callbacks=[told])
    assert told.events[-1] == ("test end", 6)


# ---------------------------------------------------------------------- pieces


def test_nothing_is_read_before_it_is_needed():
    read = []

    def batches():
        for index in range(4):
            read.append(index)
            yield torch.zeros(1), None, None

    for group in in_groups(batches(), 2):
        assert read == list(range(group.first + 1))
        for index, _ in group:
            assert read == list(range(index + 1))
    assert read == [0, 1, 2, 3]


def test_a_group_ends_where_it_would_have_ended_from_the_start():
    batches = [(torch.zeros(2), None, None)] * 5
    numbers = []
    for group in in_groups(batches, 3, done=2):
        assert (group.samples, steps_of(group)) == (2, 1)  # only the first is known so far
        numbers.append([index for index, _ in group])
        assert (samples_of(group), steps_of(group)) == (2 * len(numbers[-1]), len(numbers[-1]))
    assert numbers == [[2], [3, 4, 5], [6]]


def test_no_batches_make_no_group():
    assert list(in_groups([], 3)) == []


@pytest.mark.parametrize("x", [torch.zeros(3, 2), [torch.zeros(3, 2), torch.zeros(3)], {"a": torch.zeros(3)}])
def test_samples_of_a_batch(x):
    assert samples_of((x, None, None)) == 3
