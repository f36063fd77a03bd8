"""Read a Keras model's configuration as a flat list of layer calls, without Keras and torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from transfer_core.runtime.errors import Problem, RecipeError

Config = dict[str, Any]

# Layers that act only in Keras' training.
DROPOUTS = ("Dropout", "SpatialDropout2D", "GaussianDropout", "AlphaDropout", "GaussianNoise")


# Five times as many as in Keras' largest model; nested models may be called any number of times.
MOST_CALLS = 5000


class Slot(NamedTuple):
    """Placeholder of an input, by its index, in the arguments of a call."""

    number: int


@dataclass(frozen=True)
class Node:
    """One call of a layer.

    Parameters
    ----------
    name
        Unique name of the result: the layer's name, with a number from its second call on.
    layer
        Path of the layer in nested models.
    kind
        `Conv2D`; `ops.Add` for Keras' functions; with the module for any other class.
    entry
        The layer's part of the configuration.
    inputs
        The names of the nodes whose results it takes.
    args, kwargs
        Arguments of the call, with a `Slot` for each input.
    """

    name: str
    layer: tuple[str, ...]
    kind: str
    entry: Config
    inputs: tuple[str, ...]
    args: tuple[Any, ...]
    kwargs: Config

    @property
    def config(self) -> Config:
        """The layer's own settings."""
        config: Config = self.entry["config"]
        return config


@dataclass(frozen=True)
class Graph:
    """Calls of layers in the order of execution, without those that the last result doesn't depend on.

    Parameters
    ----------
    source
        The name of the image among the inputs of nodes.
    shape
        Its height, width and channels; None: any.
    nodes
        The calls.
    """

    source: str
    shape: tuple[int | None, int | None, int]
    nodes: tuple[Node, ...]


def read_graph(model: Config, title: str) -> Graph:
    """Read a functional or sequential model with one image as input, and one output.

    Parameters
    ----------
    model
        Its configuration.
    title
        Its name in errors.

    Raises
    ------
    RecipeError
        At `backbone`, for an unsupported model.
    """
    return _Reader(title).read(model)


def without_classifier(graph: Graph) -> Graph:
    """The graph without its classifier: the last dense layer, if it is alone at the end, and the dropout
    before it."""
    nodes = list(graph.nodes)
    for number in reversed(range(1, len(nodes))):
        if nodes[number].kind == "Dense" and is_cut(graph, number) and _flat(nodes[number]):
            nodes = nodes[:number]
            break
    while len(nodes) > 1 and nodes[-1].kind in DROPOUTS:
        nodes.pop()
    return replace(graph, nodes=tuple(nodes))


def is_cut(graph: Graph, number: int) -> bool:
    """Whether the nodes from this index on use only the last result of those before, and share no layers."""
    before, after = graph.nodes[:number], graph.nodes[number:]
    needed = {name for node in after for name in node.inputs} - {node.name for node in after}
    shared = {node.layer for node in before} & {node.layer for node in after}
    return needed == {before[-1].name} and not shared


def _flat(dense: Node) -> bool:
    shape = (dense.entry.get("build_config") or {}).get("input_shape")
    return shape is None or len(shape) == 2


class _Reader:
    """Flattens nested models; `_names` are the names in use."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._names: set[str] = set()
        self._calls = 0

    def read(self, model: Config) -> Graph:
        source = self._unused("image")
        nodes, result = self._inline(model, [source], ())
        useful = _leading_to(result, nodes)
        shape = self._shape(model)
        return Graph(source, shape, useful)

    def _inline(self, model: Config, inputs: list[str], path: tuple[str, ...]) -> tuple[list[Node], str]:
        """The nodes of a model with these inputs, and the name of its result."""
        config = model.get("config")
        if not isinstance(config, dict) or not _is_of_keras(model) or "layers" not in config:
            raise self._refusal(f"has the class {model.get('class_name')}, whose layers are not accessible")
        if "input_layers" in config:
            return self._functional(config, inputs, path)
        return self._sequential(config, inputs, path)

    def _sequential(self, config: Config, inputs: list[str], path: tuple[str, ...]) -> tuple[list[Node], str]:
        (result,) = inputs
        nodes: list[Node] = []
        for entry in config["layers"]:
            if entry["class_name"] != "InputLayer":
                called, result = self._call(entry, [result], (Slot(0),), {}, path)
                nodes += called
        return nodes, result

    def _functional(self, config: Config, inputs: list[str], path: tuple[str, ...]) -> tuple[list[Node], str]:
        sources, outputs = _ends(config["input_layers"]), _ends(config["output_layers"])
        if len(sources) != len(inputs) or len(outputs) != 1:
            where = "/".join(path) or "the model"
            raise self._refusal(
                f"has {len(sources)} inputs and {len(outputs)} outputs ({where}), not one of each"
            )
        results = dict(zip(sources, inputs, strict=True))
        nodes: list[Node] = []
        waiting = [
            (entry, number, *_arguments(call, self._refusal))
            for entry in config["layers"]
            for number, call in enumerate(entry["inbound_nodes"])
        ]
        while waiting:
            ready = next((one for one in waiting if all(key in results for key in one[4])), None)
            if ready is None:
                raise self._refusal(f"has an input that no layer outputs ({waiting[0][0]['name']})")
            waiting.remove(ready)
            entry, number, args, kwargs, keys = ready
            called, result = self._call(entry, [results[key] for key in keys], args, kwargs, path)
            nodes += called
            results[entry["name"], number, 0] = result
        return nodes, results[outputs[0]]

    def _call(
        self, entry: Config, inputs: list[str], args: tuple[Any, ...], kwargs: Config, path: tuple[str, ...]
    ) -> tuple[list[Node], str]:
        """A call of a layer, or the calls of all layers of a nested model."""
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise self._refusal(f"has more than {MOST_CALLS:,} calls of layers")
        layer = (*path, entry.get("name") or entry["config"]["name"])
        if _is_of_keras(entry) and "layers" in (entry.get("config") or {}):
            return self._inline(entry, inputs, layer)
        name = self._unused(layer[-1])
        return [Node(name, layer, _kind(entry), entry, tuple(inputs), args, kwargs)], name

    def _unused(self, name: str) -> str:
        """A unique name without dots, which names of torch's modules can't contain."""
        plain = name.replace(".", "_")
        free = next(n for n in _numbered(plain) if n not in self._names)
        self._names.add(free)
        return free

    def _shape(self, model: Config) -> tuple[int | None, int | None, int]:
        shape = _input_shape(model)
        if shape is None or len(shape) != 4 or shape[3] not in (1, 3):
            raise self._refusal(f"takes {shape}, not images (N, height, width, 3)")
        if shape[1] != shape[2]:
            raise self._refusal(f"takes images of {shape[1]} x {shape[2]} pixels, only squares are supported")
        return shape[1], shape[2], int(shape[3])

    def _refusal(self, what: str) -> RecipeError:
        return RecipeError([Problem("backbone", f"{self._title} {what}")])


def _leading_to(result: str, nodes: Sequence[Node]) -> tuple[Node, ...]:
    wanted = {result}
    useful = []
    for node in reversed(nodes):
        if node.name in wanted:
            wanted |= set(node.inputs)
            useful.append(node)
    return tuple(reversed(useful))


def _arguments(call: Any, refusal: Any) -> tuple[tuple[Any, ...], Config, list[tuple[Any, ...]]]:
    """The arguments of a call with slots for tensors, and the keys of these tensors."""
    if not isinstance(call, Mapping):
        raise refusal("was saved by Keras 2. Fix: load it in Keras 3 and save it again")
    keys: list[tuple[Any, ...]] = []

    def slotted(value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
            keys.append(tuple(value["config"]["keras_history"]))
            return Slot(len(keys) - 1)
        if isinstance(value, list):
            return [slotted(one) for one in value]
        return value

    args = tuple(slotted(value) for value in call["args"])
    kwargs = {name: slotted(value) for name, value in call["kwargs"].items() if value is not None}
    return args, kwargs, keys


def _kind(entry: Config) -> str:
    module = entry.get("module") or ""
    if not _is_of_keras(entry):
        return f"{module}.{entry['class_name']}"
    return f"ops.{entry['class_name']}" if ".ops" in module else str(entry["class_name"])


def _is_of_keras(entry: Config) -> bool:
    return str(entry.get("module")).split(".")[0] == "keras"


def _ends(layers: Any) -> list[tuple[Any, ...]]:
    """Parse input or output layers: one as `[name, 0, 0]`, several as a list or a dict of these."""
    if isinstance(layers, dict):
        layers = list(layers.values())
    return [tuple(layers)] if layers and isinstance(layers[0], str) else [tuple(one) for one in layers]


def _input_shape(model: Config) -> list[int | None] | None:
    """The shape of the input layer, or of the nested model that comes first."""
    config = model["config"]
    for entry in config["layers"]:
        if entry["class_name"] == "InputLayer":
            known: list[int | None] | None = entry["config"].get("batch_shape")
            return known
    first = config["layers"][0]
    shape = config.get("build_input_shape") or (first.get("build_config") or {}).get("input_shape")
    return shape or (_input_shape(first) if "layers" in first["config"] else None)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 1
    while True:
        yield f"{name}_{number}"
        number += 1
