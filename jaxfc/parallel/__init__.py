"""Many devices: meshes, where arrays lie on them, and what tells a compiler so.

There is no engine here: JAX's own runtime runs one program on many devices. A training's program is written for
one; it becomes that of many by the shardings of its arguments, and by a network and a rule that say, at a few
places, where their arrays lie.
"""

from jaxfc.parallel.constrained import Constrained, Divided
from jaxfc.parallel.divided_rows import DividedRows, divided_batches, places_sharding
from jaxfc.parallel.meshes import AXES, MeshSpec, check_batch, check_use, mesh_of, spelled
from jaxfc.parallel.placing import fetched, put, row_sharding, shapes_of, whole_sharding
from jaxfc.parallel.populations import population_mesh
from jaxfc.parallel.processes import Joining, any_process, check_alike, joined
from jaxfc.parallel.shardings import Ends, Shardings, shardings_of, share_shardings, whole_shardings

__all__ = [
    "AXES",
    "Constrained",
    "Divided",
    "DividedRows",
    "Ends",
    "Joining",
    "MeshSpec",
    "Shardings",
    "any_process",
    "check_alike",
    "check_batch",
    "check_use",
    "divided_batches",
    "fetched",
    "joined",
    "mesh_of",
    "places_sharding",
    "population_mesh",
    "put",
    "row_sharding",
    "shapes_of",
    "shardings_of",
    "share_shardings",
    "spelled",
    "whole_sharding",
    "whole_shardings",
]
