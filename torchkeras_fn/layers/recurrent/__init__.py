"""Layers that go through a sequence step by step: the cells, what runs them, and torch's fused kernels.

`from keras.layers import recurrent` is how Keras 2's own examples get at them: `recurrent.LSTM`.
"""

from torchkeras_fn.layers.recurrent.cells import GRUCell, LSTMCell, SimpleRNNCell
from torchkeras_fn.layers.recurrent.gru import GRU
from torchkeras_fn.layers.recurrent.lstm import LSTM
from torchkeras_fn.layers.recurrent.rnn import RNN
from torchkeras_fn.layers.recurrent.simple_rnn import SimpleRNN
from torchkeras_fn.layers.recurrent.stacked import StackedRNNCells

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "SimpleRNN", "SimpleRNNCell", "StackedRNNCells"]
