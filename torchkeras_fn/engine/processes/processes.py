"""`Processes`: those that train one model together, and what they tell each other. The work is torch.distributed's."""

import atexit
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist

from torchkeras_fn.engine.processes.failures import NUMBERS, Failures
from torchkeras_fn.engine.processes.joining import join_group

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What `torchrun` tells each process; `LOCAL_RANK` comes with them."""
_PAUSE_SECONDS = 0.1


class Processes:
    """The processes of torch's default group, as one of them sees them: it is number `rank` of `count`.

    What they tell each other here is small, lies on the CPU and goes through gloo, so that no device is waited for. Every
    method that says so is a collective: all processes call it, in the same order, and each waits for the others. It raises
    `ProcessError` where another process failed instead of coming.
    """

    def __init__(self) -> None:
        self.failures = Failures()
        self.rank, self.count = self.failures.rank, self.failures.count
        self._words = dist.new_group(backend="gloo", timeout=self.failures.timeout)

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def __reduce__(self) -> Any:
        """A copy is among the processes that are there when it is made; in another program there may be none."""
        return known, ()

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums of these numbers over the processes. A collective."""
        if len(numbers) <= NUMBERS:
            return self.failures.meet(numbers)
        self.failures.meet()
        sums = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums, group=self._words)
        return sums.tolist()  # type: ignore[no-any-return]

    def any(self, flag: bool) -> bool:
        """Return whether it is so in any of the processes. A collective."""
        return self.total([float(flag)])[0] > 0

    def number_of_first(self, number: float | None) -> float | None:
        """Return the number that the first process gave, or its `None`. A collective."""
        there, value = self.total([number is not None, number or 0.0] if self.is_first else [0.0, 0.0])
        return value if there else None

    def gathered(self, value: Any) -> list[Any]:
        """Return what each process gave, in the order of their ranks. Values are pickled. A collective."""
        self.failures.meet()
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, group=self._words)
        return values

    def at_first(self, value: Any) -> list[Any]:
        """Return in the first process what each gave, in the order of their ranks, and nothing in the others. A collective."""
        self.failures.meet()
        values: list[Any] | None = [None] * self.count if self.is_first else None
        dist.gather_object(value, values, dst=0, group=self._words)
        return values or []

    def from_first(self, value: Any) -> Any:
        """Return what the first process gave. Values are pickled. A collective."""
        self.failures.meet()
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._words)
        return values[0]

    def as_first(self, draw: Callable[[], Any]) -> Any:
        """Return what `draw` makes of torch's random numbers in the first process, the only one that uses some up. A collective."""
        self.failures.meet()
        own = torch.get_rng_state()
        state = own.clone()
        dist.broadcast(state, src=0, group=self._words)
        if self.is_first:
            return draw()
        torch.set_rng_state(state)
        try:
            return draw()
        finally:
            torch.set_rng_state(own)

    # ------------------------------------------------------------------ tensors, where they are

    def group_for(self, device: torch.device) -> Any:
        """Return the group in which tensors on a device are exchanged."""
        return self._words if device.type == "cpu" else dist.group.WORLD

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """Put the sum over the processes in the place of a tensor, and return it. A collective, for which the host does not wait."""
        dist.all_reduce(tensor, group=self.group_for(tensor.device))
        return tensor

    def from_rank(self, rank: int, tensor: torch.Tensor) -> torch.Tensor:
        """Put the values of one process in the place of a tensor of the CPU, of any type, and return it. A collective."""
        if tensor.numel():
            dist.broadcast(tensor.view(torch.uint8), src=rank, group=self._words)
        return tensor

    def take_from_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Put the first process's values in the place of those of tensors. A collective."""
        self.failures.meet()
        for tensor in tensors:
            values = tensor.detach().contiguous()
            dist.broadcast(values, src=0, group=self.group_for(values.device))
            if values.data_ptr() != tensor.data_ptr():
                with torch.no_grad():
                    tensor.copy_(values)


_known: dict[Any, Processes] = {}
"""The processes of torch's default group, so that they are made once."""


def known() -> Processes | None:
    """Return the processes of torch's default group, `None` where there is no group. A collective at the first call."""
    if not (dist.is_available() and dist.is_initialized()):
        return None
    group = dist.group.WORLD
    if group not in _known:
        atexit.unregister(_pause)
        atexit.register(_pause)  # which runs before `_leave`
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
        join_group(_backend())
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


def _pause() -> None:
    """Give gloo's threads time to let go of the last tensors. They need Python for it, and abort a process that ends without it."""
    time.sleep(_PAUSE_SECONDS)


def _leave() -> None:
    """Leave the group. Of one in which a process failed, nobody can be waited for."""
    if dist.is_initialized():
        failed = any(processes.failures.happened for processes in _known.values())
        (dist.distributed_c10d._abort_process_group if failed else dist.destroy_process_group)()
