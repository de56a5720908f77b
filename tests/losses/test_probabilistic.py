"""Binary crossentropy and its focal form, divergence and Poisson: values, smoothing, limits, and the forms on logits."""

import math

import pytest
import torch

from torchkeras_fn import losses

BITS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
P = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]])


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "value"),
    [
        (losses.BinaryCrossentropy(), [[1.0, 0.0]], [[0.8, 0.4]], -(math.log(0.8) + math.log(0.6)) / 2),
        (losses.BinaryFocalCrossentropy(), [[1.0, 0.0]], [[0.8, 0.4]], -(0.04 * math.log(0.8) + 0.16 * math.log(0.6)) / 2),
        (losses.BinaryFocalCrossentropy(gamma=0), [[1.0, 0.0]], [[0.8, 0.4]], -(math.log(0.8) + math.log(0.6)) / 2),
        (
            losses.BinaryFocalCrossentropy(True, 0.3, 1.0),
            [[1.0, 0.0]],
            [[0.8, 0.4]],
            -(0.3 * 0.2 * math.log(0.8) + 0.7 * 0.4 * math.log(0.6)) / 2,
        ),
        (losses.KLDivergence(), [[0.5, 0.5]], [[0.25, 0.75]], 0.5 * math.log(2) + 0.5 * math.log(2 / 3)),
        (losses.Poisson(), [[3.0, 0.0]], [[2.0, 1.0]], (2 - 3 * math.log(2) + 1) / 2),
    ],
)
def test_values(loss, y_true, y_pred, value):
    assert loss(y_true, y_pred).item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("kind", [losses.BinaryCrossentropy, losses.BinaryFocalCrossentropy])
def test_label_smoothing_moves_the_targets_towards_a_half(kind):
    torch.testing.assert_close(kind(label_smoothing=0.3)(BITS, P), kind()(BITS * 0.7 + 0.15, P))


@pytest.mark.parametrize("kind", [losses.BinaryCrossentropy, losses.BinaryFocalCrossentropy])
def test_the_mean_is_over_the_axis(kind):
    torch.testing.assert_close(kind(axis=0, reduction="none")(BITS, P), kind(reduction="none")(BITS.T, P.T))


FORMS = [
    (losses.BinaryCrossentropy(), "sigmoid"),
    (losses.BinaryCrossentropy(label_smoothing=0.2), "sigmoid"),
    (losses.BinaryFocalCrossentropy(), "sigmoid"),
    (losses.BinaryFocalCrossentropy(True, 0.4, 1.5, label_smoothing=0.1), "sigmoid"),
    (losses.KLDivergence(), "softmax"),
    (losses.CategoricalCrossentropy(), "softmax"),
    (losses.CategoricalCrossentropy(label_smoothing=0.2), "softmax"),
    (losses.CategoricalFocalCrossentropy(), "softmax"),
    (losses.CategoricalFocalCrossentropy([0.1, 0.2, 0.7], 1.5, label_smoothing=0.1), "softmax"),
]


@pytest.mark.parametrize(("loss", "kind"), FORMS, ids=[f"{type(loss).__name__}-{i}" for i, (loss, _) in enumerate(FORMS)])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0])], ids=["plain", "weighted"])
def test_the_form_on_logits_is_the_loss_of_the_probabilities(loss, kind, weight):
    y_true = BITS if kind == "sigmoid" else torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    gradients = []
    for on_logits in (False, True):
        logits = torch.tensor([[1.0, -0.3, 0.2], [0.5, 0.7, -2.0]], requires_grad=True)
        y_pred = logits if on_logits else logits.sigmoid() if kind == "sigmoid" else logits.softmax(-1)
        value = (loss.on_logits(kind) if on_logits else loss)(y_true, y_pred, weight)
        value.backward()
        gradients.append((value.detach(), logits.grad))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("loss", "kind"), FORMS, ids=[f"{type(loss).__name__}-{i}" for i, (loss, _) in enumerate(FORMS)])
def test_the_form_on_logits_learns_from_what_is_wholly_wrong(loss, kind):
    logits = torch.tensor([[-200.0, 200.0, 0.0]], requires_grad=True)
    value = loss.on_logits(kind)(torch.tensor([[1.0, 0.0, 0.0]]), logits)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(logits.grad).all() and logits.grad[0, 0] < -0.01


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (losses.BinaryCrossentropy(), "softmax"),
        (losses.KLDivergence(), "sigmoid"),
        (losses.BinaryCrossentropy(from_logits=True), "sigmoid"),
        (losses.BinaryFocalCrossentropy(from_logits=True), "sigmoid"),
        (losses.Poisson(), "softmax"),
        (losses.MeanSquaredError(), "softmax"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_where_there_is_no_form_on_logits(loss, kind):
    assert loss.on_logits(kind) is None


def test_a_loss_of_ones_own_keeps_seeing_probabilities():
    class Squared(losses.BinaryCrossentropy):
        def call(self, y_true, y_pred):
            return super().call(y_true, y_pred) * (1 - y_pred).square().mean(-1)

    class Averaged(losses.BinaryCrossentropy):
        def mean(self, y_true, y_pred):
            return y_pred.mean()

    assert Squared().on_logits("sigmoid") is None and Averaged().on_logits("sigmoid") is None


def test_a_subclass_that_only_sets_options_has_a_form_on_logits():
    class Smooth(losses.CategoricalCrossentropy):
        def __init__(self):
            super().__init__(label_smoothing=0.2)

    form = Smooth().on_logits("softmax")
    assert form.from_logits and form.label_smoothing == 0.2


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred"),
    [
        (losses.BinaryCrossentropy(), [[1.0], [0.0]], [[0.0], [1.0]]),
        (losses.BinaryCrossentropy(from_logits=True), [[1.0], [0.0]], [[-1e4], [1e4]]),
        (losses.BinaryFocalCrossentropy(), [[1.0], [0.0]], [[0.0], [1.0]]),
        (losses.BinaryFocalCrossentropy(), [[1.0], [0.0]], [[1.0], [0.0]]),
        (losses.BinaryFocalCrossentropy(gamma=0.5), [[1.0], [0.0]], [[1.0], [0.0]]),
        (losses.BinaryFocalCrossentropy(gamma=0.5, from_logits=True), [[1.0], [0.0]], [[1e4], [-1e4]]),
        (losses.KLDivergence(), [[1.0, 0.0]], [[0.0, 1.0]]),
        (losses.Poisson(), [[1.0, 0.0]], [[0.0, 0.0]]),
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
    ("make", "message"),
    [
        (lambda: losses.BinaryCrossentropy(label_smoothing=2), "'label_smoothing' must be between 0 and 1, got 2"),
        (lambda: losses.BinaryCrossentropy(axis="last"), "'axis' must be an integer, got 'last'"),
        (lambda: losses.BinaryFocalCrossentropy(gamma=-1), "'gamma' must be a finite number of at least 0, got -1"),
        (lambda: losses.BinaryFocalCrossentropy(alpha="much"), "'alpha' must be a finite number, got 'much'"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
