"""Matrices as products of simpler ones."""

from typing import Any

import torch

from torchkeras_fn.ops.conversion import as_floats


def cholesky(x: Any, upper: bool = False) -> Any:
    """Return the lower (or upper) triangular matrix that times its transpose makes `x`.

    >>> cholesky([[4.0]])
    tensor([[2.]])
    """
    found = torch.linalg.cholesky(as_floats(x))
    return torch.swapaxes(found, -1, -2) if upper else found


def cholesky_inverse(x: Any, upper: bool = False) -> Any:
    """Return the inverse of the matrix of which `cholesky` made `x`.

    >>> cholesky_inverse([[2.0]])
    tensor([[0.2500]])
    """
    return torch.cholesky_inverse(as_floats(x), upper=upper)


def qr(x: Any, mode: str = "reduced") -> Any:
    """Return an orthonormal and an upper triangular matrix whose product is `x`.

    >>> [part.shape for part in qr(torch.eye(3))]
    [torch.Size([3, 3]), torch.Size([3, 3])]
    """
    return tuple(torch.linalg.qr(as_floats(x), mode))


def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Return the singular value decomposition `(U, s, Vh)`, or the singular values alone.

    >>> svd(torch.eye(2), compute_uv=False)
    tensor([1., 1.])
    """
    x = as_floats(x)
    return tuple(torch.linalg.svd(x, full_matrices)) if compute_uv else torch.linalg.svdvals(x)


def eigh(x: Any) -> Any:
    """Return the eigenvalues of symmetric matrices, ascending, and their eigenvectors in columns.

    >>> eigh([[2.0, 0.0], [0.0, 1.0]])[0]
    tensor([1., 2.])
    """
    return tuple(torch.linalg.eigh(as_floats(x)))


def eig(x: Any) -> Any:
    """Return the eigenvalues of matrices, in no order, and their eigenvectors in columns: complex numbers.

    >>> eig([[2.0, 0.0], [0.0, 1.0]])[0]
    tensor([2.+0.j, 1.+0.j])
    """
    return tuple(torch.linalg.eig(as_floats(x)))


def lu_factor(x: Any) -> Any:
    """Return a lower and an upper triangular matrix in one, whose product is `x`, and which row each one was swapped with.

    >>> lu_factor([[0.0, 1.0], [2.0, 4.0]])[1]
    tensor([1, 1], dtype=torch.int32)
    """
    factors, swapped = torch.linalg.lu_factor(as_floats(x))
    return factors, swapped - 1
