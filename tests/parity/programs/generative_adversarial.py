"""A generative adversarial network: the discriminator is frozen in the combined model, and trained on its own."""

import numpy as np
from keras.layers import BatchNormalization, Dense, Dropout, Input, LeakyReLU, Reshape
from keras.models import Model, Sequential
from keras.optimizers import Adam

LATENT_DIM, POINTS = 4, (2, 1)


def build_generator():
    model = Sequential()
    model.add(Input(shape=(LATENT_DIM,)))
    model.add(Dense(16))
    model.add(LeakyReLU(0.2))
    model.add(BatchNormalization(momentum=0.8))
    model.add(Dense(int(np.prod(POINTS))))
    model.add(Reshape(POINTS))
    noise = Input(shape=(LATENT_DIM,))
    return Model(noise, model(noise))


def build_discriminator():
    point = Input(shape=POINTS)
    h = Reshape((2,))(point)
    for _ in range(2):
        h = Dense(16)(h)
        h = LeakyReLU(0.2)(h)
        h = Dropout(0.1)(h)
    return Model(point, Dense(1, activation="sigmoid")(h))


def main():
    random = np.random.default_rng(0)
    discriminator = build_discriminator()
    discriminator.compile(loss="binary_crossentropy", optimizer=Adam(0.005, 0.5), metrics=["accuracy"])
    generator = build_generator()
    z = Input(shape=(LATENT_DIM,))
    discriminator.trainable = False
    combined = Model(z, discriminator(generator(z)))
    combined.compile(loss="binary_crossentropy", optimizer=Adam(0.005, 0.5))

    before = discriminator.get_weights()
    combined.train_on_batch(random.normal(size=(32, LATENT_DIM)), np.ones((32, 1)))
    frozen = all(np.array_equal(a, b) for a, b in zip(before, discriminator.get_weights(), strict=True))
    statistics = generator.get_weights()

    batch = 64
    valid, fake = np.ones((batch, 1)), np.zeros((batch, 1))
    for _ in range(250):
        real = np.array([[3.0], [-2.0]]) + 0.3 * random.normal(size=(batch, *POINTS))
        generated = generator.predict(random.normal(size=(batch, LATENT_DIM)), verbose=0)
        d_loss_real = discriminator.train_on_batch(real, valid)
        d_loss_fake = discriminator.train_on_batch(generated, fake)
        g_loss = combined.train_on_batch(random.normal(size=(batch, LATENT_DIM)), valid)

    made = generator.predict(random.normal(size=(200, LATENT_DIM)), verbose=0)
    return {
        "frozen": frozen,
        "discriminator_trains": not np.array_equal(before[0], discriminator.get_weights()[0]),
        "statistics_move": not np.array_equal(statistics[4], generator.get_weights()[4]),
        "figures": len(np.add(d_loss_real, d_loss_fake)),
        "g_loss": float(np.ravel(g_loss)[0]),
        "centre": made.mean(axis=0).ravel(),
    }
