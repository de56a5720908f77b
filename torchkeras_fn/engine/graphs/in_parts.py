"""What comes out of a graph, told call by call, where it cannot be told at once: its calls may need to be told in different ways."""

from collections.abc import Sequence

from torchkeras_fn.engine.drawing.inference import infer
from torchkeras_fn.engine.drawing.spec import Spec
from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.symbolic import map_symbolic


def specs_of_outputs(graph: Graph, inputs: Sequence[Spec]) -> list[Spec]:
    """Return the specs of a graph's outputs for those of its inputs. Raises `InferenceError` where a call refuses what it is given.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> import torch
    >>> x = Input(shape=(3,))
    >>> specs_of_outputs(Graph([x], [Dense(2)(x)]), [Spec.of((None, 5, 3), torch.float32)])[0].shape
    (None, 5, 2)
    """
    specs = {id(tensor): spec for tensor, spec in zip(graph.inputs, inputs, strict=True)}
    for node in graph.nodes:
        if all(id(tensor) in specs for tensor in node.tensors):
            continue
        args, kwargs = map_symbolic(lambda tensor: specs[id(tensor)], (node.args, node.kwargs))
        operation = node.operation
        if isinstance(operation, Layer):
            result = infer(operation._inferred, args, kwargs, operation._weight_device())
        else:
            result = infer(operation, args, kwargs)
        specs.update((id(tensor), tensor.pick(result)) for tensor in node.tensors if id(tensor) not in specs)
    return [specs[id(tensor)] for tensor in graph.outputs]
