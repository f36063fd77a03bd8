"""Build an ONNX graph operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

# Of ONNX Runtime 1.17 and later: trees need ai.onnx.ml 3.
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
# Opsets of networks that came as ONNX files, and the IR version that they need.
_NEWER_IR = {19: 9, 20: 9, 21: 10, 22: 10}
ML = "ai.onnx.ml"
# Bytes from which on a tensor of several networks is stored once.
_SHARED = 1 << 12

Number: TypeAlias = "float | int | npt.NDArray[Any] | Value"


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of a graph under construction; numbers beside it become constants of its dtype."""

    graph: Graph
    name: str
    dtype: np.dtype[Any]

    def apply(self, operator: str, *others: Number, dtype: Any = None, **attributes: Any) -> Value:
        """The output of an operator whose first input is this value; `dtype` if it is another."""
        inputs = [self, *(Value._of(other, self.graph, self.dtype) for other in others)]
        (output,) = self.graph.add(operator, inputs, (dtype or self.dtype,), **attributes)
        return output

    def choose(self, then: Number, otherwise: Number) -> Value:
        """Elements of `then` where this is true, else of `otherwise`; numbers take the dtype of the other."""
        (dtype,) = {value.dtype for value in (then, otherwise) if isinstance(value, Value)}
        pair = [Value._of(value, self.graph, dtype) for value in (then, otherwise)]
        return self.graph.add("Where", [self, *pair], (dtype,))[0]

    def cast(self, dtype: Any) -> Value:
        """The same numbers as `dtype`."""
        from onnx.helper import np_dtype_to_tensor_dtype

        to = np.dtype(dtype)
        return self if to == self.dtype else self.apply("Cast", dtype=to, to=np_dtype_to_tensor_dtype(to))

    def reshape(self, *shape: int) -> Value:
        """The same numbers in another shape; 0 keeps an axis, -1 is inferred."""
        return self.apply("Reshape", self.graph.constant(np.array(shape, np.int64)))

    def sum(self, axis: int, keepdims: bool = False) -> Value:
        """The sum over an axis."""
        return self.apply("ReduceSum", self.graph.constant(np.array([axis])), keepdims=int(keepdims))

    def joined(self, *others: Value, axis: int) -> Value:
        """This and other values one after the other."""
        return self.graph.add("Concat", [self, *others], (self.dtype,), axis=axis)[0]

    def inside(self, branch: Graph) -> Value:
        """This value for nodes of a branch (see `Graph.either`)."""
        return Value(branch, self.name, self.dtype)

    def __add__(self, other: Number) -> Value:
        return self.apply("Add", other)

    def __sub__(self, other: Number) -> Value:
        return self.apply("Sub", other)

    def __mul__(self, other: Number) -> Value:
        return self.apply("Mul", other)

    def __truediv__(self, other: Number) -> Value:
        return self.apply("Div", other)

    def __matmul__(self, other: Number) -> Value:
        return self.apply("MatMul", other)

    def __neg__(self) -> Value:
        return self.apply("Neg")

    @staticmethod
    def _of(number: Number, graph: Graph, dtype: np.dtype[Any]) -> Value:
        return number if isinstance(number, Value) else graph.constant(np.asarray(number, dtype))


@dataclass(eq=False)
class Graph:
    """Nodes and constants; `model` puts them together."""

    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    tensors: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    opset: int = OPSET
    _counter: list[int] = field(default_factory=lambda: [0])
    # Large tensors of networks by type, shape and digest.
    _known: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def input(self, name: str, dtype: Any, shape: Sequence[str | int]) -> Value:
        """Declare an input."""
        self.inputs.append(_described(name, np.dtype(dtype), shape))
        return Value(self, name, np.dtype(dtype))

    def output(self, name: str, value: Value, shape: Sequence[str | int]) -> None:
        """Declare a value as an output."""
        from onnx.helper import make_node

        self.nodes.append(make_node("Identity", [value.name], [name]))
        self.outputs.append(_described(name, value.dtype, shape))

    def constant(self, array: Any) -> Value:
        """A constant tensor."""
        array = np.asarray(array)
        name = self._new_name("constant")
        self.constants[name] = array
        return Value(self, name, array.dtype)

    def add(
        self,
        operator: str,
        inputs: Sequence[Value | None],
        dtypes: Sequence[Any],
        domain: str = "",
        **attributes: Any,
    ) -> list[Value]:
        """Add a node; returns its outputs, of these dtypes. An input of None is left out."""
        from onnx.helper import make_node

        names = [self._new_name(operator) for _ in dtypes]
        given = [value.name if value else "" for value in inputs]
        # ONNX Runtime 1.21 combines nodes under names made of theirs, which must differ.
        self.nodes.append(make_node(operator, given, names, name=names[0], domain=domain, **attributes))
        return [Value(self, name, np.dtype(dtype)) for name, dtype in zip(names, dtypes, strict=True)]

    def either(
        self, condition: Value, then: Callable[[Graph], Value], otherwise: Callable[[Graph], Value]
    ) -> Value:
        """The value of one of two branches, of which only that one is computed.

        Parameters
        ----------
        condition
            bool (1,).
        then, otherwise
            Add the nodes of a branch to a graph of its own, where values of this one are taken with
            `Value.inside`.
        """
        branches, dtype = {}, None
        for word, branch in (("then_branch", then), ("else_branch", otherwise)):
            value = branch(Graph(_counter=self._counter))
            branches[word], dtype = value.graph._as_branch(value), value.dtype
        (chosen,) = self.add("If", [condition], (dtype,), **branches)
        return chosen

    def loop(
        self, most: Value, states: Sequence[Value], body: Callable[[Graph, Value, list[Value]], list[Value]]
    ) -> list[Value]:
        """Repeat a part of a graph; returns the last states.

        Parameters
        ----------
        most
            int64 (): the largest number of repetitions.
        states
            The first values of what changes; shapes may grow.
        body
            Called with a graph of its own, where values of this one are taken with `Value.inside`, the
            number of the repetition, int64 (), and the states. Returns whether to go on, bool (), and the
            new states.
        """
        inner = Graph(_counter=self._counter, _known=self._known)
        number = inner._argument(np.int64)
        go_on = inner._argument(bool)
        given = [inner._argument(state.dtype) for state in states]
        results = body(inner, number, given)
        # Constants of the outer graph are ready once, not in each repetition.
        self.tensors += inner.tensors
        self.constants |= inner.constants
        self.opset = max(self.opset, inner.opset)
        inner.tensors, inner.constants = [], {}
        for result in results:
            inner.output(inner._new_name("state"), result, [])
        for described in (*inner.inputs[2:], *inner.outputs[1:]):
            described.type.tensor_type.ClearField("shape")
        from onnx.helper import make_graph

        graph = make_graph(inner.nodes, go_on.name, inner.inputs, inner.outputs)
        start = self.constant(np.array(True))
        return self.add("Loop", [most, start, *states], [state.dtype for state in states], body=graph)

    def inline(self, model: Any, inputs: dict[str, Value], dtypes: Sequence[Any]) -> list[Value]:
        """Add the nodes of another model; returns its outputs.

        Parameters
        ----------
        model
            A ModelProto of standard operators.
        inputs
            Values for its inputs.
        dtypes
            Of its outputs.

        Raises
        ------
        ValueError
            If it has operators that are not standard.
        """
        from onnx.compose import add_prefix_graph
        from onnx.inliner import inline_local_functions

        opsets = {opset.domain: opset.version for opset in model.opset_import}
        model = inline_local_functions(model) if model.functions else model
        if others := {node.domain for node in model.graph.node} - {"", "ai.onnx", ML}:
            raise ValueError(f"it has operators of {', '.join(sorted(others))}, which are not standard")
        self.opset = max(self.opset, opsets.get("", 0), opsets.get("ai.onnx", 0))
        prefix = self._new_name("network") + "/"
        graph = add_prefix_graph(model.graph, prefix)
        for name, value in inputs.items():
            self.nodes.append(_identity(value.name, prefix + name))
        same = self._same_tensors(graph.initializer)
        self.tensors += [tensor for tensor in graph.initializer if tensor.name not in same]
        _rename_inputs(graph.node, same)
        self.nodes += graph.node
        return [
            Value(self, output.name, np.dtype(dtype))
            for output, dtype in zip(graph.output, dtypes, strict=True)
        ]

    def model(self) -> Any:
        """The finished ModelProto."""
        from onnx.helper import make_graph, make_model, make_opsetid

        graph = make_graph(self.nodes, "transfer", self.inputs, self.outputs, self._initializers())
        domains = {node.domain for node in self.nodes}
        opsets = [make_opsetid("", self.opset)] + ([make_opsetid(ML, ML_OPSET)] if ML in domains else [])
        ir_version = IR_VERSION if self.opset < 19 else _NEWER_IR.get(self.opset, 11)
        return make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="transfer")

    def _argument(self, dtype: Any) -> Value:
        return self.input(self._new_name("argument"), dtype, [])

    def _same_tensors(self, tensors: Sequence[Any]) -> dict[str, str]:
        """Names of tensors that another network in this graph has as well, and their names there."""
        same = {}
        for tensor in tensors:
            content = tensor.raw_data
            if len(content) < _SHARED:
                continue
            key = (tensor.data_type, tuple(tensor.dims), sha256(content).digest())
            if (known := self._known.setdefault(key, tensor.name)) != tensor.name:
                same[tensor.name] = known
        return same

    def _as_branch(self, value: Value) -> Any:
        from onnx.helper import make_graph

        self.output(self._new_name("branch"), value, [])
        output = self.outputs[-1]
        output.type.tensor_type.ClearField("shape")
        return make_graph(self.nodes, output.name, [], [output], self._initializers())

    def _initializers(self) -> list[Any]:
        from onnx.numpy_helper import from_array

        return [from_array(array, name) for name, array in self.constants.items()] + self.tensors

    def _new_name(self, stem: str) -> str:
        self._counter[0] += 1
        return f"{stem}_{self._counter[0]}"


def _rename_inputs(nodes: Any, names: Mapping[str, str]) -> None:
    """Rename inputs of nodes, also in their subgraphs."""
    for node in nodes if names else ():
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
        for attribute in node.attribute:
            _rename_inputs(attribute.g.node, names)


def _identity(source: str, target: str) -> Any:
    from onnx.helper import make_node

    return make_node("Identity", [source], [target])


def _described(name: str, dtype: np.dtype[Any], shape: Sequence[str | int]) -> Any:
    from onnx.helper import make_tensor_value_info, np_dtype_to_tensor_dtype

    return make_tensor_value_info(name, np_dtype_to_tensor_dtype(dtype), list(shape))
