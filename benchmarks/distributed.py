"""The time of a training step in 1 process and in 2, with gloo on the CPU and one thread each.

    python benchmarks/distributed.py
    python benchmarks/distributed.py --rounds 9 --write         # puts the table into docs/distributed.md

Each process takes batches of the same size, so two of them train on twice as many rows in a step. Beside it stands the time
that the processes need to sum as many numbers as the model has parameters, and do nothing else. The runs are interleaved;
the table holds the median of `--rounds`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tables
import torch
import torch.distributed as dist
from process import environment

from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import Dense, Input
from torchkeras_fn.models import Model

MODELS = {"small": ((64, 64), 784, 32), "larger": ((512, 512, 512), 784, 128)}
"""Widths of the hidden layers, features, and rows of a batch."""
STEPS = {"small": 300, "larger": 60}
LIMIT_SECONDS = 300


def make_model(kind: str) -> Model:
    """Draw and compile a model of dense layers."""
    widths, features, _ = MODELS[kind]
    pixels = hidden = Input(shape=(features,))
    for width in widths:
        hidden = Dense(width, activation="relu")(hidden)
    model = Model(pixels, Dense(10, activation="softmax")(hidden))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    return model


def measure(kind: str) -> dict[str, float]:
    """Return microseconds of a step of `fit`, and of the sum of as many numbers as there are parameters."""
    set_random_seed(0)
    _, features, batch_size = MODELS[kind]
    model, steps = make_model(kind), STEPS[kind]
    processes = dist.get_world_size() if dist.is_initialized() else 1
    random = np.random.default_rng(0)
    x = random.normal(size=(processes * batch_size * steps, features)).astype("float32")
    y = random.integers(10, size=len(x))
    model.fit(x, y, batch_size=batch_size, verbose=0)
    begun = time.perf_counter()
    model.fit(x, y, batch_size=batch_size, verbose=0)
    figures = {"step": (time.perf_counter() - begun) / steps * 1e6, "parameters": float(model.count_params()), "sum": 0.0}
    if processes > 1:
        gradients = torch.ones(model.count_params())
        dist.all_reduce(gradients)
        begun = time.perf_counter()
        for _ in range(20):
            dist.all_reduce(gradients)
        figures["sum"] = (time.perf_counter() - begun) / 20 * 1e6
    return figures


def run(kind: str, processes: int) -> dict[str, Any]:
    """Measure in new processes, and return what the first of them found."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", __file__, "--worker", kind]
    alone = [sys.executable, __file__, "--worker", kind]
    found = subprocess.run(
        alone if processes == 1 else command,
        env=environment("cpu", {}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=LIMIT_SECONDS,
    )
    figures: dict[str, Any] = json.loads(found.stdout.strip().splitlines()[-1])
    return figures


def main(rounds: int = 5, kinds: tuple[str, ...] = tuple(MODELS)) -> str:
    """Return the table, as markdown."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for kind in kinds:
            for processes in (1, 2):
                found.setdefault((kind, processes), []).append(run(kind, processes))
    rows = [
        "| model | parameters | rows per process | 1 process, µs a step | 2 processes, µs a step | sum alone, µs | rows a second, 2 : 1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in kinds:
        one, two = (statistics.median(figures["step"] for figures in found[kind, processes]) for processes in (1, 2))
        alone = statistics.median(figures["sum"] for figures in found[kind, 2])
        count, size = int(found[kind, 1][0]["parameters"]), MODELS[kind][2]
        rows.append(f"| {kind} | {count:,} | {size} | {one:,.0f} | {two:,.0f} | {alone:,.0f} | {2 * one / two:.2f} |")
    return "\n".join([*rows, "", tables.setting()])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the table into docs/distributed.md")
    parser.add_argument("--worker", choices=MODELS)
    arguments = parser.parse_args()
    if arguments.worker is None:
        print(table := main(arguments.rounds))
        if arguments.write:
            tables.write("distributed", table, Path(__file__).resolve().parent.parent / "docs" / "distributed.md")
    else:
        torch.set_num_threads(1)
        result = measure(arguments.worker)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(result), flush=True)
        if dist.is_initialized():
            dist.barrier()
            dist.destroy_process_group()
