"""The same model with the same weights, trained by both libraries: predictions, loss curves, metrics, validation figures, weights."""

import random
import string

import keras
import numpy as np
import pytest

from parity.twins import LIBRARIES, same, twins

EPOCHS = 3


def arrays(*shapes, seed=0, samples=44):
    """Return standard normal arrays; 44 samples leave a short last batch of 12 after two of 16."""
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(samples, *shape)).astype("float32") for shape in shapes]


def classes(count, *shape, seed=1, samples=44):
    return np.random.default_rng(seed).integers(0, count, size=(samples, *shape)).astype("int32")


def train(recipe, compiling, x, y, **fitting):
    """Train twins: predictions, loss curve, all figures, `evaluate` and weights agree. `compiling` is a function of the library."""
    ours, theirs = pair = twins(recipe)
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    options = {"epochs": EPOCHS, "batch_size": 16, "shuffle": False, "verbose": 0} | fitting
    for library, model in zip(LIBRARIES, pair, strict=True):
        model.compile(**compiling(library))
    before = ours.get_weights()
    history, their_history = (model.fit(x, y, **options).history for model in pair)
    assert len(history["loss"]) == options["epochs"]
    same(history, their_history, 1e-4)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(before, ours.get_weights(), strict=True)), (
        "nothing was learned: nothing is compared"
    )
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    same(ours.get_weights(), theirs.get_weights(), 1e-4)
    weight = {"sample_weight": fitting["sample_weight"]} if "sample_weight" in fitting else {}
    same(*(model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True, **weight) for model in pair), 1e-4)
    return ours, theirs


def choose(optimizer="SGD", **options):
    """Return what `compile` gets, as a function of the library; a pair is an optimizer's name and its options."""
    name, arguments = optimizer if isinstance(optimizer, tuple) else (optimizer, {"learning_rate": 0.1})
    return lambda k: {"optimizer": getattr(k.optimizers, name)(**arguments), **options}


# ---------------------------------------------------------------------- architectures


def softmax_classifier(k):
    x = k.Input((8,), name="pixels")
    h = k.layers.Dense(16, activation="relu")(x)
    return k.Model(x, k.layers.Dense(4, activation="softmax", name="digit")(h))


def logits_classifier(k):
    x = k.Input((8,))
    return k.Model(x, k.layers.Dense(4)(k.layers.Dense(16, activation="tanh")(x)))


def binary_classifier(k):
    x = k.Input((8,))
    h = k.layers.Dense(12, activation="tanh")(x)
    return k.Model(x, k.layers.Dense(1, activation="sigmoid")(h))


def multi_label_classifier(k):
    x = k.Input((8,))
    return k.Model(x, k.layers.Dense(3, activation="sigmoid")(k.layers.Dense(12, activation="elu")(x)))


def regression(k):
    x = k.Input((8,))
    h = k.layers.Dense(12, activation="tanh")(x)
    return k.Model(x, k.layers.Dense(1)(k.layers.Dense(6, activation="softplus")(h)))


def sequential(k):
    layers = [k.layers.Dense(12, activation="tanh"), k.layers.Dropout(0.0), k.layers.Activation("sigmoid"), k.layers.Dense(1)]
    return k.Sequential([k.Input((8,)), *layers])


def residual(k):
    x = k.Input((8,))
    h = k.layers.Dense(8, activation="tanh")(x)
    h = k.layers.Add()([x, k.layers.Multiply()([h, k.layers.Dense(8, activation="sigmoid")(x)])])
    return k.Model(x, k.layers.Dense(1)(k.layers.Average()([h, k.layers.Maximum()([x, h])])))


def reshaping(k):
    x = k.Input((8,))
    h = k.layers.Permute((2, 1))(k.layers.Reshape((4, -1))(x))
    h = k.layers.Flatten()(k.layers.Dense(3, activation="tanh")(h))
    h = k.layers.Concatenate(axis=1)([k.layers.RepeatVector(2)(h), k.layers.Reshape((1, 6))(k.layers.Dense(6)(h))])
    return k.Model(x, k.layers.Dense(1)(k.layers.Lambda(lambda t: t[:, -1] * 0.5)(h)))


def dot_products(k):
    x = k.Input((8,))
    a, b = (k.layers.Reshape((2, 4))(k.layers.Dense(8, activation="tanh")(x)) for _ in range(2))
    scores = k.layers.Dot(axes=2, normalize=True)([a, b])
    return k.Model(x, k.layers.Dense(1)(k.layers.Flatten()(k.layers.Dot(axes=(2, 1))([scores, a]))))


def normalized(k):
    x = k.Input((8,))
    h = k.layers.Dense(12, use_bias=False)(x)
    h = k.layers.BatchNormalization(momentum=0.8)(h)
    h = k.layers.Dropout(0.0)(k.layers.Activation("relu")(h))
    return k.Model(x, k.layers.Dense(1)(k.layers.BatchNormalization(center=False, scale=False, momentum=0.5)(k.layers.Dense(4)(h))))


def nested(k):
    inner_input = k.Input((8,))
    inner = k.Model(inner_input, k.layers.Dense(5, activation="tanh")(inner_input), name="inner")
    x = k.Input((8,))
    return k.Model(x, k.layers.Dense(1)(k.layers.Concatenate()([inner(x), inner(k.layers.Dense(8)(x))])))


def two_in_two_out(k):
    a, b = k.Input((5,), name="a"), k.Input((5,), name="b")
    shared = k.layers.Dense(6, activation="tanh", name="shared")
    left, right = shared(a), shared(b)
    joined = k.layers.Concatenate(name="joined")([left, right, k.layers.Subtract(name="difference")([left, right])])
    number = k.layers.Dense(1, name="number")(joined)
    kind = k.layers.Dense(3, activation="softmax", name="kind")(joined)
    return k.Model([a, b], [number, kind])


def steps(k, units=1, activation=None, mask_zero=True):
    """A model with an output for each step, where padded steps are masked."""
    x = k.Input((6,), dtype="int32", name="words")
    h = k.layers.Embedding(10, 5, mask_zero=mask_zero)(x)
    h = k.layers.Dropout(0.0)(k.layers.Dense(7, activation="tanh")(h))
    return k.Model(x, k.layers.Dense(units, activation=activation, name="tag")(h))


def embedded(k):
    x = k.Input((6,), dtype="int32")
    h = k.layers.Flatten()(k.layers.Embedding(10, 4)(x))
    return k.Model(x, k.layers.Dense(1)(h))


X, TARGET = arrays((8,), (1,))
ARCHITECTURES = {
    "softmax, class indices": (softmax_classifier, X, classes(4), {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}),
    "softmax, one-hot": (
        softmax_classifier,
        X,
        np.eye(4)[classes(4)],
        {"loss": "categorical_crossentropy", "metrics": ["accuracy", "mse"]},
    ),
    "softmax, mean squared error": (softmax_classifier, X, np.eye(4)[classes(4)], {"loss": "mse", "metrics": ["categorical_accuracy"]}),
    "sigmoid": (binary_classifier, X, classes(2), {"loss": "binary_crossentropy", "metrics": ["accuracy", "mae"]}),
    "several sigmoids": (multi_label_classifier, X, classes(2, 3), {"loss": "binary_crossentropy", "metrics": ["binary_accuracy"]}),
    "regression": (regression, X, TARGET, {"loss": "mse", "metrics": ["mae", "mean_squared_error"]}),
    "regression, flat targets": (regression, X, TARGET[:, 0], {"loss": "mse"}),
    "absolute error": (regression, X, TARGET, {"loss": "mean_absolute_error", "metrics": ["MSE"]}),
    "sequential": (sequential, X, TARGET, {"loss": "mse"}),
    "residual": (residual, X, TARGET, {"loss": "mse"}),
    "reshaping": (reshaping, X, TARGET, {"loss": "mse"}),
    "dot products": (dot_products, X, TARGET, {"loss": "mse"}),
    "normalized": (normalized, X, TARGET, {"loss": "mse"}),
    "nested": (nested, X, TARGET, {"loss": "mse"}),
    "embedding": (embedded, classes(10, 6), TARGET, {"loss": "mse"}),
}


@pytest.mark.parametrize(("recipe", "x", "y", "compiling"), [pytest.param(*case, id=name) for name, case in ARCHITECTURES.items()])
def test_architecture(recipe, x, y, compiling):
    train(recipe, choose(**compiling), x, y)


def test_losses_with_options():
    one_hot = np.eye(4)[classes(4)]
    losses = [
        (logits_classifier, classes(4), lambda k: k.losses.SparseCategoricalCrossentropy(from_logits=True)),
        (logits_classifier, one_hot, lambda k: k.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)),
        (softmax_classifier, one_hot, lambda k: k.losses.CategoricalCrossentropy(label_smoothing=0.1)),
        (binary_classifier, classes(2), lambda k: k.losses.BinaryCrossentropy(label_smoothing=0.2)),
        (regression, classes(2), lambda k: k.losses.BinaryCrossentropy(from_logits=True)),
    ]
    for recipe, y, loss in losses:
        train(recipe, lambda k, loss=loss: {"optimizer": k.optimizers.SGD(0.1), "loss": loss(k), "metrics": ["accuracy"]}, X, y)


def test_loss_summed_over_the_batch():
    train(regression, lambda k: {"optimizer": k.optimizers.SGD(0.005), "loss": k.losses.MeanSquaredError(reduction="sum")}, X, TARGET)


def test_loss_and_metric_of_the_user():
    def quartic(y_true, y_pred):
        return (y_true - y_pred) ** 4

    def largest(y_true, y_pred):
        return abs(y_true - y_pred).max(-1).values

    train(regression, choose(("SGD", {"learning_rate": 0.002}), loss=quartic, metrics=[largest]), X, TARGET)


# ---------------------------------------------------------------------- optimizers

OPTIMIZERS = {
    "SGD": ("SGD", {"learning_rate": 0.1}),
    "SGD by default": ("SGD", {}),
    "momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "Nesterov": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    "Nesterov without momentum": ("SGD", {"learning_rate": 0.05, "nesterov": True}),
    "Adam": ("Adam", {}),
    # Keras adds epsilon before the second moment is freed of its bias, torch after: an epsilon up to 30 times as large in the first
    # steps. Both are too small to be felt at Adam's own learning rate; at a larger one the epsilon is made smaller.
    "Adam, large steps": ("Adam", {"learning_rate": 0.01, "epsilon": 1e-12}),
    "Adam, other betas": ("Adam", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-12}),
    "AMSGrad": ("Adam", {"learning_rate": 0.01, "amsgrad": True, "epsilon": 1e-12}),
    "clipped values": ("SGD", {"learning_rate": 0.1, "clipvalue": 0.01}),
    "clipped norms": ("SGD", {"learning_rate": 0.1, "clipnorm": 0.05}),
    "clipped global norm": ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.1}),
    "clipped momentum": ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "clipnorm": 0.05}),
}


@pytest.mark.parametrize("optimizer", [pytest.param(case, id=name) for name, case in OPTIMIZERS.items()])
@pytest.mark.parametrize("name", ["softmax, class indices", "sigmoid", "regression", "residual"])
def test_optimizer(optimizer, name):
    recipe, x, y, compiling = ARCHITECTURES[name]
    train(recipe, choose(optimizer, **compiling), x, y)


@pytest.mark.parametrize("options", [{}, {"rho": 0.8}, {"momentum": 0.5}, {"centered": True}])
@pytest.mark.parametrize("name", ["softmax, class indices", "regression"])
def test_rmsprop(options, name):
    # Keras adds epsilon to the mean square, torch to its root. With 1e-14 inside and outside neither is felt where gradients
    # are above 1e-6, and the rest of the formulas can be compared.
    recipe, x, y, compiling = ARCHITECTURES[name]
    train(recipe, choose(("RMSprop", {"learning_rate": 0.002, "epsilon": 1e-14, **options}), **compiling), x, y)


def test_rmsprop_with_the_epsilon_of_every_day():
    # Targets of a thousand make gradients of hundreds, beside which both places for an epsilon of 1e-7 come to the same.
    train(regression, choose(("RMSprop", {"learning_rate": 0.002}), loss="mse"), X, 1000 * TARGET)


@pytest.mark.parametrize("name", ["sgd", "adam", "SGD", "Adam"])
def test_optimizer_by_name(name):
    train(regression, lambda k: {"optimizer": name, "loss": "mse"}, X, TARGET)


# ---------------------------------------------------------------------- several inputs and outputs

A, B, NUMBER = arrays((5,), (5,), (1,), seed=3)
KIND = classes(3, seed=4)
SEVERAL = {"loss": ["mse", "sparse_categorical_crossentropy"], "metrics": [["mae"], ["accuracy"]]}
SEVERAL_BY_NAME = {
    "loss": {"number": "mae", "kind": "sparse_categorical_crossentropy"},
    "loss_weights": {"number": 0.3, "kind": 2.0},
    "metrics": {"number": ["mse", "mae"], "kind": ["accuracy"]},
}


@pytest.mark.parametrize(
    "compiling",
    [
        SEVERAL,
        SEVERAL | {"loss_weights": [1.0, 0.2]},
        SEVERAL_BY_NAME,
        {"loss": ["mse", "sparse_categorical_crossentropy"], "loss_weights": [0, 1]},
    ],
    ids=["lists", "loss weights", "names", "no weight"],
)
@pytest.mark.parametrize("optimizer", ["SGD", ("Adam", {"learning_rate": 0.01, "epsilon": 1e-12})], ids=["SGD", "Adam"])
def test_two_inputs_and_two_outputs(compiling, optimizer):
    train(two_in_two_out, choose(optimizer, **compiling), [A, B], [NUMBER, KIND])


def test_inputs_and_targets_by_name():
    ours, theirs = twins(two_in_two_out)
    curves = []
    for k, model in zip(LIBRARIES, (ours, theirs), strict=True):
        model.compile(**choose(**SEVERAL_BY_NAME)(k))
        x, y = {"b": B, "a": A}, {"kind": KIND, "number": NUMBER}
        curves.append(model.fit(x, y, epochs=2, shuffle=False, verbose=0, validation_data=(x, y)).history)
    same(*curves, 1e-4)


@pytest.mark.parametrize("steps", [1, 2])
def test_steps_per_epoch_goes_on_in_the_data_from_epoch_to_epoch(steps):
    curves = []
    for model, k in zip(twins(regression), LIBRARIES, strict=True):
        model.compile(**choose(loss="mse")(k))
        curves.append(model.fit(X, TARGET, batch_size=8, epochs=4, steps_per_epoch=steps, shuffle=False, verbose=0).history)
    same(*curves, 1e-4)


def test_validation_and_sample_weight_of_two_outputs():
    weights = [np.linspace(0, 2, 44, dtype="float32"), np.linspace(1, 0, 44, dtype="float32")]
    train(two_in_two_out, choose(**SEVERAL), [A, B], [NUMBER, KIND], validation_split=0.25)
    train(two_in_two_out, choose(**SEVERAL), [A, B], [NUMBER, KIND], sample_weight=weights)


# ---------------------------------------------------------------------- validation, weights, batches


@pytest.mark.parametrize("name", ["softmax, class indices", "sigmoid", "regression", "normalized"])
@pytest.mark.parametrize(
    "fitting",
    [
        {"validation_split": 0.25},
        {"validation_split": 0.1, "batch_size": 7},
        {"validation_data": True},
        {"validation_data": "weighted"},
        {"batch_size": 44},
        {"batch_size": 100},
        {"batch_size": 43},
        {"batch_size": None},
    ],
    ids=str,
)
def test_fitting(name, fitting):
    recipe, x, y, compiling = ARCHITECTURES[name]
    if fitting.get("validation_data"):
        held_out = (x[:21] + 0.5, y[:21])
        weights = (np.linspace(0, 2, 21, dtype="float32"),) if fitting["validation_data"] == "weighted" else ()
        fitting = {"validation_data": held_out + weights}
    train(recipe, choose(**compiling), x, y, **fitting)


@pytest.mark.parametrize(
    "name", ["softmax, class indices", "softmax, one-hot", "sigmoid", "several sigmoids", "regression", "regression, flat targets"]
)
@pytest.mark.parametrize("validated", [False, True])
def test_sample_weight(name, validated):
    recipe, x, y, compiling = ARCHITECTURES[name]
    weights = np.random.default_rng(0).uniform(0, 2, size=44).astype("float32")
    weights[:20] = 0  # a batch in which nothing counts
    figures = [figure for figure in compiling.get("metrics", []) if "accuracy" in figure]
    options = {"validation_data": (x[:20], y[:20], weights[20:40])} if validated else {}
    train(recipe, choose(**compiling, weighted_metrics=figures), x, y, sample_weight=weights, **options)


@pytest.mark.parametrize(
    "name", ["softmax, class indices", "softmax, one-hot", "sigmoid", "several sigmoids", "regression", "absolute error"]
)
def test_loss_as_a_weighted_metric_is_the_weighted_loss(name):
    # Keras divides a weighted metric by the sum of the weights and a weighted loss by the number of samples; we do the second for both,
    # where the metric is a loss: our metric is compared with Keras' loss.
    recipe, x, y, compiling = ARCHITECTURES[name]
    weights = np.random.default_rng(0).uniform(0, 2, size=44).astype("float32")
    ours, theirs = pair = twins(recipe)
    ours.compile("sgd", compiling["loss"], weighted_metrics=[compiling["loss"]])
    theirs.compile("sgd", compiling["loss"])
    figures, their_figures = (
        model.fit(x, y, epochs=3, batch_size=16, shuffle=False, verbose=0, sample_weight=weights, validation_data=(x, y, weights)).history
        for model in pair
    )
    for prefix in ("", "val_"):
        same(figures[prefix + "loss"], their_figures[prefix + "loss"], 1e-4)
        same(figures[prefix + compiling["loss"]], their_figures[prefix + "loss"], 1e-4)


@pytest.mark.parametrize("name", ["softmax, class indices", "sigmoid"])
def test_class_weight(name):
    recipe, x, y, compiling = ARCHITECTURES[name]
    weights = {index: 0.5 + index for index in range(int(y.max()) + 1)}
    train(recipe, choose(**compiling), x, y, class_weight=weights)


def test_one_batch_at_a_time():
    recipe, x, y, compiling = ARCHITECTURES["softmax, class indices"]
    ours, theirs = pair = twins(recipe)
    for k, model in zip(LIBRARIES, pair, strict=True):
        model.compile(**choose(**compiling)(k))
    weight = np.linspace(0, 2, 44, dtype="float32")
    same(ours.test_on_batch(x, y), theirs.test_on_batch(x, y), 1e-4)
    for part in (slice(0, 16), slice(16, 32), slice(32, 44)):
        for options in ({}, {"sample_weight": weight[part]}):
            for model in pair:
                model.reset_metrics() if model is theirs else None  # Keras 3 goes on counting from batch to batch, Keras 2 did not
            same(*(model.train_on_batch(x[part], y[part], **options) for model in pair), 1e-4)
    same(ours.predict_on_batch(x), theirs.predict_on_batch(x), 1e-5)
    theirs.reset_metrics()
    same(*(model.test_on_batch(x, y, sample_weight=weight) for model in pair), 1e-4)


@pytest.mark.parametrize("batch_size", [None, 5, 44])
def test_evaluate(batch_size):
    recipe, x, y, compiling = ARCHITECTURES["softmax, class indices"]
    pair = twins(recipe)
    for k, model in zip(LIBRARIES, pair, strict=True):
        model.compile(**choose(**compiling)(k))
    same(*(model.evaluate(x, y, batch_size=batch_size, verbose=0) for model in pair), 1e-5)
    same(*(model.evaluate(x, y, batch_size=batch_size, sample_weight=np.linspace(0, 1, 44), verbose=0) for model in pair), 1e-5)
    same(*(model.predict(x, batch_size=batch_size, verbose=0) for model in pair))


# ---------------------------------------------------------------------- masks


def padded(seed=5):
    """Return rows of words that end in zeros of unequal number; the last ones are all padding."""
    words = np.random.default_rng(seed).integers(1, 10, size=(44, 6))
    lengths = np.random.default_rng(seed + 1).integers(1, 7, size=44)
    lengths[-1] = 0
    return (words * (np.arange(6) < lengths[:, None])).astype("int32")


WORDS = padded()
TAGS = classes(4, 6, seed=6)
VALUES = arrays((6, 1), seed=7)[0]


@pytest.mark.parametrize("mask_zero", [True, False])
@pytest.mark.parametrize(
    ("units", "activation", "y", "compiling"),
    [
        (1, None, VALUES, {"loss": "mse", "metrics": ["mae"]}),
        (2, None, np.concatenate([VALUES, -VALUES], -1), {"loss": "mae"}),
        (1, "sigmoid", classes(2, 6, 1), {"loss": "binary_crossentropy", "metrics": ["binary_accuracy"]}),
        (4, "softmax", TAGS, {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}),
        (4, "softmax", np.eye(4)[TAGS], {"loss": "categorical_crossentropy", "metrics": ["accuracy", "mse"]}),
    ],
    ids=["regression", "two values", "binary", "class indices", "one-hot"],
)
def test_mask_reaches_loss_and_metrics(units, activation, y, compiling, mask_zero):
    train(lambda k: steps(k, units, activation, mask_zero), choose(**compiling), WORDS, y, validation_split=0.2)


def test_mask_and_weights_for_every_step():
    weight = np.random.default_rng(0).uniform(0, 2, size=(44, 6)).astype("float32")

    def compiling(k):
        # 'temporal' is a word of Keras 2, which Keras 3 does without. No weighted metrics: in Keras 3.15 on torch the loss multiplies the
        # mask into the batch's weights in place, so that they reach the metrics changed.
        mode = {} if k is keras else {"sample_weight_mode": "temporal"}
        return {"optimizer": k.optimizers.SGD(0.1), "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **mode}

    train(lambda k: steps(k, 4, "softmax"), compiling, WORDS, TAGS, sample_weight=weight)


def test_mask_and_weights_for_every_sample():
    weight = np.random.default_rng(0).uniform(0, 2, size=44).astype("float32")
    ours, theirs = twins(lambda k: steps(k, 4, "softmax"))
    curves = []
    # Keras does not broadcast weights where there is a mask, and is given each as often as there are steps.
    for k, model, given in zip(LIBRARIES, (ours, theirs), (weight, weight[:, None].repeat(6, 1)), strict=True):
        model.compile(**choose(loss="sparse_categorical_crossentropy")(k))
        curves.append(model.fit(WORDS, TAGS, epochs=3, batch_size=16, shuffle=False, verbose=0, sample_weight=given).history)
    same(*curves, 1e-4)
    same(ours.get_weights(), theirs.get_weights(), 1e-4)


def merged_words(names):
    def recipe(k):
        x = k.Input((6,), dtype="int32")
        a, b = (k.layers.Embedding(10, 4, mask_zero=True)(x) for _ in range(2))
        h = k.layers.Concatenate()([getattr(k.layers, name)()([a, b]) for name in names])
        return k.Model(x, k.layers.Dense(1)(k.layers.Activation("tanh")(h)))

    return recipe


def test_masks_of_one_kind_join():
    train(merged_words(["Add", "Average"]), choose(loss="mse"), WORDS, VALUES)


def test_masks_of_one_kind_join_where_keras_fills_in():
    # Keras 3 puts zeros in the masked steps of products and extremes, Keras 2 and we leave them; the loss sees neither.
    ours, theirs = pair = twins(merged_words(["Multiply", "Maximum", "Minimum"]))
    for k, model in zip(LIBRARIES, pair, strict=True):
        model.compile(**choose(loss="mse")(k))
    same(*(model.fit(WORDS, VALUES, epochs=3, shuffle=False, verbose=0).history for model in pair), 1e-4)
    same(*(model.predict(WORDS, verbose=0)[WORDS != 0] for model in pair))


@pytest.mark.parametrize("make", [lambda k: k.layers.Flatten(), lambda k: k.layers.Lambda(lambda t: t.mean(1))], ids=["Flatten", "Lambda"])
def test_layers_that_end_a_mask(make):
    def recipe(k):
        x = k.Input((6,), dtype="int32")
        return k.Model(x, k.layers.Dense(1)(make(k)(k.layers.Embedding(10, 4, mask_zero=True)(x))))

    train(recipe, choose(loss="mse"), WORDS, TARGET)


# ---------------------------------------------------------------------- frozen layers and costs of weights


@pytest.mark.parametrize("name", ["dense", "normalization"])
def test_frozen_layer(name):
    def recipe(k):
        x = k.Input((8,))
        h = k.layers.Dense(6, activation="tanh", name="dense", use_bias=False)(x)
        h = k.layers.BatchNormalization(name="normalization")(h)
        model = k.Model(x, k.layers.Dense(1, name="head")(h))
        model.get_layer(name).trainable = False
        return model

    ours, theirs = train(recipe, choose(loss="mse"), X, TARGET)
    assert len(ours.trainable_weights) == len(theirs.trainable_weights)
    assert len(ours.non_trainable_weights) == len(theirs.non_trainable_weights)


def test_a_frozen_model_with_a_layer_that_is_trained_again():
    def recipe(k):
        x, y = k.Input((8,)), k.Input((8,))
        h = k.layers.BatchNormalization(name="normalization")(k.layers.Dense(6, name="dense")(x))
        base = k.Model(x, k.layers.Dense(4, activation="tanh", name="thawed")(h))
        base.trainable = False
        base.get_layer("thawed").trainable = True
        return k.Model(y, k.layers.Dense(1, name="head")(base(y)))

    ours, theirs = train(recipe, choose(loss="mse"), X, TARGET)
    assert len(ours.trainable_weights) == len(theirs.trainable_weights) == 4


def test_regularizers_and_constraints():
    def recipe(k):
        x = k.Input((8,))
        norm, both = k.regularizers.L2(0.05), k.regularizers.L1L2(l1=0.01, l2=0.02)
        h = k.layers.Dense(
            6, activation="tanh", kernel_regularizer=norm, bias_regularizer="l1", kernel_constraint=k.constraints.MaxNorm(0.8)
        )(x)
        # no activity regularizer: Keras 3 divides it by the batch size, here it is what it says, as in Keras 2
        h = k.layers.Dense(5, bias_constraint="non_neg")(h)
        return k.Model(x, k.layers.Dense(1, kernel_regularizer=both, kernel_constraint=k.constraints.UnitNorm())(h))

    train(recipe, choose(loss="mse"), X, TARGET, validation_split=0.25)


# ---------------------------------------------------------------------- random architectures

ACTIVATIONS = ("tanh", "sigmoid", "softplus", "elu", "relu", "gelu", None)  # relu too: a kink is met with probability 0


def random_architecture(seed):
    """Return a recipe that draws the same random graph in whichever library it is given, the shapes of its inputs, and its heads."""

    def recipe(k):
        choice = random.Random(seed)
        name = iter(string.ascii_lowercase).__next__
        inputs = [k.Input((choice.randint(2, 6),), name=f"input_{name()}") for _ in range(choice.randint(1, 3))]
        tensors, shared = list(inputs), {}

        def vector(x):
            return k.layers.Flatten()(x) if len(x.shape) > 2 else x

        def dense(x):
            return k.layers.Dense(choice.randint(2, 6), activation=choice.choice(ACTIVATIONS), use_bias=choice.random() < 0.8)(x)

        def reused(x):
            size = x.shape[-1]
            if size not in shared:
                shared[size] = k.layers.Dense(size, activation=choice.choice(ACTIVATIONS))
            return shared[size](x)

        def normalize(x):
            return k.layers.BatchNormalization(momentum=0.7, epsilon=0.1, scale=choice.random() < 0.5)(x)

        def repeat(x):
            return k.layers.RepeatVector(choice.randint(1, 3))(vector(x))

        def transposed(x):
            return k.layers.Permute((2, 1))(x) if len(x.shape) > 2 else k.layers.Reshape((1, -1))(x)

        def dropped(x):
            return k.layers.Dropout(0.0)(k.layers.Activation("tanh")(x))

        def function(x):
            return k.layers.Lambda(lambda t: t * 0.5 + t * t * 0.1)(k.layers.Activation("tanh")(x))

        def merged(x):
            kind = choice.choice((k.layers.Add, k.layers.Subtract, k.layers.Multiply, k.layers.Average, k.layers.Maximum, k.layers.Minimum))
            fellows = [t for t in tensors if t.shape[-1] == x.shape[-1] and len(t.shape) == len(x.shape) == 2]
            other = choice.choice(fellows) if fellows else dense(x)
            x, other = (x, other) if x.shape == other.shape else (k.layers.Dense(3)(vector(x)), k.layers.Dense(3)(vector(other)))
            return kind()([x, other])

        def joined(x):
            return k.layers.Concatenate()([vector(x), vector(choice.choice(tensors))])

        def dotted(x):
            other = k.layers.Dense(vector(x).shape[-1], activation="tanh")(vector(choice.choice(tensors)))
            return k.layers.Dot(axes=1, normalize=choice.random() < 0.5)([vector(x), other])

        moves = (dense, dense, reused, normalize, repeat, transposed, dropped, function, merged, joined, dotted)
        for _ in range(choice.randint(4, 9)):
            tensors.append(choice.choice(moves)(choice.choice(tensors)))
        body = k.layers.Activation("tanh")(k.layers.Concatenate()([vector(t) for t in tensors]))
        heads = [k.layers.Dense(1, name="number")(body), k.layers.Dense(3, activation="softmax", name="kind")(body)]
        return k.Model(inputs, heads[: choice.randint(1, 2)])

    return recipe


@pytest.mark.parametrize("seed", range(15))
def test_random_architecture(seed):
    recipe = random_architecture(seed)
    drawn = recipe(keras)
    x = arrays(*(tensor.shape[1:] for tensor in drawn.inputs), seed=seed)
    y = [NUMBER, KIND][: len(drawn.outputs)]
    losses = ["mse", "sparse_categorical_crossentropy"][: len(drawn.outputs)]
    if len(y) == 1:
        x, y, losses = x if len(x) > 1 else x[0], y[0], losses[0]
    elif len(x) == 1:
        x = x[0]
    optimizer = ("SGD", {"learning_rate": 0.02, "momentum": 0.9 if seed % 2 else 0.0})
    train(recipe, choose(optimizer, loss=losses), x, y, validation_split=0.2)
