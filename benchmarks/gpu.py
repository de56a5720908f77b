"""What only a GPU shows: host syncs in a training step, how busy an array on the CPU keeps the GPU, and convolutions in bfloat16.

    python benchmarks/gpu.py
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from networks import adam
from torch import nn

from torchkeras_fn import Sequential
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.layers import Conv2D, Dense, GlobalAveragePooling2D, Input

BATCH_SIZE, STEPS, CLASSES, ROUNDS = 256, 40, 10, 5


class ForbidSyncs(Callback):
    """Lets torch raise where the host waits for the GPU, in all steps of an epoch but the first and the last."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Switch for the next step."""
        torch.cuda.set_sync_debug_mode("error" if batch < STEPS - 2 else "default")


def data(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random rows and their labels as arrays on the CPU."""
    generator = np.random.default_rng(0)
    rows = STEPS * BATCH_SIZE
    return generator.random((rows, *shape), dtype=np.float32), generator.integers(0, CLASSES, rows)


def compiled(layers: list[Any], **arguments: Any) -> Any:
    """Return a classifier on the GPU."""
    model = Sequential([*layers, Dense(CLASSES, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cuda", **arguments)
    return model


def dense_model() -> Any:
    """Return a model whose step takes the GPU some milliseconds."""
    return compiled([Input(shape=(784,)), Dense(4096, activation="relu"), Dense(4096, activation="relu")])


def syncs(on_device: bool) -> str:
    """Return whether a step of `fit` waits for the GPU, on an array or on tensors that lie there."""
    x, y = data(784)
    where: Any = (torch.from_numpy(x).cuda(), torch.from_numpy(y).cuda()) if on_device else (x, y)
    model = dense_model()
    model.fit(*where, batch_size=BATCH_SIZE, verbose=0)
    try:
        model.fit(*where, batch_size=BATCH_SIZE, verbose=0, callbacks=[ForbidSyncs()])
    except RuntimeError as error:
        return f"fail: {str(error).splitlines()[0]}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "pass"


def busy() -> str:
    """Return the share of the time, from the first kernel of an epoch to the last, in which kernels run; copies do not count."""
    x, y = data(784)
    model = dense_model()
    model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)
        torch.cuda.synchronize()
    kernels = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and not event.name.startswith(("Memcpy", "Memset"))
    )
    if not kernels:  # as in a container without access to the counters of the GPU
        return "not measured, since torch's profiler was shown no kernels"
    running, reached = 0.0, kernels[0][0]
    for start, end in kernels:
        running += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return f"{running / (reached - kernels[0][0]):.0%}"


def convolutions_by_hand(x: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    """Return an epoch of convolutions in bfloat16 on `channels_last` memory by hand, with all data in the memory of the GPU."""
    layers = [nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 128, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(128, CLASSES)).cuda().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, images, labels = adam(network), torch.from_numpy(x).cuda(), torch.from_numpy(y).cuda()

    def epoch() -> object:
        total_loss, total_right = torch.zeros((), device="cuda"), torch.zeros((), dtype=torch.int64, device="cuda")
        for index in torch.randperm(len(images), device="cuda").split(BATCH_SIZE):
            targets = labels.index_select(0, index)
            with torch.autocast("cuda", torch.bfloat16):
                logits = network(images.index_select(0, index).permute(0, 3, 1, 2))
                loss = F.cross_entropy(logits, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total_loss.add_(loss.detach(), alpha=len(index))
            total_right += (logits.argmax(-1) == targets).sum()
        return total_loss.item(), total_right.item()

    return epoch


def convolutions() -> str:
    """Return the time of a step of convolutions in bfloat16, and its ratio to that of the loop by hand."""
    x, y = data(32, 32, 3)
    layers = [Input(shape=(32, 32, 3)), Conv2D(64, 3, activation="relu"), Conv2D(128, 3, activation="relu"), GlobalAveragePooling2D()]
    model = compiled(layers, precision="mixed_bfloat16")
    tight = convolutions_by_hand(x, y)

    def fit() -> object:
        return model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)

    def milliseconds(run: Callable[[], object]) -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / STEPS * 1e3

    for run in (fit, tight, fit, tight):
        run()
    rounds = [(milliseconds(fit), milliseconds(tight)) for _ in range(ROUNDS)]
    ours, by_hand = (statistics.median(found) for found in zip(*rounds, strict=True))
    ratio = statistics.median(a / b for a, b in rounds)
    return f"{ours:.2f} ms a step, {ratio:.2f} × the loop by hand ({by_hand:.2f} ms, with the images in the GPU's memory)"


def main() -> None:
    """Print a line for each figure, as markdown; what `compile` refuses is left out."""
    print(f"On {torch.cuda.get_device_name()}:\n")
    print(f"- host syncs in a training step on an array: {syncs(on_device=False)}")
    print(f"- host syncs in a training step on tensors on the GPU: {syncs(on_device=True)}")
    print(f"- time in which kernels run, training on an array on the CPU: {busy()}")
    try:
        print(f"- `channels_last` convolutions in bfloat16: {convolutions()}")
    except (NotImplementedError, TypeError, ValueError) as error:
        print(f"- `channels_last` convolutions in bfloat16: refused ({error})")


if __name__ == "__main__":
    main()
