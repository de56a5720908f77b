"""Functions of one's own and torch's losses, as losses."""

import copy
import functools
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import losses, metrics

P = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]])
ONE_HOT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
CLASSES = torch.tensor([0, 2])
BITS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])


# ---------------------------------------------------------------------- functions of one's own


def test_a_function_is_called_with_targets_first_and_aligned():
    seen = []

    def asymmetric(y_true, y_pred):
        seen.append((y_true.shape, y_pred.shape))
        return (y_pred - 2 * y_true).mean(-1)

    assert losses.as_loss(asymmetric)(torch.ones(4), torch.full((4, 1), 5.0)).item() == 3.0
    assert seen == [((4, 1), (4, 1))]


def test_a_function_may_return_a_scalar_also_with_weights():
    loss = losses.as_loss(lambda y_true, y_pred: (y_true - y_pred).abs().mean())
    assert loss(torch.zeros(2, 1), torch.ones(2, 1)).item() == 1.0
    assert loss(torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([1.0, 3.0])).item() == 2.0


def test_a_function_may_take_targets_of_a_shape_of_its_own():
    loss = losses.as_loss(lambda y_true, y_pred: (y_pred * y_true[:, :1]).mean(-1))
    assert loss(torch.ones(2, 5), torch.full((2, 3), 4.0)).item() == 4.0


def test_a_partial_and_an_object_that_is_called_are_functions():
    class Scaled:
        def __call__(self, y_true, y_pred):
            return 3 * (y_true - y_pred).abs().mean(-1)

    assert losses.as_loss(Scaled())(torch.zeros(2, 1), torch.ones(2, 1)).item() == 3.0
    smoothed = functools.partial(losses.categorical_crossentropy, label_smoothing=0.3)
    torch.testing.assert_close(losses.as_loss(smoothed)(ONE_HOT, P), losses.CategoricalCrossentropy(label_smoothing=0.3)(ONE_HOT, P))


# ---------------------------------------------------------------------- torch's own losses


@pytest.mark.parametrize(
    ("theirs", "y_true", "y_pred"),
    [
        (nn.MSELoss(), BITS, P),
        (nn.L1Loss(), BITS, P),
        (nn.SmoothL1Loss(), BITS, P),
        (nn.HuberLoss(delta=0.1), BITS, P),
        (nn.BCELoss(), BITS, P),
        (nn.BCEWithLogitsLoss(), BITS, P),
        (nn.PoissonNLLLoss(), BITS, P),
        (nn.CrossEntropyLoss(), CLASSES, P),
        (nn.CrossEntropyLoss(), ONE_HOT, P),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])), CLASSES, P),
        (nn.NLLLoss(), CLASSES, P.log()),
        (nn.MultiMarginLoss(), CLASSES, P),
        (F.mse_loss, BITS, P),
        (F.cross_entropy, CLASSES, P),
        (functools.partial(F.smooth_l1_loss, beta=0.1), BITS, P),
        (functools.partial(F.mse_loss, reduction="sum"), BITS, P),
    ],
    ids=str,
)
def test_torch_losses_are_called_in_torchs_order(theirs, y_true, y_pred):
    torch.testing.assert_close(losses.as_loss(theirs)(y_true, y_pred), theirs(y_pred, y_true))


@pytest.mark.parametrize(
    ("theirs", "y_true", "y_pred"),
    [
        (nn.MSELoss(), BITS, P),
        (F.l1_loss, BITS, P),
        (nn.CrossEntropyLoss(), CLASSES, P),
        (F.cross_entropy, CLASSES, P),
        (functools.partial(F.mse_loss, reduction="mean"), BITS, P),
    ],
    ids=str,
)
def test_torch_losses_take_sample_weights(theirs, y_true, y_pred):
    values = [theirs(y_pred[i : i + 1], y_true[i : i + 1]).item() for i in range(2)]
    weighted = losses.as_loss(theirs)(y_true, y_pred, torch.tensor([3.0, 0.5])).item()
    assert weighted == pytest.approx((3 * values[0] + 0.5 * values[1]) / 2, rel=1e-5)


def test_torch_losses_take_weights_per_step():
    y_pred, weight = torch.rand(2, 3, 5), torch.rand(2, 3)
    torch.testing.assert_close(
        losses.as_loss(nn.MSELoss())(torch.zeros(2, 3, 5), y_pred, weight), losses.MeanSquaredError()(torch.zeros(2, 3, 5), y_pred, weight)
    )


def test_torch_classification_losses_have_the_classes_on_axis_one():
    y_pred, y_true = torch.randn(2, 5, 3), torch.randint(0, 5, (2, 3))
    weight = torch.rand(2, 3)
    per_step = F.cross_entropy(y_pred, y_true, reduction="none")
    torch.testing.assert_close(losses.as_loss(nn.CrossEntropyLoss())(y_true, y_pred), per_step.mean())
    torch.testing.assert_close(losses.as_loss(nn.CrossEntropyLoss())(y_true, y_pred, weight), (per_step * weight).mean())


@pytest.mark.parametrize("classes", [CLASSES.int(), CLASSES.unsqueeze(1), CLASSES.float().int().unsqueeze(1)])
def test_torch_classification_losses_take_any_integers_also_as_a_column(classes):
    torch.testing.assert_close(losses.as_loss(nn.CrossEntropyLoss())(classes, P), F.cross_entropy(P, CLASSES))


@pytest.mark.parametrize("shape", [(5,), (2, 3), (4, 2), (1,)])
def test_torch_classification_losses_refuse_targets_that_do_not_fit(shape):
    with pytest.raises(ValueError, match="do not fit|Class indices"):
        losses.as_loss(nn.CrossEntropyLoss())(torch.zeros(shape, dtype=torch.int64), torch.zeros(4, 3))


def test_column_targets_of_a_torch_loss_are_aligned_and_integers_become_floats():
    torch.testing.assert_close(losses.as_loss(nn.BCEWithLogitsLoss())(torch.tensor([1, 0]), torch.zeros(2, 1)), torch.tensor(2.0).log())


def test_the_reduction_of_a_torch_loss_is_its_own_and_stays_as_it_was():
    theirs = nn.MSELoss(reduction="sum")
    ours = losses.as_loss(theirs)
    assert ours(BITS, P).item() == pytest.approx(theirs(P, BITS).item())
    ours(BITS, P, torch.ones(2))
    assert theirs.reduction == "sum"


def test_a_torch_module_of_ones_own_is_called_in_torchs_order():
    class Ratio(nn.Module):
        def forward(self, prediction, target):
            return (prediction / target).mean()

    assert losses.as_loss(Ratio())(torch.full((2, 1), 2.0), torch.full((2, 1), 8.0)).item() == 4.0


@pytest.mark.parametrize(
    ("function", "torchs"),
    [
        (F.mse_loss, True),
        (functools.partial(F.mse_loss), True),
        (nn.L1Loss(), True),
        (losses.mse, False),
        (lambda y_true, y_pred: y_pred, False),
    ],
)
def test_whose_order_a_loss_is_called_in(function, torchs):
    assert losses.in_torch_order(function) == torchs


@pytest.mark.parametrize("theirs", [nn.CrossEntropyLoss(), F.mse_loss, losses.mse], ids=str)
def test_wrapped_losses_are_copied_and_pickled(theirs):
    loss = losses.as_loss(theirs)
    y_true = CLASSES if isinstance(theirs, nn.Module) else BITS
    for again in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(again(y_true, P), loss(y_true, P))


def test_wrapped_losses_have_no_form_on_logits():
    assert losses.FunctionLoss(losses.mse).on_logits("softmax") is None
    assert losses.TorchLoss(nn.CrossEntropyLoss()).on_logits("softmax") is None


def test_names():
    class Scaled:
        def __call__(self, y_true, y_pred):
            return y_pred

    def distance(y_true, y_pred):
        return y_pred

    assert losses.FunctionLoss(distance).name == "distance"
    assert losses.FunctionLoss(Scaled()).name == "scaled"
    assert losses.TorchLoss(nn.MSELoss()).name == "MSELoss"


def test_a_torch_loss_sees_the_types_it_is_given():
    seen = []

    class Watching(nn.Module):
        def forward(self, prediction, target):
            seen.append(prediction.dtype)
            return prediction.mean()

    losses.as_loss(Watching())(torch.zeros(2, 1), torch.zeros(2, 1, dtype=torch.bfloat16))
    assert seen == [torch.bfloat16]


def test_a_function_that_divides_in_place_leaves_the_outputs_alone():
    def scaled(y_true, y_pred):
        y_pred /= y_pred.sum(-1, keepdim=True)
        return -(y_true * y_pred.log()).sum(-1)

    loss = losses.FunctionLoss(scaled)
    logits = torch.zeros(2, 3, requires_grad=True)
    y_pred = torch.sigmoid(logits)
    loss(torch.eye(3)[:2], y_pred).backward()
    assert torch.equal(y_pred, torch.full((2, 3), 0.5))
    assert logits.grad.any()


# ---------------------------------------------------------------------- what is no tensor of real numbers


class Returning(losses.Loss):
    """A loss of the user's that returns a value of any kind."""

    def __init__(self, value):
        super().__init__(name="mine")
        self.value = value

    def call(self, y_true, y_pred):
        return self.value


class TorchReturning(nn.Module):
    """A torch loss that returns a value of any kind."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, prediction, target):
        return self.value


def returning(value):
    def mine(y_true, y_pred):
        return value

    return mine


@pytest.mark.parametrize("weight", [None, torch.ones(2)])
@pytest.mark.parametrize("make", [returning, Returning, TorchReturning])
@pytest.mark.parametrize("value", [None, "high", {"loss": 1.0}, torch.ones(2, dtype=torch.complex64)])
def test_a_loss_that_returns_no_real_numbers_is_named(make, value, weight):
    with pytest.raises(TypeError, match=r"The loss '(mine|TorchReturning)' has to return a tensor of real numbers"):
        losses.as_loss(make(value))(torch.ones(2, 1), torch.ones(2, 1), weight)


@pytest.mark.parametrize("weight", [None, torch.ones(2)])
@pytest.mark.parametrize("make", [returning, Returning, TorchReturning])
@pytest.mark.parametrize("value", [1, 1.0, torch.tensor([True, True]), torch.tensor([1, 1])])
def test_numbers_integers_and_booleans_are_losses_too(make, value, weight):
    assert losses.as_loss(make(value))(torch.ones(2, 1), torch.ones(2, 1), weight).item() == 1.0


LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-1.0, 0.0, 3.0], [0.5, 0.5, 0.0]])
INDICES = torch.tensor([0, 2, 1, 1])
SHARES = torch.tensor([0.2, 3.0, 0.1])
CROSSENTROPIES = [
    (nn.CrossEntropyLoss(weight=SHARES), INDICES, LOGITS),
    (nn.CrossEntropyLoss(weight=SHARES, label_smoothing=0.1), INDICES, LOGITS),
    (nn.CrossEntropyLoss(weight=SHARES, ignore_index=1), INDICES, LOGITS),
    (nn.CrossEntropyLoss(), torch.tensor([0, -100, 1, -100]), LOGITS),
    (nn.CrossEntropyLoss(weight=SHARES), torch.softmax(LOGITS.flip(0), -1), LOGITS),
    (nn.CrossEntropyLoss(weight=SHARES), INDICES.reshape(2, 2), LOGITS.reshape(2, 2, 3).transpose(1, 2)),
    (nn.NLLLoss(weight=SHARES), INDICES, LOGITS.log_softmax(-1)),
    (functools.partial(F.cross_entropy, weight=SHARES, ignore_index=0), INDICES, LOGITS),
    (F.nll_loss, torch.tensor([0, -100, 1, 2]), LOGITS.log_softmax(-1)),
]


@pytest.mark.parametrize(("theirs", "y_true", "y_pred"), CROSSENTROPIES)
def test_sample_weights_of_one_change_nothing_beside_weights_of_classes(theirs, y_true, y_pred):
    ones = torch.ones(len(y_true))
    torch.testing.assert_close(losses.as_loss(theirs)(y_true, y_pred, ones), theirs(y_pred, y_true))


def test_sample_weights_multiply_what_the_weights_of_classes_make_of_the_samples():
    weight = torch.tensor([1.0, 2.0, 0.0, 4.0])
    values = F.cross_entropy(LOGITS, INDICES, SHARES, reduction="none")
    expected = (weight * values).sum() / SHARES[INDICES].sum()
    torch.testing.assert_close(losses.as_loss(nn.CrossEntropyLoss(SHARES))(INDICES, LOGITS, weight), expected)


def test_the_weight_of_a_class_is_left_out_of_the_mean_where_a_mask_hides_the_sample():
    mask, loss = torch.tensor([True, False, True, False]), losses.as_loss(nn.CrossEntropyLoss(SHARES))
    found = loss.compute(*loss.prepare(INDICES, LOGITS), mask=mask)
    torch.testing.assert_close(found, F.cross_entropy(LOGITS[mask], INDICES[mask], SHARES))


def test_a_weighted_crossentropy_of_nothing_but_what_is_ignored_is_zero():
    assert losses.as_loss(nn.CrossEntropyLoss())(torch.full((4,), -100), LOGITS, torch.ones(4)).item() == 0.0


def test_a_crossentropy_with_a_forward_of_its_own_is_averaged_over_the_samples():
    class Doubled(nn.CrossEntropyLoss):
        def forward(self, input, target):
            return 2 * super().forward(input, target)

    values = 2 * F.cross_entropy(LOGITS, INDICES, SHARES, reduction="none")
    torch.testing.assert_close(losses.as_loss(Doubled(SHARES))(INDICES, LOGITS, torch.ones(4)), values.mean())


@pytest.mark.parametrize("theirs", [nn.MSELoss(), nn.L1Loss(), nn.BCEWithLogitsLoss(), F.huber_loss, losses.BinaryCrossentropy(True)])
def test_a_weight_for_each_pixel_counts_for_it_alone(theirs):
    torch.manual_seed(0)
    y_true, y_pred, weight = (torch.rand(2, 3, 4).round(), torch.randn(2, 3, 4), torch.rand(2, 3, 4))
    one_by_one = [losses.as_loss(theirs)(t[None, None], p[None, None]) for t, p in zip(y_true.flatten(), y_pred.flatten(), strict=True)]
    expected = (torch.stack(one_by_one).reshape(2, 3, 4) * weight).mean()
    torch.testing.assert_close(losses.as_loss(theirs)(y_true, y_pred, weight), expected)


class Mirrored(nn.Module):
    def forward(self, y_true, y_pred):
        return (y_true - y_pred).mean()


@pytest.mark.parametrize(
    ("get", "function", "told"),
    [
        (losses.get, lambda output, target: output, "with y_true first.*its arguments are 'output' and 'target'"),
        (metrics.get, lambda y_pred, y_true: y_pred, "with y_true first.*its arguments are 'y_pred' and 'y_true'"),
        (losses.get, Mirrored(), "prediction first.*its arguments are 'y_true' and 'y_pred'"),
    ],
)
def test_names_that_say_another_order_are_told_of(get, function, told):
    with pytest.warns(UserWarning, match=told):
        get(function)
