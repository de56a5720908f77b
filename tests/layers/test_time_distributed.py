"""`TimeDistributed` and `Wrapper`: what may stand inside, masks, modes, sharing, configurations, errors. tests/parity has the numbers."""

import copy
import json

import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, layers, models, regularizers
from torchkeras_fn.layers import (
    LSTM,
    BatchNormalization,
    Dense,
    Dropout,
    Embedding,
    GlobalAveragePooling1D,
    Layer,
    LayerNormalization,
    TimeDistributed,
    Wrapper,
)
from torchkeras_fn.registry import custom_object_scope

X = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))


class Twice(Layer):
    """A layer of a user's own, which adds a loss and notes the mode that it ran in."""

    def call(self, inputs, training=None):
        self.add_loss(inputs.square().mean())
        self.ran_in_training = training
        return 2 * inputs


def drawn(layer, *shape):
    x = Input(shape=shape)
    return Model(x, layer(x))


@pytest.mark.parametrize("make", [lambda: Dense(5), lambda: LayerNormalization(), lambda: Sequential([Dense(5), Dense(2)]), Twice])
def test_each_step_is_what_the_layer_makes_of_it(make):
    layer = make()
    wanted = torch.stack([layer(X[:, step]) for step in range(4)], 1)
    torch.testing.assert_close(TimeDistributed(layer)(X), wanted)
    torch.testing.assert_close(drawn(TimeDistributed(layer), 4, 3)(X), wanted)
    torch.testing.assert_close(drawn(TimeDistributed(layer), None, 3)(X), wanted)


def test_the_numbers_of_steps_may_change_from_call_to_call():
    layer = TimeDistributed(Dense(5))
    assert layer(X).shape == (2, 4, 5)
    assert layer(torch.ones(3, 8, 3)).shape == (3, 8, 5)
    assert layer(Input(shape=(6, 3))).shape == (None, 6, 5)
    assert layer(Input(shape=(None, 3))).shape == (None, None, 5)
    assert layer(Input(batch_shape=(7, 2, 3))).shape == (7, 2, 5)


def test_the_lowered_graph_holds_the_torch_module_alone():
    model = drawn(TimeDistributed(Dense(5, name="d"), name="t"), 4, 3)
    assert list(model.to_torch().state_dict()) == ["t.d.weight", "t.d.bias"]
    assert not [module for module in model.to_torch().modules() if isinstance(module, Layer)]
    assert [weight.name for weight in model.named_weights()] == ["t/d/kernel", "t/d/bias"]


def test_a_torch_module_becomes_a_layer():
    module = nn.Linear(3, 5)
    layer = TimeDistributed(module)
    torch.testing.assert_close(layer(X), module(X))
    assert layer.weights[0] is module.weight


def test_the_weights_are_known_before_the_first_call():
    inner = drawn(Dense(5), 3)
    assert [weight is twin for weight, twin in zip(TimeDistributed(inner).weights, inner.weights, strict=True)] == [True, True]


def test_it_begins_a_sequential_model():
    model = Sequential([TimeDistributed(Dense(5), input_shape=(4, 3)), LSTM(2), Dense(1)])
    assert model.output_shape == (None, 1)
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.train_on_batch(X, torch.zeros(2, 1))
    assert all((new != old).any() for new, old in zip(model.get_weights()[:2], before[:2], strict=True))


def test_a_model_is_exported_with_unknown_batch_and_steps():
    model = drawn(TimeDistributed(layers.Conv1D(2, 3, padding="same")), None, 6, 3).eval()
    free = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("steps")},)
    program = torch.export.export(model.to_torch(), (torch.randn(3, 5, 6, 3),), dynamic_shapes=free)
    data = torch.randn(4, 7, 6, 3)
    torch.testing.assert_close(program.module()(data), model(data))


# ---------------------------------------------------------------------- modes and training


def test_batch_normalization_takes_its_statistics_over_all_steps():
    layer = TimeDistributed(BatchNormalization(momentum=0.0))
    torch.testing.assert_close(layer(X, training=True).flatten(0, 1).mean(0), torch.zeros(3))
    torch.testing.assert_close(layer.weights[2], X.flatten(0, 1).mean(0))


def test_modes_reach_inside():
    layer = TimeDistributed(Dropout(0.5))
    model = drawn(layer, 4, 3)
    assert (model.train()(X) == 0).any() and not (model.eval()(X) == 0).any()
    assert (layer(X, training=True) == 0).any() and not (layer(X, training=False) == 0).any()
    x = Input(shape=(4, 3))
    assert (Model(x, layer(x, training=True)).eval()(X) == 0).any()
    own = Twice()
    drawn(TimeDistributed(own), 4, 3).train()(X)
    assert own.ran_in_training is True


def test_trainable_reaches_inside_before_and_after_the_first_call():
    for call_first in (True, False):
        inner = drawn(Dense(5), 3)
        layer = TimeDistributed(inner)
        if call_first:
            layer(X)
        layer.trainable = False
        layer(X)
        assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 2
        assert not inner.layers[-1].trainable
        layer.trainable = True
        assert len(layer.trainable_weights) == 2


def test_losses_from_inside_count():
    model = drawn(TimeDistributed(Twice()), 4, 3)
    model.compile("sgd", "mse")
    assert model.evaluate(X, 2 * X, verbose=0) == pytest.approx(X.square().mean().item())
    inner = Dense(3, kernel_regularizer=regularizers.L2(0.5), activity_regularizer=regularizers.L1(0.1))
    model = drawn(TimeDistributed(inner), 4, 3)
    outputs = model(X)
    model.compile("sgd", "mse")
    wanted = outputs.square().mean() + 0.1 * outputs.abs().sum() + 0.5 * inner.weights[0].square().sum()
    assert model.evaluate(X, torch.zeros(2, 4, 3), verbose=0) == pytest.approx(wanted.item(), rel=1e-5)


# ---------------------------------------------------------------------- masks


def sentences():
    """A document: sentences of words, 0 being padding."""
    return torch.tensor([[[1, 2, 3], [4, 0, 0], [0, 0, 0]], [[5, 1, 0], [2, 2, 2], [1, 0, 0]]])


def test_a_mask_with_more_axes_goes_inside_and_its_steps_go_on():
    x = Input(shape=(3, 3))
    embedded = Embedding(6, 4, mask_zero=True)(x)
    encoder, over = LSTM(2), LSTM(2)
    per_sentence = TimeDistributed(encoder)(embedded)
    model = Model(x, [embedded, per_sentence, over(per_sentence)])
    words, vectors, document = model(sentences())
    shown = sentences() != 0
    wanted = torch.stack([encoder(words[:, step], mask=shown[:, step]) for step in range(3)], 1)
    torch.testing.assert_close(vectors, wanted)
    torch.testing.assert_close(document, over(wanted, mask=shown.any(-1)))


def test_a_model_inside_makes_its_own_masks():
    words = Input(shape=(3,))
    encoder = Model(words, GlobalAveragePooling1D()(Embedding(6, 4, mask_zero=True)(words)))
    model = drawn(TimeDistributed(encoder), 3, 3)
    data = sentences().clamp(min=1)
    data[1, 0, 2] = 0
    assert model.graph.input_dtype(0) is torch.int64
    torch.testing.assert_close(model(data), torch.stack([encoder(data[:, step]) for step in range(3)], 1))


def test_a_mask_that_the_layer_inside_makes_goes_on():
    x = Input(shape=(3, 3))
    embedded = TimeDistributed(Embedding(6, 4, mask_zero=True))(x)
    model = Model(x, [embedded, TimeDistributed(GlobalAveragePooling1D())(embedded)])
    data = sentences().clamp(min=1)
    data[1, 0, 2] = 0
    values, means = model(data)
    torch.testing.assert_close(means[1, 0], values[1, 0, :2].mean(0))
    torch.testing.assert_close(means[0], values[0].mean(1))


def test_a_mask_of_steps_hides_nothing_inside_and_goes_on():
    x = Input(shape=(5,))
    steps = TwoAxes()(Embedding(6, 12, mask_zero=True)(x))
    slices = TimeDistributed(TimeDistributed(Dense(4)))(steps)
    pooled = TimeDistributed(GlobalAveragePooling1D())(slices)
    model = Model(x, [slices, pooled, GlobalAveragePooling1D()(pooled)])
    values, means, whole = model(torch.tensor([[1, 2, 0, 3, 0]]))
    torch.testing.assert_close(means, values.mean(2))
    torch.testing.assert_close(whole, means[:, [0, 1, 3]].mean(1))


class TwoAxes(Layer):
    """Gives each step two axes, and keeps the mask."""

    supports_masking = True

    def call(self, inputs):
        return inputs.unflatten(-1, (3, 4))


@pytest.mark.parametrize("mask", [sentences() != 0, torch.tensor([[True, True, False], [True, True, True]])])
def test_a_mask_may_be_passed(mask):
    data = torch.randn(2, 3, 3, 4)
    encoder = LSTM(2)
    layer = TimeDistributed(encoder)
    x, given = Input(shape=(3, 3, 4)), Input(shape=mask.shape[1:], dtype="bool")
    model = Model([x, given], layer(x, mask=given))
    inner = mask if mask.dim() == 3 else torch.ones(2, 3, 3, dtype=torch.bool)
    wanted = torch.stack([encoder(data[:, step], mask=inner[:, step]) for step in range(3)], 1)
    torch.testing.assert_close(layer(data, mask=mask), wanted)
    torch.testing.assert_close(model([data, mask]), wanted)


def test_a_passed_mask_goes_on_to_the_next_layer():
    x, given = Input(shape=(4, 3)), Input(shape=(4,), dtype="bool")
    model = Model([x, given], GlobalAveragePooling1D()(TimeDistributed(layers.Activation("linear"))(x, mask=given)))
    mask = torch.tensor([[True, True, False, False], [True, False, True, True]])
    torch.testing.assert_close(model([X, mask]), torch.stack([X[0, :2].mean(0), X[1, [0, 2, 3]].mean(0)]))


class FlatUnderItsMask(layers.Flatten):
    """Passes on a mask of steps that its outputs have no more."""

    supports_masking = True

    def compute_mask(self, inputs, mask=None):
        return mask


def words_to_document(*steps):
    """A stack over documents of embedded words; its masks show padding."""
    return [Embedding(6, 4, mask_zero=True), *map(TimeDistributed, steps), LSTM(2)]


@pytest.mark.parametrize(
    "stack",
    [
        lambda: words_to_document(LSTM(3)),
        lambda: words_to_document(Dense(3), LSTM(3)),
        lambda: words_to_document(LSTM(3, return_sequences=True), LSTM(3)),
        lambda: words_to_document(layers.Flatten()),
        lambda: words_to_document(FlatUnderItsMask()),
        lambda: [TimeDistributed(Embedding(6, 4, mask_zero=True)), TimeDistributed(LSTM(3)), LSTM(2)],
        lambda: [Embedding(6, 12, mask_zero=True), TwoAxes(), TimeDistributed(TimeDistributed(LSTM(3))), TimeDistributed(LSTM(2)), LSTM(2)],
        lambda: [layers.Masking(), TimeDistributed(layers.Masking()), TimeDistributed(LSTM(2)), LSTM(2)],
    ],
)
def test_masks_go_on_where_layers_are_called_by_hand_as_in_a_graph(stack):
    steps = stack()
    is_of_floats = isinstance(steps[0], layers.Masking)
    data = sentences().float().unsqueeze(-1) if is_of_floats else sentences()
    x = Input(shape=data.shape[1:])
    drawn_through, by_hand = x, data
    for layer in steps:
        drawn_through = layer(drawn_through)
    model = Model(x, drawn_through)
    for layer in steps:
        by_hand = layer(by_hand)
    torch.testing.assert_close(by_hand, model(data))
    plain = data
    for layer in steps:
        plain = layer(plain).detach().clone()  # carries no mask
    assert not torch.allclose(by_hand, plain)


# ---------------------------------------------------------------------- several inputs and outputs


def test_a_model_of_several_inputs_and_outputs():
    a, b = Input(shape=(3,)), Input(shape=(2,))
    total = layers.Add()([Dense(4)(a), Dense(4)(b)])
    inner = Model([a, b], [total, Dense(1)(total)])
    layer = TimeDistributed(inner)
    data = [X, torch.randn(2, 4, 2)]
    wanted = [torch.stack(parts, 1) for parts in zip(*(inner([part[:, step] for part in data]) for step in range(4)), strict=True)]
    torch.testing.assert_close(layer(data), wanted)
    for steps in (4, None):
        tensors = [Input(shape=(steps, 3)), Input(shape=(steps, 2))]
        torch.testing.assert_close(Model(tensors, layer(tensors))(data), wanted)


# ---------------------------------------------------------------------- copies and configurations


def test_a_layer_that_also_stands_outside_stays_one_layer():
    shared = drawn(Dense(3), 3)
    question, documents = Input(shape=(3,)), Input(shape=(4, 3))
    model = Model([question, documents], [shared(question), TimeDistributed(shared)(documents)])
    for twin in (copy.deepcopy(model), models.clone_model(model)):
        assert len(twin.weights) == 2
        twin.set_weights(model.get_weights())
        torch.testing.assert_close(twin([X[:, 0], X]), model([X[:, 0], X]))


@pytest.mark.parametrize("make", [lambda: Dense(5, name="mine"), lambda: Sequential([Input(shape=(3,)), Dense(4), Dense(2)])])
def test_a_configuration_makes_an_equal_layer(make):
    layer = TimeDistributed(make(), name="t", trainable=False)
    config = layer.get_config()
    assert config["layer"]["class_name"] == type(layer.layer).__name__
    twin = TimeDistributed.from_config(json.loads(json.dumps(config)))
    assert twin.name == "t" and not twin.trainable
    assert twin.layer is not layer.layer and twin.layer.name == layer.layer.name
    layer(X), twin(X)
    twin.set_weights(layer.get_weights())
    torch.testing.assert_close(twin(X), layer(X))


def test_a_configuration_as_keras_writes_it_is_read():
    config = {"name": "t", "trainable": True, "layer": {"class_name": "Dense", "config": {"name": "d", "units": 5}}}
    layer = TimeDistributed.from_config(config)
    assert layer.layer.units == 5 and layer.layer.name == "d"


def test_a_layer_of_your_own_inside_is_found_among_the_custom_objects():
    model = drawn(TimeDistributed(Twice()), 4, 3)
    with custom_object_scope({"Twice": Twice}):
        torch.testing.assert_close(models.clone_model(model)(X), 2 * X)
    config = model.layers[-1].get_config()
    assert isinstance(TimeDistributed.from_config(config, {"Twice": Twice}).layer, Twice)
    with pytest.raises(ValueError, match="Unknown layer 'Twice'"):
        TimeDistributed.from_config(config)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TimeDistributed("Dense"), ValueError, "TimeDistributed needs a layer to wrap, got 'Dense' of type str"),
        (lambda: TimeDistributed(Dense), ValueError, "TimeDistributed needs a layer to wrap"),
        (lambda: TimeDistributed(), TypeError, "TimeDistributed"),
        (
            lambda: TimeDistributed(Dense(5), name="t")(Input(shape=(4,))),
            ValueError,
            r"^t \(TimeDistributed\) cannot be built for input of shape \(None, 4\): expected at least 3 dimensions \(batch, steps, ...\)",
        ),
        (
            lambda: TimeDistributed(layers.Conv2D(4, 3))(Input(shape=(4, 5, 3))),
            ValueError,
            r"^TimeDistributed cannot be built .*\(None, 4, 5, 3\): Conv2D .*expected 4 dimensions",
        ),
    ],
)
def test_mistakes_are_told_where_they_are_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---------------------------------------------------------------------- Wrapper


class Scaled(Wrapper):
    """A wrapper of a user's own."""

    def __init__(self, layer, factor=2.0, **kwargs):
        super().__init__(layer, **kwargs)
        self.factor = factor

    def call(self, inputs):
        return self.factor * self.layer(inputs)


def test_a_wrapper_of_your_own():
    inner = Dense(5)
    layer = Scaled(inner, 3.0)
    model = drawn(layer, 4, 3)
    torch.testing.assert_close(model(X), 3 * inner(X))
    assert [weight.name for weight in layer.named_weights()] == ["layer/kernel", "layer/bias"]
    layer.trainable = False
    assert not inner.trainable
    with custom_object_scope({"Scaled": Scaled}):
        twin = models.clone_model(model)
    assert twin.layers[-1].factor == 3.0 and twin.layers[-1].layer is not inner
    twin.set_weights(model.get_weights())
    for other in (twin, copy.deepcopy(model)):
        torch.testing.assert_close(other(X), model(X))


def test_a_time_distributed_layer_inside_a_layer_of_your_own():
    class Own(Layer):
        def __init__(self):
            super().__init__()
            self.steps = TimeDistributed(Dense(5))

        def call(self, inputs):
            return self.steps(inputs)

    layer = Own()
    model = drawn(layer, None, 3)
    assert model.output_shape == (None, None, 5)
    assert len(model.trainable_weights) == 2
    torch.testing.assert_close(model(X), layer.steps(X))


def test_a_wrapper_may_leave_the_shape_to_whoever_calls_as_in_keras_2():
    class Late(Wrapper):
        def build(self, input_shape=None):
            self.layer.build(input_shape)
            super().build()

        def call(self, inputs):
            return self.layer(inputs)

    model = Sequential([Input((3,)), Late(Dense(2))])
    assert [weight.shape for weight in model.get_weights()] == [(3, 2), (2,)]


@pytest.mark.parametrize("inner", [lambda: layers.Conv2D(3, 3), lambda: layers.MaxPooling2D(2), lambda: layers.Flatten()])
def test_unknown_numbers_of_steps_and_of_images_are_drawn_in_little_memory(inner, monkeypatch):
    """A file asks for no more than it holds; so a saved model of videos has to be drawn without images as large as they may be."""
    largest, zeros = [], torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *size, **options: largest.append((made := zeros(*size, **options)).numel()) or made)
    x = Input((None, 6, 8, 4))
    Model(x, TimeDistributed(inner())(x))
    assert max(largest, default=0) < 10**6


def test_a_model_of_videos_of_any_length_goes_round(tmp_path):
    x = Input((None, 6, 8, 4))
    model = Model(x, TimeDistributed(layers.Conv2D(3, 3))(x))
    model.save(tmp_path / "videos.model")
    again, videos = models.load_model(tmp_path / "videos.model"), torch.rand(2, 3, 6, 8, 4)
    torch.testing.assert_close(again(videos), model(videos))


def test_wrappers_inside_each_other_do_not_ask_the_layer_over_and_over():
    layer, asked = Dense(1), []
    sublayers = layer.sublayers
    object.__setattr__(layer, "sublayers", lambda: asked.append(layer) or sublayers())
    outer = layer
    for _ in range(5):
        outer = TimeDistributed(outer)
    outer(Input((1,) * 5 + (3,)))
    asked.clear()
    assert layer in list(outer.sublayers())
    assert len(asked) <= 1
