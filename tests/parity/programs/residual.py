"""A residual network for small images, with weight decay, callbacks and an augmenting `Sequence`."""

import os
import tempfile

import numpy as np
from keras.callbacks import EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from keras.layers import Activation, AveragePooling2D, BatchNormalization, Conv2D, Dense, Flatten, Input, add
from keras.models import Model, load_model
from keras.optimizers import Adam
from keras.regularizers import l2
from keras.utils import Sequence, to_categorical


def resnet_layer(inputs, num_filters=8, kernel_size=3, strides=1, activation="relu", batch_normalization=True):
    x = Conv2D(
        num_filters,
        kernel_size=kernel_size,
        strides=strides,
        padding="same",
        kernel_initializer="he_normal",
        kernel_regularizer=l2(1e-4),
    )(inputs)
    if batch_normalization:
        x = BatchNormalization()(x)
    if activation is not None:
        x = Activation(activation)(x)
    return x


def resnet(input_shape, num_classes):
    inputs = Input(shape=input_shape)
    x = resnet_layer(inputs)
    num_filters = 8
    for stack in range(2):
        strides = 1 if stack == 0 else 2
        y = resnet_layer(x, num_filters, strides=strides)
        y = resnet_layer(y, num_filters, activation=None)
        if stack > 0:
            x = resnet_layer(x, num_filters, kernel_size=1, strides=strides, activation=None, batch_normalization=False)
        x = Activation("relu")(add([x, y]))
        num_filters *= 2
    y = Flatten()(AveragePooling2D(pool_size=4)(x))
    outputs = Dense(num_classes, activation="softmax", kernel_initializer="he_normal")(y)
    return Model(inputs=inputs, outputs=outputs)


class Augmented(Sequence):
    def __init__(self, x, y, batch_size):
        super().__init__()
        self.x, self.y, self.batch_size = x, y, batch_size

    def __len__(self):
        return int(np.ceil(len(self.x) / self.batch_size))

    def __getitem__(self, index):
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        x = self.x[rows]
        return (x[:, :, ::-1] if index % 2 else x), self.y[rows]


def stripes(random, count):
    labels = random.integers(0, 3, size=count)
    images = 0.5 * random.normal(size=(count, 8, 8, 1))
    images[labels == 0, ::2] += 1
    images[labels == 1, :, ::2] += 1
    return images.astype("float32"), to_categorical(labels, 3)


def main():
    random = np.random.default_rng(0)
    (x_train, y_train), (x_test, y_test) = stripes(random, 240), stripes(random, 60)
    model = resnet(x_train.shape[1:], 3)
    model.compile(loss="categorical_crossentropy", optimizer=Adam(learning_rate=0.01), metrics=["accuracy"])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "best.keras")
        callbacks = [
            ModelCheckpoint(filepath=path, monitor="val_accuracy", verbose=0, save_best_only=True),
            ReduceLROnPlateau(factor=np.sqrt(0.1), cooldown=0, patience=5, min_lr=0.5e-6),
            LearningRateScheduler(lambda epoch: 0.01 if epoch < 3 else 0.003),
            EarlyStopping(monitor="val_accuracy", patience=10),
        ]
        history = model.fit(Augmented(x_train, y_train, 32), validation_data=(x_test, y_test), epochs=5, callbacks=callbacks, verbose=0)
        best = load_model(path)
        best_accuracy = best.evaluate(x_test, y_test, verbose=0)[1]
    return {
        "keys": sorted(history.history),
        "losses": history.history["loss"],
        "parameters": model.count_params(),
        "best": best_accuracy,
        "val_accuracy": history.history["val_accuracy"],
    }
