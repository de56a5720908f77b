"""How the processes that `torchrun` starts find each other, also when it starts them again after one has failed.

All attempts share one store, and torch writes the same names into it each time, so that a process may read the address of
one that is dead: https://github.com/pytorch/pytorch/issues/135712. Here the processes of an attempt agree on a name first.
"""

import os
import secrets
import time
from typing import Any

import torch.distributed as dist

_PAUSE_SECONDS = 0.01


def join_group(backend: str | None) -> None:
    """Join torch's default group as the variables say that `torchrun` sets. A collective."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        dist.init_process_group(backend)
        return
    store, rank, count = next(dist.rendezvous("env://"))
    dist.init_process_group(backend, store=store_of_attempt(store, rank, count), rank=rank, world_size=count)


def store_of_attempt(store: Any, rank: int, count: int) -> dist.Store:
    """Return the part of a store that this attempt has to itself. A collective. Raises `RuntimeError` when the store's time is up.

    Who comes shows a token that nobody else has, and waits until the first process has seen it: a dead one cannot.

    >>> store_of_attempt(dist.HashStore(), 0, 1).num_keys() >= 0
    True
    """
    token = secrets.token_hex(8)
    if rank:
        store.set(f"torchkeras_fn/arrived/{rank}", token)
        store.wait([f"torchkeras_fn/welcome/{token}"], store.timeout)
        name = store.get(f"torchkeras_fn/welcome/{token}").decode()
        store.set(f"torchkeras_fn/{name}/{rank}", "")
        return dist.PrefixStore(name, store)
    missing, until = set(range(1, count)), time.monotonic() + store.timeout.total_seconds()
    while missing:
        for other in sorted(missing):
            if store.check([f"torchkeras_fn/{token}/{other}"]):
                missing.remove(other)
            elif store.check([f"torchkeras_fn/arrived/{other}"]):
                shown = store.get(f"torchkeras_fn/arrived/{other}").decode()
                store.set(f"torchkeras_fn/welcome/{shown}", token)
        if missing and time.monotonic() > until:
            raise RuntimeError(f"The processes {sorted(missing)} of {count} have not come within {store.timeout}.")
        time.sleep(_PAUSE_SECONDS if missing else 0)
    return dist.PrefixStore(token, store)
