"""What layers, models and inputs are called in lowered code: the names of a drawing, made fit for attributes and arguments."""

import keyword

from torch import fx, nn
from torch.fx import GraphModule

from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.layer import Layer

CONSTANTS = "constants"
"""The attribute under which the tensors that were mixed into a graph are kept."""

_EMPTY_GRAPH_MODULE = GraphModule(nn.Module(), fx.Graph())

_BREAKING = "\"'\\"


def module_key(name: str) -> str:
    """Return the attribute under which a layer of this name is kept: dots, and names that are taken, are changed.

    So are quotes, backslashes and line ends: torch.fx writes the name between quotes into the code that it runs. Taken
    are the words of Python, what torch needs for itself, and `constants`.

    >>> module_key("block.1"), module_key("forward")
    ('block_1', 'forward_')
    """
    key = "".join("_" if letter in "." + _BREAKING or not letter.isprintable() else letter for letter in name) or "_"
    is_taken = keyword.iskeyword(key) or key == CONSTANTS or hasattr(_EMPTY_GRAPH_MODULE, key)
    return f"{key}_" if is_taken else key


def module_keys(graph: Graph) -> dict[Layer, str]:
    """Return the attribute of each layer; two names that would make one key are told apart by a trailing `_`.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,), name="x")
    >>> list(module_keys(Graph([x], [Dense(2, name="a_b")(Dense(2, name="a.b")(x))])).values())
    ['x', 'a_b', 'a_b_']
    """
    keys: dict[Layer, str] = {}
    taken: set[str] = set()
    for layer in graph.layers:
        key = module_key(graph.names[layer])
        while key in taken:
            key += "_"
        taken.add(key)
        keys[layer] = key
    return keys


def identifier(name: str) -> str:
    """Return the nearest name that a class or an argument of a function may have.

    >>> identifier("my model"), identifier("class"), identifier("2nd")
    ('my_model', 'class_', '_2nd')
    """
    cleaned = "".join(letter if f"_{letter}".isidentifier() else "_" for letter in name)
    cleaned = cleaned if cleaned[:1].isalpha() or cleaned[:1] == "_" else f"_{cleaned}"
    return f"{cleaned}_" if keyword.iskeyword(cleaned) or cleaned == "self" else cleaned
