"""A model as ONNX: its prediction's jaxpr, equation by equation, as the nodes of a graph.

What depends on parameters alone is computed here and becomes a constant; calls (of compiled functions, of functions
with a gradient of their own) are spelled out; a broadcast is left to the node that takes it, where that broadcasts.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.extend.core as jex
import numpy as np
from jaxtyping import DTypeLike

from jaxfc.artifacts.exports.onnx_graph import INPUT, OUTPUT, Graph, Value, element_type
from jaxfc.artifacts.exports.onnx_primitives import BROADCASTING, NODES
from jaxfc.artifacts.exports.traced import of_any_batch
from jaxfc.artifacts.files import write_atomically
from jaxfc.description import describe

if TYPE_CHECKING:
    from jaxfc.artifacts.predictor import Predictor

OPERATORS = 18  # the version of ONNX's operators, of December 2022
FORMAT = 8  # and of its files, which every runtime since then reads
LARGEST = 2**31  # bytes: what a protocol buffer holds


def write_onnx(predictor: "Predictor", path: str | Path, *, dtype: DTypeLike = "float32") -> None:
    """Write a model or an ensemble as ONNX; see `Predictor.to_onnx`.

    >>> import tempfile
    >>> from jaxfc import FCNet, Model, init, load
    >>> data, net = load("digits"), FCNet(64, (16,), 10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_onnx(Model.of(net, *init(net, jax.random.key(0)), data), Path(folder, "m.onnx"))
    ...     Path(folder, "m.onnx").exists()
    True
    """
    write_atomically(path, onnx_model(predictor, dtype).SerializeToString())


def onnx_model(predictor: "Predictor", dtype: DTypeLike = "float32") -> Any:
    """A model or an ensemble as an `onnx.ModelProto`, checked.

    Raises:
        ImportError: the `onnx` package is not installed.
        ValueError: a primitive of JAX's for which there is no rule, named; arrays of more than 2 GiB.
        TypeError: a network that takes the batch's size for a number.

    >>> from jaxfc import FCNet, Model, init, load
    >>> data, net = load("digits"), FCNet(64, (), 10)
    >>> model = onnx_model(Model.of(net, *init(net, jax.random.key(0)), data))
    >>> [node.op_type for node in model.graph.node][:3]
    ['Sub', 'Mul', 'MatMul']
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("writing ONNX needs the package onnx: pip install 'jaxfc[onnx]'") from error
    program, rows = of_any_batch(predictor, dtype)
    traced = jax.make_jaxpr(program)(rows)
    if sum(np.asarray(array).nbytes for array in traced.consts) >= LARGEST:
        raise ValueError("the model has 2 GiB of parameters or more, which an ONNX file does not hold")
    graph = Graph(rows.shape[0])
    (out,) = _spelled(graph, traced, [Value(name=INPUT)])
    (aval,) = traced.out_avals
    graph.nodes.append(onnx.helper.make_node("Identity", [graph.full(out, aval.shape)], [OUTPUT]))
    ends = [
        onnx.helper.make_tensor_value_info(name, element_type(kind), ["batch", *map(int, shape[1:])])
        for name, kind, shape in ((INPUT, rows.dtype, rows.shape), (OUTPUT, aval.dtype, aval.shape))
    ]
    made = onnx.helper.make_graph(graph.nodes, "prediction", ends[:1], ends[1:], graph.constants)
    opset = [onnx.helper.make_opsetid("", OPERATORS)]
    model = onnx.helper.make_model(made, opset_imports=opset, ir_version=FORMAT, producer_name="jaxfc")
    about = predictor.about
    known = {"targets": about.targets, "outputs": about.outputs(), "feature_names": about.feature_names}
    known["columns"] = describe(about.columns)  # what the codes of a table's columns stand for
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in known.items() if value})
    onnx.checker.check_model(model, full_check=True)
    return model


def _spelled(graph: Graph, closed: Any, inputs: list[Value]) -> list[Value]:
    """Add the nodes of a jaxpr to a graph; returns its outputs."""
    jaxpr, values = closed.jaxpr, dict(zip(closed.jaxpr.invars, inputs, strict=True))
    values |= {var: Value(np.asarray(each)) for var, each in zip(jaxpr.constvars, closed.consts, strict=True)}

    def read(var: Any) -> Value:
        return Value(np.asarray(var.val, var.aval.dtype)) if isinstance(var, jex.Literal) else values[var]

    for eqn in jaxpr.eqns:
        values |= zip(eqn.outvars, _equation(graph, eqn, [read(var) for var in eqn.invars]), strict=True)
    return [read(var) for var in jaxpr.outvars]


def _equation(graph: Graph, eqn: Any, inputs: list[Value]) -> list[Value]:
    name, inner = eqn.primitive.name, _called(eqn, inputs)
    if inner is not None:
        return _spelled(graph, inner, inputs[1:] if name == "cond" else inputs)
    if name == "platform_index":
        return [Value(np.int32(_on_cpu(eqn.params["platforms"])))]
    if all(value.array is not None for value in inputs) and not _of_batch(eqn):
        return _computed(eqn, inputs)
    if name == "broadcast_in_dim":
        return [_broadcast(graph, eqn, inputs[0])]
    if name not in NODES:
        raise ValueError(f"no ONNX for JAX's primitive {name}, which the model's prediction uses")
    shapes = [value.aval.shape for value in eqn.invars]
    if name in BROADCASTING and _complete(inputs, shapes, eqn.outvars[0].aval.shape):
        names = [graph.thin(value) for value in inputs]
    else:
        names = [graph.full(value, shape) for value, shape in zip(inputs, shapes, strict=True)]
    made = NODES[name](graph, names, eqn)
    return [Value(name=each) for each in ([made] if isinstance(made, str) else made)]


def _called(eqn: Any, inputs: list[Value]) -> Any:
    """The jaxpr that an equation calls, if it does nothing else."""
    if eqn.primitive.name == "cond":
        which = inputs[0].array
        if which is None:
            raise ValueError("no ONNX for JAX's primitive cond by a value of the input: choose by jnp.where")
        return eqn.params["branches"][int(which)]
    if eqn.primitive.name in ("scan", "while"):
        return None
    inner = next((eqn.params[each] for each in ("jaxpr", "call_jaxpr", "fun_jaxpr") if each in eqn.params), None)
    return inner if inner is None or hasattr(inner, "consts") else jex.ClosedJaxpr(inner, ())


def _on_cpu(platforms: Any) -> int:
    """Of the variants for several platforms, that for CPUs: other programs' runtimes are on any."""
    return next(i for i, names in enumerate(platforms) if names is None or "cpu" in names)


def _of_batch(eqn: Any) -> bool:
    return any(not isinstance(size, int | np.integer) for var in eqn.outvars for size in var.aval.shape)


def _computed(eqn: Any, inputs: list[Value]) -> list[Value]:
    """What an equation makes of constants."""
    out = eqn.primitive.bind(*(jax.numpy.asarray(value.array) for value in inputs), **eqn.params)
    return [Value(np.asarray(each)) for each in (out if eqn.primitive.multiple_results else [out])]


def _broadcast(graph: Graph, eqn: Any, value: Value) -> Value:
    """The axes that are new, each of size 1; how far they go is for the node to say that takes it."""
    shape, placed = eqn.params["shape"], [int(axis) for axis in eqn.params["broadcast_dimensions"]]
    own = dict(zip(placed, eqn.invars[0].aval.shape, strict=True))
    new = [axis for axis in range(len(shape)) if axis not in own]
    thin = tuple(own.get(axis, 1) for axis in range(len(shape)))
    if value.array is not None:
        name = graph.constant(value.array.reshape(thin))
    else:
        name = graph.full(value, eqn.invars[0].aval.shape)
        name = graph.node("Unsqueeze", name, graph.ints(new)) if new else name
    return Value(name=name, thin=None if thin == shape else thin)


def _complete(inputs: list[Value], shapes: list[tuple], out: tuple) -> bool:
    """Whether inputs, as they are, broadcast to the whole of an output."""
    own = [shape if value.thin is None else value.thin for value, shape in zip(inputs, shapes, strict=True)]
    own = [(1,) * (len(out) - len(shape)) + tuple(shape) for shape in own]
    return all(any(shape[axis] == size for shape in own) for axis, size in enumerate(out))
