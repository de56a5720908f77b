"""Questions to a drawing, in the module where Keras has them."""

from typing import Any

from torchkeras_fn.engine.symbolic import KerasTensor, symbolic_leaves


def get_source_inputs(tensor: Any) -> list[KerasTensor]:
    """Return the inputs that a symbolic tensor, or several in a list, were drawn from, as a network does that is given an `input_tensor`.

    Each comes once, in the order in which the drawing first needs them. An input is its own source. Raises `ValueError` where nothing
    is symbolic.

    >>> from torchkeras_fn import Input
    >>> x = Input(shape=(2,), name="pixels")
    >>> [source.name for source in get_source_inputs(x * 2 + x)]
    ['pixels']
    """
    waiting = symbolic_leaves(tensor)[::-1]
    if not waiting:
        raise ValueError(f"get_source_inputs() takes a symbolic tensor, got {type(tensor).__name__}. Draw one from Input(shape=...).")
    seen: dict[KerasTensor, bool] = {}
    while waiting:
        source = waiting.pop()
        if source not in seen:
            seen[source] = not source.node.parents
            waiting.extend(reversed(source.node.parents))
    return [source for source, is_input in seen.items() if is_input]
