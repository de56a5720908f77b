"""What `fit` is told of its epochs, and of the data that it validates on."""

from collections.abc import Collection
from numbers import Integral
from typing import Any

from torchkeras_fn.arguments import positive_integer
from torchkeras_fn.engine.data import is_batches


def check_epochs(epochs: Any, initial_epoch: Any, validation_freq: Any) -> None:
    """Raise, before anything is done, for what cannot be a number of epochs.

    >>> check_epochs(3, initial_epoch=0, validation_freq=[1, 3])
    """
    positive_integer(epochs, "epochs", minimum=0)
    positive_integer(initial_epoch, "initial_epoch", minimum=0)
    if isinstance(validation_freq, Integral):
        positive_integer(validation_freq, "validation_freq")
    elif not isinstance(validation_freq, Collection) or isinstance(validation_freq, str):
        raise TypeError(f"validation_freq is a number of epochs, or a list of the epochs to validate after; got {validation_freq!r}.")


def is_due(epoch: int, validation_freq: Any) -> bool:
    """Return whether there is a validation after this epoch: every so many epochs, or after those listed, counted from 1.

    >>> [is_due(epoch, 2) for epoch in range(3)], [is_due(epoch, [1, 3]) for epoch in range(3)]
    ([False, True, False], [True, False, True])
    """
    if isinstance(validation_freq, Integral):
        return (epoch + 1) % validation_freq == 0
    return epoch + 1 in validation_freq


def parts_of_validation(data: Any) -> tuple[Any, Any, Any]:
    """Return `(x, y, sample_weight)` of what came as `validation_data`. Raises `ValueError` for another number of parts.

    >>> parts_of_validation((1, 2))
    (1, 2, None)
    """
    if is_batches(data):
        return data, None, None
    if not isinstance(data, (list, tuple)) or len(data) not in (2, 3):
        count = f"{len(data)} parts" if isinstance(data, (list, tuple)) else f"a {type(data).__name__}"
        raise ValueError(f"validation_data is (x, y), (x, y, sample_weight), or something that gives batches; got {count}.")
    x, y, *weight = data
    return x, y, weight[0] if weight else None
