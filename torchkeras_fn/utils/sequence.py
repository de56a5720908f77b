"""`Sequence`: data as a list of batches that are made when they are asked for."""

from collections.abc import Iterator
from typing import Any


class Sequence:
    """A base for data of a known number of batches. Define `__len__`, and `__getitem__`, which returns a batch.

    A batch is `(x, y)` or `(x, y, sample_weight)`. Each is used exactly once an epoch, in a new order if `shuffle`,
    by as many threads or processes as asked for; `on_epoch_end` is called after each epoch.

    >>> class Squares(Sequence):
    ...     def __len__(self):
    ...         return 2
    ...     def __getitem__(self, index):
    ...         return [index], [index**2]
    >>> list(Squares())
    [([0], [0]), ([1], [1])]
    """

    def __init__(self, **options: Any):
        """Take Keras 3's `workers`, `use_multiprocessing` and `max_queue_size`, which `fit` then uses."""
        unknown = options.keys() - {"workers", "use_multiprocessing", "max_queue_size"}
        if unknown:
            raise TypeError(f"A Sequence takes workers, use_multiprocessing and max_queue_size, got {sorted(unknown)}.")
        self.loading_options = options

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        raise NotImplementedError(f"{type(self).__name__} needs a __len__: the number of batches in an epoch.")

    def __getitem__(self, index: int) -> Any:
        """Return the batch at `index`."""
        raise NotImplementedError(f"{type(self).__name__} needs a __getitem__(index), which returns a batch.")

    def on_epoch_end(self) -> None:
        """React to the end of an epoch, for example by putting the samples into a new order."""

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))
