"""What torch says of an index that an embedding has no row for, with the name of the embedding and the index."""

from typing import Any

import torch.nn.functional as F
from torch import nn


def explain_index(error: Any, module: nn.Module) -> None:
    """Raise `IndexError` with the name, the index and the range where an embedding in the module is what was behind an error.

    torch looks at the indices where they are on the CPU. Nothing is asked of a step that has no error.

    >>> import torch
    >>> embedding = nn.Sequential(nn.Embedding(5, 2))
    >>> try:
    ...     embedding(torch.tensor([[1, 7]]))
    ... except IndexError as error:
    ...     explain_index(error, embedding)
    Traceback (most recent call last):
        ...
    IndexError: The embedding '0' has rows for the indices 0 to 4, and was given 7. Its input_dim is to be larger than every index.
    """
    frame = None
    trace = error.__traceback__ if isinstance(error, IndexError) else None
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
    if frame is None or frame.f_code is not F.embedding.__code__:
        return
    indices, weight = frame.f_locals["input"], frame.f_locals["weight"]
    strange = indices[(indices < 0) | (indices >= len(weight))]
    name = next((name for name, parameter in module.named_parameters() if parameter is weight), "").rpartition(".")[0]
    if len(strange):
        raise IndexError(
            f"The embedding {name!r} has rows for the indices 0 to {len(weight) - 1}, and was given {int(strange[0])}. "
            "Its input_dim is to be larger than every index."
        ) from error
