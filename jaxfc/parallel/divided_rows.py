"""Rows of which each device along `data` has its own, and takes its part of a batch from them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Integer

from jaxfc.parallel.placing import put, row_sharding

ROWS = PartitionSpec("data")


@partial(jax.tree_util.register_dataclass, data_fields=["array"], meta_fields=["mesh"])
@dataclass(frozen=True)
class DividedRows:
    """An array whose rows are divided along `data`. To take some sends nothing: each device takes of its own.

    Args:
        array: the rows, those of the first device first.
        mesh: the mesh.

    >>> from jaxfc.parallel import mesh_of
    >>> rows = DividedRows(jax.numpy.array([1.0, 2.0, 3.0]), mesh_of())
    >>> print(rows[jax.numpy.array([2, 0])])
    [3. 1.]
    """

    array: Any
    mesh: Mesh

    @property
    def shape(self) -> tuple[int, ...]:
        """That of all rows."""
        return self.array.shape

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, places: Any) -> jax.Array:
        """A batch: the part of each device, in turn, by its places among the device's rows."""
        take = jax.shard_map(lambda rows, places: rows[places], mesh=self.mesh, in_specs=(ROWS, ROWS), out_specs=ROWS)
        return take(self.array, places)


def divided_batches(
    take: Callable[[np.ndarray], tuple], plan: Integer[np.ndarray, "iterations batch"], mesh: Mesh
) -> tuple[tuple[DividedRows | None, ...], jax.Array]:
    """Bring the rows of some batches to the devices that need them; a process reads those of its own devices alone.

    Args:
        take: reads rows: from their indices, arrays of them, or None.
        plan: the indices of each batch's rows.
        mesh: the mesh, whose devices along `data` divide the batch.

    Returns:
        The arrays; and the plan by which they are gone through: for each batch, the places of its rows among those
        of their device.

    >>> from jaxfc.parallel import mesh_of
    >>> (x,), places = divided_batches(lambda rows: (10 * rows,), np.array([[3, 1], [0, 2]]), mesh_of())
    >>> print(x.array, places.tolist())
    [30 10  0 20] [[0, 1], [2, 3]]
    """
    count, (iterations, batch) = mesh.shape["data"], plan.shape
    share = batch // count
    by_device = plan.reshape(iterations, count, share).swapaxes(0, 1).reshape(count, -1)
    where = row_sharding(mesh)
    mine = sorted({index[0].start or 0 for index in where.addressable_devices_indices_map((count,)).values()})

    def placed(local: np.ndarray | None) -> DividedRows | None:
        if local is None:
            return None
        shape = plan.size, *local.shape[1:]
        return DividedRows(jax.make_array_from_process_local_data(where, local, shape), mesh)

    in_turn = np.arange(iterations * share, dtype=np.int32).reshape(iterations, share)
    places = put(np.tile(in_turn, (1, count)), places_sharding(mesh))
    return tuple(placed(each) for each in take(by_device[mine].ravel())), places


def places_sharding(mesh: Mesh) -> NamedSharding:
    """Where the plan of `divided_batches` lies: each batch along `data`.

    >>> from jaxfc.parallel import mesh_of
    >>> tuple(places_sharding(mesh_of()).spec)
    (None, 'data')
    """
    return NamedSharding(mesh, PartitionSpec(None, "data"))
