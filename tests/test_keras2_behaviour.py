"""What programs written for Keras 2.2 rely on, sentence by sentence; what concerns data sources is tested with those."""

import copy
import functools

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, Sequential, callbacks, losses, regularizers
from torchkeras_fn.layers import Dense, Dropout, Embedding, Lambda, add, concatenate
from torchkeras_fn.models import clone_model
from torchkeras_fn.utils import to_categorical

RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(10, 3)), RANDOM.normal(size=(10, 3))
Y_A, Y_B = RANDOM.normal(size=(10, 4)), RANDOM.normal(size=(10, 3))


def two_by_two(**options):
    """The model that Keras' own tests of the Model API are made of: two inputs, a shared layer, two outputs."""
    a, b = Input(shape=(3,), name="input_a"), Input(shape=(3,), name="input_b")
    dense = Dense(4, name="dense_1")
    a_2, b_2 = dense(a), dense(b)
    dropped = Dropout(0.5, name="dropout")(a_2)
    model = Model([a, b], [dropped, Dense(3, name="other")(b_2)])
    if options:
        model.compile("rmsprop", **options)
    return model


def one(units=1, **options):
    x = Input(shape=(3,))
    model = Model(x, Dense(units, name="out")(x))
    model.compile("sgd", **{"loss": "mse", **options})
    return model


# ---------------------------------------------------------------------- what the methods return


def test_the_lists_that_are_returned_have_the_lengths_of_keras():
    model = two_by_two(loss="mse")
    assert len(model.train_on_batch([A, B], [Y_A, Y_B])) == len(model.test_on_batch([A, B], [Y_A, Y_B])) == 3
    model = two_by_two(loss="mse", metrics=["mae"])
    for found in (
        model.train_on_batch([A, B], [Y_A, Y_B]),
        model.test_on_batch([A, B], [Y_A, Y_B]),
        model.evaluate([A, B], [Y_A, Y_B], verbose=0),
    ):
        assert len(found) == len(model.metrics_names) == 5


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        (["acc"], ["dropout_acc", "other_acc"]),
        ({"other": "acc"}, ["other_acc"]),
        ({"dropout": "acc", "other": ["acc"]}, ["dropout_acc", "other_acc"]),
        ({"other": ["acc", "mae"]}, ["other_acc", "other_mae"]),
        ([lambda y_true, y_pred: (y_true - y_pred).abs().mean()], ["dropout_<lambda>", "other_<lambda>"]),
        ({"other": losses.mae}, ["other_mean_absolute_error"]),
    ],
    ids=["list", "dict", "dict of both", "dict of lists", "function", "dict of a function"],
)
def test_forms_of_metrics(metrics, names):
    model = two_by_two(loss="mse", metrics=metrics)
    assert model.metrics_names == ["loss", "dropout_loss", "other_loss", *names]
    assert len(model.train_on_batch([A, B], [Y_A, Y_B])) == 3 + len(names)


@pytest.mark.parametrize("loss", ["mse", ["mse", "mae"], {"dropout": "mse", "other": "mae"}], ids=str)
@pytest.mark.parametrize("loss_weights", [None, [1.0, 0.5], {"dropout": 0.25}, {"dropout": 1.0, "other": 0.5}], ids=str)
def test_forms_of_losses_and_their_weights(loss, loss_weights):
    model = two_by_two(loss=loss, loss_weights=loss_weights)
    total, first, second = model.test_on_batch([A, B], [Y_A, Y_B])
    weights = loss_weights if isinstance(loss_weights, list) else [(loss_weights or {}).get(name, 1.0) for name in ("dropout", "other")]
    assert total == pytest.approx(weights[0] * first + weights[1] * second)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([A, B], [Y_A, Y_B]),
        ({"input_a": A, "input_b": B}, [Y_A, Y_B]),
        ({"input_a": A, "input_b": B}, {"dropout": Y_A, "other": Y_B}),
        ([A, B], {"dropout": Y_A, "other": Y_B}),
    ],
    ids=["lists", "dict and list", "dicts", "list and dict"],
)
@pytest.mark.parametrize("call", ["train_on_batch", "test_on_batch", "fit", "evaluate"])
def test_data_by_position_or_by_name(call, x, y):
    model = two_by_two(loss="mse")
    options = {"verbose": 0} if call in ("fit", "evaluate") else {}
    getattr(model, call)(x, y, **options)
    if call == "fit":
        model.fit(x, y, validation_split=0.5, validation_data=(x, y), epochs=1, batch_size=4, verbose=0)


def test_predict_needs_no_compile_and_returns_a_list_for_several_outputs():
    model = two_by_two()
    for found in (model.predict([A, B], batch_size=4), model.predict_on_batch({"input_a": A, "input_b": B})):
        assert [part.shape for part in found] == [(10, 4), (10, 3)]


def test_no_targets_where_no_output_has_a_loss():
    x = Input(shape=(3,))
    y = Dense(2)(x)
    model = Model(x, y)
    model.add_loss(y.mean())
    model.compile("sgd", None)
    assert type(model.train_on_batch(A, None)) is float
    assert type(model.test_on_batch(A, None)) is float
    model.fit(A, None, epochs=1, verbose=0)
    model.evaluate(A, None, verbose=0)


# ---------------------------------------------------------------------- errors of kind


@pytest.mark.parametrize(("kind", "value"), [("tuple", (0.5, 0.5)), ("set", {0.5}), ("str", "half")])
def test_loss_weights_of_another_kind_are_a_type_error(kind, value):
    with pytest.raises(TypeError, match=kind):
        two_by_two(loss="mse", loss_weights=value)


@pytest.mark.parametrize("value", [(np.ones(10), None), {1.0}, "w"], ids=["tuple", "set", "string"])
@pytest.mark.parametrize("call", ["train_on_batch", "fit"])
def test_sample_weights_of_another_kind_are_a_type_error(call, value):
    model = two_by_two(loss="mse")
    with pytest.raises(TypeError, match="sample_weight"):
        getattr(model, call)([A, B], [Y_A, Y_B], sample_weight=value)


def test_unknown_keywords_of_fit_and_compile_are_a_type_error():
    model = two_by_two(loss="mse")
    with pytest.raises(TypeError):
        model.fit([A, B], [Y_A, Y_B], unknown_argument=3)
    with pytest.raises(TypeError):
        model.compile("rmsprop", "mse", unknown_argument=3)


# ---------------------------------------------------------------------- errors of value, at compile


@pytest.mark.parametrize(
    "options",
    [
        {"loss": ["mse", "mae", "mape"]},
        {"loss": ["mse"]},
        {"loss": []},
        {"loss": {"lstm": "mse"}},
        {"loss": {"dropout": None, "other": None}},
        {"loss": "mse", "loss_weights": {"lstm": 0.5}},
        {"loss": "mse", "loss_weights": [0.5]},
        {"loss": "mse", "sample_weight_mode": {"lstm": "temporal"}},
        {"loss": "mse", "sample_weight_mode": ["temporal"]},
        {"loss": "mse", "sample_weight_mode": {"dropout": "temporal"}},
        {"loss": "mse", "sample_weight_mode": "hourly"},
        {"loss": "mse", "metrics": {"lstm": "acc"}},
        {"loss": "mse", "metrics": ["unknown"]},
        {"loss": "unknown"},
        {"loss": None},
    ],
    ids=str,
)
def test_what_compile_refuses(options):
    with pytest.raises(ValueError):
        two_by_two(**options)


@pytest.mark.parametrize("optimizer", ["unknown", None, 3, object()], ids=str)
def test_optimizers_that_compile_refuses(optimizer):
    with pytest.raises(ValueError):
        two_by_two().compile(optimizer, "mse")


# ---------------------------------------------------------------------- errors of value, of data


@pytest.mark.parametrize(
    ("x", "y", "options"),
    [
        ([A, None], [Y_A, Y_B], {}),
        ({"input_a": A}, [Y_A, Y_B], {}),
        ([A], [Y_A, Y_B], {}),
        (A, [Y_A, Y_B], {}),
        ([A, B], [Y_A], {}),
        ([A, B], Y_A, {}),
        ([A, B], [Y_A, None], {}),
        ([A, B], None, {}),
        ([A, B], {"dropout": Y_A}, {}),
        ([A, B], {"dropout": Y_A, "lstm": Y_B}, {}),
        ([A, B[:5]], [Y_A, Y_B], {}),
        ([A, B], [Y_A, Y_B[:5]], {}),
        ([A[:5], B[:5]], [Y_A, Y_B], {}),
        ([A, B], [Y_A, Y_B], {"sample_weight": [np.ones(10), np.ones(9)]}),
        ([A, B], [Y_A, Y_B], {"sample_weight": [np.ones(10)]}),
        ([A, B], [Y_A, Y_B], {"sample_weight": {"lstm": np.ones(10)}}),
        ([A, B], [Y_A, Y_B], {"sample_weight": [np.ones((10, 2, 2)), None]}),
        ([A, B], [Y_A, Y_B], {"sample_weight": [np.ones((10, 2)), None]}),
        ([A, B], [Y_B, Y_A], {}),
        ([A[:, :2], B], [Y_A, Y_B], {}),
        ([A.reshape(10, 3, 1), B], [Y_A, Y_B], {}),
    ],
)
@pytest.mark.parametrize("call", ["train_on_batch", "fit"])
def test_data_that_is_refused(call, x, y, options):
    model = two_by_two(loss="mse")
    with pytest.raises(ValueError):
        getattr(model, call)(x, y, **options)


def test_weights_per_step_need_an_output_with_steps():
    model = one(loss="mse", sample_weight_mode="temporal")
    with pytest.raises(ValueError, match="temporal"):
        model.train_on_batch(A, Y_A[:, :1], sample_weight=np.ones((10, 1)))


@pytest.mark.parametrize("validation", [(A,), (A, Y_A, Y_A, Y_A), A, "x"], ids=["one part", "four parts", "an array", "a string"])
def test_validation_data_of_another_form_is_refused(validation):
    with pytest.raises(ValueError):
        one(4).fit(A, Y_A, validation_data=validation, verbose=0)


@pytest.mark.parametrize("options", [{"validation_split": 1.0}, {"validation_split": 2.0}, {"validation_split": 0.99}])
def test_a_validation_split_that_leaves_nothing_is_refused(options):
    with pytest.raises(ValueError):
        one(4).fit(A, Y_A, verbose=0, **options)


def test_a_generator_needs_its_number_of_steps():
    model = one(4)
    with pytest.raises(ValueError, match="steps"):
        model.fit_generator(iter([(A, Y_A)]), verbose=0)
    with pytest.raises(ValueError, match="validation_steps"):
        model.fit(A, Y_A, validation_data=iter([(A, Y_A)]), verbose=0)
    with pytest.raises(ValueError, match="steps"):
        model.evaluate_generator(iter([(A, Y_A)]))
    with pytest.raises(ValueError, match="steps"):
        model.predict_generator(iter([A]))


def test_a_validation_split_with_a_generator_is_refused():
    with pytest.raises(ValueError, match="validation_split"):
        one(4).fit(iter([(A, Y_A)]), steps_per_epoch=1, validation_split=0.5, verbose=0)


# ---------------------------------------------------------------------- target_tensors


TENSORS = [torch.tensor(Y_A, dtype=torch.float32), torch.tensor(Y_B, dtype=torch.float32)]


@pytest.mark.parametrize("targets", [TENSORS, {"dropout": TENSORS[0], "other": TENSORS[1]}], ids=["list", "dict"])
def test_targets_from_tensors(targets):
    model = two_by_two(loss="mse", target_tensors=targets)
    plain = two_by_two(loss="mse")
    plain.set_weights(model.get_weights())
    assert model.test_on_batch([A, B], None) == pytest.approx(plain.test_on_batch([A, B], [Y_A, Y_B]))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (TENSORS[:1], "2 outputs"),
        ([*TENSORS, TENSORS[0]], "2 outputs"),
        ({"lstm": TENSORS[0]}, "lstm"),
        (TENSORS[0], "expected to be a list or dict"),
    ],
    ids=["short list", "long list", "unknown name", "single"],
)
def test_targets_from_tensors_that_do_not_fit(targets, message):
    with pytest.raises(ValueError, match=message):
        two_by_two(loss="mse", target_tensors=targets)


def test_targets_from_tensors_and_y_as_well_are_refused():
    model = two_by_two(loss="mse", target_tensors=TENSORS)
    with pytest.raises(ValueError):
        model.train_on_batch([A, B], [Y_A, Y_B])


# ---------------------------------------------------------------------- sample weights


@pytest.mark.parametrize("form", ["list", "dict", "none"])
def test_weights_for_some_of_the_outputs(form):
    weight = np.arange(10.0)
    model, plain = two_by_two(loss="mse"), two_by_two(loss="mse")
    plain.set_weights(model.get_weights())
    given = {"list": [None, weight], "dict": {"other": weight}, "none": [None, None]}[form]
    _, first, second = model.test_on_batch([A, B], [Y_A, Y_B], sample_weight=given)
    _, first_plain, second_plain = plain.test_on_batch([A, B], [Y_A, Y_B])
    values = np.square(model.predict([A, B])[1] - Y_B).mean(1)
    assert first == pytest.approx(first_plain)
    assert second == pytest.approx(second_plain if form == "none" else (values * weight).sum() / 10, rel=1e-5)


@pytest.mark.parametrize("loss", ["mean_squared_error", "mae", "binary_crossentropy", losses.mean_squared_error])
@pytest.mark.parametrize("weights", ["sample", "class", "both"])
def test_the_loss_and_the_same_weighted_metric_agree_to_six_decimals(loss, weights):
    x = Input(shape=(3,))
    model = Model(x, Dense(1, activation="sigmoid")(Dense(8)(x)))
    model.compile("rmsprop", loss, metrics=[loss], weighted_metrics=[loss])
    y = (A[:, 0] > 0).astype("float32")
    options = {"sample_weight": RANDOM.uniform(size=10)} if weights != "class" else {}
    if weights != "sample":
        options["class_weight"] = {0: 3.0, 1: 0.25}
    history = model.fit(A, y, batch_size=4, epochs=3, verbose=0, **options).history
    plain, weighted = (history[name] for name in list(history)[1:])
    np.testing.assert_array_almost_equal(history["loss"], weighted, decimal=6)
    assert not np.allclose(plain, weighted)


def test_targets_as_a_plain_list():
    model = one()
    expected = model.test_on_batch(A[:2], np.array([0, 1]))
    assert model.test_on_batch(A[:2], [0, 1]) == expected
    model.fit(A[:2], [0, 1], epochs=2, verbose=0)


@pytest.mark.parametrize("loss", [{"dropout": "mse"}, ["mse", None]], ids=["dict", "list"])
@pytest.mark.parametrize("metrics", [None, {"dropout": ["mae"], "other": ["mae"]}], ids=["no metrics", "metrics"])
def test_a_loss_for_only_some_outputs(loss, metrics):
    model = two_by_two(loss=loss, metrics=metrics)
    for call in (
        model.train_on_batch,
        model.test_on_batch,
        functools.partial(model.fit, verbose=0),
        functools.partial(model.evaluate, verbose=0),
    ):
        call([A, B], Y_A)
    assert not [name for name in model.metrics_names if name.startswith("other")]


# ---------------------------------------------------------------------- regularizers


ACTIVITY = 0.01 * float(np.abs(A).sum())


def identity(size, **options):
    return Dense(size, kernel_initializer=lambda shape, dtype: torch.eye(*shape), use_bias=False, **options)


@pytest.mark.parametrize("nested", [0, 1, 2])
@pytest.mark.parametrize("calls", [1, 2])
def test_activity_regularizers_count_in_nested_and_shared_models_and_are_not_divided_by_the_batch_size(nested, calls):
    layer = identity(3, activity_regularizer=regularizers.l1(0.01), input_shape=(3,))
    for _ in range(nested):
        layer = Sequential([layer])
    x = Input(shape=(3,))
    y = x
    for _ in range(calls):
        y = layer(y)
    model = Model(x, y)
    model.compile("sgd", "mse")
    assert model.evaluate(A, A, verbose=0) == pytest.approx(calls * ACTIVITY, rel=1e-5)
    assert model.test_on_batch(A, A) == pytest.approx(calls * ACTIVITY, rel=1e-5)


@pytest.mark.parametrize("argument", ["kernel_regularizer", "bias_regularizer", "activity_regularizer"])
def test_plain_functions_are_regularizers(argument):
    x = Input(shape=(3,))
    model = Model(x, Dense(3, kernel_initializer="ones", bias_initializer="ones", **{argument: lambda values: 0 * values.sum() + 7.0})(x))
    model.compile("sgd")
    expected = 7.0
    assert model.evaluate(A, verbose=0) == pytest.approx(expected)


# ---------------------------------------------------------------------- trainable


def test_trainable_weights_are_compared_as_lists():
    model = two_by_two()
    assert model.trainable_weights == model.weights
    model.trainable = False
    assert model.trainable_weights == [] and model.non_trainable_weights == model.weights
    model.trainable = True
    assert model.trainable_weights == model.weights and model.non_trainable_weights == []


def test_trainable_is_counted_through_layers_and_models():
    inner = Sequential([Dense(2, input_dim=3), Dense(1)])
    inner.layers[0].trainable = False
    assert inner.trainable_weights == inner.layers[1].trainable_weights
    outer = Sequential([inner])
    assert outer.trainable_weights == inner.layers[1].trainable_weights
    outer.trainable = False
    assert outer.trainable_weights == [] and len(outer.non_trainable_weights) == 4


def test_a_frozen_layer_keeps_its_weights_and_a_thawed_one_moves_them():
    x = RANDOM.normal(size=(5, 3))
    model = Sequential([Dense(2, trainable=False, input_dim=3)])
    model.compile("rmsprop", "mse")
    before = model.predict(x)
    model.train_on_batch(x, RANDOM.normal(size=(5, 2)))
    np.testing.assert_array_equal(before, model.predict(x))
    model.trainable = True
    model.compile("rmsprop", "mse")
    model.train_on_batch(x, RANDOM.normal(size=(5, 2)))
    assert not np.allclose(before, model.predict(x))


@pytest.mark.parametrize("use", ["summary", "fit"])
@pytest.mark.parametrize("where", ["model", "layer", "nested"])
def test_a_change_of_trainable_after_compile_is_warned_of_until_compiled_again(use, where):
    inner = Sequential([Dense(3, input_shape=(3,)), Dense(3)])
    model = Sequential([inner, Dense(1)])
    model.compile("sgd", "mse")

    def run():
        if use == "summary":
            model.summary(print_fn=lambda line: None)
        else:
            model.fit(A, Y_A[:, :1], verbose=0)

    run()
    {"model": model, "layer": model.layers[1], "nested": inner.layers[0]}[where].trainable = False
    with pytest.warns(UserWarning, match="Discrepancy between trainable weights and collected trainable weights"):
        run()
    model.compile("sgd", "mse")
    run()


# ---------------------------------------------------------------------- configurations


def heterogeneous():
    x = Input(shape=(3,))
    a, b = Dense(3, name="A"), Dense(3, name="B")
    return Model(x, a(b(a(b(x)))))


def heterogeneous_with_concat():
    x = Input(shape=(3,))
    a, b, merged = Dense(3, name="A"), Dense(3, name="B"), Dense(3, name="C")
    first = merged(a(b(x)))
    return Model(x, concatenate([first, merged(first), b(x)]))


def nested_twice():
    x, inner_x = Input(shape=(3,)), Input(shape=(3,))
    inner = Model(inner_x, Dense(3)(Sequential([Dense(3, input_shape=(3,))])(inner_x)), name="inner")
    return Model(x, inner(Dense(3)(inner(x))))


@pytest.mark.parametrize("make", [heterogeneous, heterogeneous_with_concat, nested_twice])
def test_nested_models_and_layers_at_several_depths_survive_a_config(make):
    model = make()
    again = Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.predict(A), model.predict(A), rtol=1e-5)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_numpy_integers_are_integers(kind):
    x = Input(shape=(kind(3),))
    model = Model(x, Dense(kind(2))(x))
    assert model.output_shape == (None, 2) and model.get_config()
    words = Input(shape=(kind(4),))
    assert Model(words, Embedding(kind(5), kind(2))(words)).output_shape == (None, 4, 2)


# ---------------------------------------------------------------------- epochs and batches


def test_initial_epoch_counts():
    seen = []

    class Watch(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)

    history = one().fit(A, Y_A[:, :1], initial_epoch=2, epochs=5, verbose=0, callbacks=[Watch()])
    assert seen == history.epoch == [2, 3, 4]
    assert len(history.history["loss"]) == 3


def test_an_initial_epoch_at_the_end_runs_nothing():
    assert one().fit(A, Y_A[:, :1], initial_epoch=5, epochs=5, verbose=0).epoch == []


def test_batch_indices_restart_each_epoch():
    seen = []

    class Watch(callbacks.Callback):
        def on_batch_begin(self, batch, logs=None):
            seen.append((batch, logs["batch"], logs["size"]))

    one().fit(A, Y_A[:, :1], batch_size=4, epochs=2, verbose=0, callbacks=[Watch()])
    assert seen == [(0, 0, 4), (1, 1, 4), (2, 2, 2)] * 2


# ---------------------------------------------------------------------- and the rest


def test_predict_generator_takes_bare_x_and_pairs():
    model = one()
    for batch in (A, (A, Y_A)):
        assert model.predict_generator(iter([batch] * 2), steps=2).shape == (20, 1)


def test_sequential_predicts_classes_and_probabilities():
    model = Sequential([Dense(4, activation="softmax", input_shape=(3,))])
    np.testing.assert_array_equal(model.predict_classes(A), model.predict(A).argmax(1))
    np.testing.assert_array_equal(model.predict_proba(A), model.predict(A))
    binary = Sequential([Dense(1, activation="sigmoid", input_shape=(3,))])
    np.testing.assert_array_equal(binary.predict_classes(A), (binary.predict(A) > 0.5).astype("int32"))


def test_the_learning_rate_of_the_optimizer_is_read_and_set():
    model = one()
    assert model.optimizer.lr == 0.01
    model.optimizer.lr = 0.5
    assert model.optimizer.lr == model.optimizer.learning_rate == 0.5


def test_the_model_of_a_callback_can_be_assigned():
    callback, model = callbacks.LambdaCallback() if hasattr(callbacks, "LambdaCallback") else callbacks.Callback(), one()
    callback.model = model
    assert callback.model is model


@pytest.mark.parametrize(
    ("y", "loss", "units"), [(to_categorical(np.arange(10) % 4, 4), "categorical_crossentropy", 4), (np.arange(10) % 4, "scce", 4)]
)
def test_a_classifier_has_the_names_of_its_figures_as_typed(y, loss, units):
    model = Sequential([Dense(8, activation="relu", input_dim=3), Dense(units, activation="softmax")])
    model.compile("adam", loss, metrics=["acc"])
    history = model.fit(A, y, epochs=2, batch_size=5, verbose=0, validation_data=(A, y)).history
    assert sorted(history) == ["acc", "loss", "val_acc", "val_loss"]
    assert history["val_accuracy"] == history["val_acc"]


def test_a_lambda_layer_and_a_custom_loss_with_arguments():
    def pinball(quantile):
        def loss(y_true, y_pred):
            error = y_true - y_pred
            return torch.maximum(quantile * error, (quantile - 1) * error).mean(-1)

        return loss

    x = Input(shape=(3,))
    model = Model(x, Lambda(lambda t: t.mean(-1, keepdim=True))(x))
    model.add_loss(x.mean() * 0)
    model.compile("sgd", pinball(0.9), metrics=[pinball(0.5)])
    loss, median = model.evaluate(A, np.zeros(10), verbose=0)
    prediction = A.mean(1)
    assert loss == pytest.approx(np.maximum(-0.9 * prediction, 0.1 * prediction).mean(), rel=1e-4)
    assert median == pytest.approx(np.abs(prediction).mean() / 2, rel=1e-4)


@pytest.mark.parametrize(("steps", "batches"), [(10 / 4, 3), (np.ceil(2.5), 3), (2.0, 2)])
def test_a_part_of_a_step_is_one_more(steps, batches):
    history = one(4).fit_generator(iter([(A, Y_A)] * 9), steps_per_epoch=steps, verbose=0)
    assert history.params["steps"] == batches


def test_a_layer_is_put_in_by_walking_along_the_calls():
    """A widely copied recipe draws a model anew layer by layer, by what reads each of them."""
    x = Input(shape=(3,))
    h = Dense(3, name="first")(x)
    model = Model(x, add([h, Dense(3, name="second")(h)]))
    readers = {layer.name: [node.outbound_layer.name for node in layer._outbound_nodes] for layer in model.layers}
    made = {model.layers[0].name: model.input}
    for layer in model.layers[1:]:
        read = [made[name] for name in made if layer.name in readers[name]]
        made[layer.name] = layer(read[0] if len(read) == 1 else read)
        if layer.name == "second":
            made[layer.name] = Lambda(lambda tensor: tensor * 0)(made[layer.name])
    changed = Model(model.input, made[model.layers[-1].name])
    np.testing.assert_allclose(changed.predict(A), Model(x, h).predict(A), rtol=1e-6)


def test_a_head_is_taken_off_a_list_of_layers():
    """As in `model.layers.pop()`, then a new head on `model.layers[-1].output`."""
    x = Input(shape=(3,))
    model = Model(x, Dense(2, activation="softmax", name="head")(Dense(5, name="body")(x)))
    before = model.predict(A)
    assert model.layers.pop().name == "head"
    assert model.layers[-1].name == "body" and model.layers[-1].output.shape == (None, 5)
    np.testing.assert_array_equal(model.predict(A), before)
    assert [layer.name for layer in copy.deepcopy(model).layers] == [layer.name for layer in clone_model(model).layers]
    assert len(model.get_weights()) == 4
