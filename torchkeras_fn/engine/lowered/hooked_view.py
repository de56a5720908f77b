"""`HookedView`: a view of a model that runs inside a call of the model, for the sake of the hooks that are registered on the model itself.

A view without them runs the layers alone, so that a model nobody looks at pays nothing for its hooks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torchkeras_fn.engine.basics.structure import Structure, listed, nested


class HookedView:
    """A view, which has a `run` and can be asked whether it is watched, of a model whose hooks see what it runs on and what it returns.

    What hooks on the model return in place of its inputs or outputs counts. A `training` view returns the predictions
    first and what only training needs behind them, which hooks do not see.

    >>> import torch
    >>> from torchkeras_fn import Model
    >>> from torchkeras_fn.layers import Activation, Input
    >>> x = Input(shape=(3,))
    >>> model = Model(x, Activation("relu")(x))
    >>> handle = model.register_forward_hook(lambda model, inputs, outputs: outputs + 1)
    >>> model.predict(torch.zeros(1, 3), verbose=0)
    array([[1., 1., 1.]], dtype=float32)
    """

    def __init__(self, view: Any, model: Any, training: bool):
        self.module = view.module
        self._view, self._model, self._training = view, model, training

    def is_watched(self) -> bool:
        """Return that somebody has a say in what runs."""
        return True

    def run(self, *inputs: Any) -> Any:
        """Call the model on the inputs of its graph, and return what the view does."""
        model, further = self._model, list[Any]()

        def run(*given: Any) -> Any:
            outputs = self._view.run(*given)
            if not self._training:
                return outputs
            predictions, *others = outputs
            further[:] = others
            return _as_returned(model._output_structure, list(predictions))

        with _running(model, run):
            outputs = model(_as_returned(model._input_structure, list(inputs)))
        if not self._training:
            return outputs
        parts = listed(model._output_structure, outputs)
        return (tuple(parts) if isinstance(parts, (list, tuple)) else (parts,), *further)


def _as_returned(structure: Structure | None, parts: list[Any]) -> Any:
    return parts[0] if structure is None and len(parts) == 1 else nested(structure, parts)


@contextmanager
def _running(model: Any, run: Callable[..., Any]) -> Iterator[None]:
    """Let the model's `forward` run this in place of its graph."""
    model.__dict__["_running"] = run
    try:
        yield
    finally:
        del model.__dict__["_running"]
