"""The activation layers: their formulas, what they are lowered to, masks, and errors."""

import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model
from torchkeras_fn.layers import ELU, Dense, LeakyReLU, Masking, PReLU, ReLU, Softmax, ThresholdedReLU

X = torch.tensor([[-2.0, -0.5, 0.0, 0.5, 1.0, 9.0]])


def drawn(layer, *shape):
    x = Input(shape=shape)
    return Model(x, layer(x))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (ReLU(), X.clamp(min=0)),
        (ReLU(max_value=6), X.clamp(0, 6)),
        (ReLU(negative_slope=0.5), torch.where(X > 0, X, X / 2)),
        (ReLU(threshold=0.7), torch.where(X > 0.7, X, 0.0)),
        (LeakyReLU(), torch.where(X > 0, X, 0.3 * X)),
        (LeakyReLU(alpha=0.1), torch.where(X > 0, X, 0.1 * X)),
        (ELU(2.0), torch.where(X > 0, X, 2 * (X.exp() - 1))),
        (ThresholdedReLU(), torch.where(X > 1, X, 0.0)),
        (Softmax(), X.softmax(-1)),
    ],
)
def test_formula_drawn_and_called(layer, expected):
    torch.testing.assert_close(layer(X), expected)
    model = drawn(layer, 6)
    torch.testing.assert_close(model(X), expected)
    assert list(model.lowered.children()) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReLU(max_value=-1), "'max_value' must be a finite number of at least 0, got -1"),
        (lambda: ReLU(negative_slope=None), "'negative_slope' must be"),
        (lambda: ReLU(threshold=-1), "'threshold' must be"),
        (lambda: LeakyReLU(-0.1), "'negative_slope' must be a finite number of at least 0, got -0.1"),
        (lambda: LeakyReLU(alpha=None), "'negative_slope' must be"),
        (lambda: ELU("one"), "'alpha' must be"),
        (lambda: ThresholdedReLU(-1), "'theta' must be"),
        (lambda: Softmax(axis=1.5), "'axis' must be an integer or a list of integers, got 1.5"),
        (lambda: PReLU(shared_axes=[]), "'shared_axes' must be"),
        (lambda: Softmax(axis=2)(Input(shape=(3,))), r"Softmax cannot be built .* \(None, 3\): 'axis' must be an axis of the input, got 2"),
        (
            lambda: PReLU(shared_axes=[3])(Input(shape=(3, 4))),
            r"PReLU cannot be built .* axes of the input other than the batch, got \[3\]",
        ),
        (lambda: PReLU(shared_axes=0)(Input(shape=(3, 4))), "other than the batch"),
        (lambda: PReLU()(Input(shape=(None, 4))), r"PReLU cannot be built .*the size of axis 1 must be known"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_prelu_learns_a_slope_for_each_place_or_channel():
    assert drawn(PReLU(), 3, 4).get_weights()[0].shape == (3, 4)
    assert drawn(PReLU(shared_axes=[1, 2]), 3, 4, 5).get_weights()[0].shape == (1, 1, 5)
    layer = PReLU(alpha_initializer="ones")
    torch.testing.assert_close(layer(X), X)
    assert [weight.name for weight in layer.named_weights()] == ["alpha"]


def test_a_softmax_with_a_mask():
    mask = torch.tensor([[True, False, True, True, True, False]])
    outputs = Softmax()(X, mask=mask)
    assert outputs[~mask].tolist() == [0, 0]
    torch.testing.assert_close(outputs[mask], X[mask].softmax(-1))
    assert Softmax()(X, mask=torch.zeros(1, 6)).tolist() == [[0] * 6]


def test_the_softmax_of_a_masked_sequence():
    x = Input(shape=(3, 1))
    model = Model(x, Softmax(axis=1)(Masking()(x)))
    outputs = model(torch.tensor([[[1.0], [0.0], [1.0]]]))
    assert outputs.flatten().tolist() == [0.5, 0.0, 0.5]
    torch.testing.assert_close(
        torch.export.export(model.to_torch(), (torch.ones(1, 3, 1),)).module()(torch.ones(1, 3, 1)).sum(), torch.tensor(1.0)
    )


@pytest.mark.parametrize("layer", [ReLU(), LeakyReLU(), ELU(), ThresholdedReLU(), PReLU(), Softmax()])
def test_masks_go_through(layer):
    assert layer.supports_masking
    assert layer.compute_mask(X, "mask") == "mask"


def test_a_softmax_layer_at_the_end_gives_its_logits_to_the_loss():
    x = Input(shape=(4,))
    model = Model(x, Softmax()(x))
    model.compile("sgd", "categorical_crossentropy")
    assert model.evaluate(torch.tensor([[200.0, 0, 0, 0]]), torch.tensor([[0.0, 1, 0, 0]]), verbose=0) == pytest.approx(200)
    assert not any(isinstance(module, nn.Softmax) for module in model.lowered.modules())


def test_the_weights_of_an_activation_are_those_of_its_layer():
    layer = Dense(2, activation=PReLU(alpha_initializer="ones", alpha_regularizer="l2"))
    layer(torch.ones(1, 3))
    assert [weight.name for weight in layer.named_weights()] == ["kernel", "bias", "activation/alpha"]
    assert len(layer.trainable_weights) == 3
