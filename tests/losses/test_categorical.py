"""Categorical losses: one-hot targets and class indices, axes, classes to ignore, classes beyond the last."""

import math

import pytest
import torch
import torch.nn.functional as F

from torchkeras_fn import losses

P = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]])
ONE_HOT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
CLASSES = torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "value"),
    [
        (losses.CategoricalCrossentropy(), [[0.0, 1.0]], [[0.2, 0.8]], -math.log(0.8)),
        (losses.CategoricalFocalCrossentropy(), [[0.0, 1.0]], [[0.2, 0.8]], -0.25 * 0.04 * math.log(0.8)),
        (losses.CategoricalFocalCrossentropy([3.0, 2.0], 1), [[0.0, 1.0]], [[0.2, 0.8]], -2 * 0.2 * math.log(0.8)),
        (losses.SparseCategoricalCrossentropy(), [1], [[0.2, 0.8]], -math.log(0.8)),
        (losses.CategoricalGeneralizedCrossEntropy(), [1], [[0.2, 0.8]], 2 * (1 - math.sqrt(0.8))),
    ],
)
def test_values(loss, y_true, y_pred, value):
    assert loss(y_true, y_pred).item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("kind", [losses.CategoricalCrossentropy, losses.CategoricalFocalCrossentropy])
def test_probabilities_are_scaled_to_sum_to_one(kind):
    torch.testing.assert_close(kind()(ONE_HOT, 5 * P), kind()(ONE_HOT, P))


@pytest.mark.parametrize("kind", [losses.CategoricalCrossentropy, losses.CategoricalFocalCrossentropy])
@pytest.mark.parametrize("from_logits", [False, True])
def test_label_smoothing_moves_the_targets(kind, from_logits):
    smooth, plain = kind(label_smoothing=0.3, from_logits=from_logits), kind(from_logits=from_logits)
    torch.testing.assert_close(smooth(ONE_HOT, P), plain(ONE_HOT * 0.7 + 0.1, P))
    torch.testing.assert_close(smooth(ONE_HOT, P, torch.ones(2)), plain(ONE_HOT * 0.7 + 0.1, P))


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3), (2, 5, 4, 3)])
@pytest.mark.parametrize("axis", [-1, 1, -2])
def test_the_classes_may_be_on_any_axis(shape, axis, from_logits):
    y_pred = torch.rand(shape)
    classes = torch.randint(0, 3, shape[:-1])
    y_true = F.one_hot(classes, 3).float()
    moved = [values.movedim(-1, axis) for values in (y_true, y_pred)]
    expected = -(y_true * (y_pred.log_softmax(-1) if from_logits else (y_pred / y_pred.sum(-1, keepdim=True)).log())).sum(-1)
    for reduction, value in {"none": expected, "mean": expected.mean()}.items():
        loss = losses.CategoricalCrossentropy(from_logits, axis=axis, reduction=reduction)
        torch.testing.assert_close(loss(*moved), value)
        sparse = losses.SparseCategoricalCrossentropy(from_logits, axis=axis, reduction=reduction)
        torch.testing.assert_close(sparse(classes, moved[1]), value)
        torch.testing.assert_close(sparse(classes.unsqueeze(axis), moved[1]), value)
    focal = [losses.CategoricalFocalCrossentropy([1.0, 2.0, 3.0], from_logits=from_logits, axis=each) for each in (axis, -1)]
    torch.testing.assert_close(focal[0](*moved), focal[1](y_true, y_pred))


@pytest.mark.parametrize("from_logits", [False, True])
def test_a_class_to_ignore_has_no_value_and_no_part_in_the_mean(from_logits):
    y_true, y_pred = torch.tensor([0, 255, 2, 255]), torch.rand(4, 3)
    ignoring, kept = losses.SparseCategoricalCrossentropy(from_logits, 255), losses.SparseCategoricalCrossentropy(from_logits)
    torch.testing.assert_close(ignoring(y_true, y_pred), kept(y_true[::2], y_pred[::2]))
    weight = torch.tensor([1.0, 9.0, 2.0, 9.0])
    torch.testing.assert_close(ignoring(y_true, y_pred, weight), kept(y_true[::2], y_pred[::2], weight[::2]))
    values = losses.SparseCategoricalCrossentropy(from_logits, 255, "none")(y_true, y_pred)
    assert values[1::2].tolist() == [0.0, 0.0]
    mask = torch.tensor([True, True, False, True])
    torch.testing.assert_close(ignoring.compute(*ignoring.prepare(y_true, y_pred), mask=mask), kept(y_true[:1], y_pred[:1]))


@pytest.mark.parametrize("from_logits", [False, True])
def test_all_classes_ignored_give_0_and_no_gradient(from_logits):
    y_pred = torch.rand(2, 3, requires_grad=True)
    value = losses.SparseCategoricalCrossentropy(from_logits, -1)(torch.tensor([-1, -1]), y_pred)
    value.backward()
    assert value.item() == 0.0 and not y_pred.grad.any()


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred"),
    [
        (losses.CategoricalCrossentropy(), [[1.0, 0.0]], [[0.0, 1.0]]),
        (losses.CategoricalCrossentropy(from_logits=True), [[1.0, 0.0]], [[-1e4, 1e4]]),
        (losses.CategoricalFocalCrossentropy(), [[1.0, 0.0]], [[0.0, 1.0]]),
        (losses.CategoricalFocalCrossentropy(gamma=0.5, from_logits=True), [[1.0, 0.0]], [[1e4, -1e4]]),
        (losses.SparseCategoricalCrossentropy(), [0], [[0.0, 1.0]]),
        (losses.SparseCategoricalCrossentropy(from_logits=True), [0], [[-1e4, 1e4]]),
        (losses.CategoricalGeneralizedCrossEntropy(), [0], [[0.0, 1.0]]),
        (losses.CategoricalGeneralizedCrossEntropy(), [1], [[0.0, 1.0]]),
        (losses.CategoricalGeneralizedCrossEntropy().on_logits("softmax"), [0], [[-1e4, 1e4]]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_saturated_predictions_give_finite_losses_and_gradients(loss, y_true, y_pred):
    y_pred = torch.tensor(y_pred, requires_grad=True)
    value = loss(torch.tensor(y_true), y_pred)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(y_pred.grad).all()


@pytest.mark.parametrize(
    "loss", [losses.SparseCategoricalCrossentropy(), losses.CategoricalGeneralizedCrossEntropy(0.3)], ids=lambda loss: loss.name
)
def test_the_form_on_logits_of_class_indices(loss):
    logits = torch.randn(2, 3)
    torch.testing.assert_close(loss.on_logits("softmax")(CLASSES, logits), loss(CLASSES, logits.softmax(-1)))
    assert loss.on_logits("sigmoid") is None


@pytest.mark.parametrize(("true", "pred"), [((4, 3), (4, 3)), ((3,), (4, 3)), ((4, 2), (4, 3)), ((4, 5), (4, 3))])
@pytest.mark.parametrize("kind", [losses.SparseCategoricalCrossentropy, losses.CategoricalGeneralizedCrossEntropy])
def test_what_cannot_be_class_indices_is_an_error(kind, true, pred):
    with pytest.raises(ValueError, match="Class indices of shape"):
        kind()(torch.zeros(true, dtype=torch.int64), torch.zeros(pred))


def test_an_axis_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="no axis 3 in predictions of shape"):
        losses.SparseCategoricalCrossentropy(axis=3)(CLASSES, P)


@pytest.mark.parametrize(
    "loss",
    [
        *(losses.SparseCategoricalCrossentropy(logits, reduction=way) for logits in (False, True) for way in ("mean", "none")),
        losses.CategoricalGeneralizedCrossEntropy(),
    ],
)
def test_classes_beyond_the_last_are_an_error(loss):
    with pytest.raises(ValueError, match=r"Classes are integers between 0 and 2, but the targets hold 0 to 3\.$"):
        loss(torch.tensor([0, 3]), P)


def test_a_single_output_for_two_classes_is_told_its_loss():
    with pytest.raises(ValueError, match="between 0 and 0, but the targets hold 0 to 1. .* use 'binary_crossentropy'"):
        losses.SparseCategoricalCrossentropy()(torch.tensor([0, 1]), torch.ones(2, 1))


def test_errors_name_the_loss_that_would_have_fitted():
    with pytest.raises(ValueError, match="use 'sparse_categorical_crossentropy'"):
        losses.CategoricalCrossentropy()(torch.zeros(4), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="use 'categorical_crossentropy'"):
        losses.SparseCategoricalCrossentropy()(torch.zeros(4, 3), torch.zeros(4, 3))


def test_weights_of_the_classes_made_in_an_evaluation_serve_in_training():
    loss = losses.CategoricalFocalCrossentropy([1.0, 2.0, 3.0])
    with torch.inference_mode():
        loss(ONE_HOT, P)
    y_pred = P.clone().requires_grad_()
    loss(ONE_HOT, y_pred).backward()
    assert y_pred.grad.any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.CategoricalCrossentropy(label_smoothing=-0.1), "'label_smoothing' must be between 0 and 1, got -0.1"),
        (lambda: losses.CategoricalCrossentropy(axis=True), "'axis' must be an integer, got True"),
        (lambda: losses.SparseCategoricalCrossentropy(ignore_class=0.5), "'ignore_class' must be an integer, got 0.5"),
        (lambda: losses.CategoricalFocalCrossentropy(alpha=[1, "a"]), "'alpha' must be a finite number, got 'a'"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(1), "'q' must be between 0 and 1, neither of them, got 1"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(2), "'q' must be between 0 and 1, got 2"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_generalized_crossentropy_of_sequences_is_that_of_their_steps():
    y_true, y_pred = torch.tensor([[0, 1, 2], [3, 0, 1]]), torch.softmax(torch.randn(2, 3, 4), -1)
    loss = losses.CategoricalGeneralizedCrossEntropy(reduction="none")
    torch.testing.assert_close(loss(y_true, y_pred), torch.stack([loss(*row) for row in zip(y_true, y_pred, strict=True)]))
