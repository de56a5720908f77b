"""Time series as batches of windows, and lists of steps as arrays, where Keras 2 programs look for it."""

from typing import Any

import numpy as np

from torchkeras_fn.arguments import positive_integer
from torchkeras_fn.utils.sequence import Sequence
from torchkeras_fn.utils.sequence_utils import pad_sequences

__all__ = ["TimeseriesGenerator", "pad_sequences"]


class TimeseriesGenerator(Sequence):
    """Batches of windows of `length` steps of `data`, each with the entry of `targets` at the step that follows it.

    `data` is an array `(steps, ...)` and `targets` one of as many steps. Windows end before the steps from `start_index + length`
    to `end_index`, every `stride` of them, and hold every `sampling_rate`-th step, the last one first if `reverse`. With `shuffle` the
    windows of a batch are drawn at random, with replacement. Raises `ValueError` for targets of another length, or where no window fits.

    >>> inputs, targets = TimeseriesGenerator(np.arange(6), np.arange(6) * 10, length=2, batch_size=3)[0]
    >>> inputs.tolist(), targets.tolist()
    ([[0, 1], [1, 2], [2, 3]], [20, 30, 40])
    """

    def __init__(
        self,
        data: Any,
        targets: Any,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        shuffle: bool = False,
        reverse: bool = False,
        batch_size: int = 128,
    ):
        super().__init__()
        if len(data) != len(targets):
            raise ValueError(f"'data' and 'targets' must have as many steps, got {len(data)} and {len(targets)}.")
        self.data, self.targets = np.asarray(data), np.asarray(targets)
        self.length = positive_integer(length, "length")
        self.sampling_rate = positive_integer(sampling_rate, "sampling_rate")
        self.stride = positive_integer(stride, "stride")
        self.batch_size = positive_integer(batch_size, "batch_size")
        self.start_index = start_index + length
        self.end_index = len(data) - 1 if end_index is None else end_index
        self.shuffle, self.reverse = shuffle, reverse
        if not self.length <= self.start_index <= self.end_index < len(data):
            raise ValueError(
                f"No window of {length} steps is followed by a step between {start_index} and {self.end_index} of {len(data)}. "
                "Give a smaller 'length', or another 'start_index' and 'end_index'."
            )

    def __len__(self) -> int:
        return (self.end_index - self.start_index) // (self.batch_size * self.stride) + 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self.shuffle:
            ends = np.random.randint(self.start_index, self.end_index + 1, size=self.batch_size)
        else:
            first = self.start_index + self.batch_size * self.stride * index
            ends = np.arange(first, min(first + self.batch_size * self.stride, self.end_index + 1), self.stride)
        offsets = np.arange(-self.length, 0, self.sampling_rate)
        return self.data[ends[:, None] + (offsets[::-1] if self.reverse else offsets)], self.targets[ends]
