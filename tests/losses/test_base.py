"""What all losses share: reductions, weights, masks, types, and what a subclass of one's own may do."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torchkeras_fn import Input, Sequential, config, losses
from torchkeras_fn.layers import Dense, Embedding
from torchkeras_fn.losses.base import AVERAGES

P = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]])
ONE_HOT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
CLASSES = torch.tensor([0, 2])
BITS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])

# class, options, targets, predictions, the value of each sample
VALUES = [
    (losses.MeanSquaredError, {}, BITS, P, [(0.09 + 0.04 + 0.81) / 3, (0.09 + 0.16 + 0.49) / 3]),
    (losses.MeanAbsoluteError, {}, BITS, P, [(0.3 + 0.2 + 0.9) / 3, (0.3 + 0.4 + 0.7) / 3]),
    (losses.Huber, {"delta": 0.2}, BITS, P, [0.2 * (0.2 + 0.1 + 0.8) / 3, 0.2 * (0.2 + 0.3 + 0.6) / 3]),
    (losses.BinaryCrossentropy, {}, BITS, P, F.binary_cross_entropy(P, BITS, reduction="none").mean(1).tolist()),
    (losses.BinaryCrossentropy, {"from_logits": True}, BITS, P, F.binary_cross_entropy_with_logits(P, BITS, reduction="none").mean(1)),
    (losses.CategoricalCrossentropy, {}, ONE_HOT, P, [-torch.tensor(0.7).log().item(), -torch.tensor(0.3).log().item()]),
    (losses.CategoricalCrossentropy, {"from_logits": True}, ONE_HOT, P, F.cross_entropy(P, CLASSES, reduction="none")),
    (losses.SparseCategoricalCrossentropy, {}, CLASSES, P, [-torch.tensor(0.7).log().item(), -torch.tensor(0.3).log().item()]),
    (losses.SparseCategoricalCrossentropy, {"from_logits": True}, CLASSES, P, F.cross_entropy(P, CLASSES, reduction="none")),
    (losses.Poisson, {}, BITS, P, F.poisson_nll_loss(P, BITS, log_input=False, eps=1e-7, reduction="none").mean(1)),
]
IDS = [f"{kind.__name__}-{'-'.join(options)}" for kind, options, *_ in VALUES]
table = pytest.mark.parametrize(
    ("kind", "options", "y_true", "y_pred", "values"), [(*row[:4], torch.as_tensor(row[4])) for row in VALUES], ids=IDS
)

# ---------------------------------------------------------------------- reductions


@table
def test_the_value_of_each_sample(kind, options, y_true, y_pred, values):
    for reduction in ("none", None):
        torch.testing.assert_close(kind(**options, reduction=reduction)(y_true, y_pred), values)


@table
def test_the_mean_and_the_sum_agree_with_the_values(kind, options, y_true, y_pred, values):
    for reduction in (*AVERAGES, "auto"):
        torch.testing.assert_close(kind(**options, reduction=reduction)(y_true, y_pred), values.mean())
    torch.testing.assert_close(kind(**options, reduction="sum")(y_true, y_pred), values.sum())


@table
def test_weights_multiply_the_values_and_the_mean_is_over_the_samples(kind, options, y_true, y_pred, values):
    weight = torch.tensor([3.0, 0.5])
    product = weight * values
    for reduction, expected in {
        "sum_over_batch_size": product.mean(),
        "mean": product.mean(),
        "mean_with_sample_weight": product.sum() / 3.5,
        "sum": product.sum(),
        "none": product,
    }.items():
        torch.testing.assert_close(kind(**options, reduction=reduction)(y_true, y_pred, weight), expected)


@table
def test_a_mask_leaves_samples_out_of_the_mean(kind, options, y_true, y_pred, values):
    loss, mask, weight = kind(**options), torch.tensor([False, True]), torch.tensor([7.0, 3.0])
    prepared = loss.prepare(y_true, y_pred)
    torch.testing.assert_close(loss.compute(*prepared, mask=mask), values[1])
    torch.testing.assert_close(loss.compute(*prepared, weight, mask), 3 * values[1])
    weighted = kind(**options, reduction="mean_with_sample_weight")
    torch.testing.assert_close(weighted.compute(*prepared, weight, mask), values[1])
    torch.testing.assert_close(weighted.compute(*prepared, mask=mask), values[1])


@pytest.mark.parametrize("reduction", AVERAGES)
def test_a_mask_that_keeps_nothing_gives_0_and_no_gradient(reduction):
    y_pred = torch.ones(2, 1, requires_grad=True)
    value = losses.MeanSquaredError(reduction).compute(torch.zeros(2, 1), y_pred, mask=torch.zeros(2, dtype=torch.bool))
    value.backward()
    assert value.item() == 0.0 and y_pred.grad.tolist() == [[0.0], [0.0]]


def test_weights_of_0_give_0_and_no_gradient():
    y_pred = torch.ones(2, 1, requires_grad=True)
    value = losses.MeanSquaredError("mean_with_sample_weight")(torch.zeros(2, 1), y_pred, torch.zeros(2))
    value.backward()
    assert value.item() == 0.0 and y_pred.grad.tolist() == [[0.0], [0.0]]


def test_weights_per_sample_count_for_all_of_its_steps():
    y_pred = torch.rand(2, 3, 5)
    expected = (2 * y_pred[0].square().mean() + 0.5 * y_pred[1].square().mean()) / 2
    for weight in (torch.tensor([2.0, 0.5]), torch.tensor([[2.0], [0.5]])):
        torch.testing.assert_close(losses.MeanSquaredError()(torch.zeros(2, 3, 5), y_pred, weight), expected)


def test_weights_per_step():
    y_pred, weight = torch.rand(2, 3, 5), torch.rand(2, 3)
    expected = (y_pred.square().mean(-1) * weight).mean()
    torch.testing.assert_close(losses.MeanSquaredError()(torch.zeros(2, 3, 5), y_pred, weight), expected)


@pytest.mark.parametrize("shape", [(3, 3), (3, 2), (2,)])
def test_weights_that_fit_no_value_are_an_error_and_never_broadcast(shape):
    with pytest.raises(ValueError, match="Weights of shape"):
        losses.MeanSquaredError()(torch.zeros(3, 1), torch.ones(3, 1), torch.ones(shape))


def test_a_column_of_weights_is_a_weight_per_sample():
    y_pred = torch.tensor([[1.0], [2.0]])
    torch.testing.assert_close(losses.MeanSquaredError()(torch.zeros(2, 1), y_pred, torch.tensor([[3.0], [1.0]])), torch.tensor(3.5))


def test_one_number_weighs_all():
    assert losses.MeanSquaredError()(torch.zeros(2, 1), torch.ones(2, 1), 3).item() == 3.0


def test_keras_2_has_names_for_the_reductions():
    kinds = losses.Reduction
    assert [losses.MeanSquaredError(kind).reduction for kind in (kinds.AUTO, kinds.NONE, kinds.SUM, kinds.SUM_OVER_BATCH_SIZE)] == [
        *("sum_over_batch_size", "none", "sum", "sum_over_batch_size")
    ]


# ---------------------------------------------------------------------- types


@table
def test_targets_as_numbers_of_another_type_count_the_same(kind, options, y_true, y_pred, values):
    for dtype in (torch.float64, torch.int32, torch.uint8):
        torch.testing.assert_close(kind(**options)(y_true.to(dtype), y_pred), values.mean())


@table
def test_short_floats_are_computed_in_float32_and_long_ones_as_they_are(kind, options, y_true, y_pred, values):
    for dtype in (torch.float16, torch.bfloat16):
        found = kind(**options)(y_true, y_pred.to(dtype))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, kind(**options)(y_true, y_pred.to(dtype).float()))
    assert kind(**options)(y_true, y_pred.double()).dtype == torch.float64


def test_predictions_of_integers_become_floats():
    assert losses.MeanSquaredError()([[1, 2]], [[2, 4]]).item() == 2.5


def test_the_dtype_that_was_asked_for():
    loss = losses.MeanSquaredError(dtype="float64")
    assert loss.dtype == "float64"
    assert loss(torch.zeros(2, 1), torch.ones(2, 1)).dtype == torch.float64
    assert losses.MeanSquaredError().dtype == config.floatx()
    assert losses.deserialize(losses.serialize(loss)).dtype == "float64"
    assert "dtype" not in losses.MeanSquaredError().get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reduction": "median"}, "'reduction' must be .* got 'median'"),
        ({"dtype": "int32"}, "'dtype' must be a float type, got 'int32'"),
        ({"dtype": "flot32"}, "'flot32' is not a dtype"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        losses.MeanSquaredError(**arguments)


# ---------------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    ("true", "pred"), [((4,), (4, 4)), ((4, 1), (4, 4)), ((1,), (4, 1)), ((4, 3), (4, 1)), ((4, 1, 1), (4,)), ((3,), (4,))]
)
@pytest.mark.parametrize("kind", ["MeanSquaredError", "BinaryCrossentropy", "CategoricalCrossentropy", "KLDivergence", "Hinge", "Dice"])
def test_targets_that_do_not_fit_are_an_error_and_nothing_is_broadcast(kind, true, pred):
    with pytest.raises(ValueError, match="do not fit predictions of shape"):
        getattr(losses, kind)()(torch.zeros(true), torch.zeros(pred))


def test_samples_of_one_value_have_a_weight_each():
    loss = losses.MeanSquaredError()
    assert loss(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, 1.0])).item() == pytest.approx(10 / 3)


# ---------------------------------------------------------------------- subclasses


def test_a_subclass_defines_the_value_of_each_sample():
    class Cubic(losses.Loss):
        def call(self, y_true, y_pred):
            return (y_true - y_pred).abs().pow(3).mean(-1)

    assert Cubic(reduction="sum")(torch.zeros(2), torch.full((2, 1), 2.0)).item() == 16.0
    assert Cubic().name == "cubic" and Cubic("mine").name == "mine"


def test_a_subclass_of_a_loss_with_a_call_of_its_own_is_averaged_by_it():
    class Doubled(losses.MeanSquaredError):
        def call(self, y_true, y_pred):
            return 2 * super().call(y_true, y_pred)

    assert Doubled()(torch.zeros(2, 1), torch.ones(2, 1)).item() == 2.0


def test_a_subclass_says_which_values_count():
    class Positive(losses.MeanSquaredError):
        def valid(self, y_true, values):
            return y_true[:, 0] > 0

        def call(self, y_true, y_pred):
            return super().call(y_true, y_pred)

    assert Positive()(torch.tensor([[1.0], [0.0]]), torch.tensor([[3.0], [9.0]])).item() == 4.0


def test_a_loss_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match="Loss needs a call"):
        losses.Loss()(torch.zeros(2, 1), torch.zeros(2, 1))


@table
def test_losses_are_copied_pickled_and_written_down(kind, options, y_true, y_pred, values):
    loss = kind(**options, name="mine", reduction="sum")
    again = losses.deserialize(json.loads(json.dumps(losses.serialize(loss))))
    assert type(again) is kind and again.get_config() == loss.get_config() and again.name == "mine"
    for copied in (again, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(copied(y_true, y_pred), values.sum())


def test_a_loss_of_ones_own_takes_targets_of_any_shape():
    class OfShown(losses.Loss):
        def call(self, y_true, y_pred):
            values = losses.SparseCategoricalCrossentropy(reduction=None)(y_true, y_pred)
            shown = (y_true > 0).to(values.dtype)
            return (values * shown).sum() / shown.sum()

    model = Sequential([Input((5,), dtype="int64"), Embedding(7, 4, "zeros"), Dense(7, "softmax")])
    model.compile("sgd", OfShown())
    words = np.arange(10).reshape(2, 5) % 7
    assert model.evaluate(words, words, verbose=0) == pytest.approx(np.log(7), rel=1e-6)


def test_weights_of_steps_with_an_axis_of_one_are_no_weights_of_elements():
    y, step = torch.arange(12.0).reshape(2, 2, 3), torch.tensor([[[1.0], [2.0]], [[0.0], [3.0]]])
    for reduction in ("none", "sum", "mean_with_sample_weight"):
        loss = losses.MeanSquaredError(reduction=reduction)
        torch.testing.assert_close(loss(y, 0 * y, step), loss(y, 0 * y, step[..., 0]))
