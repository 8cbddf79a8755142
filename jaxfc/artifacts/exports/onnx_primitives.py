"""Which ONNX nodes each of JAX's primitives becomes: one table, `NODES`.

A rule takes the graph, the names of its inputs and the equation, and returns the name of its output (or names).
Those in `BROADCASTING` may be handed inputs that are still to be broadcast. Version 18 of ONNX's operators.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax import lax

from jaxfc.artifacts.exports.onnx_graph import Graph

Rule = Callable[[Graph, list[str], Any], Any]


def _op(name: str, **attributes: Any) -> Rule:
    """The node of that name."""
    return lambda g, ins, eqn: g.node(name, *ins, **attributes)


def _with(op: str, number: float, *, first: bool = False) -> Rule:
    """A node of the input and a number."""

    def rule(g: Graph, ins: list[str], eqn: Any) -> str:
        pair = [ins[0], _number(g, number, eqn)]
        return g.node(op, *(reversed(pair) if first else pair))

    return rule


def _number(g: Graph, number: float, eqn: Any) -> str:
    return g.constant(np.asarray(number, eqn.invars[0].aval.dtype))


def _then(*rules: Rule) -> Rule:
    """One rule after the other."""

    def rule(g: Graph, ins: list[str], eqn: Any) -> str:
        for each in rules:
            ins = [each(g, ins, eqn)]
        return ins[0]

    return rule


def _same(g: Graph, ins: list[str], eqn: Any) -> Any:
    return ins[0] if len(ins) == 1 else ins


def _logical(of_bools: str, of_integers: str) -> Rule:
    def rule(g: Graph, ins: list[str], eqn: Any) -> str:
        return g.node(of_bools if eqn.invars[0].aval.dtype == bool else of_integers, *ins)

    return rule


def _integer_pow(g: Graph, ins: list[str], eqn: Any) -> str:
    y = eqn.params["y"]
    return g.node("Mul", ins[0], ins[0]) if y == 2 else g.node("Pow", ins[0], _number(g, y, eqn))


def _round(g: Graph, ins: list[str], eqn: Any) -> str:
    if eqn.params["rounding_method"] == lax.RoundingMethod.TO_NEAREST_EVEN:
        return g.node("Round", *ins)
    whole = g.node("Floor", g.node("Add", g.node("Abs", *ins), _number(g, 0.5, eqn)))
    return g.node("Mul", g.node("Sign", *ins), whole)


def _is_finite(g: Graph, ins: list[str], eqn: Any) -> str:
    return g.node("Not", g.node("Or", g.node("IsInf", *ins), g.node("IsNaN", *ins)))


def _select(g: Graph, ins: list[str], eqn: Any) -> str:
    if len(ins) != 3:
        raise ValueError(f"no ONNX for a choice among {len(ins) - 1} arrays: choose between two, by jnp.where")
    which = ins[0] if eqn.invars[0].aval.dtype == bool else g.cast(ins[0], bool)
    return g.node("Where", which, ins[2], ins[1])


def _clamp(g: Graph, ins: list[str], eqn: Any) -> str:
    return g.node("Max", ins[0], g.node("Min", ins[1], ins[2]))


def _cast(g: Graph, ins: list[str], eqn: Any) -> str:
    return g.cast(ins[0], eqn.params["new_dtype"])


def _reduction(op: str) -> Rule:
    return lambda g, ins, eqn: g.node(op, ins[0], g.ints(eqn.params["axes"]), keepdims=0)


def _of_bools(op: str) -> Rule:
    """Whether all or any: the least or the greatest of zeros and ones."""

    def rule(g: Graph, ins: list[str], eqn: Any) -> str:
        return g.cast(_reduction(op)(g, [g.cast(ins[0], np.int32)], eqn), bool)

    return rule


def _place(op: str) -> Rule:
    def rule(g: Graph, ins: list[str], eqn: Any) -> str:
        (axis,) = eqn.params["axes"]
        return g.cast(g.node(op, ins[0], axis=int(axis), keepdims=0), eqn.params["index_dtype"])

    return rule


def _cumsum(g: Graph, ins: list[str], eqn: Any) -> str:
    return g.node("CumSum", ins[0], g.constant(np.int64(eqn.params["axis"])), reverse=int(eqn.params["reverse"]))


def _dot_general(g: Graph, ins: list[str], eqn: Any) -> str:
    (over_a, over_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
    wanted = eqn.params["preferred_element_type"]
    wanted = eqn.outvars[0].aval.dtype if wanted is None else wanted
    ins = [
        name if var.aval.dtype == wanted else g.cast(name, wanted) for name, var in zip(ins, eqn.invars, strict=True)
    ]
    a, b = (len(var.aval.shape) for var in eqn.invars)
    count = len(batch_a)
    leading = tuple(batch_a) == tuple(batch_b) == tuple(range(count))
    if leading and tuple(over_a) == (a - 1,) and tuple(over_b) == (count,) and b == count + 2 and (a == b or not count):
        return g.node("MatMul", *ins)
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    left, right = [next(letters) for _ in range(a)], [next(letters) for _ in range(b)]
    for i, j in (*zip(over_a, over_b, strict=True), *zip(batch_a, batch_b, strict=True)):
        right[j] = left[i]
    free = [left[i] for i in range(a) if i not in (*over_a, *batch_a)]
    free += [right[j] for j in range(b) if j not in (*over_b, *batch_b)]
    out = "".join([*(left[i] for i in batch_a), *free])
    return g.node("Einsum", *ins, equation=f"{''.join(left)},{''.join(right)}->{out}")


def _reshape(g: Graph, ins: list[str], eqn: Any) -> str:
    sizes = eqn.params["new_sizes"]
    of_batch = [not isinstance(size, int | np.integer) for size in sizes]
    # A single size that depends on the batch follows from the others.
    inferred = [-1 if each else size for each, size in zip(of_batch, sizes, strict=True)]
    return g.node("Reshape", ins[0], g.sizes(inferred if sum(of_batch) == 1 and 0 not in sizes else sizes))


def _transpose(g: Graph, ins: list[str], eqn: Any) -> str:
    return g.node("Transpose", ins[0], perm=[int(axis) for axis in eqn.params["permutation"]])


def _squeeze(g: Graph, ins: list[str], eqn: Any) -> str:
    return g.node("Squeeze", ins[0], g.ints(eqn.params["dimensions"]))


def _concatenate(g: Graph, ins: list[str], eqn: Any) -> str:
    return g.node("Concat", *ins, axis=int(eqn.params["dimension"]))


def _stack(g: Graph, ins: list[str], eqn: Any) -> str:
    axis = int(eqn.params["axis"])
    return g.node("Concat", *(g.node("Unsqueeze", each, g.ints([axis])) for each in ins), axis=axis)


def _split(g: Graph, ins: list[str], eqn: Any) -> Any:
    sizes = eqn.params["sizes"]
    made = g.node("Split", ins[0], g.ints(sizes), outputs=len(sizes), axis=int(eqn.params["axis"]))
    return made if len(sizes) > 1 else [made]


def _slice(g: Graph, ins: list[str], eqn: Any) -> str:
    starts, limits = eqn.params["start_indices"], eqn.params["limit_indices"]
    strides = eqn.params["strides"] or [1] * len(starts)
    bounds = zip(starts, limits, strides, eqn.invars[0].aval.shape, strict=True)
    axes = [axis for axis, (start, limit, by, size) in enumerate(bounds) if (start, limit, by) != (0, size, 1)]
    if not axes:
        return ins[0]
    starts, limits, strides = ([each[axis] for axis in axes] for each in (starts, limits, strides))
    return g.node("Slice", ins[0], g.sizes(starts), g.sizes(limits), g.ints(axes), g.ints(strides))


def _reverse(g: Graph, ins: list[str], eqn: Any) -> str:
    axes = eqn.params["dimensions"]
    back, past = [-1] * len(axes), [np.iinfo(np.int64).min] * len(axes)
    return g.node("Slice", ins[0], g.ints(back), g.ints(past), g.ints(axes), g.ints(back))


def _pad(g: Graph, ins: list[str], eqn: Any) -> str:
    low, high, inner = zip(*eqn.params["padding_config"], strict=True)
    if any(inner):
        raise ValueError("no ONNX for padding between entries")
    return g.node("Pad", ins[0], g.ints([*low, *high]), ins[1])


def _iota(g: Graph, ins: list[str], eqn: Any) -> str:
    """Only of the batch's size: of a known one it is a constant."""
    shape, along = eqn.params["shape"], eqn.params["dimension"]
    size = g.node("Squeeze", g.sizes([shape[along]]))
    numbers = g.cast(g.node("Range", g.constant(np.int64(0)), size, g.constant(np.int64(1))), eqn.params["dtype"])
    others = [axis for axis in range(len(shape)) if axis != along]
    return g.node("Expand", g.node("Unsqueeze", numbers, g.ints(others)), g.sizes(shape))


def _gather(g: Graph, ins: list[str], eqn: Any) -> str:
    """Rows, entries or whole slices by their indices: what indexing an array by an array is."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    shape, places = (var.aval.shape for var in eqn.invars)
    batched, indexed = tuple(numbers.operand_batching_dims), tuple(numbers.start_index_map)
    filled = eqn.params["mode"] == lax.GatherScatterMode.FILL_OR_DROP
    if len(places) == 1 and not filled:
        cut = _window(g, ins[0], ins[1], indexed, [sizes[axis] for axis in indexed], [shape[axis] for axis in indexed])
        dropped = numbers.collapsed_slice_dims
        return g.node("Squeeze", cut, g.ints(dropped)) if dropped else cut
    whole = [axis for axis in range(len(shape)) if axis not in (*batched, *indexed)]
    one = set(numbers.collapsed_slice_dims) == set(indexed) and all(sizes[axis] == 1 for axis in indexed)
    if not one or any(sizes[axis] != shape[axis] for axis in whole):
        raise ValueError("no ONNX for an index that takes parts of an axis: index single places of whole axes")
    where = tuple(numbers.start_indices_batching_dims)
    rest = [axis for axis in range(len(places) - 1) if axis not in where]
    table = g.node("Transpose", ins[0], perm=[int(axis) for axis in (*batched, *indexed, *whole)])
    index = g.cast(ins[1], np.int64)
    index = g.node("Transpose", index, perm=[int(axis) for axis in (*where, *rest, len(places) - 1)])
    last = g.constant(np.array([shape[axis] - 1 for axis in indexed], np.int64))
    inside = g.node("Max", g.node("Min", index, last), g.constant(np.int64(0)))
    found = g.node("GatherND", table, inside, batch_dims=len(batched))  # batched, rest, whole
    if filled:
        there = g.cast(g.node("Equal", index, inside), np.int32)
        there = g.cast(g.node("ReduceMin", there, g.ints([-1]), keepdims=0), bool)
        there = g.node("Unsqueeze", there, g.ints(range(-len(whole), 0))) if whole else there
        found = g.node("Where", there, found, g.constant(_fill(eqn)))
    of_places = iter([[*where, *rest].index(axis) for axis in range(len(places) - 1)])
    of_table = iter(range(len(where) + len(rest), len(where) + len(rest) + len(whole)))
    rank = len(eqn.outvars[0].aval.shape)
    perm = [next(of_table if axis in numbers.offset_dims else of_places) for axis in range(rank)]
    return g.node("Transpose", found, perm=perm)


def _window(g: Graph, array: str, starts: str, axes: Any, sizes: Any, lengths: Any) -> str:
    """A part of an array, from places on that are moved so far that it lies inside."""
    last = g.ints([length - size for length, size in zip(lengths, sizes, strict=True)])
    starts = g.node("Max", g.node("Min", g.cast(starts, np.int64), last), g.constant(np.int64(0)))
    return g.node("Slice", array, starts, g.node("Add", starts, g.ints(sizes)), g.ints(axes))


def _dynamic_slice(g: Graph, ins: list[str], eqn: Any) -> str:
    shape, sizes = eqn.invars[0].aval.shape, eqn.params["slice_sizes"]
    axes = [axis for axis, (size, length) in enumerate(zip(sizes, shape, strict=True)) if size != length]
    if not axes:
        return ins[0]
    starts = [g.node("Unsqueeze", g.cast(ins[1 + axis], np.int64), g.ints([0])) for axis in axes]
    starts = g.node("Concat", *starts, axis=0)
    return _window(g, ins[0], starts, axes, [sizes[axis] for axis in axes], [shape[axis] for axis in axes])


def _fill(eqn: Any) -> np.ndarray:
    """What stands for an entry that is not there."""
    dtype, fill = eqn.outvars[0].aval.dtype, eqn.params.get("fill_value")
    if fill is None:
        if np.issubdtype(dtype, np.bool_):
            fill = True
        elif np.issubdtype(dtype, np.integer):
            fill = np.iinfo(dtype).max if np.issubdtype(dtype, np.unsignedinteger) else np.iinfo(dtype).min
        else:
            fill = np.nan
    return np.asarray(fill, dtype)


BROADCASTING: dict[str, Rule] = {
    "add": _op("Add"), "add_any": _op("Add"), "sub": _op("Sub"), "mul": _op("Mul"), "div": _op("Div"),
    "max": _op("Max"), "min": _op("Min"), "pow": _op("Pow"), "rem": _op("Mod", fmod=1),
    "eq": _op("Equal"), "ne": _then(_op("Equal"), _op("Not")), "lt": _op("Less"), "le": _op("LessOrEqual"),
    "gt": _op("Greater"), "ge": _op("GreaterOrEqual"),
    "and": _logical("And", "BitwiseAnd"), "or": _logical("Or", "BitwiseOr"), "xor": _logical("Xor", "BitwiseXor"),
    "select_n": _select, "clamp": _clamp,
}  # fmt: skip

NODES: dict[str, Rule] = BROADCASTING | {
    "neg": _op("Neg"), "abs": _op("Abs"), "sign": _op("Sign"), "not": _logical("Not", "BitwiseNot"),
    "exp": _op("Exp"), "exp2": _with("Pow", 2, first=True), "expm1": _then(_op("Exp"), _with("Sub", 1)),
    "log": _op("Log"), "log1p": _then(_with("Add", 1), _op("Log")),
    "sqrt": _op("Sqrt"), "rsqrt": _then(_op("Sqrt"), _op("Reciprocal")),
    "square": lambda g, ins, eqn: g.node("Mul", ins[0], ins[0]), "integer_pow": _integer_pow,
    "tanh": _op("Tanh"), "logistic": _op("Sigmoid"), "erf": _op("Erf"),
    "erfc": _then(_op("Erf"), _with("Sub", 1, first=True)),
    "sin": _op("Sin"), "cos": _op("Cos"), "tan": _op("Tan"), "asin": _op("Asin"), "acos": _op("Acos"),
    "atan": _op("Atan"), "sinh": _op("Sinh"), "cosh": _op("Cosh"),
    "floor": _op("Floor"), "ceil": _op("Ceil"), "round": _round, "is_finite": _is_finite,
    "convert_element_type": _cast,
    "copy": _same, "copy_p": _same, "stop_gradient": _same, "optimization_barrier": _same, "reduce_precision": _same,
    "reduce_sum": _reduction("ReduceSum"), "reduce_max": _reduction("ReduceMax"),
    "reduce_min": _reduction("ReduceMin"), "reduce_prod": _reduction("ReduceProd"),
    "reduce_and": _of_bools("ReduceMin"), "reduce_or": _of_bools("ReduceMax"),
    "argmax": _place("ArgMax"), "argmin": _place("ArgMin"), "cumsum": _cumsum,
    "dot_general": _dot_general, "reshape": _reshape, "transpose": _transpose, "squeeze": _squeeze,
    "concatenate": _concatenate, "stack": _stack, "split": _split, "slice": _slice, "dynamic_slice": _dynamic_slice,
    "rev": _reverse, "pad": _pad, "iota": _iota,
    "gather": _gather,
}  # fmt: skip
