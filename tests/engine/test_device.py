"""Where things live: the choice of a device, and whole runs on `meta`, where a forgotten transfer is an error."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, Trainer, optimizers
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.engine import device
from torchkeras_fn.layers import BatchNormalization, Dense, Dropout, Embedding, Flatten, concatenate

CPU, META = torch.device("cpu"), torch.device("meta")
X, Y = np.random.default_rng(0).normal(size=(20, 6)).astype("float32"), np.arange(20) % 3


def classifier():
    x = Input(shape=(6,))
    hidden = Dropout(0.5)(BatchNormalization()(Dense(8, activation="relu")(x)))
    return Model(x, Dense(3, activation="softmax")(hidden))


def compiled(make=classifier, **options):
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


@pytest.fixture
def no_accelerator(monkeypatch):
    fake(monkeypatch, None, count=0)


@pytest.fixture
def fake_accelerator(monkeypatch):
    """`meta` stands for the accelerator that torch reports."""
    fake(monkeypatch, META, count=2)


def fake(monkeypatch, accelerator, count, index=0):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: accelerator)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: index)


# ---------------------------------------------------------------------- the choice


def test_without_an_accelerator_it_is_the_cpu(no_accelerator):
    assert device.choose(None, nn.Linear(1, 1)) == CPU


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
@pytest.mark.parametrize("index", [0, 1])
def test_an_accelerator_comes_first_and_it_is_the_one_torch_works_on(monkeypatch, kind, index):
    fake(monkeypatch, torch.device(kind), count=2, index=index)
    assert device.choose(None, nn.Linear(1, 1)) == torch.device(kind, index)
    assert device.available() == ["cpu", f"{kind}:0", f"{kind}:1"]


def test_a_model_that_was_put_on_the_cpu_stays_there(fake_accelerator):
    assert device.choose(None, nn.Linear(1, 1), placed=CPU) == CPU


def test_a_model_that_is_elsewhere_stays_there(no_accelerator):
    assert device.choose(None, nn.Linear(1, 1, device="meta")) == META


def test_a_model_without_weights_goes_where_it_was_put(no_accelerator):
    assert device.choose(None, nn.ReLU(), placed=META) == META


@pytest.mark.parametrize("wanted", ["cpu", CPU, "meta", META])
def test_a_device_that_is_named_is_obeyed(fake_accelerator, wanted):
    assert device.choose(wanted, nn.Linear(1, 1), placed=CPU) == torch.device(wanted)


@pytest.mark.parametrize("wanted", ["cuda:99", "warp", "xpu", "cpu:three", ""])
def test_a_device_that_is_not_there_is_a_runtime_error_that_names_those_that_are(wanted):
    with pytest.raises(RuntimeError, match=f"The device '{wanted}' is not available here; there are: cpu"):
        device.choose(wanted, nn.Linear(1, 1))


@pytest.mark.parametrize("wanted", [3.5, object(), b"cpu", ["cpu"]], ids=lambda value: type(value).__name__)
def test_what_names_no_device_is_a_type_error(wanted):
    with pytest.raises(TypeError, match=f"device is a name like 'cuda:1', .* of type {type(wanted).__name__}"):
        device.choose(wanted, nn.Linear(1, 1))


def test_the_devices_that_there_are(fake_accelerator):
    assert device.available() == ["cpu", "meta:0", "meta:1"]


def test_only_the_cpu_is_there(no_accelerator):
    assert device.available() == ["cpu"]


def test_devices_are_not_counted_where_there_are_none(no_accelerator, monkeypatch):
    def refuse():
        raise RuntimeError("Found no NVIDIA driver")

    monkeypatch.setattr(torch.accelerator, "device_count", refuse)  # as torch 2.7 for CUDA does
    assert device.available() == ["cpu"]


def test_the_device_of_a_module_is_that_of_its_weights_or_its_buffers():
    assert device.device_of(nn.Linear(1, 1, device="meta")) == META
    assert device.device_of(nn.BatchNorm1d(1, affine=False, device="meta")) == META
    assert device.device_of(nn.ReLU()) == CPU


def test_a_module_is_on_a_device_when_all_of_it_is():
    mixed = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1, affine=False, device="meta"))
    assert not device.device_is(mixed, CPU) and not device.device_is(mixed, META)
    assert device.device_is(mixed.to("meta"), META)


def test_moving_to_where_a_tensor_is_costs_nothing():
    tensor = torch.ones(3)
    assert device.to_device(tensor, CPU) is tensor
    assert device.to_device(tensor, META).device == META


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_tensors_for_an_accelerator_are_pinned_and_the_copy_is_not_waited_for(monkeypatch, kind):
    calls = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: calls.append("pin") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *args, **options: calls.append((args, options)) or self)
    device.to_device(torch.ones(3), torch.device(kind, 0))
    assert calls == ["pin", ((torch.device(kind, 0),), {"non_blocking": True})]


def test_what_goes_to_the_host_has_no_history_and_a_type_that_numpy_knows():
    weight = torch.ones(2, requires_grad=True)
    assert not device.to_host(weight * 2).requires_grad
    assert device.to_host(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.float32
    assert device.to_host(torch.ones(2, device="meta")).isnan().all()
    with torch.device("meta"):
        assert device.to_host(torch.ones(2)).is_cpu


def test_what_is_sent_to_the_host_is_waited_for_on_its_own_device_though_another_is_current(monkeypatch):
    recorded = []
    monkeypatch.setattr(device, "_COPIES_ALONE", ("meta",))
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *args, **options: torch.ones(2))
    monkeypatch.setattr(torch, "Event", lambda where: SimpleNamespace(record=lambda stream=None: recorded.append(stream), synchronize=list))
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda where: f"the stream of {where}")
    assert device.sent(torch.empty(2, device="meta"))().tolist() == [1, 1]
    assert recorded == ["the stream of meta"]


# ---------------------------------------------------------------------- compile


@pytest.mark.parametrize("wanted", ["cuda:99", "warp"])
def test_compile_for_a_device_that_is_not_there_changes_nothing(wanted):
    model = compiled(device="cpu")
    model.fit(X, Y, verbose=0)
    weights, optimizer, state = model.get_weights(), model.optimizer, copy.deepcopy(model.optimizer.state_dict())
    with pytest.raises(RuntimeError, match="is not available here"):
        model.compile("sgd", "mse", device=wanted)
    assert model.optimizer is optimizer and str(optimizer.state_dict()) == str(state)
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    assert device.device_is(model, CPU)
    assert model.metrics_names == ["loss", "accuracy"]


def test_compile_moves_the_model_to_the_device():
    model = compiled(device="meta")
    assert device.device_is(model, META)


def test_compile_moves_the_model_to_the_accelerator_there_is(fake_accelerator):
    assert device.device_is(compiled(), META)


def test_a_model_that_is_built_late_is_moved_when_its_shape_is_known(fake_accelerator):
    model = compiled(lambda: Sequential([Dense(4), BatchNormalization(), Dense(3, activation="softmax")]))
    model.fit(X, Y, verbose=0)
    assert device.device_is(model, META)


@pytest.mark.parametrize(
    "move", [lambda m: m.to("cpu"), lambda m: m.cpu(), lambda m: m.to(torch.device("cpu")), lambda m: m.to(torch.ones(1))]
)
def test_a_model_that_its_user_moved_stays_where_it_was_put(fake_accelerator, move):
    model = classifier()
    move(model)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    assert device.device_is(model, CPU)


def test_a_change_of_dtype_alone_is_no_move(fake_accelerator):
    model = classifier().to(torch.float64)
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert device.device_is(model, META)
    assert next(model.parameters()).dtype == torch.float64


def test_compiling_again_for_the_best_device_is_not_held_back_by_compile_itself(monkeypatch, fake_accelerator):
    model = compiled(device="cpu")
    assert device.device_is(model, CPU)
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert device.device_is(model, META)


def test_to_returns_the_model():
    model = classifier()
    assert model.to("cpu") is model and model.cpu() is model and model.to("meta") is model


def test_a_plain_module_is_placed_like_a_model(fake_accelerator):
    class Net(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 3)

        def forward(self, x):
            return self.linear(x)

    free, kept = Net(), Net().to("cpu")
    for net in (free, kept):
        net.compile("sgd", nn.CrossEntropyLoss())
        net.fit(X, Y, verbose=0)
    assert device.device_is(free, META) and device.device_is(kept, CPU)


def test_a_module_of_somebody_else_is_placed_like_a_model(fake_accelerator):
    module = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))
    model = Model.from_module(module)
    model.compile("sgd", nn.CrossEntropyLoss())
    model.fit(X, Y, verbose=0)
    assert device.device_is(module, META)


# ---------------------------------------------------------------------- a model that is moved or cast after compile


def late():
    return Sequential([Dense(4), BatchNormalization(), Dense(3, activation="softmax")])


@pytest.mark.parametrize("make", [classifier, late])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_model_stays_where_it_was_moved_though_its_weights_may_come_later(no_accelerator, make, when):
    model = make()
    if when == "before":
        model.to("meta")
    model.compile("adam", "sparse_categorical_crossentropy")
    if when == "after":
        model.to("meta")
    model.fit(X, Y, verbose=0)
    assert device.device_is(model, META)


def test_a_model_stays_where_the_module_was_moved_that_it_is_part_of(fake_accelerator):
    model, other = classifier(), classifier()
    whole = nn.Sequential(model, other).to("meta").to_empty(device="cpu")
    for part in (model, other):
        part.compile("sgd", "mse")
    assert device.device_is(whole, CPU)


def constrained():
    x = Input(shape=(6,))
    hidden = Dense(8, activation="relu", kernel_regularizer="l2", kernel_constraint="max_norm")(x)
    return Model(x, Dense(3, activation="softmax")(BatchNormalization()(hidden)))


OPTIMIZERS = {
    "descent": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, clipnorm=1.0),
    "adam": lambda: optimizers.Adam(0.01, global_clipnorm=1.0),
    "decaying": lambda: optimizers.Adam(0.01, weight_decay=0.1),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.01),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "ftrl": lambda: optimizers.Ftrl(0.1),
    "lion": lambda: optimizers.Lion(0.001),
    "means": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5),
    "gathering": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=3),
    "a class of torch": lambda: torch.optim.Adam,
    "rprop of torch": lambda: torch.optim.Rprop,
}


def trained(name, make=constrained):
    torch.manual_seed(0)
    model = make()
    model.compile(OPTIMIZERS[name](), "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    model.fit(X, Y, epochs=2, batch_size=5, verbose=0, shuffle=False)
    return model


def go_on(model):
    history = model.fit(X, Y, epochs=2, batch_size=5, verbose=0, shuffle=False).history
    return [*history["loss"], *history["accuracy"], *model.train_on_batch(X, Y), *model.evaluate(X, Y, verbose=0)]


def kept(model):
    """All that the optimizer keeps for the weights."""
    own = getattr(model.optimizer, "torch_optimizer", model.optimizer)
    found = [value for state in own.state.values() for name, value in state.items() if name not in ("step", "mu_product")]
    state = model.optimizer.state_dict()
    return [
        *(value for value in found if isinstance(value, torch.Tensor)),
        *state.get("averages", ()),
        *state.get("gathered", {}).get("sums", ()),
    ]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_trained_model_that_is_cast_and_cast_back_goes_on_as_if_nothing_had_happened(name):
    model, other = trained(name), trained(name)
    model.double()
    assert all(value.dtype == torch.float64 for value in kept(model))
    assert go_on(model.float()) == go_on(other)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_a_trained_model_that_was_cast_goes_on_in_the_new_type(name, dtype):
    model, other = trained(name), trained(name)
    steps = model.optimizer.state_dict().get("iterations")
    model.to(dtype)
    figures, expected = go_on(model), go_on(other)
    assert figures[0] == pytest.approx(expected[0], rel=1e-4 if dtype == torch.float64 else 0.1)  # then the signs of tiny gradients differ
    assert np.isfinite(figures).all()
    assert {value.dtype for value in [*model.parameters(), *kept(model)]} == {dtype}
    assert steps is None or model.optimizer.iterations > steps


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_optimizer_of_a_trained_model_goes_with_it_to_another_device(name):
    model = trained(name)
    own = getattr(model.optimizer, "torch_optimizer", model.optimizer)
    shapes = [value.shape for value in kept(model)]
    model.to("meta")
    assert [value.shape for value in kept(model)] == shapes
    assert all(value.is_meta for value in kept(model))
    assert np.isnan(go_on(model)).all()
    assert all(value.is_meta for value in kept(model)) and device.device_is(model, META)
    assert getattr(model.optimizer, "torch_optimizer", model.optimizer) is own
    held = [parameter for group in own.param_groups for parameter in group["params"]]
    assert all(a is b for a, b in zip(held, model.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", ["adam", torch.optim.Adam], ids=str)
def test_the_scale_of_the_loss_and_gathered_gradients_follow_a_model_that_computes_in_float16(optimizer):
    model = constrained()
    options = {"precision": "mixed_float16", "gradient_accumulation_steps": 3, "device": "cpu"}
    model.compile(optimizer, "sparse_categorical_crossentropy", **options)
    model.fit(X, Y, batch_size=5, verbose=0)
    other = copy.deepcopy(model)
    model.double().float()
    figures = [one.fit(X, Y, batch_size=5, epochs=2, verbose=0, shuffle=False).history["loss"] for one in (model, other)]
    assert figures[0] == figures[1]


def test_weights_that_are_cast_layer_by_layer_are_noticed_too():
    model = trained("momentum")
    for layer in model.layers:
        layer.double()
    go_on(model)
    assert all(value.dtype == torch.float64 for value in kept(model))


def test_a_step_with_hooks_of_the_users_knows_the_same_optimizer_after_a_move():
    calls, model = [], trained("adam")
    model.optimizer.torch_optimizer.register_step_post_hook(lambda *_: calls.append(1))
    model.double().fit(X, Y, batch_size=5, verbose=0)
    assert len(calls) == 4


def test_optimizers_in_attributes_follow_too():
    class Own(Model):
        def compile(self, other, **options):
            super().compile(**options)
            self.other = other

        def train_step(self, batch):
            loss = self.compute_loss(y=batch[1], y_pred=self(batch[0]))
            self.other.apply(torch.autograd.grad(loss, self.trainable_weights), self.trainable_weights)
            return {"loss": loss}

    x = Input(shape=(6,))
    model = Own(x, Dense(3, activation="softmax")(x))
    model.compile(optimizers.Adam(), optimizer="sgd", loss="sparse_categorical_crossentropy", device="cpu")
    model.fit(X, Y, verbose=0)
    model.double().fit(X, Y, verbose=0)
    assert {state["exp_avg"].dtype for state in model.other.torch_optimizer.state.values()} == {torch.float64}


def test_a_model_may_be_elsewhere_between_epochs():
    """Such as on the CPU, to be written to a file."""

    class Away(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.double().float()

    model, other = trained("adam"), trained("adam")
    losses = [
        one.fit(X, Y, batch_size=5, epochs=3, shuffle=False, verbose=0, callbacks=callbacks).history["loss"]
        for one, callbacks in ((model, [Away()]), (other, []))
    ]
    assert losses[0] == losses[1]


def test_models_on_several_devices_are_trained_in_turns():
    first, second = compiled(device="cpu"), compiled(device="meta")
    shared = optimizers.Adam()
    for model in (first, second):
        model.compile(shared, "sparse_categorical_crossentropy", metrics=["accuracy"], device=device.device_of(model))
    for _ in range(2):
        for model, known in ((first, True), (second, False)):
            model.fit(X, Y, validation_data=(X, Y), verbose=0)
            assert np.isfinite(model.train_on_batch(X, Y)).all() == known
            assert np.isfinite(model.predict(X)).all() == known
    assert device.device_is(first, CPU) and device.device_is(second, META)
    assert first.optimizer is not second.optimizer


def test_a_frozen_model_inside_another_moves_with_it():
    inner = classifier()
    inner.trainable = False
    x = Input(shape=(6,))
    model = Model(x, Dense(3, activation="softmax")(inner(x)))
    model.compile("adam", "sparse_categorical_crossentropy", device="cpu")
    model.fit(X, Y, verbose=0)
    before = [weight.copy() for weight in inner.get_weights()]
    model.double().fit(X, Y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, inner.get_weights(), strict=True))


@pytest.mark.parametrize("cast", ["double", "half"])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["", "deep", "pickle"])
def test_a_copy_of_a_model_that_was_cast_computes_as_it_does_and_can_be_cast_back(cast, copied):
    model = compiled(device="cpu")
    getattr(model, cast)()
    twin = copied(model)
    assert twin.code == model.code
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))
    twin.fit(X, Y, verbose=0)
    assert np.isfinite(twin.float().fit(X, Y, verbose=0).history["loss"]).all()


# ---------------------------------------------------------------------- whole runs on meta


def embedding():
    words, numbers = Input(shape=(4,), name="words"), Input(shape=(6,), name="numbers")
    joined = concatenate([Flatten()(Embedding(10, 5)(words)), numbers])
    return Model([words, numbers], Dense(3, activation="softmax")(Dropout(0.2)(joined)))


def masked():
    words = Input(shape=(4,))
    return Model(words, Dense(3, activation="softmax")(Embedding(10, 5, mask_zero=True)(words)))


WORDS = np.arange(80).reshape(20, 4) % 10
CASES = {
    "classifier": (classifier, X, Y),
    "embedding": (embedding, [WORDS, X], Y),
    "masked": (masked, WORDS, WORDS % 3),
    "regularized": (lambda: Sequential([Dense(3, "softmax", input_shape=(6,), kernel_regularizer="l2", activity_regularizer="l1")]), X, Y),
    "constrained": (lambda: Sequential([Dense(3, "softmax", input_shape=(6,), kernel_constraint="non_neg")]), X, Y),
    "late": (lambda: Sequential([Dense(4), BatchNormalization(), Dense(3, activation="softmax")]), X, Y),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("run", ["fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch", "validation"])
def test_whole_runs_on_meta(case, run):
    make, x, y = CASES[case]
    model = compiled(make, device="meta")
    if run in ("predict", "predict_on_batch"):
        assert np.isnan(getattr(model, run)(x)).all()
    elif run == "validation":
        history = model.fit(x, y, validation_split=0.5, verbose=2, batch_size=3)
        assert np.isnan(history.history["val_accuracy"]).all()
    else:
        getattr(model, run)(x, y, **({} if "batch" in run else {"verbose": 0}))
    assert device.device_is(model, META)


@pytest.mark.parametrize("run", ["fit", "train_on_batch"])
@pytest.mark.parametrize(
    "weights",
    [{"class_weight": {0: 2.0, 2: 0.5}}, {"sample_weight": np.ones(20)}, {"class_weight": {1: 3.0}, "sample_weight": np.ones(20)}],
)
def test_weights_on_meta(run, weights):
    model = compiled(device="meta")
    getattr(model, run)(X, Y, **weights, **({"verbose": 0} if run == "fit" else {}))
    assert device.device_is(model, META)


def test_batches_of_a_generator_are_moved():
    model = compiled(device="meta")
    model.fit(iter([(X, Y)] * 3), steps_per_epoch=3, verbose=0, class_weight={0: 2.0})
    model.evaluate(iter([(X, Y, np.ones(20))]), steps=1, verbose=0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", torch.optim.Adam], ids=str)
@pytest.mark.parametrize("loss", ["mse", "mae", "categorical_crossentropy", nn.CrossEntropyLoss()], ids=str)
def test_optimizers_and_losses_on_meta(optimizer, loss):
    model = classifier()
    model.compile(optimizer, loss, metrics=["accuracy", "mse"], weighted_metrics=["mae"], device="meta")
    model.fit(X, np.eye(3)[Y], verbose=0)


def test_tensors_that_are_on_the_device_already():
    model = compiled(device="meta")
    model.fit(torch.ones(20, 6, device="meta"), torch.zeros(20, dtype=torch.int64, device="meta"), verbose=0, class_weight={0: 2.0})


def test_a_torch_optimizer_follows_the_model():
    model = classifier().to("meta")
    model.compile(torch.optim.SGD(model.parameters(), lr=0.1), "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    assert device.device_is(model, META)


# ---------------------------------------------------------------------- the real thing


@pytest.mark.cuda
@pytest.mark.parametrize("case", CASES)
def test_whole_runs_on_cuda(case):
    make, x, y = CASES[case]
    model = compiled(make)
    history = model.fit(x, y, epochs=2, validation_split=0.25, verbose=0, class_weight={0: 2.0})
    assert device.device_of(model).type == "cuda"
    assert np.isfinite(history.history["val_loss"]).all()
    assert np.isfinite(model.predict(x)).all() and np.isfinite(model.evaluate(x, y, verbose=0)).all()
    assert np.isfinite(model.train_on_batch(x, y)).all()


@pytest.mark.cuda
def test_cuda_and_the_cpu_train_alike():
    first = compiled(lambda: Sequential([Dense(3, "softmax", input_shape=(6,))]), device="cpu")
    second = copy.deepcopy(first)
    second.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cuda")
    losses = [model.fit(X, Y, epochs=3, shuffle=False, verbose=0).history["loss"] for model in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.cuda
def test_a_model_put_on_the_cpu_stays_there_though_there_is_cuda():
    model = classifier().cpu()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    assert device.device_is(model, CPU)


@pytest.mark.cuda
def test_a_missing_cuda_device_is_a_runtime_error():
    with pytest.raises(RuntimeError, match="'cuda:99' is not available here; there are: cpu, cuda:0"):
        compiled(device="cuda:99")


@pytest.mark.cuda
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_trained_model_and_its_optimizer_move_to_cuda_and_back(name):
    model, other = trained(name), trained(name)
    model.cuda()
    assert all(value.is_cuda for value in kept(model))
    assert device.device_is(model, torch.device("cuda", torch.cuda.current_device()))
    assert np.allclose(go_on(model), go_on(other), rtol=1e-3)
    assert np.allclose(go_on(model.cpu()), go_on(other), rtol=1e-3)
    assert not any(value.is_cuda for value in [*model.parameters(), *kept(model)])


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_models_on_two_cuda_devices():
    models = [compiled(device=f"cuda:{index}") for index in (0, 1)]
    for _ in range(2):
        for index, model in enumerate(models):
            assert np.isfinite(model.fit(X, Y, validation_split=0.25, verbose=0).history["val_loss"]).all()
            assert device.device_is(model, torch.device("cuda", index))


@pytest.mark.cuda
@pytest.mark.parametrize("optimizer", ["adam", torch.optim.Adam], ids=str)
def test_a_model_in_mixed_precision_moves_to_cuda(optimizer):
    model = constrained()
    model.compile(optimizer, "sparse_categorical_crossentropy", precision="mixed_float16", device="cpu")
    model.fit(X, Y, verbose=0)
    assert np.isfinite(model.cuda().fit(X, Y, epochs=3, verbose=0).history["loss"]).all()
