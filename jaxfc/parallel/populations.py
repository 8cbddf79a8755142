"""Populations: members divided among devices.

Each device runs the program that a single device runs of as many members as its share. No device waits for another,
or hears of one; and a member's numbers are the same to the last bit wherever it is trained. (One program partitioned
over all devices would be compiled once, but simplified in another order: last bits then differ from a single device's.)
"""

import jax
import numpy as np
from jax.sharding import Mesh

from jaxfc.parallel.meshes import AXES, MeshSpec, check_use, mesh_of


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
    check_use(mesh, ("population",), "a search")
    if any(device.process_index != jax.process_index() for device in mesh.devices.flat):
        raise ValueError("a search runs on the devices of one process: let each process search by itself")
    return mesh
