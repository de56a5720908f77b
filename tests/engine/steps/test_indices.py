"""Indices that an embedding has no row for."""

import numpy as np
import pytest
from torch import nn

from torchkeras_fn import Input, Model, Trainer
from torchkeras_fn.layers import Dense, Embedding, Flatten

WORDS, MOODS = np.array([[0, 1], [2, 3]]), np.ones((2, 1))


class Net(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.dense = nn.Embedding(5, 2), nn.Linear(4, 1)

    def forward(self, x):
        return self.dense(self.words(x).flatten(1))


def drawn():
    x = Input(shape=(2,))
    return Model(x, Dense(1)(Flatten()(Embedding(5, 2, name="words")(x))))


@pytest.mark.parametrize("make", [drawn, Net])
@pytest.mark.parametrize("method", ["fit", "predict", "train_on_batch"])
@pytest.mark.parametrize("index", [5, -1])
def test_the_embedding_the_index_and_the_range_are_told(make, method, index):
    model = make()
    model.compile("sgd", "mse", device="cpu")
    data = (WORDS + [[0, 0], [index - 2, 0]],) if method == "predict" else (WORDS + [[0, 0], [index - 2, 0]], MOODS)
    with pytest.raises(IndexError, match=f"The embedding 'words' has rows for the indices 0 to 4, and was given {index}"):
        getattr(model, method)(*data)


def test_other_errors_of_indices_are_left_alone():
    class Own(Net):
        def train_step(self, batch):
            return batch[7]

    own = Own()
    own.compile("sgd", "mse", device="cpu")
    with pytest.raises(IndexError, match="tuple index out of range"):
        own.train_on_batch(WORDS, MOODS)
