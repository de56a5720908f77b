"""Sequence to sequence: an encoder hands its states to a decoder, which at inference runs step by step, as two models."""

import numpy as np
from keras.layers import LSTM, Dense, Input
from keras.models import Model
from keras.optimizers import Adam

TOKENS, LENGTH, UNITS, START = 6, 4, 32, 0


def one_hot(indices):
    return np.eye(TOKENS, dtype="float32")[indices]


def main():
    random = np.random.default_rng(0)
    source = random.integers(1, TOKENS, size=(400, LENGTH))
    target = source[:, ::-1]
    shifted = np.concatenate([np.full((len(source), 1), START), target[:, :-1]], axis=1)

    encoder_inputs = Input(shape=(None, TOKENS))
    encoder = LSTM(UNITS, return_state=True)
    _, state_h, state_c = encoder(encoder_inputs)
    encoder_states = [state_h, state_c]
    decoder_inputs = Input(shape=(None, TOKENS))
    decoder_lstm = LSTM(UNITS, return_sequences=True, return_state=True)
    decoder_outputs, _, _ = decoder_lstm(decoder_inputs, initial_state=encoder_states)
    decoder_dense = Dense(TOKENS, activation="softmax")
    decoder_outputs = decoder_dense(decoder_outputs)
    model = Model([encoder_inputs, decoder_inputs], decoder_outputs)
    model.compile(optimizer=Adam(0.02), loss="categorical_crossentropy", metrics=["accuracy"])
    history = model.fit([one_hot(source), one_hot(shifted)], one_hot(target), batch_size=50, epochs=25, verbose=0)

    encoder_model = Model(encoder_inputs, encoder_states)
    decoder_state_inputs = [Input(shape=(UNITS,)), Input(shape=(UNITS,))]
    outputs, state_h, state_c = decoder_lstm(decoder_inputs, initial_state=decoder_state_inputs)
    decoder_model = Model([decoder_inputs] + decoder_state_inputs, [decoder_dense(outputs), state_h, state_c])

    states = encoder_model.predict(one_hot(source[:50]), verbose=0)
    tokens = np.full((50, 1), START)
    decoded = []
    for _ in range(LENGTH):
        probabilities, *states = decoder_model.predict([one_hot(tokens)] + list(states), verbose=0)
        tokens = probabilities[:, -1:].argmax(-1)
        decoded.append(tokens[:, 0])
    return {
        "keys": sorted(history.history),
        "losses": history.history["loss"],
        "accuracy": np.mean(np.stack(decoded, axis=1) == target[:50]),
        "weights": [weight.shape for weight in decoder_model.get_weights()],
    }
