"""A variational autoencoder, as a Keras 2 program: a sampling Lambda, a decoder shared by two models, and `add_loss`."""

import numpy as np
from keras import backend as K
from keras.layers import Dense, Input, Lambda
from keras.losses import binary_crossentropy
from keras.models import Model

ORIGINAL_DIM, LATENT_DIM = 24, 2


def sampling(args):
    z_mean, z_log_var = args
    batch = K.shape(z_mean)[0]
    dim = K.int_shape(z_mean)[1]
    epsilon = K.random_normal(shape=(batch, dim))
    return z_mean + K.exp(0.5 * z_log_var) * epsilon


def main():
    random = np.random.default_rng(0)
    patterns = random.random((3, ORIGINAL_DIM)) > 0.5
    flips = random.random((600, ORIGINAL_DIM)) < 0.05
    x = (patterns[random.integers(0, 3, size=600)] ^ flips).astype("float32")
    x_train, x_test = x[:500], x[500:]

    inputs = Input(shape=(ORIGINAL_DIM,), name="encoder_input")
    h = Dense(32, activation="relu")(inputs)
    z_mean = Dense(LATENT_DIM, name="z_mean")(h)
    z_log_var = Dense(LATENT_DIM, name="z_log_var")(h)
    z = Lambda(sampling, output_shape=(LATENT_DIM,), name="z")([z_mean, z_log_var])
    encoder = Model(inputs, [z_mean, z_log_var, z], name="encoder")

    latent_inputs = Input(shape=(LATENT_DIM,), name="z_sampling")
    h = Dense(32, activation="relu")(latent_inputs)
    decoder = Model(latent_inputs, Dense(ORIGINAL_DIM, activation="sigmoid")(h), name="decoder")

    outputs = decoder(encoder(inputs)[2])
    vae = Model(inputs, outputs, name="vae")
    reconstruction_loss = binary_crossentropy(inputs, outputs) * ORIGINAL_DIM
    kl_loss = -0.5 * K.sum(1 + z_log_var - K.square(z_mean) - K.exp(z_log_var), axis=-1)
    vae.add_loss(K.mean(reconstruction_loss + kl_loss))
    vae.compile(optimizer="adam")
    history = vae.fit(x_train, epochs=25, batch_size=32, validation_data=(x_test, None), verbose=0)

    codes, _, first = encoder.predict(x_test, batch_size=50)
    second = encoder.predict(x_test, batch_size=50)[2]
    return {
        "keys": sorted(history.history),
        "losses": history.history["loss"],
        "codes": codes.shape,
        "decoded": decoder.predict(np.zeros((1, LATENT_DIM))).shape,
        "samples_differ": not np.allclose(first, second),
        "error": np.mean((vae.predict(x_test) > 0.5) != x_test),
    }
