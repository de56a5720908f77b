"""The functions: their options, the shape of what they return, their other names, symbolic tensors."""

import inspect
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torchkeras_fn import losses
from torchkeras_fn.layers import Dense, Input
from torchkeras_fn.losses.functions import CLASSES
from torchkeras_fn.models import Model

P = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]])
ONE_HOT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
BITS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])


def targets_for(name):
    """Return targets that go with `P`, or with the predictions that the loss takes."""
    if name == "ctc":
        return torch.tensor([[1, 2], [2, 0]]), torch.randn(2, 5, 3)
    return (torch.tensor([0, 2]) if CLASSES[name].indices or name == "circle" else ONE_HOT), P


@pytest.mark.parametrize("name", CLASSES)
def test_a_function_gives_what_the_class_gives_per_sample(name):
    y_true, y_pred = targets_for(name)
    torch.testing.assert_close(getattr(losses, name)(y_true, y_pred), CLASSES[name](reduction="none")(y_true, y_pred))


@pytest.mark.parametrize("name", CLASSES)
def test_functions_are_pickled_and_say_what_they_are(name):
    function = getattr(losses, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert function.__name__ == name and function.__doc__
    assert list(inspect.signature(function).parameters)[:2] == ["y_true", "y_pred"]


def test_functions_take_the_options_of_their_class():
    expected = F.binary_cross_entropy_with_logits(P, BITS, reduction="none").mean(1)
    torch.testing.assert_close(losses.binary_crossentropy(BITS, P, from_logits=True), expected)
    torch.testing.assert_close(losses.binary_crossentropy(BITS, P, True), expected)
    torch.testing.assert_close(losses.binary_crossentropy(y_pred=P, y_true=BITS, from_logits=True), expected)
    with pytest.raises(TypeError, match="reduction"):
        losses.binary_crossentropy(BITS, P, reduction="sum")


@pytest.mark.parametrize("name", ["mean_squared_error", "log_cosh", "binary_crossentropy", "hinge", "poisson"])
@pytest.mark.parametrize(
    ("true", "pred", "found"),
    [
        ((4,), (4,), ()),
        ((4,), (4, 1), (4,)),
        ((4, 1), (4,), (4,)),
        ((4, 5), (4, 5), (4,)),
        ((4, 5), (4, 5, 1), (4,)),
        ((4, 5, 1), (4, 5), (4,)),
        ((4, 5, 3), (4, 5, 3), (4, 5)),
    ],
)
def test_the_last_axis_is_averaged(name, true, pred, found):
    assert getattr(losses, name)(torch.rand(true), torch.rand(pred)).shape == found


def test_arrays_and_lists():
    np.testing.assert_allclose(losses.mae([[1, 2]], [[2, 4]]), [1.5])
    np.testing.assert_allclose(losses.mae(np.array([[1.0, 2.0]]), np.array([[2.0, 4.0]])), [1.5])


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("mean_squared_error", ["mse", "MSE"]),
        ("mean_absolute_error", ["mae", "MAE"]),
        ("mean_absolute_percentage_error", ["mape", "MAPE"]),
        ("mean_squared_logarithmic_error", ["msle", "MSLE"]),
        ("kl_divergence", ["kld", "KLD", "kullback_leibler_divergence"]),
        ("binary_crossentropy", ["bce", "BCE"]),
        ("cosine_similarity", ["cosine", "cosine_proximity"]),
        ("log_cosh", ["logcosh"]),
        ("huber", ["huber_loss"]),
    ],
)
def test_other_names_are_the_functions_themselves(name, others):
    for other in others:
        assert getattr(losses, other) is getattr(losses, name)
        assert type(losses.as_loss(other)) is CLASSES[name]


@pytest.mark.parametrize("shape", [(3,), (4, 3)])
@pytest.mark.parametrize("name", [name for name in CLASSES if name not in ("ctc", "circle", "hinge", "dice", "tversky")])
def test_a_loss_of_symbolic_tensors_is_part_of_the_graph(name, shape):
    indices = CLASSES[name].indices
    x, y = Input(shape=shape), Input(shape=shape[:-1] if indices else shape, dtype="int64" if indices else None)
    values = getattr(losses, name)(y, Dense(3, activation="softmax")(x))
    assert values.shape == (None, *shape[:-1])
    model = Model([x, y], values)
    true = np.ones((2, *shape[:-1]), "int64") if indices else np.full((2, *shape), 1 / 3)
    assert model.predict([np.random.rand(2, *shape), true], verbose=0).shape == (2, *shape[:-1])
