"""Losses of sequences that are not aligned step by step."""

from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn.losses.base import Loss


class CTC(Loss):
    """Connectionist temporal classification: minus the log-likelihood of label sequences, over all ways to lay them along the steps.

    Targets are class indices `(batch, longest)`, of which 0 is the blank and pads the end; predictions are logits
    `(batch, steps, classes)`. Where the steps are too few for the labels the loss is infinite. Raises `ValueError` for other shapes.
    Formula: Graves et al., 2006, https://www.cs.toronto.edu/~graves/icml_2006.pdf

    >>> CTC()([[1, 0]], torch.zeros(1, 1, 2))
    tensor(0.6931)
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "ctc", dtype: Any = None):
        super().__init__(name, reduction, dtype)

    def align(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the labels as integers. Raises `ValueError` for shapes that are no labels and logits."""
        if y_true.ndim != 2 or y_pred.ndim != 3 or len(y_true) != len(y_pred):
            shapes = f"{tuple(y_true.shape)} and {tuple(y_pred.shape)}"
            raise ValueError(f"CTC takes labels (batch, longest) and logits (batch, steps, classes), got shapes {shapes}.")
        return y_true.long()

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the loss of each sequence."""
        precise = torch.promote_types(y_pred.dtype, torch.float32)  # torch has no kernel for shorter types
        logarithms = torch.log_softmax(y_pred, -1, dtype=precise).transpose(0, 1)
        steps = torch.full((len(y_pred),), y_pred.shape[1])  # on the CPU, where torch's kernel wants it
        return F.ctc_loss(logarithms, y_true, steps, (y_true != 0).sum(-1), reduction="none").to(y_pred.dtype)
