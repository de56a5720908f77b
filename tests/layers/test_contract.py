"""What every layer promises, asked of each exported layer by a row of a table."""

import copy
import json
import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, layers


class Row(NamedTuple):
    """A layer, the shapes it is drawn for (without the batch), and shapes with unknown dimensions, where it takes them."""

    make: Any
    shapes: list[tuple[int, ...]]
    unknown: list[tuple[int | None, ...]] | None = None
    integers: int = 0
    has_json: bool = True


IMAGE, ANY_IMAGE = [(6, 8, 4)], [(None, None, 4)]
VOLUME, ANY_VOLUME = [(4, 6, 8, 2)], [(None, None, None, 2)]
STEPS, ANY_STEPS = [(6, 4)], [(None, 4)]
PAIR, ANY_PAIR = [(6, 4), (6, 4)], [(None, 4), (None, 4)]

ROWS = {
    "Activation": [Row(lambda: layers.Activation("tanh"), STEPS, ANY_STEPS)],
    "ActivityRegularization": [Row(lambda: layers.ActivityRegularization(0.1, 0.2), STEPS, ANY_STEPS)],
    "Add": [Row(lambda: layers.Add(), PAIR, ANY_PAIR)],
    "AlphaDropout": [
        Row(lambda: layers.AlphaDropout(0.3), STEPS, ANY_STEPS),
        Row(lambda: layers.AlphaDropout(0.3, noise_shape=(None, 1, None), seed=1), STEPS, ANY_STEPS),
    ],
    "Average": [Row(lambda: layers.Average(), PAIR, ANY_PAIR)],
    "AveragePooling1D": [Row(lambda: layers.AveragePooling1D(2), STEPS, ANY_STEPS)],
    "AveragePooling2D": [Row(lambda: layers.AveragePooling2D(2), IMAGE, ANY_IMAGE)],
    "AveragePooling3D": [Row(lambda: layers.AveragePooling3D(2), VOLUME, ANY_VOLUME)],
    "BatchNormalization": [Row(lambda: layers.BatchNormalization(), IMAGE, ANY_IMAGE)],
    "Concatenate": [Row(lambda: layers.Concatenate(axis=1), PAIR, ANY_PAIR)],
    "Conv1D": [Row(lambda: layers.Conv1D(4, 3, padding="same"), STEPS, ANY_STEPS)],
    "Conv1DTranspose": [Row(lambda: layers.Conv1DTranspose(4, 3, padding="same"), STEPS, ANY_STEPS)],
    "Conv2D": [Row(lambda: layers.Conv2D(4, 3, padding="same"), IMAGE, ANY_IMAGE)],
    "Conv2DTranspose": [Row(lambda: layers.Conv2DTranspose(4, 3, padding="same"), IMAGE, ANY_IMAGE)],
    "Conv3D": [Row(lambda: layers.Conv3D(4, 3, padding="same"), VOLUME, ANY_VOLUME)],
    "Conv3DTranspose": [Row(lambda: layers.Conv3DTranspose(4, 3, padding="same"), VOLUME, ANY_VOLUME)],
    "Cropping1D": [Row(lambda: layers.Cropping1D((1, 0)), STEPS, ANY_STEPS)],
    "Cropping2D": [
        Row(lambda: layers.Cropping2D(((1, 0), (0, 2))), IMAGE, ANY_IMAGE),
        Row(lambda: layers.Cropping2D(1, data_format="channels_first"), IMAGE, [(6, None, None)]),
    ],
    "Cropping3D": [Row(lambda: layers.Cropping3D((1, 0, 2)), VOLUME, ANY_VOLUME)],
    "Dense": [
        Row(lambda: layers.Dense(5, "tanh", kernel_regularizer="l2"), STEPS, ANY_STEPS),
        Row(lambda: layers.Dense(5, use_bias=False), [(4,)]),
    ],
    "DepthwiseConv1D": [Row(lambda: layers.DepthwiseConv1D(3, padding="same"), STEPS, ANY_STEPS)],
    "DepthwiseConv2D": [Row(lambda: layers.DepthwiseConv2D(3, padding="same"), IMAGE, ANY_IMAGE)],
    "Dot": [Row(lambda: layers.Dot(axes=2, normalize=True), PAIR, ANY_PAIR)],
    "Dropout": [
        Row(lambda: layers.Dropout(0.3), STEPS, ANY_STEPS),
        Row(lambda: layers.Dropout(0.3, noise_shape=(None, 1, None), seed=1), STEPS, ANY_STEPS),
    ],
    "ELU": [Row(lambda: layers.ELU(0.5), STEPS, ANY_STEPS)],
    "Embedding": [Row(lambda: layers.Embedding(10, 4, mask_zero=True), [(6,)], [(None,)], integers=10)],
    "Flatten": [Row(lambda: layers.Flatten(), IMAGE, ANY_IMAGE)],
    "GaussianDropout": [Row(lambda: layers.GaussianDropout(0.3, seed=1), STEPS, ANY_STEPS)],
    "GaussianNoise": [Row(lambda: layers.GaussianNoise(0.3, seed=1), STEPS, ANY_STEPS)],
    "GlobalAveragePooling1D": [Row(lambda: layers.GlobalAveragePooling1D(), STEPS, ANY_STEPS)],
    "GlobalAveragePooling2D": [Row(lambda: layers.GlobalAveragePooling2D(), IMAGE, ANY_IMAGE)],
    "GlobalAveragePooling3D": [Row(lambda: layers.GlobalAveragePooling3D(), VOLUME, ANY_VOLUME)],
    "GlobalMaxPooling1D": [Row(lambda: layers.GlobalMaxPooling1D(), STEPS, ANY_STEPS)],
    "GlobalMaxPooling2D": [Row(lambda: layers.GlobalMaxPooling2D(), IMAGE, ANY_IMAGE)],
    "GlobalMaxPooling3D": [Row(lambda: layers.GlobalMaxPooling3D(), VOLUME, ANY_VOLUME)],
    "GroupNormalization": [
        Row(lambda: layers.GroupNormalization(2), IMAGE, ANY_IMAGE),
        Row(lambda: layers.GroupNormalization(-1, axis=1), IMAGE, [(6, None, None)]),
    ],
    "Lambda": [Row(lambda: layers.Lambda(torch.square), STEPS, ANY_STEPS, has_json=False)],
    "LayerNormalization": [
        Row(lambda: layers.LayerNormalization(), IMAGE, ANY_IMAGE),
        Row(lambda: layers.LayerNormalization(axis=[1, 3], scale=False), IMAGE, [(6, None, 4)]),
        Row(lambda: layers.LayerNormalization(rms_scaling=True), IMAGE, ANY_IMAGE),
    ],
    "LeakyReLU": [Row(lambda: layers.LeakyReLU(), STEPS, ANY_STEPS), Row(lambda: layers.LeakyReLU(alpha=0.1), STEPS, ANY_STEPS)],
    "Masking": [Row(lambda: layers.Masking(), STEPS, ANY_STEPS)],
    "MaxPooling1D": [Row(lambda: layers.MaxPooling1D(2), STEPS, ANY_STEPS)],
    "MaxPooling2D": [Row(lambda: layers.MaxPooling2D(2), IMAGE, ANY_IMAGE)],
    "MaxPooling3D": [Row(lambda: layers.MaxPooling3D(2), VOLUME, ANY_VOLUME)],
    "Maximum": [Row(lambda: layers.Maximum(), PAIR, ANY_PAIR)],
    "Minimum": [Row(lambda: layers.Minimum(), PAIR, ANY_PAIR)],
    "Multiply": [Row(lambda: layers.Multiply(), PAIR, ANY_PAIR)],
    "Normalization": [
        Row(lambda: layers.Normalization(), STEPS, ANY_STEPS),
        Row(lambda: layers.Normalization(mean=np.arange(4), variance=[1, 2, 3, 4.0], invert=True), STEPS, ANY_STEPS),
    ],
    "PReLU": [
        Row(lambda: layers.PReLU("uniform"), STEPS),
        Row(lambda: layers.PReLU(shared_axes=[1, 2]), IMAGE, ANY_IMAGE),
    ],
    "Permute": [Row(lambda: layers.Permute((2, 1)), STEPS, ANY_STEPS)],
    "ReLU": [Row(lambda: layers.ReLU(2, 0.1, 0.5), STEPS, ANY_STEPS)],
    "RepeatVector": [Row(lambda: layers.RepeatVector(3), [(4,)])],
    "Rescaling": [
        Row(lambda: layers.Rescaling(2, 1), STEPS, ANY_STEPS),
        Row(lambda: layers.Rescaling(np.arange(4), [1.0, 2.0, 3.0, 4.0]), STEPS, ANY_STEPS),
    ],
    "Reshape": [Row(lambda: layers.Reshape((-1, 2)), STEPS, ANY_STEPS)],
    "SeparableConv1D": [Row(lambda: layers.SeparableConv1D(4, 3, padding="same"), STEPS, ANY_STEPS)],
    "SeparableConv2D": [Row(lambda: layers.SeparableConv2D(4, 3, padding="same"), IMAGE, ANY_IMAGE)],
    "Softmax": [Row(lambda: layers.Softmax(), STEPS, ANY_STEPS), Row(lambda: layers.Softmax(axis=[1, 2]), STEPS, ANY_STEPS)],
    "SpatialDropout1D": [Row(lambda: layers.SpatialDropout1D(0.3), STEPS, ANY_STEPS)],
    "SpatialDropout2D": [Row(lambda: layers.SpatialDropout2D(0.3, data_format="channels_first"), IMAGE, ANY_IMAGE)],
    "SpatialDropout3D": [Row(lambda: layers.SpatialDropout3D(0.3, seed=1), VOLUME, ANY_VOLUME)],
    "Subtract": [Row(lambda: layers.Subtract(), PAIR, ANY_PAIR)],
    "ThresholdedReLU": [Row(lambda: layers.ThresholdedReLU(0.5), STEPS, ANY_STEPS)],
    "TorchModuleWrapper": [Row(lambda: layers.TorchModuleWrapper(nn.Linear(4, 3)), STEPS, ANY_STEPS, has_json=False)],
    "UnitNormalization": [Row(lambda: layers.UnitNormalization(axis=[1, 2]), STEPS, ANY_STEPS)],
    "UpSampling1D": [Row(lambda: layers.UpSampling1D(3), STEPS, ANY_STEPS)],
    "UpSampling2D": [
        Row(lambda: layers.UpSampling2D((2, 3)), IMAGE, ANY_IMAGE),
        Row(lambda: layers.UpSampling2D(2, "channels_first", "bilinear"), IMAGE, [(6, None, None)]),
    ],
    "UpSampling3D": [Row(lambda: layers.UpSampling3D(), VOLUME, ANY_VOLUME)],
    "ZeroPadding1D": [Row(lambda: layers.ZeroPadding1D((1, 0)), STEPS, ANY_STEPS)],
    "ZeroPadding2D": [
        Row(lambda: layers.ZeroPadding2D(((1, 0), (0, 2))), IMAGE, ANY_IMAGE),
        Row(lambda: layers.ZeroPadding2D(1, data_format="channels_first"), IMAGE, [(6, None, None)]),
    ],
    "ZeroPadding3D": [Row(lambda: layers.ZeroPadding3D((1, 0, 2)), VOLUME, ANY_VOLUME)],
}
NO_ROW_NEEDED = {"Layer", "InputLayer"}  # the base, and the entry of a graph, which tests/layers/test_input.py asks
CASES = [pytest.param(row, id=f"{name}-{index}") for name, rows in ROWS.items() for index, row in enumerate(rows)]


def exported():
    found = {name: getattr(layers, name) for name in layers.__all__}
    return {item.__name__ for item in found.values() if isinstance(item, type) and issubclass(item, layers.Layer)}  # aliases share a row


def test_every_exported_layer_has_a_row():
    assert exported() - NO_ROW_NEEDED == ROWS.keys()


def test_the_rows_hold_the_layers_they_are_named_after():
    assert [name for name, rows in ROWS.items() for row in rows if type(row.make()) is not getattr(layers, name)] == []


def test_every_exported_layer_is_known_by_name():
    for name, rows in ROWS.items():
        if rows[0].has_json:
            layer = rows[0].make()
            twin = layers.deserialize(json.loads(json.dumps(layers.serialize(layer))))
            assert type(twin) is getattr(layers, name)


def drawn(row, shapes=None, layer=None):
    tensors = [Input(shape=shape, dtype="int64" if row.integers else None) for shape in shapes or row.shapes]
    return Model(tensors, (layer or row.make())(tensors if len(tensors) > 1 else tensors[0])).eval()


def data(row, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if row.integers:
        return [torch.randint(row.integers, (batch, *shape), generator=generator) for shape in row.shapes]
    return [torch.randn(batch, *shape, generator=generator) for shape in row.shapes]


def run(model, tensors):
    return model(tensors if len(tensors) > 1 else tensors[0])


@pytest.mark.parametrize("row", CASES)
def test_the_symbolic_shape_is_the_real_one(row):
    model = drawn(row)
    outputs = run(model, data(row))
    assert model.output_shape == (None, *outputs.shape[1:])
    assert len(outputs) == 3
    assert model.outputs[0].dtype == outputs.dtype
    assert run(model, data(row, batch=1)).shape == (1, *outputs.shape[1:])


@pytest.mark.parametrize("row", [pytest.param(*case.values, id=case.id) for case in CASES if case.values[0].unknown])
def test_unknown_dimensions_stay_unknown_and_are_filled(row):
    model, known = drawn(row, row.unknown), drawn(row)
    known.set_weights(model.get_weights())
    outputs = run(known, data(row))
    assert all(symbolic in (None, real) for symbolic, real in zip(model.output_shape, outputs.shape, strict=True))
    assert model.output_shape[0] is None
    assert None in model.output_shape[1:] or len(model.output_shape) == 2  # a global pooling leaves the features alone
    torch.testing.assert_close(run(model, data(row)), outputs)


@pytest.mark.parametrize("row", CASES)
def test_drawing_moves_no_random_state_without_weights(row):
    if row.make().weight_map or isinstance(row.make(), layers.TorchModuleWrapper):
        return
    before = torch.get_rng_state()
    drawn(row)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("row", [case for case in CASES if case.values[0].has_json])
def test_a_config_makes_an_equal_layer(row):
    model = drawn(row)
    layer = model.layers[-1]
    config = json.loads(json.dumps(layer.get_config()))
    assert config == layer.get_config()
    twin_layer = type(layer).from_config(config)
    assert twin_layer.get_config() == config
    twin = drawn(row, layer=twin_layer)
    twin.set_weights(model.get_weights())
    torch.testing.assert_close(run(twin, data(row)), run(model, data(row)))


@pytest.mark.parametrize("row", CASES)
def test_weights_go_round(row):
    layer = drawn(row).layers[-1]
    values = [np.asarray(weight + 1.5).astype(weight.dtype) for weight in layer.get_weights()]
    layer.set_weights(values)
    assert all(np.array_equal(read, value) for read, value in zip(layer.get_weights(), values, strict=True))
    assert layer.count_params() == sum(value.size for value in values)


@pytest.mark.parametrize("row", CASES)
def test_a_state_dict_goes_round(row):
    model, twin = drawn(row), drawn(row)
    for weight in model.weights:
        weight.data.copy_(torch.rand(weight.shape))
    twin.load_state_dict(model.state_dict())
    assert list(twin.state_dict()) == list(model.state_dict())
    torch.testing.assert_close(run(twin, data(row)), run(model, data(row)))


@pytest.mark.parametrize("row", CASES)
def test_gradients_reach_every_trainable_weight_and_the_inputs(row):
    model = drawn(row).train()
    tensors = data(row)
    if not row.integers:
        tensors = [tensor.requires_grad_() for tensor in tensors]
    outputs = run(model, tensors)
    (outputs * torch.arange(outputs.numel()).cos().view(outputs.shape)).sum().backward()
    reached = [*model.trainable_weights, *([] if row.integers else tensors)]
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in reached)
    assert all(tensor.grad.any() for tensor in model.trainable_weights)


@pytest.mark.parametrize("row", CASES)
def test_a_model_that_holds_it_is_exported(row):
    model = drawn(row)
    program = torch.export.export(model.to_torch(), tuple(data(row)))
    torch.testing.assert_close(program.module()(*data(row)), run(model, data(row)))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("row", CASES)
def test_a_copy_computes_the_same(row, copied):
    model = drawn(row)
    run(model.train(), data(row))
    twin = copied(model).eval()
    torch.testing.assert_close(run(twin, data(row)), run(model.eval(), data(row)))
    layer = copied(row.make())
    assert type(layer) is type(row.make())
    assert layer(data(row) if len(row.shapes) > 1 else data(row)[0]).shape == run(model, data(row)).shape


@pytest.mark.parametrize("row", CASES)
def test_it_trains_under_bfloat16_autocast(row):
    model = drawn(row).train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = run(model, data(row))
    assert outputs.dtype in (torch.bfloat16, torch.float32)
    assert outputs.isfinite().all()
    if model.trainable_weights:
        outputs.float().square().sum().backward()
        assert all(weight.grad.dtype is torch.float32 for weight in model.trainable_weights)


LACK_BFLOAT16 = {"AveragePooling3D-0"}  # torch 2.13 has no such kernel on CPU


@pytest.mark.parametrize("row", [case for case in CASES if not case.values[0].integers and case.id not in LACK_BFLOAT16])
def test_bfloat16_inputs_of_a_bfloat16_model_stay_bfloat16(row):
    model = drawn(row).to(torch.bfloat16).train()
    assert run(model, [tensor.bfloat16() for tensor in data(row)]).dtype is torch.bfloat16
