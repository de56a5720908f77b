"""Products of matrices and tensors, norms, and what solves equations."""

from collections.abc import Sequence
from typing import Any

import torch

from torchkeras_fn.ops.conversion import as_floats, as_tensor, as_tensors, axes_of
from torchkeras_fn.ops.creation import arange
from torchkeras_fn.ops.factors import cholesky, cholesky_inverse, eig, eigh, lu_factor, qr, svd  # noqa: F401 - Keras has them here, too


def matmul(x1: Any, x2: Any) -> Any:
    """Return the product of matrices, over leading axes that are broadcast.

    >>> matmul([[1.0, 2.0]], [[3.0], [4.0]])
    tensor([[11.]])
    """
    return torch.matmul(*_alike(x1, x2))


def dot(x1: Any, x2: Any) -> Any:
    """Return the sums of products over the last axis of one and the last but one (or only) axis of the other.

    >>> dot(torch.ones(2, 3, 4), torch.ones(4, 5)).shape
    torch.Size([2, 3, 5])
    """
    x1, x2 = _alike(x1, x2)
    if x1.ndim == 0 or x2.ndim == 0:
        return x1 * x2
    return torch.matmul(x1, x2) if x2.ndim <= 2 else torch.tensordot(x1, x2, dims=([x1.ndim - 1], [x2.ndim - 2]))


def _alike(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Two tensors of one dtype, that to which torch would promote them."""
    x1, x2 = as_tensors(x1, x2)
    dtype = torch.promote_types(x1.dtype, x2.dtype)
    return as_tensor(x1, dtype), as_tensor(x2, dtype)


def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """Return the sums of products over the last and first `axes` axes, or over those in two lists.

    >>> tensordot(torch.ones(2, 3), torch.ones(3, 4), axes=1).shape
    torch.Size([2, 4])
    """
    pairs = axes if isinstance(axes, int) else [[one] if isinstance(one, int) else list(one) for one in axes]
    return torch.tensordot(*_alike(x1, x2), dims=pairs)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Return the sums of products that the letters describe.

    >>> einsum("ij,ij->i", torch.ones(2, 3), torch.ones(2, 3))
    tensor([3., 3.])
    """
    return torch.einsum(subscripts, *map(as_tensor, operands))


def inner(x1: Any, x2: Any) -> Any:
    """Return the sums of products over the last axes of both.

    >>> inner([1.0, 2.0], [3.0, 4.0])
    tensor(11.)
    """
    return torch.inner(*_alike(x1, x2))


def outer(x1: Any, x2: Any) -> Any:
    """Return the product of every element of one with every element of the other.

    >>> outer([1.0, 2.0], [3.0, 4.0])
    tensor([[3., 4.],
            [6., 8.]])
    """
    x1, x2 = as_tensors(x1, x2)
    return torch.outer(torch.flatten(x1), torch.flatten(x2))


def vdot(x1: Any, x2: Any) -> Any:
    """Return the sum of products of all elements.

    >>> vdot([1.0, 2.0], [3.0, 4.0])
    tensor(11.)
    """
    x1, x2 = _alike(x1, x2)
    return torch.vdot(torch.flatten(x1), torch.flatten(x2))


def cross(x1: Any, x2: Any, *, axis: int = -1) -> Any:
    """Return the vectors at right angles to two others.

    >>> cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    tensor([0., 0., 1.])
    """
    return torch.linalg.cross(*_alike(x1, x2), dim=axis)


def kron(x1: Any, x2: Any) -> Any:
    """Return the Kronecker product.

    >>> kron([1.0, 2.0], [1.0, 1.0])
    tensor([1., 1., 2., 2.])
    """
    return torch.kron(*as_tensors(x1, x2))


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return the sum along a diagonal.

    >>> trace([[1.0, 2.0], [3.0, 4.0]])
    tensor(5.)
    """
    return torch.sum(diagonal(x, offset, axis1, axis2), -1)


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return the elements of a diagonal, `offset` above the main one.

    >>> diagonal([[1.0, 2.0], [3.0, 4.0]])
    tensor([1., 4.])
    """
    return torch.diagonal(as_tensor(x), offset, axis1, axis2)


def diag(x: Any, k: int = 0) -> Any:
    """Return the matrix with `x` on a diagonal, or the diagonal of a matrix.

    >>> diag([1.0, 2.0])
    tensor([[1., 0.],
            [0., 2.]])
    """
    return torch.diag(as_tensor(x), k)


def diagflat(x: Any, k: int = 0) -> Any:
    """Return the matrix with all elements of `x` on a diagonal.

    >>> diagflat([[1.0], [2.0]])
    tensor([[1., 0.],
            [0., 2.]])
    """
    return torch.diag(torch.flatten(as_tensor(x)), k)


def tril(x: Any, k: int = 0) -> Any:
    """Return `x` with zeros above the `k`-th diagonal.

    >>> tril([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 0.],
            [3., 4.]])
    """
    return torch.tril(as_tensor(x), k)


def triu(x: Any, k: int = 0) -> Any:
    """Return `x` with zeros below the `k`-th diagonal.

    >>> triu([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [0., 4.]])
    """
    return torch.triu(as_tensor(x), k)


def norm(x: Any, ord: Any = None, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Return the length of vectors, or the norm of matrices over two axes; `ord` is numpy's.

    >>> norm([3.0, 4.0])
    tensor(5.)
    """
    return torch.linalg.norm(as_floats(x), ord, axes_of(axis), keepdims)


def inv(x: Any) -> Any:
    """Return the inverse of matrices.

    >>> inv([[2.0, 0.0], [0.0, 4.0]])
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return torch.linalg.inv(as_floats(x))


def pinv(x: Any, rcond: float | None = None) -> Any:
    """Return the pseudo-inverse of matrices; singular values of at most the share `rcond` of the largest one are taken as 0.

    >>> pinv([[2.0], [0.0]])
    tensor([[0.5000, 0.0000]])
    """
    return torch.linalg.pinv(as_floats(x)) if rcond is None else torch.linalg.pinv(as_floats(x), rtol=rcond)


def det(x: Any) -> Any:
    """Return the determinant of matrices.

    >>> det([[2.0, 0.0], [0.0, 4.0]])
    tensor(8.)
    """
    return torch.linalg.det(as_floats(x))


def slogdet(x: Any) -> Any:
    """Return the sign and the logarithm of the absolute value of the determinant of matrices.

    >>> slogdet([[1.0, 0.0], [0.0, -1.0]])[0]
    tensor(-1.)
    """
    return tuple(torch.linalg.slogdet(as_floats(x)))


def logdet(x: Any) -> Any:
    """Return the logarithm of the determinant of matrices.

    >>> logdet([[1.0, 0.0], [0.0, 1.0]])
    tensor(0.)
    """
    return torch.logdet(as_floats(x))


def solve(a: Any, b: Any) -> Any:
    """Return what multiplied by the matrices `a` makes `b`.

    >>> solve([[2.0]], [[4.0]])
    tensor([[2.]])
    """
    return torch.linalg.solve(*_alike(a, b))


def solve_triangular(a: Any, b: Any, lower: bool = False) -> Any:
    """Return what multiplied by the triangular matrices `a`, of which only that half is read, makes `b`.

    >>> solve_triangular([[2.0, 0.0], [1.0, 1.0]], [2.0, 3.0], lower=True)
    tensor([1., 2.])
    """
    a, b = map(as_floats, _alike(a, b))
    if b.ndim == a.ndim - 1:
        return torch.squeeze(torch.linalg.solve_triangular(a, torch.unsqueeze(b, -1), upper=not lower), -1)
    return torch.linalg.solve_triangular(a, b, upper=not lower)


def lstsq(a: Any, b: Any, rcond: float | None = None) -> Any:
    """Return what multiplied by the matrix `a` comes nearest to `b`, in the sum of squares; the shortest one where there are several.

    >>> lstsq([[1.0], [1.0]], [1.0, 3.0]).round(decimals=4)
    tensor([2.])
    """
    a, b = _alike(a, b)
    return torch.matmul(pinv(a, rcond), as_floats(b))


def matrix_rank(x: Any, tol: float | None = None) -> Any:
    """Return how many singular values of matrices are larger than `tol`, or than what rounding makes of 0.

    >>> matrix_rank([[1.0, 1.0], [1.0, 1.0]])
    tensor(1)
    """
    return torch.linalg.matrix_rank(as_floats(x)) if tol is None else torch.linalg.matrix_rank(as_floats(x), atol=tol, rtol=0.0)


def cdist(x: Any, y: Any) -> Any:
    """Return the distance of each row of one from each row of the other.

    >>> cdist([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]])
    tensor([[5., 1.]])
    """
    return torch.cdist(*map(as_floats, _alike(x, y)))


def corrcoef(x: Any) -> Any:
    """Return the correlation of each row with each row.

    >>> corrcoef([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    x = as_floats(x)
    rows = torch.atleast_2d(x)
    rows = rows - torch.mean(rows, -1, keepdim=True)
    products = torch.matmul(rows, torch.transpose(rows, 0, 1))
    lengths = torch.sqrt(torch.diagonal(products))
    found = torch.clamp(products / torch.unsqueeze(lengths, 1) / lengths, -1, 1)
    return found if x.ndim > 1 else found[0, 0]


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Return the powers of each element up to, or in ascending order from, that of 0, `N` of them in a row.

    >>> vander([2.0, 3.0], 3)
    tensor([[4., 2., 1.],
            [9., 3., 1.]])
    """
    x = as_tensor(x)
    exponents = arange(x.size(0) if N is None else N, dtype="int64")
    return torch.pow(torch.unsqueeze(x, -1), exponents if increasing else torch.flip(exponents, (0,)))


def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """Return the area under the lines between neighbours along an axis, which stand at `x`, or `dx` apart.

    >>> trapezoid([1.0, 3.0, 1.0])
    tensor(4.)
    """
    y = as_floats(y)
    return torch.trapezoid(y, dx=dx, dim=axis) if x is None else torch.trapezoid(y, as_tensor(x, like=y), dim=axis)
