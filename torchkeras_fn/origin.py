"""Whether a class or function is this library's own, of which all is known, or a user's, which may do anything."""

from typing import Any

_HERE = __name__.partition(".")[0]


def is_ours(definition: Any) -> bool:
    """Return whether a class, a function or a method is defined in this library.

    >>> from torchkeras_fn.losses import MeanSquaredError
    >>> is_ours(MeanSquaredError), is_ours(MeanSquaredError.call), is_ours(len)
    (True, True, False)
    """
    return str(getattr(definition, "__module__", None)).partition(".")[0] == _HERE
