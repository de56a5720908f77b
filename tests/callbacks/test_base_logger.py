"""`BaseLogger` may stand in a list of callbacks, as in programs of Keras 2, and changes nothing."""

import numpy as np

from torchkeras_fn import Sequential, callbacks, layers


def test_the_figures_of_an_epoch_are_the_same_with_it():
    model = Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse", metrics=["mae"])
    weights, x = model.get_weights(), np.arange(14.0).reshape(7, 2)
    histories = []
    for others in ([], [callbacks.BaseLogger(stateful_metrics=["mae"])]):
        model.set_weights(weights)
        histories.append(model.fit(x, x[:, :1], batch_size=2, shuffle=False, verbose=0, callbacks=others).history)
    assert histories[0] == histories[1]
