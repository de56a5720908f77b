"""The process of one contestant: `run.py` tells it over a pipe when its turn is, and it answers a line of JSON each time.

    python benchmarks/worker.py eager dense-64 cpu < orders > answers

The orders are `prepare SECONDS`, which makes the model, warms it up and finds how often the task fits into a turn of so many
seconds, and `turn`, which is timed.
"""

import json
import os
import sys
import time
import warnings
from typing import Any, TextIO

from contestants import CONTESTANTS
from tasks import TASKS, Run, Task


class Worker:
    """A contestant at its task."""

    def __init__(self, contestant: str, task: Task, device: str) -> None:
        self.contestant, self.task, self.device = CONTESTANTS[contestant], task, device
        self.run: Run | None = None
        self.times = 1

    def start(self) -> None:
        """Import the contestant's libraries, and keep torch to one thread."""
        import torch

        torch.set_num_threads(1)
        self.contestant.load()

    def seconds(self) -> tuple[float, float]:
        """Do the task as often as a turn holds, and return the seconds on the wall and those of the processor."""
        if self.run is None:
            raise RuntimeError("A turn comes after prepare.")
        self.wait()
        processor, wall = time.process_time(), time.perf_counter()
        self.run(self.times)
        self.wait()
        return time.perf_counter() - wall, time.process_time() - processor

    def wait(self) -> None:
        """Wait for what the device still has to do."""
        if self.device == "cuda":
            sys.modules["torch"].cuda.synchronize()

    def prepare(self, length: float) -> dict[str, Any]:
        """Make and warm up the contestant, and return the seconds that it took and the warnings that came."""
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.run = self.contestant.make(self.task, self.device)
            if self.run is None:
                return {"absent": "no idiom for this task"}
            for _ in range(3):  # what this library compiles, it compiles when a kind of batch comes again
                self.seconds()
        warmed = time.perf_counter() - start
        # A short task is timed over more repetitions, so that the last warm-up of the processor does not count.
        for _ in range(2):
            self.times = max(1, round(length * self.times / self.seconds()[0]))
        return {"warm": warmed, "warnings": sorted({str(warning.message).partition("\n")[0] for warning in caught})}

    def turn(self) -> dict[str, Any]:
        """Return the seconds of a step, by the clock on the wall and by that of the processor."""
        wall, processor = self.seconds()
        steps = self.times * self.task.steps
        return {"wall": wall / steps, "processor": processor / steps}


def answer(worker: Worker, line: str) -> dict[str, Any]:
    """Follow an order, and return the answer or what went wrong."""
    order, *numbers = line.split()
    try:
        return worker.prepare(*map(float, numbers)) if order == "prepare" else worker.turn()
    except Exception as error:  # every error of a library belongs in the table of whoever runs it
        return {"absent": f"{type(error).__name__}: {error}".splitlines()[0]}


def main(orders: TextIO, answers: TextIO) -> None:
    """Follow orders until there are no more."""
    contestant, task, device = sys.argv[1:]
    worker = Worker(contestant, TASKS[task], device)
    try:
        worker.start()
        found: dict[str, Any] = {"ready": True}
    except Exception as error:
        found = {"absent": f"{type(error).__name__}: {error}".splitlines()[0]}
    print(json.dumps(found), file=answers, flush=True)
    for line in orders:
        print(json.dumps(answer(worker, line)), file=answers, flush=True)


if __name__ == "__main__":
    # What the libraries print is no answer.
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    main(sys.stdin, pipe)
