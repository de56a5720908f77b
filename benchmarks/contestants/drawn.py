"""The models and tasks in Keras' words: the same source runs with this library and with Keras."""

from typing import Any

from tasks import CLASSES, FEATURES, Batches, Run, Task, repeated


def dense(keras: Any, units: int) -> Any:
    """Draw two hidden layers."""
    layers = keras.layers
    pixels = layers.Input(shape=(FEATURES,))
    hidden = layers.Dense(units, activation="relu")(pixels)
    hidden = layers.Dense(units, activation="relu")(hidden)
    return keras.Model(pixels, layers.Dense(CLASSES, activation="softmax")(hidden))


def regression(keras: Any) -> Any:
    """Draw a tiny model, where the cost of a step is nearly all overhead."""
    layers = keras.layers
    features = layers.Input(shape=(20,))
    return keras.Model(features, layers.Dense(1)(layers.Dense(16, activation="relu")(features)))


def two_by_two(keras: Any) -> Any:
    """Draw two inputs that share a layer, and two outputs."""
    layers = keras.layers
    left, right = layers.Input(shape=(32,), name="left"), layers.Input(shape=(32,), name="right")
    shared = layers.Dense(64, activation="relu")
    hidden = layers.Concatenate()([shared(left), shared(right)])
    outputs = [layers.Dense(5, activation="softmax", name="kind")(hidden), layers.Dense(1, name="value")(hidden)]
    return keras.Model([left, right], outputs)


def convolution(keras: Any) -> Any:
    """Draw two convolutions."""
    layers = keras.layers
    convolutions = [layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(32, 3, activation="relu")]
    ending = [layers.MaxPooling2D(), layers.Flatten(), layers.Dense(CLASSES, activation="softmax")]
    return keras.Sequential([layers.Input(shape=(28, 28, 1)), *convolutions, *ending])


def lstm(keras: Any) -> Any:
    """Draw an LSTM and a dense layer on its last output."""
    layers = keras.layers
    return keras.Sequential([layers.Input(shape=(50, 16)), layers.LSTM(64), layers.Dense(CLASSES, activation="softmax")])


MODELS = {
    "dense-64": lambda keras: dense(keras, 64),
    "dense-512": lambda keras: dense(keras, 512),
    "regression": regression,
    "two-by-two": two_by_two,
    "convolution": convolution,
    "lstm": lstm,
}


def compiled(keras: Any, task: Task, **arguments: Any) -> Any:
    """Return the model of a task, compiled with Keras' defaults and further arguments of `compile`."""
    model = MODELS[task.model](keras)
    loss: Any = "sparse_categorical_crossentropy"
    metrics: Any = ["accuracy"]
    if task.model == "regression":
        loss, metrics = "mse", None
    elif task.model == "two-by-two":
        loss, metrics = {"kind": loss, "value": "mse"}, {"kind": "accuracy"}
    model.compile(optimizer="adam", loss=loss, metrics=metrics, **arguments)
    return model


def sequence(base: type, batches: Batches) -> Any:
    """Return batches that are already made as Keras' `Sequence`, of which `base` is the class."""

    class Made(base):  # type: ignore[misc, valid-type]
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: int) -> Any:
            return batches[index]

    return Made()


def one(values: list[Any]) -> Any:
    """Return a list as Keras takes it: a single entry by itself."""
    return values[0] if len(values) == 1 else values


def make(keras: Any, task: Task, **arguments: Any) -> Run:
    """Return the function that does a task, with further arguments of `compile`."""
    model, further = compiled(keras, task, **arguments), task.arguments
    if task.kind == "sequence":
        batches = sequence(keras.utils.Sequence, task.batches())
        return lambda times: model.fit(batches, epochs=times, verbose=0, **further)
    x, y = map(one, task.arrays())
    size = task.batch_size
    if task.kind == "train-on-batch":
        return repeated(lambda: model.train_on_batch(x, y))
    if task.kind == "calls":
        return repeated(lambda: model.fit(x, y, batch_size=size, verbose=0))
    if task.kind == "predict":
        return repeated(lambda: model.predict(x, batch_size=size, verbose=0))
    return lambda times: model.fit(x, y, batch_size=size, epochs=times, verbose=0)
