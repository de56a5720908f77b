"""`Processes`: those that train one model together, and what they tell each other. The work is torch.distributed's."""

import atexit
import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What `torchrun` tells each process; `LOCAL_RANK` comes with them."""


class Processes:
    """The processes of torch's default group, as one of them sees them: it is number `rank` of `count`.

    What they tell each other here is small, lies on the CPU and goes through gloo, so that no device is waited for. Every
    method that says so is a collective: all processes call it, in the same order, and each waits for the others.
    """

    def __init__(self) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self._words = dist.new_group(backend="gloo")

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def __reduce__(self) -> Any:
        """A copy is among the processes that are there when it is made; in another program there may be none."""
        return known, ()

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums of these numbers over the processes. A collective."""
        sums = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums, group=self._words)
        return sums.tolist()  # type: ignore[no-any-return]

    def any(self, flag: bool) -> bool:
        """Return whether it is so in any of the processes. A collective."""
        return self.total([float(flag)])[0] > 0

    def gathered(self, value: Any) -> list[Any]:
        """Return what each process gave, in the order of their ranks. Values are pickled. A collective."""
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, group=self._words)
        return values

    def from_first(self, value: Any) -> Any:
        """Return what the first process gave. Values are pickled. A collective."""
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._words)
        return values[0]


_known: dict[Any, Processes] = {}
"""The processes of torch's default group, so that they are made once."""


def known() -> Processes | None:
    """Return the processes of torch's default group, `None` where there is no group. A collective at the first call."""
    if not (dist.is_available() and dist.is_initialized()):
        return None
    group = dist.group.WORLD
    if group not in _known:
        _known.clear()
        _known[group] = Processes()
    return _known[group]


def join(distributed: Any) -> Processes | None:
    """Return the processes that `compile(distributed=...)` is one of, joining them where `torchrun` started this one.

    `None` stands for a program that runs alone, and for `distributed=False`. A collective.

    >>> join(False) is None
    True
    """
    if distributed is False or not dist.is_available():
        return None
    if not dist.is_initialized():
        if any(name not in os.environ for name in _VARIABLES):
            return None
        _place()
        dist.init_process_group(_backend())
        atexit.register(_leave)
    return known()


def local_device() -> torch.device | None:
    """Return the accelerator of this process, by `LOCAL_RANK`; `None` where there is none, or `torchrun` said nothing."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or "LOCAL_RANK" not in os.environ:
        return None
    return torch.device(accelerator.type, int(os.environ["LOCAL_RANK"]) % torch.accelerator.device_count())


def _place() -> None:
    device = local_device()
    if device is not None:
        torch.accelerator.set_device_index(device.index)


def _backend() -> str | None:
    """NCCL for CUDA, gloo for the CPU, and what torch has for other accelerators."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return "gloo" if accelerator is None else dist.get_default_backend_for_device(accelerator)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
