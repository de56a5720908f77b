"""What several processes do beside plain training: own steps and metrics, single batches, odd models, data as it comes, ends."""

import copy
import gc
import pickle
import warnings

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torchmetrics
from torch.utils.data import DataLoader, DistributedSampler

from tests.distributed.job import Failed, outcomes, run
from tests.distributed.test_exact import GLOBAL, Batches, Items, drawn, rows, same
from torchkeras_fn import Input, Model, Sequential, portion
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.engine.batches.loading import NOTHING
from torchkeras_fn.layers import BatchNormalization, Dense
from torchkeras_fn.metrics import AUC, F1Score, Mean, Metric, Precision
from torchkeras_fn.optimizers import SGD, Adam


def compiled(model=drawn, optimizer="sgd", loss="binary_crossentropy", **options):
    set_random_seed(3)
    net = model()
    net.compile(optimizer, loss, **options)
    return net


def weights_of(net):
    return [value.detach().numpy().copy() for value in net.state_dict().values()]


def alike(function, *args, processes=(2, 3), tolerance=2e-5):
    """Run in one process and in several, and compare what each returns."""
    wanted = run(function, 1, *args)[0]
    for count in processes:
        for found in run(function, count, *args):
            same(wanted, found, tolerance)
    return wanted


def share(*arrays):
    """This process's part of the rows, split as evenly as may be."""
    return [np.array_split(array, dist.get_world_size())[dist.get_rank()] for array in arrays]


# ---------------------------------------------------------------------- models


def two_outputs():
    x = Input(shape=(4,))
    h = Dense(3, activation="tanh")(x)
    return Model(x, [Dense(1, activation="sigmoid", name="a")(h), Dense(2, name="b")(h), Dense(2, name="unused")(h)])


def fit_two_outputs(samples, optimizer):
    net = compiled(two_outputs, optimizer, {"a": "binary_crossentropy", "b": "mse"}, metrics={"a": "accuracy", "b": "mae"})
    x, y = rows(samples)
    data = x, {"a": y, "b": x[:, :2]}
    history = net.fit(*data, batch_size=GLOBAL // dist.get_world_size(), epochs=3, verbose=0).history
    return history, net.predict(x), weights_of(net)


def test_outputs_without_a_loss():
    for samples in (1, 13):
        alike(fit_two_outputs, samples, "adam")
    alike(fit_two_outputs, 13, "adamw")


class Branching(Model):
    """A model of its own, with layers that only some batches use, and losses and figures that it adds."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.unused = Dense(3, activation="tanh"), Dense(1, activation="sigmoid"), Dense(2)

    def call(self, inputs):
        hidden = self.first(inputs)
        self.add_loss(0.1 * hidden.square().mean())
        self.add_metric(hidden.mean(), name="middle")
        return {"a": self.second(hidden), "b": self.unused(hidden)}


def fit_branching(samples):
    net = compiled(Branching, "adam", {"a": "binary_crossentropy"})
    x, y = rows(samples)
    history = net.fit(x, {"a": y}, batch_size=GLOBAL // dist.get_world_size(), epochs=3, verbose=0).history
    return history, net.predict(x), weights_of(net)


def test_a_model_with_its_own_call():
    alike(fit_branching, 13)
    alike(fit_branching, 1)


class Used(Model):
    def __init__(self):
        super().__init__()
        self.dense = Dense(1, activation="sigmoid")

    def call(self, inputs):
        return self.dense(inputs)


def fit_silently():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for model in (Used, drawn, watched):
            fit_with(model, "adam")
    return [str(warning.message) for warning in caught]


def test_nothing_is_warned_of():
    assert run(fit_silently, 2) == [[], []]


def replica_of(model):
    net = compiled(model)
    net.fit(*rows(4), batch_size=2, verbose=0)
    run = net._replica.run
    kind = type(getattr(run, "_replica", run)).__name__
    return kind, any(isinstance(part, torch.nn.parallel.DistributedDataParallel) for part in net.modules()), list(net.state_dict())


def test_the_work_is_torchs_and_leaves_no_trace():
    for model in (drawn, Used):
        names = list(compiled(model).state_dict()) if model is drawn else ["dense.weight", "dense.bias"]
        assert run(replica_of, 2, model) == [("DistributedDataParallel", False, names)] * 2


def fit_watched_by_the_first():
    net, seen = compiled(drawn), []
    if dist.get_rank() == 0:
        next(net.parameters()).register_hook(lambda gradient: seen.append(bool(gradient.any())))
    net.fit(*rows(8), batch_size=2, shuffle=False, verbose=0)
    return seen, [weight.tolist() for weight in net.get_weights()]


def test_one_process_alone_may_watch_gradients():
    (seen, first), (_, second) = run(fit_watched_by_the_first, 2)
    assert seen == [True, True]
    assert first == second


def frozen():
    x = Input(shape=(4,))
    return Model(x, Dense(1, activation="sigmoid")(Dense(5, trainable=False)(x)))


def all_frozen():
    x = Input(shape=(4,))
    return Model(x, Dense(1, activation="sigmoid", trainable=False)(x))


def lazy():
    return Sequential([Dense(5, activation="relu"), Dense(1, activation="sigmoid")])


OPTIMIZERS = {
    "accumulating": lambda: Adam(0.01, gradient_accumulation_steps=2, clipnorm=0.5),
    "scaled": lambda: SGD(0.1, momentum=0.9, loss_scale_factor=8.0, global_clipnorm=0.3, weight_decay=0.01),
    "averaged": lambda: Adam(0.01, use_ema=True, ema_momentum=0.5),
    "torch": lambda: torch.optim.Adam,
}


def fit_with(model, optimizer, samples=13):
    net = compiled(model, OPTIMIZERS[optimizer]() if optimizer in OPTIMIZERS else optimizer)
    x, y = rows(samples)
    history = net.fit(x, y, batch_size=GLOBAL // dist.get_world_size(), epochs=4, verbose=0).history
    return history, weights_of(net)


@pytest.mark.parametrize("model", [frozen, all_frozen, lazy])
def test_models_that_are_frozen_or_built_by_the_data(model):
    alike(fit_with, model, "adam")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers(optimizer):
    alike(fit_with, drawn, optimizer)


def fit_copies():
    net = compiled(optimizer="adam")
    x, y = rows(13)
    options = {"batch_size": GLOBAL // dist.get_world_size(), "verbose": 0}
    net.fit(x, y, epochs=1, **options)
    found = []
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        set_random_seed(5)
        found.append([other.fit(x, y, epochs=2, **options).history, weights_of(other)])
    names = list(net.state_dict())
    set_random_seed(5)
    return *found, [net.fit(x, y, epochs=2, **options).history, weights_of(net)], len(names), len(list(net.modules()))


def test_copies_go_on_like_the_model():
    one, other, itself, names, _ = alike(fit_copies)
    same(one, itself, 1e-6)
    same(other, itself, 1e-6)
    assert names == 4


def begin_differently():
    set_random_seed(dist.get_rank())
    net = Sequential([Input(shape=(4,)), Dense(3), BatchNormalization(), Dense(1, activation="sigmoid")])
    net.compile("sgd", "binary_crossentropy")
    at_compile = weights_of(net)
    x, y = rows(20)
    net.fit(x, y, batch_size=4, verbose=0)
    return at_compile, weights_of(net), net.evaluate(x, y, verbose=0)


def test_all_begin_with_the_weights_of_the_first_and_end_alike():
    first, second = run(begin_differently, 2)
    same(first, second, 0)


def alone():
    net = compiled(distributed=False)
    x, y = share(*rows(20))
    history = net.fit(x, y, batch_size=4, verbose=0).history
    return history["loss"]


def test_without_the_others():
    first, second = run(alone, 2)
    assert first != second


# ---------------------------------------------------------------------- metrics


class Count(Metric):
    """Counts rows in an attribute, and knows how to merge."""

    def __init__(self, name="count"):
        super().__init__(name=name)
        self.seen = 0

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen += len(y_pred)

    def result(self):
        return torch.tensor(float(self.seen))

    def reset_state(self):
        self.seen = 0


class Merging(Count):
    def merge_state(self, metrics):
        self.seen += sum(metric.seen for metric in metrics)


class Largest(Metric):
    """Keeps variables that are not summed."""

    def __init__(self, name="largest"):
        super().__init__(name=name)
        self.largest = self.add_variable((), name="largest", aggregation="mean")
        self.first = self.add_variable((), name="first", aggregation="only_first_replica")
        self.count = self.add_variable((), name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.largest.assign(1.0)
        self.first.assign(2.0)
        self.count.assign_add(len(y_pred))

    def result(self):
        return {"largest": self.largest.value, "first": self.first.value, "count": self.count.value}


def fit_with_metrics(samples):
    collection = torchmetrics.MetricCollection([torchmetrics.Accuracy("binary"), torchmetrics.F1Score("binary")])
    metrics = [torchmetrics.AUROC("binary"), torchmetrics.MeanSquaredError(), collection, Merging(), Largest()]
    net = compiled(metrics=metrics)
    x, y = rows(samples)
    size = GLOBAL // dist.get_world_size()
    history = net.fit(x, y, batch_size=size, epochs=2, verbose=0, validation_data=(x[:5], y[:5])).history
    return history, net.evaluate(x, y, batch_size=size, verbose=0)


def test_metrics_of_others_and_of_ones_own():
    for samples in (7, 13):
        alike(fit_with_metrics, samples)
    history, _ = run(fit_with_metrics, 2, 1)[0]
    assert history["count"] == [1.0, 1.0]


def test_a_metric_that_nobody_can_merge_is_refused():
    with pytest.raises(Failed, match="(?s)ValueError.*'count'.*merge_state"):
        run(compiled_with_count, 2)


def compiled_with_count():
    compiled(metrics=[Count()])


class Watched(Model):
    """A training step of one's own, with a metric and an optimizer of one's own."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.tracker, self.other = Mean("tracked"), None

    def train_step(self, batch):
        x, y, _ = batch
        if self.other is None:
            self.other = torch.optim.SGD(self.layers[-1].parameters(), lr=0.2)
        loss = ((self(x).squeeze(-1) - y) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.other.step()
        self.tracker.add(loss.detach(), len(x), times=len(x))
        return {"tracked": self.tracker.result(), "constant": 3}


def watched():
    x = Input(shape=(4,))
    return Watched(x, Dense(1, activation="sigmoid")(Dense(5, activation="tanh")(x)))


def fit_own_step(samples):
    net = compiled(watched, OPTIMIZERS["scaled"]() if samples > 50 else "adam", None)
    net.fit(*rows(1), batch_size=2, verbose=0)  # makes the other optimizer
    net.tracker.reset_state()
    x, y = rows(samples)
    history = net.fit(x, y, batch_size=GLOBAL // dist.get_world_size(), epochs=3, verbose=0).history
    return history["constant"], history["tracked"], weights_of(net)


def test_a_training_step_of_ones_own():
    for samples in (7, 13):
        alike(fit_own_step, samples)


class Calling(Model):
    def train_step(self, batch):
        return {"twice": 2 * super().train_step(batch)["loss"]}


def calling():
    x = Input(shape=(4,))
    return Calling(x, Dense(1, activation="sigmoid")(x))


def test_a_training_step_that_calls_that_of_the_library():
    alike(fit_with, calling, "accumulating", 13)


class Tracking(Model):
    """A training step as Keras' guides write it, with metrics in attributes; figures of the last batch and others beside them."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.tracked = [Mean("loss"), Precision(name="precision"), AUC(name="auc")]
        self.squares = torchmetrics.MeanSquaredError(sync_on_compute=False)
        self.own = {"vector": F1Score(name="vector", threshold=0.5)}

    def step(self, x, y):
        predicted = self(x)
        loss = torch.nn.functional.binary_cross_entropy(predicted.squeeze(-1), y)
        tracker, *others = self.tracked
        tracker.update_state(loss)
        for metric in others:
            metric.update_state(y, predicted)
        self.own["vector"].update_state(y[:, None], predicted)
        self.squares.update(predicted.detach().squeeze(-1), y)
        return loss

    def train_step(self, batch):
        loss = self.step(*batch[:2])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {**{metric.name: metric.result() for metric in self.tracked}, "vector": self.own["vector"].result(), "text": "same"}

    def test_step(self, batch):
        self.step(*batch[:2])
        return {"renamed": self.tracked[1].result(), **{metric.name: metric.result() for metric in self.tracked}}


def tracking():
    x = Input(shape=(4,))
    return Tracking(x, Dense(1, activation="sigmoid")(x))


def fit_tracking(samples):
    net, size = compiled(tracking), GLOBAL // dist.get_world_size()
    x, y = rows(samples)
    history = net.fit(x, y, batch_size=size, epochs=2, verbose=0, validation_data=(x[:5], y[:5])).history
    assert history.pop("text") == ["same"] * 2
    evaluated = net.evaluate(x, y, batch_size=size, verbose=0)
    single = net.train_on_batch(*share(x, y), return_dict=True) if samples > 2 else {}
    return history, evaluated, {name: figure for name, figure in single.items() if name != "text"}, net.squares.total


def test_metrics_in_attributes_are_those_of_all_rows():
    for samples in (1, 7, 13):
        wanted = run(fit_tracking, 1, samples)[0]
        for count in (2, 3):
            found = run(fit_tracking, count, samples)
            for *figures, _ in found:
                same(list(wanted[:-1]), figures, 2e-5)
            assert sum(int(total) for *_, total in found) == wanted[-1]  # a row that counts nothing is in no metric of torchmetrics


class LastBatch(Model):
    """A training step that gathers nothing."""

    def train_step(self, batch):
        x, y, _ = batch
        loss = ((self(x).squeeze(-1) - y) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach()}


def last_batch():
    x = Input(shape=(4,))
    return LastBatch(x, Dense(1, activation="sigmoid")(x))


@pytest.mark.parametrize("samples", [7, 8, 13])
def test_figures_of_a_batch_are_those_of_the_last_step(samples):
    alike(fit_with, last_batch, "adam", samples)


# ---------------------------------------------------------------------- single batches


def on_batches():
    net = compiled(metrics=["accuracy", "AUC"])
    x, y = rows(13)
    mine = share(x, y)
    found = [net.train_on_batch(*mine) for _ in range(3)]
    return found, net.test_on_batch(*mine, return_dict=True), weights_of(net)


def test_single_batches_are_parts_of_one():
    alike(on_batches)


# ---------------------------------------------------------------------- predictions


def several_outputs():
    x = Input(shape=(4,))
    return Model(x, [Dense(2)(x), x * 2])


class Named(Model):
    def call(self, inputs):
        return {"double": inputs * 2, "sign": inputs > 0}


def predict(model, kind, samples, size):
    net = compiled(model, loss="mse") if model is not Named else model()
    if model is Named:
        net.compile("sgd", "mse")
    x, y = rows(samples)
    data = {"arrays": x, "sequence": Batches(x, y, size), "items": Items(x, y)}
    data |= {"loader": DataLoader(data["items"], batch_size=size), "distributed": loader_of(data["items"], size)}
    return net.predict(data[kind], batch_size=size)


def predict_each(model, kinds, sizes):
    return [predict(model, kind, *size) for kind in kinds for size in sizes]


def loader_of(items, size):
    return DataLoader(items, batch_size=size, sampler=DistributedSampler(items, shuffle=False))


@pytest.mark.parametrize("model", [several_outputs, Named])
def test_predictions_come_whole_and_in_order(model):
    sizes, kinds = [(1, 1), (2, 3), (7, 2), (20, 3)], ["arrays", "sequence", "items", "loader", "distributed"]
    wanted = run(predict_each, 1, model, ["arrays"], sizes)[0]
    for count in (2, 3):
        for found in run(predict_each, count, model, kinds, sizes):
            same(wanted * len(kinds), found, 0)


# ---------------------------------------------------------------------- data as it comes


def batches_of(count, size=3):
    x, y = rows(size * count)
    for index in range(count):
        yield x[index * size : (index + 1) * size], y[index * size : (index + 1) * size]


def fit_generators(own_count):
    rank = dist.get_rank()
    net = compiled(metrics=["accuracy"])
    history = net.fit(list_like(own_count[rank]), epochs=2, verbose=0).history
    evaluated = net.evaluate(list_like(own_count[rank]), verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ended = net.fit(batches_of(own_count[rank]), steps_per_epoch=2, epochs=9, verbose=0).history
    return history, evaluated, ended, weights_of(net), net.predict(list_like(own_count[rank])).shape


class list_like:  # noqa: N801
    def __init__(self, count):
        self.count = count

    def __iter__(self):
        return batches_of(self.count)


def test_data_that_ends_at_different_times():
    (*first, shape), (*second, other) = run(fit_generators, 2, [5, 2])
    same(first, second, 1e-6)
    assert (shape, other) == ((15, 1), (6, 1))
    assert len(first[2]["loss"]) == 3


def fit_where_some_have_nothing(own_count):
    net = compiled(normalized, metrics=["accuracy"], sync_batchnorm=True)
    count = own_count[dist.get_rank()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = net.fit(list_like(count), epochs=2, verbose=0, validation_data=list_like(count)).history
    return history, net.evaluate(list_like(count), verbose=0), weights_of(net)


def normalized():
    x = Input(shape=(4,))
    return Model(x, Dense(1, activation="sigmoid")(BatchNormalization(momentum=0.6)(Dense(3)(x))))


def test_some_processes_may_have_no_data():
    (wanted,) = run(fit_where_some_have_nothing, 1, [2])
    for own_count in ([2, 0], [0, 2], [0, 2, 0]):
        for found in run(fit_where_some_have_nothing, len(own_count), own_count):
            same(wanted, found, 2e-5)


def test_somebody_must_have_data():
    assert [str(error) for error in outcomes(fit_where_some_have_nothing, 2, [0, 0])] == [NOTHING] * 2


def fit_distributed_sampler(samples, size):
    x, y = rows(samples)
    seen = []
    items = Items(torch.from_numpy(x), torch.from_numpy(y))
    loader = DataLoader(items, batch_size=size, sampler=DistributedSampler(items, shuffle=True))
    set_epoch, loader.sampler.set_epoch = loader.sampler.set_epoch, lambda epoch: (seen.append(epoch), set_epoch(epoch))
    net = compiled(metrics=[Merging()])
    history = net.fit(loader, epochs=3, verbose=0).history
    return history["count"], seen, weights_of(net)


@pytest.mark.parametrize("samples", [1, 7, 12])
def test_a_loader_that_is_distributed_already_is_left_alone(samples):
    (counts, epochs, one), (_, _, other), *_ = run(fit_distributed_sampler, 2, samples, 2)
    assert counts == [samples] * 3 and epochs == [0, 1, 2]
    same(one, other, 0)


class Batch:
    """A batch sampler of one's own."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return -(-self.count // 2)

    def __iter__(self):
        for start in np.random.permutation(range(0, self.count, 2)):
            yield list(range(start, min(start + 2, self.count)))


def rows_read(kind, samples):
    """The rows that this process trains on, by number, in two epochs, and whether all of the batches were full."""
    x = torch.arange(samples).unsqueeze(1).float()
    items = Items(x, x)
    set_random_seed(dist.get_rank())
    seen = []

    class Watching(Model):
        def train_step(self, batch):
            seen.append((portion.current().rows, batch[0].flatten().tolist()))
            return super().train_step(batch)

    inputs = Input(shape=(1,))
    net = Watching(inputs, Dense(1)(inputs))
    net.compile("sgd", "mse")
    options = {"use_multiprocessing": True, "workers": 1} if kind == "sequence in processes" else {}
    data = {
        "items": lambda: items,
        "loader with a worker": lambda: DataLoader(items, batch_size=2, shuffle=True, num_workers=1),
        "batch sampler": lambda: DataLoader(items, batch_sampler=Batch(samples)),
        "no batches": lambda: DataLoader(Batches(x, x, 2), batch_size=None, shuffle=True),
        "sequence in processes": lambda: Batches(x.numpy(), x.numpy(), 2),
        "sequence": lambda: Batches(x.numpy(), x.numpy(), 2),
    }[kind]()
    gc.collect()  # process groups of earlier jobs, whose end in a forked process would be that of the process
    net.fit(data, batch_size=2, epochs=2, verbose=0, **options)
    half = len(seen) // 2
    return [[int(row) for rows, batch in part if rows for row in batch] for part in (seen[:half], seen[half:])]


@pytest.mark.parametrize(
    "kind", ["items", "loader with a worker", "batch sampler", "no batches", "sequence", "sequence in processes"]
)
def test_every_row_is_read_once_in_each_epoch(kind):
    for samples, count in [(9, 2)] if kind == "loader with a worker" else [(1, 2), (9, 2), (10, 3)]:
        found = run(rows_read, count, kind, samples)
        for epoch in (0, 1):
            assert sorted(row for own in found for row in own[epoch]) == list(range(samples))


# ---------------------------------------------------------------------- ends


class Stop(Callback):
    """Stops after a batch, in one process."""

    def __init__(self, rank, batch):
        super().__init__()
        self.rank, self.batch = rank, batch

    def on_train_batch_end(self, batch, logs=None):
        if dist.get_rank() == self.rank and batch == self.batch:
            self.model.stop_training = True


def fit_until(kind, rank):
    net = compiled()
    x, y = rows(30)
    seen = []
    data = (x, y) if kind == "arrays" else (Batches(x, y, 2),)

    class Watch(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    net.fit(*data, batch_size=2, epochs=3, verbose=0, callbacks=[Stop(rank, 3), Watch()])
    return seen


@pytest.mark.parametrize("kind", ["arrays", "sequence"])
def test_who_stops_stops_all_in_the_same_step(kind):
    assert run(fit_until, 2, kind, 1) == [[0, 1, 2, 3]] * 2


def fit_again():
    net = compiled()
    x, y = rows(20)
    failing = [True]

    class Fail(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1 and failing.pop():
                raise ArithmeticError

    before = net.get_weights()
    try:
        net.fit(x, y, batch_size=2, verbose=0, callbacks=[Fail()])
    except (ArithmeticError, RuntimeError):
        net.set_weights(before)
    net.fit(x, y, batch_size=6 // dist.get_world_size(), verbose=0, shuffle=False)
    net.compile("sgd", "mse", distributed=False)
    net.fit(x, y, batch_size=6, verbose=0, shuffle=False)
    return weights_of(net)


def test_after_a_failure_and_alone():
    alike(fit_again)


def fit_parts():
    compiled().fit(*share(*rows(21)), verbose=0)


def test_parts_of_arrays_are_refused():
    with pytest.raises(Failed, match="(?s)ValueError.*11 samples, 1 batches, 10 samples.*distributed=False"):
        run(fit_parts, 2)


def save_in_the_middle():
    net = compiled(optimizer="adam")
    x, y = rows(20)
    copies = []

    class Save(Callback):
        def on_train_batch_end(self, batch, logs=None):
            copies.append(pickle.loads(pickle.dumps(self.model)))

    options = {"batch_size": 6 // dist.get_world_size(), "verbose": 0, "shuffle": False}
    net.fit(x, y, callbacks=[Save()], **options)
    copies[-1].fit(x, y, **options)
    return weights_of(net), weights_of(copies[-1])


def test_a_copy_that_was_made_in_the_middle_goes_on():
    alike(save_in_the_middle)


class Broken(Batches):
    def __getitem__(self, index):
        if dist.get_rank() == 1 and index > 3:
            raise OSError("the disk is gone")
        return super().__getitem__(index)


def fit_broken(during):
    net = compiled()
    x, y = rows(30)
    if during == "opening":
        net.fit(x, y[: -dist.get_rank() or None], batch_size=2, verbose=0)
    elif during == "fit":
        net.fit(Broken(x, y, 2), shuffle=False, verbose=0)
    elif during == "evaluate":
        net.evaluate(Broken(x, y, 2), verbose=0)
    else:
        net.predict(Broken(x, y, 2))


@pytest.mark.parametrize(("during", "kind"), [("opening", ValueError), ("fit", OSError), ("evaluate", OSError), ("predict", OSError)])
def test_an_exception_in_one_reaches_all(during, kind):
    first, second = outcomes(fit_broken, 2, during, timeout=20)
    assert type(second) is kind
    assert isinstance(first, RuntimeError) and "Process 1 of 2 failed" in str(first) and str(second)[:20] in str(first)
