"""Files of Keras: read into models here, and written so that Keras opens them. They need the extra `keras`, h5py."""

from torchkeras_fn.saving.formats import Format, register
from torchkeras_fn.saving.keras_files.files import (
    load_h5,
    load_h5_weights,
    load_keras,
    load_keras_weights,
    save_h5,
    save_keras,
    save_layers,
    save_paths,
)

register(".keras", Format("Keras 3's", save_keras, load_keras, None, load_keras_weights))
register(".weights.h5", Format("Keras 3's weights", None, None, save_paths, load_h5_weights))
register(".h5", Format("Keras' HDF5", save_h5, load_h5, save_layers, load_h5_weights))
register(".hdf5", Format("Keras' HDF5", save_h5, load_h5, save_layers, load_h5_weights))
