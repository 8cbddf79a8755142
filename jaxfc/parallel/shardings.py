"""Where the arrays of a training lie on a mesh.

- Data are whole on every device: a batch is drawn from all rows. Its rows are divided along `data`.
- A layer's units are divided along `model`: columns of weights, biases, scales, statistics; of the last layer the
  rows, so that outputs are sums over devices.
- Of parameters, of the rule's slots and of the best parameters so far, each device along `data` has its share
  (Rajbhandari et al., 2020, "ZeRO"): the update's memory and time fall with the number of devices. For its rows a
  device needs all parameters: they are gathered once a step, and their gradients are summed and divided again.
- All else is numbers, and whole everywhere.
"""

import math
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

SMALL = 1024  # numbers: what is no larger is not worth a message of its own


class Shardings(NamedTuple):
    """The shardings of `train_epochs`' arguments, tree for tree, and of all numbers beside them.

    >>> Shardings._fields
    ('net', 'task', 'progress', 'data', 'plans', 'numbers')
    """

    net: Any
    task: Any
    progress: Any
    data: Any
    plans: NamedSharding
    numbers: NamedSharding


def shardings_of(mesh: Mesh, net: Any, task: Any, progress: Any, data: Any) -> Shardings:
    """The shardings of a training's arguments.

    Args:
        mesh: the mesh.
        net: the network.
        task: the task.
        progress: the `jaxfc.training.program.Progress`, or its shapes.
        data: the `jaxfc.training.program.DeviceData`, or its shapes.

    >>> from jaxfc import Classification, FCNet, load
    >>> from jaxfc.optim import adam
    >>> from jaxfc.parallel import mesh_of
    >>> from jaxfc.training.ahead import progress_like
    >>> from jaxfc.training.prepare import prepare
    >>> from jaxfc.training.settings import RunSettings
    >>> net, data = FCNet(64, (20,), 10), load("digits")
    >>> rows = prepare(net, "adam", data, RunSettings()).rows
    >>> progress = progress_like(net, Classification(), adam, rows, {})
    >>> found = shardings_of(mesh_of(), net, Classification(), progress, rows)
    >>> tuple(found.progress.state.opt_state.m[0]["w"].spec), tuple(found.plans.spec)
    (('data', None), (None, None, 'data'))
    """
    everywhere = NamedSharding(mesh, PartitionSpec())

    def whole(tree: Any) -> Any:
        return jax.tree.map(lambda _: everywhere, tree)

    state, best = progress.state, progress.best
    state = type(state)(
        params=share_shardings(mesh, net, state.params),
        stats=whole_shardings(mesh, net, state.stats),
        opt_state=share_shardings(mesh, net, state.opt_state),
        key=everywhere,
        step=everywhere,
    )
    best = whole(best)._replace(
        params=share_shardings(mesh, net, best.params),
        stats=whole_shardings(mesh, net, best.stats),
        raw=share_shardings(mesh, net, best.raw),
    )
    progress = whole(progress)._replace(state=state, best=best)
    plans = NamedSharding(mesh, PartitionSpec(None, None, "data"))
    return Shardings(whole(net), whole(task), progress, whole(data), plans, everywhere)


def whole_shardings(mesh: Mesh, net: Any, tree: Any) -> Any:
    """The shardings of parameters as a step needs them, and of running statistics: units along `model`, all of them.

    >>> import numpy as np
    >>> from jaxfc import FCNet
    >>> mesh = jax.sharding.AbstractMesh((1, 2, 1), ("data", "model", "population"))
    >>> layers = [{"w": np.ones((64, 20)), "b": np.ones(20)}, {"w": np.ones((20, 10))}]
    >>> shardings = whole_shardings(mesh, FCNet(64, (20,), 10), layers)
    >>> [tuple(each.spec) for each in jax.tree.leaves(shardings)]
    [('model',), (None, 'model'), ('model', None)]
    """
    return jax.tree.map(lambda leaf: _sharding(mesh, _units(mesh, net, leaf.shape)), tree)


def share_shardings(mesh: Mesh, net: Any, tree: Any) -> Any:
    """The shardings of parameters and slots between steps: units along `model`, of these a share along `data`.

    Divided is the longest axis that the number of devices divides; of an array that has none, or is small, each
    device has a copy.

    >>> import numpy as np
    >>> from jaxfc import FCNet
    >>> mesh = jax.sharding.AbstractMesh((4, 1, 1), ("data", "model", "population"))
    >>> tuple(share_shardings(mesh, FCNet(64, (20,), 10), np.ones((64, 20))).spec)
    ('data', None)
    """

    def one(leaf: Any) -> NamedSharding:
        axes = _units(mesh, net, leaf.shape)
        count = mesh.shape["data"]
        free = [i for i, axis in enumerate(axes) if axis is None and leaf.shape[i] % count == 0]
        if math.prod(leaf.shape) > SMALL and free:
            longest = max(free, key=lambda i: leaf.shape[i])
            axes[longest] = "data"
        return _sharding(mesh, axes)

    return jax.tree.map(one, tree)


def _units(mesh: Mesh, net: Any, shape: tuple[int, ...]) -> list[str | None]:
    """Along which axis of an array the hidden units are, told by its shape: the last but for the last layer's."""
    axes: list[str | None] = [None] * len(shape)
    count = mesh.shape["model"]
    if count == 1 or len(shape) not in (1, 2):
        return axes
    if shape[-1] != net.output_dim and shape[-1] % count == 0:
        axes[-1] = "model"
    elif len(shape) == 2 and shape[0] != net.input_dim and shape[0] % count == 0:
        axes[0] = "model"
    return axes


def _sharding(mesh: Mesh, axes: list[str | None]) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*axes))
