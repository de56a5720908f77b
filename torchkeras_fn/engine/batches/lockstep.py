"""`Lockstep`: the batches of an epoch as several processes go through them, all taking each step at the same time."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from torchkeras_fn.engine.batches.dealing import first_rows
from torchkeras_fn.engine.batches.groups import samples_of
from torchkeras_fn.engine.batches.loading import NOTHING, Epochs
from torchkeras_fn.engine.processes.processes import Processes
from torchkeras_fn.portion import Portion


class Lockstep:
    """This process's batches; `portion` is what it has of the step for the batch that came last.

    For arrays in memory it is known who has how many rows. For other data the processes tell each other before each step:
    one whose data is over, or that has none, takes part, with rows that count nothing, until that of all is, and none goes on
    where the data of another failed. `stops`, where anybody may want to stop in the middle, is asked before each step, and `stop` is
    called where one of the processes wants to.
    """

    def __init__(
        self,
        epochs: Epochs,
        processes: Processes,
        sync_batchnorm: bool = False,
        stops: Callable[[], bool] | None = None,
        stop: Callable[[], None] | None = None,
    ):
        self.epochs, self.processes, self.sync_batchnorm = epochs, processes, sync_batchnorm
        self.stops, self.stop = stops, stop
        self.portion: Portion | None = None
        epochs.may_be_empty = True

    @property
    def rows(self) -> int:
        """How many rows of this process have come in this epoch."""
        return self.epochs.rows

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.epochs)
        if not self.epochs.is_resumed:
            self.epochs.rows = 0
        while self.portion is None or not self._all_stop():
            found = self._planned(batches) if self.epochs.source.is_planned else self._told(batches)
            if found is None:
                break
            batch, rows, total = found
            self.portion = Portion(rows, total, self.processes.count, self.processes, self.sync_batchnorm)
            self.epochs.rows, self.epochs.last_rows = self.epochs.rows + rows, rows
            yield batch

    def _all_stop(self) -> bool:
        if self.stops is None or not self.processes.any(self.stops()):
            return False
        if self.stop is not None:
            self.stop()
        return True

    def _planned(self, batches: Iterator[Any]) -> tuple[Any, int, int] | None:
        batch = next(batches, None)
        if batch is None:
            return None
        place = self.epochs.place_in_pass
        return batch, self.epochs.source.rows_at(place, 0), self.epochs.source.total_at(place)

    def _told(self, batches: Iterator[Any]) -> tuple[Any, int, int] | None:
        """The next batch, how many of its rows count, and how many there are in all; `None` where nobody has any more.

        Raises `ValueError` where nobody ever had any.
        """
        batch, rows = next(batches, None), 0
        is_over = batch is None
        if not is_over:
            self.epochs.spare, rows = self._counted(batch)
        without = self.epochs.spare is None
        total, over, exhausted, bare = self.processes.total([rows, is_over, is_over and self.epochs.exhausted, without])
        if bare == self.processes.count:
            raise ValueError(NOTHING)
        if over == self.processes.count:
            self.epochs.exhausted = exhausted == over
            return None
        if bare:
            batches_of_all = self.processes.gathered(tree_map_only(torch.Tensor, lambda tensor: tensor.cpu(), self.epochs.spare))
            if without:
                borrowed = next(batch for batch in batches_of_all if batch is not None)
                self.epochs.spare = tree_map_only(torch.Tensor, lambda tensor: tensor.to(self.epochs.source.device), borrowed)
        return self.epochs.spare, rows, int(total)

    def _counted(self, batch: Any) -> tuple[Any, int]:
        """A batch without the rows that are repeats, and how many are left; one of repeats alone stays, and counts nothing."""
        came = samples_of(batch)
        rows = self.epochs.source.rows_at(self.epochs.place_in_pass, came)
        return first_rows(batch, rows) if 0 < rows < came else batch, rows
