"""Populations: members divided among devices, each of which runs the program of its share.

No device waits for another, or hears of one: a member's numbers are those that a program of as many members as a
share has gives it on one device, to the last bit.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from jaxfc.parallel.meshes import AXES, MeshSpec, check_use, mesh_of

AXIS = "population"


def population_mesh(spec: MeshSpec | None = None) -> Mesh:
    """The mesh of a search: what `mesh_of` makes of `spec`, by default all of this process's devices that are alike.

    Raises:
        ValueError: as `mesh_of`; another axis than `population`; devices of another process.

    >>> population_mesh().shape["population"] == len(jax.local_devices())
    True
    """
    if spec is None:
        first, *others = jax.local_devices()
        alike = [first, *(device for device in others if device.device_kind == first.device_kind)]
        return Mesh(np.array(alike).reshape(1, 1, -1), AXES)
    mesh = mesh_of(spec, jax.local_devices())
    check_use(mesh, (AXIS,), "a search")
    if any(device.process_index != jax.process_index() for device in mesh.devices.flat):
        raise ValueError("a search runs on the devices of one process: let each process search by itself")
    return mesh


def over_population(mesh: Mesh, function: Callable, ins: tuple[int | None, ...], outs: Any) -> Callable:
    """A function of a population's share, as one of the whole population.

    Args:
        mesh: the mesh; of one device, the function is left as it is.
        function: the function.
        ins: for each of its arguments, a tree, the axis of its leaves along which members lie; None for what all
            members share.
        outs: likewise for what it returns: an axis, or one for each item of a tuple.

    >>> double = over_population(population_mesh(), lambda members, factor: members * factor, (0, None), 0)
    >>> print(double(np.arange(8), 2))
    [ 0  2  4  6  8 10 12 14]
    """
    if mesh.size == 1:
        return function
    outs = tuple(map(_along, outs)) if isinstance(outs, tuple) else _along(outs)
    # What a loop begins with is the same on all devices, and then each device's own: not to be checked.
    return jax.shard_map(function, mesh=mesh, in_specs=tuple(map(_along, ins)), out_specs=outs, check_vma=False)


def _along(axis: int | None) -> PartitionSpec:
    return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, AXIS)


def member_sharding(mesh: Mesh) -> Sharding:
    """Where arrays lie whose first axis are the members.

    >>> len(member_sharding(population_mesh()).device_set) == len(jax.local_devices())
    True
    """
    return _sharding(mesh, _along(0))


def whole_sharding(mesh: Mesh) -> Sharding:
    """Where arrays lie that all devices have whole.

    >>> whole_sharding(population_mesh()).is_fully_replicated
    True
    """
    return _sharding(mesh, PartitionSpec())


def _sharding(mesh: Mesh, spec: PartitionSpec) -> Sharding:
    return SingleDeviceSharding(mesh.devices.flat[0]) if mesh.size == 1 else NamedSharding(mesh, spec)
