"""`Figures`: what is gathered in an epoch, by names, and put aside, kept and taken up again."""

import pytest
import torch

from torchkeras_fn.engine.outputs.figures import Figures
from torchkeras_fn.engine.outputs.output import Output
from torchkeras_fn.losses import MeanSquaredError
from torchkeras_fn.metrics import Mean


def gathered(*values):
    figures = Figures()
    figures.outputs = [Output("a", MeanSquaredError(), None, []), Output("b", MeanSquaredError(), None, [])]
    figures.added["distance"] = Mean("distance")
    for value in values:
        for mean in (figures.mean_loss, figures.added["distance"], *(output.mean_loss for output in figures.outputs)):
            mean.add(torch.tensor(value), 1)
    return figures


def test_figures_are_the_loss_those_of_the_outputs_and_what_is_added():
    figures = gathered(1.0, 3.0)
    assert figures.metrics_names == list(figures.running) == ["loss", "a_loss", "b_loss", "distance"]
    assert figures.running.numbers() == dict.fromkeys(figures.running, 2.0)


def test_a_loss_that_nobody_has_seen_is_no_figure():
    assert dict(Figures(sees_loss=False).running) == {}


def test_figures_apart_leave_those_so_far():
    figures = gathered(1.0, 3.0)
    with figures.apart():
        figures.mean_loss.add(torch.tensor(7.0), 1)
        assert float(figures.running["loss"]) == 7.0
    assert float(figures.running["loss"]) == 2.0


def test_figures_go_on_from_what_was_kept():
    figures = gathered()
    figures.load_state_dict(gathered(1.0, 3.0).state_dict())
    figures.mean_loss.add(torch.tensor(5.0), 1)
    assert figures.running.numbers()["loss"] == pytest.approx(3.0)
