"""`Figures`: what is gathered in an epoch, by names, and put aside, kept and taken up again."""

import pytest
import torch

from torchkeras_fn import Input, Model
from torchkeras_fn.engine.outputs.figures import Figures
from torchkeras_fn.engine.outputs.output import Output
from torchkeras_fn.layers import Flatten
from torchkeras_fn.losses import MeanSquaredError
from torchkeras_fn.metrics import Mean, Metric


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


class Rows(Metric):
    """Returns the very state that it counts in, or a part of it, as Keras' own example does."""

    def __init__(self, result):
        super().__init__(name="rows")
        self.count, self.taken = self.add_weight(shape=(2,), initializer="zeros"), result

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(torch.full((2,), float(len(y_pred))))

    def result(self):
        return self.taken(self.count)

    def reset_state(self):
        self.count.assign(0.0)


class OwnStep(Model):
    def train_step(self, data):
        _x, y = data
        self.own.update_state(y, y)
        return {"rows": self.own.result()}


@pytest.mark.parametrize("result", [lambda count: count, lambda count: count[0]])
@pytest.mark.parametrize("cls", [Model, OwnStep])
def test_figures_of_the_training_stay_while_the_validation_gathers_anew(cls, result):
    x, inputs, rows = torch.zeros(6, 1), Input((1,)), Rows(result)
    model = cls(inputs, Flatten()(inputs))
    model.own = rows
    model.compile("sgd", "mse", metrics=[rows])
    history = model.fit(x, x, batch_size=4, epochs=2, validation_data=(x[:1], x[:1]), verbose=0).history
    assert [torch.as_tensor(figure).tolist() for figure in history["rows"]] == [result(torch.full((2,), 6.0)).tolist()] * 2
