"""The backend `K`: drawn on symbolic tensors it means what it means on real ones; variables, functions, phases and random numbers."""

# ruff: noqa: SIM905 - so many words read better without quotes

import pickle

import numpy as np
import pytest
import torch

from tests.drawing import check_drawing
from tests.expressions import BACKEND
from torchkeras_fn import Input, Model, Sequential, config, layers
from torchkeras_fn import backend as K
from torchkeras_fn.models import clone_model
from torchkeras_fn.optimizers import SGD

NOT_DRAWN = ("K.ctc_batch_cost",)
NAMES_OF_KERAS_2 = """abs all any arange argmax argmin backend batch_dot batch_flatten batch_get_value batch_normalization batch_set_value
bias_add binary_crossentropy cast cast_to_floatx categorical_crossentropy clear_session clip concatenate constant conv1d conv2d
conv2d_transpose conv3d conv3d_transpose cos count_params ctc_batch_cost ctc_decode cumprod cumsum depthwise_conv2d dot dropout dtype elu
epsilon equal eval exp expand_dims eye flatten floatx foldl foldr function gather get_session get_uid get_value get_variable_shape
gradients greater greater_equal hard_sigmoid identity image_data_format in_test_phase in_top_k in_train_phase int_shape is_keras_tensor
is_placeholder is_sparse is_tensor is_variable l2_normalize learning_phase less less_equal local_conv1d local_conv2d log logsumexp
manual_variable_initialization map_fn max maximum mean min minimum moving_average_update name_scope ndim normalize_batch_in_training
not_equal one_hot ones ones_like permute_dimensions placeholder pool2d pool3d pow print_tensor prod random_binomial random_bernoulli
random_normal random_normal_variable random_uniform random_uniform_variable relu repeat repeat_elements reset_uids reshape resize_images
resize_volumes reverse rnn round separable_conv1d separable_conv2d set_epsilon set_floatx set_image_data_format set_learning_phase
set_session set_value shape sigmoid sign sin size slice softmax softplus softsign sparse_categorical_crossentropy spatial_2d_padding
spatial_3d_padding sqrt square squeeze stack std stop_gradient sum switch tanh temporal_padding tile to_dense transpose truncated_normal
update update_add update_sub var variable zeros zeros_like""".split()


@pytest.mark.parametrize("line", [line for line in BACKEND if not line.startswith(NOT_DRAWN)])
def test_a_drawn_line_means_what_it_says(line):
    check_drawing(line)


# ---------------------------------------------------------------------- random numbers


def sampled(args):
    """The sampling of a variational autoencoder, as it stands in many programs."""
    mean, log_variance = args
    batch = K.shape(mean)[0]
    size = K.int_shape(mean)[1]
    return mean + K.exp(0.5 * log_variance) * K.random_normal(shape=(batch, size))


SAMPLINGS = {
    "lambda": layers.Lambda(sampled, output_shape=(2,)),
    "lambda without a shape": layers.Lambda(lambda x: K.exp(0.5 * x[1]) * K.random_normal(K.shape(x[0])) + x[0]),
    "drawn from sizes": sampled,
    "drawn from a shape": lambda x: x[0] + K.exp(0.5 * x[1]) * K.random_normal(shape=K.shape(x[0])),
    "drawn, uniform": lambda x: x[0] + x[1] * K.random_uniform(K.shape(x[0])[:1] + (2,), -1.0, 1.0),
    "drawn, truncated": lambda x: x[0] + x[1] * K.truncated_normal(K.shape(x[0])),
    "drawn, binomial": lambda x: x[0] + x[1] * K.random_binomial((K.shape(x[0])[0], 2), p=0.5),
    "dropout": lambda x: K.dropout(x[0] + x[1], 0.5),
}


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS.keys())
def test_noise_is_new_in_every_run(sampling):
    x = Input(shape=(6,))
    mean, spread = layers.Dense(2)(x), layers.Dense(2)(x)
    model = Model(x, layers.Dense(6)(sampling([mean, spread])))
    model.add_loss(K.mean(K.square(mean)))
    model.compile("adam", "mse")
    data = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    assert np.isfinite(model.fit(data, data, batch_size=24, epochs=2, verbose=0).history["loss"]).all()
    first, second = model.predict(data, verbose=0), model.predict(data, verbose=0)
    assert (first != second).mean() > 0.5
    assert len(np.unique((first - second).round(4), axis=0)) > 2, "the samples share their noise"


@pytest.mark.parametrize("sampling", [s for s in SAMPLINGS.values() if not isinstance(s, layers.Layer)])
def test_a_model_with_drawn_noise_is_copied(sampling):
    x = Input(shape=(2,))
    model = Model(x, sampling([x, x]))
    for twin in (Model.from_config(model.get_config()), pickle.loads(pickle.dumps(model)), clone_model(model)):
        runs = [twin(torch.ones(5, 2)) for _ in range(3)]
        assert any(not torch.equal(run, runs[0]) for run in runs)


def test_a_shape_remembers_its_tensor_also_where_all_sizes_are_known():
    x = Input(batch_shape=(4, 2))
    model = Model(x, x + K.random_normal(K.shape(x)[:-1] + (2,)) + K.random_normal((4,) + K.shape(x)[1:]))
    assert not torch.equal(model(torch.ones(4, 2)), model(torch.ones(4, 2)))


@pytest.mark.parametrize("sampling", [layers.Lambda(sampled), sampled], ids=["lambda", "drawn"])
def test_a_sampling_model_is_exported_with_an_open_batch(sampling):
    x = Input(shape=(2,))
    module = Model(x, sampling([x, x])).to_torch()
    program = torch.export.export(module, (torch.ones(4, 2),), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    first, second = program(torch.ones(7, 2)), program(torch.ones(7, 2))
    assert first.shape == (7, 2)
    assert not torch.equal(first, second)


def test_drawing_noise_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    x = Input(shape=(2,))
    sampled([x, x])
    layers.Lambda(sampled)([x, x])
    assert torch.equal(before, torch.get_rng_state())


def test_a_seed_begins_a_sequence_that_clear_session_begins_anew():
    K.clear_session()
    first, second = K.random_normal((3,), seed=1), K.random_normal((3,), seed=1)
    assert not torch.equal(first, second)
    K.clear_session()
    assert torch.equal(K.random_normal((3,), seed=1), first)


@pytest.mark.parametrize(
    ("draw", "mean", "deviation"), [(K.random_normal, 0.0, 1.0), (K.truncated_normal, 0.0, 0.88), (K.random_uniform, 0.5, 0.29)]
)
def test_numbers_are_of_the_standard_distributions_unless_others_are_asked_for(draw, mean, deviation):
    numbers = draw((4000,), seed=1)
    assert abs(numbers.mean() - mean) < 0.06 and abs(numbers.std() - deviation) < 0.06


def test_a_drawn_graph_keeps_no_seed():
    x = Input(shape=(2,))
    with pytest.raises(ValueError, match="keeps no seed.*Lambda"):
        K.random_normal(K.shape(x), seed=1)
    model = Model(x, layers.Lambda(lambda x: x + K.random_normal(K.shape(x), seed=1))(x))
    assert not torch.equal(model(torch.ones(2, 2)), model(torch.ones(2, 2)))


def test_an_unknown_size_is_no_size():
    x = Input(shape=(2,))
    with pytest.raises(ValueError, match="unknown size.*K.shape"):
        K.random_normal(K.int_shape(x))
    with pytest.raises(TypeError, match="A shape is a tuple of sizes"):
        K.zeros(x)


# ---------------------------------------------------------------------- where tensors are put


def test_what_comes_from_nowhere_is_put_where_the_running_layer_works(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("meta"))
    assert K.zeros((2,)).device.type == K.variable([1.0]).device.type == "meta"
    inside = layers.Lambda(lambda x: x + K.random_normal((2, 3)) + K.ones((3,)) + K.constant([1.0, 2.0, 3.0]))
    assert inside(torch.ones(2, 3)).device.type == "cpu"
    with torch.device("cpu"):
        assert (torch.ones(2) + K.ones_like(torch.ones(2))).device.type == "cpu"


# ---------------------------------------------------------------------- values


def test_variables_are_read_and_set():
    weight = K.variable(np.array([1.0, 2.0]), name="weight")
    assert (weight.dtype, weight.requires_grad, K.is_variable(weight)) == (torch.float32, False, True)
    K.set_value(weight, [3.0, 4.0])
    assert K.get_value(weight).tolist() == K.eval(weight).tolist() == [3.0, 4.0]
    K.batch_set_value([(weight, [5.0, 6.0])])
    assert [value.tolist() for value in K.batch_get_value([weight])] == [[5.0, 6.0]]
    assert K.update_add(weight, 1.0) is weight
    assert K.update_sub(weight, torch.tensor([0.0, 1.0])) is weight
    assert K.moving_average_update(weight, [0.0, 0.0], 0.5).tolist() == [3.0, 3.0]
    assert K.count_params(weight) == 2


@pytest.mark.parametrize(
    ("target", "value", "error", "message"),
    [
        (torch.ones(2), [1.0], ValueError, r"shape \(1,\) does not fit a variable of shape \(2,\).*set_weights"),
        (0.5, 1.0, TypeError, "learning_rate = value"),
        ("weight", 1.0, TypeError, "got 'weight' of type str"),
    ],
)
def test_what_cannot_be_set(target, value, error, message):
    with pytest.raises(error, match=message):
        K.set_value(target, value)


def test_the_learning_rate_is_read_and_set():
    model = Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    K.set_value(model.optimizer.lr, 0.25)
    assert K.get_value(model.optimizer.lr) == model.optimizer.learning_rate == 0.25


def test_a_variable_in_a_model_is_not_trained_and_can_still_be_set():
    x, factor = Input(shape=(1,)), K.variable(2.0)
    model = Model(x, layers.Dense(1, use_bias=False)(x) * factor)
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0)
    assert factor.item() == 2.0
    before = model.predict(np.ones((1, 1)), verbose=0)
    K.set_value(factor, 4.0)
    np.testing.assert_allclose(model.predict(np.ones((1, 1)), verbose=0), 2 * before, rtol=1e-6)


def test_a_symbolic_tensor_has_no_value():
    x = Input(shape=(2,))
    for read in (K.eval, K.get_value):
        with pytest.raises(ValueError, match="no value yet"):
            read(x)
    with pytest.raises(ValueError, match="no value to print"):
        K.print_tensor(x)


def test_what_a_tensor_is():
    x = K.placeholder(shape=(None, 3), name="x")
    assert (K.int_shape(x), K.ndim(x), K.dtype(x), K.is_placeholder(x)) == ((None, 3), 2, "float32", True)
    assert K.is_keras_tensor(x)
    assert not K.is_keras_tensor(torch.ones(1)) and not K.is_keras_tensor(np.ones(1)) and not K.is_placeholder(x * 2)
    assert K.is_tensor(x) and K.is_tensor(torch.ones(1)) and not K.is_tensor(np.ones(1))
    assert K.shape(torch.ones(2, 3)) == (2, 3)
    assert K.shape(x)[1] == 3 and K.is_keras_tensor(K.shape(x)[0])
    assert K.placeholder(ndim=3).shape == (None, None, None)
    assert not K.is_sparse(x)
    with pytest.raises(ValueError, match="needs a shape"):
        K.placeholder()


# ---------------------------------------------------------------------- functions of a drawn graph


def test_a_function_computes_what_is_in_the_middle():
    model = Sequential([layers.Dense(3, input_shape=(2,)), layers.Dense(1)])
    middle = K.function([model.input], [model.layers[0].output, model.output])
    data = np.random.default_rng(0).normal(size=(4, 2))
    hidden, output = middle([data])
    assert isinstance(hidden, np.ndarray)
    np.testing.assert_allclose(output, model.predict(data, verbose=0), rtol=1e-6)
    np.testing.assert_allclose(hidden, data @ model.get_weights()[0], rtol=1e-5)
    assert K.function([model.input], model.output)([data]).shape == K.function([model.input], model.output)(data).shape == (4, 1)


def test_a_function_runs_in_the_phase_it_is_told():
    x = Input(shape=(100,))
    model = Model(x, layers.Dropout(0.5)(x))
    model.eval()
    run = K.function([model.input, K.learning_phase()], [model.output])
    assert (run([np.ones((1, 100)), 0])[0] == 1).all()
    assert (run([np.ones((1, 100)), 1])[0] == 0).any()
    assert not model.training
    with pytest.raises(ValueError, match="takes 2 inputs, got 1"):
        run([np.ones((1, 100))])


def test_a_function_takes_no_updates():
    x = Input(shape=(1,))
    with pytest.raises(ValueError, match="takes no updates"):
        K.function([x], [x * 2], updates=[1])


# ---------------------------------------------------------------------- phases


def test_the_phase_follows_fit_and_predict():
    x = Input(shape=(1,))
    model = Model(x, layers.Lambda(lambda x: K.in_train_phase(x + 100, lambda: x))(layers.Dense(1)(x)))
    model.compile("sgd", "mse")
    seen = model.fit(np.zeros((4, 1)), np.zeros((4, 1)), verbose=0).history["loss"][0]
    assert seen > 9000
    assert np.abs(model.predict(np.zeros((4, 1)), verbose=0)).max() < 10


def test_the_phase_of_a_layer_is_what_its_call_is_told():
    class Noise(layers.Layer):
        def call(self, inputs, training=None):
            return K.in_train_phase(lambda: inputs + K.random_normal(K.shape(inputs)), inputs, training=training)

    x = Input(shape=(3,))
    model = Model(x, Noise()(x))
    assert torch.equal(model(torch.ones(2, 3), training=False), torch.ones(2, 3))
    assert not torch.equal(model(torch.ones(2, 3), training=True), torch.ones(2, 3))


def test_a_drawn_graph_has_no_phase():
    x = Input(shape=(3,))
    with pytest.raises(ValueError, match="training and inference alike"):
        K.in_train_phase(x, x * 2)


def test_the_phase_can_be_fixed():
    K.set_learning_phase(0)
    assert K.in_train_phase(1.0, 2.0) == 2.0
    K.clear_session()
    assert K.in_train_phase(1.0, 2.0) == 1.0
    with pytest.raises(ValueError, match="0 or 1"):
        K.set_learning_phase(2)


# ---------------------------------------------------------------------- the session


def test_clear_session_lets_names_begin_anew():
    K.clear_session()
    first = layers.Dense(1).name
    assert layers.Dense(1).name != first
    K.clear_session()
    assert layers.Dense(1).name == first == "dense_1"
    assert (K.get_uid("a"), K.get_uid("a"), K.get_uid("b")) == (1, 2, 1)
    K.reset_uids()
    assert K.get_uid("a") == 1


def test_settings_are_those_of_the_library():
    assert (K.backend(), K.floatx(), K.epsilon(), K.image_data_format()) == ("torch", "float32", 1e-7, "channels_last")
    assert K.set_floatx is config.set_floatx
    with K.name_scope("block"):
        pass


@pytest.mark.parametrize("name", ["get_session", "set_session", "manual_variable_initialization"])
def test_what_has_no_meaning_says_what_to_do_instead(name):
    with pytest.raises(NotImplementedError, match=f"K.{name} has no meaning in torch"):
        getattr(K, name)(1, 2)


# ---------------------------------------------------------------------- gradients of what is drawn


def classifier():
    """A small network for images, with a permutation between its convolutions that the lowering cancels."""
    x = Input(shape=(9, 9, 3))
    h = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu", name="low")(x))
    h = layers.Conv2D(4, 3, activation="relu", name="high")(layers.MaxPooling2D()(h))
    return Model(x, layers.Dense(5, activation="softmax")(layers.Dropout(0.5)(layers.Flatten()(h))))


def test_what_maximizes_a_filter():
    model, images = classifier(), np.random.default_rng(0).random((2, 9, 9, 3), "float32")
    loss = K.mean(model.get_layer("low").output[:, :, :, 0])
    found = K.function([model.input], [loss, K.gradients(loss, model.input)[0]])([images])
    leaf = torch.tensor(images, requires_grad=True)
    expected = Model(model.input, model.get_layer("low").output)(leaf)[:, :, :, 0].mean()
    assert np.allclose(found[0], expected.item())
    assert np.allclose(found[1], torch.autograd.grad(expected, leaf)[0])


def test_what_a_class_sees_in_a_layer_between():
    model, images = classifier(), np.random.default_rng(0).random((2, 9, 9, 3), "float32")
    between = model.get_layer("high").output
    found = K.function([model.input], K.gradients(model.output[:, 2], between))([images])[0]
    model.eval()
    leaf = Model(model.input, between)(torch.tensor(images)).detach().requires_grad_()
    expected = torch.autograd.grad(Model(between, model.output)(leaf)[:, 2].sum(), leaf)[0]
    assert np.allclose(found, expected, atol=1e-7)


def test_drawn_gradients_of_weights():
    model, images = classifier(), np.random.default_rng(0).random((2, 9, 9, 3), "float32")
    found = K.function([model.input], K.gradients(K.mean(model.output[:, 0]), model.trainable_weights))([images])
    model.eval()
    expected = torch.autograd.grad(model(torch.tensor(images))[:, 0].mean(), model.trainable_weights)
    assert all(np.allclose(mine, its, atol=1e-7) for mine, its in zip(found, expected, strict=True))


def test_drawn_gradients_do_not_mind_inference_mode():
    x = Input(shape=(3,))
    assert Model(x, K.gradients(K.sum(x**2), x)).predict(np.ones((2, 3)), verbose=0).tolist() == [[2.0] * 3] * 2


def test_what_a_loss_does_not_depend_on_has_no_gradient():
    x, other = Input(shape=(3,)), Input(shape=(3,))
    first, second = K.gradients(K.sum(x), [other, x])
    assert first is None and second is not None


@pytest.mark.parametrize("recorded", ["nothing", "loss"])
def test_gradients_that_torch_did_not_record_say_where_to_ask_for_them(recorded):
    x, weight = torch.ones(2), torch.ones(2, requires_grad=recorded == "loss")
    with pytest.raises(ValueError, match="outside of the Lambda"):
        K.gradients(K.sum(x * weight), [x])


def test_gradients_of_real_tensors_inside_of_a_lambda_say_so_when_it_is_drawn():
    with pytest.raises(ValueError, match="^Lambda .*outside of the Lambda"):
        layers.Lambda(lambda x: K.gradients(K.sum(x**2), x)[0])(Input((3,)))


def test_gradients_of_a_real_loss_by_a_symbolic_tensor_say_where_to_draw_them():
    x = Input((3,), name="averaged")
    with pytest.raises(ValueError, match=r"cannot depend on the symbolic \['averaged'\].*model.add_loss"):
        K.gradients(torch.ones(3, requires_grad=True).sum(), x)


def test_a_penalty_on_drawn_gradients_is_a_loss_that_is_learned_by():
    x = Input((3,))
    model = Model(x, layers.Dense(1, kernel_initializer="ones")(x))
    model.add_loss(K.mean(K.square(1 - K.sqrt(K.sum(K.square(K.gradients(model.output, x)[0]), axis=1)))))
    model.compile(SGD(0.1))
    before = model.train_on_batch(np.ones((4, 3)))
    assert before == pytest.approx((1 - 3**0.5) ** 2)
    assert model.train_on_batch(np.ones((4, 3))) < before


def test_gradients_of_integers_are_refused():
    numbers = Input(shape=(3,), dtype="int64")
    with pytest.raises(ValueError, match="torch.int64, which has no gradients"):
        K.gradients(K.sum(layers.Embedding(5, 2)(numbers)), numbers)


def test_gradients_of_real_tensors_have_gradients_themselves():
    x = torch.ones(2, requires_grad=True)
    assert K.gradients(K.gradients(x**3, [x])[0], x)[0].tolist() == [6.0, 6.0]


def test_a_loss_begun_with_a_variable_is_the_same_in_every_run():
    x, loss = Input(shape=(3,)), K.variable(0.0)
    loss += K.sum(x)
    loss -= K.mean(x, axis=-1)
    run = K.function([x], [loss])
    assert [run([np.ones((2, 3))])[0].tolist() for _ in range(2)] == [[5.0, 5.0]] * 2


def test_a_drawn_update_changes_its_variable_in_every_run():
    x, total = Input(shape=(3,)), K.variable(0.0)
    run = K.function([x], [K.update_add(total, K.sum(x))])
    for _ in range(2):
        run([np.ones((2, 3))])
    assert K.get_value(total) == 12


# ---------------------------------------------------------------------- losses, metrics and layers of ported programs


def weighted_crossentropy(weights):
    weights = K.variable(weights)

    def loss(y_true, y_pred):
        y_pred = K.clip(y_pred / K.sum(y_pred, axis=-1, keepdims=True), K.epsilon(), 1 - K.epsilon())
        return -K.sum(y_true * K.log(y_pred) * weights, -1)

    return loss


def dice(y_true, y_pred):
    true, predicted = K.flatten(y_true), K.flatten(y_pred)
    return 1 - (2 * K.sum(true * predicted) + 1) / (K.sum(true) + K.sum(predicted) + 1)


def focal(y_true, y_pred):
    share = K.switch(K.equal(y_true, 1), y_pred, K.ones_like(y_pred))
    return -K.mean(K.pow(1.0 - share, 2.0) * K.log(share + K.epsilon()))


def recall(y_true, y_pred):
    found = K.sum(K.round(K.clip(y_true * y_pred, 0, 1)))
    return found / (K.sum(K.round(K.clip(y_true, 0, 1))) + K.epsilon())


class Attention(layers.Layer):
    def build(self, input_shape):
        self.w = self.add_weight(name="w", shape=(input_shape[-1], 1), initializer="normal")
        self.b = self.add_weight(name="b", shape=(input_shape[1], 1), initializer="zeros")
        super().build(input_shape)

    def call(self, x):
        scores = K.squeeze(K.tanh(K.dot(x, self.w) + self.b), axis=-1)
        return K.sum(x * K.expand_dims(K.softmax(scores)), axis=1)


@pytest.mark.parametrize("loss", [weighted_crossentropy([1.0, 2.0, 3.0]), dice, focal])
def test_what_ported_programs_write_with_it(loss):
    x = Input(shape=(4, 6))
    attended = layers.Lambda(lambda x: K.l2_normalize(x, axis=1))(Attention()(x))
    total = layers.Lambda(K.sum, arguments={"axis": 1, "keepdims": True})(attended)
    model = Model(x, layers.Dense(3, activation="softmax")(K.concatenate([attended, total])))
    model.compile("adam", loss, metrics=[recall])
    random = np.random.default_rng(0)
    history = model.fit(random.random((40, 4, 6)), np.eye(3)[random.integers(0, 3, 40)], epochs=3, validation_split=0.2, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert history.keys() == {"loss", "recall", "val_loss", "val_recall"}


# ---------------------------------------------------------------------- the rest


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_local_convolution_is_that_of_the_layer(data_format):
    layer = layers.LocallyConnected2D(4, (3, 2), strides=(1, 2), data_format=data_format, use_bias=False)
    wanted = layer(x := torch.rand(2, 5, 5, 5))
    kernel = torch.tensor(layer.get_weights()[0])
    torch.testing.assert_close(K.local_conv2d(x, kernel, (3, 2), (1, 2), (3, 2), data_format), wanted.detach())


def test_a_local_convolution_with_too_few_kernels_is_refused():
    with pytest.raises(ValueError, match=r"\(3,\) windows, the kernel is for 2"):
        K.local_conv1d(torch.ones(2, 5, 2), torch.ones(2, 6, 4), 3, 1)


def test_activations_from_the_table_are_those_of_the_vocabulary():
    layer = layers.Dense(2, activation=K.relu)
    x = Input(shape=(2,))
    model = Model(x, layers.Activation(K.softmax)(layer(x)))
    twin = Model.from_config(model.get_config())
    twin.set_weights(model.get_weights())
    data = torch.randn(3, 2)
    torch.testing.assert_close(twin(data), model(data))
    assert layer.get_config()["activation"] is not None


@pytest.mark.parametrize("name", ["map_fn", "foldl", "foldr"])
def test_loops_over_symbolic_tensors_are_for_lambda(name):
    arguments = (lambda a: a,) if name == "map_fn" else (lambda a, b: a + b,)
    x = Input(shape=(3,))
    with pytest.raises(ValueError, match="Lambda"):
        getattr(K, name)(*arguments, x)
    model = Model(x, layers.Lambda(lambda x: x + getattr(K, name)(*arguments, x))(x))
    assert model(torch.ones(4, 3)).shape == (4, 3)


def test_the_likeliest_labels_of_a_ctc_model_are_spelled_out():
    steps = np.eye(4)[[[0, 0, 3, 0, 1, 1], [3, 2, 2, 2, 0, 1], [3, 3, 3, 3, 3, 3]]]
    (labels,), scores = K.ctc_decode(steps * 0.9 + 0.025, [6, 4, 6])
    assert labels.tolist() == [[0, 0, 1], [2, -1, -1], [-1, -1, -1]]
    assert scores.flatten().tolist() == pytest.approx([-number * np.log(0.925) for number in (6, 4, 6)], rel=1e-5)


def test_drawn_ctc_labels_are_as_wide_as_there_are_steps():
    probabilities, lengths = Input(shape=(4, 3)), Input(shape=(1,), dtype="int32")
    spell = K.function([probabilities, lengths], [K.ctc_decode(probabilities, lengths)[0][0]])
    assert spell([np.eye(3)[[[0, 0, 2, 1]]], [[4]]])[0].tolist() == [[0, 1, -1, -1]]


def test_a_search_with_beams_says_what_there_is():
    with pytest.raises(ValueError, match="greedy=True"):
        K.ctc_decode(np.eye(3)[[[0, 1]]], [2], greedy=False)


def test_the_ctc_cost_stands_in_a_lambda():
    predictions, labels = Input(shape=(8, 5)), Input(shape=(3,))
    steps, lengths = Input(shape=(1,), dtype="int64"), Input(shape=(1,), dtype="int64")
    cost = layers.Lambda(lambda args: K.ctc_batch_cost(*args))([labels, predictions, steps, lengths])
    assert cost.shape == (None, 1)
    model = Model([predictions, labels, steps, lengths], cost)
    arrays = [np.full((2, 8, 5), 0.2), np.array([[0, 1, 2], [3, 1, 0]]), np.array([[8], [8]]), np.array([[3], [2]])]
    assert np.isfinite(model.predict(arrays, verbose=0)).all()
    with pytest.raises(ValueError, match="Lambda layer, or in a loss"):
        K.ctc_batch_cost(labels, predictions, steps, lengths)


@pytest.mark.parametrize("read", [K.get_value, K.eval, lambda x: K.batch_get_value([x])[0]], ids=["get_value", "eval", "batch_get_value"])
def test_a_value_that_was_read_stays_what_it_was(read):
    model = Sequential([layers.Dense(2, input_shape=(3,))])
    model.compile("sgd", "mse")
    before = read(model.weights[0])
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    assert not np.array_equal(read(model.weights[0]), before)


def test_a_value_that_was_read_is_not_the_variable():
    variable = K.variable([1.0, 2.0])
    K.get_value(variable)[:] = 0
    assert variable.tolist() == [1.0, 2.0]


def test_a_constant_does_not_follow_its_array():
    array = np.zeros(2, "float32")
    constant = K.constant(array)
    array += 1
    assert constant.tolist() == [0.0, 0.0]


def test_what_a_function_returned_stays_what_it_was():
    x, total = Input(shape=(2,)), K.variable(0.0)
    run = K.function([x], [K.update_add(total, K.sum(x))])
    first, second = (run([np.ones((1, 2))])[0] for _ in range(2))
    assert (first, second) == (2, 4)


@pytest.mark.parametrize(
    "change",
    [
        lambda variable, mean: K.update(variable, mean),
        lambda variable, mean: K.update_add(variable, mean),
        lambda variable, mean: K.update_sub(variable, mean),
        lambda variable, mean: K.moving_average_update(variable, mean, 0.9),
        lambda variable, mean: K.set_value(variable, K.get_value(mean)),
    ],
)
def test_drawing_a_function_that_changes_a_variable_does_not_change_it(change):
    variable, x = K.variable(1.0), Input(shape=(3,))
    model = Model(x, layers.Lambda(lambda x: [x, change(variable, K.mean(x))][0])(x))
    assert variable.item() == 1
    model.predict(np.full((2, 3), 5.0))
    assert variable.item() != 1


def test_random_variables():
    assert K.is_variable(K.random_normal_variable((2, 3), 0.0, 1.0))
    values = K.random_uniform_variable((100,), 2.0, 3.0)
    assert values.min() >= 2 and values.max() < 3


@pytest.mark.parametrize("axes", [0, (1, 0), (0, 2)])
def test_batch_dot_leaves_the_batch_alone(axes):
    with pytest.raises(ValueError, match="batch axis"):
        K.batch_dot(torch.ones(2, 3, 4), torch.ones(2, 3, 4), axes)


@pytest.mark.parametrize(
    ("shapes", "axes", "equation"),
    [
        (((2, 3, 5), (2, 3, 4, 5)), [2, 3], "bni,bnji->bnj"),  # the routing of capsules
        (((2, 3, 4), (2, 3, 4, 5)), [2, 2], "bni,bnij->bnj"),
        (((2, 3, 4, 5), (2, 3, 6, 5)), 3, "bnij,bnkj->bnik"),  # attention with heads
        (((2, 3, 4, 5), (2, 3, 5, 6)), None, "bnij,bnjk->bnik"),
        (((2, 3, 4, 5), (2, 3, 5)), [3, 2], "bnij,bnj->bni"),
        (((2, 3, 4, 5), (2, 7, 5)), [3, 2], "bnij,bmj->bnim"),  # no numbers of samples in common but the first
        (((2, 3, 4, 5), (2, 3, 4, 5)), [1, 1], "bnij,bnkl->bijkl"),
        (((2, 5), (2, 3, 4, 5)), [1, 3], "bj,bnij->bni"),
    ],
)
def test_batch_dot_of_more_dimensions_takes_all_but_the_last_two_as_samples(shapes, axes, equation):
    x, y = (torch.rand(shape) for shape in shapes)
    torch.testing.assert_close(K.batch_dot(x, y, axes), torch.einsum(equation, x, y))


def test_batch_dot_needs_samples():
    with pytest.raises(ValueError, match="at least two dimensions"):
        K.batch_dot(torch.ones(2), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: K.repeat(torch.ones(2, 3, 4), 2), "takes a matrix"),
        (lambda: K.bias_add(torch.ones(2, 3, 4, 5), torch.ones(2, 2)), "A bias has 1 or 3 dimensions"),
        (lambda: K.pool2d(torch.ones(1, 4, 4, 1), (2, 2), pool_mode="sum"), "'pool_mode' must be one of"),
        (lambda: K.conv2d(torch.ones(1, 4, 4, 1), torch.ones(3, 3, 1, 1), padding="full"), "'padding' must be one of"),
        (lambda: K.resize_images(torch.ones(1, 4, 4, 1), 2, 2, "last"), "'data_format' must be one of"),
        (lambda: K.squeeze(torch.ones(2, 3), 1), "Only axes of size 1"),
        (lambda: K.variable(1.0, constraint=abs), "takes no constraint"),
        (lambda: K.rnn(lambda a, s: (a, s), Input(shape=(None, 3)), []), "known number of steps"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", NAMES_OF_KERAS_2)
def test_the_names_of_keras_2_are_there(name):
    assert callable(getattr(K, name))
    assert getattr(K, name).__doc__


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("function", [K.mean, K.exp, K.softmax, K.relu, K.sqrt, K.l2_normalize, lambda x: K.maximum(x, 0.5)])
def test_the_dtype_stays(function, dtype):
    assert function(torch.ones(2, 3, dtype=dtype)).dtype == dtype


# ---------------------------------------------------------------------- arguments and results as in Keras 2


@pytest.mark.parametrize("name", ["exp", "relu", "sigmoid", "softmax", "sqrt", "tanh"])
def test_a_result_may_be_written_to_and_differentiated(name):
    """Attention layers say `weights = K.exp(x)` and `weights /= total`, which makes a new tensor in TensorFlow."""
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    written = getattr(K, name)(x)
    written /= K.sum(written, axis=1, keepdims=True)
    apart = getattr(K, name)(x)
    apart = apart / K.sum(apart, axis=1, keepdims=True)
    (gradient,), (expected,) = torch.autograd.grad(written[0, 0], x), torch.autograd.grad(apart[0, 0], x)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("name", ["exp", "relu", "sigmoid", "softmax", "sqrt", "tanh"])
def test_a_function_whose_result_may_be_written_to_is_pickled(name):
    function = getattr(K, name)
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("kind", [torch.tensor, float])
def test_slopes_and_bounds_of_relu_may_be_tensors(kind):
    x = torch.tensor([-2.0, 1.0, 4.0, 9.0], requires_grad=True)
    bent = K.relu(x, alpha=kind(0.5), max_value=kind(6.0), threshold=kind(2.0))
    assert bent.tolist() == [-2.0, -0.5, 4.0, 6.0]


def test_slopes_and_bounds_of_relu_are_trained():
    slope, bound = torch.full((2,), 0.5, requires_grad=True), torch.full((2,), 3.0, requires_grad=True)
    K.sum(K.relu(torch.tensor([-2.0, 9.0]), slope, bound)).backward()
    assert (slope.grad.tolist(), bound.grad.tolist()) == ([-2.0, 0.0], [0.0, 1.0])


@pytest.mark.parametrize("name", ["dot", "equal", "greater", "greater_equal", "less", "less_equal", "maximum", "minimum", "not_equal"])
def test_two_tensors_are_x_and_y(name):
    x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0], [3.0]])
    torch.testing.assert_close(getattr(K, name)(y=y, x=x), getattr(K, name)(x, y))


def test_classes_are_indices():
    assert K.one_hot(indices=K.argmax(torch.eye(3), 1), num_classes=3).tolist() == torch.eye(3).tolist()


def test_an_exponent_is_a():
    assert K.pow(torch.tensor([3.0]), a=2).item() == 9


def test_what_gradients_stop_at_are_variables():
    assert not K.stop_gradient(variables=torch.ones(1, requires_grad=True)).requires_grad
