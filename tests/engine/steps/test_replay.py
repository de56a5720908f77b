"""`compiled`: a graph as one function, which changes in place what the graph changes; recorded and replayed on CUDA."""

import functools

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from tests.recording import Recorder
from torchkeras_fn import Input, Sequential
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.engine.steps import compiled as compiled_steps
from torchkeras_fn.engine.steps.replay import _OPTIONS, Replay, compiled, is_on_one_device
from torchkeras_fn.layers import Dense, Dropout, LayerNormalization
from torchkeras_fn.optimizers import SGD, Adam


def step(x, total):
    total.add_(x.sum())
    return [x * 2]


def test_a_compiled_function_returns_and_changes_what_the_graph_does():
    x, total = torch.randn(3), torch.zeros(())
    run = compiled(make_fx(step)(x, total), [x, total], 1)
    total.zero_()
    for values in (torch.ones(3), torch.full((3,), 2.0)):
        (doubled,) = run([values, total])
        assert torch.equal(doubled, values * 2)
    assert total == 9


def test_an_option_that_this_compiler_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setitem(_OPTIONS, "unheard_of", True)
    x, total = torch.ones(3), torch.zeros(())
    (doubled,) = compiled(make_fx(step)(x, total), [x, total], 1)([x, total])
    assert doubled.tolist() == [2, 2, 2]


def test_what_is_changed_shares_no_memory_with_another_tensor():
    total = torch.zeros(2)
    inputs = [torch.ones(3), total[0], total[:1]]
    graph = make_fx(lambda x, first, second: (first.add_(x.sum()), second * 2)[1])(*inputs)
    with pytest.raises(Exception, match="share"):
        compiled(graph, inputs, 1)


# ---------------------------------------------------------------------- recordings, with stand-ins for those of CUDA


def test_a_recording_is_made_on_the_device_of_its_tensors_and_not_on_the_current_one(monkeypatch):
    recorder = Recorder(monkeypatch)
    replay = Replay(lambda inputs: [inputs[0] * 2], 1)
    for _ in range(4):
        replay([torch.ones(1, device="meta")])
    assert recorder.where == [("meta", "a stream on meta")]


def test_a_replay_takes_the_new_inputs_and_writes_over_the_results_of_the_last(monkeypatch):
    recorder = Recorder(monkeypatch)
    total = torch.zeros(())
    replay = Replay(lambda inputs: step(*inputs), 1)
    results = [replay([torch.full((3,), float(number)), total])[0] for number in range(1, 7)]
    assert recorder.made[0].replays == 4 and results[-2] is results[-1]
    assert results[-1].tolist() == [12] * 3
    assert total == 3 * sum(range(1, 7))


def test_what_cannot_be_recorded_runs_as_it_is_and_where_it_did(monkeypatch):
    recorder = Recorder(monkeypatch)

    def reading(inputs):
        if any(isinstance(mode, TorchDispatchMode) for mode in _get_current_dispatch_mode_stack()):
            raise RuntimeError("operation not permitted when stream is capturing")
        return [inputs[0] + 1]

    replay = Replay(reading, 1)
    assert [replay([torch.full((1,), float(number))])[0].item() for number in range(5)] == [1, 2, 3, 4, 5]
    assert recorder.stream == "the first stream" and not recorder.is_broken_off


@pytest.mark.parametrize("step, expected", [(lambda x: x * torch.rand((), device=x.device), True), (lambda x: x * torch.rand(()), False)])
def test_what_the_cpu_draws_for_a_step_is_not_recorded(step, expected):
    with FakeTensorMode():
        graph = make_fx(step)(torch.empty(3, device="cuda"))
    assert is_on_one_device(graph) is expected


def classifier(*inner):
    return Sequential([Input((6,)), Dense(8, "tanh", kernel_regularizer="l2"), *inner, Dense(3, "softmax")])


RECORDED = {
    "plain": {},
    "weighted": {"weighted_metrics": ["accuracy"]},
    "gathered gradients": {"gradient_accumulation_steps": 3},
    "clipped": {"optimizer": lambda: Adam(clipnorm=0.1)},
    "averaged weights": {"optimizer": lambda: SGD(0.1, 0.9, use_ema=True, ema_overwrite_frequency=3)},
    "torch's optimizer": {"optimizer": lambda: functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)},
    "several metrics": {"metrics": ["accuracy", "sparse_categorical_crossentropy"]},
    "bfloat16": {"precision": "mixed_bfloat16"},
    "several steps at once": {"steps_per_execution": 2},
}


@pytest.mark.parametrize("options", RECORDED.values(), ids=RECORDED)
def test_training_with_recordings_is_training_without(monkeypatch, options):
    """What keeps a result of a step, a gradient or a figure, for longer than to the next would see it overwritten."""
    recorder = Recorder(monkeypatch)
    monkeypatch.setattr(compiled_steps, "compiled", lambda graph, inputs, changing: Replay(lambda given: graph(*given), changing))
    generator = np.random.default_rng(0)
    x, y, weights = generator.normal(size=(60, 6)).astype("float32"), generator.integers(0, 3, 60), generator.random(60)
    found = []
    for jit_compile in (False, True):
        set_random_seed(0)
        model = classifier(LayerNormalization(), Dropout(0.5, seed=1))
        settings = {"optimizer": lambda: "adam", **options}
        model.compile(loss="sparse_categorical_crossentropy", jit_compile=jit_compile, **{**settings, "optimizer": settings["optimizer"]()})
        history = model.fit(x, y, batch_size=8, epochs=3, verbose=0, sample_weight=weights, validation_split=0.2).history
        found.append((history, model.train_on_batch(x[:8], y[:8], return_dict=True), model.get_weights()))
    assert sum(recorded.replays for recorded in recorder.made) > 10
    (expected, last, weights), (seen, last_seen, weights_seen) = found
    for name, values in expected.items():
        np.testing.assert_allclose(seen[name], values, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(list(last_seen.values()), list(last.values()), rtol=1e-4)
    for one, other in zip(weights_seen, weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.cuda
def test_on_cuda_a_function_is_recorded_and_replayed():
    x, total = torch.randn(3, device="cuda"), torch.zeros((), device="cuda")
    run = compiled(make_fx(step)(x, total), [x, total], 1)
    total.zero_()
    for number in range(1, 7):
        (doubled,) = run([torch.full((3,), float(number), device="cuda"), total])
        assert doubled.tolist() == [2.0 * number] * 3
    assert run._graph is not None
    assert total == 3 * sum(range(1, 7))


@pytest.mark.cuda
def test_on_cuda_random_numbers_are_drawn_after_a_recording_that_failed():
    replay = Replay(lambda inputs: [inputs[0] + inputs[0].sum().item()], 1)
    for _ in range(4):
        (result,) = replay([torch.ones(3, device="cuda")])
    assert result.tolist() == [4.0] * 3
    assert torch.rand(3, device="cuda").max() < 1
