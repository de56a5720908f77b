"""The public methods over every kind of data: the same figures whatever holds the samples, and clean ends whatever fails."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchkeras_fn import Model, Sequential, Trainer
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import Concatenate, Dense, Embedding, Flatten, Input, TorchModuleWrapper
from torchkeras_fn.utils import Sequence, to_categorical

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
ROWS, SIZE = 20, 8
X = np.random.RandomState(1).normal(size=(ROWS, 3)).astype("float32")
X[X < -0.5] = 0
Y = X.sum(1) + 0.5
LABELS = np.arange(ROWS) % 3
QUIET = {"verbose": 0}


@pytest.fixture(autouse=True)
def no_hang():
    """Turn a hang into a failure."""

    def give_up(*_):
        raise TimeoutError("this test hangs")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(90)
    yield
    signal.alarm(0)


@pytest.fixture(autouse=True)
def nothing_runs(no_hang):
    """Return a function that fails where a thread or process runs that did not run before; it is called after the test, too."""
    threads, processes = set(threading.enumerate()), set(multiprocessing.active_children())

    def check():
        for thread in set(threading.enumerate()) - threads:
            thread.join(5)
            assert not thread.is_alive(), thread
        assert set(multiprocessing.active_children()) <= processes

    yield check
    check()


def regression():
    """A small model with the same weights each time."""
    model = Sequential([Dense(1, kernel_initializer="ones", input_shape=(3,))])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def classifier(loss="sparse_categorical_crossentropy", units=3, activation="softmax", **options):
    set_random_seed(0)
    model = Sequential([Dense(units, activation=activation, input_shape=(3,))])
    model.compile("sgd", loss, **options)
    return model


def two_by_two(**options):
    """Two inputs `a` (3) and `b` (1), two outputs `p` and `q` of one unit."""
    set_random_seed(0)
    a, b = Input(shape=(3,), name="a"), Input(shape=(1,), name="b")
    hidden = Concatenate()([a, b])
    model = Model([a, b], [Dense(1, name="p")(hidden), Dense(1, name="q")(hidden)])
    model.compile("sgd", **{"loss": "mse", **options})
    return model


def close(found, expected):
    assert found.keys() == expected.keys()
    for name, figures in expected.items():
        assert found[name] == pytest.approx(figures, rel=1e-5), name


# ------------------------------------------------------------------ arrays of every kind


class Recorded:
    """An array-like that notes how many rows each read took."""

    def __init__(self, values):
        self.values, self.shape, self.reads = values, values.shape, []

    def __getitem__(self, rows):
        found = self.values[rows]
        self.reads.append(len(found))
        return found


def hdf5(values, folder, name):
    h5py.File(folder / f"{name}.h5", "w").create_dataset("data", data=values)
    return h5py.File(folder / f"{name}.h5", "r")["data"]


def memory_map(values, folder, name):
    values.tofile(folder / f"{name}.bin")
    return np.memmap(folder / f"{name}.bin", dtype=values.dtype, mode="r", shape=values.shape)


ARRAYS = {
    "float64": lambda values, folder, name: values.astype("float64"),
    "big endian": lambda values, folder, name: values.astype(">f4"),
    "tensor": lambda values, folder, name: torch.tensor(values),
    "nested lists": lambda values, folder, name: values.tolist(),
    "in a list": lambda values, folder, name: [values],
    "pandas": lambda values, folder, name: pd.DataFrame(values) if values.ndim > 1 else pd.Series(values),
    "sparse": lambda values, folder, name: scipy.sparse.csr_matrix(values if values.ndim > 1 else values[:, None]),
    "hdf5": hdf5,
    "memory map": memory_map,
    "slicing": lambda values, folder, name: Recorded(values),
}


@pytest.fixture(params=ARRAYS)
def arrays(request, tmp_path):
    """x and y in one kind of container."""
    return ARRAYS[request.param](X, tmp_path, "x"), ARRAYS[request.param](Y, tmp_path, "y")


def fitted(x, y=None, shuffle=False, epochs=2, **options):
    set_random_seed(0)
    return regression().fit(x, y, epochs=epochs, shuffle=shuffle, verbose=0, **options).history


@pytest.mark.parametrize("shuffle", [False, True, "batch"])
def test_fit_takes_arrays_of_every_kind(arrays, shuffle):
    close(fitted(*arrays, shuffle, batch_size=SIZE), fitted(X, Y, shuffle, batch_size=SIZE))


def test_fit_validates_on_arrays_of_every_kind(arrays):
    close(fitted(X, Y, validation_data=arrays), fitted(X, Y, validation_data=(X, Y)))


def test_fit_splits_arrays_of_every_kind(arrays):
    expected = fitted(X[:15], Y[:15], batch_size=SIZE, validation_data=(X[15:], Y[15:]))
    close(fitted(*arrays, batch_size=SIZE, validation_split=0.25), expected)


def test_evaluate_takes_arrays_of_every_kind(arrays):
    assert regression().evaluate(*arrays, batch_size=SIZE, **QUIET) == pytest.approx(regression().evaluate(X, Y, **QUIET), rel=1e-5)


def test_predict_takes_arrays_of_every_kind_and_keeps_their_order(arrays):
    np.testing.assert_allclose(regression().predict(arrays[0], batch_size=SIZE), X.sum(1, keepdims=True), rtol=1e-5)


def test_single_batches_take_arrays_of_every_kind(arrays):
    x, y = arrays
    assert regression().train_on_batch(x, y) == pytest.approx(regression().train_on_batch(X, Y))
    assert regression().test_on_batch(x, y) == pytest.approx(regression().test_on_batch(X, Y))
    np.testing.assert_allclose(regression().predict_on_batch(x), X.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("kind", [list, tuple, lambda parts: dict(zip("ab", parts, strict=True))])
def test_several_inputs_come_in_lists_tuples_and_dicts(kind):
    b, targets = Y[:, None], [Y, -Y]
    model = two_by_two()
    expected = two_by_two().fit([X, b], targets, shuffle=False, **QUIET).history
    close(model.fit(kind([X, b]), {"p": Y, "q": -Y}, shuffle=False, **QUIET).history, expected)
    assert [part.shape for part in model.predict(kind([X, b]))] == [(ROWS, 1)] * 2
    assert len(model.evaluate(kind([X, b]), targets, **QUIET)) == 3


def test_nested_lists_of_numbers_serve_several_inputs_and_outputs():
    expected = two_by_two().fit([X, Y], [Y, -Y], shuffle=False, **QUIET).history
    found = two_by_two().fit([X.tolist(), Y.tolist()], [Y.tolist(), (-Y).tolist()], shuffle=False, **QUIET).history
    close(found, expected)


def test_a_plain_module_takes_lists_dicts_and_single_arrays():
    class Net(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 1)

        def forward(self, a, b=None):
            return self.linear(a if b is None else a + b)

    net = Net()
    net.compile("sgd", "mse")
    for x in (X, [X, X], {"a": X, "b": X}):
        assert np.isfinite(net.fit(x, Y, **QUIET).history["loss"]).all()
        assert net.predict(x).shape == (ROWS, 1)


def test_integers_stay_integers_for_an_embedding_and_become_floats_for_dense():
    embedded = Sequential([Embedding(5, 2, input_length=4), Flatten(), Dense(1)])
    embedded.compile("sgd", "mse")
    numbers = np.random.RandomState(0).randint(0, 5, (ROWS, 4))
    dense = Sequential([Dense(1, input_shape=(4,))])
    dense.compile("sgd", "mse")
    for model in (embedded, dense):
        for kind in ("int64", "int32", "uint8"):
            assert np.isfinite(model.fit(numbers.astype(kind), Y, **QUIET).history["loss"]).all()


@pytest.mark.parametrize("kind", ["uint8", "int64", "bool", "float16", "float64"])
def test_predictions_are_float32_whatever_came_in(kind):
    assert regression().predict(X.astype(kind)).dtype == np.float32


# ------------------------------------------------------------------ never read whole


def test_every_row_is_read_once_an_epoch_a_batch_at_a_time():
    x, y = Recorded(X), Recorded(Y)
    fitted(x, y, shuffle=True, epochs=3, batch_size=SIZE)
    for data in (x, y):
        assert max(data.reads) <= SIZE and data.reads[1:] == [8, 8, 4] * 3


def test_predict_and_evaluate_read_every_row_once():
    x = Recorded(X)
    model = regression()
    model.predict(x, batch_size=SIZE)
    assert x.reads[1:] == [8, 8, 4]
    model.evaluate(x, Y, batch_size=SIZE, **QUIET)
    assert x.reads[4:] == [1, 8, 8, 4]


def test_steps_bound_what_is_read():
    x = Recorded(X)
    regression().evaluate(x, Y, batch_size=4, steps=2, **QUIET)
    assert sum(x.reads[1:]) == 8


def test_batch_shuffle_reads_contiguous_slices():
    starts = []

    class Sliced(Recorded):
        def __getitem__(self, rows):
            starts.append((rows.start, rows.stop))
            return super().__getitem__(rows)

    fitted(Sliced(X), Y, shuffle="batch", epochs=6, batch_size=6)
    epochs = [starts[1:][index : index + 4] for index in range(0, 24, 4)]
    assert all(sorted(epoch) == [(0, 6), (6, 12), (12, 18), (18, 20)] and epoch[-1] == (18, 20) for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) > 1


MEMORY = r"""
import gc, json, sys
import torch
import numpy as np
from torchkeras_fn import Sequential
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.layers import Dense

def anonymous():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) * 1024

class Peak(Callback):
    bytes = 0
    def on_train_batch_end(self, batch, logs=None):
        if batch % 20 == 0:
            self.bytes = max(self.bytes, anonymous())

torch.set_num_threads(1)
rows, width = 400_000, 128  # 205 MB
model = Sequential([Dense(1, input_shape=(width,))])
model.compile("sgd", "mse")
warm = np.zeros((9000, width), "float32")
model.fit(warm, warm[:, 0], batch_size=1024, verbose=0)
found = {}

def grown(x, y):
    gc.collect()
    before, peak = anonymous(), Peak()
    model.fit(x, y, batch_size=1024, verbose=0, callbacks=[peak])
    return max(peak.bytes, anonymous()) - before

np.memmap(sys.argv[1], "uint8", "w+", shape=(rows, width * 4)).flush()
mapped = np.memmap(sys.argv[1], "float32", "r", shape=(rows, width))
found["map"] = grown(mapped, np.zeros(rows, "float32"))
for name, rows in ("float32", 200_000), ("float64", 100_000):
    array, targets = np.ones((rows, width), name), np.zeros(rows, name)
    found[name] = grown(array, targets) / array.nbytes
small = np.ones((8, width), "float32")
for _ in range(300):
    model.predict(small)
gc.collect()
before = anonymous()
for _ in range(2000):
    model.predict(small)
gc.collect()
found["predict"] = anonymous() - before
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """By how much memory grew in a process that fits on large arrays, and predicts in a loop."""
    path = str(tmp_path_factory.mktemp("memory") / "rows.bin")
    done = subprocess.run([sys.executable, "-c", MEMORY, path], capture_output=True, text=True, timeout=80)
    os.path.exists(path) and os.remove(path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


LINUX = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc, which Linux has")


@LINUX
def test_fitting_a_memory_map_of_200_mb_takes_less_than_100_mb(grown):
    assert grown["map"] < 100e6


@LINUX
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_an_array_in_memory_is_never_duplicated(grown, kind):
    assert grown[kind] < 0.1


@LINUX
def test_predicting_in_a_loop_leaks_nothing(grown):
    assert grown["predict"] < 3e6


# ------------------------------------------------------------------ batches of every kind


class Batches(Sequence):
    """Neighbouring rows of some arrays; remembers where and when it was read."""

    def __init__(self, *arrays, size=SIZE, **options):
        super().__init__(**options)
        self.arrays, self.size, self.read, self.threads, self.ends = arrays, size, [], set(), 0

    def __len__(self):
        return -(-len(self.arrays[0]) // self.size)

    def __getitem__(self, index):
        self.read.append(index)
        self.threads.add(threading.current_thread())
        parts = tuple(array[index * self.size : (index + 1) * self.size] for array in self.arrays)
        return parts if len(parts) > 1 else parts[0]

    def on_epoch_end(self):
        self.ends += 1


def endless(*arrays, seen=None):
    """A generator of the same batches, over and over."""
    batches = Batches(*arrays)
    while True:
        for index in range(len(batches)):
            if seen is not None:
                seen.append(index)
            yield batches[index]


class Samples(Dataset):
    def __init__(self, *arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, index):
        parts = tuple(array[index] for array in self.arrays)
        return parts if len(parts) > 1 else parts[0]


class Stream(IterableDataset):
    def __init__(self, *arrays):
        self.samples = Samples(*arrays)

    def __iter__(self):
        return (self.samples[index] for index in range(len(self.samples)))


class Again:
    def __init__(self, *arrays):
        self.batches = Batches(*arrays)

    def __iter__(self):
        return iter(self.batches)


THREADS, PROCESSES = {"workers": 3}, {"workers": 2, "use_multiprocessing": True}
SOURCES = {
    "sequence": (Batches, {"workers": 0}),
    "sequence, thread": (Batches, {}),
    "sequence, threads": (Batches, THREADS),
    "sequence, processes": (Batches, PROCESSES),
    "generator": (endless, {"workers": 0}),
    "generator, thread": (endless, {}),
    "generator, process": (endless, {"workers": 1, "use_multiprocessing": True}),
    "iterator": (lambda *arrays: iter(list(Batches(*arrays)) * 3), {}),
    "data set": (Samples, {}),
    "data set, processes": (Samples, PROCESSES),
    "iterable data set": (Stream, {}),
    "tensor data set": (lambda *arrays: TensorDataset(*map(torch.tensor, arrays)), {}),
    "loader": (lambda *arrays: DataLoader(Samples(*arrays), batch_size=SIZE), {}),
    "loader, processes": (lambda *arrays: DataLoader(Samples(*arrays), batch_size=SIZE, num_workers=2), {}),
    "iterable object": (Again, {}),
}


@pytest.fixture(params=SOURCES)
def source(request):
    """A function from arrays to one kind of batches, and the options of loading them."""
    return SOURCES[request.param]


def steps_of(data, name):
    """Only generators and iterators are asked for a number of steps."""
    return {name: 3} if hasattr(data, "__next__") else {}


def batched(data):
    """Only data sets of samples are batched here."""
    return {"batch_size": SIZE} if isinstance(data, Dataset) else {}


def test_fit_takes_batches_of_every_kind(source):
    make, loading = source
    data = make(X, Y)
    found = fitted(data, **loading, **steps_of(data, "steps_per_epoch"), **batched(data))
    close(found, fitted(X, Y, batch_size=SIZE))


def test_fit_generator_is_fit(source):
    make, loading = source
    if make is Samples or make is Stream or "tensor" in repr(make(X, Y)).lower():
        pytest.skip("fit_generator has no batch_size")
    data = make(X, Y)
    model = regression()
    found = model.fit_generator(data, epochs=2, shuffle=False, verbose=0, **loading, **steps_of(data, "steps_per_epoch")).history
    close(found, fitted(X, Y, batch_size=SIZE))


def test_fit_validates_on_batches_of_every_kind(source):
    make, loading = source
    data = make(X, Y)
    found = fitted(X, Y, batch_size=SIZE, validation_data=data, **loading, **steps_of(data, "validation_steps"))
    close(found, fitted(X, Y, batch_size=SIZE, validation_data=(X, Y)))


def test_evaluate_takes_batches_of_every_kind(source):
    make, loading = source
    data = make(X, Y)
    found = regression().evaluate(data, verbose=0, **loading, **steps_of(data, "steps"), **batched(data))
    assert found == pytest.approx(regression().evaluate(X, Y, **QUIET), rel=1e-5)


@pytest.mark.parametrize("with_targets", [True, False])
def test_predict_takes_batches_of_every_kind_in_order(source, with_targets):
    make, loading = source
    data = make(*((X, Y) if with_targets else (X,)))
    found = regression().predict(data, **loading, **steps_of(data, "steps"), **batched(data))
    np.testing.assert_allclose(found, X.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("loading", [{"workers": 0}, {}, THREADS, PROCESSES])
def test_the_generator_methods_evaluate_and_predict(loading):
    model = regression()
    assert model.evaluate_generator(Batches(X, Y), **loading) == pytest.approx(model.evaluate(X, Y, **QUIET), rel=1e-5)
    np.testing.assert_allclose(model.predict_generator(Batches(X, Y), **loading), X.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(model.predict_generator(endless(X), steps=3, workers=0), X.sum(1, keepdims=True), rtol=1e-5)


class Refilled(Sequence):
    """Batches that all come in the same arrays."""

    def __init__(self):
        super().__init__()
        self.x, self.y = np.zeros((2, 3), "float32"), np.zeros(2, "float32")

    def __len__(self):
        return ROWS // 2

    def __getitem__(self, index):
        self.x[:], self.y[:] = X[2 * index : 2 * index + 2], Y[2 * index : 2 * index + 2]
        return self.x, self.y


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [lambda: Refilled(), lambda: (batch for _ in range(2) for batch in Refilled())])
def test_arrays_that_are_refilled_for_each_batch_hold_what_they_held(kind, workers):
    found = fitted(kind(), steps_per_epoch=ROWS // 2, workers=workers)
    close(found, fitted(X, Y, batch_size=2))
    inputs = regression().predict(kind(), steps=ROWS // 2, workers=workers)
    np.testing.assert_allclose(inputs, X.sum(1, keepdims=True), rtol=1e-5)


def test_sizes_of_batches_may_vary():
    parts = [(X[:1], Y[:1]), (X[1:12], Y[1:12]), (X[12:], Y[12:])]
    assert regression().evaluate(iter(parts), steps=3, **QUIET) == pytest.approx(regression().evaluate(X, Y, **QUIET), rel=1e-5)
    assert regression().predict(iter(parts), steps=3).shape == (ROWS, 1)


def test_batches_hold_several_inputs_and_outputs_in_lists_or_dicts():
    expected = two_by_two().fit([X, Y], [Y, -Y], shuffle=False, **QUIET).history
    close(two_by_two().fit(iter([([X, Y], [Y, -Y])]), steps_per_epoch=1, **QUIET).history, expected)
    close(two_by_two().fit(iter([({"a": X, "b": Y}, {"p": Y, "q": -Y})]), steps_per_epoch=1, **QUIET).history, expected)


def test_data_sets_hold_several_inputs_and_outputs():
    class Items(Dataset):
        def __len__(self):
            return ROWS

        def __getitem__(self, index):
            return (X[index], Y[index : index + 1]), (Y[index], -Y[index])

    expected = two_by_two().fit([X, Y], [Y, -Y], shuffle=False, **QUIET).history
    close(two_by_two().fit(Items(), shuffle=False, **QUIET).history, expected)
    assert [part.shape for part in two_by_two().predict(Items())] == [(ROWS, 1)] * 2


def test_a_model_without_shapes_is_built_for_the_first_batch_of_every_kind(source):
    make, loading = source
    model = Sequential([Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse", metrics=["mae"])
    data = make(X, Y)
    options = {**loading, **steps_of(data, "steps_per_epoch"), **batched(data)}
    close(model.fit(data, epochs=2, shuffle=False, verbose=0, **options).history, fitted(X, Y, batch_size=SIZE))


# ------------------------------------------------------------------ sequences and generators


@pytest.mark.parametrize("loading", [{"workers": 0}, {}, THREADS])
def test_a_sequence_is_read_once_an_epoch_in_a_new_order(loading):
    data = Batches(X, Y, size=2)
    regression().fit(data, epochs=2, verbose=0, **loading)
    first, second = data.read[:10], data.read[10:]
    assert sorted(first) == sorted(second) == list(range(10)) and len({str(first), str(second), str(sorted(first))}) == 3


@pytest.mark.parametrize("loading", [{"workers": 0}, {}, THREADS, PROCESSES])
def test_a_sequence_is_told_of_the_end_of_each_epoch(loading):
    data = Batches(X, Y)
    regression().fit(data, epochs=3, verbose=0, **loading)
    assert data.ends == 3


@pytest.mark.parametrize("loading", [{"workers": 0}, {}, THREADS, PROCESSES])
def test_a_sequence_that_reshuffles_itself_is_followed(loading):
    class Growing(Sequence):
        scale = 1.0

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return np.full((1, 3), self.scale + index, "float32"), [0.0]

        def on_epoch_end(self):
            self.scale *= 10

    model = regression()
    model.compile(torch.optim.SGD(model.parameters(), lr=0.0), "mae")
    history = model.fit(Growing(), epochs=3, verbose=0, **loading).history
    assert history["loss"] == pytest.approx([4.5, 31.5, 301.5])


@pytest.mark.parametrize("loading", [{"workers": 0}, {}, PROCESSES])
def test_a_sequence_may_be_asked_for_more_steps_than_its_length(loading):
    close(fitted(Batches(X, Y), steps_per_epoch=7, **loading), fitted(endless(X, Y), steps_per_epoch=7))


def test_a_sequence_may_be_predicted_on_for_more_steps_than_its_length():
    assert regression().predict(Batches(X), steps=4).shape == (ROWS + SIZE, 1)


def test_without_workers_data_is_read_in_the_main_thread_even_with_multiprocessing():
    data = Batches(X, Y)
    regression().fit(data, workers=0, use_multiprocessing=True, validation_data=data, **QUIET)
    assert data.threads == {threading.main_thread()}


def test_a_sequence_brings_its_own_options_of_loading():
    data = Batches(X, Y, workers=0)
    regression().fit(data, **QUIET)
    assert data.threads == {threading.main_thread()}


def test_validation_reads_no_more_than_its_steps_plus_the_queue():
    seen = []
    regression().fit(X, Y, validation_data=endless(X, Y, seen=seen), validation_steps=2, max_queue_size=3, **QUIET)
    assert len(seen) <= 2 + 3


def test_training_reads_no_more_than_its_steps_plus_the_queue():
    seen = []
    regression().fit(endless(X, Y, seen=seen), steps_per_epoch=2, epochs=2, max_queue_size=3, **QUIET)
    assert len(seen) <= 4 + 3


def test_a_validation_sequence_begins_anew_each_epoch():
    whole = fitted(X, Y, validation_data=Batches(X, Y), validation_steps=2)
    close(whole, fitted(X, Y, validation_data=(X[:16], Y[:16])))


def test_a_generator_in_several_processes_warns_and_names_sequence():
    with pytest.warns(UserWarning, match="Sequence"):
        regression().fit(endless(X, Y), steps_per_epoch=2, **PROCESSES, **QUIET)


def test_generators_that_cannot_be_pickled_run_in_processes():
    lock = threading.Lock()
    data = ((X, Y) for _ in range(3) if not lock.locked())
    assert len(regression().fit(data, steps_per_epoch=3, workers=1, use_multiprocessing=True, **QUIET).history["loss"]) == 1


@pytest.mark.parametrize("loading", [{"workers": 0}, {}, {"workers": 1, "use_multiprocessing": True}])
def test_data_that_ends_early_warns_of_the_steps_wanted_and_ends_the_training(loading):
    data = iter(list(Batches(X, Y)))
    with pytest.warns(UserWarning, match="after 1 of the 2 steps"):
        history = regression().fit(data, steps_per_epoch=2, epochs=5, **loading, **QUIET)
    assert history.epoch == [0, 1] and len(history.history["loss"]) == 2


def test_data_that_ends_with_an_epoch_adds_no_empty_epoch():
    data = iter(list(Batches(X, Y))[:2])
    with pytest.warns(UserWarning, match="after 0 of the 1 steps"):
        history = regression().fit(data, steps_per_epoch=1, epochs=5, **QUIET)
    assert history.epoch == [0, 1] and len(history.history["loss"]) == 2


def test_evaluation_and_prediction_that_end_early_warn_and_return_what_there_was():
    with pytest.warns(UserWarning, match="after 3 of the 5 steps"):
        found = regression().evaluate(iter(list(Batches(X, Y))), steps=5, **QUIET)
    with pytest.warns(UserWarning, match="after 3 of the 5 steps"):
        rows = regression().predict(iter(list(Batches(X))), steps=5)
    assert found == pytest.approx(regression().evaluate(X, Y, **QUIET), rel=1e-5) and len(rows) == ROWS


def test_initial_epoch_counts_from_where_training_was():
    assert regression().fit(Batches(X, Y), initial_epoch=2, epochs=5, **QUIET).epoch == [2, 3, 4]


def test_steps_per_epoch_goes_on_in_arrays_over_the_epochs():
    close(fitted(X[:16], Y[:16], batch_size=4, steps_per_epoch=2, epochs=4), fitted(endless4(), steps_per_epoch=2, epochs=4))


def endless4():
    while True:
        for start in range(0, 16, 4):
            yield X[start : start + 4], Y[start : start + 4]


# ------------------------------------------------------------------ weights


WEIGHTS = (np.arange(ROWS) % 4).astype("float32")


def weighted_loss(values, weights):
    """The sum of weight times loss, over the number of samples."""
    return float((values * weights).sum() / len(weights))


def test_sample_weights_count_in_batches_of_every_kind(source):
    make, loading = source
    data = make(X, Y, WEIGHTS)
    found = fitted(data, **loading, **steps_of(data, "steps_per_epoch"), **batched(data))
    close(found, fitted(X, Y, sample_weight=WEIGHTS, batch_size=SIZE))


def test_class_weights_count_in_batches_of_every_kind(source):
    make, loading = source
    data = make(X, LABELS)
    options = {**loading, **steps_of(data, "steps_per_epoch"), **batched(data)}
    found = classifier().fit(data, shuffle=False, class_weight={0: 5.0, 2: 0.5}, epochs=2, verbose=0, **options).history
    by_hand = np.array([5.0, 1.0, 0.5])[LABELS]
    close(found, classifier().fit(X, LABELS, sample_weight=by_hand, shuffle=False, epochs=2, batch_size=SIZE, **QUIET).history)


def test_class_and_sample_weights_multiply_in_batches_of_every_kind(source):
    make, loading = source
    data = make(X, LABELS, WEIGHTS)
    options = {**loading, **steps_of(data, "steps_per_epoch"), **batched(data)}
    found = classifier().fit(data, shuffle=False, class_weight={0: 5.0}, verbose=0, **options).history
    by_hand = np.array([5.0, 1.0, 1.0])[LABELS] * WEIGHTS
    close(found, classifier().fit(X, LABELS, sample_weight=by_hand, shuffle=False, batch_size=SIZE, **QUIET).history)


def test_validation_weights_count_in_batches_of_every_kind(source):
    make, loading = source
    data = make(X, Y, WEIGHTS)
    found = fitted(X, Y, validation_data=data, **loading, **steps_of(data, "validation_steps"))
    close(found, fitted(X, Y, validation_data=(X, Y, WEIGHTS)))


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, pd.DataFrame, scipy.sparse.csr_matrix, np.ndarray.tolist])
def test_sample_weights_may_come_as_a_column(kind):
    column = kind(WEIGHTS[:, None])
    expected = fitted(X, Y, sample_weight=WEIGHTS, validation_data=(X, Y, WEIGHTS))
    close(fitted(X, Y, sample_weight=column, validation_data=(X, Y, column)), expected)
    assert regression().train_on_batch(X, Y, sample_weight=column) == pytest.approx(
        regression().train_on_batch(X, Y, sample_weight=WEIGHTS)
    )
    batches = iter([(X, Y, column), (X, Y, column)])
    close(fitted(batches, steps_per_epoch=1), fitted(iter([(X, Y, WEIGHTS)] * 2), steps_per_epoch=1))


def test_class_weights_do_not_count_in_the_validation():
    found = classifier().fit(X, LABELS, class_weight={0: 9.0}, validation_data=(X, LABELS), **QUIET)
    assert found.history["val_loss"] == [pytest.approx(found.model.evaluate(X, LABELS, **QUIET), rel=1e-5)]


def test_sample_weights_are_a_sum_over_the_number_of_samples():
    model = regression()
    values = (model.predict(X)[:, 0] - Y) ** 2
    assert model.evaluate(X, Y, sample_weight=WEIGHTS, **QUIET)[0] == pytest.approx(weighted_loss(values, WEIGHTS), rel=1e-5)
    assert model.test_on_batch(X, Y, sample_weight=WEIGHTS)[0] == pytest.approx(weighted_loss(values, WEIGHTS), rel=1e-5)
    assert model.train_on_batch(X, Y, sample_weight=WEIGHTS)[0] == pytest.approx(weighted_loss(values, WEIGHTS), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "units", "activation", "targets", "classes"),
    [
        ("sparse_categorical_crossentropy", 3, "softmax", LABELS, LABELS),
        ("sparse_categorical_crossentropy", 3, "softmax", LABELS[:, None], LABELS),
        ("categorical_crossentropy", 3, "softmax", to_categorical(LABELS, 3), LABELS),
        ("binary_crossentropy", 1, "sigmoid", LABELS % 2, LABELS % 2),
        ("binary_crossentropy", 1, "sigmoid", (LABELS % 2).astype("float64")[:, None], LABELS % 2),
    ],
)
def test_class_weights_are_weights_of_samples_by_hand(loss, units, activation, targets, classes):
    by_hand = np.array([2.0, 3.0, 1.0])[classes]
    found = classifier(loss, units, activation).fit(X, targets, class_weight={0: 2.0, 1: 3.0}, shuffle=False, **QUIET).history
    close(found, classifier(loss, units, activation).fit(X, targets, sample_weight=by_hand, shuffle=False, **QUIET).history)
    one = classifier(loss, units, activation).train_on_batch(X, targets, class_weight={0: 2.0, 1: 3.0})
    assert one == pytest.approx(classifier(loss, units, activation).train_on_batch(X, targets, sample_weight=by_hand))


@pytest.mark.parametrize(("loss", "targets"), [("hinge", LABELS - 1.0), ("mse", LABELS.astype("float32"))])
def test_class_weights_of_one_unit_count_for_any_whole_number(loss, targets):
    class_weight = dict(zip(np.unique(targets), [2.0, 3.0, 0.5], strict=True))
    found = classifier(loss, 1, None).fit(X, targets, class_weight=class_weight, shuffle=False, **QUIET).history
    by_hand = np.array([2.0, 3.0, 0.5])[LABELS]
    close(found, classifier(loss, 1, None).fit(X, targets, sample_weight=by_hand, shuffle=False, **QUIET).history)


@pytest.mark.parametrize("class_weight", [{"p": {1: 4.0}}, [{1: 4.0}, None]])
def test_class_weights_go_to_outputs_by_name_or_order(class_weight):
    targets = [LABELS % 2, Y]
    found = two_by_two().fit([X, Y], targets, class_weight=class_weight, shuffle=False, **QUIET).history
    by_hand = [np.where(LABELS % 2 == 1, 4.0, 1.0), None]
    close(found, two_by_two().fit([X, Y], targets, sample_weight=by_hand, shuffle=False, **QUIET).history)


def temporal():
    set_random_seed(0)
    model = Sequential([Dense(1, input_shape=(4, 3))])
    model.compile("sgd", "mse", sample_weight_mode="temporal")
    return model


STEPS_X, STEPS_Y = np.repeat(X[:, None], 4, axis=1), np.repeat(Y[:, None, None], 4, axis=1)
STEP_WEIGHTS = (np.arange(ROWS * 4) % 3).reshape(ROWS, 4).astype("float32")


def test_temporal_weights_count_in_batches_of_every_kind(source):
    make, loading = source
    data = make(STEPS_X, STEPS_Y, STEP_WEIGHTS)
    found = temporal().fit(data, shuffle=False, verbose=0, **loading, **steps_of(data, "steps_per_epoch"), **batched(data)).history
    close(found, temporal().fit(STEPS_X, STEPS_Y, sample_weight=STEP_WEIGHTS, shuffle=False, batch_size=SIZE, **QUIET).history)


def test_temporal_weights_weigh_each_step():
    model = temporal()
    values = (model.predict(STEPS_X) - STEPS_Y)[..., 0] ** 2
    found = model.evaluate(STEPS_X, STEPS_Y, sample_weight=STEP_WEIGHTS, **QUIET)
    assert found == pytest.approx(float((values * STEP_WEIGHTS).mean()), rel=1e-5)


# ------------------------------------------------------------------ what is refused, before anything changed


def refused(model, call, error, message):
    before = [weight.copy() for weight in model.get_weights()]
    with pytest.raises(error, match=message):
        call(model)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, Y[:5]), {}, ValueError, "same number of samples"),
        ((X, Y), {"sample_weight": WEIGHTS[:5]}, ValueError, "same number of samples"),
        ((X, Y), {"sample_weight": np.ones((ROWS, 2))}, ValueError, "temporal"),
        ((X, Y), {"sample_weight": np.ones((ROWS, 1, 1))}, ValueError, r"\(20, 1, 1\)"),
        ((X, Y), {"sample_weight": (1.0,) * ROWS}, TypeError, "tuple"),
        ((None, Y), {}, ValueError, "x is None"),
        ((X, None), {}, ValueError, "y is None"),
        ((X[:, :2], Y), {}, ValueError, r"\(None, 3\), got \(20, 2\)"),
        ((X[:0], Y[:0]), {}, ValueError, "no samples"),
        (([X, X], Y), {}, ValueError, "x holds 2 arrays"),
        ((X, [Y, Y]), {}, ValueError, "y holds 2 arrays"),
        ((X, np.ones((ROWS, 4))), {}, ValueError, r"\((20|None), 4\)"),
        (("words", Y), {}, TypeError, "x is an array"),
        ((X, Y), {"validation_data": (X,)}, ValueError, "1 parts"),
        ((X, Y), {"validation_data": (X, Y, WEIGHTS, Y)}, ValueError, "4 parts"),
        ((X, Y), {"validation_data": X}, ValueError, "validation_data is"),
        ((X, Y), {"validation_data": iter([])}, ValueError, "validation_steps"),
        ((X, Y), {"validation_data": (X, Y[:3])}, ValueError, "same number of samples"),
        ((X, Y), {"validation_split": 1.0}, ValueError, "between 0 and 1"),
        ((X, Y), {"validation_split": -0.5}, ValueError, "between 0 and 1"),
        ((X[:1], Y[:1]), {"validation_split": 0.5}, ValueError, "leaves no samples"),
        ((endless(X, Y),), {"validation_split": 0.5, "steps_per_epoch": 1}, ValueError, "validation_split.*generator"),
        ((Batches(X, Y),), {"validation_split": 0.5}, ValueError, "validation_split.*Batches"),
        ((endless(X, Y),), {}, ValueError, "steps_per_epoch"),
        ((Batches(X, Y), Y), {}, ValueError, "come with the batches"),
        ((Batches(X, Y),), {"sample_weight": WEIGHTS}, ValueError, "come with the batches"),
        ((X, Y), {"shuffle": "rows"}, ValueError, "'rows'"),
        ((X, Y), {"batch_size": 0}, ValueError, "batch_size must be a positive integer"),
        ((X, Y), {"steps_per_epoch": 0}, ValueError, "positive integer, got 0"),
        ((X, Y), {"workers": -1}, ValueError, "'workers'"),
        ((X, LABELS), {"class_weight": {0.5: 1.0}}, ValueError, "class 0.5"),
        ((X, LABELS), {"class_weight": "balanced"}, TypeError, "got str"),
    ],
)
def test_fit_refuses_what_does_not_fit(arguments, options, error, message):
    refused(regression(), lambda model: model.fit(*arguments, **options, **QUIET), error, message)


@pytest.mark.parametrize(
    ("loss", "units", "activation"), [("binary_crossentropy", 1, "sigmoid"), ("categorical_crossentropy", 3, "softmax")]
)
def test_a_weight_for_a_class_that_there_is_not_is_refused(loss, units, activation):
    model = classifier(loss, units, activation)
    targets = LABELS % 2 if units == 1 else to_categorical(LABELS, 3)
    refused(model, lambda model: model.fit(X, targets, class_weight={7: 1.0}, **QUIET), ValueError, "class 7")


@pytest.mark.parametrize("x", [[X, None], [None, Y], {"a": X, "b": None}])
def test_none_among_several_inputs_is_refused(x):
    refused(two_by_two(), lambda model: model.fit(x, [Y, Y], **QUIET), ValueError, "None")


def test_temporal_weights_for_an_output_without_steps_are_refused():
    model = classifier("mse", 1, None, sample_weight_mode="temporal")
    refused(model, lambda model: model.fit(X, Y, sample_weight=np.ones((ROWS, 4)), **QUIET), ValueError, "2 dimensions")


@pytest.mark.parametrize("call", ["evaluate", "train_on_batch", "test_on_batch"])
def test_every_method_refuses_unequal_numbers_of_samples(call):
    refused(regression(), lambda model: getattr(model, call)(X, Y[:4]), ValueError, "same number of samples")


def test_evaluate_and_predict_need_steps_for_a_generator():
    refused(regression(), lambda model: model.evaluate(endless(X, Y), **QUIET), ValueError, "steps")
    refused(regression(), lambda model: model.predict(endless(X)), ValueError, "steps")


@pytest.mark.parametrize("loading", [{"workers": 0}, {}, {"workers": 1, "use_multiprocessing": True}])
@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((X[:0], Y[:0]), "no samples"),
        ((X, Y, WEIGHTS, Y), r"tuple of 4 came.*\(20, 3\)"),
        (X, r"What came: ndarray of shape \(20, 3\)"),
        (None, "None came"),
        ({"x": X}, "dict with the keys"),
        (5, "int 5"),
        ((X[:, :1], Y), r"got \(20, 1\)"),
        ((X, Y[:4]), "same number of samples"),
    ],
)
def test_batches_that_are_none_are_refused_and_shown(batch, message, loading, nothing_runs):
    refused(regression(), lambda model: model.fit(iter([batch]), steps_per_epoch=1, **loading, **QUIET), ValueError, message)
    nothing_runs()


def test_a_plain_module_without_targets_is_refused():
    class Net(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 1)

        def forward(self, x):
            return self.linear(x)

    net = Net()
    net.compile("sgd", "mse")
    with pytest.raises(ValueError, match="y is None"):
        net.fit(X, **QUIET)


# ------------------------------------------------------------------ models that feed themselves


def self_fed(tensor, **options):
    fed = Input(tensor=tensor, shape=None if isinstance(tensor, torch.Tensor) else (3,), name="fed")
    model = Model(fed, Dense(1, kernel_initializer="ones")(fed))
    model.compile("sgd", "mse", metrics=["mae"], **options)
    return model


def test_a_model_feeds_itself_from_tensors():
    model = self_fed(torch.tensor(X), target_tensors=torch.tensor(Y))
    found = model.fit(None, None, steps_per_epoch=1, epochs=2, **QUIET).history
    close(found, fitted(X, Y, batch_size=ROWS))
    assert model.evaluate(None, None, steps=2, **QUIET) == pytest.approx(model.evaluate(None, None, steps=1, **QUIET))
    assert model.predict(None, steps=2).shape == (2 * ROWS, 1)


def test_a_model_feeds_itself_from_functions_that_are_called_each_step():
    calls = []
    batches = iter(list(Batches(X, Y)) * 2)

    def inputs():
        calls.append(next(batches))
        return torch.tensor(calls[-1][0])

    model = self_fed(inputs, target_tensors=lambda: torch.tensor(calls[-1][1]))
    close(model.fit(None, None, steps_per_epoch=3, epochs=2, **QUIET).history, fitted(X, Y, batch_size=SIZE))
    assert len(calls) == 6


def test_single_batches_of_a_model_that_feeds_itself():
    model = self_fed(torch.tensor(X), target_tensors=torch.tensor(Y))
    assert model.test_on_batch(None, None) == pytest.approx(regression().test_on_batch(X, Y))
    assert model.predict_on_batch(None).shape == (ROWS, 1)
    assert model.train_on_batch(None, None) == pytest.approx(regression().train_on_batch(X, Y))


def test_a_fed_input_goes_with_passed_targets():
    model = self_fed(torch.tensor(X))
    assert model.train_on_batch(None, Y) == pytest.approx(regression().train_on_batch(X, Y))
    close(self_fed(torch.tensor(X)).fit(None, Y, batch_size=ROWS, epochs=2, **QUIET).history, fitted(X, Y, batch_size=ROWS))


@pytest.mark.parametrize("target_tensors", [torch.tensor(Y), [torch.tensor(Y)], {"dense_1": torch.tensor(Y)}, lambda: torch.tensor(Y)])
def test_passed_inputs_go_with_fed_targets(target_tensors):
    x = Input(shape=(3,))
    model = Model(x, Dense(1, kernel_initializer="ones", name="dense_1")(x))
    model.compile("sgd", "mse", metrics=["mae"], target_tensors=target_tensors)
    close(model.fit(X, batch_size=ROWS, epochs=2, **QUIET).history, fitted(X, Y, batch_size=ROWS))
    assert model.predict(X).shape == (ROWS, 1)


def test_fed_and_passed_inputs_mix():
    set_random_seed(0)
    a, b = Input(shape=(3,), name="a"), Input(tensor=torch.tensor(Y[:, None]), name="b")
    hidden = Concatenate()([a, b])
    model = Model([a, b], [Dense(1, name="p")(hidden), Dense(1, name="q")(hidden)])
    model.compile("sgd", "mse")
    expected = two_by_two().train_on_batch([X, Y], [Y, -Y])
    assert model.train_on_batch(X, [Y, -Y]) == pytest.approx(expected)
    assert [part.shape for part in model.predict_on_batch({"a": X})] == [(ROWS, 1)] * 2


@pytest.mark.parametrize("target_tensors", [[torch.tensor(Y), torch.tensor(-Y)], {"p": torch.tensor(Y), "q": torch.tensor(-Y)}])
def test_targets_of_several_outputs_are_fed(target_tensors):
    model = two_by_two(target_tensors=target_tensors)
    assert model.train_on_batch([X, Y], None) == pytest.approx(two_by_two().train_on_batch([X, Y], [Y, -Y]))


@pytest.mark.parametrize("y", [-Y, [None, -Y], {"q": -Y}])
def test_targets_that_are_not_fed_are_passed(y):
    model = two_by_two(target_tensors={"p": torch.tensor(Y)})
    assert model.train_on_batch([X, Y], y) == pytest.approx(two_by_two().train_on_batch([X, Y], [Y, -Y]))


def test_fed_targets_take_sample_and_class_weights():
    model = classifier(target_tensors=torch.tensor(LABELS))
    found = model.train_on_batch(X, None, sample_weight=WEIGHTS, class_weight={1: 3.0})
    by_hand = WEIGHTS * np.array([1.0, 3.0, 1.0])[LABELS]
    assert found == pytest.approx(classifier().train_on_batch(X, LABELS, sample_weight=by_hand))


def test_passing_targets_that_are_fed_is_refused():
    model = self_fed(torch.tensor(X), target_tensors=torch.tensor(Y))
    refused(model, lambda model: model.train_on_batch(None, Y), ValueError, "target_tensors")


def test_a_model_that_feeds_itself_needs_a_number_of_steps():
    model = self_fed(torch.tensor(X), target_tensors=torch.tensor(Y))
    refused(model, lambda model: model.fit(None, None, **QUIET), ValueError, "steps_per_epoch")
    refused(model, lambda model: model.predict(None), ValueError, "steps")
    refused(model, lambda model: model.fit(None, None, steps_per_epoch=1, validation_split=0.5, **QUIET), ValueError, "feeds itself")


@pytest.mark.parametrize(
    ("target_tensors", "error", "message"),
    [
        ([torch.zeros(1)], ValueError, "2 outputs"),
        ([torch.zeros(1)] * 3, ValueError, "2 outputs"),
        (torch.zeros(1), ValueError, "2 outputs.*list or dict"),
        ({"z": torch.zeros(1)}, ValueError, "'z'"),
        ((torch.zeros(1), torch.zeros(1)), TypeError, "tuple"),
        ({1, 2}, TypeError, "set"),
    ],
)
def test_target_tensors_that_do_not_fit_are_refused(target_tensors, error, message):
    with pytest.raises(error, match=message):
        two_by_two(target_tensors=target_tensors)


# ------------------------------------------------------------------ faults


class Fault(Batches):
    def __getitem__(self, index):
        if index == 2:
            raise OverflowError("batch 2 is broken")
        return super().__getitem__(index)


def faulty(*arrays):
    yield from list(Batches(*arrays))[:2]
    raise OverflowError("batch 2 is broken")


EVERY = pytest.mark.parametrize("loading", [{"workers": 0}, {}, THREADS, {"workers": 1, "use_multiprocessing": True}, PROCESSES])
CALLS = {
    "fit": lambda model, data, **options: model.fit(data, shuffle=False, **QUIET, **options),
    "validation": lambda model, data, **options: model.fit(X, Y, validation_data=data, **QUIET, **options),
    "evaluate": lambda model, data, **options: model.evaluate(data, **QUIET, **options),
    "predict": lambda model, data, **options: model.predict(data, **options),
}
STEPS = {"fit": "steps_per_epoch", "validation": "validation_steps", "evaluate": "steps", "predict": "steps"}


@EVERY
@pytest.mark.parametrize("call", CALLS)
def test_a_fault_in_a_sequence_reaches_the_caller_with_its_traceback(call, loading, nothing_runs):
    with pytest.raises(OverflowError, match="batch 2 is broken") as caught:
        CALLS[call](regression(), Fault(X, Y), **loading)
    nothing_runs()
    assert "in __getitem__" in "".join(traceback.format_exception(caught.value)) + str(caught.value)


@pytest.mark.parametrize("loading", [{"workers": 0}, {}, {"workers": 1, "use_multiprocessing": True}])
@pytest.mark.parametrize("call", CALLS)
def test_a_fault_in_a_generator_reaches_the_caller_with_its_traceback(call, loading, nothing_runs):
    with pytest.raises(OverflowError, match="batch 2 is broken") as caught:
        CALLS[call](regression(), faulty(X, Y), **loading, **{STEPS[call]: 9})
    nothing_runs()
    assert "in faulty" in "".join(traceback.format_exception(caught.value)) + str(caught.value)


@EVERY
def test_a_fault_in_the_training_itself_ends_threads_and_processes(loading, nothing_runs):
    class Broken(Callback):
        def on_batch_end(self, batch, logs=None):
            raise OverflowError("the callback is broken")

    with pytest.raises(OverflowError, match="the callback is broken"):
        regression().fit(Batches(X, Y), callbacks=[Broken()], validation_data=Batches(X, Y), **loading, **QUIET)
    nothing_runs()


@EVERY
def test_a_model_that_could_not_be_built_leaves_nothing_running(loading, nothing_runs):
    model = Sequential([TorchModuleWrapper(nn.Linear(7, 1))])
    model.compile("sgd", "mse")
    with pytest.raises(Exception, match=".") as _caught:
        model.fit(Batches(X, Y), **loading, **QUIET)
    nothing_runs()


@EVERY
def test_validation_data_refused_after_a_first_look_at_the_batches_leaves_nothing_running(loading, nothing_runs):
    model = Sequential([Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="1 parts") as _caught:
        model.fit(Batches(X, Y), validation_data=(X,), **loading, **QUIET)
    nothing_runs()


class Interrupt(Callback):
    """Presses Ctrl-C in the middle of the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (1, 1):
            signal.raise_signal(signal.SIGINT)


@EVERY
def test_an_interrupt_in_the_middle_of_an_epoch_leaves_the_model_usable(loading, nothing_runs):
    model = regression()
    with pytest.raises(KeyboardInterrupt) as _caught:
        model.fit(Batches(X, Y), epochs=3, callbacks=[Interrupt()], **loading, **QUIET)
    nothing_runs()
    assert model.history.epoch == [0] and len(model.history.history["loss"]) == 1
    assert np.isfinite(model.predict(X)).all()
    assert len(model.fit(Batches(X, Y), epochs=2, **loading, **QUIET).epoch) == 2


def test_an_interrupt_on_arrays_keeps_the_finished_epochs():
    model = regression()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=4, epochs=3, callbacks=[Interrupt()], **QUIET)
    assert model.history.epoch == [0] and not np.array_equal(model.get_weights()[0], np.ones((3, 1)))


class Killed(Batches):
    def __getitem__(self, index):
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@pytest.mark.parametrize("call", CALLS)
def test_a_killed_worker_is_an_error(call, nothing_runs):
    with pytest.raises(RuntimeError, match="(?i)killed|exited unexpectedly"):
        CALLS[call](regression(), Killed(X, Y), **PROCESSES)
    nothing_runs()


@pytest.mark.parametrize("loading", [{"workers": 0}, {}, {"workers": 1, "use_multiprocessing": True}])
def test_a_wrong_shape_at_step_50_leaves_the_49_good_steps(loading, nothing_runs):
    def generator():
        for step in range(1, 100):
            yield (X, Y) if step != 50 else (X[:, :2], Y)

    model, expected = regression(), regression()
    with pytest.raises(ValueError, match=r"got \(20, 2\)"):
        model.fit(generator(), steps_per_epoch=90, **loading, **QUIET)
    nothing_runs()
    expected.fit(X, Y, epochs=49, batch_size=ROWS, shuffle=False, **QUIET)
    for found, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("loading", [{"workers": 0}, THREADS, PROCESSES])
def test_training_repeats_with_the_seed(loading):
    close(fitted(Batches(X, Y, size=2), shuffle=True, **loading), fitted(Batches(X, Y, size=2), shuffle=True, **loading))


def test_random_numbers_of_worker_processes_repeat_with_the_seed_and_differ():
    class Noise(Sequence):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return np.random.rand(1, 3), [0.0]

    found = []
    for _ in range(2):
        set_random_seed(4)
        found.append(regression().predict(Noise(), **PROCESSES)[:, 0])
    assert found[0].tolist() == found[1].tolist() and len(set(found[0].tolist())) == 4


# ------------------------------------------------------------------ what predict returns


@pytest.mark.parametrize("loading", [{"workers": 0}, {}, THREADS, PROCESSES])
def test_predict_keeps_the_order_of_many_batches(loading):
    rows = np.arange(300, dtype="float32").repeat(3).reshape(300, 3) / 3
    np.testing.assert_allclose(regression().predict(Batches(rows, size=2), **loading)[:, 0], np.arange(300), rtol=1e-5)


def test_predictions_do_not_share_memory_with_the_inputs():
    x = Input(shape=(3,))
    model = Model(x, x)
    rows = X.copy()
    for found in (model.predict(rows), model.predict_on_batch(rows), model.predict(rows, steps=1)):
        assert not np.shares_memory(found, rows)
