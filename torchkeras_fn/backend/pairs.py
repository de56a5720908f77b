"""Functions whose arguments Keras 2 calls otherwise than `ops` does: two tensors are `x` and `y`, classes are `indices`."""

from typing import Any

from torchkeras_fn import ops


def equal(x: Any, y: Any) -> Any:
    """Return where both are the same.

    >>> equal([1, 2], y=2)
    tensor([False,  True])
    """
    return ops.equal(x, y)


def not_equal(x: Any, y: Any) -> Any:
    """Return where both differ.

    >>> not_equal([1, 2], y=2)
    tensor([ True, False])
    """
    return ops.not_equal(x, y)


def greater(x: Any, y: Any) -> Any:
    """Return where the first is larger.

    >>> greater([1, 3], y=2)
    tensor([False,  True])
    """
    return ops.greater(x, y)


def greater_equal(x: Any, y: Any) -> Any:
    """Return where the first is as large, or larger.

    >>> greater_equal([1, 2], y=2)
    tensor([False,  True])
    """
    return ops.greater_equal(x, y)


def less(x: Any, y: Any) -> Any:
    """Return where the first is smaller.

    >>> less([1, 3], y=2)
    tensor([ True, False])
    """
    return ops.less(x, y)


def less_equal(x: Any, y: Any) -> Any:
    """Return where the first is as small, or smaller.

    >>> less_equal([2, 3], y=2)
    tensor([ True, False])
    """
    return ops.less_equal(x, y)


def maximum(x: Any, y: Any) -> Any:
    """Return the larger of two, element by element.

    >>> maximum([1.0, 4.0], y=2)
    tensor([2., 4.])
    """
    return ops.maximum(x, y)


def minimum(x: Any, y: Any) -> Any:
    """Return the smaller of two, element by element.

    >>> minimum([1.0, 4.0], y=2)
    tensor([1., 2.])
    """
    return ops.minimum(x, y)


def pow(x: Any, a: Any) -> Any:
    """Return `x` to the power of `a`.

    >>> pow([1.0, 3.0], a=2)
    tensor([1., 9.])
    """
    return ops.power(x, a)


def dot(x: Any, y: Any) -> Any:
    """Return the sums of products over the last axis of one and the last but one (or only) axis of the other.

    >>> dot([[1.0, 2.0]], y=[[3.0], [4.0]])
    tensor([[11.]])
    """
    return ops.dot(x, y)


def one_hot(indices: Any, num_classes: int) -> Any:
    """Return a row for each class index, with a one there and zeros elsewhere.

    >>> one_hot(indices=[0, 2], num_classes=3)
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    return ops.one_hot(indices, num_classes)


def stop_gradient(variables: Any) -> Any:
    """Return the same values, through which no gradient flows; of a list, each.

    >>> stop_gradient(variables=ops.ones((1,)))
    tensor([1.])
    """
    return ops.stop_gradient(variables)
