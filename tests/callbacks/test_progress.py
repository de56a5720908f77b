"""What `fit`, `evaluate` and `predict` print: a bar, a line an epoch, or nothing."""

import io
import re
import sys

import numpy as np
import pytest

from torchkeras_fn import Input, Model
from torchkeras_fn.callbacks import Callback, CallbackList, ProgbarLogger, progress
from torchkeras_fn.callbacks.progress import Progress
from torchkeras_fn.layers import Dense

X, Y = np.zeros((64, 3), dtype="float32"), np.zeros(64)


def compiled(metrics=None):
    x = Input(shape=(3,))
    model = Model(x, Dense(1)(x))
    model.compile("sgd", "mse", metrics=metrics)
    return model


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets: it moves on by `clock.tick` seconds whenever it is read."""

    class Clock:
        now, tick = 0.0, 0.0

        def __call__(self):
            self.now += self.tick
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress.time, "perf_counter", clock)
    return clock


def output(capsys):
    captured = capsys.readouterr()
    return captured.out, captured.err


@pytest.mark.parametrize("run", ["fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch"])
def test_verbose_0_is_silent(capsys, run):
    arguments = {"fit": (X, Y), "evaluate": (X, Y)}.get(run, (X, Y) if "t_on" in run or "n_on" in run else (X,))
    options = {"verbose": 0} if "batch" not in run else {}
    getattr(compiled(), run)(*arguments[: 1 if "predict" in run else 2], **options)
    assert output(capsys) == ("", "")


def test_predict_is_silent_unless_asked(capsys):
    compiled().predict(X)
    assert output(capsys) == ("", "")


def test_verbose_2_prints_one_line_an_epoch(capsys):
    compiled(metrics=["mae"]).fit(X, Y, epochs=3, verbose=2, validation_split=0.5)
    out, err = output(capsys)
    lines = out.splitlines()
    assert len(lines) == 3 and err == ""
    for index, line in enumerate(lines, 1):
        assert re.fullmatch(
            rf"Epoch {index}/3 - \d+\.\ds - loss: \d\.\d{{4}} - mae: \d\.\d{{4}} - val_loss: \d\.\d{{4}} - val_mae: \d\.\d{{4}}", line
        )


@pytest.mark.parametrize("verbose", [1, "auto", True])
def test_verbose_1_shows_a_bar_for_each_epoch_with_its_figures(capsys, verbose):
    compiled(metrics=["mae"]).fit(X, Y, epochs=2, verbose=verbose, validation_split=0.5, batch_size=8)
    out, err = output(capsys)
    assert out == ""
    for epoch in (1, 2):
        final = [line for line in re.split(r"[\r\n]+", err) if f"Epoch {epoch}/2" in line][-1]
        assert "4/4" in final and "100%" in final
        for name in ("loss=", "mae=", "val_loss=", "val_mae="):
            assert name in final


def test_the_bar_shows_running_figures_while_the_epoch_lasts(capsys, clock):
    clock.tick = 0.2
    compiled().fit(X, Y, verbose=1, batch_size=16)
    drawn = [line for line in output(capsys)[1].split("\r") if "loss=" in line]
    assert any("1/4" in line for line in drawn) and any("3/4" in line for line in drawn)


def test_the_bar_of_an_evaluation_and_of_a_prediction(capsys):
    model = compiled()
    model.evaluate(X, Y, verbose=1)
    assert "Evaluate" in output(capsys)[1]
    model.predict(X, verbose=1)
    assert "Predict" in output(capsys)[1]


def test_a_source_of_unknown_length_has_a_bar_without_an_end(capsys):
    model = compiled()
    model.evaluate(iter([(X[:4], Y[:4])] * 3), steps=3, verbose=1)
    assert "3/3" in output(capsys)[1]


@pytest.mark.parametrize(("seconds", "redraws"), [(0.001, 10), (0.05, 100), (0.2, 200)])
def test_the_bar_is_redrawn_ten_times_a_second_at_most(clock, capsys, seconds, redraws):
    bar, reads = Progress(1), []
    bar.begin("Epoch", 1000)
    for _ in range(200 if seconds > 0.01 else 1000):
        clock.now += seconds
        bar.step(lambda: reads.append(1) or {"loss": 0.5})
    bar.abandon()
    assert redraws * 0.85 <= len(reads) <= redraws


def test_figures_are_read_only_when_the_bar_is_drawn():
    bar = Progress(1)
    bar.begin("Epoch", 1000)
    for _ in range(50):
        bar.step(lambda: pytest.fail("the figures were read"))
    bar.abandon()


@pytest.mark.parametrize("verbose", [0, 2])
def test_without_a_bar_no_batch_is_of_interest(verbose):
    assert not Progress(verbose).active


@pytest.mark.parametrize("verbose", [3, -1, "loud", None, 1.5])
def test_other_values_of_verbose_are_an_error_that_changes_nothing(verbose):
    model = compiled()
    before = model.get_weights()
    with pytest.raises(ValueError, match="'verbose' must be 0, 1, 2 or 'auto'"):
        model.fit(X, Y, verbose=verbose)
    assert np.array_equal(before[0], model.get_weights()[0])


def test_the_bar_is_closed_when_an_epoch_is_broken_off(capsys):
    class Broken(Callback):
        def on_batch_end(self, batch, logs=None):
            raise RuntimeError("broken off")

    model = compiled()
    with pytest.raises(RuntimeError, match="broken off"):
        model.fit(X, Y, verbose=1, callbacks=[Broken()])
    capsys.readouterr()
    model.fit(X, Y, verbose=1)
    assert output(capsys)[1].count("Epoch 1/1") >= 1


def test_figures_are_four_digits_and_other_values_as_they_are(capsys):
    line = Progress(2)
    line.begin("Epoch 1/1", 1)
    line.end({"loss": 0.123456, "phase": "warm"})
    assert output(capsys)[0].endswith("loss: 0.1235 - phase: warm\n")


@pytest.mark.parametrize(("value", "shown"), [(1e-6, "1.0000e-06"), (6e29, "6.0000e+29"), (1234567.0, "1234567.0000"), (np.nan, "nan")])
def test_tiny_and_huge_figures_stay_readable(capsys, value, shown):
    line = Progress(2)
    line.begin("Epoch 1/1", 1)
    line.end({"lr": float(value)})
    assert output(capsys)[0].endswith(f" - lr: {shown}\n")


def test_a_line_without_figures_ends_with_the_time_and_is_written_at_once(monkeypatch):
    class Piped(io.StringIO):
        written = ""

        def flush(self):
            self.written = self.getvalue()

    monkeypatch.setattr(sys, "stdout", Piped())
    line = Progress(2)
    line.begin("Predict", 1)
    line.end({})
    assert re.fullmatch(r"Predict - \d\.\ds\n", sys.stdout.written)


def test_the_bar_is_drawn_once_at_the_end(capsys):
    bar = Progress(1)
    bar.begin("Epoch", 4, done=1)
    bar.done = 4
    bar.end({"loss": 0.5})
    assert [line[:11] for line in re.split(r"[\r\n]+", output(capsys)[1]) if line] == ["Epoch:  25%", "Epoch: 100%"]


# ---------------------------------------------------------------------- ProgbarLogger


@pytest.mark.parametrize(("mode", "total"), [("steps", "4/4"), ("samples", "64/64")])
def test_a_logger_shows_the_bar_instead(capsys, mode, total):
    compiled().fit(X, Y, epochs=2, batch_size=16, verbose=1, callbacks=[ProgbarLogger(mode)])
    err = output(capsys)[1]
    finals = [line for line in re.split(r"[\r\n]+", err) if total in line and "100%" in line]
    assert {line.split(":")[0] for line in finals} == {"Epoch 1/2", "Epoch 2/2"}
    assert all("loss=" in line and "size=" not in line for line in finals)


def test_there_is_one_bar_not_two(capsys):
    compiled().fit(X, Y, batch_size=16, verbose=2, callbacks=[ProgbarLogger()])
    assert len(output(capsys)[0].splitlines()) == 1


@pytest.mark.parametrize("verbose", [0, 2])
def test_the_logger_wants_no_batches_unless_it_draws(verbose, capsys):
    logger = ProgbarLogger()
    callbacks = CallbackList([logger], verbose=verbose, epochs=1, steps=2)
    assert not any(callbacks.listeners(f"on_{stage}_batch_end") for stage in ("train", "test", "predict"))
    compiled().fit(X, Y, verbose=verbose, callbacks=[logger])
    assert bool(output(capsys)[0]) == (verbose == 2)


def test_validation_has_no_bar_of_its_own_with_a_logger(capsys):
    compiled().fit(X, Y, verbose=1, validation_split=0.5, callbacks=[ProgbarLogger()])
    err = output(capsys)[1]
    assert "Evaluate" not in err and "val_loss=" in err


@pytest.mark.parametrize(("call", "title"), [("evaluate", "Evaluate"), ("predict", "Predict")])
def test_the_logger_in_evaluate_and_predict(capsys, call, title):
    arguments = (X, Y) if call == "evaluate" else (X,)
    getattr(compiled(), call)(*arguments, batch_size=16, verbose=1, callbacks=[ProgbarLogger()])
    err = output(capsys)[1]
    assert title in err and "4/4" in err


def test_the_logger_in_a_loop_of_ones_own(capsys, clock):
    clock.tick = 0.2
    callbacks = CallbackList(add_progbar=True, verbose=1, epochs=1, steps=2)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for batch in range(2):
        callbacks.on_train_batch_end(batch, {"loss": 0.5 + batch})
    callbacks.on_epoch_end(0, {"loss": 1.0})
    callbacks.on_train_end()
    err = output(capsys)[1]
    assert "1/2" in err and "loss=0.5000" in err and "2/2" in err


def test_a_logger_that_is_used_again_after_an_error_begins_anew(capsys):
    class Broken(Callback):
        def on_batch_end(self, batch, logs=None):
            raise RuntimeError("broken off")

    logger, model = ProgbarLogger(), compiled()
    with pytest.raises(RuntimeError, match="broken off"):
        model.fit(X, Y, verbose=1, callbacks=[logger, Broken()])
    output(capsys)
    model.evaluate(X, Y, verbose=1, callbacks=[logger])
    assert "Evaluate" in output(capsys)[1]


def test_what_is_counted_is_steps_or_samples():
    with pytest.raises(ValueError, match="'count_mode' must be one of 'steps', 'samples'; got 'batches'"):
        ProgbarLogger("batches")
