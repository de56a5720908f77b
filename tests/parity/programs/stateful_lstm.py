"""A stateful LSTM, as a Keras 2 program: short windows of long series, whose state is carried from batch to batch."""

import numpy as np
from keras.callbacks import LambdaCallback
from keras.layers import LSTM, Dense
from keras.models import Sequential
from keras.optimizers import Adam

SERIES, WINDOWS, STEPS, DELAY = 32, 30, 2, 2


def main():
    random = np.random.default_rng(0)
    series = random.integers(0, 2, size=(SERIES, WINDOWS * STEPS)).astype("float32")
    delayed = np.roll(series, DELAY, axis=1)
    delayed[:, :DELAY] = 0
    # the windows of one moment are a batch; what is asked for lies before the window, so only a state can tell
    x = series.reshape(SERIES, WINDOWS, STEPS).swapaxes(0, 1).reshape(-1, STEPS, 1)
    y = delayed.reshape(SERIES, WINDOWS, STEPS).swapaxes(0, 1).reshape(-1, STEPS)[:, -1:]

    def build(stateful):
        model = Sequential()
        model.add(LSTM(12, batch_input_shape=(SERIES, STEPS, 1), stateful=stateful))
        model.add(Dense(1, activation="sigmoid"))
        model.compile(loss="binary_crossentropy", optimizer=Adam(lr=0.02))
        return model

    model, forgetful = build(True), build(False)
    for _ in range(15):
        model.fit(x, y, batch_size=SERIES, epochs=1, verbose=0, shuffle=False)
        model.reset_states()
    fresh = LambdaCallback(on_epoch_end=lambda epoch, logs: model.reset_states())
    history = model.fit(x, y, batch_size=SERIES, epochs=5, verbose=0, shuffle=False, callbacks=[fresh])
    forgotten = forgetful.fit(x, y, batch_size=SERIES, epochs=20, verbose=0, shuffle=False)

    first = model.predict(x, batch_size=SERIES)
    model.reset_states()
    second = model.predict(x, batch_size=SERIES)
    third = model.predict(x, batch_size=SERIES)
    return {
        "losses": history.history["loss"],
        "without_state": forgotten.history["loss"][-1],
        "reset_repeats": bool(np.allclose(first, second, atol=1e-6)),
        "state_is_carried": not np.allclose(second[:SERIES], third[:SERIES], atol=1e-6),
    }
