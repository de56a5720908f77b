"""Data made ready for models, where Keras 2 programs look for it."""

from torchkeras_fn.preprocessing import sequence
from torchkeras_fn.preprocessing.sequence import pad_sequences

__all__ = ["pad_sequences", "sequence"]
