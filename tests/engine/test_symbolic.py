"""Drawing: any torch function on symbolic tensors has the shape and value it has on real ones, and drawing changes nothing."""

import operator
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import Input, Model
from torchkeras_fn.engine.symbolic import KerasTensor, describe_operation, is_symbolic, map_symbolic, symbolic_leaves
from torchkeras_fn.layers import LSTM, Add, Dense, Dropout, Embedding, Lambda

W = torch.linspace(-1, 1, 12).reshape(3, 4)

# name -> (function of tensors x (batch, 3), y (batch, 3), z (batch, 4, 6), and the shape of what it gives)
FUNCTIONS = {
    # operators, with tensors, numbers and constants on either side
    "add": (lambda x, y, z: x + y, (None, 3)),
    "add number": (lambda x, y, z: x + 1, (None, 3)),
    "number minus": (lambda x, y, z: 1 - x, (None, 3)),
    "number over": (lambda x, y, z: 2 / (x * x + 1), (None, 3)),
    "floor": (lambda x, y, z: x // 2, (None, 3)),
    "number to the power": (lambda x, y, z: 2**x, (None, 3)),
    "constant to the power": (lambda x, y, z: torch.tensor([1.0, 2.0, 3.0]) ** x, (None, 3)),
    "mod": (lambda x, y, z: x % 2, (None, 3)),
    "power": (lambda x, y, z: x**2, (None, 3)),
    "matmul": (lambda x, y, z: z @ z.mT, (None, 4, 4)),
    "matmul constant": (lambda x, y, z: x @ W, (None, 4)),
    "constant matmul": (lambda x, y, z: W @ z, (None, 3, 6)),
    "constant plus": (lambda x, y, z: torch.ones(3) + x, (None, 3)),
    "constant minus": (lambda x, y, z: torch.ones(3) - x, (None, 3)),
    "constant over": (lambda x, y, z: torch.ones(3) / (x * x + 1), (None, 3)),
    "times numpy number": (lambda x, y, z: x * np.float32(2), (None, 3)),
    "numpy number times": (lambda x, y, z: np.float32(2) * x, (None, 3)),
    "negative": (lambda x, y, z: -x, (None, 3)),
    "positive": (lambda x, y, z: +x, (None, 3)),
    "abs": (lambda x, y, z: abs(x), (None, 3)),
    "invert": (lambda x, y, z: ~(x > 0), (None, 3)),
    "and": (lambda x, y, z: (x > 0) & (y > 0), (None, 3)),
    "or": (lambda x, y, z: (x > 0) | (y > 0), (None, 3)),
    "xor": (lambda x, y, z: (x > 0) ^ (y > 0), (None, 3)),
    "shift": (lambda x, y, z: x.int() << 1, (None, 3)),
    # comparisons
    "equal": (lambda x, y, z: x == y, (None, 3)),
    "not equal": (lambda x, y, z: x != 1, (None, 3)),
    "less": (lambda x, y, z: x < y, (None, 3)),
    "less or equal": (lambda x, y, z: x <= 0, (None, 3)),
    "greater": (lambda x, y, z: x < 0, (None, 3)),
    "greater or equal": (lambda x, y, z: x >= torch.zeros(3), (None, 3)),
    # joining and parting
    "cat": (lambda x, y, z: torch.cat([x, y], dim=-1), (None, 6)),
    "cat along the batch": (lambda x, y, z: torch.cat([x, y], dim=0), (None, 3)),
    "cat with zeros": (lambda x, y, z: torch.cat([z, z.new_zeros(z.size(0), 1, 6)], 1), (None, 5, 6)),
    "concatenate": (lambda x, y, z: torch.concatenate((x, y), 1), (None, 6)),
    "stack": (lambda x, y, z: torch.stack([x, y], dim=1), (None, 2, 3)),
    "split": (lambda x, y, z: torch.split(z, 2, dim=1)[1], (None, 2, 6)),
    "split unpacked": (lambda x, y, z: operator.sub(*z.split([1, 3], dim=1)[::-1]), (None, 3, 6)),
    "chunk": (lambda x, y, z: z.chunk(3, dim=-1)[2], (None, 4, 2)),
    "unbind": (lambda x, y, z: sum(z.unbind(1)), (None, 6)),
    "repeat": (lambda x, y, z: x.repeat(1, 2), (None, 6)),
    "expand": (lambda x, y, z: x.unsqueeze(1).expand(-1, 5, -1), (None, 5, 3)),
    # indexing
    "column": (lambda x, y, z: z[:, 0], (None, 6)),
    "last": (lambda x, y, z: z[:, -1, 2:5], (None, 3)),
    "up to a size": (lambda x, y, z: z[:, :, : x.size(1)], (None, 4, 3)),
    "up to the batch size": (lambda x, y, z: z[: x.size(0), 0], (None, 6)),
    "numpy bounds": (lambda x, y, z: z[:, np.int64(1) : np.int64(3)], (None, 2, 6)),
    "steps": (lambda x, y, z: z[:, ::2], (None, 2, 6)),
    "new axis": (lambda x, y, z: x[:, None], (None, 1, 3)),
    "ellipsis": (lambda x, y, z: z[..., 1], (None, 4)),
    "ellipsis and new axis": (lambda x, y, z: z[..., None, :2], (None, 4, 1, 2)),
    "list": (lambda x, y, z: x[:, [2, 0]], (None, 2)),
    "constant index": (lambda x, y, z: x[:, torch.tensor([2, 0])], (None, 2)),
    "gather": (lambda x, y, z: x.gather(1, (y > 0).long()), (None, 3)),
    "index_select": (lambda x, y, z: torch.index_select(x, 1, torch.tensor([0, 0])), (None, 2)),
    "narrow": (lambda x, y, z: z.narrow(2, 1, 3), (None, 4, 3)),
    # shapes
    "view of size": (lambda x, y, z: z.view(z.size(0), -1), (None, 24)),
    "view of sizes": (lambda x, y, z: z.view(z.size(0), z.size(2), -1), (None, 6, 4)),
    "reshape": (lambda x, y, z: z.reshape(-1, 2, 12), (None, 2, 12)),
    "arithmetic on sizes": (lambda x, y, z: z.view(z.size(0) * 2, -1), (None, 12)),
    "folded and unfolded": (lambda x, y, z: z.reshape(-1, 6).relu().view(z.size(0), 4, 6), (None, 4, 6)),
    "flatten": (lambda x, y, z: z.flatten(1), (None, 24)),
    "unflatten": (lambda x, y, z: z.unflatten(2, (2, 3)), (None, 4, 2, 3)),
    "permute": (lambda x, y, z: z.permute(0, 2, 1), (None, 6, 4)),
    "transpose": (lambda x, y, z: z.transpose(1, 2), (None, 6, 4)),
    "movedim": (lambda x, y, z: torch.movedim(z, 1, 2), (None, 6, 4)),
    "T": (lambda x, y, z: x.T, (3, None)),
    "mT": (lambda x, y, z: z.mT, (None, 6, 4)),
    "unsqueeze": (lambda x, y, z: x.unsqueeze(-1), (None, 3, 1)),
    "squeeze": (lambda x, y, z: x[:, :1].squeeze(1), (None,)),
    "contiguous": (lambda x, y, z: z.mT.contiguous().view(-1, 24), (None, 24)),
    "pad": (lambda x, y, z: F.pad(x, (1, 2)), (None, 6)),
    "flip": (lambda x, y, z: x.flip(1), (None, 3)),
    # elementwise
    "gelu": (lambda x, y, z: F.gelu(x, approximate="tanh"), (None, 3)),
    "relu": (lambda x, y, z: x.relu(), (None, 3)),
    "exp": (lambda x, y, z: torch.exp(x), (None, 3)),
    "softmax": (lambda x, y, z: F.softmax(x, dim=-1), (None, 3)),
    "layer_norm": (lambda x, y, z: F.layer_norm(z, (6,)), (None, 4, 6)),
    "linear": (lambda x, y, z: F.linear(x, W.T), (None, 4)),
    "conv1d": (lambda x, y, z: F.conv1d(z, torch.ones(2, 4, 3)), (None, 2, 4)),
    "max_pool1d": (lambda x, y, z: F.max_pool1d(z, 2), (None, 4, 3)),
    "attention": (lambda x, y, z: F.scaled_dot_product_attention(z, z, z), (None, 4, 6)),
    "where": (lambda x, y, z: torch.where(x > 0, x, y), (None, 3)),
    "where number": (lambda x, y, z: torch.where(x > 0, x, 0.0), (None, 3)),
    "masked_fill": (lambda x, y, z: x.masked_fill(x < 0, -1.0), (None, 3)),
    "clamp": (lambda x, y, z: x.clamp(min=-0.5, max=0.5), (None, 3)),
    "maximum": (lambda x, y, z: torch.maximum(x, torch.zeros(3)), (None, 3)),
    "lerp": (lambda x, y, z: torch.lerp(x, y, 0.5), (None, 3)),
    "cumsum": (lambda x, y, z: x.cumsum(-1), (None, 3)),
    "to": (lambda x, y, z: x.to(torch.float64), (None, 3)),
    "double": (lambda x, y, z: x.double(), (None, 3)),
    "type_as": (lambda x, y, z: (x > 0).type_as(y), (None, 3)),
    "zeros_like": (lambda x, y, z: torch.zeros_like(x) + x, (None, 3)),
    "full_like": (lambda x, y, z: torch.full_like(x, 2.0), (None, 3)),
    "new_zeros": (lambda x, y, z: x.new_zeros(x.size(0), 5), (None, 5)),
    "normalize": (lambda x, y, z: F.normalize(x, dim=1), (None, 3)),
    "one_hot": (lambda x, y, z: F.one_hot((x > 0).long(), 2), (None, 3, 2)),
    # products and reductions
    "einsum": (lambda x, y, z: torch.einsum("bij,bkj->bik", z, z), (None, 4, 4)),
    "bmm": (lambda x, y, z: torch.bmm(z, z.transpose(1, 2)), (None, 4, 4)),
    "mean": (lambda x, y, z: z.mean(1), (None, 6)),
    "mean keepdim": (lambda x, y, z: z.mean(dim=(1, 2), keepdim=True), (None, 1, 1)),
    "sum": (lambda x, y, z: torch.sum(z, dim=-1), (None, 4)),
    "sum over all": (lambda x, y, z: z.sum(), ()),
    "sum over the batch": (lambda x, y, z: z.sum(0), (4, 6)),
    "max with names": (lambda x, y, z: z.max(dim=1).values, (None, 6)),
    "max with indices": (lambda x, y, z: torch.max(z, dim=1)[1], (None, 6)),
    "topk": (lambda x, y, z: z.topk(2, dim=-1).values, (None, 4, 2)),
    "sort": (lambda x, y, z: torch.sort(z, dim=-1, descending=True).indices, (None, 4, 6)),
    "argmax": (lambda x, y, z: z.argmax(-1), (None, 4)),
    "std": (lambda x, y, z: z.std(dim=-1, unbiased=False), (None, 4)),
    "norm": (lambda x, y, z: torch.linalg.vector_norm(z, dim=-1), (None, 4)),
    "logsumexp": (lambda x, y, z: z.logsumexp(-1), (None, 4)),
    "numpy axis": (lambda x, y, z: z.sum(np.int64(1)), (None, 6)),
    "cdist": (lambda x, y, z: torch.cdist(z, z), (None, 4, 4)),
    "cosine_similarity": (lambda x, y, z: F.cosine_similarity(x, y, dim=1), (None,)),
}


def real_inputs(batch=5):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, *shape, generator=generator) for shape in ((3,), (3,), (4, 6))]


def drawn_inputs():
    return Input(shape=(3,)), Input(shape=(3,)), Input(shape=(4, 6))


def used(inputs, output):
    """The inputs that the output depends on: a model refuses the others."""
    seen, stack = set(), [output.node]
    while stack:
        node = stack.pop()
        seen.add(id(node))
        stack += [parent.node for parent in node.parents]
    return [index for index, tensor in enumerate(inputs) if id(tensor.node) in seen]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_on_symbolic_tensors_gives_what_it_gives_on_real_ones(name):
    function, shape = FUNCTIONS[name]
    inputs, real = drawn_inputs(), real_inputs()
    output = function(*inputs)
    expected = function(*real)
    assert output.shape == shape
    assert output.dtype == expected.dtype
    chosen = used(inputs, output)
    model = Model([inputs[index] for index in chosen], output)
    torch.testing.assert_close(model(*[real[index] for index in chosen]), expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_known_dimensions_of_the_symbolic_shape_are_those_of_the_real_one(name):
    function, shape = FUNCTIONS[name]
    for batch in (2, 7):
        real = tuple(function(*real_inputs(batch)).shape)
        assert tuple(None if a is None else b for a, b in zip(shape, real, strict=True)) == shape


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x[:, 1:], (None, None, 6)),
        (lambda x: x.mean(1), (None, 6)),
        (lambda x: x.transpose(1, 2), (None, 6, None)),
        (lambda x: x @ x.mT, (None, None, None)),
        (lambda x: x.view(x.size(0), x.size(1), 2, 3), (None, None, 2, 3)),
        (lambda x: torch.cat([x, x], 1), (None, None, 6)),
        (lambda x: x[:, 0], (None, 6)),
        (lambda x: x.flatten(1), (None, None)),
        (lambda x: x.reshape(x.size(0) * x.size(1), 6), (None, 6)),
    ],
)
def test_unknown_dimensions_besides_the_batch_stay_unknown(function, expected):
    x = Input(shape=(None, 6))
    output = function(x)
    assert output.shape == expected
    real = torch.randn(2, 4, 6)
    torch.testing.assert_close(Model(x, output)(real), function(real))


def test_a_fixed_batch_is_a_known_dimension():
    assert (Input(batch_shape=(8, 3)) + 1).shape == (8, 3)


def test_a_parameter_that_was_mixed_in_is_trained():
    scale = nn.Parameter(torch.ones(3))
    x = Input(shape=(3,))
    model = Model(x, x * scale)
    assert [parameter is scale for parameter in model.parameters()] == [True]
    model(torch.ones(2, 3)).sum().backward()
    assert scale.grad.tolist() == [2, 2, 2]


def test_a_constant_is_a_buffer_once_however_often_it_is_used():
    constant = torch.ones(3)
    x = Input(shape=(3,))
    model = Model(x, x * constant + constant)
    assert list(dict(model.named_buffers())) == ["constants.constant_1"]


@pytest.mark.parametrize("function", [lambda x, array: array - x, lambda x, array: x - array])
def test_a_numpy_array_is_a_constant_of_the_float_type(function):
    array = np.array([1.0, 2.0, 3.0])
    x = Input(shape=(3,))
    outputs = Model(x, function(x, array))(torch.ones(2, 3))
    torch.testing.assert_close(outputs, function(torch.ones(2, 3), torch.tensor(array, dtype=torch.float32)))


def test_a_slice_up_to_an_unknown_size_follows_the_data():
    x, y = Input(shape=(None, 3)), Input(shape=(None, 3))
    output = x[:, : y.size(1)] + y
    assert output.shape == (None, None, 3)
    assert Model([x, y], output)(torch.ones(2, 7, 3), torch.ones(2, 5, 3)).shape == (2, 5, 3)


def test_several_results_are_symbolic_tensors_each():
    values, indices = Input(shape=(5,)).max(dim=1)
    assert (values.dtype, indices.dtype) == (torch.float32, torch.int64)


def test_the_size_of_a_known_dimension_is_an_integer():
    x = Input(shape=(3, 4))
    assert (x.size(1), x.size(-1), x.shape[2], x.ndim, x.dim()) == (3, 4, 4, 3, 3)


def test_the_sizes_together_can_be_unpacked():
    batch, rows, columns = Input(shape=(3, 4)).size()
    assert is_symbolic(batch)
    assert (rows, columns) == (3, 4)


def test_a_question_about_the_dtype_is_answered():
    assert Input(shape=(3,)).is_floating_point()
    assert not Input(shape=(3,), dtype="int32").is_floating_point()


def test_a_known_first_dimension_can_be_iterated():
    assert [part.shape for part in Input(batch_shape=(2, 3))] == [(3,), (3,)]


def test_python_cannot_branch_on_a_symbolic_tensor():
    with pytest.raises(TypeError, match="has no value yet, so Python cannot branch on it. Use torch.where"):
        bool(Input(shape=(3,)).sum() > 0)


def test_an_unknown_length_is_refused():
    with pytest.raises(TypeError, match=r"has no known length. .* pass a list, \[tensor\]"):
        list(Input(shape=(3,)))


def test_a_program_that_asks_for_a_length_sees_that_it_is_one_tensor():
    assert not hasattr(Input(shape=(3,)), "__len__")


@pytest.mark.parametrize("read", [np.asarray, float, int, KerasTensor.numpy, KerasTensor.tolist, KerasTensor.item])
def test_a_symbolic_tensor_is_no_array(read):
    with pytest.raises(TypeError, match=r"holds no data: build a Model from it and call predict\(\)"):
        read(Input(shape=(3,)))


def test_a_method_of_models_is_looked_for_in_a_model():
    with pytest.raises(AttributeError, match="no attribute 'fit'. A Model has: build one"):
        Input(shape=(3,)).fit()


def test_a_size_that_is_unknown_is_told_how_to_be_asked_for():
    x = Input(shape=(3,))
    with pytest.raises(ValueError, match=r"(?s)view cannot take .*reads None in x.shape, x.size\(axis\) stands"):
        x.view(x.shape[0], -1)


@pytest.mark.parametrize("name", ["numpy_", "nonsense", "_private"])
def test_an_unknown_attribute_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=name):
        getattr(Input(shape=(3,)), name)


def test_a_symbolic_tensor_shows_its_shape_dtype_and_origin():
    assert repr(torch.relu(Input(shape=(3,)))) == "<KerasTensor shape=(None, 3), dtype=float32, from=relu>"


def test_a_function_that_refuses_the_shapes_is_named_with_them():
    x, y = Input(shape=(3,)), Input(shape=(4,))
    with pytest.raises(ValueError, match=r"add cannot take input of shape \(None, 3\), \(None, 4\): .*size"):
        x + y


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: x + torch.ones(8, 3),
        lambda x: Add()([x, torch.ones(8, 3)]),
        lambda x: torch.cat([x, torch.ones(8, 3)], 1),
        lambda x: torch.where(torch.ones(8, 3) > 0, x, 0.0),
    ],
    ids=["add", "Add", "cat", "where"],
)
def test_a_constant_whose_rows_go_with_one_batch_size_is_named(draw):
    with pytest.raises(ValueError, match=r"A constant here has 8 rows, .* constant\[:1\].* Input\(batch_shape=\(8, ...\)\)"):
        draw(Input(shape=(3,)))
    assert draw(Input(batch_shape=(8, 3))).shape[0] == 8


def test_a_constant_that_fits_no_batch_size_is_not_blamed_for_its_rows():
    with pytest.raises(ValueError, match="cannot be multiplied") as caught:
        Input(shape=(3,)) @ torch.ones(5, 3)
    assert "rows" not in str(caught.value)


@pytest.mark.parametrize("module", [nn.Linear(3, 2), nn.ReLU(), nn.Sequential(nn.Linear(3, 2)), nn.BatchNorm1d(3)])
def test_a_bare_torch_module_says_how_to_wrap_it(module):
    x = Input(shape=(3,))
    kind = type(module).__name__
    with pytest.raises(TypeError, match=rf"{kind} is a plain torch module.*TorchModuleWrapper\({kind}\(...\)\)\(x\)"):
        module(x)


def test_drawing_within_the_forward_of_a_module_that_is_no_caller_is_allowed():
    class Holder(nn.Module):
        def forward(self):
            return Model(x := Input(shape=(3,)), torch.relu(x))

    assert Holder()().output_shape == (None, 3)


def test_drawing_a_function_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    x = Input(shape=(3,))
    torch.rand_like(F.dropout(x, 0.5)) + x
    assert torch.equal(torch.get_rng_state(), before)


def test_leaves_and_maps_of_structures():
    x, y = Input(shape=(3,)), Input(shape=(4,))
    assert [leaf.shape for leaf in symbolic_leaves({"a": [x, 1], "b": (y, None)})] == [(None, 3), (None, 4)]
    assert map_symbolic(lambda tensor: tensor.shape, [x, 2]) == [(None, 3), 2]
    assert not is_symbolic([1, torch.ones(2)])


def test_a_node_knows_its_parents_and_outputs():
    x = Input(shape=(3,))
    y = torch.cat([x, x], 1)
    assert [parent is x for parent in y.node.parents] == [True, True]
    assert y.node.tensors[0] is y
    assert repr(y.node) == "<Node cat -> [(None, 6)]>"


def test_operations_are_named_for_messages():
    assert [describe_operation(it) for it in (torch.cat, Dense(2), Dense(2, name="digit"))] == ["cat", "Dense", "digit (Dense)"]


def test_the_name_of_a_tensor_is_that_of_its_layer_or_function():
    x = Input(shape=(3,), name="pixels")
    assert (x.name, torch.relu(x).name, Dense(2, name="digit")(x).name) == ("pixels", "relu", "digit")


def test_a_symbolic_tensor_is_a_key_by_identity():
    x = Input(shape=(3,))
    assert {x: 1}[x] == 1
    assert isinstance(x, KerasTensor)


def test_a_lambda_inside_a_list_of_layers_draws_too():
    assert Lambda(lambda x: x.mean(1))(Input(shape=(3, 4))).shape == (None, 4)


def test_drawing_common_layers_loads_neither_the_compiler_nor_sympy():
    program = """
        import sys
        import torch
        from torchkeras_fn import Input, Model, layers
        x = Input(shape=(28, 28))
        h = layers.Flatten()(x)
        h = layers.BatchNormalization()(layers.Dense(8, activation="relu")(h))
        h = layers.Dropout(0.5)(layers.Reshape((2, 4))(h))
        h = layers.add([h, layers.Permute((1, 2))(h)]).view(h.size(0), -1)
        i = Input(shape=(None,), dtype="int64")
        e = layers.Embedding(10, 8, mask_zero=True)(i).mean(1)
        model = Model([x, i], layers.Dense(2, activation="softmax")(layers.concatenate([h, e])))
        model.lowered
        print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
    """
    shown = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


@pytest.mark.parametrize("change", [operator.iadd, operator.isub, operator.imul, operator.itruediv], ids=lambda change: change.__name__)
def test_an_operator_that_changes_a_real_tensor_makes_another_when_drawn(change):
    x, start = Input(shape=(3,)), torch.tensor(2.0)
    model = Model(x, change(start, x))
    expected = change(torch.full((2, 3), 2.0), torch.full((2, 3), 4.0))
    assert torch.equal(model(torch.full((2, 3), 4.0)), expected)
    assert torch.equal(model(torch.full((2, 3), 4.0)), expected) and start == 2


def test_a_tensor_knows_the_call_that_made_it_under_keras_2s_name():
    x, layer = Input(shape=(4, 3)), LSTM(2, return_state=True)
    layer(x)
    outputs = layer(x)
    assert [tensor._keras_history for tensor in outputs] == [(layer, 1, index) for index in range(3)]
    assert torch.relu(x)._keras_history == (torch.relu, 0, 0)


def test_the_shape_has_keras_2s_name_and_may_be_set_under_it():
    x = Input(shape=(3,))
    assert x._keras_shape == (None, 3)
    x._keras_shape = (None, 7)
    assert x._keras_shape == (None, 7) and x.shape == (None, 3)


def test_the_call_of_a_layer_is_not_for_symbolic_tensors():
    layer = Dense(2, name="last")
    layer.build((None, 3))
    with pytest.raises(TypeError, match=r"last \(Dense\).*Call the layer itself"):
        layer.call(Input(shape=(3,)))


@pytest.mark.parametrize("draw", [lambda x: x[x > 0].mean(), Lambda(lambda x: x[x > 0].mean())])
def test_what_depends_on_the_data_is_drawn_and_runs(draw):
    x = Input(shape=(None, 4))
    chosen = draw(x)
    assert chosen.shape == ()
    rows = torch.linspace(-1, 2, 24).view(2, 3, 4)
    torch.testing.assert_close(Model(x, chosen)(rows), rows[rows > 0].mean())


@pytest.mark.parametrize("place", ["loss", "metrics"])
def test_a_loss_that_closes_over_a_drawn_tensor_is_told_of_add_loss(place):
    x = Input(shape=(3,))
    hidden = Dense(2)(x)
    model = Model(x, Dense(3)(hidden))

    def own(y_true, y_pred):
        return (y_true - y_pred).pow(2).mean(-1) + hidden.mean(-1)

    model.compile("sgd", **{"loss": "mse", place: own if place == "loss" else [own]})
    with pytest.raises(ValueError, match=r"A loss or metric reads <KerasTensor.*model.add_loss\(term\)"):
        model.fit(np.ones((4, 3)), np.ones((4, 3)), verbose=0)


def test_the_mask_that_comes_with_a_tensor_is_drawn_when_it_is_asked_for():
    words = Input(shape=(None,), dtype="int64")
    steps = Dropout(0.5)(Embedding(9, 4, mask_zero=True)(words))
    outputs, state, _ = LSTM(3, return_sequences=True, return_state=True)(steps)
    found = Model(words, [steps._keras_mask, outputs._keras_mask]).predict(torch.tensor([[4, 0, 2]]))
    assert [mask.tolist() for mask in found] == [[[True, False, True]]] * 2
    assert words._keras_mask is state._keras_mask is torch.relu(steps)._keras_mask is LSTM(3)(steps)._keras_mask is None
