"""A model as a picture, drawn by Graphviz."""

from typing import Any

from torchkeras_fn.arguments import one_of
from torchkeras_fn.engine.graphs.graph import graph_of
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.engine.symbolic import describe_operation


def dot_source(
    model: Any,
    show_shapes: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int | None = 96,
    show_dtype: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> str:
    """Return a model as a text in Graphviz' language: a box for each call of a layer or a function, and where its tensors go.

    `rankdir` is the direction in which it runs, `'TB'` (down), `'LR'`, `'BT'` or `'RL'`; the calls inside nested models are shown where
    `expand_nested`. A box says what is asked for: the name of the layer, the dtypes and shapes of what it makes, its activation, and
    whether it is trained. Raises `TypeError` for what is no model, and `ValueError` for one that is not built, and another direction.

    >>> from torchkeras_fn import Input, Model, layers
    >>> x = Input(shape=(3,))
    >>> print(dot_source(Model(x, layers.Dense(2)(x)), show_shapes=True, dpi=None))
    digraph {
        rankdir="TB"
        node [shape="record"]
        n0 [label="input_1: InputLayer|(None, 3)"]
        n1 [label="dense_1: Dense|(None, 2)"]
        n0 -> n1
    }
    """
    if not isinstance(model, Drawn):
        raise TypeError(f"Expected a Model to draw, got {model!r:.80} of type {type(model).__name__}.")
    one_of(rankdir, "rankdir", "TB", "LR", "BT", "RL")
    if not model._is_built():
        raise ValueError(f"{model.name} is not built yet: its shapes are unknown. Give an input shape, or fit it on data first.")
    writer = _Writer(show_shapes, show_layer_names, expand_nested, show_dtype, show_layer_activations, show_trainable)
    settings = [f'rankdir="{rankdir}"', *([f'dpi="{dpi}"'] if dpi else []), 'node [shape="record"]']
    writer.write(model, "    ")
    return "\n".join(["digraph {", *(f"    {line}" for line in settings), *writer.lines, *writer.arrows, "}"])


class _Writer:
    """Writes the boxes and arrows of a model, and of those nested in it."""

    def __init__(
        self, shows_shapes: bool, shows_names: bool, expands: bool, shows_dtype: bool, shows_activations: bool, shows_trainable: bool
    ):
        self._shows_shapes, self._shows_names, self._expands, self._shows_dtype = shows_shapes, shows_names, expands, shows_dtype
        self._shows_activations, self._shows_trainable = shows_activations, shows_trainable
        self.lines: list[str] = []
        self.arrows: list[str] = []
        self._count = 0

    def write(self, model: Any, indent: str, sources: list[str] | None = None) -> list[str]:
        """Write a model whose inputs come from the boxes `sources`, and return the boxes that make its outputs."""
        if model.graph is None:
            chain: list[str] = []
            for layer in model.layers:
                chain.append(self._box(self._title(layer, layer.name), "?", indent))
                self._connect(chain[-2:-1], chain[-1])
            return chain[-1:]
        graph = model.graph
        made = {id(tensor): source for tensor, source in zip(graph.inputs, sources or [], strict=False)}
        for node in graph.nodes:
            if all(id(tensor) in made for tensor in node.tensors):
                continue  # an input of a nested model: what it is called on stands for it
            operation, parents = node.operation, [made[id(parent)] for parent in node.parents]
            if self._expands and graph_of(operation) is not None:
                boxes = self._nested(operation, graph.names[operation], parents, indent)
            else:
                name = graph.names[operation] if isinstance(operation, Layer) else describe_operation(operation)
                shapes = [tensor.shape for tensor in node.tensors]
                dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in node.tensors})
                title = self._title(operation, name) + (f"|{', '.join(dtypes)}" if self._shows_dtype else "")
                boxes = [self._box(title, str(shapes[0] if len(shapes) == 1 else shapes), indent)] * len(node.tensors)
                self._connect(parents, boxes[0])
            made = {id(tensor): box for tensor, box in zip(node.tensors, boxes, strict=True)} | made
        return [made[id(tensor)] for tensor in graph.outputs]

    def _nested(self, model: Any, name: str, sources: list[str], indent: str) -> list[str]:
        self.lines.append(f'{indent}subgraph "cluster_{self._count}" {{')
        self.lines.append(f'{indent}    label="{_escaped(name)}"')
        boxes = self.write(model, indent + "    ", sources)
        self.lines.append(f"{indent}}}")
        return boxes

    def _title(self, operation: Any, name: str) -> str:
        if not isinstance(operation, Layer):
            return _escaped(f"{name}: function" if self._shows_names else name)
        kind, activation = type(operation).__name__, getattr(operation, "activation", None)
        said = [f"{name}: {kind}" if self._shows_names else kind]
        if self._shows_activations and activation is not None:
            said.append(getattr(activation, "__name__", type(activation).__name__))
        if self._shows_trainable:
            said.append("trainable" if operation.trainable else "not trainable")
        return "|".join(map(_escaped, said))

    def _box(self, title: str, shape: str, indent: str) -> str:
        box = f"n{self._count}"
        self._count += 1
        self.lines.append(f'{indent}{box} [label="{title}{"|" + shape if self._shows_shapes else ""}"]')
        return box

    def _connect(self, sources: list[str], box: str) -> None:
        self.arrows += [f"    {source} -> {box}" for source in dict.fromkeys(sources)]


def _escaped(text: str) -> str:
    """A text with a backslash before each sign that means something in a box."""
    return "".join(f"\\{sign}" if sign in '\\"{}|<>' else sign for sign in text)


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 96,
    subgraph: bool = False,
    show_dtype: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Any:
    """Return a model as a `pydot.Dot`: see `dot_source`, which says the same as a text and needs nothing installed.

    With `subgraph` it is a `pydot.Cluster`, to be put into another. Raises `ImportError` where pydot is not installed.
    """
    pydot = _pydot()
    source = dot_source(
        model, show_shapes, show_layer_names, rankdir, expand_nested, dpi, show_dtype, show_layer_activations, show_trainable
    )
    (graph,) = pydot.graph_from_dot_data(source)
    if not subgraph:
        return graph
    cluster = pydot.Cluster(graph_name=model.name, label=model.name)
    for box in graph.get_nodes():
        cluster.add_node(box)
    for nested in graph.get_subgraphs():
        cluster.add_subgraph(nested)
    for arrow in graph.get_edges():
        cluster.add_edge(arrow)
    return cluster


def plot_model(
    model: Any,
    to_file: Any = "model.png",
    show_shapes: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 96,
    show_dtype: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Any:
    """Draw a model into a file, of the format that its ending names; in a notebook the picture is returned too.

    See `dot_source` for the other arguments. `to_file='model.dot'` writes that text, for which nothing need be installed;
    other formats need pydot and Graphviz: `ImportError` where pydot, `FileNotFoundError` where Graphviz is missing.
    """
    path = str(to_file)
    ending = path.rpartition(".")[2] if "." in path else "png"
    shown = {"show_dtype": show_dtype, "show_layer_activations": show_layer_activations, "show_trainable": show_trainable}
    if ending == "dot":
        source = dot_source(model, show_shapes, show_layer_names, rankdir, expand_nested, dpi, **shown)
        with open(path, "w", encoding="utf-8") as file:
            file.write(source + "\n")
        return None
    model_to_dot(model, show_shapes, show_layer_names, rankdir, expand_nested, dpi, **shown).write(path, format=ending)
    try:
        from IPython import display  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    return display.Image(filename=path) if ending in ("png", "jpg", "jpeg") else None


def _pydot() -> Any:
    try:
        import pydot  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError(
            "Drawing a model needs pydot and Graphviz: pip install 'torchkeras_fn[drawing]', and https://graphviz.org/download. "
            "model.summary() prints a model, and plot_model(model, 'model.dot') writes it as a text, with neither."
        ) from error
    return pydot
