"""What constructors check of the arguments they are given, so that a mistake is told where it was made."""

import math
import numbers
from collections.abc import Sequence
from typing import Any


def number(value: Any, argument: str, minimum: float = -math.inf) -> float:
    """Return `value` as a float. Raises `ValueError` that names the argument where it is not finite or below `minimum`.

    >>> number(2, "stddev", minimum=0)
    2.0
    >>> number(-1, "stddev", minimum=0)
    Traceback (most recent call last):
        ...
    ValueError: 'stddev' must be a finite number of at least 0, got -1.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value < minimum:
        at_least = "" if minimum == -math.inf else f" of at least {minimum}"
        raise ValueError(f"{argument!r} must be a finite number{at_least}, got {value!r}.")
    return float(value)


def fraction(value: Any, argument: str) -> float:
    """Return `value` as a float. Raises `ValueError` that names the argument where it is not between 0 and 1.

    >>> fraction(0.1, "label_smoothing")
    0.1
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) <= 1:
        raise ValueError(f"{argument!r} must be between 0 and 1, got {value!r}.")
    return float(value)


def integer(value: Any, argument: str) -> int:
    """Return `value` as an integer, which may be negative. Raises `ValueError` that names the argument where it is none.

    >>> integer(-1, "axis")
    -1
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{argument!r} must be an integer, got {value!r}.")
    return int(value)


def one_of(value: Any, argument: str, *words: str) -> str:
    """Return `value`. Raises `ValueError` that names the argument and the words where it is none of them.

    >>> one_of("rows", "mode", "rows", "columns")
    'rows'
    """
    if value not in words:
        raise ValueError(f"{argument!r} must be one of {', '.join(map(repr, words))}; got {value!r}.")
    return str(value)


def sizes(value: Any, argument: str) -> tuple[int | None, ...]:
    """Return a shape, or the size of a single axis, as a tuple. Raises `ValueError` for a size that is no integer and not `None`.

    >>> sizes([3, None], "shape"), sizes(5, "shape")
    ((3, None), (5,))
    """
    axes = (value,) if isinstance(value, numbers.Integral) else value
    if not isinstance(axes, Sequence) or isinstance(axes, str):
        raise ValueError(f"{argument!r} must be a tuple of integers, or None for an unknown size; got {value!r}.")
    for size in axes:
        if size is not None and (isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 0):
            raise ValueError(f"{argument!r} must be a tuple of integers, or None for an unknown size; got {size!r} in {value!r}.")
    return tuple(None if size is None else int(size) for size in axes)


def positive_integer(value: Any, argument: str, minimum: int = 1) -> int:
    """Return `value` as an integer. Raises `ValueError` that names the argument where it is none or below `minimum`.

    >>> positive_integer(3, "units")
    3
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise ValueError(f"{argument!r} must be an integer of at least {minimum}, got {value!r}.")
    return int(value)


def seed_of(value: Any) -> int | None:
    """Return the seed of a layer's own random generator, `None` for none. Raises `ValueError` where it is no integer.

    >>> seed_of(7), seed_of(None)
    (7, None)
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
        raise ValueError(f"'seed' must be an integer or None, got {value!r}.")
    return None if value is None else int(value)
