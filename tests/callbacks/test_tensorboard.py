"""`TensorBoard`: what is written, read back with TensorBoard's own reader."""

import importlib.util
import os
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, Trainer
from torchkeras_fn.callbacks import CallbackList, LambdaCallback, TensorBoard
from torchkeras_fn.callbacks.tensorboard_graph import graph_definition
from torchkeras_fn.layers import Dense

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="needs the extra 'tensorboard': pip install tensorboard"
)

X, Y = np.random.default_rng(0).normal(size=(20, 3)).astype("float32"), np.arange(20, dtype="float32")


def compiled(optimizer="sgd"):
    x = Input(shape=(3,))
    model = Model(x, Dense(1, name="head")(Dense(4, name="hidden")(x)))
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def read(folder):
    reader = event_accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0, "images": 0})
    return reader.Reload()


def scalars(folder):
    reader = read(folder)
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def fit(folder, model=None, **options):
    model = model or compiled()
    epochs = options.pop("epochs", 2)
    return model.fit(X, Y, epochs=epochs, batch_size=5, verbose=0, validation_split=0.2, callbacks=[TensorBoard(folder, **options)]).history


def test_figures_of_each_epoch_and_the_learning_rate(tmp_path):
    history = fit(tmp_path)
    found, validated = scalars(tmp_path / "train"), scalars(tmp_path / "validation")
    for name in ("loss", "mae"):
        assert found[f"epoch_{name}"] == [(epoch, pytest.approx(history[name][epoch])) for epoch in range(2)]
        assert validated[f"epoch_{name}"] == [(epoch, pytest.approx(history[f"val_{name}"][epoch])) for epoch in range(2)]
    assert found["epoch_learning_rate"] == [(epoch, pytest.approx(0.01)) for epoch in range(2)]
    assert sorted(found) == ["epoch_learning_rate", "epoch_loss", "epoch_mae"]


def test_the_validation_over_the_steps_of_the_optimizer(tmp_path):
    history = fit(tmp_path)
    steps = scalars(tmp_path / "validation")["evaluation_loss_vs_iterations"]
    assert steps == [(4, pytest.approx(history["val_loss"][0])), (8, pytest.approx(history["val_loss"][1]))]


@pytest.mark.parametrize(("frequency", "steps"), [("batch", range(1, 9)), (1, range(1, 9)), (3, [3, 6]), ("epoch", [])])
def test_figures_of_batches(tmp_path, frequency, steps):
    seen = []
    note = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    board = TensorBoard(tmp_path, update_freq=frequency)
    compiled().fit(X[:16], Y[:16], epochs=2, batch_size=4, verbose=0, callbacks=[board, note])
    assert scalars(tmp_path / "train").get("batch_loss", []) == [(step, pytest.approx(seen[step - 1])) for step in steps]


def test_batches_are_told_only_where_they_are_written():
    assert CallbackList([TensorBoard("x")]).listeners("on_train_batch_end") == []
    assert CallbackList([TensorBoard("x")]).listeners("on_train_batch_begin") == []
    assert len(CallbackList([TensorBoard("x", update_freq=5)]).listeners("on_train_batch_end")) == 1


def test_figures_that_other_callbacks_added(tmp_path):
    add = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(extra=epoch * 1.0, phase="warm"))
    compiled().fit(X, Y, epochs=2, verbose=0, callbacks=[add, TensorBoard(tmp_path)])
    found = scalars(tmp_path / "train")
    assert found["epoch_extra"] == [(0, 0.0), (1, 1.0)] and "epoch_phase" not in found


def test_the_speed(tmp_path):
    fit(tmp_path, write_steps_per_second=True)
    assert all(speed > 0 for _, speed in scalars(tmp_path / "train")["epoch_steps_per_second"])


@pytest.mark.parametrize(("frequency", "epochs"), [(0, []), (1, [0, 1, 2, 3]), (2, [0, 2])])
def test_histograms_of_weights(tmp_path, frequency, epochs):
    fit(tmp_path, histogram_freq=frequency, epochs=4)
    reader = read(tmp_path / "train")
    tags = [f"{layer}/{weight}/histogram" for layer in ("head", "hidden") for weight in ("bias", "kernel")] if frequency else []
    assert sorted(reader.Tags()["histograms"]) == tags
    for tag in tags:
        assert [event.step for event in reader.Histograms(tag)] == epochs


def test_histograms_of_gradients(tmp_path):
    fit(tmp_path, histogram_freq=1, write_grads=True)
    assert {"head.weight/gradient", "hidden.bias/gradient"} <= set(read(tmp_path / "train").Tags()["histograms"])


def test_weights_that_are_no_numbers_do_no_harm(tmp_path):
    model = compiled()
    model.set_weights([np.full(weight.shape, np.nan) for weight in model.get_weights()])
    fit(tmp_path, model, histogram_freq=1, write_images=True)
    assert read(tmp_path / "train").Tags()["histograms"] == []


def test_pictures_of_weights(tmp_path):
    fit(tmp_path, histogram_freq=1, write_images=True)
    reader = read(tmp_path / "train")
    assert "hidden/kernel/image" in reader.Tags()["images"]
    picture = reader.Images("hidden/kernel/image")[0]
    assert (picture.height, picture.width) == (3, 4)


def test_the_graph_of_a_drawn_model(tmp_path):
    fit(tmp_path)
    assert [node.name for node in read(tmp_path / "train").Graph().node] == ["input_1", "hidden", "head"]


def test_no_graph_where_none_is_wanted_and_none_is_drawn(tmp_path):
    fit(tmp_path / "a", write_graph=False)
    assert not read(tmp_path / "a" / "train").Tags()["graph"]
    fit(tmp_path / "b", plain())
    assert not read(tmp_path / "b" / "train").Tags()["graph"]


def plain():
    class Net(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 1)

        def forward(self, x):
            return self.linear(x)

    model = Net()
    model.compile(torch.optim.SGD(model.parameters(), lr=0.5), "mse")
    return model


def test_a_plain_module_with_an_optimizer_of_torch(tmp_path):
    fit(tmp_path, plain(), histogram_freq=1)
    assert scalars(tmp_path / "train")["epoch_learning_rate"] == [(0, 0.5), (1, 0.5)]
    assert read(tmp_path / "train").Tags()["histograms"] == ["linear.weight/histogram", "linear.bias/histogram"]


def test_calls_and_shapes_in_the_graph():
    x = Input(shape=(4,))
    shared = Dense(4, name="shared")
    model = Model(x, torch.relu(shared(shared(x))) + x)
    boxes = {node.name: node for node in graph_definition(model).node}
    assert {name: list(box.input) for name, box in boxes.items()} == {
        "input_1": [],
        "shared": ["input_1"],
        "shared_1": ["shared"],
        "relu": ["shared_1"],
        "add": ["relu", "input_1"],
    }
    assert boxes["shared"].op == "Dense"
    assert [dim.size for dim in boxes["shared"].attr["_output_shapes"].list.shape[0].dim] == [-1, 4]


def test_a_sequential_model_that_is_built_by_its_data(tmp_path):
    model = Sequential([Dense(2, name="only")])
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((20, 2)), verbose=0, callbacks=[TensorBoard(tmp_path)])
    assert "only" in [node.name for node in read(tmp_path / "train").Graph().node]


class Words(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.tags = nn.Embedding(5, 3), nn.Embedding(5, 3)

    def forward(self, x):
        return (self.words(x.long()) + self.tags(x.long())).mean((1, 2))


def embed(folder, **options):
    model = Words()
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones(4), verbose=0, callbacks=[TensorBoard(folder, embeddings_freq=1, **options)])
    return sorted(str(path.relative_to(folder / "train")) for path in (folder / "train").rglob("*.tsv"))


def test_tables_of_embeddings(tmp_path):
    (tmp_path / "labels.tsv").write_text("a\nb\nc\nd\ne\n")
    assert embed(tmp_path / "all") == ["00000/tags/tensors.tsv", "00000/words/tensors.tsv"]
    assert embed(tmp_path / "one", embeddings_layer_names=["words"]) == ["00000/words/tensors.tsv"]
    found = embed(tmp_path / "labelled", embeddings_metadata={"words": tmp_path / "labels.tsv"})
    assert found == ["00000/tags/tensors.tsv", "00000/words/metadata.tsv", "00000/words/tensors.tsv"]


def test_labels_for_an_embedding_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"'embeddings_metadata' names 'wrods', which is none of the embeddings \['words', 'tags'\]"):
        embed(tmp_path, embeddings_metadata={"wrods": "labels.tsv"})


@pytest.mark.parametrize("batches", [2, (2, 3), "2,3", [2, 2]])
def test_a_recording_of_some_batches(tmp_path, batches):
    fit(tmp_path, profile_batch=batches)
    assert [name for name in os.listdir(tmp_path / "train") if name.endswith(".pt.trace.json")]


def test_a_recording_ends_with_the_training(tmp_path):
    board = TensorBoard(tmp_path, profile_batch=(1, 1000))
    compiled().fit(X, Y, verbose=0, callbacks=[board])
    assert board._profiler is None


def test_evaluate_alone(tmp_path):
    model = compiled()
    figures = model.evaluate(X, Y, verbose=0, callbacks=[TensorBoard(tmp_path)])
    assert scalars(tmp_path / "validation")["evaluation_loss_vs_iterations"] == [(0, pytest.approx(figures[0]))]


def test_the_state_goes_on_counting(tmp_path):
    first, second = TensorBoard(tmp_path / "a", update_freq=1), TensorBoard(tmp_path / "b", update_freq=1)
    compiled().fit(X, Y, batch_size=10, verbose=0, callbacks=[first])
    restore = LambdaCallback(on_train_begin=lambda logs: second.load_state_dict(first.state_dict()))
    compiled().fit(X, Y, batch_size=10, verbose=0, callbacks=[second, restore])
    assert [step for step, _ in scalars(tmp_path / "b" / "train")["batch_loss"]] == [3, 4]


def test_it_can_be_pickled_after_a_training(tmp_path):
    board = TensorBoard(tmp_path)
    model = compiled()
    model.fit(X, Y, verbose=0, callbacks=[board])
    board.model = None
    assert pickle.loads(pickle.dumps(board)).log_dir == str(tmp_path)


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'torchkeras_fn\[tensorboard\]'"):
        TensorBoard()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"update_freq": "often"}, "'update_freq' is 'batch', 'epoch' or a number of batches, got 'often'"),
        ({"update_freq": 0}, "'update_freq'"),
        ({"histogram_freq": -1}, "'histogram_freq'"),
        ({"embeddings_freq": -1}, "'embeddings_freq'"),
        ({"profile_batch": (3, 2)}, "'profile_batch'"),
        ({"profile_batch": -1}, "'profile_batch'"),
        ({"profile_batch": "some"}, "'profile_batch'"),
        ({"profile_batch": (1, 2, 3)}, "'profile_batch'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        TensorBoard("logs", **options)


def test_arguments_of_keras_2_are_taken():
    TensorBoard("logs", batch_size=32, write_grads=True, embeddings_layer_names=None, embeddings_data=None)


def test_the_order_of_arguments_is_that_of_keras():
    board = TensorBoard("logs", 2, False, True, True, 5, 0, 3, "labels.tsv")
    names = (
        "histogram_freq",
        "write_graph",
        "write_images",
        "write_steps_per_second",
        "update_freq",
        "embeddings_freq",
        "embeddings_metadata",
    )
    assert [getattr(board, name) for name in names] == [2, False, True, True, 5, 3, "labels.tsv"]
