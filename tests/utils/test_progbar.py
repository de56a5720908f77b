"""The progress bar for a loop of one's own: what it counts, averages and shows."""

import pytest

from torchkeras_fn.utils import Progbar


def test_figures_are_means_over_the_steps_they_stand_for():
    bar = Progbar(10, verbose=0)
    bar.update(1, values=[("loss", 4.0)])
    bar.update(4, values=[("loss", 0.0), ("accuracy", 1.0)])
    assert bar.means == {"loss": 1.0, "accuracy": 1.0}


def test_a_stateful_figure_is_shown_as_it_is():
    bar = Progbar(2, verbose=0, stateful_metrics=["auc"])
    bar.add(1, values=[("auc", 0.5)])
    bar.add(1, values=[("auc", 0.75)])
    assert bar.means == {"auc": 0.75} and bar.seen_so_far == 2


def test_the_bar_ends_with_the_last_step(capsys):
    bar = Progbar(2, width=10)
    bar.update(1, values=[("loss", 2.0)])
    bar.update(2, values=[("loss", 1.0)])
    shown = capsys.readouterr().err
    assert "2/2" in shown and "loss=1.5000" in shown and shown.endswith("\n")


def test_one_line_is_printed_at_the_end(capsys):
    bar = Progbar(2, verbose=2)
    bar.add(1, values=[("loss", 2.0)])
    bar.add(1, values=[("loss", 1.0)])
    assert capsys.readouterr().out == "2/2 - loss: 1.5000\n"


def test_a_loop_of_unknown_length_ends_when_it_is_told(capsys):
    bar = Progbar(None, verbose=2)
    bar.update(3, values=[("loss", 2.0)])
    assert capsys.readouterr().out == ""
    bar.update(4, finalize=True)
    assert capsys.readouterr().out == "4/4 - loss: 2.0000\n"


def test_an_update_of_no_step_changes_no_mean():
    bar = Progbar(2, verbose=0)
    bar.update(0, values=[("loss", 5.0)])
    assert bar.means == {"loss": 0.0}


def test_another_verbosity_is_refused():
    with pytest.raises(ValueError, match="verbose.*got 3"):
        Progbar(2, verbose=3)
