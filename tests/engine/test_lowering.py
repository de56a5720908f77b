"""Lowering: a plain graph module of torch modules, in two views, that computes, copies, pickles, exports and compiles."""

import copy
import pickle
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from torchkeras_fn import Input, Model, Sequential, regularizers
from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.lowering import lower, lower_for_training
from torchkeras_fn.layers import (
    LSTM,
    Activation,
    Add,
    BatchNormalization,
    Concatenate,
    Dense,
    Dot,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    Lambda,
    Masking,
    Multiply,
    Permute,
    RepeatVector,
    Reshape,
    TorchModuleWrapper,
)
from torchkeras_fn.layers import (
    Input as InputFunction,
)


def always(kind):
    return True


def double(x):
    return 2 * x


class OwnScale(Layer):
    def build(self, input_shape):
        self.factor = self.add_weight("factor", (input_shape[-1],))

    def call(self, inputs, training=None):
        return inputs * self.factor


# ---------------------------------------------------------------------- models of all kinds, and inputs for them


def dense():
    x = Input(shape=(6,))
    return Model(x, Dense(3, activation="softmax")(Dropout(0.5)(Dense(4, activation="relu")(x)))), [torch.randn(5, 6)]


def described():
    x = Input(shape=(4, 6))
    h = BatchNormalization()(Permute((2, 1))(x))
    h = Reshape((3, -1))(Dense(2, activation="gelu")(h))
    h = Dense(8)(Flatten()(h))
    return Model(x, Multiply()([RepeatVector(2)(h), RepeatVector(2)(Activation("tanh")(h))])), [torch.randn(5, 4, 6)]


def branches():
    a, b = Input(shape=(6,)), Input(shape=(6,))
    shared = Dense(4, activation="elu")
    joined = Concatenate()([shared(a), shared(b)])
    return Model([a, b], [Dense(2)(joined), Dot(1)([shared(a), shared(b)]), a]), [torch.randn(5, 6), torch.randn(5, 6)]


def functions():
    x = Input(shape=(4, 6))
    weight = nn.Parameter(torch.randn(6, 3))
    h = torch.cat([x @ weight, x[..., :3] * torch.arange(3.0)], dim=1)
    values, indices = h.max(dim=1)
    return Model(x, [values + indices, h.view(h.size(0), -1), h.mT.mean((1, 2))]), [torch.randn(5, 4, 6)]


def masked():
    i = Input(shape=(4,))
    h = Embedding(7, 3, mask_zero=True)(i)
    return Model(i, Dense(2, activation="relu")(h)), [torch.tensor([[1, 2, 0, 0], [3, 6, 5, 0]])]


def nested():
    inner, _ = dense()
    x, y = Input(shape=(6,)), Input(shape=(6,))
    return Model([x, y], Add()([inner(x), inner(y)])), [torch.randn(5, 6), torch.randn(5, 6)]


def own():
    x = Input(shape=(6,))
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh())
    return Model(x, OwnScale()(TorchModuleWrapper(module)(Lambda(double)(x)))), [torch.randn(5, 6)]


def activation_modules():
    x = Input(shape=(6,))
    return Model(x, Activation(nn.PReLU())(Dense(3, activation=nn.PReLU())(x))), [torch.randn(5, 6)]


MODELS = [dense, described, branches, functions, masked, nested, own, activation_modules]


def same(first, second):
    first, second = ([part] if isinstance(part, torch.Tensor) else list(part) for part in (first, second))
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b)


@pytest.fixture(params=MODELS, ids=lambda make: make.__name__)
def lowered(request):
    model, inputs = request.param()
    return model.eval().lowered, inputs


def test_the_lowered_module_gives_what_the_model_gives(lowered):
    module, inputs = lowered
    assert isinstance(module, fx.GraphModule)
    assert all(part.isfinite().all() for part in _flat(module(*inputs)))


def _flat(outputs):
    return [outputs] if isinstance(outputs, torch.Tensor) else outputs


def test_only_users_own_layers_are_left_in_the_lowered_module(lowered):
    module, _ = lowered
    assert {type(part) for part in module.modules() if isinstance(part, Layer)} <= {OwnScale}


def test_the_built_in_layers_are_not_in_the_code(lowered):
    module, _ = lowered
    ours = [node.target for node in module.graph.nodes if callable(node.target) and node.target.__module__.startswith("torchkeras_fn")]
    assert ours == []


def test_a_deep_copy_is_equal(lowered):
    module, inputs = lowered
    again = copy.deepcopy(module)
    same(module(*inputs), again(*inputs))
    assert not {id(p) for p in module.parameters()} & {id(p) for p in again.parameters()}


def test_a_pickle_is_equal(lowered):
    module, inputs = lowered
    same(module(*inputs), pickle.loads(pickle.dumps(module))(*inputs))


def test_an_exported_program_is_equal(lowered):
    module, inputs = lowered
    same(module(*inputs), torch.export.export(module, tuple(inputs)).module()(*inputs))


def test_an_exported_program_takes_other_batch_sizes(lowered):
    module, inputs = lowered
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(module, tuple(inputs), dynamic_shapes=({0: batch},) * len(inputs))
    longer = [torch.cat([part, part]) for part in inputs]
    same(module(*longer), program.module()(*longer))


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_module_is_equal(lowered):
    module, inputs = lowered
    torch._dynamo.reset()
    same(module(*inputs), torch.compile(module, fullgraph=True, backend="eager")(*inputs))


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="torch's compiler needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_module_compiled_for_the_machine_is_equal():
    model, inputs = described()
    module = model.eval().lowered
    torch._dynamo.reset()
    same(module(*inputs), torch.compile(module, fullgraph=True)(*inputs))


def test_gradients_reach_every_parameter(lowered):
    module, inputs = lowered
    sum((part.float() ** 2).sum() for part in _flat(module(*inputs))).backward()
    assert [name for name, parameter in module.named_parameters() if parameter.grad is None] == []


def test_the_parameters_are_those_of_the_model():
    model, _ = nested()
    assert {id(p) for p in model.parameters()} == {id(p) for p in model.lowered.parameters()}


# ---------------------------------------------------------------------- how it reads


def test_keys_of_the_state_are_under_the_layers_names():
    model, _ = dense()
    assert list(model.lowered.state_dict()) == ["dense_1.weight", "dense_1.bias", "dense_2.weight", "dense_2.bias"]


def test_keys_of_a_nested_model_are_under_its_name():
    model, _ = nested()
    assert list(model.lowered.state_dict()) == [f"model_1.dense_{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")]
    assert list(model.state_dict()) == list(model.lowered.state_dict())


def test_a_shared_layer_is_one_module_called_twice():
    x, y = Input(shape=(3,)), Input(shape=(3,))
    layer = Dense(2, name="shared")
    module = lower(Graph([x, y], [Add()([layer(x), layer(y)])]))
    assert [node.target for node in module.graph.nodes if node.op == "call_module"] == ["shared", "shared"]
    assert len(list(module.children())) == 1


def test_the_code_reads_as_a_person_would_write_it():
    x = Input(shape=(3,), name="pixels")
    h = Dense(4, activation="relu", name="hidden")(x)
    code = lower(Graph([x], [torch.cat([h, h], -1)])).code
    assert "hidden = self.hidden(pixels)" in code
    assert "torch.nn.functional.relu(hidden" in code
    assert "torch.cat([relu, relu], -1)" in code


def test_several_outputs_are_a_list():
    model, inputs = branches()
    assert isinstance(model.lowered(*inputs), list)


def test_an_input_may_be_an_output():
    x = Input(shape=(3,))
    data = torch.randn(2, 3)
    outputs = lower(Graph([x], [x, Dense(2)(x)]))(data)
    assert outputs[0] is data


def test_an_input_may_be_the_only_output():
    x = Input(shape=(3,))
    data = torch.randn(2, 3)
    assert lower(Graph([x], [x]))(data) is data


def test_an_output_may_be_listed_twice():
    x = Input(shape=(3,))
    y = Dense(2)(x)
    first, second = lower(Graph([x], [y, y]))(torch.ones(1, 3))
    assert first is second


@pytest.mark.parametrize(
    "name", ["block.1", "forward", "block/conv", "class", "1st", "graph", "training", "ein-gang", "constants", "modules", "ö"]
)
def test_any_name_can_be_a_key(name):
    x = InputFunction(shape=(3,), name=f"{name} in")
    model = Model(x, Dense(2, name=name)(x) * torch.ones(2))
    data = torch.ones(1, 3)
    assert torch.equal(model.lowered(data), model(data))
    assert model.get_layer(name).name == name
    assert torch.equal(pickle.loads(pickle.dumps(model.lowered))(data), model(data))


@pytest.mark.parametrize("names", [("a.b", "a_b"), ("forward", "forward_")])
def test_names_that_would_be_one_key_stay_two_modules(names):
    x = Input(shape=(3,))
    model = Model(x, Dense(2, name=names[1])(Dense(3, name=names[0])(x)))
    assert len(model.state_dict()) == 4
    assert model.lowered(torch.ones(1, 3)).shape == (1, 2)


def test_a_graph_is_written_out_once(monkeypatch):
    """Writing the code of a thousand layers, and compiling it, takes a tenth of a second."""
    written = []
    recompile = fx.GraphModule.recompile
    monkeypatch.setattr(fx.GraphModule, "recompile", lambda module: written.append(module) or recompile(module))
    x = Input(shape=(4,))
    lower(Graph([x], [Dense(3)(x) + np.ones(3)]))
    assert len(written) == 1


def test_constants_that_nobody_reads_are_not_lowered():
    x = Input(shape=(4,))
    shown = torch.ones(1, 4) > 0
    assert len(list(lower(Graph([x], [torch.where(shown, x, 0.0)])).buffers())) == 1
    assert not list(lower(Graph([x], [Activation("relu")(x, mask=shown)])).buffers())


def test_dead_branches_are_not_lowered():
    x = Input(shape=(3,))
    h = Dense(4)(x)
    Dense(5)(h)
    assert len(lower(Graph([x], [h])).state_dict()) == 2


def test_a_thousand_layers_are_drawn_and_lowered_without_recursion():
    x = h = Input(shape=(2,))
    for _ in range(1000):
        h = Activation("relu")(h)
    module = lower(Graph([x], [h]))
    assert sum(node.op == "call_function" for node in module.graph.nodes) == 1000
    assert module(torch.ones(1, 2)).tolist() == [[1, 1]]


def test_models_nested_sixty_deep_are_lowered():
    model = Sequential([Dense(2, input_shape=(2,))])
    for _ in range(60):
        x = Input(shape=(2,))
        model = Model(x, model(x))
    assert model.lowered(torch.ones(1, 2)).shape == (1, 2)


def test_integers_for_a_float_branch_of_an_index_input_are_cast():
    i = Input(shape=(4,))
    model = Model(i, [Embedding(7, 3)(i), Dense(2)(i), i * 0.5])
    outputs = model(torch.tensor([[1, 2, 3, 4]]))
    assert [part.dtype for part in outputs] == [torch.float32] * 3


@pytest.mark.parametrize("reader", [lambda x: x, Embedding(7, 3)], ids=["alone", "beside an embedding"])
def test_integers_for_a_nested_model_of_floats_are_cast(reader):
    i = Input(shape=(4,), dtype="int64")
    nested = Sequential([Input(shape=(4,)), Dense(2)])
    outputs = Model(i, [nested(i), reader(i)])(torch.tensor([[1, 2, 3, 4]]))
    assert torch.equal(outputs[0], nested(torch.tensor([[1.0, 2, 3, 4]])))


def test_an_index_input_is_cast_for_a_nested_model_of_floats():
    i = Input(shape=(4,))
    nested = Sequential([Input(shape=(4,)), Dense(2)])
    outputs = Model(i, [nested(i), Embedding(7, 3)(i)])(torch.tensor([[1, 2, 3, 4]]))
    assert torch.equal(outputs[0], nested(torch.tensor([[1.0, 2, 3, 4]])))


def test_integers_for_a_nested_model_of_indices_stay_integers():
    i = Input(shape=(4,))
    model = Model(i, Sequential([Embedding(7, 3)])(i))
    assert "to" not in [node.target for node in model.lowered.graph.nodes]


# ---------------------------------------------------------------------- masks


def mask_of(inputs, outputs, *data):
    return lower_for_training(Graph(inputs, [outputs]), [always]).module(*data)[1][0]


INDICES = torch.tensor([[1, 2, 0, 0], [3, 0, 5, 0]])


def test_a_mask_is_made_of_the_padding():
    i = Input(shape=(4,))
    assert torch.equal(mask_of([i], Embedding(7, 3, mask_zero=True)(i), INDICES), INDICES != 0)


def test_a_mask_stays_with_what_a_layer_of_floats_casts():
    i = Input(shape=(4, 1), dtype="int64")
    outputs = Model(i, GlobalAveragePooling1D()(Masking(0)(i)))(INDICES[..., None])
    assert outputs.tolist() == [[1.5], [4.0]]


def test_a_cast_of_the_users_drops_the_mask_as_in_keras():
    i = Input(shape=(4, 1), dtype="int64")
    outputs = Model(i, GlobalAveragePooling1D()(Masking(0)(i).to(torch.float32)))(INDICES[..., None])
    assert outputs.tolist() == [[0.75], [2.0]]


def test_a_mask_passes_through_layers_that_support_it():
    i = Input(shape=(4,))
    h = Dropout(0.5)(Activation("relu")(BatchNormalization()(Dense(2)(Embedding(7, 3, mask_zero=True)(i)))))
    assert torch.equal(mask_of([i], h, INDICES), INDICES != 0)


def test_a_mask_ends_at_a_layer_that_does_not_support_it():
    i = Input(shape=(4,))
    assert mask_of([i], Flatten()(Embedding(7, 3, mask_zero=True)(i)), INDICES) is None


def test_without_padding_there_is_no_mask():
    i = Input(shape=(4,))
    assert mask_of([i], Dense(2)(Embedding(7, 3)(i)), INDICES) is None


def test_merging_takes_the_steps_that_either_mask_shows():
    i, j = Input(shape=(4,)), Input(shape=(4,))
    merged = Add()([Embedding(7, 3, mask_zero=True)(i), Embedding(7, 3, mask_zero=True)(j)])
    other = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 0]])
    assert torch.equal(mask_of([i, j], merged, INDICES, other), (INDICES != 0) | (other != 0))


def test_merging_with_an_input_without_a_mask_drops_the_mask():
    i, x = Input(shape=(4,)), Input(shape=(4, 3))
    merged = Add()([Embedding(7, 3, mask_zero=True)(i), x])
    assert mask_of([i, x], merged, INDICES, torch.ones(2, 4, 3)) is None


def test_concatenating_the_features_takes_the_steps_that_any_mask_shows():
    i, j = Input(shape=(4,)), Input(shape=(4,))
    merged = Concatenate()([Embedding(7, 3, mask_zero=True)(i), Embedding(7, 5, mask_zero=True)(j)])
    other = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 0]])
    assert torch.equal(mask_of([i, j], merged, INDICES, other), (INDICES != 0) | (other != 0))


def test_concatenating_the_steps_concatenates_the_masks():
    i, x = Input(shape=(4,)), Input(shape=(2, 3))
    merged = Concatenate(axis=1)([Embedding(7, 3, mask_zero=True)(i), x])
    expected = torch.cat([INDICES != 0, torch.ones(2, 2, dtype=torch.bool)], 1)
    assert torch.equal(mask_of([i, x], merged, INDICES, torch.ones(2, 2, 3)), expected)


def test_a_mask_goes_through_a_nested_model():
    i = Input(shape=(4,))
    inner = Model(i, Dense(2)(Embedding(7, 3, mask_zero=True)(i)))
    j = Input(shape=(4,))
    assert torch.equal(mask_of([j], Dense(1)(inner(j)), INDICES), INDICES != 0)


class MaskedMean(Layer):
    """Takes a mask in its call, and leaves none."""

    def call(self, inputs, mask=None):
        kept = mask.unsqueeze(-1).to(inputs.dtype)
        return (inputs * kept).sum(1) / kept.sum(1)


class FirstStep(Layer):
    """Makes a mask of its own out of the one that comes."""

    def call(self, inputs):
        return inputs[:, :1]

    def compute_mask(self, inputs, mask=None):
        return mask[:, :1]


def test_a_layer_that_names_the_mask_gets_it():
    i = Input(shape=(4,))
    table = Embedding(7, 3, mask_zero=True)
    model = Model(i, MaskedMean()(table(i)))
    weight = table.weights[0]
    torch.testing.assert_close(model(INDICES)[0], weight[[1, 2]].mean(0))


def test_a_users_own_mask_goes_on():
    i = Input(shape=(4,))
    h = Dense(2)(FirstStep()(Embedding(7, 3, mask_zero=True)(i)))
    assert torch.equal(mask_of([i], h, INDICES), (INDICES != 0)[:, :1])


class Around(Layer):
    """Calls another layer by hand, and says nothing of masks."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, inputs):
        return self.layer(inputs)


def test_layers_that_a_users_layer_calls_take_the_masks_of_its_inputs():
    i = Input(shape=(4,))
    h = Embedding(7, 3, mask_zero=True)(i)
    mean = GlobalAveragePooling1D()
    theirs, ours = Model(i, Around(mean)(h)), Model(i, mean(h))
    torch.testing.assert_close(theirs(INDICES), ours(INDICES))


def test_a_mask_goes_through_the_layers_that_a_users_layer_calls():
    i = Input(shape=(4,))
    h = Around(Dense(2))(Embedding(7, 3, mask_zero=True)(i))
    assert torch.equal(mask_of([i], Dense(2)(h), INDICES), INDICES != 0)


def test_a_mask_that_is_made_inside_a_users_layer_goes_on():
    i = Input(shape=(4,))
    h = Around(Embedding(7, 3, mask_zero=True))(i)
    assert torch.equal(mask_of([i], Dense(2)(h), INDICES), INDICES != 0)


def test_a_users_layer_through_which_no_mask_comes_leaves_none():
    i = Input(shape=(4,))
    assert mask_of([i], Around(LSTM(2))(Embedding(7, 3, mask_zero=True)(i)), INDICES) is None


def test_a_mask_that_is_passed_goes_on_to_the_layers_behind():
    x, mask = Input(shape=(4, 3)), Input(shape=(4,), dtype="bool")
    h = LSTM(2, return_sequences=True)(x, mask=mask)
    given = torch.tensor([[True, True, False, False]])
    assert torch.equal(mask_of([x, mask], h, torch.ones(1, 4, 3), given), given)


def test_a_lambda_may_make_a_mask():
    x = Input(shape=(4, 3))
    h = Lambda(lambda x: x + 1, mask=lambda x, mask: x.sum(-1) > 0)(x)
    assert mask_of([x], h, torch.zeros(2, 4, 3)).tolist() == [[False] * 4] * 2


def test_the_inference_view_computes_no_mask_that_nobody_reads():
    i = Input(shape=(4,))
    code = lower(Graph([i], [Dense(2)(Embedding(7, 3, mask_zero=True)(i))])).code
    assert "ne" not in [node.target for node in lower(Graph([i], [Dense(2)(Embedding(7, 3, mask_zero=True)(i))])).graph.nodes], code


# ---------------------------------------------------------------------- logits

SOFTMAX = {
    "activation of a layer": lambda h: Dense(3, activation="softmax")(h),
    "layer": lambda h: Activation("softmax")(Dense(3)(h)),
    "torch module": lambda h: TorchModuleWrapper(nn.Softmax(-1))(Dense(3)(h)),
    "torch module by its positive axis": lambda h: TorchModuleWrapper(nn.Softmax(1))(Dense(3)(h)),
    "torch module as activation": lambda h: Dense(3, activation=nn.Softmax(dim=-1))(h),
    "torch function": lambda h: torch.softmax(Dense(3)(h), -1),
    "functional": lambda h: F.softmax(Dense(3)(h), dim=-1),
    "functional by its positive axis": lambda h: F.softmax(Dense(3)(h), dim=1),
    "method": lambda h: Dense(3)(h).softmax(dim=-1),
    "behind a pass through": lambda h: Activation("linear")(Dense(3, activation="softmax")(h)),
}


def training_view(outputs, x, accept=always):
    return lower_for_training(Graph([x], outputs if isinstance(outputs, list) else [outputs]), [accept])


@pytest.mark.parametrize("name", SOFTMAX)
def test_the_logits_behind_a_softmax_are_given(name):
    x = Input(shape=(4,))
    y = SOFTMAX[name](x)
    data = torch.randn(5, 4)
    view = training_view(y, x)
    assert view.logits == ["softmax"]
    torch.testing.assert_close(torch.softmax(view.module(data)[0][0], -1), Model(x, y)(data))


def test_the_softmax_is_not_computed_where_nobody_reads_it():
    x = Input(shape=(4,))
    assert "softmax" not in training_view(Dense(3, activation="softmax")(x), x).module.code


SIGMOID = [
    lambda h: Dense(1, activation="sigmoid")(h),
    lambda h: Activation("sigmoid")(Dense(1)(h)),
    lambda h: TorchModuleWrapper(nn.Sigmoid())(Dense(1)(h)),
    lambda h: torch.sigmoid(Dense(1)(h)),
    lambda h: F.sigmoid(Dense(1)(h)),
    lambda h: Dense(1)(h).sigmoid(),
    lambda h: Dense(1, activation=nn.Sigmoid())(h),
]


@pytest.mark.parametrize("make", SIGMOID)
def test_the_logits_behind_a_sigmoid_are_given(make):
    x = Input(shape=(4,))
    y = make(x)
    data = torch.randn(5, 4)
    view = training_view(y, x)
    assert view.logits == ["sigmoid"]
    torch.testing.assert_close(torch.sigmoid(view.module(data)[0][0]), Model(x, y)(data))


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_logits_are_found_in_a_nested_model(kind):
    x = Input(shape=(4,))
    inner = Model(x, Dense(3, activation=kind)(x))
    y = Input(shape=(4,))
    outer = Model(y, Sequential([inner])(y))
    z = Input(shape=(4,))
    assert training_view(outer(z), z).logits == [kind]


@pytest.mark.parametrize(
    "make",
    [
        lambda x: Dense(3)(x),
        lambda x: Dense(3, activation="relu")(x),
        lambda x: torch.softmax(Dense(3)(x), 0),
        lambda x: TorchModuleWrapper(nn.Softmax(0))(x),
        lambda x: Dense(3, activation="softmax")(x) * 2,
        lambda x: Dropout(0.5)(Dense(3, activation="softmax")(x)),
        lambda x: x,
        lambda x: Dense(3, activation="log_softmax")(x),
        lambda x: torch.softmax(x.unsqueeze(1), 1),
        lambda x: torch.softmax(x, -1, dtype=torch.float64),
    ],
)
def test_whatever_else_ends_the_graph_is_given_as_it_is(make):
    x = Input(shape=(4,))
    y = make(x)
    data = torch.randn(5, 4)
    model = Model(x, y).eval()
    view = training_view(y, x)
    assert view.logits == [None]
    torch.testing.assert_close(view.module.eval()(data)[0][0], model(data))


def test_logits_that_the_loss_does_not_accept_are_not_given():
    x = Input(shape=(4,))
    y = Dense(3, activation="softmax")(x)
    view = training_view(y, x, lambda kind: kind == "sigmoid")
    assert view.logits == [None]
    assert view.module(torch.randn(2, 4))[0][0].sum().item() == pytest.approx(2)


def test_each_output_is_asked_for_itself():
    x = Input(shape=(4,))
    y, z = Dense(3, activation="softmax")(x), Dense(1, activation="sigmoid")(x)
    view = lower_for_training(Graph([x], [y, z]), [lambda kind: False, always])
    assert view.logits == [None, "sigmoid"]


# ---------------------------------------------------------------------- what only training needs


def test_the_two_views_share_their_modules():
    x = Input(shape=(4,))
    graph = Graph([x], [Dense(3)(x)])
    first, second = lower(graph), lower_for_training(graph, [always]).module
    assert first.dense_1 is second.dense_1


def test_an_activity_regularizer_is_a_loss_term():
    x = Input(shape=(4,))
    y = Dense(3, activity_regularizer="l2", kernel_initializer="ones")(x)
    losses = lower_for_training(Graph([x], [y]), [always]).module(torch.ones(1, 4))[2]
    assert len(losses) == 1
    assert losses[0].item() == pytest.approx(0.01 * 3 * 16)


def test_the_factor_of_an_activity_regularizer_may_be_set_later():
    layer = Dense(3, activity_regularizer=regularizers.L2(0.01), kernel_initializer="ones")
    x = Input(shape=(4,))
    module = lower_for_training(Graph([x], [layer(x)]), [always]).module
    layer.activity_regularizer.l2 = 0.5
    assert module(torch.ones(1, 4))[2][0].item() == pytest.approx(0.5 * 3 * 16)


def test_a_layer_that_is_called_twice_is_asked_twice_for_its_penalty():
    layer = Dense(4, activity_regularizer="l2", kernel_initializer="ones")
    x = Input(shape=(4,))
    losses = lower_for_training(Graph([x], [layer(layer(x))]), [always]).module(torch.ones(1, 4))[2]
    assert [loss.item() for loss in losses] == pytest.approx([0.01 * 4 * 16, 0.01 * 4 * 256])


def test_the_inference_view_computes_no_loss_term():
    x = Input(shape=(4,))
    module = lower(Graph([x], [Dense(3, activity_regularizer="l2")(x)]))
    assert [node.op for node in module.graph.nodes] == ["placeholder", "call_module", "output"]


def test_numpy_numbers_in_a_drawing_are_written_as_plain_ones():
    x = Input(shape=(4,))
    module = lower(Graph([x], [(x * np.float32(2)).sum(np.int64(1))]))
    assert "np." not in module.code
    assert module(torch.ones(1, 4)).tolist() == [8]


@pytest.mark.parametrize("names", [("class", "self"), ("None", "class_"), ("a/b", "a_b"), ("a b", "a/b")])
def test_inputs_may_have_any_names(names):
    one, other = (Input(shape=(2,), name=name) for name in names)
    model = Model([one, other], one * 2 + other)
    assert model.predict({names[0]: np.ones((1, 2)), names[1]: np.full((1, 2), 5.0)}).tolist() == [[7.0, 7.0]]
