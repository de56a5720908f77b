"""Numbers too small for full precision: a CPU computes with them up to a hundred times more slowly than with others.

Where a unit no longer learns, as behind a ReLU that is always off, the optimizer's running means of its gradients shrink to
such numbers and stay there, and each further step takes twice its time. Taken as 0 they change no weight that can be seen.
"""

import torch

_TINY = 1e-310
"""Too small for full precision, as a Python float."""


def flush() -> bool:
    """Let this thread take such numbers as 0 from now on; return whether it did not do so before, and so is to be set back.

    >>> started = flush()
    >>> flush()
    False
    >>> if started: restore()
    """
    return _TINY * 0.5 != 0.0 and torch.set_flush_denormal(True)


def restore() -> None:
    """Let this thread compute with such numbers again."""
    torch.set_flush_denormal(False)
