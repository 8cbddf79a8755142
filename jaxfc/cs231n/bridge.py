"""The way between NumPy at the face and compiled functions behind it."""

import functools
import math
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import numpy as np

ALIGNMENT = 64  # bytes: of memory that JAX on a CPU takes over without a copy


def compiled(function: Callable, donate: tuple[int, ...] = ()) -> Callable:
    """Compile a function, and call it with 64-bit arithmetic allowed, whatever the process's setting.

    Args:
        function: of arrays, or trees of them.
        donate: the positions of arguments whose memory the results may take; no array of a caller's own.
    """
    program = jax.jit(function, donate_argnums=donate)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with jax.enable_x64(True):
            return program(*args)

    return call


def to_numpy(tree: Any) -> Any:
    """The same tree with arrays that the caller may write to."""
    return jax.tree.map(np.array, tree)


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array to be filled, and left alone once it is handed to JAX: a CPU then reads it where it lies.

    NumPy's own lie 16 bytes beside such a place; to copy 49,000 images takes a third of a second.
    """
    dtype, count = np.dtype(dtype), math.prod(shape)
    memory = np.empty(count * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + count * dtype.itemsize].view(dtype).reshape(shape)


def common(*arrays: Any) -> tuple[np.ndarray, ...]:
    """Convert arrays to the floating type that NumPy would compute with."""
    arrays = tuple(map(np.asarray, arrays))
    dtype = np.result_type(*arrays)
    dtype = dtype if np.issubdtype(dtype, np.floating) else np.dtype(np.float64)
    return tuple(a.astype(dtype, copy=False) for a in arrays)


OUT_OF_SCOPE = ("conv_", "max_pool_", "spatial_", "load_tiny_imagenet", "load_models", "load_imagenet_val")


def refuse(module: str, name: str) -> NoReturn:
    """Answer the lookup of a name that a module does not have."""
    if name.startswith(OUT_OF_SCOPE):
        raise ImportError(f"{name}: convolutional networks and their data are out of scope of jaxfc")
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
