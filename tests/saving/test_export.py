"""Export: programs of torch and ONNX files give what the model predicts, for batches and steps of any number, without this library."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from torchkeras_fn import Input, Model, Sequential, Trainer, layers
from torchkeras_fn.layers import (
    GRU,
    LSTM,
    Add,
    BatchNormalization,
    Bidirectional,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalMaxPooling1D,
    Lambda,
    MaxPooling1D,
    MaxPooling2D,
    MultiHeadAttention,
    TimeDistributed,
    UpSampling2D,
)

BATCHES = [1, 3, 7]


def floats(*shape):
    return lambda batch: torch.randn(batch, *shape)


def indices(*shape):
    return lambda batch: torch.randint(0, 9, (batch, *shape))


# ---------------------------------------------------------------------- models, and data for them


def dense():
    x = Input(shape=(4,))
    return Model(x, Dense(2, activation="softmax")(Dropout(0.5)(Dense(5, activation="relu")(x)))), floats(4)


def image():
    stack = [Conv2D(4, 3, strides=2, padding="same", activation="relu"), BatchNormalization(), MaxPooling2D(), Flatten(), Dense(3)]
    model = Sequential([Input(shape=(9, 8, 3)), *stack])
    model.compile("sgd", "mse")
    model.fit(torch.randn(4, 9, 8, 3), torch.randn(4, 3), verbose=0)  # moves the statistics
    return model, floats(9, 8, 3)


def image_of_any_size():
    x = Input(shape=(None, None, 3))
    a = Conv2D(4, 3, padding="same", activation="relu")(x)
    b = UpSampling2D()(Conv2D(4, 3, strides=2, padding="same")(a))
    return Model(x, Conv2D(1, 1)(Concatenate()([a, b]))), lambda batch: torch.randn(batch, 8 + 2 * batch, 16, 3)


def text_of_any_length():
    x = Input(shape=(None,))
    h = MaxPooling1D(2)(Conv1D(4, 3)(Embedding(9, 5)(x)))
    return Model(x, GlobalMaxPooling1D()(h)), lambda batch: torch.randint(0, 9, (batch, 5 + batch))


def masked():
    return Sequential([Input(shape=(6,)), Embedding(9, 4, mask_zero=True), LSTM(3, return_sequences=True), GRU(2)]), indices(6)


def masked_of_any_length():
    x = Input(shape=(None,))
    h = Bidirectional(LSTM(3, return_sequences=True))(Embedding(9, 4, mask_zero=True)(x))
    return Model(x, [GlobalMaxPooling1D()(h), TimeDistributed(Dense(2))(h)]), lambda batch: torch.randint(0, 9, (batch, 2 * batch))


def attending():
    x, y = Input(shape=(None, 4), name="query"), Input(shape=(None, 4), name="value")
    return Model([x, y], MultiHeadAttention(2, 3)(x, y)), lambda batch: [torch.randn(batch, 5, 4), torch.randn(batch, 2 + batch, 4)]


def attending_along_one_axis():
    x = Input(shape=(3, 5, 4))
    return Model(x, MultiHeadAttention(2, 3, attention_axes=2)(x, x)), floats(3, 5, 4)


def nested():
    a, b = Input(shape=(3,), name="z"), Input(shape=(3,), name="a/1")
    shared, inner = Dense(2, name="relu"), Sequential([Dense(3, input_shape=(2,)), BatchNormalization()])
    outputs = [Add()([inner(shared(a)), inner(shared(b))]), Lambda(torch.sin)(a), a, torch.cat([a, b], -1)]
    return Model([a, b], outputs), lambda batch: [torch.randn(batch, 3), torch.randn(batch, 3)]


def nested_by_name():
    model, data = nested()
    return model, lambda batch: dict(zip(["a/1", "z"], data(batch), strict=True))


class Own(Model):
    def __init__(self):
        super().__init__()
        self.embedding, self.dense = Embedding(9, 4), Dense(2, activity_regularizer="l2")
        self.dropout, self.normalization = Dropout(0.5), BatchNormalization()

    def call(self, x, training=None):
        return self.normalization(self.dropout(self.dense(self.embedding(x).mean(1)), training=training), training=training)


class Several(Model):
    def __init__(self):
        super().__init__()
        self.dense = Dense(2)

    def call(self, left, right):
        self.add_loss(left.sum())
        return {"sum": self.dense(left) + self.dense(right), "right": right}


class Listed(Model):
    def __init__(self):
        super().__init__()
        self.dense = Dense(2)

    def call(self, inputs):
        return self.dense(inputs[0]), inputs[1] * 2


class Net(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x, y):
        return self.linear(x) + y


def own():
    model = Own()
    model(torch.randint(0, 9, (2, 6)))
    return model, indices(6)


def several():
    model, data = Several(), lambda batch: [torch.randn(batch, 3), torch.randn(batch, 3)]
    model(*data(2))
    return model, data


def listed():
    model, data = Listed(), lambda batch: [torch.randn(batch, 3), torch.randn(batch, 2)]
    model(data(2))
    return model, data


def plain():
    return Net(), lambda batch: [torch.randn(batch, 3), torch.randn(batch, 1)], [(None, 3), Input(shape=(1,))]


def wrapped():
    module = nn.Sequential(nn.Conv1d(3, 4, 1), nn.MaxPool1d(2), nn.BatchNorm1d(4), nn.Dropout())
    return Model.from_module(module), floats(3, 6), torch.randn(2, 3, 6)


def doubles():
    return Sequential([Dense(2, input_shape=(3,))]).double(), lambda batch: torch.randn(batch, 3, dtype=torch.float64)


KINDS = [dense, image, image_of_any_size, text_of_any_length, masked, masked_of_any_length, attending]
KINDS += [attending_along_one_axis, nested, nested_by_name, own, several, listed, plain, wrapped, doubles]


# ---------------------------------------------------------------------- reading


def as_torch(file):
    program = torch.export.load(file).module()

    @torch.no_grad()
    def run(given, arrangement):
        return program(*arrangement(given))

    return run


def as_onnx(file):
    runtime = pytest.importorskip("onnxruntime", reason="ONNX files are checked by running them")
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])

    def run(given, arrangement):
        names = [value.name for value in session.get_inputs()]
        if isinstance(given, dict):
            return session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
        return session.run(None, {name: tensor.numpy() for name, tensor in zip(names, tree_leaves(given), strict=True)})

    return run


def exported(model, format, **options):
    if format == "onnx":
        pytest.importorskip("onnxscript", reason="export to ONNX needs the extra onnx")
    model.export(file := io.BytesIO(), format, **options)
    file.seek(0)
    return file


def arrangement_for(model):
    """How an exported program of torch is called with the data that `predict` takes."""

    def arranged(given):
        if isinstance(given, dict):
            given = [given[name] for name in model.input_names]
        return (given,) if isinstance(given, torch.Tensor) or isinstance(model, Listed) else tuple(given)

    return arranged


READERS = {"torch": as_torch, "onnx": as_onnx}


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_a_program_gives_what_the_model_predicts(make, format):
    model, data, *signature = make()
    run = READERS[format](exported(model, format, input_signature=signature[0] if signature else None))
    for batch in BATCHES:
        given = data(batch)
        expected, found = tree_leaves(model.predict(given, verbose=0)), tree_leaves(run(given, arrangement_for(model)))
        assert [tuple(part.shape) for part in found] == [part.shape for part in expected]
        for mine, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(np.asarray(mine), wanted, atol=1e-5)


def test_a_drawn_layer_of_the_users_own_is_exported():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight("factor", (input_shape[-1],), initializer="ones")

        def call(self, inputs):
            return inputs * self.factor

    model = Sequential([Input(shape=(3,)), Scale()])
    assert torch.equal(torch.export.load(exported(model, "torch")).module()(torch.ones(5, 3)), torch.ones(5, 3))


def test_onnx_inputs_and_outputs_have_their_keras_names():
    onnx = pytest.importorskip("onnx", reason="reads the names")
    graph = onnx.load_model_from_string(exported(nested()[0], "onnx").getvalue()).graph
    assert [value.name for value in graph.input] == ["z", "a/1"]
    assert [value.name for value in graph.output] == ["add_1", "lambda_1", "z_output", "cat"]
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in [*graph.input, *graph.output]} == {"batch"}
    graph = onnx.load_model_from_string(exported(several()[0], "onnx").getvalue()).graph
    assert [value.name for value in graph.input] == ["left", "right"]
    assert [value.name for value in graph.output] == ["sum", "right_output"]


def test_onnx_takes_an_opset():
    onnx = pytest.importorskip("onnx", reason="reads the version")
    found = onnx.load_model_from_string(exported(dense()[0], "onnx", opset_version=20).getvalue())
    assert [entry.version for entry in found.opset_import if not entry.domain] == [20]


@pytest.mark.parametrize("signature", [(None, 4), {"input_1": np.ones((2, 4), np.int64)}, [Input(shape=(4,), dtype="int64")]], ids=type)
def test_sizes_can_be_fixed(signature):
    model, data = masked()[0], torch.ones(5, 4, dtype=torch.int64)
    model = Sequential([Input(shape=(None,), name="input_1"), *model.layers])
    program = torch.export.load(exported(model, "torch", input_signature=signature))
    assert "scan" not in str(program.graph)
    np.testing.assert_allclose(program.module()(data).detach(), model.predict(data, verbose=0), atol=1e-6)


def test_states_go_from_batch_to_batch_in_a_program_of_torch_and_are_refused_by_onnx():
    model = Sequential([LSTM(3, stateful=True, batch_input_shape=(2, 4, 3))])
    program = torch.export.load(exported(model, "torch")).module()
    data = torch.randn(2, 4, 3)
    for _ in range(2):
        np.testing.assert_allclose(program(data).detach(), model.predict(data, batch_size=2, verbose=0), atol=1e-6)
    with pytest.raises(ValueError, match=r"lstm_1\.state_0.*stateful=True.*format='torch'"):
        exported(model, "onnx")


def test_programs_and_modules_of_torch_run_where_this_library_is_not(tmp_path):
    model, given = Sequential([Input(shape=(None, 3)), BatchNormalization(), GRU(2)]), torch.randn(4, 5, 3)
    model.export(tmp_path / "model.pt2")
    torch.save([given, torch.as_tensor(model.predict(given, verbose=0))], tmp_path / "data.pt")
    torch.save(dense()[0].to_torch(), tmp_path / "module.pt")
    program = """
import sys, torch
sys.modules["torchkeras_fn"] = None
given, wanted = torch.load("data.pt")
torch.testing.assert_close(torch.export.load("model.pt2").module()(given).detach(), wanted)
assert torch.load("module.pt", weights_only=False)(torch.ones(2, 4)).shape == (2, 2)
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


@pytest.mark.parametrize("format", READERS)
def test_training_goes_on_as_if_nothing_had_been_exported(format):
    def trained(between):
        torch.manual_seed(0)
        x = Input(shape=(5, 3))
        model = Model(x, Dense(1)(Dropout(0.5)(BatchNormalization()(LSTM(4)(x)))))
        model.compile("adam", "mse")
        data, targets = torch.randn(8, 5, 3), torch.randn(8, 1)
        model.fit(data, targets, verbose=0)
        model.get_submodule("dropout_1").eval()
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        between(model)
        modes = [module.training for module in model.modules()]
        grads = [parameter.grad.sum().item() for parameter in model.parameters()]
        assert not any(parameter.is_inference() for parameter in model.parameters())
        history = model.fit(data, targets, epochs=2, verbose=0).history
        return modes, grads, history, model.get_weights()

    plain, exporting = trained(lambda model: None), trained(lambda model: exported(model, format))
    assert plain[:3] == exporting[:3]
    assert all(np.array_equal(a, b) for a, b in zip(plain[3], exporting[3], strict=True))


# ---------------------------------------------------------------------- files, and what is refused


def test_the_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(b"before")
    dense()[0].export(path)
    assert torch.export.load(path).module()(torch.ones(2, 4)).shape == (2, 2)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt2"]


def branching(x):
    return x if x.sum() > 0 else -x


def leaving_torch(x):
    return torch.from_numpy(np.sin(x.detach().numpy()))


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize("function", [branching, leaving_torch])
def test_what_torch_cannot_export_is_named_and_leaves_no_file(function, format, tmp_path):
    if format == "onnx":
        pytest.importorskip("onnxscript", reason="export to ONNX needs the extra onnx")
    x = Input(shape=(4,))
    model = Model(x, Lambda(function, output_shape=(4,), name="culprit")(Dense(4)(x)), name="net")
    path = tmp_path / "model"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError, match=r"(?s)^net cannot be exported to '\w+', at 'culprit'\. torch says: .*"):
        model.export(path, format)
    assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1
    assert all(module.training for module in model.modules())


def test_a_path_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder"):
        dense()[0].export(tmp_path / "missing" / "model.pt2")


@pytest.mark.parametrize("model", [Own(), Sequential([Dense(2)])], ids=["own", "stack"])
def test_a_model_that_is_not_built_is_refused(model):
    with pytest.raises(RuntimeError, match="is not built"):
        model.export(io.BytesIO())


def test_a_module_that_was_not_called_needs_to_be_told_what_it_takes():
    with pytest.raises(ValueError, match="input_signature"):
        Model.from_module(nn.Linear(3, 1)).export(io.BytesIO())


@pytest.mark.parametrize("signature", [3, ["x"], {"x": object()}])
def test_a_signature_holds_tensors_or_shapes(signature):
    with pytest.raises(TypeError, match="input_signature holds"):
        Model.from_module(nn.Linear(3, 1)).export(io.BytesIO(), input_signature=signature)


def test_other_formats_are_refused():
    for format in ("tf_saved_model", "litert", "openvino", "h5", None):
        with pytest.raises(ValueError, match=r"'torch' or 'onnx'"):
            dense()[0].export(io.BytesIO(), format)


def test_other_options_are_refused():
    with pytest.raises(TypeError, match="'opset_version'"):
        dense()[0].export(io.BytesIO(), "torch", opset_version=18)


def test_the_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"pip install 'torchkeras_fn\[onnx\]'"):
        dense()[0].export(tmp_path / "model.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_message_is_printed_when_asked_for(capsys, tmp_path):
    dense()[0].export(tmp_path / "model.pt2", verbose=True)
    assert "model.pt2" in capsys.readouterr().out


# ---------------------------------------------------------------------- to_torch


def test_to_torch_is_in_inference_mode_and_leaves_the_model_in_its_own():
    model, data = dense()
    module, given = model.to_torch(), data(3)
    np.testing.assert_allclose(module(given).detach().numpy(), model.predict(given, verbose=0), atol=1e-6)
    assert all(part.training for part in model.modules())
    module.train()
    model.eval()
    assert module.training and not model.get_submodule("dropout_1").training


@pytest.mark.parametrize("make", [image, masked, nested], ids=lambda make: make.__name__)
def test_to_torch_is_over_the_weights_of_the_model(make):
    model, _ = make()
    module = model.to_torch()
    assert list(module.state_dict()) == list(model.state_dict())
    assert {id(part) for part in module.parameters()} == {id(part) for part in model.parameters()}
    assert {id(part) for part in module.buffers()} == {id(part) for part in model.buffers()}
    model.double()
    assert {tensor.dtype for tensor in module.state_dict().values() if tensor.is_floating_point()} == {torch.float64}


def test_to_torch_of_a_wrapped_module_is_the_module():
    module = nn.Linear(3, 1)
    assert Model.from_module(module).to_torch() is module
