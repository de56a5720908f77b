"""Architectures as JSON, of Keras 2 too; what this library writes itself is shown with its files."""

import json

import numpy as np
import pytest

from torchkeras_fn import activations
from torchkeras_fn.models import model_from_json

INPUT = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3], "dtype": "float32", "sparse": False, "name": "x"}}
DENSE = {"class_name": "Dense", "config": {"name": "d", "trainable": True, "units": 2, "activation": "hard_sigmoid", "use_bias": True}}
GRAPH = {
    "name": "m",
    "layers": [{**INPUT, "name": "x", "inbound_nodes": []}, {**DENSE, "name": "d", "inbound_nodes": [[["x", 0, 0, {}]]]}],
    "input_layers": [["x", 0, 0]],
    "output_layers": [["d", 0, 0]],
}
STACK = {"name": "s", "layers": [{**DENSE, "config": {**DENSE["config"], "batch_input_shape": [None, 3]}}]}


@pytest.mark.parametrize(("kind", "config"), [("Model", GRAPH), ("Sequential", STACK)])
def test_json_of_keras_2_is_read(kind, config):
    text = json.dumps({"class_name": kind, "config": config, "keras_version": "2.2.4", "backend": "tensorflow"})
    model = model_from_json(text)
    kernel, bias, x = np.ones((3, 2), "float32"), np.zeros(2, "float32"), np.full((1, 3), 0.5, "float32")
    model.set_weights([kernel, bias])
    np.testing.assert_allclose(model.predict(x, verbose=0), [[0.8, 0.8]], rtol=1e-6)
    assert model.layers[-1].activation is activations.keras_2_hard_sigmoid


def test_json_of_keras_that_names_what_is_not_known_is_refused():
    stack = {"name": "s", "layers": [{"class_name": "Mine", "config": {}}]}
    text = json.dumps({"class_name": "Sequential", "config": stack, "keras_version": "2.2.4"})
    with pytest.raises(ValueError, match="describes no model that can be made here: .*Mine"):
        model_from_json(text)
