"""A batch of a known kind becomes the tensors that it becomes when all is checked; others are checked."""

import copy
import pickle

import numpy as np
import pytest
import torch

from torchkeras_fn import Model, Trainer
from torchkeras_fn.engine.batches.arrays import Signature, arrays_of
from torchkeras_fn.engine.batches.border import Border
from torchkeras_fn.engine.data import batch_of
from torchkeras_fn.layers import Dense, Input

TWO_INPUTS = Signature(
    input_names=["a", "b"], input_shapes=[(None, 3), (None, 2)], input_dtypes=[torch.float32, torch.int64], output_names=["y"]
)
TWO_OUTPUTS = Signature(input_names=["a"], input_shapes=[(None, 3)], input_dtypes=[torch.float32], output_names=["y", "z"])
ONES = np.ones((4, 3))

KNOWN = [
    (Signature(), ONES, np.arange(4)),
    (Signature(), ONES.astype("float32"), np.arange(4.0)),
    (Signature(float_dtype=torch.float64), torch.ones(4, 3), torch.arange(4, dtype=torch.int32)),
    (Signature(), ONES, None),
    (Signature(), [ONES, ONES], np.arange(4)),
    (TWO_INPUTS, [ONES, np.ones((4, 2), int)], np.arange(4)),
    (TWO_OUTPUTS, ONES, [np.arange(4), ONES]),
    (TWO_OUTPUTS, ONES, None),
    (Signature(), {"b": ONES, "a": ONES}, np.arange(4)),
    (TWO_INPUTS, {"b": np.ones((4, 2), int), "a": ONES}, np.arange(4)),
    (TWO_OUTPUTS, ONES, {"z": ONES, "y": np.arange(4)}),
    (Signature(), ONES, {"z": ONES, "y": np.arange(4)}),
    (Signature(), [ONES, ONES], {"y": np.arange(4)}),
]


def assert_alike(ours, public):
    assert type(ours) is type(public)
    if isinstance(ours, dict):
        assert list(ours) == list(public)
        ours, public = list(ours.values()), list(public.values())
    if isinstance(ours, (list, tuple)):
        assert len(ours) == len(public)
        for one, other in zip(ours, public, strict=True):
            assert_alike(one, other)
    elif ours is not None:
        assert torch.equal(ours, public) and ours.dtype == public.dtype


@pytest.mark.parametrize(("signature", "x", "y"), KNOWN)
def test_a_known_kind_becomes_the_same_tensors(signature, x, y):
    border = Border(signature)
    first = batch_of(x, y, None, signature, border)
    again = border.made(border.batches, x, y)
    assert again is not None
    assert_alike(again, first)
    assert_alike(again, batch_of(x, y, None, signature))


@pytest.mark.parametrize(("signature", "x", "y"), KNOWN)
def test_arrays_of_a_known_kind_are_put_in_the_same_order(signature, x, y):
    border = Border(signature)
    assert border.made(border.arrays, x, y) is None
    checked = arrays_of(x, y, None, signature)
    border.learn(x, y, checked)
    known = border.made(border.arrays, x, y)
    assert known is not None and (known.x_dtypes, known.rebuild) == (checked.x_dtypes, checked.rebuild)
    for ours, public in ((known.x, checked.x), (known.y, checked.y), (known.sample_weight, checked.sample_weight)):
        assert [None if one is None else one.tensor.data_ptr() for one in ours] == [
            None if one is None else one.tensor.data_ptr() for one in public
        ]


UNKNOWN = [
    (ONES.tolist(), np.arange(4)),
    (ONES[::-1], np.arange(4)),
    ({"a": ONES.tolist()}, np.arange(4)),
    (torch.ones(4, 3, requires_grad=True), np.arange(4)),
]


@pytest.mark.parametrize(("x", "y"), UNKNOWN)
def test_other_things_are_checked_each_time(x, y):
    border = Border(Signature())
    batch_of(x, y, None, border.signature, border)
    assert border.made(border.batches, x, y) is None and border.made(border.arrays, x, y) is None


def test_a_column_that_needs_another_axis_is_checked_each_time():
    signature = Signature(input_names=["a"], input_shapes=[(None, 1)], input_dtypes=[torch.float32], output_names=["y"])
    border = Border(signature)
    assert batch_of(np.ones(4), np.ones(4), None, signature, border)[0].shape == (4, 1)
    assert border.made(border.batches, np.ones(4), np.ones(4)) is None


@pytest.mark.parametrize("y", [np.arange(3), np.arange(4).reshape(4, 1), np.arange(4.0)])
def test_targets_of_another_kind_or_number_are_checked(y):
    border = Border(Signature())
    batch_of(ONES, np.arange(4), None, border.signature, border)
    assert border.made(border.batches, ONES, y) is None


@pytest.mark.parametrize(("x", "y"), [(np.arange(6.0).reshape(6, 1)[:1], np.arange(6)[:1]), (np.arange(6.0).reshape(6, 1), np.arange(6))])
def test_arrays_that_lie_backwards_are_checked_where_numpy_says_that_they_lie_in_order(x, y):
    border = Border(Signature())
    batch_of(x, y, None, border.signature, border)
    backwards = x[::-1] if len(x) == 1 else x[:, ::-1]
    assert backwards.flags.num == x.flags.num
    assert border.made(border.batches, backwards, y) is None and border.made(border.arrays, backwards, y) is None


def test_tensors_out_of_inference_mode_are_checked_each_time():
    border = Border(Signature())
    batch_of(torch.ones(4, 3), None, None, border.signature, border)
    with torch.inference_mode():
        x = torch.ones(4, 3)
    assert border.made(border.batches, x, None) is None and not batch_of(x, None, None, border.signature, border)[0].is_inference()


def test_an_empty_batch_is_checked():
    border = Border(Signature())
    batch_of(ONES, np.arange(4), None, border.signature, border)
    with pytest.raises(ValueError, match="no samples"):
        batch_of(ONES[:0], np.arange(0), None, border.signature, border)


def small() -> Model:
    x = Input(shape=(3,))
    model = Model(x, Dense(1)(x))
    model.compile("sgd", "mse", device="cpu")
    return model


def test_train_on_batch_refuses_what_does_not_fit_after_what_did():
    model = small()
    model.train_on_batch(ONES, np.ones((4, 1)))
    model.train_on_batch(ONES, np.ones((4, 1)))
    with pytest.raises(ValueError, match="do not fit"):
        model.train_on_batch(ONES, np.ones((4, 2)))
    with pytest.raises(ValueError, match="same number of samples"):
        model.train_on_batch(ONES, np.ones((3, 1)))
    with pytest.raises(ValueError, match="expects data of shape"):
        model.train_on_batch(np.ones((4, 2)), np.ones((4, 1)))


def test_fit_refuses_what_does_not_fit_after_what_did():
    model = small()
    for _ in range(2):
        model.fit(ONES, np.ones((4, 1)), verbose=0)
    for method in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match="do not fit"):
            method(ONES, np.ones((4, 2)))
        with pytest.raises(ValueError, match="do not fit"):  # nor has the refusal taught that it does
            method(ONES, np.ones((4, 2)))
        with pytest.raises(ValueError, match="same number of samples"):
            method(ONES, np.ones((3, 1)))
        with pytest.raises(ValueError, match="no samples"):
            method(ONES[:0], np.ones((0, 1)))


def test_a_new_loss_checks_anew():
    model = small()
    model.train_on_batch(ONES, np.ones((4, 1)))
    x = Input(shape=(3,))
    model = Model(x, Dense(2)(x))
    model.compile("sgd", "sparse_categorical_crossentropy", device="cpu")
    model.train_on_batch(ONES, np.ones(4, int))
    model.compile("sgd", "mse", device="cpu")
    with pytest.raises(ValueError, match="do not fit"):
        model.train_on_batch(ONES, np.ones(4, int))


def test_a_cast_model_gets_its_type():
    model = small()
    model.train_on_batch(ONES, np.ones((4, 1)))
    model.double()
    assert model.predict_on_batch(ONES).dtype == np.float64
    model.train_on_batch(ONES, np.ones((4, 1)))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_learns_anew(duplicate):
    model = small()
    model.train_on_batch(ONES, np.ones((4, 1)))
    twin = duplicate(model)
    assert twin.train_on_batch(ONES, np.ones((4, 1))) == model.train_on_batch(ONES, np.ones((4, 1)))


class Plain(Trainer, torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def forward(self, x):
        return self.layer(x)


def test_a_plain_module_learns_too_and_can_be_pickled():
    net = Plain()
    net.compile("sgd", "mse", device="cpu")
    values = [net.train_on_batch(ONES, np.ones((4, 1))) for _ in range(3)]
    assert values[0] > values[1] > values[2]
    assert pickle.loads(pickle.dumps(net)).predict(ONES).shape == (4, 1)
