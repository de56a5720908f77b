"""Batches of other things than arrays, for the steps of a user's own; and what `data` is there, as in Keras."""

from collections import namedtuple

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from torchkeras_fn import Input, Model, Trainer
from torchkeras_fn.callbacks import LambdaCallback
from torchkeras_fn.layers import Dense

X = np.random.default_rng(0).random((10, 3)).astype("float32")
Y = torch.arange(10) % 2


class Seeing(Trainer, nn.Module):
    """Takes down what its steps are given."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.given = []

    def forward(self, x):
        return self.linear(x)

    def saw(self, given):
        self.given.append(given)
        return {"loss": 0.0}


class SeeingBatch(Seeing):
    def train_step(self, batch):
        return self.saw(batch)

    def test_step(self, batch):
        return self.saw(batch)

    def predict_step(self, batch):
        self.saw(batch)
        return torch.zeros(1)


class SeeingData(Seeing):
    def train_step(self, data):
        return self.saw(data)

    def test_step(self, data):
        return self.saw(data)

    def predict_step(self, data):
        self.saw(data)
        return torch.zeros(1)


class Graph:
    """A batch of a user's own kind."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.device = None

    def to(self, device):
        moved = Graph(self.nodes.to(device))
        moved.device = device
        return moved


Transition = namedtuple("Transition", ["state", "action", "reward", "after"])
RUNS = {
    "fit": lambda net, batch: net.fit([batch].__iter__(), steps_per_epoch=1, verbose=0),
    "evaluate": lambda net, batch: net.evaluate([batch].__iter__(), steps=1, verbose=0),
    "predict": lambda net, batch: net.predict([batch].__iter__(), steps=1),
}


def seen(kind, run, batch):
    net = kind()
    net.compile("sgd", device="cpu")
    RUNS[run](net, batch)
    (given,) = net.given
    return given


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", [SeeingBatch, SeeingData])
def test_a_step_of_ones_own_reads_batches_of_more_than_three_parts(kind, run):
    state, action, reward, after = seen(kind, run, (X, Y, np.float64([1.0, 2.0]), [X[0], X[:3]]))
    assert state.shape == (10, 3) and action is not X and reward.dtype == torch.float32
    assert [part.shape for part in after] == [(3,), (3, 3)] and all(isinstance(part, torch.Tensor) for part in after)


@pytest.mark.parametrize("run", ["fit", "evaluate"])
def test_a_step_of_ones_own_without_a_loss_reads_triplets_of_inputs(run):
    assert [part.shape for part in seen(SeeingData, run, (X, X + 1, X + 2))] == [X.shape] * 3


@pytest.mark.parametrize("kind", [SeeingBatch, SeeingData])
def test_a_step_of_ones_own_reads_a_batch_by_its_names(kind):
    given = seen(kind, "fit", Transition(X, Y, Y, X))
    assert type(given) is Transition and torch.equal(given.reward, Y)


@pytest.mark.parametrize("run", RUNS)
def test_an_object_is_moved_and_given_to_a_step_of_ones_own(run):
    x, y, weight = seen(SeeingBatch, run, Graph(torch.ones(4, 2)))
    assert x.device == torch.device("cpu") and y is weight is None
    assert seen(SeeingData, run, Graph(torch.ones(4, 2))).device == torch.device("cpu")


@pytest.mark.parametrize("run", ["fit", "evaluate"])
def test_an_object_may_come_with_targets(run):
    x, y, weight = seen(SeeingBatch, run, (Graph(torch.ones(4, 2)), np.float64([1.0])))
    assert x.device == torch.device("cpu") and y.dtype == torch.float32 and weight is None


@pytest.mark.filterwarnings("error")
def test_arrays_that_torch_does_not_take_as_they_are_come_as_tensors():
    fixed = X.copy()
    fixed.flags.writeable = False
    for array in (fixed, X[::-1], X.astype(">f4")):
        torch.testing.assert_close(seen(SeeingData, "fit", (array, Y, Y, Y))[0], torch.as_tensor(array.astype("float32").copy()))


def test_what_a_step_writes_to_rows_of_a_data_set_is_not_seen_in_it():
    class Writing(SeeingBatch):
        def predict_step(self, batch):
            return batch[0].sub_(1)

    rows = torch.as_tensor(X.copy())
    Writing().predict(TensorDataset(rows, Y))
    torch.testing.assert_close(rows, torch.as_tensor(X))


def test_a_sparse_matrix_by_itself_is_an_array():
    matrix = scipy.sparse.csr_matrix(X)
    torch.testing.assert_close(seen(SeeingData, "fit", matrix).to_dense(), torch.as_tensor(X))


def test_packed_sequences_come_as_they_are():
    packed = nn.utils.rnn.pack_sequence([torch.ones(3, 2), torch.ones(1, 2)])
    (x,) = (seen(SeeingBatch, "fit", (packed, Y)))[:1]
    assert isinstance(x, nn.utils.rnn.PackedSequence)
    assert isinstance(seen(SeeingData, "fit", packed), nn.utils.rnn.PackedSequence)


def test_images_of_several_sizes_come_as_a_list_with_what_is_in_them():
    images, boxes, _ = seen(SeeingBatch, "fit", ([X[:1], X[:2]], [{"box": X[0]}, {"box": X[1]}]))
    assert [len(image) for image in images] == [1, 2] and boxes[1]["box"].dtype == torch.float32


def test_texts_come_beside_arrays():
    data = seen(SeeingData, "fit", {"image": X, "name": ["a"] * 10, "more": {"scale": np.float32(2)}})
    assert torch.is_tensor(data["image"]) and data["name"][0] == "a" and data["more"]["scale"] == 2
    assert seen(SeeingBatch, "fit", {"image": X, "name": ["a"] * 10})[0]["name"][0] == "a"


def test_batches_are_read_from_a_loader_with_a_tuple_for_each_sample():
    net = SeeingData()
    net.compile("sgd")
    net.fit(DataLoader(TensorDataset(*[torch.as_tensor(X)] * 4), 4), verbose=0)
    assert [len(part) for part in net.given] == [4, 4, 4] and [len(part[0]) for part in net.given] == [4, 4, 2]


def test_callbacks_are_told_of_how_many_samples_there_are():
    net, sizes = SeeingBatch(), []
    net.compile("sgd")
    callback = LambdaCallback(on_batch_end=lambda batch, logs: sizes.append(logs["size"]))
    batches = [(X, Y, X, X), Graph(torch.ones(4, 2)), ([X[:1], X[:2]], ["a", "b"]), {"name": ["a"] * 5, "count": 2}]
    net.fit(iter(batches), steps_per_epoch=4, verbose=0, callbacks=[callback])
    assert sizes == [10, 1, 2, 5]


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch", "predict_on_batch"])
def test_one_batch_may_be_of_anything(method):
    net = SeeingData()
    net.compile("sgd", device="cpu")
    getattr(net, method)(Graph(torch.ones(4, 2)))
    assert net.given[0].device == torch.device("cpu")


@pytest.mark.parametrize("kind", [SeeingBatch, SeeingData])
def test_a_batch_of_arrays_is_what_it_was(kind):
    x, y = seen(kind, "fit", ([X.astype("float64"), X], Y))[:2]
    assert [part.dtype for part in x] == [torch.float32] * 2 and torch.equal(y, Y)


def test_steps_that_are_not_ones_own_take_arrays():
    class Half(SeeingBatch):
        test_step, predict_step = Trainer.test_step, Trainer.predict_step

    net = Half()
    net.compile("sgd", "mse")
    with pytest.raises(ValueError, match="tuple of 4 came.*step of your own"):
        net.evaluate(iter([(X, X, X, X)]), steps=1, verbose=0)
    with pytest.raises(TypeError, match="x is an array"):
        net.test_on_batch(object(), Y)


def test_numbers_kept_as_objects_are_named_also_where_a_step_is_ones_own():
    class Own(Seeing):
        def train_step(self, batch):
            return super().train_step(batch)

    net = Own()
    net.compile("sgd", nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match="x is not an array of numbers.*astype"):
        net.fit(iter([(X.astype(object), Y)]), steps_per_epoch=1, verbose=0)


def test_weights_of_classes_need_targets():
    net = SeeingBatch()
    net.compile("sgd", "mse")
    with pytest.raises(ValueError, match="tuple of 4 came"):
        net.fit(iter([(X, X, X, X)]), steps_per_epoch=1, class_weight={0: 1.0, 1: 2.0}, verbose=0)


def test_weights_that_are_to_be_made_for_the_first_data_need_arrays():
    class Lazy(SeeingBatch):
        def __init__(self):
            super().__init__()
            self.linear = nn.LazyLinear(2)

    net = Lazy()
    net.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Call the model once.*Graph"):
        net.fit(iter([Graph(torch.ones(4, 2))]), steps_per_epoch=1, verbose=0)


def test_a_drawn_model_reads_dicts_of_other_things_than_its_inputs():
    class Drawn(Model):
        def train_step(self, data):
            loss = nn.functional.cross_entropy(self(data["image"]), data["label"])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return {"loss": loss}

    inputs = Input(shape=(3,))
    model = Drawn(inputs, Dense(2)(inputs))
    model.compile("sgd", device="cpu")
    history = model.fit(DataLoader([{"image": x, "label": y} for x, y in zip(X, Y, strict=True)], 5), epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]


# ---------------------------------------------------------------------- what `data` is, where there are no targets


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch"])
def test_data_that_is_one_array_is_not_in_a_tuple(method):
    net = SeeingData()
    net.compile("sgd")
    getattr(net, method)(X)
    torch.testing.assert_close(net.given[0].sort(dim=0).values, torch.as_tensor(X).sort(dim=0).values)


@pytest.mark.parametrize("run", RUNS)
def test_data_that_came_in_a_tuple_stays_there(run):
    (x,) = seen(SeeingData, run, (X,))
    assert torch.equal(x, torch.as_tensor(X))
    assert seen(SeeingData, run, X).shape == (10, 3) and set(seen(SeeingData, run, {"a": X})) == {"a"}


def test_a_step_of_ones_own_may_hand_on_data_that_is_one_array():
    class Handing(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            return self.linear(x)

        def train_step(self, data):
            return super().train_step((data, data))

        def predict_step(self, data):
            return super().predict_step(data)

    net = Handing()
    net.compile("sgd", "mse", device="cpu")
    net.fit(X[:3], verbose=0)
    torch.testing.assert_close(torch.as_tensor(net.predict(X[:3])), net(torch.as_tensor(X[:3])))


@pytest.mark.parametrize("data", [lambda: X, lambda: [X].__iter__(), lambda: DataLoader(torch.as_tensor(X), batch_size=10)])
def test_a_step_of_ones_own_may_make_the_targets_of_a_loss_itself(data):
    class Coding(Model):
        def train_step(self, data):
            return {"loss": self.compute_loss(y=data, y_pred=self(data, training=True))}

    x = Input((3,))
    model = Coding(x, Dense(3, name="code")(x))
    model.compile("sgd", "mse")
    expected = np.mean((X - model.predict(X)) ** 2)
    assert model.fit(data(), batch_size=10, steps_per_epoch=1, verbose=0).history["loss"] == pytest.approx([expected])
    assert model.train_on_batch(X) == pytest.approx(expected)
    with pytest.raises(ValueError, match="'code'.* need targets"):
        model.evaluate(X)
