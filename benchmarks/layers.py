"""Layer by layer: forward and backward against the bare torch module, on one thread.

Each layer runs as a model of this library lowers it, on data in Keras' layout; the torch module runs on the same numbers
in torch's. The two take turns, and the ratio is the median over the rounds. The two settings keep the C library from giving
memory back to the system between steps, whose return costs more than some layers do.

    MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000 python benchmarks/layers.py --rounds 9 --only LSTM GRU
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from torchkeras_fn import Input, Model, layers
from torchkeras_fn.config import set_random_seed


class First(nn.Module):
    """The first of the outputs of a module that returns several."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, inputs: torch.Tensor) -> Any:
        """Call the module."""
        return self.module(inputs)[0]


class Attention(First):
    """Attention of a sequence to itself, without the weights that nobody asked for."""

    def forward(self, inputs: torch.Tensor) -> Any:
        """Call the module."""
        return self.module(inputs, inputs, inputs, need_weights=False)[0]


def attended(inputs: Any) -> Any:
    """Draw attention of a sequence to itself."""
    return layers.MultiHeadAttention(4, 32)(inputs, inputs)


Row = tuple[str, tuple[int, ...], Callable[[Any], Any], Callable[[], nn.Module], bool]

# name, input with the batch, what is drawn on it, the bare module, and whether that wants the channels first
ROWS: list[Row] = [
    ("Dense", (128, 512), lambda x: layers.Dense(512)(x), lambda: nn.Linear(512, 512), False),
    ("Embedding", (128, 200), lambda x: layers.Embedding(1000, 64)(x), lambda: nn.Embedding(1000, 64), False),
    ("Conv1D", (32, 128, 32), lambda x: layers.Conv1D(64, 3)(x), lambda: nn.Conv1d(32, 64, 3), True),
    ("Conv2D", (16, 28, 28, 16), lambda x: layers.Conv2D(32, 3)(x), lambda: nn.Conv2d(16, 32, 3), True),
    ("Conv2D same", (16, 28, 28, 16), lambda x: layers.Conv2D(32, 3, padding="same")(x), lambda: nn.Conv2d(16, 32, 3, padding=1), True),
    ("Conv3D", (4, 10, 14, 14, 8), lambda x: layers.Conv3D(16, 3)(x), lambda: nn.Conv3d(8, 16, 3), True),
    ("Conv2DTranspose", (64, 14, 14, 16), lambda x: layers.Conv2DTranspose(16, 2, 2)(x), lambda: nn.ConvTranspose2d(16, 16, 2, 2), True),
    ("DepthwiseConv2D", (64, 28, 28, 16), lambda x: layers.DepthwiseConv2D(3)(x), lambda: nn.Conv2d(16, 16, 3, groups=16), True),
    ("MaxPooling2D", (64, 28, 28, 32), lambda x: layers.MaxPooling2D()(x), lambda: nn.MaxPool2d(2), True),
    ("AveragePooling2D", (64, 28, 28, 32), lambda x: layers.AveragePooling2D()(x), lambda: nn.AvgPool2d(2), True),
    ("UpSampling2D", (64, 14, 14, 32), lambda x: layers.UpSampling2D()(x), lambda: nn.UpsamplingNearest2d(scale_factor=2), True),
    ("BatchNormalization", (64, 28, 28, 32), lambda x: layers.BatchNormalization()(x), lambda: nn.BatchNorm2d(32, 1e-3, 0.01), True),
    ("LayerNormalization", (64, 64, 64), lambda x: layers.LayerNormalization()(x), lambda: nn.LayerNorm(64, 1e-3), False),
    ("GroupNormalization", (16, 28, 28, 32), lambda x: layers.GroupNormalization(8)(x), lambda: nn.GroupNorm(8, 32, 1e-3), True),
    ("Dropout", (256, 1024), lambda x: layers.Dropout(0.5)(x), lambda: nn.Dropout(0.5), False),
    ("PReLU", (512, 512), lambda x: layers.PReLU()(x), lambda: nn.PReLU(512), False),
    ("LeakyReLU", (256, 1024), lambda x: layers.LeakyReLU()(x), lambda: nn.LeakyReLU(0.3), False),
    ("Softmax", (256, 1024), lambda x: layers.Softmax()(x), lambda: nn.Softmax(-1), False),
    ("LSTM", (64, 50, 32), lambda x: layers.LSTM(64, return_sequences=True)(x), lambda: First(nn.LSTM(32, 64, batch_first=True)), False),
    ("GRU", (64, 50, 32), lambda x: layers.GRU(64, return_sequences=True)(x), lambda: First(nn.GRU(32, 64, batch_first=True)), False),
    (
        "SimpleRNN",
        (64, 50, 32),
        lambda x: layers.SimpleRNN(64, return_sequences=True)(x),
        lambda: First(nn.RNN(32, 64, batch_first=True)),
        False,
    ),
    (
        "Bidirectional LSTM",
        (64, 50, 32),
        lambda x: layers.Bidirectional(layers.LSTM(64, return_sequences=True))(x),
        lambda: First(nn.LSTM(32, 64, batch_first=True, bidirectional=True)),
        False,
    ),
    ("MultiHeadAttention", (16, 64, 128), attended, lambda: Attention(nn.MultiheadAttention(128, 4, batch_first=True)), False),
]


def step_of(module: nn.Module, inputs: torch.Tensor) -> Callable[[], None]:
    """Return the function that runs forward and backward once, to the gradients of the weights and of the input.

    They are asked for, not gathered in `.grad`: torch copies the gradient of an input that is seen through a permutation.
    """
    wanted = [*([inputs.requires_grad_()] if inputs.is_floating_point() else []), *module.parameters()]
    gradient = torch.ones_like(module(inputs))

    def step() -> None:
        torch.autograd.grad(module(inputs), wanted, gradient)

    return step


def ratios_of(row: Row, rounds: int, seconds: float) -> tuple[float, float, float]:
    """Return the microseconds of a step of ours and of the bare module, and the median of the ratios of the rounds."""
    name, shape, draw, make, channels_first = row
    integers = name == "Embedding"
    data = torch.randint(1000, shape) if integers else torch.randn(shape)
    symbolic = Input(shape=shape[1:], dtype="int64" if integers else None)
    ours = step_of(Model(symbolic, draw(symbolic)).to_torch().train(), data.clone())
    bare = step_of(make().train(), data.clone().movedim(-1, 1) if channels_first else data.clone())

    def time_of(step: Callable[[], None], times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            step()
        return (time.perf_counter() - start) / times * 1e6

    time_of(ours, 5)
    times = max(5, int(seconds * 1e6 / time_of(bare, 5)))
    mine, theirs = [], []
    for number in range(rounds):
        # Whoever runs second finds warmer caches, so the order changes from round to round.
        for step, found in ((ours, mine), (bare, theirs))[:: -1 if number % 2 else 1]:
            found.append(time_of(step, times))
    return statistics.median(mine), statistics.median(theirs), statistics.median(a / b for a, b in zip(mine, theirs, strict=True))


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Print a line for each layer, and return the ratios by name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="turns of each (default: 9)")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a turn (default: 0.1)")
    parser.add_argument("--only", nargs="*", help="names of the layers to measure (default: all)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    set_random_seed(0)
    print(f"{'layer':<20} {'ours, µs':>10} {'bare, µs':>10} {'ratio':>7}")
    found = {}
    for row in ROWS:
        if options.only and row[0] not in options.only:
            continue
        ours, bare, found[row[0]] = ratios_of(row, options.rounds, options.seconds)
        print(f"{row[0]:<20} {ours:>10.1f} {bare:>10.1f} {found[row[0]]:>7.3f}")
    return found


if __name__ == "__main__":
    main()
