"""`fit` and `predict`, task by task, against the tight loops that a PyTorch expert writes by hand, on one thread.

Both do the same work on the same random rows, in one process and in turn. The ratio is the median over the rounds of our
wall time by the loop's, and the bar is what it should stay below; the microseconds are for a step, which is one batch.

    OMP_NUM_THREADS=1 python benchmarks/run.py --rounds 15 --only dense-64 predict-32
"""

import argparse
import statistics
import time

import torch
from tasks import TASKS, Run, Task

from torchkeras_fn.config import set_random_seed


def measure(task: Task, rounds: int) -> tuple[float, float, float]:
    """Return the median ratio of the rounds, and the median microseconds of a step of ours and of the loop."""
    ours, theirs, steps = task

    def time_of(run: Run) -> float:
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) / steps * 1e6

    for run in (ours, theirs, ours, theirs):
        run()
    mine: list[float] = []
    by_hand: list[float] = []
    for number in range(rounds):
        # Whoever runs second finds warmer caches, so the order changes from round to round.
        for run, found in ((theirs, by_hand), (ours, mine))[:: -1 if number % 2 else 1]:
            found.append(time_of(run))
    ratio = statistics.median(a / b for a, b in zip(mine, by_hand, strict=True))
    return ratio, statistics.median(mine), statistics.median(by_hand)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Print a line for each task, and return the ratios by name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each (default: 15)")
    parser.add_argument("--only", nargs="*", choices=TASKS, metavar="TASK", help=f"of {', '.join(TASKS)} (default: all)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{'task':<20} {'bar':>5} {'ratio':>7} {'ours, µs':>10} {'loop, µs':>10}")
    ratios = {}
    for name, (bar, make) in TASKS.items():
        if options.only and name not in options.only:
            continue
        set_random_seed(0)
        ratios[name], ours, loop = measure(make(), options.rounds)
        print(f"{name:<20} {bar:>5.2f} {ratios[name]:>7.3f} {ours:>10.1f} {loop:>10.1f}", flush=True)
    return ratios


if __name__ == "__main__":
    main()
