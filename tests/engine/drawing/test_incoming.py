"""What comes into a layer: arrays, what `input_spec` demands, and masks where layers are called by hand."""

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, Sequential, layers
from torchkeras_fn.engine.drawing.incoming import as_tensors, carried_mask, carry_mask
from torchkeras_fn.layers import Dense, InputSpec, Layer


def test_arrays_in_lists_tuples_and_dicts_become_tensors():
    inside = as_tensors([np.ones(2), (np.ones(2, dtype=np.int64), {"x": np.ones(2, dtype=np.float32)})], torch.float32)
    assert inside[0].dtype is inside[1][1]["x"].dtype is torch.float32
    assert isinstance(inside[1], tuple) and inside[1][0].dtype is torch.int64


class Picky(Layer):
    def __init__(self, spec):
        super().__init__(name="picky")
        self.input_spec = spec

    def call(self, inputs):
        return inputs[0] if isinstance(inputs, list) else inputs


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (InputSpec(ndim=3), (2, 4), "expects input of 3 dimensions, got shape"),
        (InputSpec(min_ndim=3), (2, 4), "expects input of at least 3 dimensions"),
        (InputSpec(max_ndim=1), (2, 4), "expects input of at most 1 dimensions"),
        (InputSpec(axes={-1: 5}), (2, 4), "expects size 5 along axis -1"),
        (InputSpec(shape=(None, 5)), (2, 4), "expects size 5 along axis 1"),
        ([InputSpec(ndim=2)] * 2, (2, 4), "expects 2 inputs, got 1"),
    ],
)
def test_inputs_are_as_the_spec_demands(spec, shape, message):
    with pytest.raises(ValueError, match=rf"picky \(Picky\) {message}"):
        Picky(spec)(torch.ones(shape))
    with pytest.raises(ValueError, match=rf"picky \(Picky\) {message}"):
        Picky(spec)(Input(shape=shape[1:]))


def test_an_input_given_by_keyword_is_asked_too():
    with pytest.raises(ValueError, match="expects input of 3 dimensions"):
        Picky(InputSpec(ndim=3))(inputs=torch.ones(2, 4))


def test_inputs_that_fit_the_spec_go_through():
    assert Picky(InputSpec(shape=(None, 4), min_ndim=1, axes={1: None}))(torch.ones(2, 4)).shape == (2, 4)
    assert Picky([InputSpec(ndim=2), None])([torch.ones(2, 4), torch.ones(2)]).shape == (2, 4)


FLOATS = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]


def model_of(*stack):
    model = Sequential(stack)
    model.build((None, 3, 4))
    return model


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "make", [lambda: Dense(2), lambda: layers.LSTM(2), lambda: layers.Conv1D(2, 2), lambda: model_of(Dense(2))]
)
def test_what_clashes_with_the_weights_is_cast_to_their_type(make, dtype):
    callee, x = make(), torch.arange(24).view(2, 3, 4).to(dtype)
    expected = callee(x.to(torch.float32))
    torch.testing.assert_close(callee(x), expected)


def test_a_model_that_was_cast_casts_what_it_is_given():
    assert model_of(Dense(2)).double()(torch.ones(1, 3, 4)).dtype is torch.float64


def test_a_layer_without_weights_keeps_the_type():
    assert layers.GlobalAveragePooling1D()(torch.ones(1, 3, 4, dtype=torch.float64)).dtype is torch.float64


def test_what_autocast_casts_is_left_to_it():
    with torch.autocast("cpu", torch.bfloat16):
        assert Dense(2)(torch.ones(1, 4, dtype=torch.bfloat16)).dtype is torch.bfloat16


INDICES = torch.tensor([[1, 2, 0], [3, 0, 0]])


class Reader(Model):
    """Layers called by hand."""

    def __init__(self, last):
        super().__init__()
        self.embedding = layers.Embedding(5, 4, mask_zero=True)
        self.dropout = layers.Dropout(0.0)
        self.recurrent = layers.LSTM(3, return_sequences=last is None)
        self.last = last or Dense(1)

    def call(self, inputs):
        return self.last(self.recurrent(self.dropout(self.embedding(inputs))))


def test_masks_reach_layers_that_are_called_by_hand():
    reader = Reader(Dense(2))
    by_hand = reader.predict(INDICES, verbose=0)
    x = Input(shape=(3,))
    drawn = Model(x, reader.last(reader.recurrent(reader.embedding(x))))
    np.testing.assert_allclose(by_hand, drawn.predict(INDICES, verbose=0), rtol=1e-6)


def test_the_loss_of_a_model_of_such_layers_skips_masked_steps():
    reader = Reader(None)
    reader.compile("sgd", "mse")
    targets = torch.zeros(2, 3, 1)
    loss = reader.evaluate(INDICES, targets, verbose=0)
    targets[INDICES == 0] = 100.0
    assert reader.evaluate(INDICES, targets, verbose=0) == pytest.approx(loss)


def test_a_mask_given_in_the_call_goes_before_the_one_that_is_carried():
    x = layers.Embedding(5, 4, mask_zero=True)(INDICES)
    pool = layers.GlobalAveragePooling1D()
    assert torch.allclose(pool(x), pool(x.clone(), mask=INDICES != 0))
    everything = torch.ones(2, 3, dtype=torch.bool)
    assert torch.allclose(pool(x, mask=everything), x.mean(1))
    assert torch.allclose(pool(x, everything), x.mean(1))


def test_a_mask_given_in_the_call_goes_on_to_the_layers_behind():
    steps, mask = torch.randn(2, 3, 4), INDICES != 0
    recurrent, pool = layers.LSTM(3, return_sequences=True), layers.GlobalAveragePooling1D()
    given, hidden = Input(shape=(3,), dtype="bool"), Input(shape=(3, 4))
    drawn = Model([hidden, given], pool(recurrent(hidden, mask=given)))
    torch.testing.assert_close(pool(recurrent(steps, mask=mask)), drawn(steps, mask))


def test_a_list_of_outputs_carries_a_list_of_masks():
    first, second = torch.ones(2, 3), torch.ones(2, 3)
    carry_mask([first, second], [None, INDICES != 0])
    assert carried_mask(first) is None and torch.equal(carried_mask([first, second])[1], INDICES != 0)
