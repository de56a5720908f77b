"""Batches that are objects, such as packed sequences, sparse and nested tensors or graphs: they come to `forward` as they are."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import DataLoader, TensorDataset

from torchkeras_fn import Input, Model, Trainer
from torchkeras_fn.callbacks import LambdaCallback
from torchkeras_fn.layers import Dense

SEQUENCES = [torch.randn(length, 3, generator=torch.Generator().manual_seed(length)) for length in (3, 1, 4, 2, 5, 2, 1, 3, 2, 4)]
TARGETS = [sequence.mean().view(1) for sequence in SEQUENCES]
SAMPLES = list(zip(SEQUENCES, TARGETS, strict=True))


class Graph:
    """Nodes of several graphs, and to which graph each belongs."""

    def __init__(self, nodes, member):
        self.nodes, self.member = nodes, member

    def to(self, device):
        return Graph(self.nodes.to(device), self.member.to(device))


class Recurrent(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent = nn.GRU(3, 5)
        self.last = nn.Linear(5, 1)

    def forward(self, packed):
        return self.last(self.recurrent(packed)[1][-1])


class Linear(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)


class OfGraphs(Linear):
    def forward(self, graph):
        of_nodes = self.linear(graph.nodes)
        return of_nodes.new_zeros(int(graph.member.max()) + 1, 1).index_add(0, graph.member, of_nodes)


class OfNested(Linear):
    def forward(self, nested):
        return torch.stack([rows.mean(0) for rows in self.linear(nested).unbind()])


class OfSparse(Linear):
    def forward(self, x):
        assert x.layout is not torch.strided
        return torch.sparse.mm(x, self.linear.weight.T)


def packed(samples):
    return pack_sequence([sequence for sequence, _ in samples], enforce_sorted=False), torch.stack([target for _, target in samples])


def graphs(samples):
    member = torch.cat([torch.full((len(sequence),), number) for number, (sequence, _) in enumerate(samples)])
    return Graph(torch.cat([sequence for sequence, _ in samples]), member), torch.stack([target for _, target in samples])


def nested(layout):
    def collate(samples):
        return torch.nested.nested_tensor([sequence for sequence, _ in samples], layout=layout), torch.stack([y for _, y in samples])

    return collate


def sparse(samples):
    return torch.stack([sequence[0] for sequence, _ in samples]).relu().to_sparse(), torch.stack([target for _, target in samples])


def double(samples):
    x, y = sparse(samples)
    return x.double(), y


def in_a_dict(samples):
    x, y = packed(samples)
    return {"packed": x}, y


KINDS = {
    "packed": (Recurrent, packed),
    "in a dict": (Recurrent, in_a_dict),
    "graphs": (OfGraphs, graphs),
    "jagged": (OfNested, nested(torch.jagged)),
    "nested": (OfNested, nested(torch.strided)),
    "sparse": (OfSparse, sparse),
    "sparse, of another dtype": (OfSparse, double),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    """A module that is not compiled yet, and a loader of its kind of batches."""
    make, collate = request.param
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors")
        yield make(), DataLoader(SAMPLES, 4, collate_fn=collate)


def of_floats(x):
    return x.float() if isinstance(x, torch.Tensor) else x["packed"] if isinstance(x, dict) else x


def test_training_is_what_a_loop_by_hand_does(kind):
    net, loader = kind
    by_hand = type(net)()
    by_hand.load_state_dict(net.state_dict())
    net.compile(torch.optim.SGD(net.parameters(), 0.1), nn.MSELoss())
    net.fit(loader, epochs=2, verbose=0)
    optimizer = torch.optim.SGD(by_hand.parameters(), 0.1)
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(by_hand(of_floats(x)), y).backward()
            optimizer.step()
    for name, weight in net.state_dict().items():
        assert torch.equal(weight, by_hand.state_dict()[name])


def test_evaluation_and_prediction_see_every_row(kind):
    net, loader = kind
    net.compile("sgd", "mse")
    predicted = torch.from_numpy(net.predict(loader))
    assert predicted.shape == (len(SAMPLES), 1)
    assert net.evaluate(loader, verbose=0) == pytest.approx(nn.functional.mse_loss(predicted, torch.stack(TARGETS)).item(), rel=1e-5)


def test_single_batches(kind):
    net, loader = kind
    x, y = next(iter(loader))
    net.compile("sgd", "mse")
    loss = net.test_on_batch(x, y)
    assert net.train_on_batch(x, y) == pytest.approx(loss) and net.test_on_batch(x, y) < loss
    assert net.predict_on_batch(x).shape == (4, 1)


def test_arrays_in_memory_are_refused_with_advice(kind):
    net, loader = kind
    x, y = next(iter(loader))
    net.compile("sgd", "mse")
    for call in (lambda: net.fit(x, y, verbose=0), lambda: net.evaluate(x, y, verbose=0), lambda: net.predict(x)):
        with pytest.raises(TypeError, match="^x.* cannot be cut into batches.*DataLoader"):
            call()


def test_an_object_alone_is_predicted_on():
    loader = DataLoader(SAMPLES, 4, collate_fn=lambda samples: packed(samples)[0])
    assert Recurrent().predict(loader).shape == (len(SAMPLES), 1)


def test_parts_of_an_object_are_no_arguments():
    class Any(Recurrent):
        def forward(self, *given):
            (x,) = given
            assert isinstance(x, PackedSequence)
            return super().forward(x)

    net = Any()
    net.compile("sgd", "mse")
    net.fit(DataLoader(SAMPLES, 4, collate_fn=packed), verbose=0)


def test_beside_arrays():
    class Both(Recurrent):
        def forward(self, packed, more):
            return super().forward(packed) + more

    def collate(samples):
        x, y = packed(samples)
        return (x, torch.ones(len(samples), 1, dtype=torch.float64)), y

    net = Both()
    net.compile("sgd", "mse")
    assert net.predict(DataLoader(SAMPLES, 4, collate_fn=collate)).dtype == "float32"


def test_callbacks_are_told_how_many_rows_there_are():
    net, sizes = OfGraphs(), []
    net.compile("sgd", "mse")
    note = LambdaCallback(on_batch_end=lambda batch, logs: sizes.append(logs["size"]))
    net.fit(DataLoader(SAMPLES, 4, collate_fn=graphs), verbose=0, callbacks=[note])
    assert sizes == [4, 4, 2]


def test_weights_of_samples_and_classes_count():
    def collate(samples):
        x, y = packed(samples)
        return x, (y > 0).long().view(-1), torch.zeros(len(samples))

    torch.manual_seed(0)
    net = Recurrent()
    net.last = nn.Linear(5, 2)
    net.compile("sgd", nn.CrossEntropyLoss())
    history = net.fit(DataLoader(SAMPLES, 4, collate_fn=collate), class_weight={0: 1.0, 1: 2.0}, verbose=0).history
    assert history["loss"] == [0.0]


def test_weights_are_made_for_a_first_batch():
    net = Recurrent()
    net.last = nn.LazyLinear(1)
    net.compile("sgd", "mse")
    net.fit(DataLoader(SAMPLES, 4, collate_fn=packed), verbose=0)
    assert net.last.weight.shape == (1, 5)


def test_a_step_of_ones_own_may_leave_the_rest_to_the_librarys():
    class Own(Recurrent):
        def train_step(self, batch):
            return super().train_step(batch)

    histories = []
    for make in (Own, Recurrent):
        torch.manual_seed(0)
        net = make()
        net.compile("sgd", "mse")
        histories.append(net.fit(DataLoader(SAMPLES, 4, collate_fn=packed), verbose=0).history)
    assert histories[0] == histories[1]


def test_an_object_that_cannot_be_moved_is_refused():
    net = OfGraphs()
    net.compile("sgd", "mse")
    with pytest.raises(TypeError, match="^x is an array.* of type object"):
        net.fit(DataLoader(SAMPLES, 4, collate_fn=lambda samples: (object(), torch.ones(4, 1))), verbose=0)


def test_other_numbers_of_rows_are_still_refused():
    net = Recurrent()
    net.compile("sgd", "mse")
    with pytest.raises(ValueError, match="do not fit"):
        net.fit(DataLoader(SAMPLES, 4, collate_fn=lambda samples: (packed(samples)[0], torch.ones(3, 1))), verbose=0)


def test_a_drawn_model_and_a_data_set_of_tensors_take_dense_tensors():
    x = Input((3,))
    model = Model(x, Dense(1)(x))
    model.compile("sgd", "mse")
    for data in ([packed(SAMPLES)], [sparse(SAMPLES)]):
        with pytest.raises(TypeError, match="rows of numbers are expected"):
            model.fit(iter(data), steps_per_epoch=1, verbose=0)
    net = OfSparse()
    net.compile("sgd", "mse")
    with pytest.raises(TypeError, match="Tensor 0 of the data set is a tensor of the layout torch.sparse_coo"):
        net.fit(TensorDataset(*sparse(SAMPLES)), verbose=0)


def test_a_dense_batch_may_come_before_a_sparse_one():
    seen = []

    class Either(Linear):
        def forward(self, x):
            seen.append(x.layout)
            return self.linear(x.to_dense())

    x, y = sparse(SAMPLES)
    net = Either()
    net.compile("sgd", "mse")
    net.fit(iter([(x.to_dense(), y), (x, y)]), steps_per_epoch=2, verbose=0)
    assert seen[-2:] == [torch.strided, torch.sparse_coo]
