"""Each layer against the real Keras: outputs, shapes, weights in order and layout, gradients, moving statistics."""

from itertools import product

import keras
import numpy as np
import pytest
import torch

import torchkeras_fn as tk
from parity.twins import LIBRARIES, array, random_weights, same, twins

FLOATS = {
    "dense": (lambda k: k.layers.Dense(5), (7,)),
    "dense without bias": (lambda k: k.layers.Dense(5, use_bias=False), (7,)),
    "dense of one unit": (lambda k: k.layers.Dense(1, activation="sigmoid"), (3,)),
    "dense over steps": (lambda k: k.layers.Dense(5, activation="tanh"), (4, 7)),
    "dense over an image": (lambda k: k.layers.Dense(2, "relu"), (3, 4, 5)),
    "dense over unknown steps": (lambda k: k.layers.Dense(2), (None, 5)),
    **{
        f"dense {name}": (lambda k, name=name: k.layers.Dense(4, activation=name), (6,))
        for name in (
            "linear",
            "relu",
            "softmax",
            "sigmoid",
            "tanh",
            "elu",
            "selu",
            "softplus",
            "softsign",
            "gelu",
            "exponential",
            "hard_sigmoid",
        )
    },
    **{
        f"activation {name}": (lambda k, name=name: k.layers.Activation(name), (3, 4))
        for name in ("linear", "relu", "softmax", "sigmoid", "tanh", "swish", "leaky_relu", "log_softmax", "relu6", "mish")
    },
    "activation from a function": (lambda k: k.layers.Activation(lambda x: x * x), (3,)),
    "dense with a function": (lambda k: k.layers.Dense(3, activation=lambda x: x * x), (3,)),
    **{
        f"einsum {equation} {options} of {shape}": (lambda k, e=equation, o=options: k.layers.EinsumDense(e, **o), shape)
        for equation, options, shape in [
            ("ab,bc->ac", {"output_shape": 5}, (4,)),
            ("abc,cd->abd", {"output_shape": (None, 5), "bias_axes": "d", "activation": "tanh"}, (None, 4)),
            ("abc,cd->abd", {"output_shape": (3, 5), "bias_axes": "bd"}, (3, 4)),
            ("abc,cd->abd", {"output_shape": (3, 5), "bias_axes": "b"}, (3, 4)),
            ("abc,bcd->ad", {"output_shape": 5, "bias_axes": "d"}, (3, 4)),
            ("abc,bd->adc", {"output_shape": (5, 4), "bias_axes": "d"}, (3, 4)),
            ("abc,cde->abde", {"output_shape": (None, 2, 3), "bias_axes": "de"}, (None, 4)),
            ("...x,xy->...y", {"output_shape": 5, "bias_axes": "y"}, (3, 4)),
            ("...x,xy->...y", {"output_shape": 5}, (3, 3, 4)),
            ("...xy,yz->...xz", {"output_shape": (3, 5), "bias_axes": "z"}, (3, 3, 4)),
            ("ab...,bc->ac...", {"output_shape": 5, "bias_axes": "c"}, (3, 4)),
            ("abc...,cd->abd...", {"output_shape": (2, 5), "bias_axes": "d"}, (2, 3, 4)),
        ]
    },
    "dropout": (lambda k: k.layers.Dropout(0.5), (6,)),
    "dropout with a noise shape": (lambda k: k.layers.Dropout(0.5, noise_shape=(None, 1, 4), seed=1), (3, 4)),
    "flatten a scalar": (lambda k: k.layers.Flatten(), ()),
    "flatten a vector": (lambda k: k.layers.Flatten(), (4,)),
    "flatten": (lambda k: k.layers.Flatten(), (2, 3, 4)),
    "flatten channels last": (lambda k: k.layers.Flatten("channels_last"), (2, 3, 4)),
    "flatten channels first": (lambda k: k.layers.Flatten(data_format="channels_first"), (2, 3, 4)),
    "flatten channels first of rank 3": (lambda k: k.layers.Flatten(data_format="channels_first"), (3, 4)),
    "flatten unknown steps": (lambda k: k.layers.Flatten(), (None, 3)),
    "reshape": (lambda k: k.layers.Reshape((3, 2, 4)), (6, 4)),
    "reshape to one axis": (lambda k: k.layers.Reshape((-1,)), (2, 3)),
    "reshape with the rest first": (lambda k: k.layers.Reshape((-1, 2)), (3, 4)),
    "reshape with the rest between": (lambda k: k.layers.Reshape((2, -1, 3)), (6, 4)),
    "reshape with the rest last": (lambda k: k.layers.Reshape((4, -1)), (24,)),
    "reshape unknown steps": (lambda k: k.layers.Reshape((-1, 2)), (None, 4)),
    "permute": (lambda k: k.layers.Permute((2, 1)), (3, 4)),
    "permute three": (lambda k: k.layers.Permute((3, 1, 2)), (2, 3, 4)),
    "permute nothing": (lambda k: k.layers.Permute((1, 2)), (3, 4)),
    "permute unknown steps": (lambda k: k.layers.Permute((2, 1)), (None, 4)),
    "repeat": (lambda k: k.layers.RepeatVector(3), (4,)),
    "repeat once": (lambda k: k.layers.RepeatVector(1), (4,)),
    "lambda": (lambda k: k.layers.Lambda(lambda x: x**2 + 1), (3, 4)),
    "lambda that changes the shape": (lambda k: k.layers.Lambda(lambda x: x[:, 1:, 0]), (3, 4)),
    "lambda with arguments": (
        lambda k: k.layers.Lambda(lambda x, factor, shift=0: x * factor + shift, arguments={"factor": 3, "shift": 1}),
        (4,),
    ),
    "lambda with an output shape": (lambda k: k.layers.Lambda(lambda x: x.sum(-1), output_shape=(3,)), (3, 4)),
}
NORMALIZATIONS = {
    f"axis {axis} of {1 + len(shape)}{''.join(f', {name} off' for name in off)}": ({"axis": axis, **{name: False for name in off}}, shape)
    for axis, shape, off in [
        *product((-1, 1), [(5,), (4, 5), (3, 4, 5)], [()]),
        (2, (3, 4, 5), ()),
        (-2, (3, 4, 5), ()),
        *product((-1, 1), [(4, 5)], [("center",), ("scale",), ("center", "scale")]),
    ]
} | {
    "another momentum": ({"momentum": 0.5}, (5,)),
    "no momentum": ({"momentum": 0.0}, (5,)),
    "full momentum": ({"momentum": 1.0}, (5,)),
    "another epsilon": ({"epsilon": 0.1}, (5,)),
    "initializers": ({"gamma_initializer": "zeros", "beta_initializer": "ones", "moving_variance_initializer": "zeros"}, (5,)),
}
MERGES = {
    **{
        f"{name} {shapes}": (lambda k, name=name: getattr(k.layers, name)(), shapes)
        for name, shapes in product(
            ("Add", "Multiply", "Average", "Maximum", "Minimum"),
            (
                [(4,), (4,)],
                [(4,)] * 3,
                [(3, 4), (3, 4)],
                [(4,), (3, 4)],
                [(3, 4), (4,)],
                [(2, 3, 4), (4,), (3, 4)],
                [(3, 1), (1, 4)],
                [(1,), (4,)],
            ),
        )
    },
    **{
        f"Subtract {shapes}": (lambda k: k.layers.Subtract(), shapes)
        for shapes in ([(4,), (4,)], [(3, 4), (4,)], [(4,), (3, 4)], [(2, 3, 4), (3, 4)], [(3, 1), (1, 4)])
    },
    **{
        f"Concatenate {axis} {shapes}": (lambda k, axis=axis: k.layers.Concatenate(axis=axis), shapes)
        for axis, shapes in [
            (-1, [(4,), (2,)]),
            (1, [(4,), (2,), (1,)]),
            (1, [(3, 4), (2, 4)]),
            (-1, [(3, 4), (3, 2)]),
            (2, [(3, 4), (3, 2)]),
            (-2, [(3, 4), (5, 4)]),
            (-1, [(2, 3, 4), (2, 3, 5), (2, 3, 1)]),
            (2, [(2, 3, 4), (2, 1, 4)]),
            (-1, [(None, 4), (None, 2)]),
            (1, [(None, 4), (None, 4)]),
        ]
    },
}


def dot_shapes():
    """Every pair of ranks and of axes, where only the sizes along those axes agree."""
    for first, second in product((2, 3), (2, 3)):
        for one, other in product(range(1, first), range(1, second)):
            left, right = [0, 2, 3][:first], [0, 5, 6][:second]
            left[one] = right[other] = 4
            yield (one, other), [tuple(left[1:]), tuple(right[1:])]
            yield (one - first, other - second), [tuple(left[1:]), tuple(right[1:])]
            if one == other:
                yield one, [tuple(left[1:]), tuple(right[1:])]
    yield -1, [(3, 4), (2, 4)]
    yield -1, [(4,), (4,)]
    yield -2, [(4, 3), (4, 2)]


DOTS = {
    f"Dot {axes} {shapes}{' normalized' if normalize else ''}": (
        lambda k, axes=axes, normalize=normalize: k.layers.Dot(axes=axes, normalize=normalize),
        shapes,
    )
    for (axes, shapes), normalize in product(dot_shapes(), (False, True))
}


def table(cases):
    return [pytest.param(*case, id=name) for name, case in cases.items()]


def inputs_of(shapes, batch=6, seed=1):
    random = np.random.default_rng(seed)
    return [random.normal(size=(batch, *(3 if size is None else size for size in shape))).astype("float32") for shape in shapes]


def model_of(make, shapes):
    """Return a recipe for a model of one layer."""

    def recipe(k):
        tensors = [k.Input(shape=shape) for shape in shapes]
        return k.Model(tensors, make(k)(tensors if len(tensors) > 1 else tensors[0]))

    return recipe


def tell_apart(outputs):
    """Return a loss to which every output contributes another share."""
    return (outputs * torch.cos(torch.arange(outputs.numel(), device=outputs.device)).reshape(outputs.shape)).sum()


def gradients(model, arrays, training=False):
    """Return the outputs, the gradients of each weight in Keras' layout, and those of the inputs."""
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
    inputs = tensors if len(tensors) > 1 else tensors[0]
    outputs = model(inputs, training=training) if isinstance(model, keras.Model) else model.train(training)(inputs)
    tell_apart(outputs).backward()
    if isinstance(model, keras.Model):
        weights = [weight.value.grad for weight in model.trainable_weights]
    else:
        layouts = {id(weight.tensor): weight.axes for weight in model.named_weights()}
        weights = [
            weight.grad if layouts[id(weight)] is None else weight.grad.permute(layouts[id(weight)]) for weight in model.trainable_weights
        ]
    return outputs, weights, [tensor.grad for tensor in tensors]


def compare(make, shapes, training=False):
    ours, theirs = twins(model_of(make, shapes))
    assert ours.output_shape == theirs.output_shape
    arrays = inputs_of(shapes)
    (outputs, weights, arguments), (their_outputs, their_weights, their_arguments) = (
        gradients(model, arrays, training) for model in (ours, theirs)
    )
    same(outputs, their_outputs)
    same(weights, their_weights, 1e-4)
    same(arguments, their_arguments, 1e-4)
    return ours, theirs


@pytest.mark.parametrize(("make", "shape"), table(FLOATS))
def test_layer(make, shape):
    ours, theirs = compare(make, [shape])
    new = random_weights(theirs, seed=7)
    theirs.set_weights(new)
    ours.set_weights(theirs.get_weights())
    same(ours.get_weights(), new, 0)
    x = inputs_of([shape], seed=8)[0]
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))


@pytest.mark.parametrize(("make", "shapes"), table(MERGES | DOTS))
def test_merge(make, shapes):
    compare(make, shapes)


@pytest.mark.parametrize("name", ["add", "multiply", "average", "maximum", "minimum", "concatenate", "subtract"])
def test_merge_function(name):
    def recipe(k):
        tensors = [k.Input(shape=(3, 4)) for _ in range(2)]
        return k.Model(tensors, getattr(k.layers, name)(tensors))

    ours, theirs = twins(recipe)
    arrays = inputs_of([(3, 4)] * 2)
    same(ours.predict(arrays, verbose=0), theirs.predict(arrays, verbose=0))


def test_normalized_dot_of_zeros():
    ours, theirs = twins(model_of(lambda k: k.layers.Dot(axes=1, normalize=True), [(4,), (4,)]))
    x = [np.zeros((2, 4), "float32"), np.ones((2, 4), "float32")]
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))


# ---------------------------------------------------------------------- BatchNormalization


@pytest.mark.parametrize(("options", "shape"), table(NORMALIZATIONS))
def test_batch_normalization(options, shape):
    ours, theirs = twins(model_of(lambda k: k.layers.BatchNormalization(**options), [shape]))
    for batch in range(4):
        arrays = [3 * x + 2 for x in inputs_of([shape], batch=5 + batch, seed=batch)]
        for mine, other in zip(gradients(ours, arrays, True), gradients(theirs, arrays, True), strict=True):
            same(mine, other, 1e-4 if isinstance(mine, list) else 1e-5)
        same(ours.get_weights(), theirs.get_weights())
    x = inputs_of([shape], seed=9)[0]
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    same(ours.get_weights(), theirs.get_weights())


@pytest.mark.parametrize("shape", [(5,), (4, 5), (3, 4, 5)])
def test_gradients_of_batch_normalization_at_inference(shape):
    compare(lambda k: k.layers.BatchNormalization(), [shape])


@pytest.mark.parametrize("batch", [1, 2])
def test_batch_normalization_of_a_tiny_batch(batch):
    ours, theirs = twins(model_of(lambda k: k.layers.BatchNormalization(), [(5,)]))
    arrays = inputs_of([(5,)], batch=batch)
    same(gradients(ours, arrays, True)[0], gradients(theirs, arrays, True)[0])
    same(ours.get_weights(), theirs.get_weights())


def test_frozen_batch_normalization_infers():
    ours, theirs = twins(model_of(lambda k: k.layers.BatchNormalization(trainable=False), [(5,)]))
    before = ours.get_weights()
    arrays = inputs_of([(5,)])
    same(gradients(ours, arrays, True)[0], gradients(theirs, arrays, True)[0])
    same(ours.get_weights(), before, 0)


# ---------------------------------------------------------------------- Embedding


@pytest.mark.parametrize("kind", ["int32", "int64", "float32"])
@pytest.mark.parametrize("shape", [(), (4,), (3, 4), (None,)])
@pytest.mark.parametrize("mask_zero", [False, True])
def test_embedding(shape, kind, mask_zero):
    def recipe(k):
        x = k.Input(shape=shape, dtype=kind)
        return k.Model(x, k.layers.Embedding(10, 4, mask_zero=mask_zero)(x))

    ours, theirs = twins(recipe)
    assert ours.output_shape == theirs.output_shape
    x = np.random.default_rng(0).integers(0, 10, size=(5, *(size or 3 for size in shape))).astype(kind)
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    grads = []
    for model in (ours, theirs):
        outputs = model(torch.tensor(x))
        tell_apart(outputs).backward()
        weight = model.trainable_weights[0]
        grads.append(weight.grad if isinstance(weight, torch.Tensor) else weight.value.grad)
    same(*grads, 1e-4)


# ---------------------------------------------------------------------- weights and initial values


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda k: k.layers.Dense(5, kernel_initializer="ones", bias_initializer="ones"), (7,)),
        (lambda k: k.layers.BatchNormalization(), (7,)),
        (lambda k: k.layers.BatchNormalization(gamma_initializer="zeros", moving_mean_initializer="ones"), (7,)),
        (lambda k: k.layers.Embedding(5, 3, embeddings_initializer="ones"), (7,)),
        (lambda k: k.layers.Embedding(5, 3, weights=[np.arange(15, dtype="float32").reshape(5, 3)]), (7,)),
    ],
)
def test_weights_at_the_start(make, shape):
    ours, theirs = (model_of(make, [shape])(library) for library in LIBRARIES)
    same(ours.get_weights(), theirs.get_weights(), 0)
    names = [weight.name for layer in ours.layers for weight in layer.named_weights()]
    assert names == [weight.name for weight in theirs.weights]


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda k: k.layers.Dense(200), 300),
        (lambda k: k.layers.Embedding(300, 200), 4),
        (lambda k: k.layers.EinsumDense("ab,bcd->acd", (20, 30)), 50),
    ],
)
def test_spread_of_random_weights_at_the_start(make, size):
    ours, theirs = (model_of(make, [(size,)])(library).get_weights()[0] for library in LIBRARIES)
    assert np.quantile(ours, [0, 0.25, 0.75, 1]) == pytest.approx(np.quantile(theirs, [0, 0.25, 0.75, 1]), abs=0.02 * float(theirs.std()))


def test_order_of_layers_and_weights_in_a_graph_with_branches():
    def recipe(k):
        a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
        shared = k.layers.Dense(4, name="shared")
        left = k.layers.Dense(5, name="left")(shared(a))
        right = k.layers.BatchNormalization(name="right")(shared(b))
        middle = k.layers.Dense(3, name="middle")(k.layers.Dense(2, name="deep")(right))
        joined = k.layers.Concatenate(name="joined")([left, right, middle])
        return k.Model([a, b], [k.layers.Dense(1, name="one")(joined), k.layers.Dense(2, name="two")(left)])

    ours, theirs = twins(recipe)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    assert ours.count_params() == theirs.count_params()
    arrays = inputs_of([(4,), (4,)])
    same(ours.predict(arrays, verbose=0), theirs.predict(arrays, verbose=0))
    assert array(ours.get_layer("shared").get_weights()[0]).shape == (4, 4)


@pytest.mark.parametrize(
    "mask",
    [
        lambda k, x: k.layers.Masking(name="m")(x),
        lambda k, x: k.layers.Attention(name="m")([k.layers.Masking(name="n")(x)] * 2),
        lambda k, x: k.layers.Add(name="m")([k.layers.Masking(name="n")(x), k.layers.Masking(name="o")(x)]),
        lambda k, x: k.layers.Concatenate(name="m")([k.layers.Masking(name="n")(x), x]),
        lambda k, x: k.layers.TimeDistributed(k.layers.Dense(3), name="m")(k.layers.Masking(name="n")(x)),
        lambda k, x: k.Sequential([k.layers.Dense(3)], name="m")(k.layers.Masking(name="n")(x)),
        lambda k, x: k.layers.MultiHeadAttention(1, 2, name="m")(*[k.layers.Masking(name="n")(x)] * 2),
    ],
    ids=["Masking", "Attention", "Add", "Concatenate", "TimeDistributed", "Sequential", "MultiHeadAttention"],
)
@pytest.mark.parametrize("taker", ["LSTM", "Conv1D"])
@pytest.mark.parametrize("length", range(1, 8))
def test_order_of_layers_beside_a_mask(mask, taker, length):
    def recipe(k):
        x = plain = k.Input((5, 3), name="x")
        for index in range(length):
            plain = k.layers.Dense(3, name=f"plain_{index}")(plain)
        masked = mask(k, k.layers.Dense(3, name="masked")(x))
        taken = k.layers.LSTM(3, name="taker")(masked) if taker == "LSTM" else k.layers.Conv1D(3, 5, name="taker")(masked)
        return k.Model(x, k.layers.Concatenate(name="end")([k.layers.Flatten(name="f")(plain), k.layers.Flatten(name="g")(taken)]))

    ours, theirs = (recipe(library) for library in LIBRARIES)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]


@pytest.mark.parametrize(
    "make",
    [
        lambda k: k.layers.Dense(2, "relu", kernel_regularizer="l2", dtype="float64"),
        lambda k: k.layers.Bidirectional(k.layers.RNN(k.layers.StackedRNNCells([k.layers.GRUCell(2)]))),
        lambda k: k.layers.TimeDistributed(k.layers.BatchNormalization(epsilon=0.5)),
        lambda k: k.Sequential([k.layers.Input((2, 3)), k.layers.GroupNormalization(1), k.layers.Conv1D(2, 1)]),
        lambda k: k.Model(x := k.layers.Input((2, 3)), k.layers.Dense(1)(x)),
    ],
)
def test_a_configuration_that_keras_wrote_is_read(make):
    kind, theirs = type(make(tk)), make(keras)
    x = np.random.default_rng(0).normal(size=(4, 2, 3)).astype("float32")
    expected = theirs(x)
    for layer in (kind.from_config(theirs.get_config()), tk.layers.deserialize(keras.saving.serialize_keras_object(theirs))):
        layer(x)
        layer.set_weights(theirs.get_weights())
        same(layer(x, training=False), expected)
