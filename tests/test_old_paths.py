"""The modules of Keras 2: what programs import from them is there."""

import importlib

import pytest

import torchkeras_fn
from torchkeras_fn import layers, old_paths, utils

IMPORTED = {
    "layers.core": ["Dense", "Dropout", "Activation", "Flatten", "Reshape", "Lambda", "Masking", "RepeatVector", "Permute"],
    "layers.convolutional": ["Conv2D", "Convolution2D", "MaxPooling2D", "UpSampling2D", "ZeroPadding2D", "Cropping2D"],
    "layers.advanced_activations": ["LeakyReLU", "PReLU", "ELU"],
    "layers.recurrent": ["LSTM", "GRU", "SimpleRNN", "RNN"],
    "layers.embeddings": ["Embedding"],
    "layers.normalization": ["BatchNormalization"],
    "layers.merge": ["concatenate", "add", "Multiply"],
    "layers.wrappers": ["TimeDistributed", "Bidirectional"],
    "layers.noise": ["GaussianNoise"],
    "layers.local": ["LocallyConnected1D"],
    "layers.pooling": ["GlobalAveragePooling2D", "MaxPooling1D"],
    "layers.convolutional_recurrent": ["ConvLSTM2D"],
    "engine": ["Layer", "InputSpec", "Input", "Model", "get_source_inputs"],
    "engine.topology": ["Layer", "InputSpec", "Input", "get_source_inputs"],
    "engine.base_layer": ["Layer", "InputSpec"],
    "engine.training": ["Model"],
    "engine.sequential": ["Sequential"],
    "utils.generic_utils": ["CustomObjectScope", "Progbar", "get_custom_objects"],
    "utils.vis_utils": ["plot_model"],
    "utils.data_utils": ["Sequence"],
    "utils.layer_utils": ["get_source_inputs"],
}


@pytest.mark.parametrize("path", IMPORTED)
def test_what_programs_import_is_what_is_here(path):
    module = importlib.import_module(f"torchkeras_fn.{path}")
    for name in IMPORTED[path]:
        assert any(getattr(module, name) is vars(home).get(name) for home in (torchkeras_fn, layers, utils))


@pytest.mark.parametrize("path", old_paths.PATHS)
def test_what_is_not_there_is_an_error(path):
    with pytest.raises(ImportError, match="Nonsense"):
        exec(f"from torchkeras_fn.{path} import Nonsense")
