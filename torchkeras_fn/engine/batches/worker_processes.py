"""Batches that the worker processes of a `DataLoader` read ahead, and what is sent between processes."""

import gc
import multiprocessing
import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from torchkeras_fn.engine.basics.nested import leaves_of, map_only
from torchkeras_fn.engine.batches.refilled import Spared, caused, copied, no_item
from torchkeras_fn.engine.batches.workers import Loading


class Items(Dataset[Any]):
    """The batches of a sequence, or the samples of a data set, as a data set for a loader's processes."""

    def __init__(self, sequence: Any):
        self.sequence = sequence
        self._read = Spared(sequence.__getitem__)  # for an item is sent while the next one is read

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, index: int) -> Any:
        try:
            return self._read(index)
        except Exception as error:
            raise _sendable(error)  # noqa: B904 - it says itself what it comes from

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Return several items at once, as a data set of torch's may offer it."""
        several = getattr(self.sequence, "__getitems__", None)
        if several is None:
            return [self[index] for index in indices]
        try:
            return list(several(indices))
        except StopIteration as error:
            raise no_item(indices) from error
        except Exception as error:
            raise _sendable(error)  # noqa: B904 - it says itself what it comes from


class Stream(IterableDataset[Any]):
    """The batches of a generator, as a data set for a loader's processes."""

    def __init__(self, generator: Iterator[Any]):
        self.generator = generator

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from map(copied, self.generator)
        except Exception as error:
            raise _sendable(error)  # noqa: B904 - it says itself what it comes from


class Order:
    """A sampler whose order is set before each epoch."""

    order: Sequence[int] = ()

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)


def _sendable(error: Exception) -> Exception:
    """The error, or one that tells of it where its class cannot be pickled: such an error is lost between processes."""
    if _can_be_pickled(type(error)):
        return error
    return caused(RuntimeError(f"{type(error).__name__}: {error}"), error)


def _checked(batch: Any) -> Any:
    """Return a batch that can be sent to another process. Raises `TypeError` for one that would be lost on its way."""
    batch = map_only(torch.Tensor, torch.Tensor.detach, batch)  # a tensor with a history would be lost without an error
    if not all(_is_plain(leaf) for leaf in leaves_of(batch)) and not _can_be_pickled(batch):
        raise TypeError(f"A batch of type {type(batch).__name__} cannot be pickled, so a worker process cannot send it: {batch!r:.200}.")
    return batch


def _is_plain(leaf: Any) -> bool:
    return leaf is None or isinstance(leaf, (torch.Tensor, int, float, str)) or (type(leaf) is np.ndarray and not leaf.dtype.hasobject)


def _can_be_pickled(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True


def loader_of(dataset: Any, loading: Loading, sampler: Any = None, persistent: bool = True) -> DataLoader[Any]:
    """Return a loader of ready batches out of worker processes."""
    return DataLoader(dataset, batch_size=None, sampler=sampler, collate_fn=_checked, **process_options(loading, persistent))


def process_options(loading: Loading, persistent: bool) -> dict[str, Any]:
    """The options of a loader's processes. They are forked where that exists, so that nothing needs to be pickled."""
    return {
        "num_workers": loading.processes,
        "prefetch_factor": loading.prefetch_factor,
        "persistent_workers": persistent,
        "worker_init_fn": _keep_what_was_there,
        "multiprocessing_context": "fork" if "fork" in multiprocessing.get_all_start_methods() else None,
    }


def _keep_what_was_there(worker: int) -> None:
    """Let a forked process collect no garbage of its parent's: what ends there with threads of its own, as process groups do, crashes."""
    gc.freeze()


def batches_from(loader: Iterable[Any], ends: bool) -> Iterator[Any]:
    """Yield the batches of a loader; with `ends`, its processes end when this does, and not when the last traceback is forgotten."""
    batches = iter(loader)
    try:
        yield from batches
    finally:
        if ends:
            end_workers(batches)


def end_workers(batches: Any) -> None:
    """End the worker processes behind a `DataLoader`'s iterator, as its deletion would."""
    end = getattr(batches, "_shutdown_workers", None)
    if end is not None:
        end()
