"""Initializers: their values, seeds, fans in Keras' layout, and how they are looked up."""

import json
import math

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from torchkeras_fn import config, initializers
from torchkeras_fn.layers import Dense
from torchkeras_fn.random import SeedGenerator

RANDOM = [
    initializers.RandomUniform,
    initializers.RandomNormal,
    initializers.TruncatedNormal,
    initializers.VarianceScaling,
    initializers.GlorotUniform,
    initializers.GlorotNormal,
    initializers.HeUniform,
    initializers.HeNormal,
    initializers.LecunUniform,
    initializers.LecunNormal,
    initializers.Orthogonal,
]
ALL = [initializers.Zeros, initializers.Ones, initializers.Constant, initializers.Identity, *RANDOM]
SCALED = {
    "glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
}


@pytest.mark.parametrize("cls", RANDOM)
def test_a_seed_repeats_the_values_call_after_call_and_leaves_the_global_generator_alone(cls):
    before = torch.get_rng_state()
    initializer = cls(seed=3)
    first = initializer((4, 5))
    assert torch.equal(first, initializer((4, 5)))
    assert torch.equal(first, cls(seed=np.int64(3))((4, 5)))
    assert not torch.equal(first, cls(seed=4)((4, 5)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("cls", RANDOM)
def test_a_seed_generator_gives_others_call_after_call_and_leaves_the_global_generator_alone(cls):
    before = torch.get_rng_state()
    initializer, twin = (cls(seed=SeedGenerator(3)) for _ in range(2))
    first, second = initializer((4, 5)), initializer((4, 5))
    assert not torch.equal(first, second)
    assert torch.equal(first, twin((4, 5))) and torch.equal(second, twin((4, 5)))
    assert torch.equal(before, torch.get_rng_state())


def test_a_seed_generator_is_written_in_the_config():
    written = json.loads(json.dumps(initializers.serialize(initializers.HeNormal(SeedGenerator(3)))))
    assert written["config"]["seed"] == {"class_name": "SeedGenerator", "config": {"seed": 3, "name": None}}
    again = initializers.deserialize(written)
    assert torch.equal(again((4, 5)), initializers.HeNormal(SeedGenerator(3))((4, 5)))


def test_two_layers_of_one_seed_generator_begin_with_different_weights():
    initializer = initializers.GlorotUniform(SeedGenerator(3))
    one, other = (Dense(4, kernel_initializer=initializer, input_shape=(4,)) for _ in range(2))
    for layer in (one, other):
        layer.build((None, 4))
    assert not np.array_equal(one.get_weights()[0], other.get_weights()[0])


@pytest.mark.parametrize("cls", RANDOM)
def test_without_a_seed_the_global_generator_decides(cls):
    initializer = cls()
    config.set_random_seed(1)
    first, second = initializer((4, 5)), initializer((4, 5))
    config.set_random_seed(1)
    assert torch.equal(first, initializer((4, 5)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("dtype", [None, "float64", torch.bfloat16, np.float16])
def test_shape_and_dtype_are_those_asked_for(cls, dtype):
    tensor = cls()([3, np.int64(2)], dtype=dtype)
    assert tensor.shape == (3, 2)
    assert tensor.dtype is config.dtype(dtype)
    assert not tensor.requires_grad
    assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("make", [lambda cls: cls(), lambda cls: cls(seed=1)])
@pytest.mark.parametrize("cls", RANDOM)
def test_tensors_without_storage_are_filled_as_well(cls, make):
    with torch.device("meta"):
        assert make(cls)((2, 3)).is_meta
    with FakeTensorMode():
        assert make(cls)((2, 3)).shape == (2, 3)


@pytest.mark.parametrize("cls", ALL)
def test_the_config_is_json_and_makes_an_equal_initializer(cls):
    arguments = {"seed": 5} if cls in RANDOM else {}
    initializer = cls(**arguments)
    written = json.loads(json.dumps(initializers.serialize(initializer)))
    again = initializers.deserialize(written)
    assert type(again) is cls
    assert again.get_config() == initializer.get_config()
    assert torch.equal(again((2, 2)), initializer((2, 2)))


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
@pytest.mark.parametrize("family", SCALED)
@pytest.mark.parametrize(("shape", "fans"), [((200, 300), (200, 300)), ((3, 5, 40, 60), (600, 900))])
def test_the_variance_follows_the_fans_of_the_keras_layout(family, distribution, shape, fans):
    values = initializers.get(f"{family}_{distribution}")
    values.seed = 0
    tensor = values(shape)
    variance = SCALED[family](*fans)
    assert tensor.var().item() == pytest.approx(variance, rel=0.03)
    assert tensor.mean().item() == pytest.approx(0, abs=0.02 * math.sqrt(variance))
    limit = math.sqrt(3 * variance) if distribution == "uniform" else 2 * math.sqrt(variance) / 0.8796
    assert 0.98 * limit < tensor.abs().max().item() <= 1.0001 * limit


@pytest.mark.parametrize(
    ("shape", "fans"),
    [
        ((), (1, 1)),
        ((7,), (7, 7)),
        ((2, 3), (2, 3)),
        ((5, 2, 3), (10, 15)),
        ((3, 3, 4, 8), (36, 72)),
        ((1, 2, 3, 4, 5), (24, 30)),
    ],
)
def test_fans_of_a_shape(shape, fans):
    assert initializers.compute_fans(shape) == fans


def test_fans_along_named_axes():
    assert initializers.compute_fans((8, 4, 16), input_axes=[0], output_axes=[1, 2]) == (8, 64)


@pytest.mark.parametrize(("mode", "variance"), [("fan_in", 1 / 100), ("fan_out", 1 / 400), ("fan_avg", 1 / 250)])
@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "untruncated_normal", "uniform"])
def test_variance_scaling_reaches_its_variance_in_every_mode_and_distribution(mode, variance, distribution):
    tensor = initializers.VarianceScaling(1.0, mode, distribution, seed=0)((100, 400))
    assert tensor.var().item() == pytest.approx(variance, rel=0.05)


def test_a_single_weight_is_drawn_from_the_range_of_a_fan_of_one():
    drawn = torch.cat([initializers.GlorotUniform(seed=seed)((1, 1)) for seed in range(50)]).abs()
    assert 1.5 < drawn.max().item() <= 3**0.5


def test_a_weight_may_have_no_elements():
    assert initializers.Zeros()((0, 3)).shape == (0, 3)


def test_a_truncated_normal_ends_at_two_standard_deviations():
    tensor = initializers.TruncatedNormal(mean=1.0, stddev=0.5, seed=0)((100_000,))
    assert 0 <= tensor.min().item() < 0.01 and 1.99 < tensor.max().item() <= 2
    assert tensor.std().item() == pytest.approx(0.5 * 0.87962566, rel=0.01)


def test_a_uniform_fills_its_range():
    tensor = initializers.RandomUniform(-1, 3, seed=0)((10_000,))
    assert -1 <= tensor.min().item() < -0.99 and 2.99 < tensor.max().item() <= 3


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 3, 4)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    matrix = initializers.Orthogonal(gain=2.0)(shape).reshape(-1, shape[-1])
    product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    torch.testing.assert_close(product, 4 * torch.eye(len(product)), atol=1e-5, rtol=0)


def test_a_constant_may_be_an_array_that_broadcasts():
    table = np.arange(6.0).reshape(2, 3)
    assert initializers.Constant(table)((2, 3)).tolist() == table.tolist()
    assert initializers.Constant(torch.tensor([1.0, 2.0]))((2, 2)).tolist() == [[1, 2], [1, 2]]
    assert initializers.get(table)((2, 3)).tolist() == table.tolist()
    assert initializers.Constant(table).get_config() == {"value": table.tolist()}
    with pytest.raises(ValueError, match=r"shape \(2, 3\) does not fit a weight of shape \(4, 4\)"):
        initializers.Constant(table)((4, 4))


def test_filling_one_weight_leaves_the_constant_itself_alone():
    table = np.zeros((2, 2), dtype="float32")
    initializers.Constant(table)((2, 2)).add_(1)
    assert not table.any()


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("zeros", initializers.Zeros),
        ("zero", initializers.Zeros),
        ("ones", initializers.Ones),
        ("one", initializers.Ones),
        ("uniform", initializers.RandomUniform),
        ("random_uniform", initializers.RandomUniform),
        ("normal", initializers.RandomNormal),
        ("random_normal", initializers.RandomNormal),
        ("glorot_uniform", initializers.GlorotUniform),
        ("GlorotUniform", initializers.GlorotUniform),
        ("xavier_uniform", initializers.GlorotUniform),
        ("xavier_normal", initializers.GlorotNormal),
        ("he_normal", initializers.HeNormal),
        ("lecun_uniform", initializers.LecunUniform),
        ("identity", initializers.Identity),
        ("orthogonal", initializers.Orthogonal),
        ("variance_scaling", initializers.VarianceScaling),
    ],
)
def test_names_and_their_aliases(name, cls):
    assert type(initializers.get(name)) is cls


def test_lower_case_names_are_called_as_in_keras_2():
    assert torch.equal(initializers.glorot_uniform(seed=1)((2, 2)), initializers.GlorotUniform(1)((2, 2)))


def test_a_config_written_by_keras_3_is_understood():
    written = {"module": "keras.initializers", "class_name": "HeNormal", "config": {"seed": 1}, "registered_name": None}
    assert initializers.get(written).seed == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda shape: torch.full(shape, 2.0),
        lambda shape: np.full(shape, 2.0),
        lambda shape, dtype=None: torch.full(shape, 2.0, dtype=dtype),
        lambda shape, **kwargs: torch.full(shape, 2.0, dtype=kwargs["dtype"]),
    ],
)
def test_a_function_of_the_shape_is_an_initializer(function):
    initializer = initializers.get(function)
    assert initializer((2, 3)).dtype is torch.float32
    assert initializer((2, 3), dtype="float64").eq(torch.full((2, 3), 2.0, dtype=torch.float64)).all()
    assert initializers.get(initializer)((1,)).tolist() == [2.0]


def test_a_function_of_torch_is_an_initializer():
    assert initializers.get(torch.ones)((2,)).tolist() == [1, 1]


def test_a_function_keeps_its_name_when_serialized():
    def twos(shape):
        return torch.full(shape, 2.0)

    assert initializers.serialize(initializers.get(twos)) == "twos"


def test_a_function_that_returns_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"returned the shape \(3,\); expected \(2, 2\)"):
        initializers.get(lambda shape: np.zeros(3))((2, 2))


def test_a_subclass_that_overrides_call_as_in_keras_works():
    class Twos(initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return torch.full(shape, 2.0, dtype=dtype)

    assert initializers.get(Twos)((2,)).tolist() == [2, 2]
    assert initializers.deserialize(initializers.serialize(Twos()), custom_objects={"Twos": Twos})((1,)).tolist() == [2]


def test_none_stays_none_and_an_initializer_itself():
    initializer = initializers.Zeros()
    assert initializers.get(None) is None
    assert initializers.get(initializer) is initializer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.RandomUniform(1.0, 0.0), "'minval' must not exceed 'maxval'"),
        (lambda: initializers.RandomNormal(stddev=-1), "'stddev' must be a finite number of at least 0, got -1"),
        (lambda: initializers.TruncatedNormal(mean="0"), "'mean' must be a finite number, got '0'"),
        (lambda: initializers.RandomNormal(seed="a"), "'seed' must be an integer or None, got 'a'"),
        (lambda: initializers.VarianceScaling(scale=0), "'scale' must be positive, got 0"),
        (lambda: initializers.VarianceScaling(mode="fan"), "'mode' must be one of 'fan_in', 'fan_out', 'fan_avg'; got 'fan'"),
        (lambda: initializers.VarianceScaling(distribution="cauchy"), "'distribution' must be one of"),
        (lambda: initializers.Orthogonal()((3,)), r"two or more dimensions, got \(3,\)"),
        (lambda: initializers.Identity()((3, 3, 3)), r"two dimensions, got \(3, 3, 3\)"),
        (lambda: initializers.RandomNormal()((3,), dtype="int32"), "expected a float dtype, got 'int32'"),
        (lambda: initializers.Zeros()((None, 3)), r"tuple of integers.*got \(None, 3\)"),
        (lambda: initializers.get("glorot_unifrom"), "Unknown initializer 'glorot_unifrom'. Did you mean 'glorot_uniform'?"),
        (lambda: initializers.get(0.5), "initializer.*got 0.5 of type float"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
