"""An ONNX graph as it is being written: nodes, constants, and sizes of which one, the batch's, is known at run time."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

INPUT, OUTPUT = "x", "prediction"


class Value(NamedTuple):
    """What a variable of a jaxpr is in the graph: a constant, or a named tensor.

    Args:
        array: the constant; None for what depends on the input.
        name: the tensor's name; "" for a constant.
        thin: the tensor's own shape, where that of the variable is this one broadcast.

    >>> Value(name="x").array is None
    True
    """

    array: np.ndarray | None = None
    name: str = ""
    thin: tuple | None = None


def element_type(dtype: Any) -> int:
    """ONNX's number for a type; bfloat16 is computed in float32, as few runtimes have it.

    >>> element_type(np.float32), element_type(jnp.bfloat16)
    (1, 1)
    """
    import onnx

    dtype = np.dtype(dtype)
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(np.float32) if dtype == jnp.bfloat16 else dtype))


class Graph:
    """Nodes and constants, in the order in which they were added.

    >>> graph = Graph(batch=None)
    >>> graph.node("Add", "x", graph.constant(np.float32(1)))
    'Add_1'
    >>> [node.op_type for node in graph.nodes]
    ['Add']
    """

    def __init__(self, batch: Any) -> None:
        self.batch = batch
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._count = itertools.count()
        self._known: dict[tuple, str] = {}

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; returns its output's name, or the names of several."""
        import onnx

        number = next(self._count)
        names = [f"{op}_{number}" if outputs == 1 else f"{op}_{number}_{i}" for i in range(outputs)]
        self.nodes.append(onnx.helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array: Any) -> str:
        """The name of a constant, of which there is one however often it is asked for."""
        import onnx

        array = np.asarray(array)
        array = np.asarray(array, np.float32 if array.dtype == jnp.bfloat16 else array.dtype, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"constant_{next(self._count)}"
            self.constants.append(onnx.numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def ints(self, values: Sequence[int]) -> str:
        """A constant vector of integers, as sizes and axes are."""
        return self.constant(np.array([int(value) for value in values], np.int64).reshape(-1))

    def sizes(self, dims: Sequence[Any]) -> str:
        """The vector of an array's sizes, some of them the batch's."""
        if all(isinstance(dim, int | np.integer) for dim in dims):
            return self.ints(dims)
        parts = [self.ints([dim]) if isinstance(dim, int | np.integer) else self.size(dim) for dim in dims]
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    def size(self, dim: Any) -> str:
        """A size that depends on the batch's, as a vector of one."""
        if ("batch",) not in self._known:
            self._known["batch",] = self.node("Shape", INPUT, start=0, end=1)
        times, plus = divmod(dim, self.batch)
        if not (isinstance(times, int) and isinstance(plus, int)):
            raise ValueError(f"no ONNX for an array of size {dim}: sizes may be a multiple of the batch's, and a rest")
        name = self._known["batch",]
        name = name if times == 1 else self.node("Mul", name, self.ints([times]))
        return name if plus == 0 else self.node("Add", name, self.ints([plus]))

    def cast(self, name: str, dtype: Any) -> str:
        """A tensor in another type."""
        return self.node("Cast", name, to=element_type(dtype))

    def thin(self, value: Value) -> str:
        """A value's name, where it stands in a place that broadcasts."""
        return value.name if value.array is None else self.constant(value.array)

    def full(self, value: Value, shape: Sequence[Any]) -> str:
        """A value's name in its full shape."""
        name = self.thin(value)
        return name if value.thin is None else self.node("Expand", name, self.sizes(shape))
