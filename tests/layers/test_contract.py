"""What every layer promises, asked of each exported layer by a row of a table."""

import copy
import inspect
import io
import json
import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, constraints, initializers, layers, regularizers
from torchkeras_fn.models import load_model


class Row(NamedTuple):
    """A layer, the shapes it is drawn for (without the batch), and shapes with unknown dimensions, where it takes them."""

    make: Any
    shapes: list[tuple[int, ...]]
    unknown: list[tuple[int | None, ...]] | None = None
    integers: int = 0
    has_json: bool = True
    cuts: bool = False  # makes steps of its inputs, through which no gradient passes
    fixed: bool = False  # the sizes of the outputs are given, whatever those of the inputs
    spread: bool = False  # called on its inputs one by one, `layer(query, value)`


IMAGE, ANY_IMAGE = [(6, 8, 4)], [(None, None, 4)]
VOLUME, ANY_VOLUME = [(4, 6, 8, 2)], [(None, None, None, 2)]
STEPS, ANY_STEPS = [(6, 4)], [(None, 4)]
PAIR, ANY_PAIR = [(6, 4), (6, 4)], [(None, 4), (None, 4)]

ROWS = {
    "Activation": [Row(lambda: layers.Activation("tanh"), STEPS, ANY_STEPS)],
    "ActivityRegularization": [Row(lambda: layers.ActivityRegularization(0.1, 0.2), STEPS, ANY_STEPS)],
    **{
        f"Adaptive{kind}Pooling{rank}D": [
            Row(lambda k=kind, r=rank: getattr(layers, f"Adaptive{k}Pooling{r}D")(3), shape, unknown, fixed=True)
        ]
        for kind in ("Average", "Max")
        for rank, shape, unknown in ((1, STEPS, ANY_STEPS), (2, IMAGE, ANY_IMAGE), (3, [(4, 6, 8, 2)], [(None, None, None, 2)]))
    },
    "Add": [Row(lambda: layers.Add(), PAIR, ANY_PAIR)],
    "AdditiveAttention": [Row(lambda: layers.AdditiveAttention(dropout=0.2, seed=1), PAIR, ANY_PAIR)],
    "AlphaDropout": [
        Row(lambda: layers.AlphaDropout(0.3), STEPS, ANY_STEPS),
        Row(lambda: layers.AlphaDropout(0.3, noise_shape=(None, 1, None), seed=1), STEPS, ANY_STEPS),
    ],
    "Attention": [
        Row(lambda: layers.Attention(use_scale=True), [(6, 4), (5, 3), (5, 4)], [(None, 4), (None, 3), (None, 4)]),
        Row(lambda: layers.Attention(use_scale=True, score_mode="concat"), PAIR, ANY_PAIR),
    ],
    "Average": [Row(lambda: layers.Average(), PAIR, ANY_PAIR)],
    "AveragePooling1D": [Row(lambda: layers.AveragePooling1D(2), STEPS, ANY_STEPS)],
    "AveragePooling2D": [Row(lambda: layers.AveragePooling2D(2), IMAGE, ANY_IMAGE)],
    "AveragePooling3D": [Row(lambda: layers.AveragePooling3D(2), VOLUME, ANY_VOLUME)],
    "BatchNormalization": [Row(lambda: layers.BatchNormalization(), IMAGE, ANY_IMAGE)],
    "Bidirectional": [
        Row(lambda: layers.Bidirectional(layers.LSTM(3, return_sequences=True)), STEPS, ANY_STEPS),
        Row(lambda: layers.Bidirectional(layers.RNN(layers.GRUCell(3)), merge_mode="ave"), STEPS, ANY_STEPS),
    ],
    "CategoryEncoding": [
        Row(lambda: layers.CategoryEncoding(10), [(6,)], [(None,)], integers=10, cuts=True),
        Row(lambda: layers.CategoryEncoding(10, "count"), [(6,)], [(None,)], integers=10, cuts=True),
        Row(lambda: layers.CategoryEncoding(10, "one_hot"), [(6,)], [(None,)], integers=10, cuts=True),
    ],
    "CenterCrop": [
        Row(lambda: layers.CenterCrop(3, 5), IMAGE, ANY_IMAGE, fixed=True),
        Row(lambda: layers.CenterCrop(9, 3, "channels_first"), [(3, 6, 8)], [(3, None, None)], fixed=True),
    ],
    "Concatenate": [Row(lambda: layers.Concatenate(axis=1), PAIR, ANY_PAIR)],
    "Conv1D": [Row(lambda: layers.Conv1D(4, 3, padding="same"), STEPS, ANY_STEPS)],
    "Conv1DTranspose": [Row(lambda: layers.Conv1DTranspose(4, 3, padding="same"), STEPS, ANY_STEPS)],
    "Conv2D": [Row(lambda: layers.Conv2D(4, 3, padding="same"), IMAGE, ANY_IMAGE)],
    "Conv2DTranspose": [Row(lambda: layers.Conv2DTranspose(4, 3, padding="same"), IMAGE, ANY_IMAGE)],
    "Conv3D": [Row(lambda: layers.Conv3D(4, 3, padding="same"), VOLUME, ANY_VOLUME)],
    "Conv3DTranspose": [Row(lambda: layers.Conv3DTranspose(4, 3, padding="same"), VOLUME, ANY_VOLUME)],
    "ConvLSTM1D": [Row(lambda: layers.ConvLSTM1D(3, 3, padding="same", return_sequences=True), [(3, 6, 2)], [(None, None, 2)])],
    "ConvLSTM2D": [
        Row(lambda: layers.ConvLSTM2D(3, 3, padding="same"), [(3, 6, 8, 2)], [(None, None, None, 2)]),
        Row(lambda: layers.ConvLSTM2D(3, 3, data_format="channels_first", dropout=0.2, recurrent_dropout=0.2, seed=1), [(3, 2, 6, 8)]),
    ],
    "ConvLSTM3D": [Row(lambda: layers.ConvLSTM3D(3, 3), [(3, 4, 6, 5, 2)], [(None, None, None, None, 2)])],
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
    "Discretization": [Row(lambda: layers.Discretization([-0.5, 0.0, 1.0], output_mode="one_hot"), STEPS, ANY_STEPS, cuts=True)],
    "Dot": [Row(lambda: layers.Dot(axes=2, normalize=True), PAIR, ANY_PAIR)],
    "Dropout": [
        Row(lambda: layers.Dropout(0.3), STEPS, ANY_STEPS),
        Row(lambda: layers.Dropout(0.3, noise_shape=(None, 1, None), seed=1), STEPS, ANY_STEPS),
    ],
    "ELU": [Row(lambda: layers.ELU(0.5), STEPS, ANY_STEPS)],
    "EinsumDense": [
        Row(lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3), "tanh", "de", kernel_regularizer="l2"), STEPS, ANY_STEPS),
        Row(lambda: layers.EinsumDense("...x,xy->...y", 3), IMAGE, ANY_IMAGE),
        Row(lambda: layers.EinsumDense("abc...,cd->abd...", (6, 5), bias_axes="d"), [(6, 8, 4)], [(6, 8, None)]),
    ],
    "Embedding": [Row(lambda: layers.Embedding(10, 4, mask_zero=True), [(6,)], [(None,)], integers=10)],
    "Flatten": [Row(lambda: layers.Flatten(), IMAGE, ANY_IMAGE)],
    "GRU": [
        Row(lambda: layers.GRU(5), STEPS, ANY_STEPS),
        Row(lambda: layers.GRU(5, reset_after=False, return_sequences=True, recurrent_dropout=0.3, seed=1), STEPS, ANY_STEPS),
    ],
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
    "GroupedQueryAttention": [
        Row(lambda: layers.GroupedQueryAttention(3, 4, 2, use_gate=True), PAIR, ANY_PAIR, spread=True),
    ],
    "Identity": [Row(lambda: layers.Identity(), STEPS, ANY_STEPS)],
    "LSTM": [
        Row(lambda: layers.LSTM(5, return_sequences=True, go_backwards=True, dropout=0.3), STEPS, ANY_STEPS),
        Row(lambda: layers.LSTM(5, activation="relu", use_bias=False, kernel_regularizer="l2"), STEPS, ANY_STEPS),
    ],
    "Lambda": [Row(lambda: layers.Lambda(torch.square), STEPS, ANY_STEPS, has_json=False)],
    "LayerNormalization": [
        Row(lambda: layers.LayerNormalization(), IMAGE, ANY_IMAGE),
        Row(lambda: layers.LayerNormalization(axis=[1, 3], scale=False), IMAGE, [(6, None, 4)]),
        Row(lambda: layers.LayerNormalization(rms_scaling=True), IMAGE, ANY_IMAGE),
    ],
    "LeakyReLU": [Row(lambda: layers.LeakyReLU(), STEPS, ANY_STEPS), Row(lambda: layers.LeakyReLU(alpha=0.1), STEPS, ANY_STEPS)],
    "LocallyConnected1D": [Row(lambda: layers.LocallyConnected1D(4, 3, strides=2), STEPS)],
    "LocallyConnected2D": [
        Row(lambda: layers.LocallyConnected2D(4, (3, 2)), IMAGE),
        Row(lambda: layers.LocallyConnected2D(4, (3, 2), data_format="channels_first", use_bias=False), IMAGE),
    ],
    "Masking": [Row(lambda: layers.Masking(), STEPS, ANY_STEPS)],
    "MaxPooling1D": [Row(lambda: layers.MaxPooling1D(2), STEPS, ANY_STEPS)],
    "MaxPooling2D": [Row(lambda: layers.MaxPooling2D(2), IMAGE, ANY_IMAGE)],
    "MaxPooling3D": [Row(lambda: layers.MaxPooling3D(2), VOLUME, ANY_VOLUME)],
    "Maximum": [Row(lambda: layers.Maximum(), PAIR, ANY_PAIR)],
    "Minimum": [Row(lambda: layers.Minimum(), PAIR, ANY_PAIR)],
    "MultiHeadAttention": [
        Row(lambda: layers.MultiHeadAttention(2, 3, value_dim=5), [(6, 4), (5, 3)], [(None, 4), (None, 3)], spread=True),
        Row(lambda: layers.MultiHeadAttention(2, 3, dropout=0.2, seed=1, use_gate=True), PAIR, ANY_PAIR, spread=True),
        Row(lambda: layers.MultiHeadAttention(2, 3, output_shape=(2, 3)), [(6, 5, 4), (6, 5, 4)], [(None, 5, 4)] * 2, spread=True),
        Row(lambda: layers.MultiHeadAttention(2, 3, attention_axes=2), [(6, 5, 4), (6, 7, 4)], [(6, None, 4)] * 2, spread=True),
    ],
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
    "RMSNormalization": [
        Row(lambda: layers.RMSNormalization(), IMAGE, ANY_IMAGE),
        Row(lambda: layers.RMSNormalization(axis=[2, 3]), IMAGE, [(None, 8, 4)]),
    ],
    "RNN": [
        Row(lambda: layers.RNN(layers.GRUCell(5), return_sequences=True), STEPS, ANY_STEPS),
        Row(lambda: layers.RNN([layers.LSTMCell(5), layers.SimpleRNNCell(3)]), STEPS, ANY_STEPS),
    ],
    "RandomBrightness": [Row(lambda: layers.RandomBrightness(0.2, (-9, 9), seed=1), IMAGE, ANY_IMAGE)],
    "RandomContrast": [Row(lambda: layers.RandomContrast(0.2, (-9, 9)), IMAGE, ANY_IMAGE)],
    "RandomCrop": [Row(lambda: layers.RandomCrop(6, 8, seed=1), IMAGE, ANY_IMAGE, fixed=True)],
    "RandomFlip": [Row(lambda: layers.RandomFlip("horizontal", seed=1), IMAGE, ANY_IMAGE)],
    "RandomRotation": [Row(lambda: layers.RandomRotation(0.1), IMAGE, ANY_IMAGE)],
    "RandomTranslation": [
        Row(lambda: layers.RandomTranslation(0.1, (0.1, 0.2), "wrap", data_format="channels_first"), IMAGE, [(6, None, None)])
    ],
    "RandomZoom": [Row(lambda: layers.RandomZoom(0.1, seed=1), IMAGE, ANY_IMAGE)],
    "ReLU": [Row(lambda: layers.ReLU(2, 0.1, 0.5), STEPS, ANY_STEPS)],
    "RepeatVector": [Row(lambda: layers.RepeatVector(3), [(4,)])],
    "Rescaling": [
        Row(lambda: layers.Rescaling(2, 1), STEPS, ANY_STEPS),
        Row(lambda: layers.Rescaling(np.arange(4), [1.0, 2.0, 3.0, 4.0]), STEPS, ANY_STEPS),
    ],
    "Reshape": [Row(lambda: layers.Reshape((-1, 2)), STEPS, ANY_STEPS)],
    "Resizing": [
        Row(lambda: layers.Resizing(4, 5), IMAGE, ANY_IMAGE, fixed=True),
        Row(
            lambda: layers.Resizing(9, 5, "bicubic", pad_to_aspect_ratio=True, data_format="channels_first"),
            IMAGE,
            [(6, None, None)],
            fixed=True,
        ),
    ],
    "SeparableConv1D": [Row(lambda: layers.SeparableConv1D(4, 3, padding="same"), STEPS, ANY_STEPS)],
    "SeparableConv2D": [Row(lambda: layers.SeparableConv2D(4, 3, padding="same"), IMAGE, ANY_IMAGE)],
    "SimpleRNN": [Row(lambda: layers.SimpleRNN(5, activation="relu", return_sequences=True), STEPS, ANY_STEPS)],
    "Softmax": [Row(lambda: layers.Softmax(), STEPS, ANY_STEPS), Row(lambda: layers.Softmax(axis=[1, 2]), STEPS, ANY_STEPS)],
    "SpatialDropout1D": [Row(lambda: layers.SpatialDropout1D(0.3), STEPS, ANY_STEPS)],
    "SpatialDropout2D": [Row(lambda: layers.SpatialDropout2D(0.3, data_format="channels_first"), IMAGE, ANY_IMAGE)],
    "SpatialDropout3D": [Row(lambda: layers.SpatialDropout3D(0.3, seed=1), VOLUME, ANY_VOLUME)],
    "SpectralNormalization": [
        Row(lambda: layers.SpectralNormalization(layers.Dense(3)), STEPS, ANY_STEPS),
        Row(lambda: layers.SpectralNormalization(layers.Conv2D(3, 2), power_iterations=2), IMAGE, ANY_IMAGE),
    ],
    "Subtract": [Row(lambda: layers.Subtract(), PAIR, ANY_PAIR)],
    "ThresholdedReLU": [Row(lambda: layers.ThresholdedReLU(0.5), STEPS, ANY_STEPS)],
    "TimeDistributed": [
        Row(lambda: layers.TimeDistributed(layers.Dense(3)), STEPS, ANY_STEPS),
        Row(lambda: layers.TimeDistributed(layers.Conv2D(3, 3, padding="same")), VOLUME, ANY_VOLUME),
        Row(lambda: layers.TimeDistributed(layers.BatchNormalization(), trainable=False), IMAGE, ANY_IMAGE),
    ],
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
NO_ROW_NEEDED = {"Layer", "InputLayer", "Wrapper"}  # the bases, and the entry of a graph, which tests/layers/test_input.py asks
NO_ROW_NEEDED |= {"GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"}  # asked inside RNN, and in tests/layers/recurrent
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
    return Model(tensors, called(row, layer or row.make(), tensors)).eval()


def called(row, layer, tensors):
    return layer(*tensors) if row.spread or len(tensors) == 1 else layer(tensors)


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
    assert None in model.output_shape[1:] or row.fixed or len(model.output_shape) == 2  # a global pooling leaves the features alone
    torch.testing.assert_close(run(model, data(row)), outputs)


@pytest.mark.parametrize("row", CASES)
def test_drawing_moves_no_random_state_without_weights(row):
    if drawn(row).weights:
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


@pytest.mark.parametrize("row", [case for case in CASES if not case.values[0].cuts])
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
def test_a_model_that_holds_it_is_exported_for_batches_of_any_size(row):
    model, batch = drawn(row), torch.export.Dim("batch")
    program = torch.export.export(model.to_torch(), tuple(data(row)), dynamic_shapes=({0: batch},) * len(row.shapes)).module()
    for size in (1, 5):
        torch.testing.assert_close(program(*data(row, size)), run(model, data(row, size)))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("row", CASES)
def test_a_copy_computes_the_same(row, copied):
    model = drawn(row)
    run(model.train(), data(row))
    twin = copied(model).eval()
    torch.testing.assert_close(run(twin, data(row)), run(model.eval(), data(row)))
    layer = copied(row.make())
    assert type(layer) is type(row.make())
    assert called(row, layer, data(row)).shape == run(model, data(row)).shape


@pytest.mark.parametrize("row", CASES)
def test_a_file_makes_an_equal_model(row):
    model = drawn(row)
    model.compile("adam", "mse")
    targets = torch.zeros(3, *model.output_shape[1:])
    tensors = data(row) if len(row.shapes) > 1 else data(row)[0]
    model.train_on_batch(tensors, targets)
    model.save(file := io.BytesIO())
    twin = load_model(file, {"Linear": lambda: nn.Linear(4, 3)})
    torch.testing.assert_close(run(twin.eval(), data(row)), run(model.eval(), data(row)), rtol=0, atol=0)
    if any(isinstance(value, torch.Generator) for part in model.modules() for value in vars(part).values()):
        torch.manual_seed(0)
        expected = model.train_on_batch(tensors, targets)
        torch.manual_seed(0)
        assert twin.train_on_batch(tensors, targets) == expected


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


def test_a_model_with_one_of_everything_trains():
    rows = [row for rows in ROWS.values() for row in rows]
    shapes = sorted({(shape, row.integers) for row in rows for shape in row.shapes})
    entries = {entry: [Input(shape=entry[0], dtype="int64" if entry[1] else None) for _ in range(2)] for entry in shapes}
    outputs = []
    for row in rows:
        tensors = [entries[(shape, row.integers)][row.shapes[:index].count(shape)] for index, shape in enumerate(row.shapes)]
        found = called(row, row.make(), tensors)
        outputs += [layers.Dense(1)(layers.Flatten()(tensor)) for tensor in (found if isinstance(found, list | tuple) else [found])]
    total = layers.Add()(outputs)
    needed = [tensor for pair in entries.values() for tensor in pair if _is_used(tensor, total)]
    model = Model(needed, total)
    generator = np.random.default_rng(0)
    sizes = [(16, *tensor.shape[1:]) for tensor in needed]
    x = [
        generator.integers(0, 5, size=size) if tensor.dtype is torch.int64 else generator.normal(size=size)
        for tensor, size in zip(needed, sizes, strict=True)
    ]
    model.compile("adam", "mse")
    before = model.get_weights()
    history = model.fit(x, np.ones((16, 1)), batch_size=8, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]
    trained = {id(weight) for weight in model.trainable_weights}
    moved = zip(model.named_weights(), before, model.get_weights(), strict=True)
    assert [weight.name for weight, old, new in moved if id(weight.tensor) in trained and np.array_equal(old, new)] == []


def _is_used(tensor, output):
    seen, open_nodes = set(), [output.node]
    while open_nodes:
        node = open_nodes.pop()
        for parent in node.parents:
            if parent is tensor:
                return True
            if id(parent.node) not in seen:
                seen.add(id(parent.node))
                open_nodes.append(parent.node)
    return False


OF_WEIGHTS = [
    pytest.param(rows[0], argument, id=f"{name}-{argument}")
    for name, rows in ROWS.items()
    for argument in inspect.signature(getattr(layers, name)).parameters
    if argument.endswith(("_initializer", "_regularizer", "_constraint")) and not argument.startswith("activity")
]


@pytest.mark.parametrize(("row", "argument"), OF_WEIGHTS)
def test_each_argument_for_a_weight_reaches_that_weight_alone(row, argument):
    word, _, what = argument.rpartition("_")
    values = {"initializer": initializers.Constant(0.125), "regularizer": regularizers.L2(), "constraint": constraints.NonNeg()}
    config = row.make().get_config()
    others = {name: None for name in config if name.endswith(("_regularizer", "_constraint"))}
    layer = type(row.make()).from_config({**config, **others, argument: values[what]})
    drawn(row, layer=layer)
    found = {
        weight.name.rpartition("/")[-1]
        for weight in layer.named_weights()
        if ((weight.tensor == 0.125).any() if what == "initializer" else getattr(weight.options, what) is not None)
    }
    assert found in ({word}, {f"{word}_kernel"}, {"kernel" if word == "depthwise" else word})


WRONG = [-1, 0, 1.5, "nonsense", None, (), (1, 2, 3, 4, 5), float("nan"), True, object(), [-1], {}]
ODD_SHAPES = [(), (3,), (3, 4), (3, 4, 5), (3, 4, 5, 6), (3, 4, 5, 6, 7), (0,), (0, 4), (1, 1, 1), (None, None), (None,)]


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("row", CASES)
def test_what_is_refused_names_the_layer(row):
    """Every argument of the constructor with every odd value, and inputs of odd shapes: an error, if any, is one that helps."""
    kind = type(row.make())
    args, kwargs = row.make()._arguments
    given = inspect.signature(kind.__init__).bind(None, *args, **kwargs).arguments
    given = {**{name: value for name, value in given.items() if name not in ("self", "kwargs")}, **given.get("kwargs", {})}
    named = [p.name for p in inspect.signature(kind).parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    trials = [(f"{name}={value!r}", lambda n=name, v=value: drawn(row, layer=kind(**{**given, n: v}))) for name in named for value in WRONG]
    for shape in ODD_SHAPES:
        trials.append((f"input {shape}", lambda s=shape: called(row, row.make(), [Input(shape=s)])))
        trials.append((f"inputs {shape}", lambda s=shape: called(row, row.make(), [Input(shape=s), Input(shape=s)])))
    refused = 0
    for what, trial in trials:
        try:
            trial()
        except (ValueError, TypeError) as error:
            assert kind.__name__ in str(error), what
            refused += 1
    assert refused or kind is layers.Lambda


LACK_BFLOAT16 = {"AveragePooling3D-0"}  # torch 2.13 has no such kernel on CPU


@pytest.mark.parametrize("row", [case for case in CASES if not case.values[0].integers and case.id not in LACK_BFLOAT16])
def test_bfloat16_inputs_of_a_bfloat16_model_stay_bfloat16(row):
    model = drawn(row).to(torch.bfloat16).train()
    assert run(model, [tensor.bfloat16() for tensor in data(row)]).dtype is torch.bfloat16
