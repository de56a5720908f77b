"""The same values as the real Keras: every activation, regularizer and constraint, and the distribution of every initializer."""

import keras
import numpy as np
import pytest
import torch

from torchkeras_fn import activations, constraints, initializers, regularizers

X = (np.random.default_rng(0).normal(size=(3, 4, 6)) * 3).astype("float32")
ACTIVATION_ARGUMENTS = {
    "threshold": [{"threshold": 0.5, "default_value": -1.0}],
    "relu": [
        {},
        {"negative_slope": 0.2},
        {"max_value": 2.0},
        {"max_value": 6},
        {"threshold": 0.5},
        {"negative_slope": 0.2, "max_value": 2.0, "threshold": 0.5},
        {"negative_slope": 0.2, "threshold": 0.5},
    ],
    "leaky_relu": [{}, {"negative_slope": 0.05}],
    "elu": [{}, {"alpha": 0.5}],
    "celu": [{}, {"alpha": 0.5}],
    "gelu": [{}, {"approximate": True}],
    "softmax": [{}, {"axis": 1}, {"axis": (1, 2)}],
    "log_softmax": [{}, {"axis": 1}],
    "sparsemax": [],  # has a test of its own below
    "glu": [{}, {"axis": 1}],
    "squareplus": [{}, {"b": 1}],
    "hard_shrink": [{}, {"threshold": 1.0}],
    "soft_shrink": [{}, {"threshold": 1.0}],
}
KERAS_ACTIVATIONS = sorted(
    set(dir(keras.activations)) - {"get", "serialize", "deserialize"} - {n for n in dir(keras.activations) if n[0] == "_"}
)


def same(ours, theirs, tolerance=1e-5):
    theirs = keras.ops.convert_to_numpy(theirs)
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "arguments"), [(name, arguments) for name in KERAS_ACTIVATIONS for arguments in ACTIVATION_ARGUMENTS.get(name, [{}])]
)
def test_activation(name, arguments):
    same(getattr(activations, name)(torch.tensor(X), **arguments), getattr(keras.activations, name)(X, **arguments))


def test_sparsemax_agrees_where_keras_is_right():
    # Keras 3.15 on torch adds up the cumulative sums instead of taking the last one: it is right where one value survives.
    x = torch.tensor(X)
    ours, theirs = activations.sparsemax(x), torch.tensor(keras.ops.convert_to_numpy(keras.activations.sparsemax(X)))
    alone = (ours > 0).sum(-1) == 1
    assert alone.any()
    torch.testing.assert_close(ours[alone], theirs[alone], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.sum(-1), torch.ones(3, 4))
    assert not torch.allclose(theirs.sum(-1), torch.ones(3, 4)), "Keras is mended: compare everything"


@pytest.mark.parametrize("name", KERAS_ACTIVATIONS)
def test_every_activation_name_of_keras_is_known(name):
    assert activations.get(name) is getattr(activations, name)
    assert activations.serialize(activations.get(name)) == keras.activations.serialize(keras.activations.get(name))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("L1", {}),
        ("L1", {"l1": 0.3}),
        ("L2", {}),
        ("L2", {"l2": 0.3}),
        ("L1L2", {}),
        ("L1L2", {"l1": 0.3, "l2": 0.1}),
        ("OrthogonalRegularizer", {}),
        ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
    ],
)
def test_regularizer(name, arguments):
    ours, theirs = getattr(regularizers, name)(**arguments), getattr(keras.regularizers, name)(**arguments)
    same(ours(torch.tensor(X[0])), theirs(keras.ops.convert_to_tensor(X[0])))
    assert ours.get_config() == pytest.approx(theirs.get_config())
    assert regularizers.get(keras.regularizers.serialize(theirs)).get_config() == pytest.approx(ours.get_config())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("MaxNorm", {}),
        ("MaxNorm", {"max_value": 1.5, "axis": 1}),
        ("MaxNorm", {"max_value": 1.5, "axis": [0, 1]}),
        ("NonNeg", {}),
        ("UnitNorm", {}),
        ("UnitNorm", {"axis": -1}),
        ("MinMaxNorm", {}),
        ("MinMaxNorm", {"min_value": 4.0, "max_value": 6.0, "rate": 0.3, "axis": 1}),
    ],
)
def test_constraint(name, arguments):
    ours, theirs = getattr(constraints, name)(**arguments), getattr(keras.constraints, name)(**arguments)
    same(ours(torch.tensor(X)), theirs(keras.ops.convert_to_tensor(X)))
    assert ours.get_config() == theirs.get_config()
    assert constraints.get(keras.constraints.serialize(theirs)).get_config() == ours.get_config()


RANDOM_INITIALIZERS = [
    ("RandomUniform", {}),
    ("RandomUniform", {"minval": 1.0, "maxval": 3.0}),
    ("RandomNormal", {}),
    ("RandomNormal", {"mean": 1.0, "stddev": 0.2}),
    ("TruncatedNormal", {}),
    ("TruncatedNormal", {"mean": 1.0, "stddev": 0.2}),
    ("VarianceScaling", {}),
    ("VarianceScaling", {"scale": 2.0, "mode": "fan_out", "distribution": "uniform"}),
    ("VarianceScaling", {"mode": "fan_avg", "distribution": "untruncated_normal"}),
    ("VarianceScaling", {"distribution": "normal"}),
    ("GlorotUniform", {}),
    ("GlorotNormal", {}),
    ("HeUniform", {}),
    ("HeNormal", {}),
    ("LecunUniform", {}),
    ("LecunNormal", {}),
    ("Orthogonal", {}),
    ("Orthogonal", {"gain": 3.0}),
]


@pytest.mark.parametrize("shape", [(300, 200), (3, 3, 60, 80)])
@pytest.mark.parametrize(("name", "arguments"), RANDOM_INITIALIZERS)
def test_distribution_of_an_initializer(name, arguments, shape):
    theirs = getattr(keras.initializers, name)(**arguments, seed=1)
    ours = getattr(initializers, name)(**arguments, seed=1)
    a, b = ours(shape).double().numpy(), keras.ops.convert_to_numpy(theirs(shape)).astype("float64")
    assert a.std() == pytest.approx(b.std(), rel=0.02)
    assert a.mean() == pytest.approx(b.mean(), abs=0.03 * b.std())
    quantiles = [0.05, 0.25, 0.75, 0.95]
    np.testing.assert_allclose(np.quantile(a, quantiles), np.quantile(b, quantiles), atol=0.05 * b.std())
    if name not in ("RandomNormal", "Orthogonal") and arguments.get("distribution") != "untruncated_normal":  # these have ends
        assert (a.min(), a.max()) == pytest.approx((b.min(), b.max()), abs=0.02 * b.std())


@pytest.mark.parametrize(("name", "arguments"), RANDOM_INITIALIZERS)
def test_a_config_of_an_initializer_is_read(name, arguments):
    theirs = getattr(keras.initializers, name)(**arguments, seed=3)
    assert initializers.get(keras.initializers.serialize(theirs)).seed == 3


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("Zeros", {}), ("Ones", {}), ("Constant", {}), ("Constant", {"value": 2.5}), ("Identity", {}), ("Identity", {"gain": 0.5})],
)
def test_values_of_a_constant_initializer(name, arguments):
    ours, theirs = getattr(initializers, name)(**arguments), getattr(keras.initializers, name)(**arguments)
    same(ours((3, 4)), theirs((3, 4)))
    if name != "Identity":  # whose gain Keras 3.15 does not write down
        assert ours.get_config() == theirs.get_config()


def test_every_initializer_of_keras_but_the_fourier_transform_is_here():
    names = {name for name in dir(keras.initializers) if name[0] != "_"} - {"STFT", "STFTInitializer", "stft"}
    assert names <= set(dir(initializers))


VOCABULARIES = [(activations, keras.activations), (constraints, keras.constraints), (regularizers, keras.regularizers)]


@pytest.mark.parametrize(("ours", "theirs"), [*VOCABULARIES, (initializers, keras.initializers)])
def test_every_name_of_a_vocabulary_is_known_as_attribute_and_as_word(ours, theirs):
    bases = {"Constraint", "Initializer", "Regularizer", "STFT", "STFTInitializer", "stft"}
    for name in {name for name in dir(theirs) if name[0] != "_"} - {"get", "serialize", "deserialize"} - bases:
        assert hasattr(ours, name)
        assert callable(ours.get(name))
