"""Losses of embeddings: what belongs together is drawn together, what does not is pushed apart."""

from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn.alignment import as_tensor
from torchkeras_fn.arguments import number
from torchkeras_fn.losses.base import Loss


class Circle(Loss):
    """Circle loss of embeddings `(N, size)`, of length 1 each, whose targets `(N,)` or `(N, 1)` are class labels.

    Every embedding is compared with all others of the batch. `gamma` is the scale, `margin` how far apart similarities of one
    class and of two should be. `remove_diagonal` leaves out the pair of an embedding with itself. A mean is one over the samples
    whose loss is above 0. Formula: Sun et al., 2020, https://arxiv.org/abs/2002.10857

    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> Circle(gamma=1.0, reduction="none")([0, 0, 1], embeddings)
    tensor([0.5459, 0.5459, 0.0000])
    """

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.gamma = number(gamma, "gamma")
        self.margin = number(margin, "margin")
        self.remove_diagonal = bool(remove_diagonal)

    def align(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the labels as `(N,)`. Raises `ValueError` for shapes that are no labels and embeddings."""
        if y_pred.ndim != 2 or y_true.shape not in (y_pred.shape[:1], (*y_pred.shape[:1], 1)):
            shapes = f"{tuple(y_true.shape)} and {tuple(y_pred.shape)}"
            raise ValueError(f"Circle loss takes labels (N,) or (N, 1) and embeddings (N, size), got shapes {shapes}.")
        return y_true.reshape(-1).long()

    def valid(self, y_true: torch.Tensor, values: torch.Tensor) -> torch.Tensor | None:
        """Return which samples have a loss above 0."""
        return values > 0

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the loss of each sample."""
        return self.against(y_true, y_pred, y_true, y_pred)

    def against(self, labels: Any, embeddings: Any, other_labels: Any, other_embeddings: Any) -> torch.Tensor:
        """Return the loss of each embedding, compared with others."""
        distances = (1 - embeddings @ other_embeddings.T).clamp(min=0)
        alike = labels.unsqueeze(1) == other_labels.unsqueeze(0)
        pairs = alike
        if self.remove_diagonal:
            pairs = alike & ~torch.eye(*alike.shape, dtype=torch.bool, device=alike.device)
        near = self.gamma * (distances + self.margin).clamp(min=0) * (distances - self.margin)
        far = self.gamma * (1 + self.margin - distances).clamp(min=0) * (1 - self.margin - distances)
        near, far = (torch.where(chosen, terms, -torch.inf).logsumexp(1) for chosen, terms in ((pairs, near), (~alike, far)))
        return F.softplus(near + far)


def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> torch.Tensor:
    """Return the circle loss of each embedding: see `Circle`. It is compared with `ref_embeddings`, or else with the batch.

    >>> circle([0, 0, 1], torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), gamma=1.0)
    tensor([0.5459, 0.5459, 0.0000])
    """
    loss = Circle(gamma, margin, remove_diagonal)
    y_pred = as_tensor(y_pred)
    labels, embeddings = loss.prepare(as_tensor(y_true, y_pred), y_pred)
    others = embeddings if ref_embeddings is None else as_tensor(ref_embeddings, y_pred).to(embeddings.dtype)
    other_labels = labels if ref_labels is None else loss.align(as_tensor(ref_labels, y_pred), others)
    return loss.against(labels, embeddings, other_labels, others)
