"""`save` and `load_model`: what comes back is the model that was, and its training goes on as if nothing had happened."""

import io
import json
import os
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, Trainer, layers, losses, metrics, models, optimizers, utils
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.models import load_model, save_model
from torchkeras_fn.saving.training_state import load_training_state, training_state

generator = np.random.default_rng(0)
X = generator.normal(size=(24, 4)).astype("float32")
Y = generator.normal(size=(24, 2)).astype("float32")


def dense_stack(optimizer="sgd", **compiled):
    model = Sequential([layers.Dense(5, activation="tanh", input_shape=(4,)), layers.Dense(2)])
    model.compile(optimizer, **{"loss": "mse", "metrics": ["mae"], **compiled})
    return model


def several_ends():
    a, b = Input(shape=(4,), name="a"), Input(shape=(4,), name="b")
    shared = layers.Dense(3, name="shared", kernel_regularizer="l2", kernel_constraint="max_norm")
    joined = layers.concatenate([shared(a), shared(b)])
    inner_x = Input(shape=(6,))
    inner = Model(inner_x, layers.BatchNormalization()(layers.Dense(4)(inner_x)), name="inner")
    hidden = inner(joined)
    frozen = layers.Dense(4, name="frozen", trainable=False)(hidden)
    model = Model([a, b], [layers.Dense(2, name="left")(frozen), layers.Dense(2, activation="softmax", name="right")(hidden)])
    model.add_loss(0.01 * torch.square(hidden).mean())
    model.add_metric(hidden.abs().mean(), "size")
    return model


def trained(model, epochs, initial_epoch=0, x=X, y=Y):
    return model.fit(x, y, batch_size=8, epochs=epochs, initial_epoch=initial_epoch, shuffle=False, verbose=0).history


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def check_resumed(make, path, x=X, y=Y, **loading):
    """Three epochs at once, and one, saved, loaded, and two more: weights and history agree bit for bit."""
    whole = make()
    first = make()
    first.set_weights(whole.get_weights())
    expected = trained(whole, 3, x=x, y=y)
    before = trained(first, 1, x=x, y=y)
    first.save(path)
    second = load_model(path, **loading)
    assert second is not first
    after = trained(second, 3, 1, x=x, y=y)
    assert {name: before[name] + after[name] for name in before} == dict(expected)
    assert same(whole.state_dict(), second.state_dict())
    assert second.optimizer.iterations == whole.optimizer.iterations
    return second



def undecayed():
    optimizer = optimizers.AdamW(0.01, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "decayed": lambda: optimizers.SGD(0.1, decay=0.1, clipnorm=1.0),
    "gathering": lambda: optimizers.SGD(0.1, gradient_accumulation_steps=2),
    "scheduled": lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 2, 0.9)),
    "adafactor": lambda: optimizers.Adafactor(0.1),
    "ftrl": lambda: optimizers.Ftrl(0.1),
    "lion": lambda: optimizers.Lion(0.01),
    "undecayed": undecayed,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_never_interrupted(name, tmp_path):
    second = check_resumed(lambda: dense_stack(OPTIMIZERS[name]()), tmp_path / "m.model")
    assert second.metrics_names == ["loss", "mae"]


@pytest.mark.parametrize("name", ["momentum", "adam", "rmsprop"])
def test_so_it_does_with_several_ends_shared_frozen_and_nested_layers(name, tmp_path):
    def make():
        model = several_ends()
        model.compile(
            OPTIMIZERS[name](),
            {"left": losses.Huber(delta=0.5), "right": "categorical_crossentropy"},
            metrics={"right": ["accuracy"], "left": "mae"},
            loss_weights={"left": 1.0, "right": 0.5},
        )
        return model

    targets = [Y, np.eye(2, dtype="float32")[generator.integers(0, 2, 24)]]
    second = check_resumed(make, tmp_path / "m.model", x=[X, -X], y=targets)
    assert second.metrics_names == make().metrics_names
    assert not second.get_layer("frozen").trainable


def test_so_it_does_in_a_new_process(tmp_path):
    program = (
        "import sys; import numpy as np, torch; torch.set_num_threads(1); from torchkeras_fn.models import load_model;"
        "model = load_model(sys.argv[1]); data = np.load(sys.argv[2]);"
        "model.fit(data['x'], data['y'], batch_size=8, epochs=3, initial_epoch=1, shuffle=False, verbose=0); model.save(sys.argv[1])"
    )
    path, data = str(tmp_path / "m.model"), str(tmp_path / "data.npz")
    np.savez(data, x=X, y=Y)
    whole, first = dense_stack("adam"), dense_stack("adam")
    first.set_weights(whole.get_weights())
    trained(whole, 3)
    trained(first, 1)
    first.save(path)
    subprocess.run([sys.executable, "-c", program, path, data], check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert same(whole.state_dict(), load_model(path).state_dict())


def test_a_seeded_dropout_goes_on_where_it_was(tmp_path):
    def make():
        model = Sequential([layers.Dense(8, input_shape=(4,)), layers.Dropout(0.5, seed=3), layers.Dense(2)])
        model.compile("sgd", "mse")
        return model

    check_resumed(make, tmp_path / "m.model")


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_torch_optimizers_are_saved_too(kind, tmp_path):
    model = Sequential([layers.Dense(3, input_shape=(4,)), layers.Dense(2)])
    first, last = model.layers
    groups = [{"params": list(first.parameters()), "lr": 0.01}, {"params": list(last.parameters()), "lr": 0.02}]
    model.compile(kind(groups, lr=0.1, weight_decay=0.1), nn.HuberLoss(delta=0.5))
    trained(model, 1)
    model.save(tmp_path / "m.model")
    twin = load_model(tmp_path / "m.model")
    assert type(twin.optimizer) is kind and [group["lr"] for group in twin.optimizer.param_groups] == [0.01, 0.02]
    assert twin.objective.settings["loss"].delta == 0.5
    assert trained(model, 3, 1) == trained(twin, 3, 1)
    assert same(model.state_dict(), twin.state_dict())


def large(y_true, y_pred):
    """A loss that is too large for float16 with the first scales."""
    return 1e5 * (y_true - y_pred).square().mean(-1)


EXECUTIONS = {
    "bfloat16": {"precision": "mixed_bfloat16", "steps_per_execution": 2},
    "a scale that moves": {"precision": "mixed_float16", "loss": large},
    "gathered": {"gradient_accumulation_steps": 2},
    "both": {"precision": "mixed_float16", "loss": large, "gradient_accumulation_steps": 2},
    "no scale": {"precision": "mixed_float16", "auto_scale_loss": False},
}


@pytest.mark.parametrize("optimizer", ["adam", torch.optim.Adam])
@pytest.mark.parametrize("name", EXECUTIONS)
def test_how_the_steps_run_comes_back(name, optimizer, tmp_path):
    model = dense_stack(optimizer, **EXECUTIONS[name])
    trained(model, 1)
    model.save(tmp_path / "m.model")
    twin = load_model(tmp_path / "m.model", {"large": large})
    assert twin._execution == model._execution
    assert trained(model, 3, 1) == trained(twin, 3, 1)
    assert same(model.state_dict(), twin.state_dict())
    scales = [one._around_steps.state_dict() if one._around_steps is not None else one.optimizer.state_dict() for one in (model, twin)]
    assert scales[0].get("scaling") == scales[1].get("scaling")


def test_loading_moves_no_random_generator(tmp_path):
    dense_stack().save(tmp_path / "m.model")
    before = torch.get_rng_state()
    load_model(tmp_path / "m.model")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_a_random_generator_of_a_device_that_is_not_here_begins_anew(monkeypatch, kind):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    model = Sequential([layers.Dense(2, input_shape=(4,)), layers.Dropout(0.5, seed=3)])
    model.compile("sgd", "mse", device="cpu")
    model.fit(X, Y, verbose=0)
    state = training_state(model)
    ((path, (name, _, _)),) = state["generators"].items()
    load_training_state(model, {**state, "generators": {path: (name, kind, torch.zeros(16, dtype=torch.uint8))}})
    model.fit(X, Y, verbose=0)


# ---------------------------------------------------------------------- what the user wrote


def cubic(y_true, y_pred):
    return (y_true - y_pred).abs().pow(3).mean(-1)


def my_mse(y_true, y_pred):
    return cubic(y_true, y_pred)


def twice(x):
    return 2 * x


def halves(shape, dtype=None):
    return torch.full(tuple(shape), 0.5)


class Scale(Layer):
    def __init__(self, factor=1.0, function=None, **kwargs):
        super().__init__(**kwargs)
        self.factor, self.function = factor, function

    def build(self, input_shape):
        self.scale = self.add_weight("scale", (input_shape[-1],), initializer="ones")

    def call(self, inputs):
        return self.function(inputs * self.scale) * self.factor


class Net(Model):
    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(units, activation="relu")
        self.blocks = [layers.BatchNormalization(), layers.Dense(2)]
        self.inner = Sequential([layers.Dense(4), layers.Dense(2)])

    def call(self, x):
        x = self.inner(self.hidden(x))
        for block in self.blocks:
            x = block(x)
        return x


def own_things():
    return Sequential(
        [
            layers.Dense(4, activation=twice, kernel_initializer=halves, input_shape=(4,)),
            layers.Lambda(twice, name="again"),
            Scale(2.0, torch.tanh),
            layers.Activation(nn.LeakyReLU(0.3)),
            layers.TorchModuleWrapper(nn.Linear(4, 2), name="wrapped"),
        ]
    )


OWN = {"twice": twice, "halves": halves, "Scale": Scale, "cubic": cubic, "wrapped": lambda: nn.Linear(4, 2), "Net": Net}


def test_what_the_user_wrote_comes_from_custom_objects(tmp_path):
    def make():
        model = own_things()
        model.compile("adam", cubic, metrics=[cubic, "mae"])
        return model

    check_resumed(make, tmp_path / "m.model", custom_objects=OWN)
    with utils.custom_object_scope(OWN):
        assert load_model(tmp_path / "m.model").metrics_names == ["loss", "cubic", "mae"]


class Stepping(Model):
    def train_step(self, data):
        return super().train_step(data)


class HandingOn(Model):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.own = 3


class Stack(Sequential):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Sized(Sequential):
    def __init__(self, units=1, **kwargs):
        super().__init__([layers.Dense(units, input_shape=(4,)), layers.Dense(2)], **kwargs)


def drawn_by(kind):
    x = Input((4,))
    return kind(x, layers.Dense(2)(layers.Dense(3)(x)))


def stacked_by(kind):
    return kind([Input((4,)), layers.Dense(3), layers.Dense(2)])


@pytest.mark.parametrize("ending", [".model", ".keras", ".h5"])
@pytest.mark.parametrize(
    ("make", "kind"), [(drawn_by, Stepping), (drawn_by, HandingOn), (stacked_by, Stack), (lambda kind: kind(3), Sized)]
)
def test_a_drawn_model_of_a_class_of_ones_own_comes_back(make, kind, ending, tmp_path):
    model = make(kind)
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / f"m{ending}")
    again = load_model(tmp_path / f"m{ending}", custom_objects={kind.__name__: kind})
    assert type(again) is kind
    assert same(model.state_dict(), again.state_dict())
    assert trained(model, 1) == trained(again, 1)


class TwoOptimizers(Stepping):
    def compile(self, first_optimizer, second_optimizer):
        super().compile(first_optimizer, "mse")
        self.second_optimizer = second_optimizer


@pytest.mark.parametrize("ending", [".model", ".keras", ".h5"])
def test_a_compile_with_other_arguments_is_left_to_the_caller(ending, tmp_path):
    model = drawn_by(TwoOptimizers)
    model.compile(optimizers.SGD(), optimizers.Adam())
    model.save(tmp_path / f"m{ending}")
    with pytest.warns(UserWarning, match="not compiled, as its own compile takes other arguments"):
        again = load_model(tmp_path / f"m{ending}", custom_objects={"TwoOptimizers": TwoOptimizers})
    assert again.optimizer is None
    assert same(model.state_dict(), again.state_dict())


@utils.register_keras_serializable("saving_tests")
class Shift(Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


@utils.register_keras_serializable("saving_tests")
def plus_one(x):
    return x + 1


@utils.register_keras_serializable("saving_tests")
def quartic(y_true, y_pred):
    return (y_true - y_pred).pow(4).mean(-1)


@pytest.mark.parametrize("ending", [".model", ".keras", ".h5"])
def test_a_registered_function_among_the_metrics_is_logged_under_its_own_name(ending, tmp_path):
    model = dense_stack(metrics=[quartic])
    model.save(tmp_path / f"m{ending}")
    assert list(trained(load_model(tmp_path / f"m{ending}"), 1)) == ["loss", "quartic"]


def test_what_is_registered_need_not_be_given(tmp_path):
    def make():
        model = Sequential([layers.Dense(2, activation=plus_one, input_shape=(4,)), Shift(plus_one)])
        model.compile("adam", quartic, metrics=[quartic])
        return model

    check_resumed(make, tmp_path / "m.model")


class Bias(metrics.Mean):
    def __init__(self, name="off_by", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_pred - y_true)


@pytest.mark.parametrize("ending", [".model", ".keras", ".h5"])
def test_a_metric_given_as_a_class_keeps_its_name_in_the_logs(ending, tmp_path):
    model = dense_stack(metrics=[Bias, metrics.MeanAbsoluteError])
    model.save(tmp_path / f"m{ending}")
    back = load_model(tmp_path / f"m{ending}", custom_objects={"Bias": Bias})
    assert back.metrics_names == model.metrics_names == ["loss", "off_by", "mean_absolute_error"]


@pytest.mark.parametrize("missing", ["twice", "halves", "Scale", "cubic", "wrapped"])
def test_what_is_missing_is_named(missing, tmp_path):
    model = own_things()
    model.compile("adam", cubic)
    model.save(tmp_path / "m.model")
    given = {name: value for name, value in OWN.items() if name != missing}
    with pytest.raises(ValueError, match=missing):
        load_model(tmp_path / "m.model", custom_objects=given)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_name_near_to_a_built_in_one_is_told_where_ones_own_go_too(ending, tmp_path):
    model = dense_stack(loss=my_mse)
    model.save(tmp_path / f"m{ending}")
    with pytest.raises(ValueError, match=r"Unknown loss 'my_mse'. Did you mean 'mse'\? Your own .* custom_objects={'my_mse': \.\.\.}"):
        load_model(tmp_path / f"m{ending}")


def test_a_wrapped_module_may_be_given_as_it_is_or_by_its_class(tmp_path):
    model = Sequential([layers.TorchModuleWrapper(nn.Linear(4, 2), name="wrapped", input_shape=(4,))])
    model.save(tmp_path / "m.model")
    for given in ({"wrapped": nn.Linear(4, 2)}, {"Linear": lambda: nn.Linear(4, 2)}):
        assert same(load_model(tmp_path / "m.model", given).state_dict(), model.state_dict())


def test_a_model_around_a_module_needs_the_module(tmp_path):
    model = Model.from_module(nn.Linear(4, 2))
    model.compile("adam", "mse")
    trained(model, 1)
    model.save(tmp_path / "m.model")
    twin = load_model(tmp_path / "m.model", {"Linear": lambda: nn.Linear(4, 2)})
    assert trained(twin, 3, 1) == trained(model, 3, 1)


def test_a_model_with_its_own_call_is_built_as_it_was(tmp_path):
    def make():
        model = Net(units=5)
        model.build((None, 4))
        model.compile("adam", "mse")
        return model

    twin = check_resumed(make, tmp_path / "m.model", custom_objects={"Net": Net})
    assert isinstance(twin, Net) and twin.hidden.units == 5


def test_it_may_never_have_been_built(tmp_path):
    model = Net()
    model.compile("adam", "mse")
    model.save(tmp_path / "m.model")
    trained(load_model(tmp_path / "m.model", {"Net": Net}), 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: dense_stack(loss=lambda y, p: (y - p).mean()), "lambda.*def.*custom_objects"),
        (lambda: dense_stack(metrics=[lambda y, p: (y - p).mean()]), "lambda"),
        (lambda: Sequential([layers.Lambda(lambda x: x, name="odd", input_shape=(4,))]), "odd: .*lambda.*def"),
        (lambda: added(dense_stack()), "add_loss.*lost"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_when_it_is_saved(change, message, tmp_path):
    path = tmp_path / "m.model"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=message):
        change().save(path)
    assert [path.name for path in tmp_path.iterdir()] == ["m.model"] and path.read_bytes() == b"old"


def added(model):
    model.add_loss(lambda: torch.zeros(()))
    return model


def test_without_the_training_configuration_it_can_be_saved(tmp_path):
    model = dense_stack(loss=lambda y, p: (y - p).mean())
    model.save(tmp_path / "m.model", include_optimizer=False)
    assert load_model(tmp_path / "m.model").objective is None


# ---------------------------------------------------------------------- details


def test_compile_false_leaves_the_training_out(tmp_path):
    dense_stack(loss=cubic).save(tmp_path / "m.model")
    model = load_model(tmp_path / "m.model", compile=False)
    with pytest.raises(RuntimeError, match="not compiled"):
        model.fit(X, Y)


def test_dtypes_and_flags_stay(tmp_path):
    model = Sequential([layers.Dense(3, input_shape=(4,)), layers.Dense(2)]).double()
    model.layers[0].module.bias.requires_grad_(False)
    model.save(tmp_path / "m.model")
    twin = load_model(tmp_path / "m.model")
    assert {weight.dtype for weight in twin.parameters()} == {torch.float64}
    assert [weight.requires_grad for weight in twin.parameters()] == [weight.requires_grad for weight in model.parameters()]


def test_large_constants_are_saved_as_weights(tmp_path):
    x = Input(shape=(2000,))
    model = Model(x, x * torch.nn.Parameter(torch.rand(2000)) + torch.arange(2000.0))
    model.save(tmp_path / "m.model")
    twin = load_model(tmp_path / "m.model")
    assert same(model.state_dict(), twin.state_dict())
    assert [p.requires_grad for p in twin.parameters()] == [True]
    with zipfile.ZipFile(tmp_path / "m.model") as archive:
        assert archive.getinfo("config.json").file_size < 5000


def test_a_frozen_layer_after_compile_gives_the_optimizer_a_new_beginning(tmp_path):
    model = dense_stack("adam")
    trained(model, 1)
    model.layers[0].trainable = False
    model.save(tmp_path / "m.model")
    with pytest.warns(UserWarning, match="begins anew"):
        twin = load_model(tmp_path / "m.model")
    assert same(model.state_dict(), twin.state_dict())


def test_equal_models_make_equal_files():
    files = []
    model = dense_stack()
    for _ in range(2):
        model.save(file := io.BytesIO())
        files.append(file.getvalue())
    assert files[0] == files[1]


def test_paths_may_be_of_any_kind(tmp_path):
    model = dense_stack()
    for path in (str(tmp_path / "a"), tmp_path / "b", os.fsencode(tmp_path / "c")):
        save_model(model, path)
        assert same(load_model(path).state_dict(), model.state_dict())
    model.save(file := io.BytesIO())
    assert same(load_model(file).state_dict(), model.state_dict())


def test_a_file_that_is_there_is_kept_with_overwrite_false(tmp_path):
    path = tmp_path / "m.model"
    model = dense_stack()
    model.save(path, overwrite=False)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(path, overwrite=False)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (({"a": 1},), TypeError, "path or a binary file object"),
        ((pathlib.Path("nowhere") / "m",), FileNotFoundError, "no folder"),
    ],
)
def test_bad_paths(arguments, kind, message):
    with pytest.raises(kind, match=message):
        dense_stack().save(*arguments)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "m.model")


def test_options_of_other_times():
    with pytest.raises(ValueError, match="must be 'keras' or 'h5', .* got 'tf'"):
        dense_stack().save("m", save_format="tf")
    with pytest.raises(ValueError, match="no argument 'zipped'"):
        dense_stack().save("m", zipped=True)
    with pytest.raises(RuntimeError, match="to_json"):
        dense_stack().to_yaml()
    with pytest.raises(RuntimeError, match="model_from_json"):
        models.model_from_yaml("")


class Plain(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x)


def test_a_module_that_is_no_model_saves_its_weights_only(tmp_path):
    for ending in (".model", ".keras", ".h5"):
        with pytest.raises(TypeError, match="save_weights"):
            Plain().save(tmp_path / f"m{ending}")
    assert list(tmp_path.iterdir()) == []


def test_architectures_as_json():
    model = several_ends()
    twin = models.model_from_json(model.to_json(indent=2))
    assert list(twin.state_dict()) == list(model.state_dict())
    assert twin.get_config() == model.get_config()
    assert models.model_from_json(own_things().to_json(), OWN).layers[1].name == "again"
    for text in ("{}", "[", '{"class_name": "Dense", "config": {}}', "[" * 100_000):
        with pytest.raises(ValueError, match="describes no model"):
            models.model_from_json(text)


@pytest.mark.parametrize("describe", [lambda model: json.loads(model.to_json()), lambda model: {"config": model.get_config()}])
def test_architectures_as_configurations(describe):
    model = several_ends()
    twin = models.model_from_config({"class_name": "Model", **describe(model)})
    assert list(twin.state_dict()) == list(model.state_dict())
    assert twin.get_config() == model.get_config()


def test_a_configuration_that_is_none_of_a_model():
    assert models.model_from_config(json.loads(own_things().to_json()), OWN).layers[1].name == "again"
    with pytest.raises(ValueError, match="describes no model"):
        models.model_from_config({"class_name": "Dense", "config": {"units": 2}})
    with pytest.raises(TypeError, match="Sequential.from_config"):
        models.model_from_config([{"class_name": "Dense", "config": {"units": 2}}])


@pytest.mark.parametrize("argument", ["metrics", "weighted_metrics"])
def test_a_loss_among_the_metrics_that_is_called_like_a_metric_goes_round(argument, tmp_path):
    model = dense_stack()
    model.compile("sgd", "mse", **{argument: [losses.MeanAbsoluteError(name="off")]})
    for ending in (".model", ".keras", ".h5"):
        model.save(tmp_path / f"m{ending}")
        (again,) = models.load_model(tmp_path / f"m{ending}").objective.settings[argument]
        assert type(again) is losses.MeanAbsoluteError and again.name == "off"


def test_constants_of_the_graph_are_no_weights_and_are_kept(tmp_path):
    big = torch.arange(2000.0).reshape(4, 500)
    x = Input((4,))
    model = Model(x, torch.matmul(layers.Dense(4)(x), big) + big[0] + big[0])
    assert [weight.shape for weight in model.get_weights()] == [(4, 4), (4,)]
    assert not any("constant" in name for name in model.state_dict())
    model.save(tmp_path / "m.model")
    values = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(load_model(tmp_path / "m.model").predict(values), model.predict(values))


def test_a_constant_that_is_read_twice_stays_one(tmp_path):
    weight = torch.nn.Parameter(torch.ones(4))
    x = Input((4,))
    Model(x, x * weight + weight).save(tmp_path / "m.model")
    assert list(load_model(tmp_path / "m.model").state_dict()) == ["constants.constant_1"]


def test_a_layer_that_would_write_to_a_file_of_keras_itself_is_told_that_it_is_not_asked(tmp_path):
    class Noting(layers.Dense):
        def save_own_variables(self, store):
            raise NotImplementedError

    x = Input((3,))
    with pytest.warns(UserWarning, match="Noting.save_own_variables is not called: a file holds the weights"):
        Model(x, Noting(2)(x)).save(tmp_path / "model")
