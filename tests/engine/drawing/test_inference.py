"""Shapes told without data: known and unknown dimensions, and that looking changes nothing."""

import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn.engine.basics.modes import mode_of
from torchkeras_fn.engine.drawing import inferring
from torchkeras_fn.engine.drawing.inference import InferenceError, infer
from torchkeras_fn.engine.drawing.inferring import creating_weights, untouched
from torchkeras_fn.engine.drawing.spec import Spec


@pytest.fixture
def in_thread():
    def run(function):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()

    return run


F32 = torch.float32


def spec(*shape, dtype=F32):
    return Spec.of(shape, dtype)


def test_a_spec_reads_none_where_the_size_is_unknown():
    assert spec(None, 3, None).shape == (None, 3, None)


def test_the_lead_of_a_scalar_is_none():
    assert spec().lead is None


def test_unknown_batch_and_unknown_length_are_not_the_same_size():
    with pytest.raises(InferenceError):
        infer(torch.add, (spec(None, 3), spec(3, None)), {})


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (lambda x: x + 1, [(None, 3)], (None, 3)),
        (lambda x: x.view(x.shape[0], -1), [(None, 3, 4)], (None, 12)),
        (lambda x: x.reshape(-1, 3), [(None, 6)], (None, 3)),
        (lambda x: x.reshape(-1), [(None, 6)], (None,)),
        (lambda x: x.t(), [(None, 6)], (6, None)),
        (lambda x: x.sum(), [(None, 6)], ()),
        (lambda x: x.mean(0), [(None, 6)], (6,)),
        (lambda x: x[0], [(None, 6)], (6,)),
        (lambda x: x.max(0).values, [(None, 6)], (6,)),
        (lambda x: torch.cat([x, x], 0), [(None, 6)], (None, 6)),
        (lambda x: x[:, 1:], [(None, None, 6)], (None, None, 6)),
        (lambda x: x.flatten(0, 1), [(None, 5, 6)], (None, 6)),
        (lambda x, y: x @ y.mT, [(None, None, 6), (None, 7, 6)], (None, None, 7)),
        (lambda x: x.expand(x.shape[0], 4), [(None, 1)], (None, 4)),
        (lambda x: torch.zeros(x.shape[0], 5), [(None, 6)], (None, 5)),
        (lambda x: x * 2, [(8, 3)], (8, 3)),
        (lambda x: x.view(2, -1), [(8, 3)], (2, 12)),
        (lambda x: x.cumsum(0), [(None, 3)], (None, 3)),
    ],
)
def test_shapes_of_functions(function, shapes, expected):
    assert infer(function, [spec(*shape) for shape in shapes], {}).shape == expected


@pytest.mark.parametrize(
    ("function", "small"),
    [
        (lambda x: x.reshape(-1, 6), (1200, 6)),
        (lambda x: x.flatten(0, 1), (1200, 6)),
        (lambda x: x.flatten(0, 1).unflatten(0, (-1, 5)), (240, 5, 6)),
        (lambda x: torch.cat([x, x], 0), (480, 5, 6)),
        (lambda x: torch.cat([x, x], dim=1), (240, 10, 6)),
        (lambda x: torch.cat([x, x]).chunk(2)[0], (240, 5, 6)),
        (lambda x: x.chunk(2, dim=-1)[0], (240, 5, 3)),
        (lambda x: x.split(60)[0], (60, 5, 6)),
        (lambda x: x[1:], (239, 5, 6)),
        (lambda x: x[::2, 0], (120, 6)),
        (lambda x: x[:, 1:], (240, 4, 6)),
        (lambda x: x[..., 0], (240, 5)),
        (lambda x: x.repeat(2, 1, 1), (480, 5, 6)),
        (lambda x: x.repeat_interleave(2, dim=0), (480, 5, 6)),
        (lambda x: x.transpose(0, 1), (5, 240, 6)),
        (lambda x: x.unsqueeze(0).expand(3, -1, -1, -1), (3, 240, 5, 6)),
    ],
)
def test_a_batch_that_grows_or_shrinks_is_followed(function, small):
    assert infer(function, [spec(None, 5, 6)], {}).small == small


@pytest.mark.parametrize(
    ("function", "expected"),
    [(lambda x: x.flatten(), (24,)), (lambda x: x[1:], (7, 3)), (lambda x: torch.cat([x, x]), (16, 3)), (lambda x: x.mT, (3, 8))],
)
def test_a_known_batch_that_grows_or_shrinks_is_followed(function, expected):
    assert infer(function, [spec(8, 3)], {}).shape == expected


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (lambda x: x[x > 0].mean(), [(None, None, 4)], ()),
        (lambda x: x[x > 0], [(None, 4)], (None,)),
        (lambda x: x[x > 0], [(1, 4)], (None,)),
        (lambda x: torch.nonzero(x), [(2, 4)], (None, 2)),
        (lambda x: torch.where(x > 0)[0], [(2, 4)], (None,)),
        (lambda x: torch.unique(x), [(None, 4)], (None,)),
        (lambda x: x[x > 0].max() + x, [(None, 4)], (None, 4)),
        (lambda x: x[x.abs().sum(1) > 0], [(3, 4)], (None, 4)),
        (lambda x: torch.cat([x[x > 0], x.new_zeros(4)])[:4], [(4,)], (4,)),
        (lambda x, y: x[y[:, 0] > 0], [(None, 8), (None, 2)], (None, 8)),
        (lambda x, y: x * y[y > 0].sum(), [(None, None), (2, 2)], (None, None)),
        (lambda x: x[:, : int(x.max().abs()) + 1], [(None, 8)], (None, None)),
        (lambda x: x if x[0, 0].item() > 0 else -x, [(None, 8)], (None, 8)),
        (lambda x: torch.from_numpy(np.sort(x[x > 0].numpy())), [(None, 8)], (None,)),
        (lambda x: torch.tile(x, torch.tensor([1, 2]).tolist()), [(None, 3)], (None, 6)),
    ],
)
def test_shapes_of_functions_that_depend_on_the_data(function, shapes, expected):
    assert infer(function, [spec(*shape) for shape in shapes], {}).shape == expected


def test_known_and_unknown_sizes_go_on_behind_a_function_that_depends_on_the_data():
    chosen = infer(lambda x, y: x[(y > 0).nonzero()[:, 0]], [spec(None, 5, 3), spec(None)], {})
    assert infer(lambda x: x[x.sum((1, 2)) > 0].sum() + x, [chosen], {}).shape == (None, 5, 3)


def test_a_number_that_depends_on_the_data_is_unknown():
    assert infer(lambda x: len(x[x > 0]), [spec(2, 3)], {}).number is not None


def test_indices_that_depend_on_the_data_are_those_of_rows():
    table = torch.ones(2, 5)
    assert infer(lambda x: table[x[x >= 0]], [spec(None, 4, dtype=torch.int32)], {}).shape == (None, 5)


def test_the_words_are_about_the_function_and_not_about_missing_data():
    with pytest.raises(InferenceError, match="mat1 and mat2 shapes cannot be multiplied"):
        infer(lambda x: x[x > 0] @ torch.ones(3, 2), [spec(None, 4)], {})


def test_a_rank_that_depends_on_the_data_cannot_be_told():
    with pytest.raises(InferenceError):
        infer(lambda x: x if (x > 0).sum().item() > 4 else x[0], [spec(2, 4)], {})


def test_running_on_data_leaves_random_states_and_statistics_alone():
    norm = nn.BatchNorm1d(4)

    def function(x):
        with untouched(norm):
            x = norm(x + torch.rand(1))
        return x[x > 0]

    before = torch.get_rng_state()
    infer(function, [spec(None, 4)], {})
    assert torch.equal(torch.get_rng_state(), before)
    assert norm.running_mean.tolist() == [0.0] * 4 and norm.num_batches_tracked == 0


def test_what_needs_no_data_is_run_once():
    sizes = []
    infer(lambda x: sizes.append(tuple(x.shape)) or x * 2, [spec(None, 4)], {})
    assert sizes == [(0, 4)]


def test_a_batch_folded_away_can_be_unfolded_by_its_size():
    folded = infer(lambda x: x.reshape(-1, 6), [spec(None, 5, 6)], {})
    size = infer(torch.Tensor.size, [spec(None, 5, 6), 0], {})
    assert infer(torch.Tensor.view, [folded, size, 5, 6], {}).shape == (None, 5, 6)


def test_no_warning_is_passed_on():
    assert infer(lambda x: x.std(), [spec(None, 3)], {}).shape == ()


def test_the_dtype_is_told_too():
    assert infer(lambda x: x > 0, (spec(None, 3),), {}).dtype is torch.bool


def test_integers_stay_integers_where_the_batch_is_moved():
    assert infer(lambda x: x.flatten(0, 1), (spec(None, 5, dtype=torch.int64),), {}).dtype is torch.int64


def test_the_structure_of_the_result_is_kept():
    result = infer(lambda x: {"a": (x, [x.sum(1)])}, (spec(None, 3),), {})
    assert result["a"][0].shape == (None, 3)
    assert result["a"][1][0].shape == (None,)


def test_a_size_that_is_unknown_becomes_a_number():
    assert infer(torch.Tensor.size, (spec(None, 3), 0), {}).number is not None


def test_a_size_that_is_known_stays_an_integer():
    assert infer(torch.Tensor.size, (spec(None, 3), 1), {}) == 3


def test_keyword_arguments_are_passed():
    assert infer(torch.sum, (spec(None, 3),), {"dim": 1, "keepdim": True}).shape == (None, 1)


def test_constants_and_weights_take_part_by_their_shape():
    assert infer(lambda x: x.reshape(-1, 3) @ torch.ones(3, 7), (spec(None, 6),), {}).shape == (None, 7)


def test_torchs_own_words_are_in_the_error():
    with pytest.raises(InferenceError, match="mat1 and mat2"):
        infer(torch.matmul, (spec(None, 3), spec(4, 5)), {})


def test_the_random_state_is_left_alone():
    before = torch.get_rng_state()
    infer(lambda x: torch.rand(3) * torch.dropout(x, 0.5, True).sum(), (spec(None, 3),), {})
    assert torch.equal(torch.get_rng_state(), before)


def test_random_numbers_that_became_weights_stay_drawn():
    before = torch.get_rng_state()

    def function(x):
        with creating_weights():
            return x * torch.rand(3)

    infer(function, (spec(None, 3),), {})
    assert not torch.equal(torch.get_rng_state(), before)


def test_weights_are_real_where_all_else_is_without_storage():
    made = []

    def function(x):
        with creating_weights():
            made.append(torch.ones(3))
        return x.view(x.shape[0], -1)

    infer(function, (spec(None, 3),), {})
    assert [weight.device.type for weight in made] == ["cpu"] * len(made)


def test_no_gradient_is_recorded():
    recorded = []
    weight = nn.Parameter(torch.ones(3))

    def function(x):
        recorded.append((x * weight).requires_grad)
        return x

    infer(function, (spec(None, 3),), {})
    assert recorded == [False]


def test_nothing_is_computed():
    sizes = []
    infer(lambda x: sizes.append(x.numel()) or x.relu(), (spec(None, 1000, 1000),), {})
    assert sizes == [0]


def test_weights_on_another_device_can_be_told():
    layer = nn.Linear(3, 2, device="meta")
    assert infer(layer, (spec(None, 3),), {}, device=torch.device("meta")).shape == (None, 2)


def test_inferring_is_of_one_thread(in_thread):
    layer, seen = nn.BatchNorm1d(2), []

    def function(x):
        def count():
            with untouched(layer):
                layer(torch.ones(4, 2))

        in_thread(count)
        seen.append(int(layer.num_batches_tracked))
        return x

    infer(function, (spec(None, 3),), {})
    assert seen == [1]


def test_creating_weights_is_of_one_thread(in_thread):
    """Else what is inferred there meanwhile would run for real."""

    def read():
        with creating_weights():
            assert go_on.wait(20)

    go_on, shapes = threading.Event(), []
    thread = threading.Thread(target=read)
    thread.start()
    try:
        in_thread(lambda: shapes.append(inferring.now.creating_weights))
    finally:
        go_on.set()
        thread.join()
    assert shapes == [False]


def test_inferring_in_several_threads_leaves_the_filters_of_warnings_as_they_were():
    before, first_is_over = list(warnings.filters), threading.Event()
    begun, second_begun = threading.Event(), threading.Event()

    def first(x):
        begun.set()
        second_begun.wait(0.1)  # which does not begin now
        return x

    def second(x):
        second_begun.set()
        assert first_is_over.wait(20)
        return x

    def run_first():
        infer(first, (spec(None, 3),), {})
        first_is_over.set()

    thread = threading.Thread(target=run_first)
    thread.start()
    assert begun.wait(20)
    infer(second, (spec(None, 3),), {})
    thread.join()
    assert list(warnings.filters) == before


def test_inferring_takes_no_random_numbers_back_that_a_training_thread_drew():
    model = nn.Linear(1, 1)
    before = torch.get_rng_state()
    begun, go_on, over = threading.Event(), threading.Event(), threading.Event()

    def train():
        with mode_of(model, training=True):
            begun.set()
            assert go_on.wait(20)
            torch.rand(3)
            over.set()
            assert is_inferred.wait(20)

    is_inferred = threading.Event()
    thread = threading.Thread(target=train)
    thread.start()
    assert begun.wait(20)

    def function(x):
        go_on.set()
        assert over.wait(20)
        return x

    infer(function, (spec(None, 3),), {})
    is_inferred.set()
    thread.join()
    assert not torch.equal(torch.get_rng_state(), before)


def test_an_error_that_only_an_empty_batch_makes_is_not_shown():
    def function(x):
        return x[0] + x.no_such_thing

    with pytest.raises(InferenceError, match="no_such_thing"):
        infer(function, [spec(None, 4)], {})
