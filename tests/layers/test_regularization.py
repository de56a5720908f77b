"""`Dropout`: in training and inference, with a pattern and a seed."""

import copy
import pickle

import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, layers
from torchkeras_fn.layers import Dropout


def drawn(layer, *shape):
    x = Input(shape=shape)
    return Model(x, layer(x))


def test_dropout_is_a_torch_dropout():
    assert type(drawn(Dropout(0.3, name="drop"), 4).lowered.drop) is nn.Dropout


def test_inference_passes_everything():
    data = torch.randn(5, 4)
    assert torch.equal(drawn(Dropout(0.5), 4).eval()(data), data)


@pytest.mark.parametrize("arguments", [{}, {"seed": 1}, {"noise_shape": (None, 1000)}])
def test_training_drops_the_share_and_scales_the_rest(arguments):
    torch.manual_seed(0)
    outputs = drawn(Dropout(0.25, **arguments), 1000).train()(torch.ones(20, 1000))
    assert outputs.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert (outputs == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("rate", "expected"), [(0, 1.0), (1, 0.0)])
@pytest.mark.parametrize("seed", [None, 1])
def test_all_or_nothing(rate, expected, seed):
    outputs = drawn(Dropout(rate, seed=seed), 10).train()(torch.ones(2, 10))
    assert outputs.unique().tolist() == [expected]


def test_a_pattern_is_shared_along_axes_of_size_one():
    outputs = drawn(Dropout(0.5, noise_shape=(None, 1, 8)), 6, 8).train()(torch.ones(4, 6, 8))
    assert torch.equal(outputs, outputs[:, :1].expand(-1, 6, -1))


def test_a_seed_repeats_the_patterns():
    first, second = (drawn(Dropout(0.5, seed=7), 50).train() for _ in range(2))
    data = torch.ones(2, 50)
    one, two = first(data), first(data)
    assert torch.equal(one, second(data))
    assert not torch.equal(one, two)


def test_a_seed_leaves_the_global_generator_alone():
    model = drawn(Dropout(0.5, seed=7), 50).train()
    before = torch.get_rng_state()
    model(torch.ones(2, 50))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_seeded_dropout_that_has_run_can_be_copied(copied):
    model = drawn(Dropout(0.5, seed=7), 50).train()
    model(torch.ones(2, 50))
    assert copied(model)(torch.ones(2, 50)).shape == (2, 50)


def test_bfloat16_stays_bfloat16():
    assert Dropout(0.5, seed=1).train()(torch.ones(2, 4, dtype=torch.bfloat16)).dtype is torch.bfloat16


@pytest.mark.parametrize("make", [Dropout, layers.AlphaDropout])
@pytest.mark.parametrize("shape", [(20, -1, 10), (20, 1.5), "all"])
def test_what_is_no_noise_shape_is_refused(make, shape):
    with pytest.raises(ValueError, match="'noise_shape' must be"):
        make(0.5, noise_shape=shape)


@pytest.mark.parametrize("rate", [-0.1, 1.5, "half", None, True])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match="'rate' must be"):
        Dropout(rate)


@pytest.mark.parametrize("make", [layers.GaussianNoise, layers.GaussianDropout, layers.AlphaDropout, layers.SpatialDropout1D])
def test_seeds_of_random_layers(make):
    data = torch.ones(4, 6, 50)
    first, second = (drawn(make(0.5, seed=7), 6, 50).train() for _ in range(2))
    before = torch.get_rng_state()
    one, two = first(data), first(data)
    assert torch.equal(one, second(data))
    assert not torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.eval()(data), data)


@pytest.mark.parametrize("make", [layers.GaussianNoise, layers.GaussianDropout, layers.AlphaDropout, layers.SpatialDropout2D])
@pytest.mark.parametrize("rate", [-0.1, "half", None, True])
def test_what_is_no_rate_is_refused_everywhere(make, rate):
    with pytest.raises(ValueError, match="must be"):
        make(rate)


@pytest.mark.parametrize("make", [layers.GaussianNoise, layers.GaussianDropout, layers.AlphaDropout])
@pytest.mark.parametrize("seed", [None, 7])
def test_a_rate_set_anew_is_that_of_the_next_batch(make, seed):
    layer, data = make(0.5, seed=seed), torch.ones(4, 6)
    model = drawn(layer, 6).train()
    setattr(layer, "stddev" if make is layers.GaussianNoise else "rate", 0.0)
    torch.testing.assert_close(model(data), data)
    assert 0.0 in layer.get_config().values()


def test_alpha_dropout_with_a_pattern_scales_as_torchs():
    data = torch.ones(4, 6, 50)
    ours = drawn(layers.AlphaDropout(0.2, noise_shape=(None, 1, None)), 6, 50).train()(data)
    torch.testing.assert_close(ours.unique(), nn.AlphaDropout(0.2).train()(data).unique())


@pytest.mark.parametrize("make", [layers.GaussianDropout, layers.AlphaDropout])
def test_a_rate_of_one_leaves_nothing(make):
    with pytest.raises(ValueError, match="'rate' must be at least 0 and below 1, got 1"):
        make(1)


def test_spatial_dropout_checks_the_rank():
    with pytest.raises(ValueError, match="SpatialDropout2D cannot .*expected 4 dimensions, the batch included, got 3"):
        layers.SpatialDropout2D(0.5)(Input(shape=(3, 4)))
