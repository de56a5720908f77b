"""Threads that run the same modules take threads: every training step runs in training mode, every prediction in inference mode."""

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.engine.basics import threads
from torchkeras_fn.engine.steps.session import Session
from torchkeras_fn.layers import Dense, Dropout, Layer
from torchkeras_fn.utils import Sequence

PATIENCE = 20
X, Y = np.ones((4, 2), dtype="float32"), np.ones((4, 1), dtype="float32")


class Seen(Layer):
    """Notes in which thread and mode it is called; `inside` is called in every call."""

    def __init__(self, calls):
        super().__init__()
        self.calls, self.inside = calls, lambda: None

    def call(self, x, training=None):
        self.calls.append((threading.current_thread() is threading.main_thread(), training))
        self.inside()
        return x


@pytest.fixture
def calls():
    return []


@pytest.fixture
def model(calls):
    x = Input(shape=(2,))
    model = Model(x, Dense(1)(Dropout(0.5)(Seen(calls)(x))))
    model.compile("sgd", "mse", device="cpu")
    calls.clear()
    return model


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    assert not threads.under_way and not threads.waiting


def in_thread(function):
    """Start a function in a thread; the future is waited for with patience."""
    with_one = ThreadPoolExecutor(1)
    future = with_one.submit(function)
    with_one.shutdown(wait=False)
    return future


def modes(model):
    return {part.training for part in model.modules()}


USES = {
    "predict": lambda model: model.predict(X),
    "predict_on_batch": lambda model: model.predict_on_batch(X),
    "test_on_batch": lambda model: model.test_on_batch(X, Y),
    "evaluate": lambda model: model.evaluate(X, Y, verbose=0),
    "call": lambda model: model(torch.from_numpy(X), training=False),
    "predict on a generator": lambda model: model.predict(iter([X, X]), steps=2),
    "predict on a generator without a thread": lambda model: model.predict(iter([X, X]), steps=2, workers=0),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("use", USES)
def test_a_generator_uses_the_model_in_training_between_the_steps(model, calls, use, workers):
    def batches():
        while True:
            USES[use](model)
            yield X, Y

    for _ in range(2):
        model.fit(batches(), steps_per_epoch=10, verbose=0, workers=workers, max_queue_size=2)
    trained = [training for _, training in calls if training]
    assert len(trained) == 20 and (workers == 0 or all(training is is_main for is_main, training in calls))
    assert modes(model) == {True}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("use", ["evaluate", "test_on_batch"])
def test_an_evaluation_by_a_generator_leaves_the_figures_of_the_epoch_as_they_are(model, use, workers):
    def batches():
        for number in range(10):
            USES[use](model)
            yield X, Y * number

    model.compile("sgd", "mse", metrics=["mae"], device="cpu")
    model.optimizer.learning_rate = 0.0
    history = model.fit(batches(), steps_per_epoch=10, verbose=0, workers=workers).history
    model.layers[2].rate, zero = 0.0, model.get_weights()
    model.set_weights([weight * 0 for weight in zero])
    of_zeros = model.fit(batches(), steps_per_epoch=10, verbose=0, workers=workers).history
    assert of_zeros == {"loss": [pytest.approx(28.5)], "mae": [pytest.approx(4.5)]} and history["loss"] != of_zeros["loss"]


def test_evaluations_of_several_threads_have_figures_of_their_own(model):
    model.set_weights([weight * 0 for weight in model.get_weights()])

    def batches():
        yield X, Y
        assert in_thread(lambda: model.evaluate(X, Y * 4, verbose=0)).result(PATIENCE) == 16
        yield X, Y * 3

    assert model.evaluate(batches(), steps=2, verbose=0, workers=0) == 5


def test_evaluations_of_several_threads_that_go_on_in_turn_have_figures_of_their_own(model):
    """The one that began first ends first, while the other has figures to come back to."""
    model.set_weights([weight * 0 for weight in model.get_weights()])
    begun, ended = threading.Event(), threading.Event()

    def others():
        yield X, Y * 2
        begun.set()
        assert ended.wait(PATIENCE)
        yield X, Y * 4

    def batches():
        yield X, Y
        other.append(in_thread(lambda: model.evaluate(others(), steps=2, verbose=0, workers=0)))
        assert begun.wait(PATIENCE)
        yield X, Y * 3

    other = []
    assert model.evaluate(batches(), steps=2, verbose=0, workers=0) == 5
    ended.set()
    assert other[0].result(PATIENCE) == 10


@pytest.mark.parametrize("workers", [1, 3])
def test_a_sequence_uses_the_model_in_training_between_the_steps(model, calls, workers):
    class Hard(Sequence):
        def __len__(self):
            return 12

        def __getitem__(self, index):
            model.predict(X)
            return X, Y

    model.fit(Hard(), verbose=0, workers=workers)
    assert all(training is is_main for is_main, training in calls) and sum(training for _, training in calls) == 12


def test_a_generator_uses_another_model_with_the_same_layers(model, calls):
    part = Model(model.inputs, model.layers[1].output)

    def batches():
        while True:
            part.predict(X)
            yield X, Y

    model.fit(batches(), steps_per_epoch=20, verbose=0)
    assert all(training is is_main for is_main, training in calls)


@pytest.mark.parametrize("earlier", [True, False])
def test_a_step_waits_for_a_prediction_of_another_thread_and_finds_the_mode_from_before(model, calls, earlier):
    model.train(earlier)
    begun, go_on = threading.Event(), threading.Event()
    seen = model.layers[1]
    seen.inside = lambda: (begun.set(), go_on.wait(PATIENCE))
    prediction = in_thread(lambda: model.predict(X))
    assert begun.wait(PATIENCE)
    seen.inside = lambda: None
    step = in_thread(lambda: model.train_on_batch(X, Y))
    while not threads.waiting:
        pass
    assert len(calls) == 1
    go_on.set()
    prediction.result(PATIENCE)
    step.result(PATIENCE)
    assert [training for _, training in calls] == [False, True] and modes(model) == {earlier}


def test_predictions_of_several_threads_go_together_and_the_last_puts_the_mode_back(model, calls):
    model.train()
    begun, joined, ended = threading.Event(), threading.Event(), threading.Event()

    def predict_first():
        model.predict(X)
        ended.set()

    def inside_the_second():
        joined.set()
        assert ended.wait(PATIENCE) and modes(model) == {False}

    seen = model.layers[1]
    seen.inside = lambda: (begun.set(), joined.wait(PATIENCE))
    first = in_thread(predict_first)
    assert begun.wait(PATIENCE)
    seen.inside = inside_the_second
    second = in_thread(lambda: model.predict(X))
    first.result(PATIENCE)
    second.result(PATIENCE)
    assert calls == [(False, False)] * 2 and modes(model) == {True}


def test_models_without_a_layer_in_common_do_not_wait_for_each_other(model):
    x = Input(shape=(2,))
    other = Model(x, Dense(1)(x))
    with Session(model, training=False):
        other.compile("sgd", "mse", device="cpu")
        in_thread(lambda: other.fit(X, Y, verbose=0)).result(PATIENCE)


def test_a_thread_predicts_while_training_waits_for_it(model, calls):
    """As a generator does that hands out what a thread of its own makes."""

    def batches():
        while True:
            in_thread(lambda: model.predict(X)).result(PATIENCE)
            yield X, Y

    model.fit(batches(), steps_per_epoch=3, verbose=0, workers=0)
    assert calls == [(False, False), (True, True)] * 3


def test_a_thread_that_waits_has_its_turn_between_two_steps_on_arrays(model, calls):
    asked = []

    def ask():
        if len(calls) == 2:
            asked.append(in_thread(lambda: model.predict(X[:1])))
            while not threads.waiting:
                pass

    model.layers[1].inside = ask
    model.fit(X, Y, batch_size=1, verbose=0)
    assert len(asked[0].result(PATIENCE)) == 1
    assert calls == [(True, True)] * 2 + [(False, False)] + [(True, True)] * 2


@pytest.mark.parametrize("stage", ["train", "test", "predict"])
@pytest.mark.parametrize("moment", ["begin", "end"])
def test_a_callback_waits_for_a_thread_that_uses_the_model(model, calls, stage, moment):
    def use(*_):
        in_thread(lambda: model.evaluate(X, Y, verbose=0)).result(PATIENCE)

    callback = Callback()
    setattr(callback, f"on_{stage}_batch_{moment}", use)
    runs = {"train": partial(model.fit, X, Y), "test": partial(model.evaluate, X, Y), "predict": partial(model.predict, X)}
    runs[stage](callbacks=[callback], verbose=0)
    own = (True, stage == "train")
    assert calls == ([(False, False), own] if moment == "begin" else [own, (False, False)])


def test_the_batches_of_a_prediction_run_in_inference_mode_although_another_thread_trains_between_them(model, calls):
    model.eval()

    def batches():
        for _ in range(2):
            yield X
            in_thread(lambda: model.train_on_batch(X, Y)).result(PATIENCE)

    model.predict(batches(), steps=2, workers=0)
    assert calls == [(True, False), (False, True), (True, False)] and modes(model) == {False}


def test_an_error_in_a_prediction_of_the_generator_ends_the_training(model):
    def batches():
        yield X, Y
        model.predict(X[:, :1])

    with pytest.raises(ValueError, match="expects data of shape"):
        model.fit(batches(), steps_per_epoch=3, verbose=0)
    assert modes(model) == {True}


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_an_error_while_others_have_their_turn_puts_all_back(model, error):
    def batches():
        yield X, Y
        in_thread(lambda: model.predict(X)).result(PATIENCE)
        raise error

    model.eval()
    with pytest.raises(error):
        model.fit(batches(), steps_per_epoch=3, verbose=0, workers=0)
    assert modes(model) == {False} and not model._in_training


def test_a_step_that_waits_for_a_thread_lets_it_go_on_with_a_warning(model, calls, monkeypatch):
    monkeypatch.setattr(threads, "_PATIENCE_SECONDS", 0.01)
    seen = model.layers[1]

    def ask():
        seen.inside = lambda: None
        in_thread(lambda: model.predict(X)).result(PATIENCE)

    seen.inside = ask
    with pytest.warns(RuntimeWarning, match="Let it do so between two steps"):
        model.train_on_batch(X, Y)
    assert calls == [(True, True), (False, False)] and modes(model) == {True}


def test_threads_switch_a_layer_to_training_in_their_predictions_without_waiting_for_each_other(model):
    class Averaging(Model):
        def predict_step(self, batch):
            return self(batch[0], training=True)

    averaging = Averaging(model.inputs, model.outputs)
    predictions = [in_thread(lambda: averaging.predict(X, batch_size=1)) for _ in range(4)]
    assert [len(prediction.result(PATIENCE)) for prediction in predictions] == [4] * 4
    assert modes(model) == {True}


def test_a_forked_process_waits_for_no_thread_of_the_other(model):
    told = multiprocessing.get_context("fork").SimpleQueue()

    def use():
        torch.set_num_threads(1)
        told.put(model.predict(X).shape)

    held, go_on = threading.Event(), threading.Event()

    def hold():
        with Session(model, training=True):
            held.set()
            go_on.wait(PATIENCE)

    holder = in_thread(hold)
    assert held.wait(PATIENCE)
    child = multiprocessing.get_context("fork").Process(target=use)
    child.start()
    child.join(PATIENCE)
    go_on.set()
    holder.result(PATIENCE)
    assert child.exitcode == 0 and told.get() == (4, 1)
