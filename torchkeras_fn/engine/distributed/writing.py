"""Files that the first of several processes writes for all of them."""

import contextlib
from collections.abc import Callable
from typing import Any


def first_writes(model: Any, target: Any, write: Callable[[], Any]) -> None:
    """Write a file in the first of the processes that train a model together; the others return when it is written.

    The others wait for the first, and it waits for nobody. A file object is each process's own, and written to by each.
    Raises in the others `ProcessError` where the first raised. A model of which each process holds a part is put together
    before, for which the first waits for all.

    >>> first_writes(object(), "model.keras", lambda: print("written"))
    written
    """
    team, is_own = getattr(model, "_team", None), hasattr(target, "write")
    with contextlib.nullcontext() if team is None else model._assembled(is_own or team.is_first):
        if team is None or is_own:
            write()
        else:
            team.failures.once(write)
