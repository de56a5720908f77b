"""`compile` and what stands between it and the first step: binding, freezing, what a failed call leaves behind, data without arrays."""

import copy
import functools
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, Trainer, backend, losses, optimizers
from torchkeras_fn.layers import BatchNormalization, Dense, Dropout

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(12, 3)).astype("float32"), np.arange(12) % 2


def small(name=None, **options):
    x = Input(shape=(3,))
    hidden = Dropout(0.5)(BatchNormalization()(Dense(4, activation="relu", name="hidden")(x)))
    return Model(x, Dense(2, activation="softmax", name="out", **options)(hidden), name=name)


def compiled(model=None, optimizer="adam", **options):
    model = model or small()
    model.compile(optimizer, "sparse_categorical_crossentropy", **{"metrics": ["accuracy"], **options})
    return model


class Net(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 2), nn.BatchNorm1d(2)

    def forward(self, x):
        return torch.softmax(self.norm(self.linear(x)), -1)


def net():
    return Net()


def state_of(model):
    """Everything that a failed call must leave alone: weights, buffers, optimizer state, modes, and what compile set."""
    optimizer = model.optimizer
    return {
        "weights": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "modes": [part.training for part in model.modules()],
        "flags": [parameter.requires_grad for parameter in model.parameters()],
        "optimizer": copy.deepcopy(optimizer.state_dict()) if optimizer is not None else None,
        "objects": (id(optimizer), id(model.objective)),
        "random": torch.get_rng_state(),
    }


def same(before, after):
    torch.testing.assert_close(after["weights"], before["weights"], rtol=0, atol=0)
    torch.testing.assert_close(after["random"], before["random"])
    assert str(after["optimizer"]) == str(before["optimizer"])
    for key in ("modes", "flags", "objects"):
        assert after[key] == before[key], key


# ---------------------------------------------------------------------- compile


@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
@pytest.mark.parametrize("make", [small, net], ids=["model", "mixin"])
def test_training_before_compile_is_a_runtime_error(make, call):
    with pytest.raises(RuntimeError, match="not compiled. Call compile"):
        getattr(make(), call)(X, Y)


@pytest.mark.parametrize("make", [small, net], ids=["model", "mixin"])
def test_metrics_names_before_compile_are_a_runtime_error(make):
    with pytest.raises(RuntimeError, match="not compiled"):
        make().metrics_names  # noqa: B018


@pytest.mark.parametrize("make", [small, net], ids=["model", "mixin"])
def test_predict_needs_no_compile(make):
    assert make().predict(X).shape == make().predict_on_batch(X).shape == (12, 2)


FOREIGN = [nn.Parameter(torch.ones(3))]
BAD_COMPILES = {
    "no optimizer": (lambda m: m.compile(None, "mse"), ValueError),
    "unknown optimizer": (lambda m: m.compile("adm", "mse"), ValueError),
    "optimizer of the wrong kind": (lambda m: m.compile(0.1, "mse"), ValueError),
    "options torch refuses": (lambda m: m.compile(optimizers.Adam(beta_1=2), "mse"), ValueError),
    "a partial torch refuses": (lambda m: m.compile(functools.partial(torch.optim.SGD, lr=-1), "mse"), ValueError),
    "a partial with an unknown option": (lambda m: m.compile(functools.partial(torch.optim.SGD, speed=1), "mse"), TypeError),
    "a torch optimizer of another model": (lambda m: m.compile(torch.optim.SGD(FOREIGN), "mse"), ValueError),
    "unknown loss": (lambda m: m.compile("sgd", "mes"), ValueError),
    "loss of the wrong kind": (lambda m: m.compile("sgd", 3), ValueError),
    "no loss": (lambda m: m.compile("sgd"), ValueError),
    "an empty list of losses": (lambda m: m.compile("sgd", []), ValueError),
    "unknown metric": (lambda m: m.compile("sgd", "mse", ["acuracy"]), ValueError),
    "unknown weighted metric": (lambda m: m.compile("sgd", "mse", weighted_metrics=["acuracy"]), ValueError),
    "loss weights in a tuple": (lambda m: m.compile("sgd", "mse", loss_weights=(1.0,)), TypeError),
    "unknown mode": (lambda m: m.compile("sgd", "mse", sample_weight_mode="sometimes"), ValueError),
    "target tensors in a tuple": (lambda m: m.compile("sgd", "mse", target_tensors=(torch.ones(1),)), TypeError),
    "unknown keyword": (lambda m: m.compile("sgd", "mse", speed=3), TypeError),
    "unknown precision": (lambda m: m.compile("sgd", "mse", precision="float16"), ValueError),
    "precision the device cannot do": (lambda m: m.compile("sgd", "mse", precision="mixed_bfloat16", device="meta"), ValueError),
    "a scale that is neither there nor not": (lambda m: m.compile("sgd", "mse", auto_scale_loss=1), ValueError),
    "no batches to gather": (lambda m: m.compile("sgd", "mse", gradient_accumulation_steps=0), ValueError),
    "half a batch to gather": (lambda m: m.compile("sgd", "mse", gradient_accumulation_steps=2.5), ValueError),
    "another number of batches than the optimizer's": (
        lambda m: m.compile(optimizers.SGD(gradient_accumulation_steps=2), "mse", gradient_accumulation_steps=3),
        ValueError,
    ),
    "no steps in an execution": (lambda m: m.compile("sgd", "mse", steps_per_execution=0), ValueError),
    "steps that are not counted": (lambda m: m.compile("sgd", "mse", steps_per_execution="auto"), ValueError),
    "compiled and not": (lambda m: m.compile("sgd", "mse", jit_compile=True, run_eagerly=True), ValueError),
    "missing device": (lambda m: m.compile("sgd", "mse", device="cuda:99"), RuntimeError),
}
BAD_COMPILES_OF_A_GRAPH = {
    "too many losses": (lambda m: m.compile("sgd", ["mse", "mse"]), ValueError),
    "loss for an unknown output": (lambda m: m.compile("sgd", {"ot": "mse"}), ValueError),
    "metric for an unknown output": (lambda m: m.compile("sgd", "mse", {"ot": "acc"}), ValueError),
    "loss weight for an unknown output": (lambda m: m.compile("sgd", "mse", loss_weights={"ot": 1.0}), ValueError),
    "too many loss weights": (lambda m: m.compile("sgd", "mse", loss_weights=[1.0, 1.0]), ValueError),
    "too many modes": (lambda m: m.compile("sgd", "mse", sample_weight_mode=["temporal", None]), ValueError),
    "mode for an unknown output": (lambda m: m.compile("sgd", "mse", sample_weight_mode={"ot": None}), ValueError),
    "too many target tensors": (lambda m: m.compile("sgd", "mse", target_tensors=[torch.ones(1), torch.ones(1)]), ValueError),
    "target tensor for an unknown output": (lambda m: m.compile("sgd", "mse", target_tensors={"ot": torch.ones(1)}), ValueError),
}


@pytest.mark.parametrize(
    ("make", "case"),
    [*((small, case) for case in [*BAD_COMPILES, *BAD_COMPILES_OF_A_GRAPH]), *((net, case) for case in BAD_COMPILES)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_compile_that_fails_changes_nothing(make, case):
    bad, error = {**BAD_COMPILES, **BAD_COMPILES_OF_A_GRAPH}[case]
    model = compiled(make())
    model.fit(X, Y, verbose=0)
    before, names = state_of(model), model.metrics_names
    with pytest.raises(error):
        bad(model)
    same(before, state_of(model))
    assert model.metrics_names == names
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("make", [small, net], ids=["model", "mixin"])
def test_compiling_again_keeps_the_weights_and_begins_the_optimizer_anew(make):
    model = compiled(make())
    model.fit(X, Y, verbose=0)
    weights = state_of(model)["weights"]
    model.compile("adam", "mse", loss_weights=0.5)
    assert model.optimizer.iterations == 0
    torch.testing.assert_close(dict(model.state_dict()), weights)


def test_compile_takes_its_arguments_in_the_order_of_keras():
    model = small()
    model.compile("sgd", "mse", ["mae"], [2.0], None, ["acc"])
    assert model.metrics_names == ["loss", "mae", "acc"]
    assert model.objective.outputs[0].loss_weight == 2.0


def test_the_wrong_order_of_bases_is_told_when_the_class_is_made():
    with pytest.raises(TypeError, match=r"class Wrong\(Trainer, nn.Module\)"):

        class Wrong(nn.Module, Trainer):
            pass


def test_a_stack_that_grows_after_compile_is_trained_as_it_is_now():
    model = Sequential([Dense(4, input_shape=(3,))])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.add(Dense(2, activation="softmax"))
    model.fit(X, Y, verbose=0)
    assert len(model.optimizer.parameters) == 4
    model.pop()
    model.fit(X, np.arange(12) % 4, verbose=0)
    assert len(model.optimizer.parameters) == 2


@pytest.mark.parametrize("make", [lambda p: torch.optim.LBFGS(p), lambda p: torch.optim.LBFGS], ids=["instance", "class"])
def test_an_optimizer_that_needs_a_closure_is_refused_unless_the_user_takes_the_step(make):
    model = net()
    with pytest.raises(ValueError, match="LBFGS takes steps with a closure: override train_step"):
        model.compile(make(model.parameters()), "scce")

    class Own(Net):
        def train_step(self, batch):
            x, y, _ = batch

            def closure():
                self.optimizer.zero_grad()
                loss = self.compute_loss(x, y, self(x))
                loss.backward()
                return loss

            return {"loss": self.optimizer.step(closure).detach()}

    model = Own()
    model.compile(make(model.parameters()), "scce")
    history = model.fit(X, Y, epochs=3, batch_size=12, shuffle=False, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_configs_are_accepted_everywhere():
    model = small()
    model.compile(
        {"class_name": "SGD", "config": {"learning_rate": 0.5}},
        {"class_name": "CategoricalCrossentropy", "config": {"label_smoothing": 0.1}},
        [{"class_name": "CategoricalAccuracy", "config": {}}],
    )
    assert model.optimizer.lr == 0.5 and model.objective.outputs[0].loss.label_smoothing == 0.1
    model.fit(X, np.eye(2)[Y], verbose=0)


# ---------------------------------------------------------------------- optimizers


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=0.1),
        lambda p: torch.optim.Adam,
        lambda p: functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        lambda p: optimizers.SGD,
        lambda p: "rmsprop",
    ],
    ids=["instance", "class", "partial", "our class", "name"],
)
@pytest.mark.parametrize("build", [small, net], ids=["model", "mixin"])
def test_every_kind_of_optimizer_trains(build, make):
    model = build()
    model.compile(make(model.parameters()), "sparse_categorical_crossentropy")
    before = model.state_dict()["linear.weight" if build is net else "out.weight"].clone()
    model.fit(X, Y, verbose=0)
    assert isinstance(model.optimizer, (torch.optim.Optimizer, optimizers.Optimizer))
    assert not torch.equal(before, model.state_dict()["linear.weight" if build is net else "out.weight"])


def test_a_torch_optimizer_takes_the_same_steps_as_by_hand():
    ours, theirs = (
        compiled(net(), functools.partial(torch.optim.Adam, lr=0.1), metrics=None),
        nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
    )
    theirs[0].load_state_dict(ours.linear.state_dict()), theirs[1].load_state_dict(ours.norm.state_dict())
    by_hand = torch.optim.Adam(theirs.parameters(), lr=0.1)
    for _ in range(3):
        by_hand.zero_grad()
        nn.functional.nll_loss(torch.log_softmax(theirs(torch.tensor(X)), -1), torch.tensor(Y)).backward()
        by_hand.step()
    ours.fit(X, Y, epochs=3, batch_size=12, shuffle=False, verbose=0)
    torch.testing.assert_close(ours.linear.weight, theirs[0].weight, rtol=1e-4, atol=1e-5)


def test_the_learning_rate_of_a_compiled_model_is_read_and_set():
    model = compiled(optimizer=optimizers.SGD(lr=0.5))
    assert model.optimizer.lr == 0.5
    model.optimizer.lr = 0.0
    before = model.get_weights()[0]
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(before, model.get_weights()[0])


@pytest.mark.parametrize("make", [small, lambda: Sequential([Dense(2, activation="softmax")])], ids=["built", "built late"])
def test_one_optimizer_object_for_two_models_shares_no_state(make):
    optimizer = optimizers.Adam(0.1)
    first, second = compiled(make(), optimizer), compiled(make(), optimizer)
    first.fit(X, Y, epochs=2, verbose=0)
    second.fit(X, Y, epochs=1, verbose=0)
    untouched = second.get_weights()
    first.fit(X, Y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(untouched, second.get_weights(), strict=True))
    assert (first.optimizer.iterations, second.optimizer.iterations) == (3, 1)
    assert first.optimizer.lr == second.optimizer.lr == 0.1


def test_compiling_a_model_again_with_its_own_optimizer_keeps_the_object():
    optimizer = optimizers.SGD(0.5)
    model = compiled(optimizer=optimizer)
    model.fit(X, Y, verbose=0)
    compiled(model, optimizer)
    assert model.optimizer is optimizer


# ---------------------------------------------------------------------- trainable


def changed(model, train):
    """Return the names of the layers whose weights changed."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(model)
    return {name.rpartition(".")[0] for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def fit(model):
    model.fit(X, Y, verbose=0)


def test_frozen_layers_stay_as_they_are():
    model = small()
    model.get_layer("hidden").trainable = False
    assert changed(compiled(model), fit) == {"batch_normalization_1", "out"}


def test_a_frozen_model_trains_nothing_and_says_so_by_its_weights():
    model = small()
    model.trainable = False
    compiled(model)
    assert changed(model, fit) == set()
    assert model.trainable_weights == [] and model.non_trainable_weights == model.weights


def test_trainable_is_honoured_when_compiled_and_not_before():
    model = compiled()
    model.get_layer("hidden").trainable = False
    with pytest.warns(UserWarning, match="Discrepancy between trainable weights and collected trainable weights"):
        assert "hidden" in changed(model, fit)
    compiled(model)
    assert "hidden" not in changed(model, fit)


@pytest.mark.parametrize("use", [fit, lambda model: model.summary(print_fn=lambda line: None)], ids=["fit", "summary"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_change_of_trainable_after_compile_warns_until_compiled_again(use, depth):
    inner = layer = Dense(3, input_shape=(3,))
    for _ in range(depth):
        layer = Sequential([layer])
    model = compiled(Sequential([Dense(3, input_shape=(3,)), layer, Dense(2, activation="softmax")]))
    use(model)  # warnings are errors here
    inner.trainable = False
    with pytest.warns(UserWarning, match="Discrepancy between trainable weights and collected trainable weights"):
        use(model)
    compiled(model)
    use(model)
    inner.trainable = True
    with pytest.warns(UserWarning, match="Discrepancy"):
        use(model)
    inner.trainable = False
    use(model)


@pytest.mark.parametrize("depth", [1, 2])
def test_freezing_a_nested_model_freezes_what_is_in_it(depth):
    inner = Sequential([Dense(3, input_shape=(3,)), BatchNormalization()])
    for _ in range(depth - 1):
        inner = Sequential([inner])
    inner.trainable = False
    model = compiled(Sequential([inner, Dense(2, activation="softmax", name="top")]))
    assert changed(model, fit) == {"top"}
    assert len(model.trainable_weights) == 2


def test_a_layer_of_a_frozen_model_that_is_made_trainable_again_learns():
    inner = Sequential([Dense(3, input_shape=(3,)), Sequential([Dense(3, name="thawed")])])
    inner.trainable = False
    inner.layers[1].layers[0].trainable = True
    model = Sequential([inner, Dense(2, activation="softmax", name="top")])
    copy = Sequential.from_config(model.get_config())
    assert len(model.trainable_weights) == len(copy.trainable_weights) == 4
    assert inner.trainable_weights == []
    frozen, thawed = inner.layers[0].get_weights(), inner.layers[1].get_weights()
    fit(compiled(model))
    assert np.array_equal(frozen[0], inner.layers[0].get_weights()[0])
    assert not np.array_equal(thawed[0], inner.layers[1].get_weights()[0])


@pytest.mark.parametrize("make", [Sequential, lambda parts, **options: Model(parts[0].input, parts[0].output, **options)])
def test_a_model_that_is_made_frozen_freezes_what_is_in_it(make):
    inner = make([Sequential([Dense(3, input_shape=(3,))])], trainable=False)
    assert len(Sequential([inner, Dense(2)]).trainable_weights) == 2


def test_a_parameter_frozen_by_torch_stays_as_it_is():
    model = net()
    model.linear.weight.requires_grad_(False)
    compiled(model)
    before = model.linear.weight.clone()
    fit(model)
    assert torch.equal(before, model.linear.weight) and not model.linear.weight.requires_grad


def test_training_leaves_the_flags_of_frozen_parameters_as_they_were():
    model = small()
    model.get_layer("hidden").trainable = False
    flags = [p.requires_grad for p in model.parameters()]
    fit(compiled(model))
    assert [p.requires_grad for p in model.parameters()] == flags


def test_no_gradient_is_computed_for_frozen_weights():
    model = small()
    model.get_layer("hidden").trainable = False
    fit(compiled(model))
    assert model.get_layer("hidden").weights[0].grad is None


def test_weights_are_the_same_objects_in_the_same_order_each_time():
    model = Sequential([Dense(3, input_shape=(3,)), Dense(2)])
    assert model.trainable_weights == model.weights
    assert model.weights == model.weights and model.non_trainable_weights == []


# ---------------------------------------------------------------------- two models that share layers


def gan():
    """A generator, a discriminator, and both in one model that trains only the generator; one optimizer object for all."""
    optimizer = optimizers.Adam(0.05)
    noise, sample = Input(shape=(3,)), Input(shape=(3,))
    generator = Model(noise, Dense(3, name="make")(noise))
    discriminator = Model(sample, Dense(1, activation="sigmoid", name="judge")(BatchNormalization()(sample)))
    discriminator.compile(optimizer, "binary_crossentropy")
    discriminator.trainable = False
    both = Model(noise, discriminator(generator(noise)))
    both.compile(optimizer, "binary_crossentropy")
    return generator, discriminator, both


def weights_of(model):
    return [weight.detach().clone() for weight in model.weights]


def same_weights(before, model):
    return all(torch.equal(a, b) for a, b in zip(before, model.weights, strict=True))


def test_a_discriminator_trains_alone_though_it_is_frozen_in_the_pair():
    generator, discriminator, both = gan()
    fake, real = weights_of(generator), weights_of(discriminator)
    discriminator.train_on_batch(X, np.ones(12))
    assert same_weights(fake, generator) and not same_weights(real, discriminator)


def test_the_pair_trains_the_generator_alone():
    generator, discriminator, both = gan()
    fake, real = weights_of(generator), weights_of(discriminator)
    both.train_on_batch(X, np.ones(12))
    assert not same_weights(fake, generator) and same_weights(real, discriminator)


def test_the_pair_and_its_parts_train_in_turns():
    generator, discriminator, both = gan()
    first = both.test_on_batch(X, np.ones(12))
    for _ in range(30):
        both.train_on_batch(X, np.ones(12))
    assert both.test_on_batch(X, np.ones(12)) < first
    discriminator.train_on_batch(generator.predict(X), np.zeros(12))
    assert discriminator.optimizer.iterations == 1 and both.optimizer.iterations == 30
    assert all(parameter.requires_grad for parameter in both.parameters())


# ---------------------------------------------------------------------- what a failed call leaves behind

BAD_DATA = {
    "x of another width": (X[:, :2], Y),
    "x of another rank": (X[:, None], Y),
    "two arrays for one input": ([X, X], Y),
    "no x": (None, Y),
    "no y": (X, None),
    "y of another length": (X, Y[:5]),
    "y that does not fit": (X, np.zeros((12, 3))),
    "one-hot targets for class indices": (X, np.eye(2)[Y]),
    "two targets for one output": (X, [Y, Y]),
    "y for an unknown output": (X, {"ot": Y}),
    "strings": (np.array([["a"] * 3] * 12), Y),
    "nothing": (X[:0], Y[:0]),
}


@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch", "test_on_batch", "validation_data"])
@pytest.mark.parametrize("case", BAD_DATA)
def test_data_that_does_not_fit_is_a_value_error_that_changes_nothing(case, call):
    model = compiled()
    model.fit(X, Y, verbose=0)
    model.layers[2].module.eval()
    before = state_of(model)
    with pytest.raises(ValueError):
        if call == "validation_data":
            model.fit(X, Y, validation_data=BAD_DATA[case], verbose=0)
        else:
            getattr(model, call)(*BAD_DATA[case])
    same(before, state_of(model))


@pytest.mark.parametrize(
    "case", ["x of another width", "no y", "y of another length", "y that does not fit", "one-hot targets for class indices"]
)
@pytest.mark.parametrize("call", ["fit", "train_on_batch"])
def test_a_plain_module_is_left_as_it_was_too(case, call):
    model = compiled(net())
    model.fit(X, Y, verbose=0)
    before = state_of(model)
    with pytest.raises((ValueError, RuntimeError)):
        getattr(model, call)(*BAD_DATA[case])
    same({**before, "random": torch.get_rng_state()}, state_of(model))


BAD_ARGUMENTS = {
    "weights of another length": {"sample_weight": np.ones(5)},
    "weights of rank 2": {"sample_weight": np.ones((12, 2))},
    "weights of rank 3": {"sample_weight": np.ones((12, 2, 2))},
    "class out of range": {"class_weight": {5: 1.0}},
}
BAD_ARGUMENTS_OF_FIT = {
    "batch size 0": {"batch_size": 0},
    "batch size 1.5": {"batch_size": 1.5},
    "steps 0": {"steps_per_epoch": 0},
    "shuffle": {"shuffle": "rows"},
    "verbose": {"verbose": 7},
    "workers": {"workers": -1},
    "split 1": {"validation_split": 1.0},
    "split negative": {"validation_split": -0.1},
    "split leaves nothing": {"validation_split": 0.99},
    "validation of 1 part": {"validation_data": (X,)},
    "validation of 4 parts": {"validation_data": (X, Y, Y, Y)},
    "no callback": {"callbacks": [3]},
    "unknown": {"speed": 3},
}


@pytest.mark.parametrize(
    ("call", "options"),
    [
        *(pytest.param("train_on_batch", options, id=f"batch-{case}") for case, options in BAD_ARGUMENTS.items()),
        *(pytest.param("fit", {"verbose": 0, **o}, id=case) for case, o in {**BAD_ARGUMENTS, **BAD_ARGUMENTS_OF_FIT}.items()),
    ],
)
def test_arguments_that_do_not_fit_change_nothing(call, options):
    model = compiled()
    model.fit(X, Y, verbose=0)
    before = state_of(model)
    with pytest.raises((ValueError, TypeError)):
        getattr(model, call)(X, Y, **options)
    same(before, state_of(model))


@pytest.mark.parametrize("metric", ["mae", "categorical_accuracy", losses.MeanSquaredError()], ids=str)
def test_a_metric_that_does_not_fit_is_told_before_a_step_is_taken(metric):
    model = compiled(metrics=[metric])
    before = state_of(model)
    with pytest.raises(ValueError, match="Metric '.*do not fit predictions"):
        model.fit(X, Y, verbose=0)
    same(before, state_of(model))


@pytest.mark.parametrize("error", [KeyError, TypeError, AttributeError, IndexError])
def test_a_metric_of_ones_own_that_fails_leaves_the_weights_as_they_were(error):
    def broken(y_true, y_pred):
        raise error("broken")

    model = compiled(metrics=[broken], optimizer="sgd")
    before = [weight.detach().clone() for weight in model.trainable_weights]
    with pytest.raises(error, match="broken"):
        model.train_on_batch(X, Y)
    assert all(torch.equal(a, b) for a, b in zip(before, model.trainable_weights, strict=True))


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict", "train_on_batch"])
def test_modes_are_restored_after_an_error_in_a_step(call):
    class Broken(Net):
        broken = False

        def forward(self, x):
            if self.broken and not x.is_meta and len(x):
                raise KeyError("broken")
            return super().forward(x)

    model = compiled(Broken())
    model.fit(X, Y, verbose=0)
    model.norm.eval()
    model.broken = True
    before = state_of(model)
    with pytest.raises(KeyError, match="broken"):
        getattr(model, call)(*((X,) if call == "predict" else (X, Y)))
    same({**before, "random": torch.get_rng_state()}, state_of(model))


# ---------------------------------------------------------------------- predict and evaluate leave no trace


@pytest.mark.parametrize("call", ["predict", "evaluate", "predict_on_batch", "test_on_batch"])
@pytest.mark.parametrize("modes", ["training", "inference", "partly"])
@pytest.mark.parametrize("make", [small, net], ids=["model", "mixin"])
def test_looking_at_a_model_changes_nothing(make, modes, call):
    model = compiled(make())
    model.fit(X, Y, verbose=0)
    model.train(modes != "inference")
    if modes == "partly":
        next(part for part in model.modules() if isinstance(part, nn.BatchNorm1d)).eval()
    before = state_of(model)
    getattr(model, call)(*((X,) if "predict" in call else (X, Y)))
    same(before, state_of(model))


@pytest.mark.parametrize("call", ["predict", "evaluate", "predict_on_batch", "test_on_batch"])
def test_no_history_is_built_while_looking(call):
    seen = []

    class Watched(Net):
        def forward(self, x):
            y = super().forward(x)
            seen.append((y.requires_grad, torch.is_grad_enabled(), self.training))
            return y

    model = compiled(Watched())
    getattr(model, call)(*((X,) if "predict" in call else (X, Y)))
    assert seen[-1] == (False, False, False)


def test_what_predict_returns_is_an_array_of_its_own():
    model = compiled()
    first = model.predict(X)
    first[:] = 7
    assert not (model.predict(X) == 7).any()


@pytest.mark.parametrize("size", [1, 5, 12, 100])
def test_predict_keeps_the_order_whatever_the_batch_size(size):
    model = compiled()
    np.testing.assert_allclose(model.predict(X, batch_size=size), model.predict(X), rtol=1e-5)
    np.testing.assert_allclose(model.predict(X[3:4]), model.predict(X)[3:4], rtol=1e-5)


# ---------------------------------------------------------------------- copies


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("trained", [False, True], ids=["fresh", "trained"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: compiled(small(kernel_regularizer="l2", kernel_constraint="max_norm")),
        lambda: compiled(net()),
        lambda: compiled(Sequential([Dense(2, activation="softmax", input_shape=(3,))])),
        lambda: compiled(Sequential([Dense(2, activation="softmax")])),
        lambda: compiled(Sequential([small(), Dense(2, activation="softmax")])),
        lambda: compiled(Model.from_module(nn.Sequential(nn.Linear(3, 2), nn.Softmax(-1)))),
    ],
    ids=["functional", "mixin", "sequential", "late", "nested", "from module"],
)
def test_a_copy_of_a_compiled_model_trains_alike_and_by_itself(make, trained, copied):
    model = make()
    if trained:
        model.fit(X, Y, verbose=0)
    again = copied(model)
    before = copy.deepcopy(dict(model.state_dict()))
    torch.manual_seed(0)
    second = again.fit(X, Y, epochs=2, verbose=0, shuffle=False).history
    torch.testing.assert_close(dict(model.state_dict()), before)
    torch.manual_seed(0)
    first = model.fit(X, Y, epochs=2, verbose=0, shuffle=False).history
    if trained or "linear.weight" in before:
        for name in first:
            assert first[name] == pytest.approx(second[name])
        np.testing.assert_allclose(model.predict(X), again.predict(X), rtol=1e-5)
    assert again.metrics_names == model.metrics_names == ["loss", "accuracy"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_a_copy_of_a_model_with_several_named_losses(copied):
    x = Input(shape=(3,))
    model = Model(x, [Dense(1, activation="sigmoid", name="a")(x), Dense(3, activation="softmax", name="b")(x)])
    model.add_loss(x.mean())
    model.compile(
        "adam",
        {"a": "binary_crossentropy", "b": "sparse_categorical_crossentropy"},
        metrics={"a": ["acc", "mse"], "b": "accuracy"},
        loss_weights={"a": 0.5},
        weighted_metrics={"a": "mae"},
    )
    y = {"a": Y, "b": np.arange(12) % 3}
    model.fit(X, y, verbose=0)
    again = copied(model)
    assert again.metrics_names == model.metrics_names
    assert again.evaluate(X, y, verbose=0) == pytest.approx(model.evaluate(X, y, verbose=0))
    before = model.get_weights()
    again.fit(X, y, epochs=3, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_the_weights_of_a_copy_are_held_to_their_constraints():
    x = Input(shape=(3,))
    model = compiled(Model(x, Dense(2, activation="softmax", kernel_constraint="non_neg")(x)))
    model.optimizer.lr = 10.0
    again = copy.deepcopy(model)
    again.train_on_batch(X, Y)
    assert (again.get_weights()[0] >= 0).all()


def test_the_regularizers_of_a_copy_see_its_own_weights():
    x = Input(shape=(3,))
    model = Model(x, Dense(2, kernel_regularizer="l2")(x))
    model.compile("sgd")
    again = copy.deepcopy(model)
    again.set_weights([np.zeros((3, 2)), np.zeros(2)])
    assert again.evaluate(X, verbose=0) == 0.0 and model.evaluate(X, verbose=0) > 0


# ---------------------------------------------------------------------- models that feed themselves


def test_target_tensors_supply_the_targets():
    model = small()
    model.compile("sgd", "sparse_categorical_crossentropy", target_tensors=torch.tensor(Y))
    assert np.isfinite(model.train_on_batch(X, None))
    assert np.isfinite(model.fit(X, batch_size=12, shuffle=False, verbose=0).history["loss"][0])


@pytest.mark.parametrize("form", [lambda a, b: [a, b], lambda a, b: {"a": a, "b": b}], ids=["list", "dict"])
def test_target_tensors_of_several_outputs(form):
    x = Input(shape=(3,))
    model = Model(x, [Dense(1, name="a", kernel_initializer="zeros")(x), Dense(1, name="b", kernel_initializer="zeros")(x)])
    model.compile("sgd", "mse", target_tensors=form(torch.ones(12, 1), lambda: torch.full((12, 1), 2.0)))
    assert model.test_on_batch(X, None) == pytest.approx([5.0, 1.0, 4.0])


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (torch.ones(12, 1), ValueError, r"2 outputs \['a', 'b'\].*expected to be a list or dict, got a single tensor"),
        ([torch.ones(12, 1)], ValueError, "2 outputs"),
        ({"c": torch.ones(12, 1)}, ValueError, "'c', which is no output"),
        ((torch.ones(12, 1),) * 2, TypeError, "got a tuple"),
        ({torch.ones(1)}, TypeError, "got a set"),
    ],
    ids=["single", "short list", "unknown name", "tuple", "set"],
)
def test_target_tensors_that_do_not_fit(targets, error, message):
    x = Input(shape=(3,))
    model = Model(x, [Dense(1, name="a")(x), Dense(1, name="b")(x)])
    with pytest.raises(error, match=message):
        model.compile("sgd", "mse", target_tensors=targets)


@pytest.mark.parametrize("form", [lambda y: y, lambda y: [y], lambda y: {"b": y}], ids=["alone", "list", "dict"])
def test_a_placeholder_for_targets_stands_for_y(form):
    x = Input(shape=(3,))
    model = Model(x, Dense(4, activation="softmax", name="b")(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    expected = model.evaluate(X, Y, verbose=0)
    model.compile("sgd", "sparse_categorical_crossentropy", target_tensors=form(backend.placeholder((None,), dtype="int32")))
    assert model.evaluate(X, Y, verbose=0) == expected


def test_an_input_with_a_tensor_supplies_targets():
    model = small()
    model.compile("sgd", "sparse_categorical_crossentropy", target_tensors=[Input(tensor=torch.tensor(Y))])
    assert np.isfinite(model.train_on_batch(X, None))


def test_a_target_that_a_graph_computes_is_refused():
    with pytest.raises(TypeError, match="computed from other tensors of a graph"):
        small().compile("sgd", "mse", target_tensors=[Input(shape=(3,)) * 2])


@pytest.mark.parametrize("call", ["fit", "train_on_batch", "evaluate", "test_on_batch"])
def test_no_y_can_be_passed_beside_target_tensors(call):
    model = small()
    model.compile("sgd", "sparse_categorical_crossentropy", target_tensors=torch.tensor(Y))
    with pytest.raises(ValueError, match="compiled with target_tensors.* no y can be passed"):
        getattr(model, call)(X, Y)


def test_a_model_that_feeds_itself_trains_for_so_many_steps():
    fed = Input(tensor=torch.tensor(X))
    model = Model(fed, Dense(1, kernel_initializer="zeros")(fed))
    model.compile("sgd", "mse", target_tensors=torch.ones(12, 1))
    history = model.fit(None, None, steps_per_epoch=4, epochs=2, verbose=0)
    assert model.optimizer.iterations == 8 and history.history["loss"][1] < history.history["loss"][0] < 1.0
    assert np.isfinite(model.train_on_batch(None, None))
    assert model.predict(None, steps=2).shape == (24, 1)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_target_tensors_go_with_a_copy(copied):
    model = small()
    model.compile("sgd", "sparse_categorical_crossentropy", target_tensors=torch.tensor(Y))
    assert copied(model).test_on_batch(X, None) == pytest.approx(model.test_on_batch(X, None))


def test_the_number_of_steps_is_needed_where_a_model_feeds_itself():
    fed = Input(tensor=torch.tensor(X))
    model = Model(fed, Dense(1)(fed))
    model.compile("sgd", "mse", target_tensors=torch.ones(12, 1))
    with pytest.raises(ValueError, match="number of steps must be given"):
        model.fit(None, None, verbose=0)


def test_fed_and_passed_inputs_mix():
    fed, passed = Input(tensor=torch.ones(12, 3)), Input(shape=(3,))
    model = Model([fed, passed], Dense(1, kernel_initializer="ones")(fed + passed))
    model.compile("sgd", "mse")
    assert model.test_on_batch(np.ones((12, 3)), np.full(12, 6.0)) == pytest.approx(0.0)


# ---------------------------------------------------------------------- warnings are not given for nothing


def test_nothing_is_warned_of_in_an_ordinary_life():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = compiled()
        model.summary(print_fn=lambda line: None)
        model.fit(X, Y, verbose=0, validation_split=0.25, class_weight={0: 2.0}, sample_weight=np.ones(12))
        model.evaluate(X, Y, verbose=0)
        model.predict(X)


class Centres(nn.Module):
    """A loss with weights of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, pred, target):
        return (self.scale * pred - target).square().mean()


def test_weights_of_a_loss_that_nobody_trains_are_told_of():
    with pytest.warns(UserWarning, match="parameters of the loss Centres are not trained"):
        Net().compile("sgd", Centres())


def test_nothing_is_told_of_weights_of_a_loss_that_are_trained_or_frozen(recwarn):
    net, loss = Net(), Centres()
    net.compile(torch.optim.SGD([*net.parameters(), *loss.parameters()], 0.1), loss)
    net.loss = loss
    net.compile("sgd", loss)
    Net().compile("sgd", Centres().requires_grad_(False))
    assert not recwarn.list
