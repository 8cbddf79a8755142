"""The programs of a training and of a search, from shapes alone: the functions that these run, lowered for any device.

There is no array of a network's on the way: what a program is compiled from are shapes, and where the arrays would be.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxfc.artifacts.predictor import predictions
from jaxfc.networks import Network
from jaxfc.networks.contract import shapes
from jaxfc.objective import ROWS
from jaxfc.parallel import shapes_of
from jaxfc.planning.placing import placed
from jaxfc.search import population
from jaxfc.search.candidates import Group
from jaxfc.tasks import Task
from jaxfc.training.ahead import progress_like
from jaxfc.training.measuring import DeviceData
from jaxfc.training.prepare import Prepared
from jaxfc.training.program import begin_measured
from jaxfc.training.spread import spread
from jaxfc.training.step import init_network


class Program(NamedTuple):
    """A program to be compiled.

    Args:
        name: what it does: `"train"`, `"begin"`, `"draw"` or `"predict"`.
        function: the function that a run calls, as `jax.jit` returned it.
        arguments: the shapes that it is called with, each placed on the devices.

    >>> Program("double", jax.jit(lambda x: 2 * x), (jax.ShapeDtypeStruct((), np.float32),)).traced().out_info.dtype
    dtype('float32')
    """

    name: str
    function: Any
    arguments: tuple[Any, ...]

    def traced(self) -> Any:
        """The program as JAX traces it."""
        return self.function.trace(*self.arguments)


class Held(NamedTuple):
    """What is on the devices while a program trains, as shapes that are placed.

    Args:
        data: what is read.
        params: the parameters that are trained.
        kept: the best of them, and running statistics.
        slots: what the update rule keeps.
        rows: a batch's inputs.

    >>> Held._fields
    ('data', 'params', 'kept', 'slots', 'rows')
    """

    data: Any
    params: Any
    kept: Any
    slots: Any
    rows: Any


def of_training(prepared: Prepared, mesh: Mesh) -> tuple[list[Program], Held]:
    """The programs of `jaxfc.fit` and of a model's predictions, the one that trains first; and what they hold.

    Args:
        prepared: the training, as `jaxfc.training.prepare.prepare` returns it.
        mesh: the devices.

    >>> from jaxfc import FCNet, load
    >>> from jaxfc.parallel import mesh_of
    >>> from jaxfc.training.prepare import prepare
    >>> from jaxfc.training.settings import RunSettings
    >>> prepared = prepare(FCNet(64, (), 10), "adam", load("digits"), RunSettings(), ahead=False)
    >>> [program.name for program in of_training(prepared, mesh_of())[0]]
    ['train', 'begin', 'draw', 'predict']
    """
    batch = prepared.settings.batch_size
    progress = progress_like(prepared.net, prepared.task, prepared.recipe.rule, prepared.rows, prepared.hyper)
    over = spread(mesh, prepared.recipe, prepared.net, prepared.task, progress, prepared.rows)
    data = placed(mesh, prepared.rows)
    progress = placed(mesh, progress) if over.shardings is None else shapes_of(progress, over.shardings.progress)
    shape = (prepared.group, len(data.x) // batch, batch)
    plans = placed(mesh, jax.ShapeDtypeStruct(shape, np.int32), None, None, "data")
    net, task, plain = placed(mesh, (over.net, over.task, prepared.net))
    state = progress.state
    programs = [
        Program("train", over.program, (over.recipe, net, task, progress, data, plans, *_numbers(mesh))),
        Program("begin", begin_measured, (net, task, state, data)),
        Program("draw", init_network, (plain, data.key)),
        _predicting(plain, task, data, placed(mesh, (state.params, state.stats)), mesh),
    ]
    rows = placed(mesh, jax.ShapeDtypeStruct((batch, *data.x.shape[1:]), data.x.dtype), "data")
    return programs, Held(data, state.params, (state.stats, progress.best), state.opt_state, rows)


def of_search(group: Group, data: DeviceData, width: int, epochs: int, mesh: Mesh) -> tuple[list[Program], Held]:
    """The programs of a search's population of so many members, the one that trains first; and what they hold.

    Args:
        group: candidates that share their programs.
        data: the data, or their shapes.
        width: the members of a program.
        epochs: the most epochs of a program.
        mesh: the devices.

    >>> from jaxfc import TrainConfig, load
    >>> from jaxfc.parallel import mesh_of
    >>> from jaxfc.search.loop import lay_out
    >>> from jaxfc.training.prepare import host_data
    >>> layout = lay_out(load("digits"), TrainConfig(epochs=2), [{"learning_rate": 1e-3}, {"learning_rate": 1e-2}])
    >>> rows = host_data(layout.data, layout.shared, None)
    >>> [program.name for program in of_search(layout.groups[0], rows, 2, 2, mesh_of())[0]]
    ['train', 'begin', 'predict']
    """
    begin = jax.jit(partial(population.begin, group.recipe))
    train = jax.jit(partial(population.train, group.recipe), donate_argnums=1)
    candidates = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((width, *leaf.shape), leaf.dtype), group.first)
    candidates, members = placed(mesh, (candidates, begin.eval_shape(candidates)), "population")
    shape = (epochs, group.iterations, group.settings.batch_size)
    data, plans = placed(mesh, (data, jax.ShapeDtypeStruct(shape, np.int32)))
    net, task, trained = placed(mesh, (group.first.net, group.first.task, shapes(group.net)))
    programs = [
        Program("train", train, (candidates, members, data, plans, *_numbers(mesh))),
        Program("begin", begin, (candidates,)),
        _predicting(net, task, data, trained, mesh),
    ]
    rows = placed(mesh, jax.ShapeDtypeStruct((group.settings.batch_size, *data.x.shape[1:]), data.x.dtype))
    return programs, Held(data, members.params, (members.stats, members.best), members.opt_state, rows)


def _numbers(mesh: Mesh) -> list[jax.ShapeDtypeStruct]:
    """The first epoch, how many, and the patience."""
    return placed(mesh, [jax.ShapeDtypeStruct((), np.int32)] * 3)


def _predicting(net: Network, task: Task, data: DeviceData, trained: tuple[Any, Any], mesh: Mesh) -> Program:
    x = placed(mesh, jax.ShapeDtypeStruct((ROWS, *data.x.shape[1:]), data.x.dtype))
    return Program("predict", predictions, (net, task, *trained, data.normalizer, x, (), None))
