"""Lists of steps as arrays: `utils.pad_sequences`, where Keras 2 programs look for it."""

from torchkeras_fn.utils.sequence_utils import pad_sequences

__all__ = ["pad_sequences"]
