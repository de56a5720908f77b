"""Where things live: the choice of a device, and whole runs on `meta`, where a forgotten transfer is an error."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, Trainer
from torchkeras_fn.engine import device
from torchkeras_fn.layers import BatchNormalization, Dense, Dropout, Embedding, Flatten, concatenate

CPU, META, CUDA = torch.device("cpu"), torch.device("meta"), torch.device("cuda", 0)
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
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)


@pytest.fixture
def fake_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


@pytest.fixture
def fake_accelerator(monkeypatch):
    """`meta` stands for another accelerator that torch reports."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: META)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)


# ---------------------------------------------------------------------- the choice


def test_without_an_accelerator_it_is_the_cpu(no_accelerator):
    assert device.choose(None, nn.Linear(1, 1), placed=False) == CPU


def test_cuda_comes_first(fake_cuda):
    assert device.choose(None, nn.Linear(1, 1), placed=False) == CUDA


def test_then_another_accelerator_that_torch_reports(fake_accelerator):
    assert device.choose(None, nn.Linear(1, 1), placed=False) == META


@pytest.mark.parametrize("fake", ["fake_cuda", "fake_accelerator"])
def test_a_model_that_was_put_on_the_cpu_stays_there(fake, request):
    request.getfixturevalue(fake)
    assert device.choose(None, nn.Linear(1, 1), placed=True) == CPU


def test_a_model_that_is_elsewhere_stays_there(fake_cuda):
    assert device.choose(None, nn.Linear(1, 1, device="meta"), placed=False) == META


@pytest.mark.parametrize("wanted", ["cpu", CPU, "meta", META])
def test_a_device_that_is_named_is_obeyed(fake_cuda, wanted):
    assert device.choose(wanted, nn.Linear(1, 1), placed=True) == torch.device(wanted)


@pytest.mark.parametrize("wanted", ["cuda:99", "warp", "xpu", "cpu:three", ""])
def test_a_device_that_is_not_there_is_a_runtime_error_that_names_those_that_are(wanted):
    with pytest.raises(RuntimeError, match=f"The device '{wanted}' is not available here; there are: cpu"):
        device.choose(wanted, nn.Linear(1, 1), placed=False)


def test_the_devices_that_there_are(fake_accelerator):
    assert device.available() == ["cpu", "meta:0", "meta:1"]


def test_only_the_cpu_is_there(no_accelerator):
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


def test_tensors_for_cuda_are_pinned_and_the_copy_is_not_waited_for(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: calls.append("pin") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *args, **options: calls.append((args, options)) or self)
    device.to_device(torch.ones(3), CUDA)
    assert calls == ["pin", ((CUDA,), {"non_blocking": True})]


def test_what_goes_to_the_host_has_no_history_and_a_type_that_numpy_knows():
    weight = torch.ones(2, requires_grad=True)
    assert not device.to_host(weight * 2).requires_grad
    assert device.to_host(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.float32
    assert device.to_host(torch.ones(2, device="meta")).isnan().all()


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
