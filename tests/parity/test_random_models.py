"""Random models, with branches, shared layers, several inputs and outputs, and masks, against the real Keras: each seed draws another.

Predictions, the loss, and two epochs of training with stochastic gradient descent are compared. Other optimizers divide by
the size of gradients, which makes noise of those that are nothing but noise: tests/parity/test_optimizers.py has them.
"""

import random

import numpy as np
import pytest

from tests.parity.twins import LIBRARIES, same, twins

SAMPLES = 10
INPUTS = {"vector": (4,), "steps": (6, 3), "image": (5, 6, 2), "volume": (3, 4, 4, 2), "words": (6,)}
ACTIVATIONS = ["relu", "tanh", "sigmoid", "elu", "gelu", "softplus", "linear", "softmax", "silu"]
TARGETS = {  # the head's units and activation, losses and metrics
    "numbers": (2, None, ["mse", "mae", "huber", "log_cosh"], ["mae", "mse", "cosine_similarity"]),
    "yes or no": (1, "sigmoid", ["binary_crossentropy", "binary_focal_crossentropy", "hinge"], ["accuracy", "Precision"]),
    "shares": (3, "softmax", ["categorical_crossentropy", "kl_divergence", "poisson"], ["accuracy", "categorical_accuracy"]),
    "classes": (3, "softmax", ["sparse_categorical_crossentropy"], ["accuracy", "sparse_categorical_accuracy"]),
}


class Drawing:
    """One library's side of a drawing: the same seed makes the same choices in both."""

    def __init__(self, library, seed):
        self.layers = library.layers
        self.input = library.Input
        self.random = random.Random(seed)
        self.one_of = lambda *choices: self.random.choice(choices)
        self.shared = {}

    def activation(self):
        return self.random.choice(ACTIVATIONS)

    def begin(self, index):
        kind = self.one_of(*INPUTS)
        x = self.input(shape=INPUTS[kind], name=f"input{index}", dtype="int32" if kind == "words" else None)
        return x, self.layers.Embedding(9, 4, mask_zero=self.one_of(True, False))(x) if kind == "words" else x

    def step(self, x):
        """A layer that takes such a tensor, called on it."""
        rank = len(x.shape) - 2
        make = [self.dense, self.normalization, self.rearranged]
        make += {0: [self.advanced_activation, self.twice], 1: [self.recurrent, self.attention, self.twice], 2: [], 3: []}[rank]
        make += [self.convolution, self.convolution, self.pooling, self.resizing] if rank else []
        return self.random.choice(make)(x, rank)

    def dense(self, x, rank):
        options = {"kernel_regularizer": self.one_of(None, "l2"), "kernel_constraint": self.one_of(None, "unit_norm")}
        return self.layers.Dense(self.one_of(2, 4), self.activation(), self.one_of(True, False), **options)(x)

    def twice(self, x, rank):
        layer = self.shared.setdefault(x.shape[-1], self.layers.Dense(x.shape[-1], self.activation()))
        return layer(layer(x))

    def normalization(self, x, rank):
        kind = self.one_of("BatchNormalization", "LayerNormalization", "UnitNormalization", "GroupNormalization")
        options = {"center": self.one_of(True, False), "scale": self.one_of(True, False)} if kind[0] in "BL" else {}
        return getattr(self.layers, kind)(**options, **({"groups": self.one_of(1, -1)} if kind[0] == "G" else {}))(x)

    def rearranged(self, x, rank):
        if rank == 0:
            return self.one_of(self.layers.RepeatVector(2), self.layers.Reshape((-1, 1)))(x)
        axes = list(range(1, rank + 2))
        self.random.shuffle(axes)
        return self.one_of(self.layers.Permute(tuple(axes)), self.layers.Flatten())(x)

    def advanced_activation(self, x, rank):
        layer = self.one_of(self.layers.LeakyReLU(0.2), self.layers.PReLU("ones"), self.layers.ReLU(1.0, 0.1, 0.1), self.layers.Softmax())
        return layer(x)

    def recurrent(self, x, rank):
        kind = getattr(self.layers, self.one_of("LSTM", "GRU", "SimpleRNN"))
        layer = kind(3, return_sequences=self.one_of(True, False), go_backwards=self.one_of(False, False, True))
        if self.one_of(True, False):
            layer = self.layers.Bidirectional(kind(2, return_sequences=True), merge_mode=self.one_of("concat", "sum", "mul", "ave"))
        return layer(x)

    def attention(self, x, rank):
        if self.one_of(True, False):
            return self.layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=self.one_of(True, False))
        return self.one_of(self.layers.Attention(use_scale=True), self.layers.AdditiveAttention())([x, x])

    def convolution(self, x, rank):
        kinds = [f"Conv{rank}D", f"Conv{rank}DTranspose", *([f"SeparableConv{rank}D"] if rank < 3 else [])]
        options = {"padding": "same", "strides": self.one_of(1, 2), "activation": self.activation()}
        return getattr(self.layers, self.random.choice(kinds))(3, self.one_of(1, 2), **options)(x)

    def pooling(self, x, rank):
        kind = self.one_of("MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling")
        options = {"keepdims": self.one_of(True, False)} if kind[0] == "G" else {"pool_size": 2, "padding": "same"}
        return getattr(self.layers, f"{kind}{rank}D")(**options)(x)

    def resizing(self, x, rank):
        return getattr(self.layers, self.one_of(f"ZeroPadding{rank}D", f"UpSampling{rank}D"))(self.one_of(1, 2))(x)

    def join(self, first, second):
        """Both in one tensor: element by element, or side by side, or flat."""
        if first.shape == second.shape:
            return getattr(self.layers, self.one_of("Add", "Multiply", "Maximum", "Minimum", "Average", "Subtract"))()([first, second])
        is_along = len(first.shape) == len(second.shape) == 3 and first.shape[1] == second.shape[1]
        return self.layers.Concatenate()([first, second] if is_along else [self.flat(first), self.flat(second)])

    def flat(self, x):
        return x if len(x.shape) == 2 else self.layers.Flatten()(x)


def recipe(seed):
    """Return the function of a library that draws the seed's model, and the choices that are made after it."""

    def draw(library):
        drawing = Drawing(library, seed)
        inputs, tensors = zip(*(drawing.begin(index) for index in range(drawing.one_of(1, 1, 2))), strict=True)
        tensors = list(tensors)
        for _ in range(drawing.one_of(2, 3, 4)):
            joins = len(tensors) > 1 and drawing.one_of(True, False, False)
            tensors.append(drawing.join(*drawing.random.sample(tensors, 2)) if joins else drawing.step(tensors[-1]))
        last = [tensors[-1], drawing.layers.Concatenate()([drawing.flat(x) for x in [*tensors[: len(inputs)], tensors[-1]]])]
        kinds = drawing.random.sample(list(TARGETS), drawing.one_of(1, 2))
        outputs = [
            drawing.layers.Dense(*TARGETS[kind][:2], name=kind.replace(" ", "_"))(x if kind == "numbers" else drawing.flat(x))
            for kind, x in zip(kinds, last[2 - len(kinds) :], strict=True)
        ]
        model = library.Model(list(inputs), outputs)
        model.choices = drawing.random.random()
        model.kinds = kinds
        return model

    return draw


def target(kind, shape, numbers):
    if kind in ("yes or no", "classes"):
        return numbers.integers(0, 3 if kind == "classes" else 2, (SAMPLES, *([] if kind == "classes" else shape)))
    return numbers.normal(size=(SAMPLES, *shape)) if kind == "numbers" else np.eye(shape[-1])[numbers.integers(0, shape[-1], SAMPLES)]


def batches(model, numbers):
    """Data for a model: words, of which the last are often padding, or numbers; and targets."""
    x = []
    for tensor in model.inputs:
        size = (SAMPLES, *tensor.shape[1:])
        words = numbers.integers(0, 9, size) * np.minimum(1, numbers.integers(0, 4, size))
        x.append(words.astype("int32") if "int" in str(tensor.dtype) else numbers.normal(size=size).astype("float32"))
    y = [target(kind, output.shape[1:], numbers) for kind, output in zip(model.kinds, model.outputs, strict=True)]
    return x, [part.astype("float32") if part.dtype.kind == "f" else part for part in y]


@pytest.mark.parametrize("seed", range(25))
def test_a_random_model_trains_as_in_keras(seed):
    models = twins(recipe(seed), seed)
    for model in models:
        model.set_weights([0.5 * weight for weight in model.get_weights()])
    x, y = batches(models[1], np.random.default_rng(seed))
    shapes = [[tuple(tensor.shape) for tensor in model.outputs] for model in models]
    assert shapes[0] == shapes[1]
    results = []
    for library, model in zip(LIBRARIES, models, strict=True):
        chosen = random.Random(model.choices)
        losses, metrics = ([chosen.choice(TARGETS[kind][place]) for kind in model.kinds] for place in (2, 3))
        is_weighted = chosen.random() < 0.5 and all(len(output.shape) == 2 for output in model.outputs)  # Keras fails on others
        weighted = {"sample_weight": [np.linspace(0.5, 2, SAMPLES) for _ in y]} if is_weighted else {}
        optimizer = library.optimizers.SGD(0.02, momentum=chosen.choice([0.0, 0.9]), clipnorm=chosen.choice([None, 1.0]))
        loss_weights = [chosen.choice([0.5, 1.0]) for _ in y]
        model.compile(optimizer, losses, metrics=[[metric] for metric in metrics], loss_weights=loss_weights)
        before = model.predict(x, verbose=0)
        history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0, **weighted).history
        after = np.atleast_1d(model.evaluate(x, y, batch_size=4, verbose=0))[0]
        figures = {name: values for name, values in history.items() if not name.endswith("_loss")}
        results.append([before, figures, after, model.get_weights()])
    same(*results, tolerance=1e-3)
