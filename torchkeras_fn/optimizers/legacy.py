"""The optimizers where tf.keras 2.11 to 2.15 keeps its older ones: the same classes, which take `lr` and `decay` anywhere."""

from torchkeras_fn.optimizers.base import Optimizer
from torchkeras_fn.optimizers.descent import SGD, Adadelta, Adagrad, Ftrl, RMSprop
from torchkeras_fn.optimizers.moments import Adam, Adamax, Nadam

__all__ = ["Adadelta", "Adagrad", "Adam", "Adamax", "Ftrl", "Nadam", "Optimizer", "RMSprop", "SGD"]
