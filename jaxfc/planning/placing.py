"""Where a program's arrays are to be on the devices of a topology, as shapes that say so."""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxfc.parallel import MeshSpec, mesh_of, spelled
from jaxfc.planning.topologies import Topology


def mesh_on(topology: Topology, spec: MeshSpec | None, axis: str) -> Mesh:
    """All devices of a topology as a mesh.

    Args:
        topology: the devices.
        spec: the devices along each axis, as `jaxfc.parallel.mesh_of` takes them.
        axis: the axis along which all of them are, where there is no `spec`.

    Raises:
        ValueError: as `mesh_of`; a mesh of some of the devices only.

    >>> from jaxfc.planning.topologies import topology
    >>> spelled(mesh_on(topology("this"), None, "population"))
    'data=1'
    """
    mesh = mesh_of(f"{axis}=-1" if spec is None else spec, topology.devices)
    if mesh.size < len(topology.devices):
        raise ValueError(
            f"mesh {spelled(mesh)} has {mesh.size} of the {len(topology.devices)} devices of {topology.name}: "
            "use them all, or name a smaller topology"
        )
    return mesh


def placed(mesh: Mesh, tree: Any, *axes: str | None) -> Any:
    """A tree's shapes, each divided along its first axes as named; whole on every device where none is.

    >>> from jaxfc.parallel import mesh_of
    >>> placed(mesh_of(), {"w": np.ones(2)})["w"].shape
    (2,)
    """
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.tree.map(lambda leaf: _shape(leaf, sharding), tree)


def bytes_of(tree: Any) -> int:
    """Bytes of a tree's arrays on one of the devices that they are placed on.

    >>> bytes_of(jax.ShapeDtypeStruct((3, 2), np.float32))
    24
    """
    return sum(math.prod(_part(leaf)) * _itemsize(leaf.dtype) for leaf in jax.tree.leaves(tree))


def _part(leaf: Any) -> tuple[int, ...]:
    sharding = getattr(leaf, "sharding", None)
    return leaf.shape if sharding is None else sharding.shard_shape(leaf.shape)


def _itemsize(dtype: Any) -> int:
    return 8 if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) else np.dtype(dtype).itemsize


def _shape(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    if not hasattr(leaf, "dtype"):
        leaf = jax.eval_shape(lambda: jax.numpy.asarray(leaf))  # in JAX's own type of number
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
