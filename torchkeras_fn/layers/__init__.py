"""All layers, under the names they have in Keras."""

from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.layers.core import Activation, Dense, Embedding, Lambda, TorchModuleWrapper
from torchkeras_fn.layers.input import Input, InputLayer
from torchkeras_fn.layers.merge import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from torchkeras_fn.layers.normalization import BatchNormalization
from torchkeras_fn.layers.regularization import Dropout
from torchkeras_fn.layers.reshaping import Flatten, Permute, RepeatVector, Reshape
from torchkeras_fn.registry import Registry

__all__ = [
    "Activation",
    "Add",
    "Average",
    "BatchNormalization",
    "Concatenate",
    "Dense",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "Input",
    "InputLayer",
    "Lambda",
    "Layer",
    "Maximum",
    "Minimum",
    "Multiply",
    "Permute",
    "RepeatVector",
    "Reshape",
    "Subtract",
    "TorchModuleWrapper",
    "add",
    "average",
    "concatenate",
    "dot",
    "deserialize",
    "maximum",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]

registry = Registry(
    "layer",
    {name: item for name, item in list(globals().items()) if isinstance(item, type) and issubclass(item, Layer) and item is not Layer},
)
serialize = registry.serialize
deserialize = registry.deserialize
