"""Arrays onto a mesh, and off it again."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def row_sharding(mesh: Mesh) -> NamedSharding:
    """Where arrays lie whose rows are divided along `data`.

    >>> from jaxfc.parallel.meshes import mesh_of
    >>> tuple(row_sharding(mesh_of()).spec)
    ('data',)
    """
    return NamedSharding(mesh, PartitionSpec("data"))


def whole_sharding(mesh: Mesh) -> NamedSharding:
    """Where arrays lie that all devices have whole.

    >>> from jaxfc.parallel.meshes import mesh_of
    >>> whole_sharding(mesh_of()).is_fully_replicated
    True
    """
    return NamedSharding(mesh, PartitionSpec())


def shapes_of(tree: Any, where: Any = None) -> Any:
    """A tree's shapes and types, and where its arrays are to lie.

    Args:
        tree: arrays, or their shapes.
        where: shardings, tree for tree or for a part of it; or None, where that is not said.

    >>> shapes_of(np.zeros((2, 3), np.uint8))
    ShapeDtypeStruct(shape=(2, 3), dtype=uint8)
    """
    if where is None:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    where = jax.tree.broadcast(where, tree)
    return jax.tree.map(lambda leaf, at: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=at), tree, where)


def put(tree: Any, where: Any) -> Any:
    """Put a tree of arrays, NumPy's or JAX's, where a tree of shardings says.

    Where the mesh is of several processes, each of them has all of the tree, and puts its part.

    Args:
        tree: the arrays.
        where: shardings, tree for tree or for a part of it; a device; or None for the default device.

    >>> put({"w": np.ones(2, np.float32)}, None)["w"].devices() == {jax.devices()[0]}
    True
    """
    if not isinstance(where, None | jax.Device):
        where = jax.tree.broadcast(where, tree)
        if not all(sharding.is_fully_addressable for sharding in jax.tree.leaves(where)):
            return jax.tree.map(_put_part, tree, where)
    return jax.device_put(tree, where)


def _put_part(leaf: Any, sharding: Any) -> jax.Array:
    """This process's part of an array that lies on devices of several."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        words = _put_part(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def fetched(tree: Any) -> Any:
    """A tree of arrays, whole and in the host's memory; keys stay keys, on the default device.

    Where they lie on devices of several processes, all of these must call this, and each gets all of them.

    >>> fetched({"w": jax.numpy.ones(2)})
    {'w': array([1., 1.], dtype=float32)}
    """
    return jax.tree.map(_fetched, tree)


def _fetched(leaf: Any) -> Any:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        words = _fetched(jax.random.key_data(leaf))
        return jax.random.wrap_key_data(jax.numpy.asarray(words), impl=jax.random.key_impl(leaf))
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return np.asarray(leaf)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(leaf, tiled=True)
