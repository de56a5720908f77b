"""What a training step of `fit` costs over the tight loop that a PyTorch expert writes by hand, in one process and in turn.

Both train Dense(64)-Dense(64)-Dense(10) on the same number of rows, with fused Adam and running accuracy. `run.py` has more
tasks and contestants, each in its own process.

    python benchmarks/step_overhead.py --rows 60000 --rounds 7
"""

import argparse
import statistics
import time

import torch
from contestants import CONTESTANTS
from tasks import Run, Task

BATCH_SIZE = 32


def measure(rows: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return the microseconds per step of each round, of `fit` and of the tight loop."""
    task = Task("epochs", "dense-64", rows // BATCH_SIZE, BATCH_SIZE, 1.1)
    runs = [run for name in ("eager", "tight") if (run := CONTESTANTS[name].make(task, "cpu")) is not None]

    def time_of(run: Run) -> float:
        start = time.perf_counter()
        run(1)
        return (time.perf_counter() - start) / task.steps * 1e6

    for run in runs:
        run(1)
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        # Whoever runs second finds warmer caches, so the order changes from round to round.
        for index in (0, 1)[:: -1 if number % 2 else 1]:
            found[index].append(time_of(runs[index]))
    return found


def main(arguments: list[str] | None = None) -> float:
    """Print the medians and return their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000, help="rows of training data (default: 60000)")
    parser.add_argument("--rounds", type=int, default=7, help="epochs of each, in turn (default: 7)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    fitted, by_hand = measure(options.rows, options.rounds)
    ratios = [ours / theirs for ours, theirs in zip(fitted, by_hand, strict=True)]
    ratio = statistics.median(ratios)
    print(f"fit(verbose=0): {statistics.median(fitted):7.1f} microseconds per step")
    print(f"tight loop:     {statistics.median(by_hand):7.1f} microseconds per step")
    print(f"ratio:          {ratio:7.3f} (median of {len(ratios)} rounds, from {min(ratios):.3f} to {max(ratios):.3f})")
    return ratio


if __name__ == "__main__":
    main()
