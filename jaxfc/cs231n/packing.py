"""Compiled calls on small arrays, which travel as one vector for each dtype.

What a tiny program costs is counted in the arrays that go in and come out: a gradient check calls one
thousands of times, with a dozen arrays each way.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfc.cs231n.bridge import compiled, to_numpy

SMALL = 2**13  # entries in all arguments: beyond, copying them costs more than their number


def packing(function: Callable) -> Callable:
    """Compile a function of trees of NumPy arrays; it returns such trees, whose arrays may be written to.

    Where the arguments are small, they are packed. The results are then parts of one array.
    """
    plain = compiled(function)
    packed: dict[tuple, _Packed] = {}

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        if sum(leaf.size for leaf in leaves) > SMALL:
            return to_numpy(plain(*args))
        key = (tree, *[(leaf.dtype, leaf.shape) for leaf in leaves])
        if key not in packed:
            packed[key] = _Packed(function, _Layout(tree, leaves))
        return packed[key](leaves)

    return call


class _Packed:
    """A function compiled for arguments of one layout."""

    def __init__(self, function: Callable, arguments: "_Layout") -> None:
        self.function, self.arguments = function, arguments
        self.program = compiled(self._on_vectors)

    def __call__(self, leaves: Sequence[Any]) -> Any:
        vectors = self.program(self.arguments.pack(leaves, np))
        return self.results.unpack([np.array(vector) for vector in vectors])

    def _on_vectors(self, vectors: Sequence[Any]) -> list[Any]:
        leaves, tree = jax.tree.flatten(self.function(*self.arguments.unpack(vectors)))
        self.results = _Layout(tree, leaves)
        return self.results.pack(leaves, jnp)


class _Layout:
    """Where the arrays of a tree stand in vectors, one vector for each dtype."""

    def __init__(self, tree: Any, leaves: Sequence[Any]) -> None:
        self.tree = tree
        dtypes = list(dict.fromkeys(leaf.dtype for leaf in leaves))
        self.members = [[i for i, leaf in enumerate(leaves) if leaf.dtype == dtype] for dtype in dtypes]
        self.places: list[tuple] = [()] * len(leaves)
        for vector, members in enumerate(self.members):
            ends = list(itertools.accumulate(leaves[i].size for i in members))
            for i, start, end in zip(members, [0, *ends], ends, strict=False):
                self.places[i] = (vector, slice(start, end), leaves[i].shape)

    def pack(self, leaves: Sequence[Any], numpy: Any) -> list[Any]:
        """Join the arrays, by `numpy` or `jax.numpy`."""
        return [numpy.concatenate([leaves[i].ravel() for i in members]) for members in self.members]

    def unpack(self, vectors: Sequence[Any]) -> Any:
        """The tree, its arrays cut out of the vectors."""
        return jax.tree.unflatten(self.tree, [vectors[i][part].reshape(shape) for i, part, shape in self.places])
