"""Arrays in the order of a model's inputs and outputs, and what is refused."""

import re

import numpy as np
import pytest
import scipy.sparse
import torch

from torchkeras_fn.engine.batches.arrays import Signature, arrays_of, split

A, B = np.ones((6, 3)), np.zeros((6, 4))
ONE = Signature(["a"], [(None, 3)], [torch.float32], ["out"], [(None, 1)], targets=["out"])
TWO = Signature(["a", "b"], [(None, 3), (None, 4)], [torch.float32] * 2, ["p", "q"], [(None, 1), (None, 1)], targets=["p", "q"])
Y, W = np.arange(6.0), np.ones(6)


def fed(tensors, **changes):
    return Signature(**{**vars(TWO), "targets_fed": {index: lambda: torch.zeros(6, 1) for index in tensors}, **changes})


def shapes(columns):
    return [None if part is None else part.shape for part in columns]


@pytest.mark.parametrize("x", [A, [A], (A,), {"a": A}, torch.tensor(A), A.tolist()])
def test_one_input_may_stand_alone_in_a_list_or_in_a_dict(x):
    arrays = arrays_of(x, Y, None, ONE)
    assert shapes(arrays.x) == [(6, 3)] and arrays.samples == 6 and arrays.rebuild([7]) == 7


def test_a_sparse_matrix_that_is_a_dict_is_an_array():
    dok = scipy.sparse.dok_matrix
    arrays = arrays_of(dok(A), dok(Y[:, None]), dok(W[:, None]), ONE)
    assert shapes(arrays.x) == [(6, 3)] and shapes(arrays.y) == [(6, 1)] and shapes(arrays.sample_weight) == [(6,)]


@pytest.mark.parametrize("x", [[A, B], (A, B), {"b": B, "a": A}, [A.tolist(), B.tolist()], [A, B.tolist()]])
def test_several_inputs_come_in_a_list_or_in_a_dict(x):
    arrays = arrays_of(x, [Y, Y], None, TWO)
    assert shapes(arrays.x) == [(6, 3), (6, 4)] and arrays.rebuild([1, 2]) == [1, 2]


def test_nested_lists_of_one_shape_are_several_inputs_where_several_are_needed():
    signature = Signature(["a", "b"], [(None, 2), (None, 2)], [torch.float32] * 2)
    assert shapes(arrays_of([[[1, 2]], [[3, 4]]], None, None, signature).x) == [(1, 2), (1, 2)]


def test_a_module_without_signature_takes_what_comes():
    assert arrays_of([A, B], Y, None, Signature()).rebuild([1, 2]) == [1, 2]
    assert arrays_of({"u": A, "v": B}, Y, None, Signature()).rebuild([1, 2]) == {"u": 1, "v": 2}
    assert arrays_of(A, Y, None, Signature()).rebuild([1]) == 1


def test_rows_of_single_numbers_fit_an_input_of_one_unit():
    assert shapes(arrays_of([1.0, 2.0], None, None, Signature(["a"], [(None, 1)], [torch.float32])).x) == [(2, 1)]


def test_unknown_dimensions_take_any_size():
    assert shapes(arrays_of(np.ones((2, 9, 3)), None, None, Signature(["a"], [(None, None, 3)], [torch.float32])).x) == [(2, 9, 3)]


def test_data_for_what_is_no_input_is_passed_by():
    assert shapes(arrays_of({"c": A, "b": B, "a": A}, [Y, Y], None, TWO).x) == [(6, 3), (6, 4)]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (None, r"x is None, but the inputs \['a', 'b'\] need data"),
        ([A, None], "The data for input 'b' is None"),
        ([A], r"2 inputs \['a', 'b'\], but x holds 1 arrays of shapes \[\(6, 3\)\]"),
        ([A, B, A], "x holds 3 arrays"),
        (A, "x holds 1 arrays"),
        ([], "x holds 0 arrays"),
        ({"a": A}, r"x has data for \['a'\]"),
        ([B, A], r"Input 'a' expects data of shape \(None, 3\), got \(6, 4\)"),
        ([A[0], B], r"Input 'a' expects data of shape \(None, 3\), got \(3,\)"),
        ([A, B[:5]], r"same number of samples, got x: \[6, 5\]"),
        ([A[:0], B[:0]], "no samples"),
        ([A, ["u"] * 6], "The data for input 'b' is not an array of numbers"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        arrays_of(x, None, None, Signature(**{**vars(TWO), "targets": []}))


@pytest.mark.parametrize(
    ("got", "wanted", "expression"),
    [
        ((3,), (3,), "x[None]"),
        ((8, 6, 1), (8, 6, 1), "x[None]"),
        ((5, 8, 6), (8, 6, 1), "x.reshape(-1, 8, 6, 1)"),
        ((5, 8, 6, 1), (8, 6), "x.reshape(-1, 8, 6)"),
        ((5, 8, 6), (48,), "x.reshape(-1, 48)"),
        ((5, 3, 8, 6), (8, 6, 3), "np.transpose(x, (0, 2, 3, 1))"),
    ],
)
def test_data_of_another_shape_that_can_be_made_to_fit_is_told_how(got, wanted, expression):
    x, signature = np.ones(got), Signature(input_names=["x"], input_shapes=[(None, *wanted)], input_dtypes=[torch.float32])
    with pytest.raises(ValueError, match=re.escape(expression)):
        arrays_of(x, None, None, signature)
    made = eval(expression, {"x": x, "np": np})
    assert arrays_of(made, None, None, signature).x[0].shape[1:] == wanted


def test_data_that_cannot_be_made_to_fit_is_told_nothing():
    with pytest.raises(ValueError, match=r"got \(6, 4\)\.$"):
        arrays_of(B, None, None, ONE)


def test_data_for_a_shape_with_an_unknown_size_is_told_nothing():
    signature = Signature(input_names=["x"], input_shapes=[(None, None, 4)], input_dtypes=[torch.float32])
    with pytest.raises(ValueError, match=r"got \(5, 2, 2\)\.$"):
        arrays_of(np.ones((5, 2, 2)), None, None, signature)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (list(A), Y, r"x holds 6 arrays of shapes \[\(3,\), \(3,\), \(3,\), ...\]. If these are the rows of one array, .*: np.stack\(x\)"),
        (A, list(np.ones((6, 2))), r"y holds 6 arrays. If these are the rows of one array, make it one: np.stack\(y\)"),
        (A, ["cat"] * 6, "y holds texts: give each a number first"),
        (A, [None] * 6, "y holds None, which is no number"),
    ],
)
def test_a_list_that_was_meant_as_one_array_is_told_how_to_be_one(x, y, message):
    with pytest.raises(ValueError, match=message):
        arrays_of(x, y, None, ONE)


@pytest.mark.parametrize("x", [[A, B], [A, 1.0]], ids=["shapes", "a number"])
def test_a_list_of_arrays_that_are_not_alike_is_not_told_to_be_one(x):
    with pytest.raises(ValueError, match=r"x holds 2 arrays of shapes \[\(6, 3\), \(.*\)\]\.$"):
        arrays_of(x, None, None, ONE)


def test_a_function_that_was_not_called_is_told_so():
    with pytest.raises(TypeError, match="of type function. Call it"):
        arrays_of(lambda: A, Y, None, ONE)


@pytest.mark.parametrize(("x", "kind"), [("abc", "str"), (iter([A]), "iterator"), ({1, 2}, "set"), (5j, "complex")])
def test_inputs_of_the_wrong_kind_are_a_type_error(x, kind):
    with pytest.raises(TypeError, match=f"x is an array, or a list or dict of arrays.*{kind}"):
        arrays_of(x, Y, None, ONE)


def test_no_data_for_a_module_without_signature_is_an_error():
    with pytest.raises(ValueError, match="x is None"):
        arrays_of(None, Y, None, Signature())
    with pytest.raises(ValueError, match="empty list"):
        arrays_of([], Y, None, Signature())


@pytest.mark.parametrize("y", [[Y, B], (Y, B), {"q": B, "p": Y}, [Y.tolist(), B.tolist()]])
def test_targets_come_in_a_list_or_in_a_dict(y):
    assert shapes(arrays_of([A, B], y, None, TWO).y) == [(6,), (6, 4)]


def test_a_plain_list_of_numbers_is_one_target():
    assert shapes(arrays_of(A, [0, 1, 0, 1, 0, 1], None, ONE).y) == [(6,)]


@pytest.mark.parametrize("y", [Y, [Y], {"q": Y}, [None, Y], [B, Y], Y.tolist()])
def test_targets_may_leave_out_the_outputs_without_a_loss(y):
    assert shapes(arrays_of([A, B], y, None, Signature(**{**vars(TWO), "targets": ["q"]})).y) == [None, (6,)]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, r"y is None, but the outputs \['p', 'q'\] have a loss"),
        (Y, "2 outputs.*y holds 1 arrays"),
        ([Y] * 3, "y holds 3 arrays"),
        ([Y, None], "y has nothing for the output 'q'"),
        ({"p": Y}, "y has nothing for the output 'q'"),
        ({"p": Y, "z": Y}, "'z', which is no output"),
        ([Y, Y[:5]], r"same number of samples, got x: \[6, 6\], y: \[6, 5\]"),
        ([Y[:5], Y[:5]], r"y: \[5, 5\]"),
    ],
)
def test_targets_that_do_not_fit_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        arrays_of([A, B], y, None, TWO)


@pytest.mark.parametrize("weights", [[W, None], {"p": W}, {"p": W, "q": None}, [W.tolist(), None]])
def test_weights_may_be_partial(weights):
    assert shapes(arrays_of([A, B], [Y, Y], weights, TWO).sample_weight) == [(6,), None]


@pytest.mark.parametrize("weights", [W, W.tolist(), [W], {"out": W}, torch.tensor(W), [1] * 6])
def test_one_output_takes_its_weights_alone(weights):
    assert shapes(arrays_of(A, Y, weights, ONE).sample_weight) == [(6,)]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (W, "1 entries, but the model has 2 outputs"),
        ([W], "1 entries"),
        ([W, W, W], "3 entries"),
        ({"z": W}, "'z', which is no output"),
        ([W, W[:5]], r"sample_weight: \[6, 5\]"),
        ([W, np.ones((6, 2))], "sample_weight_mode='temporal'"),
        ([W, np.ones((6, 2, 2))], r"shape \(6, 2, 2\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        arrays_of([A, B], [Y, Y], weights, TWO)


@pytest.mark.parametrize("weights", [(W, W), {1.0}, "balanced"])
def test_weights_of_the_wrong_kind_are_a_type_error(weights):
    with pytest.raises(TypeError, match="sample_weight is an array, or a list or dict of arrays"):
        arrays_of([A, B], [Y, Y], weights, TWO)


@pytest.mark.parametrize("y", [None, [None, None]])
def test_targets_that_are_fed_are_not_passed(y):
    assert shapes(arrays_of([A, B], y, None, fed([0, 1])).y) == [None, None]


@pytest.mark.parametrize("y", [Y, [Y, Y], {"p": Y}, [0.0] * 6])
def test_passing_targets_that_are_fed_is_an_error(y):
    with pytest.raises(ValueError, match="target_tensors"):
        arrays_of([A, B], y, None, fed([0, 1]))


@pytest.mark.parametrize("y", [Y, [Y], {"q": Y}, [None, Y], {"p": None, "q": Y}])
def test_passed_targets_cover_the_outputs_that_are_not_fed(y):
    assert shapes(arrays_of([A, B], y, None, fed([0])).y) == [None, (6,)]


@pytest.mark.parametrize("y", [[Y, Y], {"p": Y, "q": Y}])
def test_passing_a_fed_target_among_others_is_an_error(y):
    with pytest.raises(ValueError, match=r"target_tensors for \['p'\]"):
        arrays_of([A, B], y, None, fed([0]))


def test_an_output_with_a_loss_that_is_not_fed_needs_a_target():
    with pytest.raises(ValueError, match=r"the outputs \['q'\] have a loss and need targets"):
        arrays_of([A, B], None, None, fed([0]))


def test_fed_inputs_leave_their_place_to_the_tensor():
    arrays = arrays_of(B, None, None, Signature(**{**vars(TWO), "fed": {0: lambda: torch.ones(6, 3)}, "targets": []}))
    first, second = arrays.rebuild(["b"])
    assert shapes(arrays.x) == [(6, 4)] and first.shape == (6, 3) and second == "b"


def test_the_split_keeps_the_last_rows_apart():
    train, kept = split(arrays_of(A, Y, W, ONE), 0.34)
    assert train.y[0].take(slice(None)).tolist() == [0, 1, 2] and kept.y[0].take(slice(None)).tolist() == [3, 4, 5]
    assert kept.samples == len(kept.sample_weight[0]) == 3


@pytest.mark.parametrize(
    ("share", "message"),
    [(1.0, "between 0 and 1"), (-0.1, "between"), (1.5, "between"), ("0.1", "between"), (0.9, "leaves no samples")],
)
def test_a_split_without_rows_on_a_side_is_refused(share, message):
    with pytest.raises(ValueError, match=message):
        split(arrays_of(A[:1], Y[:1], None, ONE), share)


def test_a_model_that_feeds_itself_has_no_rows_to_split():
    signature = Signature(["a"], [(None, 3)], [torch.float32], ["out"], fed={0: lambda: torch.ones(2, 3)}, targets=[])
    with pytest.raises(ValueError, match="feeds itself"):
        split(arrays_of(None, None, None, signature), 0.5)
