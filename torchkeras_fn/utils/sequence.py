"""`Sequence`: data as a list of batches that are made when they are asked for."""

import sys
from collections.abc import Iterator
from typing import Any

_OPTIONS = ("workers", "use_multiprocessing", "max_queue_size")


class Sequence:
    """A base for data that is read batch by batch. Define `__len__`, and `__getitem__`, which returns a batch.

    A batch is `(x, y)` or `(x, y, sample_weight)`. Each is used exactly once an epoch, in a new order if `shuffle`,
    by as many threads or processes as asked for; `on_epoch_end` is called after each epoch, and `on_epoch_begin`, if there is one,
    before it. As in Keras 3, `num_batches` may say the length: `None` is endless, and batches are then asked for in order.

    >>> class Squares(Sequence):
    ...     def __len__(self):
    ...         return 2
    ...     def __getitem__(self, index):
    ...         return [index], [index**2]
    >>> list(Squares())
    [([0], [0]), ([1], [1])]
    """

    workers = 1
    use_multiprocessing = False
    max_queue_size = 10

    def __init__(self, **options: Any):
        """Take Keras 3's `workers`, `use_multiprocessing` and `max_queue_size`, which `fit` then uses."""
        unknown = options.keys() - set(_OPTIONS)
        if unknown:
            raise TypeError(f"A Sequence takes workers, use_multiprocessing and max_queue_size, got {sorted(unknown)}.")
        vars(self).update(options)

    @property
    def loading_options(self) -> dict[str, Any]:
        """The options that were given or set, and not left to `fit`."""
        return {name: vars(self)[name] for name in _OPTIONS if name in vars(self)}

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        if not hasattr(self, "num_batches"):
            raise NotImplementedError(f"{type(self).__name__} needs a __len__: the number of batches in an epoch.")
        return sys.maxsize if self.num_batches is None else int(self.num_batches)

    def __getitem__(self, index: int) -> Any:
        """Return the batch at `index`."""
        raise NotImplementedError(f"{type(self).__name__} needs a __getitem__(index), which returns a batch.")

    def on_epoch_end(self) -> None:
        """React to the end of an epoch, for example by putting the samples into a new order."""

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))
