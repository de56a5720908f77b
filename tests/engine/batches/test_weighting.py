"""Weights of samples, steps and classes."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from torchkeras_fn import Input, Model, Sequential, Trainer
from torchkeras_fn.engine.batches.columns import column
from torchkeras_fn.engine.batches.weighting import ClassWeights, check_modes, check_sample_weight, one_per_sample
from torchkeras_fn.layers import Dense, Permute
from torchkeras_fn.losses import CategoricalCrossentropy


def check(weight_shape, target_shape, mode=None, output_shape=None):
    shapes = [output_shape or (None, *target_shape[1:])]
    check_sample_weight([column(np.ones(weight_shape), "w")], [column(np.ones(target_shape), "y")], shapes, [mode])


def test_a_number_per_sample_fits_every_output():
    check((4,), (4, 2)), check((4,), (4, 5, 2))


def test_a_number_per_step_fits_a_temporal_output():
    check((4, 5), (4, 5, 2), "temporal")


@pytest.mark.parametrize(
    ("weight", "target", "output"),
    [
        ((4, 5, 6), (4, 5, 6, 3), None),  # the pixels of an image, each of which has channels
        ((4, 5, 6, 1), (4, 5, 6, 3), None),
        ((4, 5, 6), (4, 5, 6), (None, 5, 6, 3)),  # whose targets are class indices
        ((4, 5, 6), (4, 5, 6, 1), (None, None, None, 3)),
        ((4, 5, 6), (4, 5, 6), None),  # a value for each
        ((4, 1, 5, 6), (4, 3, 5, 6), None),  # channels first
        ((4, 7, 5, 6), (4, 7, 5, 6, 3), None),
    ],
)
def test_a_number_per_pixel_fits_what_has_such_pixels(weight, target, output):
    check(weight, target, output_shape=output)


def pixels(loss, weight, **options):
    images, targets = torch.rand(6, 4, 5, 3), (torch.rand(6, 4, 5, 1) > 0.5).float()
    model = Sequential([Input((4, 5, 3)), Dense(1, activation="sigmoid")])
    model.compile("sgd", loss, **options)
    error = torch.from_numpy(model.predict(images)) - targets
    return model, images, targets, error, torch.rand(6, *weight)


@pytest.mark.parametrize("weight", [(4, 5), (4, 5, 1)])
@pytest.mark.parametrize("source", ["arrays", "loader", "generator", "batch"])
def test_pixels_are_weighed_out_of_every_kind_of_data(weight, source):
    model, x, y, error, given = pixels("mse", weight)
    if source == "arrays":
        found = model.evaluate(x, y, sample_weight=given, batch_size=2, verbose=0)
    elif source == "loader":
        found = model.evaluate(DataLoader(TensorDataset(x, y, given), 2), verbose=0)
    elif source == "generator":
        found = model.evaluate(iter([(x.numpy(), y.numpy(), given.numpy())]), steps=1, verbose=0)
    else:
        found = model.test_on_batch(x, y, sample_weight=given)
    assert found == pytest.approx(float((error.square().squeeze(-1) * given.reshape(6, 4, 5)).mean()), rel=1e-5)


def test_pixels_without_channels_are_weighed_one_by_one():
    net, x, y = torch.nn.Conv2d(1, 1, 1), torch.rand(3, 1, 4, 5), (torch.rand(3, 4, 5) > 0.5).float()
    weight = torch.rand(3, 4, 5)

    class Net(Trainer, torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x).squeeze(1)

    model = Net()
    model.compile("sgd", torch.nn.BCEWithLogitsLoss(), weighted_metrics=["mse"])
    loss, error = model.test_on_batch(x, y, sample_weight=weight)
    logits = net(x).squeeze(1).detach()
    values = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
    assert loss == pytest.approx(float((values * weight).mean()), rel=1e-5)
    assert error == pytest.approx(float(((logits - y).square() * weight).mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("weight", "target", "mode", "message"),
    [
        ((4, 5, 6), (4, 6, 5), None, r"first axes of \(None, 6, 5\)"),
        ((4, 5, 6, 3), (4, 5, 6, 2), None, r"shape \(4, 5, 6, 3\)"),
        ((4, 5), (4, 5, 2), None, "sample_weight_mode='temporal'"),
        ((4, 2), (4, 1), None, "one number per sample"),
        ((4, 5, 1), (4, 5, 2), None, r"shape \(4, 5, 1\)"),
        ((4, 5, 1), (4, 5, 2), "temporal", r"shape \(4, 5, 1\)"),
        ((4, 5), (4, 2), "temporal", "this one has 2 dimensions"),
        ((4,), (4, 5, 2), "temporal", r"is \(samples, steps\), got shape \(4,\)"),
        ((4, 3), (4, 5, 2), "temporal", "does not fit targets"),
    ],
)
def test_weights_of_another_rank_are_refused(weight, target, mode, message):
    with pytest.raises(ValueError, match=message):
        check(weight, target, mode)


@pytest.mark.parametrize(("mode", "shape"), [(None, (4,)), ("samplewise", (4,)), ("temporal", (4, 1))])
def test_a_column_of_weights_is_a_number_per_sample_unless_steps_are_weighed(mode, shape):
    [found, nothing] = one_per_sample([column(np.ones((4, 1)), "w"), None], [mode, None])
    assert found.shape == shape and nothing is None


def test_outputs_without_weights_are_not_looked_at():
    check_sample_weight([None], [None], [(None, 1)], ["temporal"])


def test_one_mode_is_for_all_outputs():
    assert check_modes("temporal", ["a", "b"]) == ["temporal"] * 2 and check_modes(None, ["a"]) == [None]


def test_modes_go_by_order_or_by_name():
    assert check_modes(["temporal", None], ["a", "b"]) == check_modes({"b": None, "a": "temporal"}, ["a", "b"]) == ["temporal", None]


@pytest.mark.parametrize(
    ("modes", "error"),
    [
        ("daily", ValueError),
        (["temporal"], ValueError),
        ({"a": "temporal"}, ValueError),
        ({"a": None, "b": None, "c": None}, ValueError),
        ({"temporal"}, (TypeError, ValueError)),
    ],
)
def test_modes_that_do_not_fit_are_refused(modes, error):
    with pytest.raises(error, match="sample_weight_mode"):
        check_modes(modes, ["a", "b"])


def weights_of(target, class_weight, given=None, indices=False, classes=3):
    target = torch.as_tensor(target)
    return ClassWeights(class_weight, ["a"], [indices], [classes]).combine([target], [given])[0].tolist()


@pytest.mark.parametrize("target", [[0, 2, 1], [[0], [2], [1]], [0.0, 2.0, 1.0]])
def test_integer_targets_take_the_weight_of_their_class(target):
    assert weights_of(target, {0: 2.0, 2: 3.0}, indices=True) == [2.0, 3.0, 1.0]


@pytest.mark.parametrize("dtype", [float, bool, int])
def test_one_hot_targets_take_the_weight_of_their_class(dtype):
    assert weights_of(np.eye(3, dtype=dtype)[[0, 2, 1]], {0: 2.0, 2: 3.0}) == [2.0, 3.0, 1.0]


@pytest.mark.parametrize("target", [[0.0, 1.0], [[0.0], [1.0]], [False, True]])
def test_binary_targets_take_the_weight_of_their_class(target):
    assert weights_of(target, {1: 5.0}, classes=2) == [1.0, 5.0]


def test_temporal_targets_take_a_weight_for_each_step():
    assert weights_of([[0, 1], [2, 0]], {0: 2.0, 2: 3.0}, indices=True) == [[2.0, 1.0], [3.0, 2.0]]
    assert weights_of([[[0.0, 1.0], [1.0, 0.0]]], {0: 2.0}, classes=2) == [[1.0, 2.0]]


@pytest.mark.parametrize("dtype", [int, float, bool])
def test_masks_take_a_weight_for_each_pixel(dtype):
    mask = np.array([[[0, 1, 1], [1, 1, 0]]], dtype=dtype)
    assert weights_of(mask, {1: 5.0}, classes=None) == [[[1.0, 5.0, 5.0], [5.0, 5.0, 1.0]]]


def test_whole_numbers_beyond_1_are_classes_and_no_rows_of_them():
    assert weights_of([[0, 2, 1]], {2: 5.0}, classes=None) == [[1.0, 5.0, 1.0]]
    assert weights_of([[0, -100, 1]], {1: 5.0}, classes=None) == [[1.0, 1.0, 5.0]]


def test_shares_of_classes_for_each_step_weigh_as_the_largest_and_steps_may_be_empty():
    assert weights_of([[[0.9, 0.1], [0.2, 0.8], [0.0, 0.0]]], {1: 5.0}, classes=2) == [[1.0, 5.0, 1.0]]


def test_the_first_batch_tells_where_the_classes_are():
    weights = ClassWeights({1: 5.0}, ["a"], [False], [None])
    [weights.combine([torch.tensor(batch)], [None]) for batch in ([[0, 2]], [[0, 1]])]
    assert weights.combine([torch.tensor([[0, 1]])], [None])[0].tolist() == [[1.0, 5.0]]


def test_classes_weigh_the_pixels_of_a_segmentation():
    images, classes, weight = torch.rand(4, 3, 5, 6), torch.randint(0, 3, (4, 5, 6)), torch.tensor([1.0, 2.0, 5.0])

    class Net(Trainer, torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.net(x)

    model = Net()
    values = torch.nn.functional.cross_entropy(model(images), classes, reduction="none").detach()
    model.compile("sgd", torch.nn.CrossEntropyLoss())
    found = model.train_on_batch(images, classes, class_weight={1: 2.0, 2: 5.0})
    assert found == pytest.approx(float((values * weight[classes]).mean()), rel=1e-5)


class Scores(Trainer, torch.nn.Module):
    """Scores of classes along axis 1, for each step."""

    def __init__(self, classes=2):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Conv1d(2, classes, 1)

    def forward(self, x):
        return self.net(x)


STEPS = torch.rand(4, 2, 5)


@pytest.mark.parametrize("classes", [torch.zeros(4, 5).long(), torch.tensor([0, 1, 1, 0, 1]).expand(4, 5)], ids=["one class", "both"])
@pytest.mark.parametrize("is_column", [False, True])
def test_classes_weigh_the_steps_of_a_loss_of_torch_whose_first_batch_might_be_one_hot(classes, is_column):
    model = Scores()
    values = torch.nn.functional.cross_entropy(model(STEPS), classes, reduction="none").detach()
    model.compile("sgd", torch.nn.CrossEntropyLoss())
    found = model.train_on_batch(STEPS, classes.unsqueeze(-1) if is_column else classes, class_weight={0: 3.0, 1: 5.0})
    assert found == pytest.approx(float((values * torch.tensor([3.0, 5.0])[classes]).mean()), rel=1e-5)


def test_shares_of_classes_lie_along_axis_1_for_a_loss_of_torch():
    model, classes = Scores(), torch.tensor([[0, 1, 1, 0, 1]]).expand(4, 5)
    shares = torch.nn.functional.one_hot(classes, 2).transpose(1, 2).float()
    values = torch.nn.functional.cross_entropy(model(STEPS), shares, reduction="none").detach()
    model.compile("sgd", torch.nn.CrossEntropyLoss())
    found = model.train_on_batch(STEPS, shares, class_weight={0: 3.0, 1: 5.0})
    assert found == pytest.approx(float((values * torch.tensor([3.0, 5.0])[classes]).mean()), rel=1e-5)


def test_class_indices_with_an_axis_of_their_own_are_no_shares_though_the_sizes_are_alike():
    weights = ClassWeights({1: 2.0}, ["a"], [False], [3], [(None, 3, 3, 3)], [1])
    indices = torch.tensor([[0, 1, 2], [1, 1, 0], [2, 2, 1]]).reshape(1, 3, 3, 1)
    [found] = weights.combine([indices], [None])
    assert found.tolist() == [[[1.0, 2.0, 1.0], [2.0, 2.0, 1.0], [1.0, 1.0, 2.0]]]


def test_classes_lie_along_the_axis_of_the_loss():
    model, classes = Scores(3), torch.tensor([[0, 1, 2, 0, 1]]).expand(4, 5)
    values = torch.nn.functional.cross_entropy(model(STEPS), classes, reduction="none").detach()
    model.compile("sgd", CategoricalCrossentropy(from_logits=True, axis=1))
    one_hot = torch.nn.functional.one_hot(classes, 3).transpose(1, 2).float()
    found = model.train_on_batch(STEPS, one_hot, class_weight={0: 3.0, 2: 5.0})
    assert found == pytest.approx(float((values * torch.tensor([3.0, 1.0, 5.0])[classes]).mean()), rel=1e-5)


def test_the_classes_of_a_drawn_model_are_counted_along_axis_1_for_a_loss_of_torch():
    x = Input((6, 2))
    model = Model(x, Permute((2, 1))(x))  # two classes, six steps
    model.compile("sgd", torch.nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.train_on_batch(np.ones((4, 6, 2)), np.zeros((4, 6), int), class_weight={5: 2.0})


def test_modes_in_a_list_are_for_as_many_outputs_as_there_will_be():
    assert check_modes(["temporal", None], None) == ["temporal", None]


def test_class_weights_multiply_sample_weights():
    assert weights_of([0, 1], {0: 2.0}, torch.tensor([3.0, 4.0]), indices=True) == [6.0, 4.0]


def test_weights_per_step_and_per_sample_multiply():
    assert weights_of([[0, 1]], {0: 2.0}, torch.tensor([3.0]), indices=True) == [[6.0, 3.0]]
    assert weights_of([0], {0: 2.0}, torch.tensor([[3.0, 1.0]]), indices=True) == [[6.0, 2.0]]


@pytest.mark.parametrize("target", [[7], [-1]])
def test_a_target_that_names_no_class_weighs_1(target):
    assert weights_of(target, {0: 5.0, 1: 4.0}, indices=True) == [1.0]


def test_an_empty_dict_weighs_nothing_up():
    assert ClassWeights({}, ["a"], [True], [3]).combine([torch.tensor([0])], [None]) == [None]


def two(class_weight):
    targets = [torch.tensor([0, 1]), torch.tensor([0, 1])]
    found = ClassWeights(class_weight, ["a", "b"], [True, True], [2, 2]).combine(targets, [None, None])
    return [None if part is None else part.tolist() for part in found]


@pytest.mark.parametrize("class_weight", [{"b": {1: 3.0}}, [None, {1: 3.0}], (None, {1: 3.0})])
def test_outputs_have_class_weights_by_name_or_order(class_weight):
    assert two(class_weight) == [None, [1.0, 3.0]]


@pytest.mark.parametrize(
    ("class_weight", "error", "message"),
    [
        ({0: 1.0}, ValueError, "2 outputs"),
        ([{0: 1.0}], ValueError, "1 entries for 2 outputs: a list holds one dict from class to weight for each"),
        ({"c": {0: 1.0}}, ValueError, "'c'.*no output"),
        ({"a": {5: 1.0}}, ValueError, "class 5.*between 0 and 1"),
        ({"a": {-1: 1.0}}, ValueError, "class -1"),
        ({"a": {0.5: 1.0}}, ValueError, "class 0.5"),
        *(({"a": {1: bad}}, ValueError, "for class 1, but a weight is") for bad in (np.nan, np.inf, -1, "2", None, 1j, [1], np.ones(2))),
        ("balanced", TypeError, "got str"),
        ([1.0, 2.0], TypeError, "got a float"),
    ],
)
def test_class_weights_that_do_not_fit_are_refused(class_weight, error, message):
    with pytest.raises(error, match=message):
        two(class_weight)


@pytest.mark.parametrize("classes", [[0.0, 1.0], np.array([0, 1], "float32"), np.array([False, True])])
def test_what_numpy_says_is_unique_in_the_targets_names_classes(classes):
    assert weights_of([[1.0], [0.0]], dict(zip(np.unique(classes), [2.0, 3.0], strict=True)), classes=2) == [3.0, 2.0]


@pytest.mark.parametrize("weight", [2, 2.0, np.float32(2), np.int64(2), np.array(2.0), torch.tensor(2.0)])
def test_a_weight_may_be_any_real_number(weight):
    assert weights_of([1, 0], {1: weight}, indices=True) == [2.0, 1.0]


def test_where_nothing_is_known_of_the_classes_they_may_be_negative():
    assert weights_of([[1.0], [-1.0], [0.0], [-7.0]], {-1: 2.0, 1: 3.0}, classes=None) == [3.0, 2.0, 1.0, 1.0]


def test_numpy_integers_name_classes():
    assert weights_of([1], {np.int64(1): np.float32(2)}, indices=True) == [2.0]
