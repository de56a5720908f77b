"""Batches that a thread makes ready for an accelerator, for which `meta` stands where values do not matter."""

import threading

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from torchkeras_fn import Input, Model
from torchkeras_fn.callbacks import LambdaCallback
from torchkeras_fn.engine import data
from torchkeras_fn.engine.batches import staging
from torchkeras_fn.engine.batches.arrays import arrays_of
from torchkeras_fn.engine.batches.columns import Column, ReadColumn
from torchkeras_fn.engine.batches.loading import Epochs
from torchkeras_fn.engine.data import ArraySource, Signature, TensorSource
from torchkeras_fn.layers import Dense, concatenate

CPU, META = torch.device("cpu"), torch.device("meta")
X, Y = np.random.default_rng(0).normal(size=(23, 6)), np.arange(23) % 3


def staging_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("torchkeras_fn")]


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    yield
    assert not staging_threads()


@pytest.fixture
def one_by_one(monkeypatch):
    monkeypatch.setattr(staging, "_MOST_AT_ONCE", 1)


@pytest.fixture
def always(monkeypatch, one_by_one):
    """Stage for the CPU too, and count the passes that were."""
    passes = []

    def note(columns, device):
        passes.append(device)
        return all(type(one) is Column for one in columns)

    monkeypatch.setattr(data, "is_worth_it", note)
    return passes


# ---------------------------------------------------------------------- one pass


def test_rows_are_made_ready_in_a_thread_and_come_in_their_order():
    main, makers = threading.get_ident(), set()

    def make(row):
        makers.add(threading.get_ident())
        return torch.tensor(row)

    assert [int(value) for value in staging.staged(make, list(range(50)), CPU)] == list(range(50))
    assert len(makers) == 1 and main not in makers


def test_what_the_thread_pinned_comes_out_of_it_as_it_is(monkeypatch):
    made = []
    monkeypatch.setattr(staging, "pinned", lambda tensor, device: made.append(tensor) or tensor)
    batches = list(staging.ahead(lambda row: torch.tensor(row), list(range(5)), CPU))
    assert [batch is one for batch, one in zip(batches, made, strict=True)] == [True] * 5


def test_at_most_two_batches_are_ready_before_they_are_asked_for():
    made, ahead, taken = [], [], 0

    def make(row):
        made.append(row)
        ahead.append(len(made) - taken)
        return torch.tensor(row)

    for _ in staging.ahead(make, list(range(50)), CPU):
        taken += 1
    assert len(made) == taken == 50
    assert max(ahead) <= staging.AHEAD + 1  # one may be on its way to here


@pytest.mark.parametrize(("shape", "several"), [((2**20,), 1), ((2**16,), 4), ((3,), 16)])
@pytest.mark.parametrize("rows", [torch.arange(99).split(1), [slice(row, row + 1) for row in range(99)]], ids=["shuffled", "in order"])
def test_small_batches_come_out_of_the_thread_several_at_once(monkeypatch, shape, several, rows):
    sizes, threaded = [], staging.Threaded

    def note(groups, loading):
        return threaded((sizes.append(len(group)) or group for group in groups), loading)

    monkeypatch.setattr(staging, "Threaded", note)
    column = Column(torch.ones(1).expand(99, *shape))
    assert len(list(staging.staged(lambda index: torch.ones(1), rows, CPU, [column]))) == 99
    assert sizes[0] == max(sizes) == several and sum(sizes) == 99


def test_an_error_in_the_thread_is_raised_where_its_batch_was_wanted():
    def make(row):
        return torch.tensor([1.0])[row]

    batches = staging.staged(make, [0, 1, 0], CPU)
    assert next(batches) == 1.0
    with pytest.raises(IndexError):
        next(batches)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_closing_ends_the_thread(taken):
    batches = staging.staged(torch.tensor, list(range(9)), CPU)
    for _ in range(taken):
        next(batches)
    assert len(staging_threads()) == (taken > 0)
    batches.close()
    assert not staging_threads()


def test_all_tensors_of_a_batch_go_to_the_device_and_what_is_none_stays():
    batch = ({"a": torch.ones(2), "b": torch.ones(2)}, [torch.ones(2), None], None)
    (moved,) = staging.staged(lambda row: batch, [0], META)
    assert moved[0]["a"].is_meta and moved[0]["b"].is_meta and moved[1][0].is_meta
    assert moved[1][1] is None and moved[2] is None


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_the_thread_pins_and_the_main_thread_copies_without_waiting(monkeypatch, kind):
    calls, main = [], threading.get_ident()

    def note(what):
        calls.append((what, threading.get_ident() == main))

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: note("pin") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, non_blocking=False: note(f"copy {non_blocking}") or self)
    list(staging.staged(lambda row: (torch.ones(2), torch.ones(2), None), [0, 1], torch.device(kind, 0)))
    assert calls.count(("pin", False)) == calls.count(("copy True", True)) == 4
    assert ("copy True", False) not in calls


# ---------------------------------------------------------------------- which arrays


def arrays(x=X, y=Y):
    return arrays_of(x, y, None, Signature())


def test_arrays_in_memory_are_made_ready_for_another_device_alone():
    here, there = Column(torch.ones(3)), Column(torch.ones(3, device="meta"))
    read = ReadColumn(lambda rows: np.ones(3)[rows], (3,))
    assert not staging.is_worth_it([here], CPU)
    assert staging.is_worth_it([here, here], META)
    assert not staging.is_worth_it([here, there], META)
    assert not staging.is_worth_it([here, read], META)


def test_a_pass_begins_no_thread_for_a_single_batch_nor_for_the_cpu():
    for source in (
        ArraySource(arrays(), 4, True, Signature()),
        ArraySource(arrays(), 23, True, Signature(device=META)),
        TensorSource([torch.ones(9)], 2, True),
    ):
        batches = source.one_pass()
        next(batches)
        assert not staging_threads()


def test_arrays_on_the_device_are_gathered_there():
    x, y = torch.ones(23, 6, device="meta"), torch.ones(23, device="meta")
    batches = ArraySource(arrays(x, y), 4, False, Signature(device=META)).one_pass()
    assert next(batches)[0].is_meta
    assert not staging_threads()


@pytest.mark.parametrize("shuffle", [True, False, "batch"])
@pytest.mark.parametrize("count", [0, 2])
def test_a_pass_gives_the_same_batches_with_the_thread_and_without(always, monkeypatch, shuffle, count):
    def batches():
        torch.manual_seed(3)
        arrays_there = ArraySource(arrays(), 4, shuffle, Signature()).pass_after(count)
        tensors_there = TensorSource([torch.tensor(X), torch.tensor(Y)], 4, shuffle).pass_after(count)
        torch.manual_seed(4)  # all that is drawn was drawn before the first batch was read
        return [*arrays_there, *tensors_there]

    single = batches()
    assert always
    monkeypatch.setattr(staging, "_MOST_AT_ONCE", 4)
    groups = batches()
    monkeypatch.setattr(data, "is_worth_it", lambda columns, device: False)
    for one, grouped, other in zip(single, groups, batches(), strict=True):
        assert len(one) == len(grouped) == len(other)
        for a, b, c in zip(one, grouped, other, strict=True):
            assert a is b is c is None or (torch.equal(a, c) and torch.equal(b, c) and a.dtype == b.dtype == c.dtype)


def test_a_pass_goes_on_in_the_middle_as_if_it_had_not_been_interrupted(always):
    def opened():
        epochs = Epochs(ArraySource(arrays(), 4, True, Signature()), lambda batch: batch)
        epochs.watch()
        return epochs

    first, second = opened(), opened()
    batches = iter(first)
    for _ in range(3):
        next(batches)
    position = first.position()
    rest = list(batches)
    second.seek(position, done=3)
    for one, other in zip(rest, second, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    second.close()


# ---------------------------------------------------------------------- whole runs


def two_inputs():
    first, second = Input(shape=(6,), name="first"), Input(shape=(6,), name="second")
    hidden = concatenate([first, second])
    return Model([first, second], [Dense(3, activation="softmax", name="kind")(hidden), Dense(1, name="size")(hidden)])


def compiled():
    torch.manual_seed(0)
    model = two_inputs()
    model.compile("adam", ["sparse_categorical_crossentropy", "mse"], metrics={"kind": "accuracy"}, device="cpu")
    return model


def fit(model, **options):
    options = {"batch_size": 4, "epochs": 3, "verbose": 0, **options}
    y = [Y, X[:, :1]]
    torch.manual_seed(1)
    return model.fit([X, X[:, ::-1].copy()], y, validation_split=0.3, **options).history


def test_training_is_the_same_with_the_thread_and_without(always, monkeypatch):
    runs = []
    for with_thread in (True, False):
        if not with_thread:
            monkeypatch.setattr(data, "is_worth_it", lambda columns, device: False)
        model = compiled()
        history = fit(model, class_weight={"kind": {0: 2.0}})
        runs.append((history, [output.tolist() for output in model.predict([X, X])], model.evaluate([X, X], [Y, X[:, :1]], verbose=0)))
    assert always
    assert runs[0] == runs[1]


@pytest.mark.parametrize("steps", [None, 2, 7])
def test_steps_that_end_in_the_middle_of_a_pass_leave_nothing_running(always, steps):
    history = fit(compiled(), steps_per_epoch=steps)
    assert len(history["loss"]) == 3


def test_a_tensor_data_set_is_made_ready_too(always):
    x = Input(shape=(6,))
    model = Model(x, Dense(3, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    seen = []
    watch = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(len(staging_threads())))
    pairs = TensorDataset(torch.tensor(X), torch.tensor(Y))
    model.fit(pairs, batch_size=4, epochs=2, verbose=0, validation_data=pairs, class_weight={0: 2.0}, callbacks=[watch])
    assert seen.count(1) >= 8


def test_a_training_that_stops_early_leaves_nothing_running(always):
    def stop(batch, logs):
        assert staging_threads()
        if batch == 1:
            model.stop_training = True

    model = compiled()
    fit(model, callbacks=[LambdaCallback(on_train_batch_end=stop)])
    assert not staging_threads()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_the_training_leaves_nothing_running(always, error):
    def fail(batch, logs):
        raise error

    with pytest.raises(error):
        fit(compiled(), callbacks=[LambdaCallback(on_train_batch_end=fail)])
    assert not staging_threads()


def test_a_whole_run_on_another_device_uses_the_thread(one_by_one):
    x = Input(shape=(6,))
    model = Model(x, Dense(3, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", device="meta")
    seen = []
    watch = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(len(staging_threads())))
    model.fit(X, Y, batch_size=4, verbose=0, callbacks=[watch])
    assert seen[0] == 1
    assert np.isnan(model.predict(X, batch_size=4)).all()


@pytest.mark.cuda
@pytest.mark.parametrize("kind", ["arrays", "tensors", "data set"])
def test_cuda_and_the_cpu_see_the_same_batches(kind):
    figures = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        x = Input(shape=(6,))
        model = Model(x, Dense(3, activation="softmax")(x)).to(device)
        model.compile("adam", "sparse_categorical_crossentropy")
        torch.manual_seed(1)
        tensors = torch.tensor(X), torch.tensor(Y)
        given = {"arrays": (X, Y), "tensors": tensors, "data set": (TensorDataset(*tensors),)}[kind]
        figures.append(model.fit(*given, batch_size=4, epochs=3, verbose=0).history["loss"])
    assert figures[0] == pytest.approx(figures[1], rel=1e-4)


@pytest.mark.cuda
def test_batches_are_made_ready_while_a_compiled_step_is_recorded():
    x = Input(shape=(6,))
    model = Model(x, Dense(3, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=True, device="cuda")
    many = np.random.default_rng(1).normal(size=(4000, 6)).astype("float32"), np.arange(4000) % 3
    assert np.isfinite(model.fit(*many, batch_size=16, epochs=2, verbose=0).history["loss"]).all()
