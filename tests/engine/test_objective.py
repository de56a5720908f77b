"""`Objective`: the forms of compile's arguments, the figures of several outputs, weights and masks, and what is refused."""

import copy
import pickle
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from torchkeras_fn import Input, Model, Trainer, backend, losses, metrics
from torchkeras_fn.engine.lowered.training_outputs import TrainingOutputs
from torchkeras_fn.engine.objective import Objective
from torchkeras_fn.layers import Dense, Embedding, Lambda

A = torch.tensor([[0.2], [0.9], [0.6]])
B = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
Y_A = torch.tensor([[0.0], [1.0], [0.0]])
Y_B = torch.tensor([0, 1, 1])
MSE = (A - Y_A).square().mean().item()
SCCE = F.nll_loss(B.log(), Y_B).item()


def run(objective, predictions=(A, B), targets=(Y_A, Y_B), weights=None, masks=None, added=()):
    """Let an objective take in one batch, and return the total loss and all figures as numbers."""
    outputs = TrainingOutputs(list(predictions), list(masks or [None] * len(predictions)), losses=added)
    objective.reset()
    total = objective.loss(outputs, list(targets), weights)
    objective.track(total, outputs, list(targets), weights)
    return total.item(), {name: float(figure) for name, figure in objective.running.items()}


def two(loss=("mse", "sparse_categorical_crossentropy"), **options):
    loss = list(loss) if isinstance(loss, tuple) else loss
    return Objective(loss, output_names=["a", "b"], **options)


# ---------------------------------------------------------------------- losses


@pytest.mark.parametrize(
    "loss",
    [
        ("mse", "sparse_categorical_crossentropy"),
        {"a": "mse", "b": "sparse_categorical_crossentropy"},
        {"b": losses.sparse_categorical_crossentropy, "a": losses.MeanSquaredError},
        (nn.MSELoss(), losses.SparseCategoricalCrossentropy()),
        (F.mse_loss, lambda y_true, y_pred: F.nll_loss(y_pred.log(), y_true, reduction="none")),
        ({"class_name": "MeanSquaredError", "config": {}}, "scce"),
    ],
    ids=["list", "dict", "objects", "torch", "functions", "config"],
)
def test_the_total_is_the_sum_of_the_losses_of_the_outputs(loss):
    total, figures = run(two(loss))
    assert total == pytest.approx(MSE + SCCE)
    assert figures == {"loss": pytest.approx(MSE + SCCE), "a_loss": pytest.approx(MSE), "b_loss": pytest.approx(SCCE)}


def test_one_loss_is_for_every_output():
    total, figures = run(two("mse"), (A, A), (Y_A, Y_A + 1))
    assert total == pytest.approx(MSE + (A - Y_A - 1).square().mean().item())


@pytest.mark.parametrize(
    ("loss_weights", "factors"),
    [
        (None, (1, 1)),
        ([2, 0.5], (2, 0.5)),
        ({"b": 3.0}, (1, 3)),
        ({"a": np.float32(2), "b": 0}, (2, 0)),
        (0.5, (0.5, 0.5)),
        (np.float64(2), (2, 2)),
    ],
    ids=str,
)
def test_loss_weights_multiply_in_the_total_but_not_in_the_figures(loss_weights, factors):
    total, figures = run(two(loss_weights=loss_weights))
    assert total == pytest.approx(factors[0] * MSE + factors[1] * SCCE)
    assert figures["a_loss"] == pytest.approx(MSE) and figures["b_loss"] == pytest.approx(SCCE)


@pytest.mark.parametrize("loss", [(None, "scce"), {"b": "scce"}], ids=["list", "dict"])
def test_an_output_without_a_loss_counts_for_nothing_and_has_no_figures(loss):
    objective = two(loss, metrics={"a": ["mse"], "b": ["acc"]})
    total, figures = run(objective, targets=(None, Y_B))
    assert total == pytest.approx(SCCE)
    assert list(figures) == objective.metrics_names == ["loss", "b_loss", "b_acc"]
    assert objective.targets == ["b"]


def test_terms_are_added_to_the_total_each_by_its_mean():
    total, figures = run(two(), added=(torch.tensor(0.5), torch.tensor([1.0, 3.0]), 0.25))
    assert total == pytest.approx(MSE + SCCE + 0.5 + 2.0 + 0.25)
    assert figures["loss"] == pytest.approx(total)


def test_no_losses_and_no_terms_are_nothing_to_train_on():
    with pytest.raises(ValueError, match="nothing to train on"):
        run(Objective(None, output_names=["a", "b"]))


def test_terms_alone_are_enough():
    assert run(Objective(None, output_names=["a"]), (A,), (None,), added=(torch.tensor(0.5),)) == (0.5, {"loss": 0.5})


def test_the_loss_without_a_reduction_counts_by_its_mean():
    assert run(Objective(losses.MeanSquaredError(reduction="none"), output_names=["a"]), (A,), (Y_A,))[0] == pytest.approx(MSE)


def test_the_summed_loss_is_a_sum():
    assert run(Objective(losses.MeanSquaredError(reduction="sum"), output_names=["a"]), (A,), (Y_A,))[0] == pytest.approx(3 * MSE)


def test_an_epoch_is_the_mean_over_samples_of_unequal_batches():
    objective = two()
    objective.reset()
    for rows in (slice(0, 2), slice(2, 3)):
        outputs, targets = TrainingOutputs([A[rows], B[rows]], [None, None]), [Y_A[rows], Y_B[rows]]
        objective.track(objective.loss(outputs, targets, None), outputs, targets, None)
    assert float(objective.running["loss"]) == pytest.approx(MSE + SCCE)
    assert float(objective.running["b_loss"]) == pytest.approx(SCCE)


# ---------------------------------------------------------------------- metrics


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (None, []),
        (["acc"], ["a_acc", "b_acc"]),
        ("accuracy", ["a_accuracy", "b_accuracy"]),
        (["acc", "accuracy"], ["a_acc", "a_accuracy", "b_acc", "b_accuracy"]),
        ({"b": "acc"}, ["b_acc"]),
        ({"b": ["acc", "scce"], "a": "mae"}, ["a_mae", "b_acc", "b_scce"]),
        ([["mae", "mse"], ["acc"]], ["a_mae", "a_mse", "b_acc"]),
        ([["mae"], []], ["a_mae"]),
        ([["mae"], None], ["a_mae"]),
        ([["mae"], "acc"], ["a_mae", "b_acc"]),
        ([metrics.BinaryAccuracy(name="hits")], ["a_hits", "b_hits"]),
        ([None, "mae"], ["b_mae"]),
    ],
    ids=str,
)
def test_forms_of_metrics(chosen, names):
    objective = two("mse", metrics=chosen)
    assert objective.metrics_names == ["loss", "a_loss", "b_loss", *names]


@pytest.mark.parametrize(
    ("chosen", "name"),
    [
        ("mse", "mse"),
        ("MeanSquaredError", "MeanSquaredError"),
        (losses.mae, "mean_absolute_error"),
        (metrics.BinaryAccuracy, "binary_accuracy"),
    ],
)
def test_one_output_has_no_name_before_its_figures(chosen, name):
    assert Objective("mse", metrics=[chosen], output_names=["a"]).metrics_names == ["loss", name]


def test_metrics_are_figures_of_their_output():
    _, figures = run(two(metrics=["acc"], weighted_metrics={"a": "mae"}))
    assert figures["a_acc"] == pytest.approx(2 / 3) and figures["b_acc"] == pytest.approx(2 / 3)
    assert figures["a_mae"] == pytest.approx((A - Y_A).abs().mean().item())


def test_a_function_is_a_metric_under_its_name():
    def worst(y_true, y_pred):
        return (y_true - y_pred).abs().max()

    _, figures = run(Objective("mse", metrics=[worst], output_names=["a"]), (A,), (Y_A,))
    assert figures["worst"] == pytest.approx(0.6)


def test_metrics_of_one_name_are_numbered():
    chosen = [lambda y_true, y_pred: y_pred, lambda y_true, y_pred: y_true]
    objective = Objective("mse", metrics=chosen, output_names=["a"])
    _, figures = run(objective, (A,), (Y_A,))
    assert objective.metrics_names == list(figures) == ["loss", "<lambda>", "<lambda>_1"]
    assert figures["<lambda>"] != figures["<lambda>_1"]


def test_a_function_called_loss_does_not_hide_the_loss():
    def loss(y_true, y_pred):
        return y_pred

    objective = Objective("mse", metrics=[loss], output_names=["a"])
    _, figures = run(objective, (A,), (Y_A,))
    assert list(figures) == ["loss", "loss_1"] and figures["loss"] == pytest.approx(MSE)


def test_one_metric_object_for_several_outputs_does_not_mix_their_figures():
    _, figures = run(two("mse", metrics=[metrics.get("mae")]), (A, A), (Y_A, A))
    assert figures["b_mae"] == 0.0 and figures["a_mae"] == pytest.approx((A - Y_A).abs().mean().item())


def test_a_metric_object_is_the_users_own_and_can_be_read():
    mine = metrics.get("mae")
    _, figures = run(Objective("mse", metrics=[mine], output_names=["a"]), (A,), (Y_A,))
    assert float(mine.result()) == figures["mae"]


def test_a_weighted_metric_beside_a_plain_one_has_a_name_of_its_own():
    objective = two("mse", metrics=["mse"], weighted_metrics=["mse", "mae"])
    names = ["loss", "a_loss", "b_loss"]
    assert objective.metrics_names == [*names, "a_mse", "a_weighted_mse", "a_mae", "b_mse", "b_weighted_mse", "b_mae"]


def test_figures_come_in_the_order_of_metrics_names():
    objective = two(metrics=["acc"], weighted_metrics=["acc"])
    _, figures = run(objective)
    assert list(figures) == objective.metrics_names


# ---------------------------------------------------------------------- weights and masks

WEIGHT = torch.tensor([2.0, 0.0, 0.5])


def test_sample_weights_multiply_the_loss_of_their_output():
    _, figures = run(two(), weights=[None, WEIGHT])
    values = F.nll_loss(B.log(), Y_B, reduction="none")
    assert figures["a_loss"] == pytest.approx(MSE)
    assert figures["b_loss"] == pytest.approx((values * WEIGHT).sum().item() / 3)


def test_plain_metrics_leave_the_weights_out_and_weighted_ones_count_them():
    _, figures = run(Objective("mse", metrics=["acc"], weighted_metrics=["acc"], output_names=["a"]), (A,), (Y_A,), [WEIGHT])
    assert figures["acc"] == pytest.approx(2 / 3)
    assert figures["weighted_acc"] == pytest.approx(2 / 2.5)


@pytest.mark.parametrize(
    "loss",
    ["mse", "mae", losses.MeanSquaredError(), nn.SmoothL1Loss(), lambda y_true, y_pred: (y_true - y_pred).abs().mean(-1)],
    ids=["mse", "mae", "object", "torch", "function"],
)
@pytest.mark.parametrize("mask", [None, torch.tensor([True, False, True])], ids=["all", "masked"])
def test_a_weighted_metric_that_is_the_loss_agrees_with_it(loss, mask):
    objective = Objective(loss, weighted_metrics=[loss], output_names=["a"])
    objective.reset()
    for rows in (slice(0, 2), slice(2, 3)):
        part = None if mask is None else mask[rows]
        outputs = TrainingOutputs([A[rows]], [part])
        objective.track(objective.loss(outputs, [Y_A[rows]], [WEIGHT[rows]]), outputs, [Y_A[rows]], [WEIGHT[rows]])
    found = [float(figure) for figure in objective.running.values()]
    assert found[0] == pytest.approx(found[1], abs=1e-7) and found[0] > 0


STEPS = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]])
MASK = torch.tensor([[True, True, False], [True, False, False]])
ZEROS = torch.zeros(2, 3, 1)


def test_a_masked_loss_is_the_mean_over_the_unmasked_steps():
    total, figures = run(Objective("mae", metrics=["mse"], output_names=["a"]), (STEPS,), (ZEROS,), masks=(MASK,))
    assert total == pytest.approx((1 + 2 + 4) / 3)
    assert figures["mse"] == pytest.approx((1 + 4 + 16) / 3)


@pytest.mark.parametrize("weight", [torch.tensor([2.0, 0.5]), torch.tensor([[2.0, 2.0, 9.0], [0.5, 9.0, 9.0]])], ids=["samples", "steps"])
def test_weights_count_within_the_mask(weight):
    total, _ = run(Objective("mae", output_names=["a"]), (STEPS,), (ZEROS,), [weight], (MASK,))
    assert total == pytest.approx((2 * (1 + 2) + 0.5 * 4) / 3)


def test_a_masked_sum_is_the_sum_over_the_unmasked_steps():
    total, _ = run(Objective(losses.MeanAbsoluteError(reduction="sum"), output_names=["a"]), (STEPS,), (ZEROS,), masks=(MASK,))
    assert total == pytest.approx(1 + 2 + 4)


def test_a_mask_that_hides_everything_gives_zero_and_no_nan():
    total, _ = run(Objective("mae", output_names=["a"]), (STEPS,), (ZEROS,), masks=(torch.zeros(2, 3, dtype=torch.bool),))
    assert total == 0.0


def test_torch_losses_are_masked_too():
    total, _ = run(Objective(nn.L1Loss(), output_names=["a"]), (STEPS,), (ZEROS,), masks=(MASK,))
    assert total == pytest.approx((1 + 2 + 4) / 3)


def test_masks_come_from_the_layers_of_a_model():
    words = Input(shape=(3,))
    outputs = Dense(1, kernel_initializer="ones")(Embedding(9, 1, embeddings_initializer="ones", mask_zero=True)(words))
    model = Model(words, outputs)
    model.compile("sgd", "mae", metrics=["mse"])
    x, y = np.array([[5, 2, 0], [4, 0, 0]]), np.array([[0.0, -1.0, 70.0], [-4.0, 70.0, 70.0]])
    assert model.evaluate(x, y, verbose=0) == pytest.approx([(1 + 2 + 5) / 3, (1 + 4 + 25) / 3])


# ---------------------------------------------------------------------- logits


def classifier(activation):
    x = Input(shape=(1,))
    return Model(x, Dense(3 if activation == "softmax" else 1, activation=activation, kernel_initializer="ones", name="out")(x))


def test_metrics_see_probabilities_though_the_loss_sees_logits():
    seen = []

    def largest(y_true, y_pred):
        seen.append(y_pred)
        return y_pred.amax(-1)

    model = classifier("softmax")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy", largest, "scce"])
    loss, accuracy, top, again = model.evaluate(np.ones((4, 1)), np.zeros(4), verbose=0)
    torch.testing.assert_close(seen[0], torch.full((4, 3), 1 / 3))
    assert top == pytest.approx(1 / 3)
    assert again == pytest.approx(loss)


@pytest.mark.parametrize(
    ("activation", "loss", "y"),
    [
        ("softmax", "categorical_crossentropy", np.eye(3)[[1, 1]]),
        ("softmax", "sparse_categorical_crossentropy", [1, 1]),
        ("sigmoid", "bce", [0, 0]),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_saturated_probabilities_give_finite_losses_and_move_the_weights(activation, loss, y, weighted):
    model = classifier(activation)
    kernel = [[300.0, -300.0, 0.0]] if activation == "softmax" else [[300.0]]
    model.set_weights([np.array(kernel), np.zeros(len(kernel[0]))])
    model.compile("sgd", loss, metrics=["accuracy", loss])
    weights = {"sample_weight": np.ones(2)} if weighted else {}
    figures = model.train_on_batch(np.ones((2, 1)), np.array(y), **weights)
    assert figures[0] == pytest.approx(600.0 if activation == "softmax" else 300.0)
    assert figures[2] == pytest.approx(figures[0]) and figures[1] == 0.0
    assert not np.array_equal(model.get_weights()[0], kernel) and np.isfinite(model.get_weights()[0]).all()


def test_a_loss_of_ones_own_sees_probabilities():
    class Mine(losses.SparseCategoricalCrossentropy):
        def call(self, y_true, y_pred):
            return y_pred.sum(-1)

    model = classifier("softmax")
    model.compile("sgd", Mine())
    assert model.evaluate(np.ones((2, 1)), np.zeros(2), verbose=0) == pytest.approx(1.0)


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"loss": ["mse"]}, ValueError, "'loss' has 1 entries, but the model has 2 outputs"),
        ({"loss": ["mse"] * 3}, ValueError, "'loss' has 3 entries"),
        ({"loss": ()}, ValueError, "No output has a loss"),
        ({"loss": []}, ValueError, "No output has a loss"),
        ({"loss": {"c": "mse"}}, ValueError, r"'loss' names 'c', which is no output. The outputs are \['a', 'b'\]"),
        ({"loss": {}}, ValueError, "No output has a loss"),
        ({"loss": "mes"}, ValueError, "Unknown loss 'mes'"),
        ({"loss": {"a": "mes"}}, ValueError, "Unknown loss 'mes'"),
        ({"loss": 3}, ValueError, "got 3 of type int"),
        ({"loss": "mse", "metrics": ["acuracy"]}, ValueError, "Unknown metric 'acuracy'"),
        ({"loss": "mse", "metrics": {"c": "acc"}}, ValueError, "'metrics' names 'c'"),
        ({"loss": "mse", "metrics": [["acc"]]}, ValueError, "'metrics' has 1 entries"),
        ({"loss": "mse", "metrics": {"a": 3}}, ValueError, "got 3 of type int"),
        ({"loss": "mse", "weighted_metrics": ["acuracy"]}, ValueError, "Unknown metric 'acuracy'"),
        ({"loss": "mse", "weighted_metrics": {"c": "acc"}}, ValueError, "'weighted_metrics' names 'c'"),
        ({"loss": "mse", "loss_weights": [1.0]}, ValueError, "'loss_weights' has 1 entries"),
        ({"loss": "mse", "loss_weights": {"c": 1.0}}, ValueError, "'loss_weights' names 'c'"),
        ({"loss": "mse", "loss_weights": (1.0, 2.0)}, TypeError, "loss_weights is a number, or a list or dict of numbers, got a tuple"),
        ({"loss": "mse", "loss_weights": {1.0, 2.0}}, TypeError, "got a set"),
        ({"loss": "mse", "loss_weights": "1"}, TypeError, "got a str"),
    ],
    ids=str,
)
def test_mistakes_are_named(options, error, message):
    with pytest.raises(error, match=message):
        Objective(**options, output_names=["a", "b"])


@pytest.mark.parametrize("options", [{"loss": "mes"}, {"loss": "mse", "metrics": ["acuracy"]}, {"loss": {"x": "mes"}}, {"loss": []}])
def test_mistakes_are_told_before_the_outputs_are_known(options):
    with pytest.raises(ValueError, match="Unknown|No output has a loss"):
        Objective(**options)


def test_a_metric_is_known_when_it_is_told_what_it_is_of():
    objective = Objective("mse", ["mae", "acc"], output_names=["a"])
    before = [metric.name for metric in objective.known_metrics()]
    run(objective, (A,), (Y_A,))
    assert before == ["loss", "a_loss", "mae"]
    assert [type(metric) for metric in objective.known_metrics()[3:]] == [metrics.BinaryAccuracy]


def test_figures_are_set_aside_for_a_run_in_between():
    objective = two(metrics=["acc"])
    _, before = run(objective)
    with objective.apart():
        _, other = run(objective, (A * 0, B))
        assert other != before
    assert {name: float(figure) for name, figure in objective.running.items()} == before


def test_figures_are_set_aside_before_the_first_batch_too():
    objective = two("mse", metrics=["acc", metrics.BinaryAccuracy(name="hits")])
    with objective.apart():
        run(objective, (A, A), (Y_A, Y_A))
    assert all(float(figure) == 0.0 for figure in objective.running.values())


def test_an_output_listed_twice_goes_by_its_name_with_or_without_a_number():
    objective = Objective({"a": "mse", "b": "mae"}, loss_weights={"a": 2.0}, output_names=["a", "b", "b_1"])
    assert [type(output.loss).__name__ for output in objective.outputs] == ["MeanSquaredError", "MeanAbsoluteError", "MeanAbsoluteError"]


# ---------------------------------------------------------------------- outputs that are known late, copies


@pytest.mark.parametrize("predictions", [{"a": A, "b": B}, [A, B], A])
def test_outputs_are_named_after_what_a_module_returns(predictions):
    objective = Objective("mse")
    objective.outputs_for(predictions)
    expected = (
        list(predictions) if isinstance(predictions, dict) else ["output_1", "output_2"] if isinstance(predictions, list) else ["output_1"]
    )
    assert objective.output_names == expected


def test_a_dict_of_targets_goes_by_name():
    objective = two()
    outputs = TrainingOutputs([A, B], [None, None])
    assert objective.loss(outputs, {"b": Y_B, "a": Y_A}, None).item() == pytest.approx(MSE + SCCE)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_keep_the_figures_and_go_their_own_way(copied):
    objective = two(metrics=[["acc", "mae"], ["acc"]], weighted_metrics={"a": "mse"}, loss=("bce", "scce"))
    objective.outputs[0].accept_logits("sigmoid")
    run(objective, metrics_inputs := (A, B), (Y_A, Y_B))
    before = {name: float(figure) for name, figure in objective.running.items()}
    again = copied(objective)
    _, figures = run(again, metrics_inputs, (Y_A, Y_B))
    assert figures == pytest.approx(before)
    again.reset()
    assert {name: float(figure) for name, figure in objective.running.items()} == before


@pytest.mark.parametrize("kind", ["loss", "metrics"])
def test_a_layer_is_neither_a_loss_nor_a_metric(kind):
    with pytest.raises(TypeError, match="Dense is a layer, which no"):
        Objective(**{"loss": "mse", kind: Dense(1)})


@pytest.mark.parametrize("kind", ["loss", "metrics", "weighted_metrics"])
def test_a_function_that_writes_into_what_it_is_given_does_not_reach_the_data(kind):
    def wild(y_true, y_pred):
        y_true -= 1
        y_pred *= 0
        return (y_true - y_pred).abs().mean(-1)

    x = Input(shape=(1,))
    model = Model(x, Dense(1)(x))
    model.compile(**{"optimizer": "sgd", "loss": "mse", kind: wild if kind == "loss" else [wild]}, device="cpu")
    y = torch.ones(4, 1)
    model.train_on_batch(torch.ones(4, 1), y)
    model.evaluate(torch.ones(4, 1), y, verbose=0)
    assert torch.equal(y, torch.ones(4, 1))


def test_more_targets_than_outputs_are_refused():
    with pytest.raises(ValueError, match=r"y holds 2 targets, but the outputs are \['a'\]"):
        run(Objective("mse", output_names=["a"]), (A,), (Y_A, Y_A))


def test_a_step_of_ones_own_without_a_loss_needs_a_test_step():
    class Own(Trainer, nn.Linear):
        def train_step(self, batch):
            return {"loss": self(batch[0]).mean()}

    x, y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    net = Own(3, 1)
    net.compile("sgd", device="cpu")
    with pytest.raises(ValueError, match="need a test_step"):
        net.fit(x, y, validation_data=(x, y), verbose=0)


# ---------------------------------------------------------------------- outputs whose names come with the first batch


class Named(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


def in_a_dict(first, second):
    return {"first": first, "second": second}


class TwoHeads(Trainer, nn.Module):
    """Returns two outputs in what `pack` makes of them."""

    def __init__(self, pack):
        super().__init__()
        torch.manual_seed(0)
        self.pack, self.first, self.second = pack, nn.Linear(3, 1), nn.Linear(3, 2)

    def forward(self, x):
        if len(x) not in (4, 8):
            raise ValueError("no batch of this size is expected")
        return self.pack(self.first(x), self.second(x))


HEADS_X = torch.linspace(-1, 1, 24).view(8, 3)
HEADS_Y = {"second": torch.arange(8) % 2, "first": HEADS_X.sum(1, keepdim=True)}
HEADS_LOSS = {"first": "mse", "second": nn.CrossEntropyLoss()}


class Rows(torch.utils.data.Dataset):
    def __init__(self, *keys):
        self.keys = keys

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return HEADS_X[index], {key: HEADS_Y[key][index] for key in self.keys}


def loader(*keys, **options):
    return DataLoader(Rows(*keys), 4, **options)


def by_hand(pack, weights=(1.0, 1.0)):
    net = TwoHeads(pack)
    losses_by_hand = []
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for rows in (slice(0, 4), slice(4, 8)):
        found = net(HEADS_X[rows])
        first, second = found.values() if isinstance(found, dict) else found
        loss = weights[0] * F.mse_loss(first, HEADS_Y["first"][rows]) + weights[1] * F.cross_entropy(second, HEADS_Y["second"][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses_by_hand.append(loss.item())
    return sum(losses_by_hand) / 2, net.state_dict()


def two_heads(pack, loss=HEADS_LOSS, **options):
    net = TwoHeads(pack)
    net.compile(torch.optim.SGD(net.parameters(), 0.1), loss, **options)
    return net


@pytest.mark.parametrize("keys", [("first", "second"), ("second", "first")])
@pytest.mark.parametrize("pack", [in_a_dict, Named])
def test_targets_in_batches_go_by_name_in_whatever_order(pack, keys):
    net = two_heads(pack)
    history = net.fit(loader(*keys), verbose=0).history
    loss, state = by_hand(pack)
    assert list(history) == ["loss", "first_loss", "second_loss"] and history["loss"] == [pytest.approx(loss, rel=1e-6)]
    assert all(torch.allclose(weight, state[name], atol=1e-7) for name, weight in net.state_dict().items())


@pytest.mark.parametrize("pack", [in_a_dict, Named])
def test_a_target_for_the_second_output_alone(pack):
    net = two_heads(pack, {"second": HEADS_LOSS["second"]})
    expected = F.cross_entropy(net.second(HEADS_X), HEADS_Y["second"]).item()
    assert net.evaluate(loader("second"), verbose=0)[0] == pytest.approx(expected, rel=1e-6)


def test_arrays_go_by_name_where_the_outputs_cannot_be_told_before():
    net = two_heads(in_a_dict)
    history = net.fit(HEADS_X, HEADS_Y, batch_size=4, shuffle=False, verbose=0).history
    assert history["loss"] == [pytest.approx(by_hand(in_a_dict)[0], rel=1e-6)]


def test_weights_of_samples_in_batches_go_by_name():
    batches = [(x, y, {"first": torch.zeros(4)}) for x, y in loader("second", "first")]
    figures = two_heads(in_a_dict).fit(iter(batches), steps_per_epoch=2, verbose=0).history
    assert figures["first_loss"] == [0.0] and figures["second_loss"][0] > 0


@pytest.mark.parametrize("class_weight", [{"second": {0: 0.0, 1: 0.0}}, [None, {0: 0.0, 1: 0.0}]])
def test_weights_of_classes_by_output_count_from_the_first_batch_on(class_weight):
    class Seen(TwoHeads):
        def forward(self, x):
            return self.pack(self.first(x), self.second(x))

    net = Seen(in_a_dict)
    net.compile("sgd", HEADS_LOSS)
    figures = net.fit(loader("second", "first"), class_weight=class_weight, verbose=0).history
    assert figures["second_loss"] == [0.0] and figures["first_loss"][0] > 0


def test_outputs_without_names_take_the_targets_of_a_dict_in_its_order():
    net = two_heads(lambda first, second: [first, second], list(HEADS_LOSS.values()))
    batches = [(x, {"a": y["first"], "b": y["second"]}) for x, y in loader("first", "second")]
    history = net.fit(iter(batches), steps_per_epoch=2, verbose=0).history
    assert history["loss"] == [pytest.approx(by_hand(in_a_dict)[0], rel=1e-6)]


def test_targets_under_other_names_than_those_of_the_outputs_are_refused():
    with pytest.raises(ValueError, match="'first' has a loss and needs targets"):
        two_heads(in_a_dict).fit(iter([(HEADS_X, {"one": HEADS_Y["first"], "two": HEADS_Y["second"]})]), steps_per_epoch=1, verbose=0)


def test_predictions_of_a_named_tuple_have_its_fields():
    predicted = two_heads(Named).predict(HEADS_X)
    assert type(predicted) is Named and predicted.second.shape == (8, 2)


def test_a_step_of_ones_own_is_given_the_targets_by_name():
    class Own(TwoHeads):
        def train_step(self, batch):
            x, y, weights = batch
            assert set(y) == {"first", "second"} and weights is None
            return super().train_step(batch)

    net = Own(in_a_dict)
    net.compile(torch.optim.SGD(net.parameters(), 0.1), HEADS_LOSS)
    assert net.fit(loader("second", "first"), verbose=0).history["loss"] == [pytest.approx(by_hand(in_a_dict)[0], rel=1e-6)]


def test_the_weight_of_a_loss_may_be_a_variable_that_is_set_later():
    weight = backend.variable(0.0)
    objective = two(loss_weights=[weight, 1.0])
    assert run(objective)[0] == pytest.approx(SCCE)
    backend.set_value(weight, 3.0)
    assert run(objective)[0] == pytest.approx(3 * MSE + SCCE)


def test_a_layer_may_compute_the_loss_as_a_single_number():
    x, target = Input(shape=(3,)), Input(shape=(2,))
    loss = Lambda(lambda pair: (pair[0] - pair[1]).square().sum(), name="loss_of_all")([Dense(2, kernel_initializer="ones")(x), target])
    model = Model([x, target], loss)
    model.compile("sgd", loss={"loss_of_all": lambda y_true, y_pred: y_pred})
    assert model.train_on_batch([np.ones((4, 3)), np.ones((4, 2))], np.zeros(4)) == 32.0


def test_a_single_number_is_no_output_for_other_losses():
    x = Input(shape=(3,))
    model = Model(x, Lambda(lambda x: x.sum())(x))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"do not fit predictions of shape \(\)"):
        model.test_on_batch(np.ones((4, 3)), np.zeros(4))
