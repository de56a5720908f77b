"""A batch as `(x, y, sample_weight)`, however much of it is given."""

from typing import Any


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """Return inputs, targets and sample weights of a batch, `None` for what it does not have.

    This is how a `train_step(batch)` of your own reads its batch. Raises `ValueError` for a tuple or list of more than three.

    >>> unpack_x_y_sample_weight(([1.0], [0]))
    ([1.0], [0], None)
    """
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(f"A batch is x, (x,), (x, y) or (x, y, sample_weight), got {len(data)} of them.")
    x, y, sample_weight = (*data, None, None)[:3]
    return x, y, sample_weight


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Return a batch of what is not `None`: `x` alone (as `(x,)` where it is a tuple or list), `(x, y)`, or `(x, y, sample_weight)`.

    >>> pack_x_y_sample_weight(1.0, 0)
    (1.0, 0)
    """
    if y is None:
        return (x,) if isinstance(x, (tuple, list)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)
