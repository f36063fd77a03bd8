"""Remove from a SavedModel all operations that are not on the allowlist (`allowed_operations`).

Other functions and operations are removed before TensorFlow loads the graph, with all their callers. So it
does not matter which of them the loader would run (signatures, resource creators, initializers, savers). The
SavedModel is refused if the loader needs one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.variable_pb2 import VariableDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry

from transfer_core.backbones.tensorflow import allowed_operations

# Collections of a graph of TensorFlow 1: operations that the loader runs, variables that it restores.
_INITIALIZERS = ("saved_model_main_op", "legacy_init_op")
_VARIABLES = ("variables", "trainable_variables", "local_variables")
_HANDLES = (types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT)

# Operations outside the list per function of the library, including those of the functions that it calls.
Forbidden = Mapping[str, set[str]]


class Untrusted(Exception):
    """The SavedModel needs operations outside the list; the message lists them."""


def clean(model: SavedModel, tags: list[str] | None) -> None:
    """Keep only the graph with these tags, and in it only operations on the list.

    Parameters
    ----------
    model
        Changed in place.
    tags
        Of the graph to keep; None: all.

    Raises
    ------
    Untrusted
        If a signature, an initializer or a variable needs another operation.
    """
    if tags is not None:
        chosen = [graph for graph in model.meta_graphs if set(graph.meta_info_def.tags) == set(tags)]
        _keep(model.meta_graphs, chosen)
    has_objects = len(model.meta_graphs) == 1 and model.meta_graphs[0].HasField("object_graph_def")
    for graph in model.meta_graphs:
        forbidden = forbidden_functions(graph.graph_def.library.function)
        functions, nodes = _wanted_of_objects(graph) if has_objects else (set(), _wanted_of_graph(graph))
        kept = _reachable(graph.graph_def.node, nodes)
        found = {name for function in functions for name in forbidden.get(function, ())}
        found |= {name for node in kept for name in _forbidden_in(node, forbidden)}
        if found:
            raise Untrusted(", ".join(sorted(found)))
        _reduce(graph, kept, forbidden)
        if not has_objects:
            del graph.asset_file_def[:]  # no remaining operation can read them


def forbidden_functions(functions: Iterable[Any]) -> dict[str, set[str]]:
    """Map each function of a library to the operations outside the list that a call of it would run."""
    functions = list(functions)
    names = {function.signature.name for function in functions}
    found: dict[str, set[str]] = {name: set() for name in names}
    callers: dict[str, set[str]] = {name: set() for name in names}
    for function in functions:
        name = function.signature.name
        if op_def_registry.get(name):  # a function with the name of an operation
            found[name].add(name)
        for node in function.node_def:
            for called in _runs(node):
                if called in names:
                    callers[called].add(name)
                elif called not in allowed_operations.ALLOWED:
                    found[name].add(called)
    changed = [name for name in names if found[name]]
    while changed:
        name = changed.pop()
        for caller in callers[name]:
            if not found[name] <= found[caller]:
                found[caller] |= found[name]
                changed.append(caller)
    return found


def _runs(node: Any) -> Iterator[str]:
    """The operation or function of a node, and the functions among its attributes."""
    yield node.op
    for value in node.attr.values():
        if value.tensor.dtype in _HANDLES:
            yield f"{node.op} of {types_pb2.DataType.Name(value.tensor.dtype)}"
        yield from _functions_in(value)


def _functions_in(value: Any) -> Iterator[str]:
    given = [value.func] if value.HasField("func") else value.list.func
    for function in given:
        yield function.name
        for inner in function.attr.values():
            yield from _functions_in(inner)


def _forbidden_in(node: Any, forbidden: Forbidden) -> set[str]:
    runs = list(_runs(node))
    found = {name for name in runs if name not in allowed_operations.ALLOWED and name not in forbidden}
    return found.union(*(forbidden.get(name, set()) for name in runs))


def _wanted_of_objects(graph: Any) -> tuple[set[str], set[str]]:
    """The functions of the objects, and the nodes of their constants."""
    objects = graph.object_graph_def
    return set(objects.concrete_functions), {each.constant.operation for each in objects.nodes}


def _wanted_of_graph(graph: Any) -> set[str]:
    """The nodes that signatures, initializers and variables of TensorFlow 1 refer to."""
    wanted: set[str] = set()
    for signature in graph.signature_def.values():
        for tensor in (*signature.inputs.values(), *signature.outputs.values()):
            wanted |= _named(tensor)
    for key, collection in graph.collection_def.items():
        if key in _INITIALIZERS:
            wanted.update(collection.node_list.value)
        if key in _VARIABLES:
            variables = map(VariableDef.FromString, collection.bytes_list.value)
            wanted.update(name for variable in variables for name in _names_of(variable))
    return {_node_of(name) for name in wanted}


def _names_of(variable: VariableDef) -> tuple[str, ...]:
    return (
        *(variable.variable_name, variable.initializer_name),
        *(variable.snapshot_name, variable.initial_value_name),
    )


def _named(tensor: Any) -> set[str]:
    """The names in a `TensorInfo`, which may consist of several tensors."""
    sparse = tensor.coo_sparse
    names = {tensor.name, sparse.values_tensor_name, sparse.indices_tensor_name}
    names.add(sparse.dense_shape_tensor_name)
    return names.union(*(_named(part) for part in tensor.composite_tensor.components))


def _reachable(nodes: Iterable[Any], wanted: Iterable[str]) -> list[Any]:
    """The wanted nodes and all their ancestors."""
    by_name = {node.name: node for node in nodes}
    left, kept = [name for name in wanted if name in by_name], {}
    while left:
        name = left.pop()
        if name not in kept:
            kept[name] = by_name[name]
            inputs = (_node_of(source) for source in by_name[name].input)
            left += [source for source in inputs if source in by_name and source not in kept]
    return list(kept.values())


def _node_of(name: str) -> str:
    """`conv:0` and `^conv` -> `conv`."""
    return name.removeprefix("^").partition(":")[0]


def _reduce(graph: Any, kept: list[Any], forbidden: Forbidden) -> None:
    """Remove other nodes, functions with forbidden operations, and the saver, which TensorFlow recreates."""
    library = graph.graph_def.library
    _keep(library.function, [each for each in library.function if not forbidden[each.signature.name]])
    left = {function.signature.name for function in library.function}
    _keep(
        library.gradient,
        [each for each in library.gradient if {each.function_name, each.gradient_func} <= left],
    )
    _keep(library.registered_gradients, [g for g in library.registered_gradients if g.gradient_func in left])
    names = {node.name for node in kept}
    _keep(graph.graph_def.node, [node for node in graph.graph_def.node if node.name in names])
    graph.ClearField("saver_def")
    for key in set(graph.collection_def) - {*_INITIALIZERS, *_VARIABLES}:
        del graph.collection_def[key]
    for node in (*graph.graph_def.node, *(node for f in library.function for node in f.node_def)):
        node.attr.pop("config_proto", None)  # settings of TensorFlow, not of the network


def _keep(field: Any, chosen: list[Any]) -> None:
    if len(chosen) < len(field):
        copies = [type(each).FromString(each.SerializeToString()) for each in chosen]
        del field[:]
        field.extend(copies)
