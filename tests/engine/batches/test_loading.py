"""Batches that come one by one: every one once and in order, prepared ahead within bounds, and nothing left running."""

import multiprocessing
import os
import random
import signal
import threading
import traceback

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from torchkeras_fn.callbacks import Callback
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.engine.batches.loaders import LoaderSource, batch_starts, dataset_source
from torchkeras_fn.engine.batches.loading import Epochs
from torchkeras_fn.engine.batches.sources import GeneratorSource, SequenceSource
from torchkeras_fn.engine.batches.workers import Loading
from torchkeras_fn.utils import Sequence

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
MAIN, THREAD, THREADS, PROCESS, PROCESSES = Loading(0), Loading(1), Loading(3), Loading(1, True), Loading(2, True)
NAMES = ["main", "thread", "threads", "process", "processes"]
EVERY = pytest.mark.parametrize("loading", [MAIN, THREAD, THREADS, PROCESS, PROCESSES], ids=NAMES)


@pytest.fixture(autouse=True)
def no_hang():
    """Turn a hang into a failure."""

    def give_up(*_):
        raise TimeoutError("this test hangs")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
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


class Numbers(Sequence):
    def __init__(self, count=7):
        self.count, self.read, self.ends, self.threads = count, [], 0, set()

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read.append(index)
        self.threads.add(threading.current_thread())
        return index

    def on_epoch_end(self):
        self.ends += 1


class Fixed(Numbers):
    """A `Sequence` that does nothing at the end of an epoch."""

    on_epoch_end = Sequence.on_epoch_end


def same(batch):
    return batch


def run(source, epochs=1, steps=None):
    batches = Epochs(source, same, steps)
    try:
        return [list(batches) for _ in range(epochs)]
    finally:
        batches.close()


# ------------------------------------------------------------------ sequences


@EVERY
@pytest.mark.parametrize("kind", [Numbers, Fixed])
def test_a_sequence_gives_each_batch_once_an_epoch_in_order(loading, kind):
    assert run(SequenceSource(kind(), False, loading), epochs=3) == [list(range(7))] * 3


@EVERY
def test_a_shuffled_sequence_gives_each_batch_once_in_an_order_of_its_own(loading):
    first, second = run(SequenceSource(Numbers(20), True, loading), epochs=2)
    assert sorted(first) == sorted(second) == list(range(20)) and len({str(first), str(second), str(list(range(20)))}) == 3


@EVERY
def test_the_order_repeats_with_the_seed(loading):
    found = []
    for _ in range(2):
        set_random_seed(5)
        found.append(run(SequenceSource(Numbers(20), True, loading), epochs=2))
    assert found[0] == found[1]


@EVERY
def test_the_end_of_each_epoch_is_told_once(loading):
    numbers = Numbers()
    run(SequenceSource(numbers, False, loading), epochs=3)
    assert numbers.ends == 3


class Begun(Numbers):
    def on_epoch_begin(self):
        self.count += 1


@pytest.mark.parametrize("loading", [MAIN, THREAD, PROCESS], ids=["main", "thread", "process"])
def test_the_begin_of_each_epoch_is_told_before_it_is_read(loading):
    assert run(SequenceSource(Begun(1), False, loading), epochs=2) == [[0, 1], [0, 1, 2]]


def test_the_begin_of_an_epoch_is_not_told_twice_to_a_sequence_that_is_a_callback():
    class Told(Numbers, Callback):
        """Is told by `fit`, with the number of the epoch."""

    assert run(SequenceSource(Told(2), False, MAIN)) == [[0, 1]]


@EVERY
def test_the_end_of_the_epoch_is_told_once_where_the_steps_are_counted(loading):
    numbers = Numbers(4)
    run(SequenceSource(numbers, False, loading), epochs=3, steps=4)
    assert numbers.ends == 3


@EVERY
def test_a_sequence_starts_over_where_more_is_wanted_than_it_has(loading):
    numbers = Numbers(3)
    assert run(SequenceSource(numbers, False, loading), epochs=2, steps=5) == [[0, 1, 2, 0, 1], [2, 0, 1, 2, 0]]
    assert numbers.ends == 3


@EVERY
def test_what_changes_at_the_end_of_an_epoch_counts_in_the_next(loading):
    class Turning(Sequence):
        offset = 0

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return self.offset + index

        def on_epoch_end(self):
            self.offset += 10

    assert run(SequenceSource(Turning(), False, loading), epochs=3) == [[0, 1, 2], [10, 11, 12], [20, 21, 22]]


@EVERY
def test_a_sequence_may_change_its_length_between_epochs(loading):
    class Shrinking(Numbers):
        def on_epoch_end(self):
            self.count -= 2

    assert [len(epoch) for epoch in run(SequenceSource(Shrinking(5), False, loading), epochs=3)] == [5, 3, 1]


def test_anything_with_length_and_items_is_a_sequence():
    assert run(SequenceSource(("a", "b"), False, THREAD)) == [["a", "b"]]


def test_a_user_class_named_sequence_with_its_own_end_of_epoch_is_seen_to_change():
    class Sequence:
        offset = 0

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return self.offset + index

        def on_epoch_end(self):
            self.offset += 10

    Sequence.on_epoch_end.__qualname__ = "Sequence.on_epoch_end"
    assert run(SequenceSource(Sequence(), False, PROCESS), epochs=2) == [[0, 1], [10, 11]]


def test_without_workers_a_sequence_is_read_in_the_main_thread_even_with_multiprocessing():
    numbers = Numbers()
    run(SequenceSource(numbers, False, Loading(0, use_multiprocessing=True)))
    assert numbers.threads == {threading.main_thread()}


def test_processes_send_tensors_without_their_history():
    class Traced(Numbers):
        def __getitem__(self, index):
            return {"x": torch.ones(2, requires_grad=True) * index}, None

    [batches] = run(SequenceSource(Traced(2), False, PROCESS))
    assert [(found["x"].tolist(), found["x"].requires_grad) for found, _ in batches] == [([0, 0], False), ([1, 1], False)]


def test_threads_read_a_sequence_outside_the_main_thread():
    numbers = Numbers()
    run(SequenceSource(numbers, False, THREADS))
    assert threading.main_thread() not in numbers.threads


def test_processes_read_a_sequence_outside_the_main_process():
    class Where(Numbers):
        def __getitem__(self, index):
            return os.getpid()

    (found,) = run(SequenceSource(Where(10), False, PROCESSES))
    assert len(set(found)) == 2 and os.getpid() not in found


def test_processes_stay_over_the_epochs_of_a_sequence_that_does_not_change():
    class Where(Fixed):
        def __getitem__(self, index):
            return os.getpid()

    first, second = run(SequenceSource(Where(), False, PROCESS), epochs=2)
    assert set(first) == set(second)


@pytest.mark.parametrize("kind", [Numbers, Fixed])
@EVERY
def test_what_a_callback_changes_about_a_sequence_between_epochs_counts(loading, kind):
    class Curriculum(kind):
        level = {"power": 0}

        def __getitem__(self, index):
            return index + 100 * self.level["power"]

    sequence = Curriculum(3)
    sequence.level = {"power": 0}
    batches = Epochs(SequenceSource(sequence, False, loading), same)
    found = [list(batches)]
    sequence.level["power"] = 1
    found.append(list(batches))
    sequence.count = 2
    found.append(list(batches))
    batches.close()
    assert found == [[0, 1, 2], [100, 101, 102], [100, 101]]


@EVERY
def test_an_item_that_ends_with_stop_iteration_is_an_error_and_not_the_end_of_the_epoch(loading):
    class Ends(Numbers):
        def __getitem__(self, index):
            return next(iter([index] if index < 3 else []))

    with pytest.raises(RuntimeError, match="Reading item 3 of the data raised StopIteration"):
        run(SequenceSource(Ends(), False, loading))


@EVERY
def test_a_sequence_of_endless_length_is_read_in_order(loading):
    assert run(SequenceSource(Numbers(2**62), False, loading), epochs=2, steps=3) == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("loading", [Loading(1, max_queue_size=2), Loading(3, max_queue_size=4)])
def test_threads_read_a_sequence_at_most_the_queue_ahead(loading):
    numbers = Numbers(50)
    batches = SequenceSource(numbers, False, loading).one_pass()
    most = []
    for done in range(1, 11):
        next(batches)
        most.append(len(numbers.read) - done)
    batches.close()
    assert max(most) <= loading.max_queue_size and len(numbers.read) <= 10 + loading.max_queue_size


def test_more_threads_read_at_the_same_time():
    class Meeting(Numbers):
        """Every item waits for another one that is read at the same time."""

        barrier = threading.Barrier(3)

        def __getitem__(self, index):
            self.barrier.wait(30)
            return index

    assert run(SequenceSource(Meeting(6), False, THREADS)) == [list(range(6))]


# ------------------------------------------------------------------ generators


def counting(count=None, seen=None):
    index = 0
    while count is None or index < count:
        if seen is not None:
            seen.append(index)
        yield index
        index += 1


SINGLE = pytest.mark.parametrize("loading", [MAIN, THREAD, THREADS, PROCESS], ids=["main", "thread", "threads", "process"])


@SINGLE
def test_a_generator_goes_on_over_the_epochs(loading):
    assert run(GeneratorSource(counting(), loading), epochs=3, steps=2) == [[0, 1], [2, 3], [4, 5]]


@SINGLE
def test_a_generator_that_ends_with_the_last_epoch_does_not_warn(loading):
    assert run(GeneratorSource(counting(4), loading), epochs=2, steps=2) == [[0, 1], [2, 3]]


@SINGLE
def test_a_generator_that_ends_early_warns_of_the_steps_that_were_wanted(loading):
    batches = Epochs(GeneratorSource(counting(3), loading), same, 5)
    with pytest.warns(UserWarning, match="ended after 3 of the 5 steps.*training that only validates on it goes on"):
        assert list(batches) == [0, 1, 2]
    batches.close()
    assert batches.exhausted


@SINGLE
def test_a_generator_that_is_over_stays_over(loading):
    batches = Epochs(GeneratorSource(counting(3), loading), same, 3)
    assert list(batches) == [0, 1, 2] and not batches.exhausted
    for _ in range(2):
        with pytest.warns(UserWarning, match="ended after 0 of the 3"):
            assert list(batches) == []
    batches.close()


@SINGLE
def test_a_generator_that_gives_nothing_is_an_error(loading):
    with pytest.raises(ValueError, match="gave no batch"):
        run(GeneratorSource(counting(0), loading), steps=2)


def test_an_iterator_that_is_no_generator_is_taken():
    assert run(GeneratorSource(map(str, range(4)), THREAD), steps=4) == [["0", "1", "2", "3"]]


@pytest.mark.parametrize("loading", [MAIN, THREAD, Loading(1, max_queue_size=1), THREADS])
def test_what_no_epoch_takes_is_left_to_the_generators_user(loading):
    ours = counting()
    train, validation = Epochs(GeneratorSource(ours, loading), same, 3), Epochs(GeneratorSource(ours, loading), same, 1)
    assert [list(train), list(validation), list(train), list(validation)] == [[0, 1, 2], [3], [4, 5, 6], [7]]
    train.close(), validation.close()
    assert next(ours) == 8


def test_without_workers_a_generator_runs_in_the_main_thread_and_not_ahead():
    seen, threads = [], set()

    def generator():
        for index in counting(seen=seen):
            threads.add(threading.current_thread())
            yield index

    ours = generator()
    run(GeneratorSource(ours, Loading(0, use_multiprocessing=True)), steps=3)
    assert seen == [0, 1, 2] and threads == {threading.main_thread()}


@pytest.mark.parametrize("size", [1, 3])
def test_a_thread_takes_at_most_the_queue_ahead(size):
    seen = []
    batches = Epochs(GeneratorSource(counting(seen=seen), Loading(1, max_queue_size=size)), same, 5)
    for done, _ in enumerate(batches):
        assert len(seen) <= done + 1 + size
    batches.close()


def test_a_thread_does_work_ahead():
    ready = threading.Event()

    def generator():
        yield 0
        yield 1
        ready.set()
        yield 2

    batches = Epochs(GeneratorSource(generator(), Loading(1, max_queue_size=2)), same, 3)
    assert next(iter(batches)) == 0 and ready.wait(30)
    batches.close()


def test_a_generator_that_cannot_be_pickled_runs_in_a_process():
    lock = threading.Lock()  # a closure over a lock cannot be pickled
    pids = ((lock.locked(), os.getpid())[1] for _ in range(3))
    (found,) = run(GeneratorSource(pids, PROCESS), steps=3)
    assert len(set(found)) == 1 and os.getpid() not in found


def test_a_generator_in_several_processes_warns_of_repetition_and_names_the_remedy():
    with pytest.warns(UserWarning, match="may repeat.*utils.Sequence"):
        source = GeneratorSource(counting(3), PROCESSES)
    (found,) = run(source, steps=6)
    assert sorted(found) == [0, 0, 1, 1, 2, 2]


# ------------------------------------------------------------------ loaders and data sets


class Points(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return float(index)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(5))


def lists(epochs):
    return [[batch.tolist() for batch in epoch] for epoch in epochs]


def test_a_loader_is_used_as_it_is():
    loader = DataLoader(Points(), batch_size=4, drop_last=True)
    assert lists(run(LoaderSource(loader), epochs=2)) == [[[0, 1, 2, 3]]] * 2


def test_a_loader_starts_over_where_more_is_wanted():
    assert lists(run(LoaderSource(DataLoader(Points(), batch_size=3)), steps=3)) == [[[0, 1, 2], [3, 4, 5], [0, 1, 2]]]


@pytest.mark.parametrize("loading", [MAIN, PROCESS])
def test_an_iterable_data_set_gives_what_it_gives(loading):
    source = dataset_source(Stream(), 2, False, loading)
    assert source.steps is None
    assert lists(run(source, epochs=2)) == [[[0, 1], [2, 3], [4]]] * 2


def test_a_finite_stream_starts_over_where_more_is_wanted():
    assert lists(run(dataset_source(Stream(), 3, False, MAIN), steps=3)) == [[[0, 1, 2], [3, 4], [0, 1, 2]]]


@pytest.mark.filterwarnings("ignore:Length of IterableDataset")
def test_an_epoch_of_a_stream_that_promised_more_is_what_came_and_warns():
    class Promising(Stream):
        def __len__(self):
            return 9

    with pytest.warns(UserWarning, match="gave 1 batches, but its length says 2"):
        assert lists(run(LoaderSource(DataLoader(Promising(), batch_size=5)), epochs=2)) == [[[0, 1, 2, 3, 4]]] * 2


def test_a_data_set_that_grows_and_shrinks_between_epochs_is_read_whole():
    dataset = [1, 2]
    batches = Epochs(LoaderSource(DataLoader(dataset, batch_size=1)), same)
    assert lists([batches]) == [[[1], [2]]] and len(batches) == 2
    dataset.pop()
    assert lists([batches]) == [[[1]]] and len(batches) == 1


@pytest.mark.parametrize("loading", [MAIN, PROCESSES])
def test_a_data_set_gives_every_sample_once(loading):
    assert lists(run(dataset_source(Points(), 4, False, loading), epochs=2)) == [[[0, 1, 2, 3], [4, 5]]] * 2
    assert sorted(sum(lists(run(dataset_source(Points(), 4, True, loading)))[0], [])) == list(range(6))


@pytest.mark.parametrize("loading", [MAIN, PROCESSES], ids=["main", "processes"])
def test_what_a_callback_changes_about_a_data_set_between_epochs_counts(loading):
    class Leveled(Points):
        level = 0

        def __getitem__(self, index):
            return index + 100 * self.level

    dataset = Leveled()
    batches = Epochs(dataset_source(dataset, 4, False, loading), same)
    list(batches)
    dataset.level = 1
    found = lists([list(batches)])
    batches.close()
    assert found == [[[100, 101, 102, 103], [104, 105]]]


def test_processes_stay_over_the_epochs_of_a_data_set_that_does_not_change():
    class Where(Points):
        def __getitem__(self, index):
            return os.getpid()

    first, second = lists(run(dataset_source(Where(), 6, False, PROCESS), epochs=2))
    assert first == second


@pytest.mark.parametrize("several", [False, True])
def test_a_sample_that_ends_with_stop_iteration_in_a_process_is_an_error(several):
    class Ends(Points):
        def __getitem__(self, index):
            return next(iter([index] if index < 3 else []))

    class Several(Ends):
        def __getitems__(self, indices):
            return [self[index] for index in indices]

    with pytest.raises(RuntimeError, match="of the data raised StopIteration"):
        run(dataset_source((Several if several else Ends)(), 4, False, PROCESS))


def test_an_iterable_object_can_begin_again():
    class Again:
        def __iter__(self):
            yield from "ab"

    assert run(LoaderSource(Again()), epochs=2) == [["a", "b"]] * 2
    assert run(LoaderSource(Again()), steps=3) == [["a", "b", "a"]]


def test_an_iterable_object_that_cannot_begin_again_warns():
    class Once:
        def __init__(self):
            self.items = iter("ab")

        def __iter__(self):
            return (item for item in self.items)

    batches = Epochs(LoaderSource(Once()), same)
    assert list(batches) == ["a", "b"]
    with pytest.warns(UserWarning, match="ended after 0"):
        assert list(batches) == [] and batches.exhausted


def test_the_processes_of_a_users_persistent_loader_are_left_to_the_user():
    loader = DataLoader(Points(), batch_size=3, num_workers=1, persistent_workers=True)
    run(LoaderSource(loader))
    (process,) = multiprocessing.active_children()
    assert lists(run(LoaderSource(loader))) == [[[0, 1, 2], [3, 4, 5]]]
    assert multiprocessing.active_children() == [process]
    loader._iterator._shutdown_workers()


# ------------------------------------------------------------------ epochs


def test_steps_go_on_where_the_last_epoch_ended():
    assert run(SequenceSource(Numbers(5), False, MAIN), epochs=3, steps=2) == [[0, 1], [2, 3], [4, 0]]


def test_rewinding_begins_anew():
    batches = Epochs(SequenceSource(Numbers(5), False, THREAD), same, 2)
    assert list(batches) == [0, 1]
    batches.rewind()
    assert list(batches) == [0, 1]
    batches.close()


def test_a_generator_cannot_be_rewound():
    batches = Epochs(GeneratorSource(counting(), MAIN), same, 2)
    list(batches)
    batches.rewind()
    assert list(batches) == [2, 3]


@pytest.mark.parametrize("source", [
    lambda: SequenceSource(Numbers(3), False, THREADS),
    lambda: SequenceSource(Fixed(3), False, PROCESSES),
    lambda: GeneratorSource(counting(3), MAIN),
    lambda: GeneratorSource(counting(3), THREAD),
    lambda: GeneratorSource(counting(3), PROCESS),
    lambda: LoaderSource(Numbers(3)),
    lambda: LoaderSource(DataLoader(Numbers(3), batch_size=None)),
    lambda: LoaderSource(DataLoader(Numbers(3), batch_size=None, num_workers=1)),
    lambda: dataset_source(Numbers(3), 1, False, PROCESSES),
])  # fmt: skip
def test_peeking_leaves_nothing_running_and_uses_no_batch_up(source, nothing_runs):
    batches = Epochs(source(), same, 3)
    assert batches.peek() == 0
    nothing_runs()
    assert list(batches) == [0, 1, 2]
    batches.close()


def test_peeking_at_a_stream_that_comes_once_keeps_its_first_batch():
    class Once:
        items = iter("ab")

        def __iter__(self):
            return (item for item in self.items)

    batches = Epochs(LoaderSource(Once()), same)
    assert batches.peek() == "a" and list(batches) == ["a", "b"]


def test_peeking_at_nothing_is_an_error():
    batches = Epochs(GeneratorSource(counting(0), MAIN), same, 3)
    with pytest.raises(ValueError, match="gave no batch"):
        batches.peek()


def test_the_length_is_the_steps_or_what_the_source_has():
    assert len(Epochs(SequenceSource(Numbers(5), False, MAIN), same, 2)) == 2
    assert len(Epochs(SequenceSource(Numbers(5), False, MAIN), same)) == 5
    with pytest.raises(TypeError, match="not known"):
        len(Epochs(dataset_source(Stream(), 2, False, MAIN), same))


def test_batch_starts_leave_a_short_batch_last():
    assert all(batch_starts(7, 3, True)[-1] == 6 for _ in range(5))


# ------------------------------------------------------------------ faults


class Faulty(Numbers):
    def __getitem__(self, index):
        if index == 3:
            raise OverflowError("item 3 is broken")
        return index


def faulty_generator():
    yield from range(3)
    raise OverflowError("item 3 is broken")


def reads_of(error):
    return "".join(traceback.format_exception(error)) + str(error)


@EVERY
def test_an_exception_in_a_sequence_arrives_with_its_traceback_and_ends_everything(loading, nothing_runs):
    with pytest.raises(OverflowError, match="item 3 is broken") as caught:
        run(SequenceSource(Faulty(), False, loading))
    nothing_runs()
    assert "in __getitem__" in reads_of(caught.value)


@EVERY
def test_an_exception_comes_after_the_good_batches(loading):
    seen = []
    batches = Epochs(SequenceSource(Faulty(), False, loading), seen.append)
    with pytest.raises(OverflowError):
        list(batches)
    batches.close()
    assert seen == [0, 1, 2]


@SINGLE
def test_an_exception_in_a_generator_arrives_with_its_traceback_and_ends_everything(loading, nothing_runs):
    with pytest.raises(OverflowError, match="item 3 is broken") as caught:
        run(GeneratorSource(faulty_generator(), loading), steps=9)
    nothing_runs()
    assert "in faulty_generator" in reads_of(caught.value)


@pytest.mark.parametrize("loading", [MAIN, PROCESSES])
def test_an_exception_in_a_data_set_ends_its_processes(loading, nothing_runs):
    with pytest.raises(OverflowError, match="item 3 is broken"):
        run(dataset_source(Faulty(), 2, False, loading))
    nothing_runs()


def test_an_exception_in_a_users_loader_ends_its_processes(nothing_runs):
    with pytest.raises(OverflowError, match="item 3 is broken"):
        run(LoaderSource(DataLoader(Faulty(), num_workers=1)))
    nothing_runs()


@EVERY
def test_an_exception_at_the_end_of_an_epoch_arrives(loading, nothing_runs):
    class Bad(Numbers):
        def on_epoch_end(self):
            raise OverflowError("no more epochs")

    with pytest.raises(OverflowError, match="no more epochs"):
        run(SequenceSource(Bad(), False, loading))
    nothing_runs()


@pytest.mark.parametrize("source", [
    lambda: SequenceSource(Numbers(100), False, THREADS),
    lambda: SequenceSource(Numbers(100), False, PROCESSES),
    lambda: SequenceSource(Fixed(100), False, PROCESSES),
    lambda: GeneratorSource(counting(), THREAD),
    lambda: GeneratorSource(counting(), PROCESS),
    lambda: LoaderSource(DataLoader(Points(), num_workers=1)),
    lambda: dataset_source(Points(), 1, True, PROCESSES),
])  # fmt: skip
def test_breaking_off_ends_everything_while_the_iterator_is_still_held(source, nothing_runs):
    batches = Epochs(source(), same, 50)
    held = iter(batches)
    next(held), next(held)
    batches.close()
    nothing_runs()


def test_closing_twice_does_no_harm():
    batches = Epochs(SequenceSource(Fixed(), False, PROCESS), same)
    list(batches)
    batches.close(), batches.close()


def test_a_full_queue_does_not_keep_the_thread_from_ending(nothing_runs):
    full = threading.Event()

    def generator():
        yield 0
        full.set()
        while True:
            yield 1

    batches = Epochs(GeneratorSource(generator(), Loading(1, max_queue_size=1)), same, 5)
    next(iter(batches))
    assert full.wait(30)
    batches.close()
    nothing_runs()


class Killed(Fixed):
    def __getitem__(self, index):
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


def killed_generator():
    yield 0
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("source", [
    lambda: SequenceSource(Killed(), False, PROCESSES),
    lambda: GeneratorSource(killed_generator(), PROCESS),
    lambda: dataset_source(Killed(), 1, False, PROCESS),
])  # fmt: skip
def test_a_killed_worker_is_an_error(source, nothing_runs):
    with pytest.raises(RuntimeError, match="(?i)killed|exited unexpectedly"):
        run(source(), steps=7)
    nothing_runs()


# ------------------------------------------------------------------ seeds


class Draws(Fixed):
    def __getitem__(self, index):
        return os.getpid(), float(np.random.rand()), float(torch.rand(())), random.random()


class ChangingDraws(Draws):
    def on_epoch_end(self):
        pass


@pytest.mark.parametrize("kind", [Draws, ChangingDraws])
def test_random_numbers_differ_between_workers_and_epochs(kind):
    drawn = [numbers for epoch in run(SequenceSource(kind(6), False, PROCESSES), epochs=2) for _, *numbers in epoch]
    assert len({number for numbers in drawn for number in numbers}) == 12 * 3


@pytest.mark.parametrize("kind", [Draws, ChangingDraws])
def test_random_numbers_in_workers_repeat_with_the_seed(kind):
    found = []
    for _ in range(2):
        set_random_seed(3)
        found.append([numbers for epoch in run(SequenceSource(kind(6), False, PROCESSES), epochs=2) for _, *numbers in epoch])
    assert found[0] == found[1]


def test_random_numbers_of_a_generator_in_a_process_repeat_with_the_seed():
    found = []
    for _ in range(2):
        set_random_seed(3)
        found.append(run(GeneratorSource((float(np.random.rand()) for _ in range(4)), PROCESS), steps=4))
    assert found[0] == found[1]


@pytest.mark.parametrize("loading", [MAIN, THREAD], ids=["main", "thread"])
def test_one_thread_draws_numpys_random_numbers_in_the_order_of_the_batches(loading):
    found = []
    for _ in range(2):
        np.random.seed(3)
        found.append(run(SequenceSource(Draws(6), False, loading)))
    assert [item[1] for item in found[0][0]] == [item[1] for item in found[1][0]]
