"""The tight loop with its step under `torch.compile`, as an expert gets most from it: forward, loss, gradients and Adam in one graph.

Compiling around `backward()` and `optimizer.step()` is slower than not compiling, so the gradients come from `torch.func`
and Adam is written out. `torch.compile` cannot trace `nn.LSTM` under `torch.func`.
"""

from typing import Any

import torch
from networks import loss_of, network_of, right_of, tensors_of
from tasks import Run, Task, repeated
from torch.func import functional_call, grad_and_value

RATE, FIRST, SECOND, EPSILON = 1e-3, 0.9, 0.999, 1e-7

Tensors = list[torch.Tensor]


class Step:
    """A training step of a task as one compiled function; the loss and the count of an epoch add up on the device."""

    def __init__(self, task: Task, device: str) -> None:
        network, loss_function, right = network_of(task).to(device), loss_of(task), right_of(task)
        names = [name for name, _ in network.named_parameters()]
        weights = [parameter.detach() for parameter in network.parameters()]
        # Lists cost fewer checks in each call than dicts do.
        self.state = weights, [torch.zeros_like(weight) for weight in weights], [torch.zeros_like(weight) for weight in weights]
        self.number, self.total_loss = torch.zeros((), device=device), torch.zeros((), device=device)
        self.total_right = torch.zeros((), dtype=torch.int64, device=device)

        def loss_and_outputs(weights: Tensors, inputs: Tensors, targets: Any) -> tuple[torch.Tensor, Any]:
            outputs = functional_call(network, dict(zip(names, weights, strict=True)), tuple(inputs))
            return loss_function(outputs, targets), outputs

        def step(state: Any, number: Any, total_loss: Any, total_right: Any, inputs: Tensors, targets: Any) -> None:
            weights, means, squares = state
            gradients, (loss, outputs) = grad_and_value(loss_and_outputs, has_aux=True)(weights, inputs, targets)
            number += 1
            size, root = RATE / (1 - FIRST**number), (1 - SECOND**number).sqrt()
            for weight, mean, square, gradient in zip(weights, means, squares, gradients, strict=True):
                mean.lerp_(gradient, 1 - FIRST)
                square.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
                weight.sub_(size * mean / (square.sqrt() / root + EPSILON))
            total_loss.add_(loss, alpha=len(inputs[0]))
            if right is not None:
                total_right.add_(right(outputs, targets))

        self.compiled = torch.compile(step, fullgraph=True, dynamic=False)

    def __call__(self, inputs: Tensors, targets: Tensors) -> None:
        """Train on a batch."""
        wanted = targets[0] if len(targets) == 1 else targets
        self.compiled(self.state, self.number, self.total_loss, self.total_right, inputs, wanted)

    def figures(self, rows: int) -> tuple[float, float]:
        """Return the mean loss and the accuracy over so many rows, and start anew."""
        found = self.total_loss.item() / rows, self.total_right.item() / rows
        self.total_loss.zero_()
        self.total_right.zero_()
        return found


def make(task: Task, device: str) -> Run | None:
    """Return the loop of a task."""
    if task.model == "lstm" or task.arguments:
        return None
    if task.kind == "predict":
        return predict(task, device)
    step, rows = Step(task, device), task.steps * task.batch_size
    if task.kind == "sequence":
        return sequence(step, task, device)
    inputs, targets = ([tensor.to(device) for tensor in group] for group in tensors_of(task))

    def epoch() -> object:
        for index in torch.randperm(rows, device=device).split(task.batch_size):
            step([x.index_select(0, index) for x in inputs], [y.index_select(0, index) for y in targets])
        return step.figures(rows)

    def batch() -> object:
        step(inputs, targets)
        return step.figures(rows)

    return repeated(batch if task.kind == "train-on-batch" else epoch)


def sequence(step: Step, task: Task, device: str) -> Run:
    """Return the loop over batches that are already made."""
    batches = task.batches()

    def epoch() -> object:
        for number in torch.randperm(len(batches)).tolist():
            x, y = batches[number]
            step([torch.from_numpy(x).to(device)], [torch.from_numpy(y).to(device)])
        return step.figures(task.steps * task.batch_size)

    return repeated(epoch)


def predict(task: Task, device: str) -> Run:
    """Return the loop that predicts with a compiled network."""
    network = network_of(task).to(device).eval()
    compiled, inputs = torch.compile(network, fullgraph=True, dynamic=False), tensors_of(task)[0][0].to(device)

    def once() -> object:
        with torch.inference_mode():
            return torch.cat([compiled(x) for x in inputs.split(task.batch_size)]).cpu().numpy()

    return repeated(once)
