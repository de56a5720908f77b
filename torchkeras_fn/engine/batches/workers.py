"""`Loading`: how batches are prepared ahead, by threads (`worker_threads.py`) or processes (`worker_processes.py`)."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Loading:
    """How batches are prepared: `workers` threads or processes (0: in the main thread), at most `max_queue_size` ahead.

    Each process has random generators of its own, which differ between processes and epochs and repeat from run to run;
    threads share the generators of the main thread, so what they draw depends on who comes first.
    """

    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    def __post_init__(self) -> None:
        whole = isinstance(self.workers, (int, np.integer)) and isinstance(self.max_queue_size, (int, np.integer))
        if not whole or self.workers < 0 or self.max_queue_size < 1:
            given = f"{self.workers!r} and {self.max_queue_size!r}"
            raise ValueError(f"'workers' must not be negative and 'max_queue_size' must be positive, both whole numbers, got {given}.")

    @property
    def processes(self) -> int:
        """The number of worker processes."""
        return self.workers if self.use_multiprocessing else 0

    @property
    def prefetch_factor(self) -> int:
        """The number of batches that each worker process prepares ahead."""
        return max(1, self.max_queue_size // max(1, self.workers))
