"""Losses: their values and reductions, how targets are aligned, logits, torch's own losses, and how they are looked up."""

import copy
import functools
import json
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import losses
from torchkeras_fn.layers import Dense, Input
from torchkeras_fn.models import Model

P = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]])
ONE_HOT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
CLASSES = torch.tensor([0, 2])
BITS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])

NAMES = {
    "MeanSquaredError": ["mse", "MSE", "mean_squared_error", "MeanSquaredError", "mean-squared-error"],
    "MeanAbsoluteError": ["mae", "MAE", "mean_absolute_error", "MeanAbsoluteError"],
    "BinaryCrossentropy": ["bce", "binary_crossentropy", "BinaryCrossentropy", "binary_Crossentropy"],
    "CategoricalCrossentropy": ["cce", "categorical_crossentropy", "CategoricalCrossentropy"],
    "SparseCategoricalCrossentropy": ["scce", "sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"],
}

# loss, targets, predictions, the value of each sample
VALUES = [
    (losses.MeanSquaredError(), BITS, P, [(0.09 + 0.04 + 0.81) / 3, (0.09 + 0.16 + 0.49) / 3]),
    (losses.MeanAbsoluteError(), BITS, P, [(0.3 + 0.2 + 0.9) / 3, (0.3 + 0.4 + 0.7) / 3]),
    (losses.BinaryCrossentropy(), BITS, P, F.binary_cross_entropy(P, BITS, reduction="none").mean(1).tolist()),
    (losses.CategoricalCrossentropy(), ONE_HOT, P, [-torch.tensor(0.7).log().item(), -torch.tensor(0.3).log().item()]),
    (losses.SparseCategoricalCrossentropy(), CLASSES, P, [-torch.tensor(0.7).log().item(), -torch.tensor(0.3).log().item()]),
    (losses.CategoricalCrossentropy(from_logits=True), ONE_HOT, P, F.cross_entropy(P, CLASSES, reduction="none").tolist()),
    (losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES, P, F.cross_entropy(P, CLASSES, reduction="none").tolist()),
    (losses.BinaryCrossentropy(from_logits=True), BITS, P, F.binary_cross_entropy_with_logits(P, BITS, reduction="none").mean(1).tolist()),
]
IDS = [f"{type(loss).__name__}{'-logits' * getattr(loss, 'from_logits', False)}" for loss, *_ in VALUES]


def with_reduction(loss, reduction):
    again = copy.copy(loss)
    again.reduction = reduction
    return again


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize(("loss", "y_true", "y_pred", "values"), VALUES, ids=IDS)
def test_the_value_of_each_sample(loss, y_true, y_pred, values):
    torch.testing.assert_close(with_reduction(loss, "none")(y_true, y_pred), torch.tensor(values))


@pytest.mark.parametrize(("loss", "y_true", "y_pred", "values"), VALUES, ids=IDS)
def test_the_mean_and_the_sum_agree_with_the_values(loss, y_true, y_pred, values):
    assert loss(y_true, y_pred).item() == pytest.approx(sum(values) / 2, rel=1e-5)
    assert with_reduction(loss, "sum")(y_true, y_pred).item() == pytest.approx(sum(values), rel=1e-5)


@pytest.mark.parametrize(("loss", "y_true", "y_pred", "values"), VALUES, ids=IDS)
def test_weights_multiply_the_values_and_the_mean_is_over_the_samples(loss, y_true, y_pred, values):
    weight = torch.tensor([3.0, 0.5])
    assert loss(y_true, y_pred, weight).item() == pytest.approx((3 * values[0] + 0.5 * values[1]) / 2, rel=1e-5)


@pytest.mark.parametrize(("loss", "y_true", "y_pred", "values"), VALUES, ids=IDS)
def test_targets_as_numbers_of_another_type_count_the_same(loss, y_true, y_pred, values):
    expected = loss(y_true, y_pred)
    for dtype in (torch.float64, torch.int32, torch.uint8):
        torch.testing.assert_close(loss(y_true.to(dtype), y_pred), expected)


@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error", "binary_crossentropy", "categorical_crossentropy"])
def test_a_function_gives_what_the_class_gives_per_sample(name):
    function = getattr(losses, name)
    torch.testing.assert_close(function(ONE_HOT, P), with_reduction(losses.get(name), "none")(ONE_HOT, P))


def test_functions_take_the_options_of_their_class():
    torch.testing.assert_close(
        losses.binary_crossentropy(BITS, P, from_logits=True), F.binary_cross_entropy_with_logits(P, BITS, reduction="none").mean(1)
    )


def test_short_names_are_the_functions_themselves():
    assert losses.mse is losses.MSE is losses.mean_squared_error
    assert losses.mae is losses.MAE is losses.mean_absolute_error


def test_probabilities_are_scaled_to_sum_to_one():
    loss = losses.CategoricalCrossentropy()
    torch.testing.assert_close(loss(ONE_HOT, 5 * P), loss(ONE_HOT, P))


@pytest.mark.parametrize(
    ("loss", "smoothed"),
    [
        (losses.CategoricalCrossentropy(label_smoothing=0.3), ONE_HOT * 0.7 + 0.1),
        (losses.BinaryCrossentropy(label_smoothing=0.3), ONE_HOT * 0.7 + 0.15),
    ],
)
def test_label_smoothing_moves_the_targets(loss, smoothed):
    torch.testing.assert_close(loss(ONE_HOT, P), type(loss)()(smoothed, P))


@pytest.mark.parametrize("loss", [losses.SparseCategoricalCrossentropy(), losses.SparseCategoricalCrossentropy(from_logits=True)])
def test_class_indices_per_step(loss):
    y_pred = torch.rand(2, 4, 3)
    y_true = torch.randint(0, 3, (2, 4))
    per_step = with_reduction(loss, "none")(y_true, y_pred)
    assert per_step.shape == (2, 4)
    torch.testing.assert_close(per_step.mean(), loss(y_true, y_pred))


def test_weights_per_sample_count_for_all_of_its_steps():
    y_pred = torch.rand(2, 3, 5)
    loss = losses.MeanSquaredError()
    expected = (2 * y_pred[0].square().mean() + 0.5 * y_pred[1].square().mean()) / 2
    torch.testing.assert_close(loss(torch.zeros(2, 3, 5), y_pred, torch.tensor([2.0, 0.5])), expected)


def test_weights_per_step():
    y_pred, weight = torch.rand(2, 3, 5), torch.rand(2, 3)
    expected = (y_pred.square().mean(-1) * weight).mean()
    torch.testing.assert_close(losses.MeanSquaredError()(torch.zeros(2, 3, 5), y_pred, weight), expected)


@pytest.mark.parametrize("shape", [(3, 3), (3, 2), (2,)])
def test_weights_that_fit_no_value_are_an_error_and_never_broadcast(shape):
    with pytest.raises(ValueError, match="Weights of shape"):
        losses.MeanSquaredError()(torch.zeros(3, 1), torch.ones(3, 1), torch.ones(shape))


def test_a_column_of_weights_is_a_weight_per_sample():
    loss = losses.MeanSquaredError()
    y_pred = torch.tensor([[1.0], [2.0]])
    torch.testing.assert_close(loss(torch.zeros(2, 1), y_pred, torch.tensor([[3.0], [1.0]])), torch.tensor(3.5))


# ---------------------------------------------------------------------- saturated predictions


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred"),
    [
        (losses.BinaryCrossentropy(), [[1.0], [0.0]], [[0.0], [1.0]]),
        (losses.BinaryCrossentropy(from_logits=True), [[1.0], [0.0]], [[-1e4], [1e4]]),
        (losses.CategoricalCrossentropy(), [[1.0, 0.0]], [[0.0, 1.0]]),
        (losses.CategoricalCrossentropy(from_logits=True), [[1.0, 0.0]], [[-1e4, 1e4]]),
        (losses.SparseCategoricalCrossentropy(), [0], [[0.0, 1.0]]),
        (losses.SparseCategoricalCrossentropy(from_logits=True), [0], [[-1e4, 1e4]]),
    ],
)
def test_saturated_predictions_give_finite_losses_and_gradients(loss, y_true, y_pred):
    y_pred = torch.tensor(y_pred, requires_grad=True)
    value = loss(torch.tensor(y_true), y_pred)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(y_pred.grad).all()


@pytest.mark.parametrize(
    ("loss", "kind", "has_a_form"),
    [
        (losses.BinaryCrossentropy(), "sigmoid", True),
        (losses.BinaryCrossentropy(), "softmax", False),
        (losses.BinaryCrossentropy(from_logits=True), "sigmoid", False),
        (losses.CategoricalCrossentropy(label_smoothing=0.1), "softmax", True),
        (losses.CategoricalCrossentropy(), "sigmoid", False),
        (losses.SparseCategoricalCrossentropy(), "softmax", True),
        (losses.MeanSquaredError(), "softmax", False),
        (losses.FunctionLoss(losses.mean_squared_error), "softmax", False),
        (losses.TorchLoss(nn.CrossEntropyLoss()), "softmax", False),
    ],
)
def test_which_losses_have_a_form_for_logits(loss, kind, has_a_form):
    form = loss.on_logits(kind)
    assert (form is not None) == has_a_form
    if has_a_form:
        assert form.from_logits and form.label_smoothing == loss.label_smoothing if hasattr(loss, "label_smoothing") else form.from_logits


def test_a_loss_of_ones_own_keeps_seeing_probabilities():
    class Focal(losses.BinaryCrossentropy):
        def call(self, y_true, y_pred):
            return super().call(y_true, y_pred) * (1 - y_pred).square().mean(-1)

    assert Focal().on_logits("sigmoid") is None


def test_a_subclass_that_only_sets_options_has_a_form_for_logits():
    class Smooth(losses.CategoricalCrossentropy):
        def __init__(self):
            super().__init__(label_smoothing=0.2)

    form = Smooth().on_logits("softmax")
    assert form.from_logits and form.label_smoothing == 0.2


# ---------------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    ("true", "pred", "aligned"),
    [
        ((4,), (4, 1), (4, 1)),
        ((4, 1), (4,), (4,)),
        ((4, 1), (4, 1), (4, 1)),
        ((4, 5), (4, 5, 1), (4, 5, 1)),
        ((4, 5, 1), (4, 5), (4, 5)),
        ((4,), (4,), (4,)),
    ],
)
def test_a_last_axis_of_one_is_added_or_taken_off(true, pred, aligned):
    assert losses.align(torch.zeros(true), torch.zeros(pred)).shape == aligned


@pytest.mark.parametrize(
    ("true", "pred", "aligned"), [((4,), (4, 3), (4,)), ((4, 1), (4, 3), (4,)), ((4, 5), (4, 5, 3), (4, 5)), ((4, 5, 1), (4, 5, 3), (4, 5))]
)
def test_class_indices_take_the_shape_without_the_last_axis(true, pred, aligned):
    found = losses.align(torch.zeros(true), torch.zeros(pred), indices=True)
    assert found.shape == aligned and found.dtype == torch.int64


@pytest.mark.parametrize(
    ("true", "pred"), [((4,), (4, 4)), ((4, 1), (4, 4)), ((1,), (4, 1)), ((4, 3), (4, 1)), ((4, 1, 1), (4,)), ((3,), (4,))]
)
@pytest.mark.parametrize(
    "loss",
    [losses.MeanSquaredError(), losses.BinaryCrossentropy(), losses.CategoricalCrossentropy(), losses.TorchLoss(nn.MSELoss())],
    ids=repr,
)
def test_any_other_mismatch_is_an_error_and_nothing_is_broadcast(loss, true, pred):
    with pytest.raises(ValueError, match="do not fit predictions of shape"):
        loss(torch.zeros(true), torch.zeros(pred))


@pytest.mark.parametrize(("true", "pred"), [((4, 3), (4, 3)), ((3,), (4, 3)), ((4, 2), (4, 3)), ((4, 5), (4, 3))])
def test_what_cannot_be_class_indices_is_an_error(true, pred):
    with pytest.raises(ValueError, match="Class indices of shape"):
        losses.SparseCategoricalCrossentropy()(torch.zeros(true, dtype=torch.int64), torch.zeros(pred))


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
def test_classes_beyond_the_last_are_an_error(from_logits, reduction):
    with pytest.raises(ValueError, match="Classes are integers between 0 and 2, but the targets hold 0 to 3"):
        losses.SparseCategoricalCrossentropy(from_logits, reduction=reduction)(torch.tensor([0, 3]), P)


def test_errors_name_the_loss_that_would_have_fitted():
    with pytest.raises(ValueError, match="use 'sparse_categorical_crossentropy'"):
        losses.CategoricalCrossentropy()(torch.zeros(4), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="use 'categorical_crossentropy'"):
        losses.SparseCategoricalCrossentropy()(torch.zeros(4, 3), torch.zeros(4, 3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_targets_take_the_dtype_of_the_predictions(dtype):
    assert losses.align(torch.zeros(2, 1), torch.zeros(2, 1, dtype=dtype)).dtype == dtype


# ---------------------------------------------------------------------- functions of one's own


def test_a_function_is_called_with_targets_first_and_aligned():
    seen = []

    def asymmetric(y_true, y_pred):
        seen.append((y_true.shape, y_pred.shape))
        return (y_pred - 2 * y_true).mean(-1)

    assert losses.get(asymmetric)(torch.ones(4), torch.full((4, 1), 5.0)).item() == 3.0
    assert seen == [((4, 1), (4, 1))]


def test_a_function_may_return_a_scalar_also_with_weights():
    loss = losses.get(lambda y_true, y_pred: (y_true - y_pred).abs().mean())
    assert loss(torch.zeros(2, 1), torch.ones(2, 1)).item() == 1.0
    assert loss(torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([1.0, 3.0])).item() == 2.0


def test_a_function_may_take_targets_of_a_shape_of_its_own():
    loss = losses.get(lambda y_true, y_pred: (y_pred * y_true[:, :1]).mean(-1))
    assert loss(torch.ones(2, 5), torch.full((2, 3), 4.0)).item() == 4.0


def test_a_partial_and_an_object_that_is_called_are_functions():
    class Scaled:
        def __call__(self, y_true, y_pred):
            return 3 * (y_true - y_pred).abs().mean(-1)

    assert losses.get(Scaled())(torch.zeros(2, 1), torch.ones(2, 1)).item() == 3.0
    smoothed = functools.partial(losses.categorical_crossentropy, label_smoothing=0.3)
    torch.testing.assert_close(losses.get(smoothed)(ONE_HOT, P), losses.CategoricalCrossentropy(label_smoothing=0.3)(ONE_HOT, P))


def test_a_subclass_defines_the_value_of_each_sample():
    class Cubic(losses.Loss):
        def call(self, y_true, y_pred):
            return (y_true - y_pred).abs().pow(3).mean(-1)

    assert Cubic(reduction="sum")(torch.zeros(2), torch.full((2, 1), 2.0)).item() == 16.0


def test_a_subclass_of_a_loss_with_a_call_of_its_own_is_averaged_by_it():
    class Doubled(losses.MeanSquaredError):
        def call(self, y_true, y_pred):
            return 2 * super().call(y_true, y_pred)

    assert Doubled()(torch.zeros(2, 1), torch.ones(2, 1)).item() == 2.0


def test_a_loss_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match="Loss needs a call"):
        losses.Loss()(torch.zeros(2, 1), torch.zeros(2, 1))


# ---------------------------------------------------------------------- torch's own losses


@pytest.mark.parametrize(
    ("theirs", "y_true", "y_pred"),
    [
        (nn.MSELoss(), BITS, P),
        (nn.L1Loss(), BITS, P),
        (nn.SmoothL1Loss(), BITS, P),
        (nn.HuberLoss(delta=0.1), BITS, P),
        (nn.BCELoss(), BITS, P),
        (nn.BCEWithLogitsLoss(), BITS, P),
        (nn.PoissonNLLLoss(), BITS, P),
        (nn.CrossEntropyLoss(), CLASSES, P),
        (nn.CrossEntropyLoss(), ONE_HOT, P),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])), CLASSES, P),
        (nn.NLLLoss(), CLASSES, P.log()),
        (nn.MultiMarginLoss(), CLASSES, P),
        (F.mse_loss, BITS, P),
        (F.cross_entropy, CLASSES, P),
        (functools.partial(F.smooth_l1_loss, beta=0.1), BITS, P),
        (functools.partial(F.mse_loss, reduction="sum"), BITS, P),
    ],
    ids=str,
)
def test_torch_losses_are_called_in_torchs_order(theirs, y_true, y_pred):
    torch.testing.assert_close(losses.get(theirs)(y_true, y_pred), theirs(y_pred, y_true))


@pytest.mark.parametrize(
    ("theirs", "y_true", "y_pred"),
    [
        (nn.MSELoss(), BITS, P),
        (F.l1_loss, BITS, P),
        (nn.CrossEntropyLoss(), CLASSES, P),
        (F.cross_entropy, CLASSES, P),
        (functools.partial(F.mse_loss, reduction="mean"), BITS, P),
    ],
    ids=str,
)
def test_torch_losses_take_sample_weights(theirs, y_true, y_pred):
    values = [theirs(y_pred[i : i + 1], y_true[i : i + 1]).item() for i in range(2)]
    weighted = losses.get(theirs)(y_true, y_pred, torch.tensor([3.0, 0.5])).item()
    assert weighted == pytest.approx((3 * values[0] + 0.5 * values[1]) / 2, rel=1e-5)


def test_torch_losses_take_weights_per_step():
    y_pred, weight = torch.rand(2, 3, 5), torch.rand(2, 3)
    torch.testing.assert_close(
        losses.get(nn.MSELoss())(torch.zeros(2, 3, 5), y_pred, weight), losses.MeanSquaredError()(torch.zeros(2, 3, 5), y_pred, weight)
    )


def test_torch_classification_losses_have_the_classes_on_axis_one():
    y_pred, y_true = torch.randn(2, 5, 3), torch.randint(0, 5, (2, 3))
    weight = torch.rand(2, 3)
    per_step = F.cross_entropy(y_pred, y_true, reduction="none")
    torch.testing.assert_close(losses.get(nn.CrossEntropyLoss())(y_true, y_pred), per_step.mean())
    torch.testing.assert_close(losses.get(nn.CrossEntropyLoss())(y_true, y_pred, weight), (per_step * weight).mean())


@pytest.mark.parametrize("classes", [CLASSES.int(), CLASSES.unsqueeze(1), CLASSES.float().int().unsqueeze(1)])
def test_torch_classification_losses_take_any_integers_also_as_a_column(classes):
    torch.testing.assert_close(losses.get(nn.CrossEntropyLoss())(classes, P), F.cross_entropy(P, CLASSES))


@pytest.mark.parametrize("shape", [(5,), (2, 3), (4, 2), (1,)])
def test_torch_classification_losses_refuse_targets_that_do_not_fit(shape):
    with pytest.raises(ValueError, match="do not fit|Class indices"):
        losses.get(nn.CrossEntropyLoss())(torch.zeros(shape, dtype=torch.int64), torch.zeros(4, 3))


def test_column_targets_of_a_torch_loss_are_aligned_and_integers_become_floats():
    torch.testing.assert_close(losses.get(nn.BCEWithLogitsLoss())(torch.tensor([1, 0]), torch.zeros(2, 1)), torch.tensor(2.0).log())


def test_the_reduction_of_a_torch_loss_is_its_own_and_stays_as_it_was():
    theirs = nn.MSELoss(reduction="sum")
    ours = losses.get(theirs)
    assert ours(BITS, P).item() == pytest.approx(theirs(P, BITS).item())
    ours(BITS, P, torch.ones(2))
    assert theirs.reduction == "sum"


def test_a_torch_module_of_ones_own_is_called_in_torchs_order():
    class Ratio(nn.Module):
        def forward(self, prediction, target):
            return (prediction / target).mean()

    assert losses.get(Ratio())(torch.full((2, 1), 2.0), torch.full((2, 1), 8.0)).item() == 4.0


@pytest.mark.parametrize(
    ("function", "torchs"),
    [
        (F.mse_loss, True),
        (functools.partial(F.mse_loss), True),
        (nn.L1Loss(), True),
        (losses.mse, False),
        (lambda y_true, y_pred: y_pred, False),
    ],
)
def test_whose_order_a_loss_is_called_in(function, torchs):
    assert losses.in_torch_order(function) == torchs


# ---------------------------------------------------------------------- looking up


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_names(kind, name):
    assert type(losses.get(name)).__name__ == kind


@pytest.mark.parametrize("kind", NAMES)
def test_classes_objects_and_functions_are_looked_up_too(kind):
    cls = getattr(losses, kind)
    assert type(losses.get(cls)) is cls
    loss = cls()
    assert losses.get(loss) is loss
    assert type(losses.get(getattr(losses, NAMES[kind][2] if kind.startswith("Mean") else NAMES[kind][1]))) is cls


def test_none_stays_none():
    assert losses.get(None) is None


@pytest.mark.parametrize(
    "loss",
    [
        losses.MeanSquaredError(reduction="sum"),
        losses.CategoricalCrossentropy(label_smoothing=0.1, from_logits=True, name="mine"),
        losses.BinaryCrossentropy(label_smoothing=0.2),
        losses.SparseCategoricalCrossentropy(from_logits=True),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_the_config_is_json_and_makes_an_equal_loss(loss):
    again = losses.deserialize(json.loads(json.dumps(losses.serialize(loss))))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


def test_a_function_of_ones_own_is_written_by_name_and_found_again():
    def distance(y_true, y_pred):
        return (y_true - y_pred).abs().mean(-1)

    written = losses.serialize(losses.get(distance))
    assert written == "distance"
    assert losses.deserialize(written, custom_objects={"distance": distance}).function is distance


@pytest.mark.parametrize(
    "loss", [losses.MeanSquaredError(), losses.get(nn.CrossEntropyLoss()), losses.get(F.mse_loss)], ids=lambda x: x.name or "mse"
)
def test_losses_are_copied_and_pickled(loss):
    y_true = CLASSES if isinstance(loss, losses.TorchLoss) and "ross" in loss.name else BITS
    for again in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(again(y_true, P), loss(y_true, P))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.get("mes"), "Unknown loss 'mes'. Did you mean 'mse'"),
        (lambda: losses.get("categorical_crossentropi"), "Did you mean 'categorical_crossentropy'"),
        (lambda: losses.get("xyzzy"), "Unknown loss 'xyzzy'. Known are: "),
        (lambda: losses.get(3), "loss.*got 3 of type int"),
        (lambda: losses.get({"config": {}}), "needs a 'class_name'"),
        (lambda: losses.MeanSquaredError(reduction="median"), "'reduction' must be .* got 'median'"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=2), "'label_smoothing' must be between 0 and 1, got 2"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_loss_of_symbolic_tensors_is_part_of_the_graph():
    x = Input(shape=(3,))
    model = Model(x, losses.mean_squared_error(x, Dense(3, kernel_initializer="zeros")(x)))
    np.testing.assert_allclose(model.predict(np.full((2, 3), 2.0)), [4.0, 4.0])
