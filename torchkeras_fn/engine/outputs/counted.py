"""`Counted`: a view of a model none of whose outputs has rows, as where a layer computes the loss: its inputs tell how many there were."""

from typing import Any


class Counted:
    """A view, which has a `run` and can be asked whether it is watched, that notes the `rows` of its inputs in an objective.

    >>> import numpy as np
    >>> from torchkeras_fn import Model
    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,))
    >>> loss = Dense(1, kernel_initializer="ones")(x).mean()
    >>> model = Model(x, loss)
    >>> model.add_loss(loss)
    >>> model.compile("sgd", loss=None)
    >>> model.evaluate(np.ones((5, 3)), batch_size=4, verbose=0)
    3.0
    """

    def __init__(self, view: Any, objective: Any):
        self.module, self.is_watched = view.module, view.is_watched
        self._view, self._objective = view, objective

    def run(self, *inputs: Any) -> Any:
        """Return what the view does."""
        self._objective.rows = rows_in(inputs)
        return self._view.run(*inputs)


def rows_in(inputs: Any) -> int | None:
    """Return how many rows inputs have; `None` where there is no tensor among them.

    >>> import torch
    >>> rows_in([{"a": torch.ones(3, 2)}])
    3
    """
    if hasattr(inputs, "shape"):
        return inputs.shape[0] if len(inputs.shape) else None
    parts = inputs.values() if hasattr(inputs, "values") else inputs if isinstance(inputs, (list, tuple)) else ()
    return next((rows for rows in map(rows_in, parts) if rows is not None), None)
