"""How much memory `fit` and `predict` take beside the data, each figure in a process of its own (Linux only, from /proc).

    python benchmarks/memory.py --array-megabytes 400 --mapped-megabytes 2048
    python benchmarks/memory.py --measure epochs                # one figure, in this process
"""

import argparse
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tables
import torch
from contestants import CONTESTANTS
from process import environment
from tasks import FEATURES, Task

from torchkeras_fn import Sequential
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.layers import Dense, Input

MEGABYTE, BATCH_SIZE, WIDE = 2**20, 128, 1024


def megabytes(entry: str) -> float:
    """Return an entry of /proc/self/status: 'VmRSS', 'VmHWM' (its peak) or 'RssAnon' (without the mapped pages of files)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(entry))


def grown(run: Callable[[], object]) -> float:
    """Return by how many megabytes the largest reading while something runs lies above that before it. A thread reads them."""
    done, largest, before = threading.Event(), [0.0], megabytes("RssAnon")

    def read() -> None:
        while not done.wait(0.002):
            largest[0] = max(largest[0], megabytes("RssAnon"))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        kept = run()  # what it returns counts, too
        largest[0] = max(largest[0], megabytes("RssAnon"))
    finally:
        done.set()
        reader.join()
    del kept
    return largest[0] - before


def peak(contestant: str, size: int) -> float:
    """Return the peak resident memory of a contestant of `run.py` that trains for an epoch on a float32 array of some megabytes."""
    steps = size * MEGABYTE // (4 * FEATURES * BATCH_SIZE)
    run = CONTESTANTS[contestant].make(Task("epochs", "dense-64", steps, BATCH_SIZE, 1.05), "cpu")
    if run is not None:
        run(1)
    return megabytes("VmHWM")


def fitted(x: Any, shuffle: Any = True) -> float:
    """Return by how much memory grows in an epoch over `x`, once a fit on a few rows took what torch takes once."""
    model = Sequential([Input(shape=(WIDE,)), Dense(8)])
    model.compile("adam", "mse", device="cpu")
    y = np.zeros((len(x), 8), "float32")
    model.fit(x[: 8 * BATCH_SIZE], y[: 8 * BATCH_SIZE], batch_size=BATCH_SIZE, shuffle=shuffle, verbose=0)
    return grown(lambda: model.fit(x, y, batch_size=BATCH_SIZE, shuffle=shuffle, verbose=0))


def fitted_array(dtype: str, size: int) -> float:
    """Return by how much a fit on an array in memory grows, as a part of the array."""
    return fitted(np.ones((size * MEGABYTE // (WIDE * np.dtype(dtype).itemsize), WIDE), dtype)) / size


def fitted_map(shuffle: Any, size: int) -> float:
    """Return by how much a fit on a memory map on the disk grows, in megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        return fitted(np.memmap(Path(folder) / "rows", "float32", "w+", shape=(size * MEGABYTE // (4 * WIDE), WIDE)), shuffle)


def predicted(size: int) -> float:
    """Return by how much memory grows while an output of some megabytes is predicted, as a part of it."""
    model = Sequential([Input(shape=(16,)), Dense(WIDE)])
    x = np.ones((size * MEGABYTE // (4 * WIDE), 16), "float32")
    model.predict(x[:4096], batch_size=BATCH_SIZE)
    return grown(lambda: model.predict(x, batch_size=BATCH_SIZE)) / size


class Reading(Callback):
    """Reads the memory at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.megabytes: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Read it."""
        self.megabytes.append(megabytes("VmRSS"))


def epochs(number: int) -> float:
    """Return by how many megabytes the last of many short epochs ends above the tenth."""
    model = Sequential([Input(shape=(16,)), Dense(8, activation="relu"), Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    x, y, reading = np.ones((64, 16), "float32"), np.zeros(64, "int64"), Reading()
    model.fit(x, y, epochs=number, verbose=0, callbacks=[reading])
    return reading.megabytes[-1] - reading.megabytes[9]


Measure = tuple[str, float, Callable[[argparse.Namespace], float]]

# name, with what is measured, its bar, and what measures it; the peak of the tight loop is what that of `fit` is divided by
MEASURES: dict[str, Measure] = {
    "tight": ("peak of the tight loop on a float32 array, MB", float("inf"), lambda of: peak("tight", of.array_megabytes)),
    "fit": ("peak of `fit` on a float32 array, MB", float("inf"), lambda of: peak("eager", of.array_megabytes)),
    "float32": ("growth of `fit` on a float32 array, part of the array", 0.02, lambda of: fitted_array("float32", of.array_megabytes)),
    "float64": ("growth of `fit` on a float64 array, part of the array", 0.02, lambda of: fitted_array("float64", of.array_megabytes)),
    "predict": ("growth of `predict`, part of its output", 1.05, lambda of: predicted(of.array_megabytes)),
    "map": ("growth of `fit` on a memory map, shuffled, MB", 100.0, lambda of: fitted_map(True, of.mapped_megabytes)),
    "map-batch": ("growth of `fit` on a memory map, shuffle='batch', MB", 100.0, lambda of: fitted_map("batch", of.mapped_megabytes)),
    "epochs": ("growth from the 10th epoch to the last, MB", 5.0, lambda of: epochs(of.epochs)),
}


def measured(name: str, options: argparse.Namespace) -> float:
    """Return a figure, which a process of its own measures."""
    numbers = [f"--array-megabytes={options.array_megabytes}", f"--mapped-megabytes={options.mapped_megabytes}"]
    command = [sys.executable, __file__, "--measure", name, *numbers, f"--epochs={options.epochs}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment("cpu", {}))
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(done.stdout)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Print the figures with their bars, and return them by name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--array-megabytes", type=int, default=400, help="(default: 400)")
    parser.add_argument("--mapped-megabytes", type=int, default=2048, help="(default: 2048)")
    parser.add_argument("--epochs", type=int, default=2000, help="(default: 2000)")
    parser.add_argument("--measure", choices=MEASURES, help="measure one figure in this process, and print it alone")
    parser.add_argument("--write", action="store_true", help="write the table into README.md")
    options = parser.parse_args(arguments)
    if options.measure:
        torch.set_num_threads(1)
        print(MEASURES[options.measure][2](options))
        return {}
    found = {name: measured(name, options) for name in MEASURES}
    rows = [row(text, found[name], bar) for name, (text, bar, _) in MEASURES.items()]
    rows.insert(2, row("peak of `fit`, as a ratio to that of the tight loop", found["fit"] / found["tight"], 1.05))
    sizes = f"Arrays of {options.array_megabytes} MB, a map of {options.mapped_megabytes} MB, {options.epochs} epochs. {tables.setting()}"
    text = f"{sizes}\n\n{tables.markdown(['what', 'found', 'bar'], rows)}"
    if options.write:
        tables.write("memory", text)
    print(tables.plain(text))
    return found


def row(text: str, figure: float, bar: float) -> list[str]:
    """Return a row of the table, with a figure above its bar in bold."""
    shown = f"{figure:.0f}" if bar == float("inf") else f"{figure:.1f}" if bar >= 5 else f"{figure:.3f}"
    return [text, f"**{shown}**" if figure > bar else shown, "-" if bar == float("inf") else f"{bar:g}"]


if __name__ == "__main__":
    main()
