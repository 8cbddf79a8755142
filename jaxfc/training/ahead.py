"""Compiling a training's program ahead of its first epoch, while the host gets everything else ready.

A compiler works for seconds, outside of Python's lock. Meanwhile parameters are drawn, the network is measured for
the first time, and whoever trains it can see to other things. For that the program is lowered from shapes, before
there are arrays; the later call of the program finds it compiled.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
from jax.sharding import Mesh

from jaxfc.networks import Network
from jaxfc.optim import UpdateRule, check_rule
from jaxfc.parallel import mesh_of, shapes_of
from jaxfc.tasks import Task
from jaxfc.training.measuring import DeviceData
from jaxfc.training.program import Progress, Recipe, begin_measured
from jaxfc.training.spread import spread
from jaxfc.training.step import init_state

_BEGUN: set[Any] = set()  # the forms of trainings whose program this process has compiled


def progress_like(net: Network, task: Task, rule: UpdateRule, data: DeviceData, hyper: Mapping[str, Any]) -> Progress:
    """The shapes of a training that has begun.

    Args:
        net: the network.
        task: the task.
        rule: the update rule.
        data: the data, or their shapes.
        hyper: the rule's hyper-parameters.

    Raises:
        ValueError, TypeError: as `jaxfc.init_state` and `jaxfc.optim.check_rule`.

    >>> from jaxfc import Classification, FCNet, load
    >>> from jaxfc.optim import adam
    >>> from jaxfc.training.prepare import device_data
    >>> from jaxfc.training.settings import RunSettings
    >>> data = device_data(load("digits"), RunSettings(), 100)
    >>> progress_like(FCNet(64, (), 10), Classification(), adam, data, {}).best.epoch
    ShapeDtypeStruct(shape=(), dtype=int32)
    """
    state = jax.eval_shape(lambda: init_state(net, rule, jax.random.key(0), **hyper))
    check_rule(rule, state.params, state.params, state.opt_state)
    return begin_measured.eval_shape(net, task, state, shapes_of(data))[0]


def compiled_ahead(
    recipe: Recipe,
    net: Network,
    task: Task,
    data: DeviceData,
    hyper: Mapping[str, Any],
    plans: tuple[int, int, int],
    stream: Any = None,
    mesh: Mesh | None = None,
) -> Future | None:
    """Begin to compile a training's program in a thread.

    Args:
        recipe: what is static.
        net: the network.
        task: the task.
        data: the data, or their shapes.
        hyper: the rule's hyper-parameters.
        plans: the shape of the plans that it will be called with.
        stream: the rows that stay on the host, if they do: in place of that program, those of their windows.
        mesh: the devices that it is to run on; by default one.

    Returns:
        The compilation, to be waited for before the program is called: two threads would each compile it. None
        where there is nothing to gain: it was compiled before, or `jax_disable_jit` is on, or the rule's `init` looks
        at its parameters' values, and the shape of its state is not known before there are parameters.

    Raises:
        ValueError, TypeError: as `progress_like`.

    >>> from jaxfc import Classification, FCNet, load
    >>> from jaxfc.optim import adam
    >>> from jaxfc.training.prepare import device_data
    >>> from jaxfc.training.settings import RunSettings
    >>> data = device_data(load("digits"), RunSettings(), 100)
    >>> arguments = Recipe(adam), FCNet(64, (), 10), Classification(), data, {}, (1, 12, 100)
    >>> compilation = compiled_ahead(*arguments)
    >>> compilation.result() is not None, compiled_ahead(*arguments)  # a second time there is nothing to do
    (True, None)
    """
    mesh = mesh_of() if mesh is None else mesh
    form = (recipe, plans, mesh, jax.config.jax_enable_x64, *_form((net, task, data, dict(hyper))))
    form += () if stream is None else stream.form
    if form in _BEGUN or jax.config.jax_disable_jit:
        return None
    try:
        progress = progress_like(net, task, recipe.rule, data, hyper)
    except jax.errors.ConcretizationTypeError:
        return None
    over = spread(mesh, recipe, net, task, progress, data)
    if stream is None:
        lowered = [over.lower(progress, data, plans)]
    else:
        lowered = [*stream.over(mesh, over.shardings).lowered(over.recipe, over.net, task, progress, data)]
    _BEGUN.add(form)
    pool = ThreadPoolExecutor(1, "compiler")
    compilation = pool.submit(lambda: [each.compile() for each in lowered])
    pool.shutdown(wait=False)
    return compilation


def _form(tree: Any) -> tuple[Any, ...]:
    leaves, structure = jax.tree.flatten(tree)
    return structure, *((getattr(leaf, "shape", ()), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
