"""A training over the devices of a mesh: the same program, given arrays that lie on all of them.

On a mesh of one device nothing is told to the compiler, and the program is `train_program` itself.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxfc.networks import Network
from jaxfc.networks.contract import shapes
from jaxfc.parallel import (
    Constrained,
    Divided,
    Ends,
    Shardings,
    check_batch,
    check_use,
    shapes_of,
    shardings_of,
    whole_shardings,
)
from jaxfc.tasks import Task
from jaxfc.training.measuring import DeviceData
from jaxfc.training.program import NEVER, Progress, Recipe, train_epochs, train_program


class Spread(NamedTuple):
    """A training on a mesh.

    Args:
        mesh: the mesh.
        recipe: what is static, with the rule in the form that divides its update.
        net: the network, in the form that divides its rows.
        task: the task.
        shardings: where the arguments of the program lie; None for the default device.
        program: the program, called as `jaxfc.training.program.train_program` is.

    >>> Spread._fields
    ('mesh', 'recipe', 'net', 'task', 'shardings', 'program')
    """

    mesh: Mesh
    recipe: Recipe
    net: Network
    task: Task
    shardings: Shardings | None
    program: Any

    def lower(self, progress: Progress, data: DeviceData, plans: tuple[int, int, int]) -> Any:
        """The program, lowered from shapes.

        Args:
            progress: the training so far, or its shapes.
            data: the data, or their shapes.
            plans: the shape of the plans.
        """
        where = self.shardings
        progress = shapes_of(progress, where and where.progress)
        data = shapes_of(data, where and where.data)
        rows = shapes_of(jax.ShapeDtypeStruct(plans, np.int32), where and where.plans)
        number = np.int32(NEVER)
        return self.program.lower(self.recipe, self.net, self.task, progress, data, rows, number, number, number)


def spread(mesh: Mesh, recipe: Recipe, net: Network, task: Task, progress: Any, data: Any) -> Spread:
    """A training over a mesh.

    Args:
        mesh: the mesh; it need not be of devices that there are: of a topology, the program can be compiled.
        recipe: what is static.
        net: the network.
        task: the task.
        progress: the `Progress`, or its shapes.
        data: the `DeviceData`, or its shapes.

    >>> from jaxfc import Classification, FCNet, load
    >>> from jaxfc.optim import adam
    >>> from jaxfc.parallel import mesh_of
    >>> from jaxfc.training.ahead import progress_like
    >>> from jaxfc.training.prepare import prepare
    >>> from jaxfc.training.settings import RunSettings
    >>> net, task = FCNet(64, (20,), 10), Classification()
    >>> rows = prepare(net, "adam", load("digits"), RunSettings()).rows
    >>> progress = progress_like(net, task, adam, rows, {})
    >>> over = spread(mesh_of("data=1"), Recipe(adam), net, task, progress, rows)
    >>> over.program is train_program
    True
    >>> memory = over.lower(progress, rows, (1, 40, 32)).compile().memory_analysis()
    >>> memory.argument_size_in_bytes > 0
    True
    """
    if mesh.size == 1:
        return Spread(mesh, recipe, net, task, None, train_program)
    where = shardings_of(mesh, net, task, progress, data)
    leaves, structure = jax.tree.flatten(where.progress)
    program = _program(structure, tuple(leaves), where.numbers)
    told = recipe._replace(rule=Divided(recipe.rule, Ends.of(net), mesh))
    return Spread(mesh, told, Constrained(net, mesh), task, where, program)


def check_mesh(mesh: Mesh, net: Network, batch_size: int, accumulate: int) -> None:
    """Raise unless a mesh suits a training.

    Raises:
        ValueError: an axis that is of no use, or one that divides neither the batch nor any of the network's arrays.

    >>> from jaxfc import FCNet
    >>> from jaxfc.parallel import mesh_of
    >>> check_mesh(mesh_of("data=1"), FCNet(64, (20,), 10), 32, 1)
    """
    check_use(mesh, ("data", "model"), "the training of one network")
    check_batch(mesh, batch_size, accumulate)
    count = mesh.shape["model"]
    divided = whole_shardings(mesh, net, shapes(net)[0])
    if count > 1 and all(sharding.is_fully_replicated for sharding in jax.tree.leaves(divided)):
        raise ValueError(
            f"mesh model={count} divides no layer of the network: use widths that are multiples of {count}, or data"
        )


@cache
def _program(structure: Any, leaves: tuple, numbers: Any) -> Callable:
    """The program whose arrays come back to where they were."""
    return jax.jit(
        train_epochs,
        static_argnames=("recipe", "population"),
        donate_argnames="progress",
        out_shardings=(structure.unflatten(leaves), numbers, numbers),
    )
