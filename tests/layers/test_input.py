"""`Input`: the ways to say a shape, dtypes, and an input that feeds itself."""

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, config
from torchkeras_fn.layers import Dense, InputLayer


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"shape": (3,)}, (None, 3)),
        ({"shape": [28, 28, 1]}, (None, 28, 28, 1)),
        ({"shape": 3}, (None, 3)),
        ({"shape": np.int64(3)}, (None, 3)),
        ({"shape": (None, 3)}, (None, None, 3)),
        ({"shape": ()}, (None,)),
        ({"shape": (3,), "batch_size": 8}, (8, 3)),
        ({"batch_shape": (8, 3)}, (8, 3)),
        ({"batch_shape": (None, None)}, (None, None)),
        ({"shape": (np.int64(2), np.int32(3))}, (None, 2, 3)),
        ({"tensor": torch.ones(5, 3)}, (None, 3)),
    ],
)
def test_the_ways_to_say_a_shape(arguments, shape):
    assert Input(**arguments).shape == shape


def test_sizes_are_plain_integers():
    assert [type(size) for size in Input(shape=(np.int64(3),)).shape] == [type(None), int]


def test_the_first_argument_is_the_shape():
    assert Input((3,)).shape == (None, 3)


def test_a_shape_is_needed():
    with pytest.raises(ValueError, match="Input needs a shape"):
        Input()


def test_of_two_shapes_the_one_with_the_batch_holds():
    assert Input(shape=(None, None), batch_shape=(8, 3)).shape == (8, 3)


@pytest.mark.parametrize("shape", [(3.5,), ("3",), (-3,), "pixels", ((3, 4),)])
def test_what_is_no_size_is_refused(shape):
    with pytest.raises((ValueError, TypeError), match="shape"):
        Input(shape=shape)


@pytest.mark.parametrize("dtype", ["int64", np.int64, torch.int64])
def test_the_ways_to_say_a_dtype(dtype):
    assert Input(shape=(3,), dtype=dtype).dtype is torch.int64


def test_the_dtype_is_floatx_unless_given():
    config.set_floatx("float64")
    try:
        assert Input(shape=(3,)).dtype is torch.float64
    finally:
        config.set_floatx("float32")


def test_an_unknown_dtype_is_named():
    with pytest.raises(ValueError, match="'int65' is not a dtype"):
        Input(shape=(3,), dtype="int65")


def test_a_name_is_that_of_the_layer():
    assert Input(shape=(3,), name="pixels").name == "pixels"


def test_a_tensor_lends_its_dtype():
    assert Input(tensor=torch.ones(5, 3, dtype=torch.int32)).dtype is torch.int32


def test_an_array_feeds_an_input_in_floatx():
    x = Input(tensor=np.ones((5, 3)))
    model = Model(x, Dense(2)(x))
    model.compile("sgd", "mse")
    history = model.fit(y=np.ones((5, 2)), steps_per_epoch=1, verbose=0)
    assert (x.shape, x.dtype, len(history.epoch)) == ((None, 3), torch.float32, 1)


@pytest.mark.parametrize("array", [np.ones((5, 3), dtype="int64"), torch.ones(5, 3, dtype=torch.float64)])
def test_other_types_that_feed_an_input_are_kept(array):
    assert Input(tensor=array).dtype is config.dtype(str(array.dtype))


@pytest.mark.parametrize("shape", [(4,), (3, 1), (), (None, 3)])
def test_a_tensor_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"its tensor has the shape \(5, 3\)"):
        Input(shape=shape, tensor=torch.ones(5, 3))


def test_a_symbolic_tensor_is_no_data_for_an_input():
    with pytest.raises(TypeError, match="is symbolic. Call the layers on it, in place of an Input"):
        Input(tensor=Dense(2)(Input((3,))))


def test_what_holds_no_data_is_refused_as_tensor():
    with pytest.raises(TypeError, match="an array, or a callable that returns a tensor; got a str"):
        Input(shape=(3,), tensor="pixels")


def test_an_input_layer_is_among_the_layers():
    x = Input(shape=(3,), name="pixels")
    layer = Model(x, Dense(2)(x)).layers[0]
    assert isinstance(layer, InputLayer)
    assert layer.batch_shape == (None, 3)


def test_every_call_makes_another_input():
    assert Input(shape=(3,)).node is not Input(shape=(3,)).node


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [({"shape": (3,)}, (None, 3)), ({"input_shape": (3,), "batch_size": 8}, (8, 3)), ({"batch_shape": (8, 3)}, (8, 3))],
)
def test_the_ways_to_make_an_input_layer(arguments, shape):
    layer = InputLayer(**arguments)
    assert layer.output.shape == layer.batch_shape == shape
    assert InputLayer.from_config(layer.get_config()).batch_shape == shape


def test_the_size_of_the_batch_is_said_once():
    with pytest.raises(ValueError, match=r"batch_size=8 goes with a shape to Input; batch_shape=\(8, 3\)"):
        Input(batch_shape=(8, 3), batch_size=8)


def test_an_input_layer_needs_a_shape():
    with pytest.raises(ValueError, match="InputLayer: give a shape"):
        InputLayer()


def test_an_input_layer_takes_its_tensor_under_the_name_that_keras_has_for_it():
    data = torch.ones(5, 3)
    assert InputLayer((3,), input_tensor=data).tensor is data
