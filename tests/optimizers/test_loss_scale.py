"""`LossScaleOptimizer`: steps of the optimizer inside, with a scale that finds its size, saved, copied, and refused."""

import io
import json
import pickle

import numpy as np
import pytest
import torch

from torchkeras_fn import Sequential, layers, models, optimizers
from torchkeras_fn.callbacks import SwapEMAWeights
from torchkeras_fn.optimizers import LossScaleOptimizer
from torchkeras_fn.optimizers.schedules import ExponentialDecay

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :1] * 2 + 1


def undecayed(optimizer):
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


INNER = {
    "sgd": lambda: optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1),
    "adamw": lambda: optimizers.AdamW(0.05, clipnorm=0.5, use_ema=True),
    "schedule": lambda: optimizers.SGD(ExponentialDecay(0.1, 2, 0.5), momentum=0.9),
    "decay": lambda: optimizers.Adam(0.05, decay=0.1, global_clipnorm=0.5),
    "gathering": lambda: optimizers.RMSprop(0.01, gradient_accumulation_steps=2),
    "muon": lambda: optimizers.Muon(0.05),
    "muon-excluding": lambda: optimizers.Muon(0.05, exclude_layers=["^dense_1"]),
    "undecayed": lambda: undecayed(optimizers.AdamW(0.05, weight_decay=0.5)),
    "muon-undecayed": lambda: undecayed(optimizers.Muon(0.05, weight_decay=0.5)),
}


def compiled(optimizer):
    model = Sequential([layers.Dense(3, "tanh", kernel_initializer="ones", input_shape=(4,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer, "mse")
    return model


def fitted(model, epochs=2):
    return model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0).history["loss"]


@pytest.mark.parametrize("name", INNER)
def test_the_steps_are_those_of_the_optimizer_inside(name):
    plain, scaled = compiled(INNER[name]()), compiled(LossScaleOptimizer(INNER[name]()))
    np.testing.assert_allclose(fitted(scaled), fitted(plain), rtol=1e-6)
    assert scaled.optimizer.iterations == plain.optimizer.iterations
    assert all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(scaled.get_weights(), plain.get_weights(), strict=True))


def test_the_scale_grows_and_falls():
    model = compiled(LossScaleOptimizer(optimizers.SGD(0.01), initial_scale=8, dynamic_growth_steps=3))
    assert model.optimizer.dynamic_scale == 8
    fitted(model)
    assert model.optimizer.dynamic_scale == 32  # eight steps
    before = model.get_weights()
    model.train_on_batch(X, np.full_like(Y, 3e38))
    assert model.optimizer.dynamic_scale == 16
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_one_scale_is_enough_for_mixed_float16():
    optimizer = LossScaleOptimizer(optimizers.SGD(0.01), initial_scale=4.0)
    model = Sequential([layers.Dense(1, input_shape=(4,))])
    model.compile(optimizer, "mse", precision="mixed_float16")
    model.predict(X, verbose=0)
    model.train_on_batch(X, Y)
    assert model.scale_loss(torch.tensor(2.0)) == 8


def test_the_rate_may_be_set_inside_and_outside():
    model = compiled(LossScaleOptimizer(optimizers.SGD(0.5)))
    model.optimizer.learning_rate = 0.25
    assert model.optimizer.inner_optimizer.learning_rate == 0.25
    model.optimizer.inner_optimizer.lr = 0.125
    assert model.optimizer.lr == 0.125
    assert model.optimizer.get_config()["inner_optimizer"]["config"]["learning_rate"] == 0.125


@pytest.mark.parametrize("name", INNER)
def test_a_file_and_a_pickle_go_on(name):
    model = compiled(LossScaleOptimizer(INNER[name](), initial_scale=2.0, dynamic_growth_steps=3))
    fitted(model)
    model.save(file := io.BytesIO())
    twins = [models.load_model(file), pickle.loads(pickle.dumps(model))]
    expected = fitted(model)
    for twin in twins:
        assert fitted(twin) == expected
        assert twin.optimizer.dynamic_scale == model.optimizer.dynamic_scale > 2


def test_another_model_takes_a_copy():
    optimizer = LossScaleOptimizer(optimizers.Adam(0.1))
    first, second = compiled(optimizer), compiled(optimizer)
    assert second.optimizer is not optimizer
    assert second.optimizer.inner_optimizer is not optimizer.inner_optimizer
    second.optimizer.lr = 0.5
    assert first.optimizer.lr == 0.1
    assert fitted(first)[0] != fitted(second)[0]


def test_compiled_again_it_goes_on():
    model = compiled(LossScaleOptimizer(optimizers.Adam(0.1), initial_scale=8, dynamic_growth_steps=3))
    fitted(model)
    model.compile(model.optimizer, "mse")
    assert (model.optimizer.dynamic_scale, model.optimizer.iterations) == (32, 8)


def test_the_config_is_json_and_makes_an_equal_one():
    optimizer = LossScaleOptimizer(optimizers.Adam(0.1, clipnorm=1.0), 4.0, 7, "mine")
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert again.get_config() == optimizer.get_config()
    assert again.inner_optimizer.clipnorm == 1.0


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: LossScaleOptimizer("adam"), TypeError, "goes around an optimizer of this library, got 'adam' of type str"),
        (lambda: LossScaleOptimizer(LossScaleOptimizer(optimizers.SGD())), TypeError, "goes around an optimizer"),
        (lambda: LossScaleOptimizer(optimizers.SGD(), initial_scale=0), ValueError, "'initial_scale' must be above 0"),
        (lambda: LossScaleOptimizer(optimizers.SGD(), dynamic_growth_steps=0), ValueError, "'dynamic_growth_steps' must be"),
        (lambda: LossScaleOptimizer(optimizers.SGD(), clipnorm=1.0), ValueError, "no option 'clipnorm'. Set it on the inner optimizer"),
        (lambda: LossScaleOptimizer(optimizers.SGD(), dynamic=False), ValueError, "no option 'dynamic'"),
        (lambda: LossScaleOptimizer(compiled("sgd").optimizer), ValueError, "belongs to a model already"),
    ],
)
def test_what_is_wrong_is_named(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize(("name", "steps"), [("sgd", 8), ("gathering", 4)])
def test_the_optimizer_inside_knows_how_many_steps_were_taken(name, steps):
    model = compiled(LossScaleOptimizer(INNER[name]()))
    assert model.optimizer.inner_optimizer.iterations == 0
    fitted(model)
    assert model.optimizer.inner_optimizer.iterations == model.optimizer.iterations == steps


def test_running_means_are_evaluated():
    def losses(optimizer):
        model = compiled(optimizer)
        means = [SwapEMAWeights()]
        history = model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0, validation_data=(X, Y), callbacks=means).history
        return [*history["loss"], *history["val_loss"]]

    np.testing.assert_allclose(losses(LossScaleOptimizer(INNER["adamw"]())), losses(INNER["adamw"]()), rtol=1e-6)


def test_the_name_alone_says_what_is_missing():
    with pytest.raises(ValueError, match="LossScaleOptimizer cannot be made without inner_optimizer: pass LossScaleOptimizer"):
        optimizers.get("LossScaleOptimizer")
