"""What a training step of `fit` costs over the tight loop that a PyTorch expert writes by hand.

Both train Dense(64)-Dense(64)-Dense(10) on the same rows, in one process and in turn, with fused Adam and running accuracy:

    python benchmarks/step_overhead.py --rows 60000 --rounds 7
"""

import argparse
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import Model
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import Dense, Input

BATCH_SIZE = 32
FEATURES, CLASSES = 784, 10


def make_data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random images and labels, as the arrays a user has."""
    generator = np.random.default_rng(0)
    return generator.random((rows, FEATURES), dtype=np.float32), generator.integers(0, CLASSES, rows)


def keras_model() -> Model:
    """Return the model as a user of this library draws it."""
    pixels = Input(shape=(FEATURES,))
    hidden = Dense(64, activation="relu")(pixels)
    hidden = Dense(64, activation="relu")(hidden)
    model = Model(pixels, Dense(CLASSES, activation="softmax")(hidden))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    return model


class TightLoop:
    """The same training by hand: tensors in memory, one gather a batch, and nothing read from the device before the end."""

    def __init__(self) -> None:
        self.network = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3, eps=1e-7, fused=True)

    def epoch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
        """Train on all rows once, and return the mean loss and the accuracy."""
        network, optimizer = self.network, self.optimizer
        total_loss, total_right = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        network.train()
        for index in torch.randperm(len(x)).split(BATCH_SIZE):
            inputs, targets = x.index_select(0, index), y.index_select(0, index)
            logits = network(inputs)
            loss = F.cross_entropy(logits, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total_loss.add_(loss.detach(), alpha=len(index))
            total_right += (logits.detach().argmax(-1) == targets).sum()
        return total_loss.item() / len(x), total_right.item() / len(x)


def measure(rows: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return the microseconds per step of each round, of `fit` and of the tight loop."""
    set_random_seed(0)
    x, y = make_data(rows)
    x_tensor, y_tensor = torch.from_numpy(x), torch.from_numpy(y)
    model, loop = keras_model(), TightLoop()
    steps = -(-rows // BATCH_SIZE)

    def fit() -> None:
        model.fit(x, y, batch_size=BATCH_SIZE, epochs=1, verbose=0)

    def tight() -> None:
        loop.epoch(x_tensor, y_tensor)

    def time_of(run: object) -> float:
        start = time.perf_counter()
        run()  # type: ignore[operator]
        return (time.perf_counter() - start) / steps * 1e6

    fit()
    tight()
    fitted, by_hand = [], []
    for number in range(rounds):
        # Whoever runs second finds warmer caches, so the order changes from round to round.
        if number % 2:
            by_hand.append(time_of(tight))
            fitted.append(time_of(fit))
        else:
            fitted.append(time_of(fit))
            by_hand.append(time_of(tight))
    return fitted, by_hand


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
