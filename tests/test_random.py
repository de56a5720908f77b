"""`random`: the distributions, their seeds, and that drawn graphs draw anew."""

import copy
import pickle

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, layers, ops, random
from torchkeras_fn.random import SeedGenerator

DISTRIBUTIONS = {
    "normal": lambda shape, **more: random.normal(shape, 1.0, 2.0, **more),
    "normal of tensors": lambda shape, **more: random.normal(shape, torch.tensor(1.0), torch.tensor(2.0), **more),
    "truncated normal": lambda shape, **more: random.truncated_normal(shape, 1.0, 2.0, **more),
    "uniform": lambda shape, **more: random.uniform(shape, 1.0, 3.0, **more),
    "uniform of tensors": lambda shape, **more: random.uniform(shape, torch.tensor(1.0), 3.0, **more),
    "integers": lambda shape, **more: random.randint(shape, 1, 7, **more),
    "bernoulli": lambda shape, **more: random.bernoulli(shape, 0.3, **more),
    "binomial": lambda shape, **more: random.binomial(shape, 5.0, 0.3, **more),
    "gamma": lambda shape, **more: random.gamma(shape, 2.0, **more),
    "beta": lambda shape, **more: random.beta(shape, 2.0, 3.0, **more),
    "dropout": lambda shape, **more: random.dropout(torch.ones(shape), 0.3, **more),
    "shared dropout": lambda shape, **more: random.dropout(torch.ones(shape), 0.3, (None, 1), **more),
    "shuffle": lambda shape, **more: random.shuffle(torch.arange(shape[0] * shape[1]).reshape(shape), **more),
    "categorical": lambda shape, **more: random.categorical(torch.zeros(shape), 9, **more),
}
MOMENTS = {  # mean and standard deviation
    "normal": (1, 2),
    "normal of tensors": (1, 2),
    "truncated normal": (1, 2 * 0.8796),
    "uniform": (2, 1 / np.sqrt(3)),
    "uniform of tensors": (2, 1 / np.sqrt(3)),
    "integers": (3.5, np.sqrt(35 / 12)),
    "bernoulli": (0.3, np.sqrt(0.21)),
    "binomial": (1.5, np.sqrt(1.05)),
    "gamma": (2, np.sqrt(2)),
    "beta": (0.4, 0.2),
    "dropout": (1, np.sqrt(0.3 / 0.7)),
    "shared dropout": (1, np.sqrt(0.3 / 0.7)),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_a_distribution_has_its_mean_and_deviation(name):
    values = DISTRIBUTIONS[name]((20000, 5)).double()
    assert (float(values.mean()), float(values.std())) == pytest.approx(MOMENTS[name], abs=0.03)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_an_integer_gives_the_same_numbers_at_every_call(name):
    draw = DISTRIBUTIONS[name]
    state = torch.get_rng_state()
    assert torch.equal(draw((40, 5), seed=3), draw((40, 5), seed=3))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(draw((40, 5)), draw((40, 5)))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_generator_gives_others_at_every_call_and_the_same_in_every_program(name):
    draw, (one, two) = DISTRIBUTIONS[name], (SeedGenerator(3), SeedGenerator(3))
    first, second = draw((40, 5), seed=one), draw((40, 5), seed=one)
    assert not torch.equal(first, second)
    assert torch.equal(draw((40, 5), seed=two), first)
    assert torch.equal(draw((40, 5), seed=two), second)


DRAWN = {
    "normal": lambda x: random.normal(ops.shape(x), 1.0, 2.0),
    "normal of tensors": lambda x: random.normal(ops.shape(x), x, 2.0),
    "truncated normal": lambda x: random.truncated_normal(ops.shape(x)),
    "uniform": lambda x: random.uniform((ops.shape(x)[0], 3)),
    "integers": lambda x: random.randint(ops.shape(x), 0, 1000),
    "binomial": lambda x: random.binomial(ops.shape(x), 50.0, 0.5),
    "dropout": lambda x: random.dropout(x, 0.5),
    "shared dropout": lambda x: random.dropout(x, 0.5, (None, 1)),
    "shuffle": lambda x: random.shuffle(x, axis=1),
    "categorical": lambda x: random.categorical(x, 9),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_graph_draws_anew_in_every_run(name):
    x = Input(shape=(30,) if name in ("shuffle", "categorical") else (3,))
    model = Model(x, DRAWN[name](x))
    data = torch.arange(8.0 * x.shape[1]).reshape(8, -1) / 100
    runs = [model(data) for _ in range(2)]
    assert not torch.equal(*runs)
    twin = Model.from_config(model.get_config())
    assert twin(data).shape == runs[0].shape == (8, *model.output_shape[1:])


def test_a_layer_keeps_its_generator():
    class Noise(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.seed_generator = SeedGenerator(1)

        def call(self, inputs):
            return inputs + random.normal(ops.shape(inputs), seed=self.seed_generator)

    x = Input(shape=(3,))
    first, second = (Model(x, Noise()(x)) for _ in range(2))
    runs = [model(torch.zeros(2, 3)) for model in (first, first, second)]
    assert not torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])
    copy.deepcopy(first)(torch.zeros(2, 3))


def test_a_generator_is_copied_and_pickled():
    generator = SeedGenerator(2)
    random.normal((2,), seed=generator)
    for twin in (copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))):
        assert torch.equal(random.normal((2,), seed=twin), random.normal((2,), seed=copy.deepcopy(generator)))
    assert SeedGenerator.from_config(generator.get_config()).seed == 2
    assert generator.next() != generator.next()


def test_a_seed_is_an_integer():
    with pytest.raises(ValueError, match="'seed' must be an integer or None"):
        random.normal((2,), seed=0.5)


def test_integers_are_whole():
    values = random.uniform((1000,), 0, 4, dtype="int64")
    assert values.dtype == torch.int64
    assert sorted(set(values.tolist())) == [0, 1, 2, 3]


@pytest.mark.parametrize("numbers", [[0.0, 100.0], np.array([0.0, 100.0]), torch.tensor([0.0, 100.0], dtype=torch.float64)])
def test_each_element_may_have_numbers_of_its_own(numbers):
    for found in (
        random.normal((3, 2), numbers, 1.0),
        random.truncated_normal((3, 2), numbers, [1.0, 1.0]),
        random.uniform((3, 2), numbers, np.asarray(numbers) + 1),
    ):
        assert found.dtype is torch.float32
        assert ((found[:, 1] - found[:, 0]).round(decimals=-2) == 100).all()
    assert random.bernoulli((3, 2), np.asarray(numbers) / 100).tolist() == [[0.0, 1.0]] * 3
