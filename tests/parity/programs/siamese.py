"""A siamese network, as a Keras 2 program: one shared tower, a distance in a Lambda, a contrastive loss out of `K`."""

import numpy as np
from keras import backend as K
from keras.layers import Dense, Dropout, Flatten, Input, Lambda
from keras.models import Model
from keras.optimizers import RMSprop


def points(random, count=300, classes=4):
    centres = 2 * random.normal(size=(classes, 5, 5))
    labels = random.integers(0, classes, size=count)
    return centres[labels] + 0.4 * random.normal(size=(count, 5, 5)), labels


def pairs_of(random, x, labels, count=600):
    left, right = random.integers(0, len(x), size=(2, count))
    other = [random.choice(np.flatnonzero(labels == labels[index])) for index in left]
    right[::2] = other[::2]
    return np.stack([x[left], x[right]], axis=1).astype("float32"), (labels[left] == labels[right]).astype("float32")


def euclidean_distance(vectors):
    x, y = vectors
    return K.sqrt(K.maximum(K.sum(K.square(x - y), axis=1, keepdims=True), K.epsilon()))


def distance_shape(shapes):
    first, _ = shapes
    return (first[0], 1)


def contrastive_loss(y_true, y_pred):
    margin = 1
    return K.mean(y_true * K.square(y_pred) + (1 - y_true) * K.square(K.maximum(margin - y_pred, 0)))


def accuracy(y_true, y_pred):
    return K.mean(K.equal(y_true, K.cast(y_pred < 0.5, y_true.dtype)))


def create_base_network(input_shape):
    inputs = Input(shape=input_shape)
    x = Flatten()(inputs)
    x = Dense(32, activation="relu")(x)
    x = Dropout(0.1)(x)
    x = Dense(16, activation="relu")(x)
    return Model(inputs, x)


def main():
    random = np.random.default_rng(0)
    x, labels = points(random)
    pairs, same = pairs_of(random, x, labels)

    base_network = create_base_network(x.shape[1:])
    input_a, input_b = Input(shape=x.shape[1:]), Input(shape=x.shape[1:])
    processed_a, processed_b = base_network(input_a), base_network(input_b)
    distance = Lambda(euclidean_distance, output_shape=distance_shape)([processed_a, processed_b])
    model = Model([input_a, input_b], distance)

    model.compile(loss=contrastive_loss, optimizer=RMSprop(lr=0.003), metrics=[accuracy])
    history = model.fit([pairs[:, 0], pairs[:, 1]], same, batch_size=64, epochs=12, validation_split=0.2, verbose=0)
    y_pred = model.predict([pairs[:, 0], pairs[:, 1]])
    return {
        "keys": sorted(history.history),
        "losses": history.history["loss"],
        "accuracy": np.mean((y_pred.ravel() < 0.5) == same),
        "layers": len(model.layers),
    }
