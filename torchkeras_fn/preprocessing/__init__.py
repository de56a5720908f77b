"""Data made ready for models, where Keras 2 programs look for it."""

from torchkeras_fn.absent import preparation as __getattr__  # noqa: F401 - Python asks it for names that are not here
from torchkeras_fn.preprocessing import sequence
from torchkeras_fn.preprocessing.sequence import TimeseriesGenerator, pad_sequences

__all__ = ["TimeseriesGenerator", "pad_sequences", "sequence"]
