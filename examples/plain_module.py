"""A plain `nn.Module` with Keras' training methods: the class is torch's, `Trainer` adds compile, fit, evaluate and predict.

    python examples/plain_module.py
"""

import numpy as np
import torch
from torch import nn

from torchkeras_fn import Trainer
from torchkeras_fn.config import set_random_seed


class ResidualNet(Trainer, nn.Module):
    """Predicts one number from a few; everything but the first base class is ordinary PyTorch."""

    def __init__(self, features: int, width: int = 64):
        super().__init__()
        self.enter = nn.Linear(features, width)
        self.block = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.leave = nn.Linear(width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the prediction, of shape `(batch, 1)`."""
        hidden = torch.tanh(self.enter(x))
        return self.leave(hidden + self.block(hidden))


def make_data(samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return Friedman's first regression problem: ten numbers, of which five matter, scaled to mean 0 and variance 1."""
    x = np.random.default_rng(seed).random((samples, 10))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return x, (y - 14.4) / 4.9


def main(epochs: int = 15, seed: int = 0, verbose: int = 2) -> float:
    """Train, and return the share of the variance that held-out predictions explain."""
    set_random_seed(seed)
    net = ResidualNet(features=10)
    # torch's own losses and optimizers are welcome; so are their Keras names.
    net.compile(optimizer=torch.optim.AdamW(net.parameters(), lr=2e-3), loss=nn.MSELoss(), metrics=["mae"])
    net.fit(*make_data(4000), batch_size=64, epochs=epochs, validation_split=0.1, verbose=verbose)
    x_test, y_test = make_data(1000, seed=1)
    residual = y_test - net.predict(x_test)[:, 0]
    explained = float(1 - residual.var() / y_test.var())
    print(f"Share of the variance explained on {len(x_test)} held-out samples: {explained:.4f}")
    return explained


if __name__ == "__main__":
    main()
