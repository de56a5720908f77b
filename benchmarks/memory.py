"""How much memory `fit` takes beside the data: on a memory map on the disk, and on an array in memory.

Prints, for each, how far the anonymous memory of the process grew (RssAnon of /proc/self/status, so Linux only; the
mapped pages of a file do not count). The same fit on a few rows comes first, so that what torch takes once is not counted.

    python benchmarks/memory.py --mapped-megabytes 2048 --array-megabytes 400
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from torchkeras_fn.layers import Dense
from torchkeras_fn.models import Sequential

FEATURES = 1024
MEGABYTE = 2**20


def anonymous_megabytes() -> float:
    """Return the anonymous memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def growth_of_a_fit(x: Any, shuffle: Any) -> float:
    """Return by how many megabytes the largest reading in an epoch over `x` lies above that before it."""
    model = Sequential([Dense(8, input_shape=(FEATURES,))])
    model.compile("sgd", "mse")
    y = np.zeros((len(x), 8), "float32")
    model.fit(x[:256], y[:256], batch_size=128, verbose=0)
    before, largest = anonymous_megabytes(), [0.0]

    def watch(step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(batch: Any) -> Any:
            largest[0] = max(largest[0], anonymous_megabytes())
            return step(batch)

        return watched

    model.train_step = watch(model.train_step)  # type: ignore[method-assign]
    model.fit(x, y, batch_size=128, shuffle=shuffle, verbose=0)
    return largest[0] - before


def main() -> None:
    """Print the growth for both kinds of data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mapped-megabytes", type=int, default=2048)
    parser.add_argument("--array-megabytes", type=int, default=400)
    options = parser.parse_args()
    rows = MEGABYTE // (4 * FEATURES)
    with tempfile.TemporaryDirectory() as folder:
        shape = (options.mapped_megabytes * rows, FEATURES)
        mapped = np.memmap(Path(folder) / "rows", "float32", "w+", shape=shape)
        for shuffle in (True, "batch"):
            grown = growth_of_a_fit(mapped, shuffle)
            print(f"memory map of {options.mapped_megabytes} MB, shuffle={shuffle!r}: {grown:.1f} MB more")
    for dtype in ("float32", "float64"):
        array = np.ones((options.array_megabytes * rows * 4 // np.dtype(dtype).itemsize, FEATURES), dtype)
        grown = growth_of_a_fit(array, True)
        print(f"{dtype} array of {options.array_megabytes} MB: {grown:.1f} MB more, {grown / options.array_megabytes:.3f} of its size")


if __name__ == "__main__":
    main()
