"""What a training or a search would be on a machine that one may not have: `jaxfc.plan`, and `jaxfc plan`.

The programs are those that the run itself compiles, compiled for that machine ahead of time: whether they fit its
memory and what they exchange is read there. How long a step takes is estimated.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxfc.data import Dataset, as_device_rows
from jaxfc.errors import check_number
from jaxfc.layers.precision import compiling_for
from jaxfc.networks import Network
from jaxfc.networks.contract import cost, dtype
from jaxfc.optim import UpdateRule
from jaxfc.parallel import MeshSpec, check_use, mesh_of, spelled
from jaxfc.planning.chips import Chip
from jaxfc.planning.estimate import Step, measured, traffic
from jaxfc.planning.placing import bytes_of, mesh_on
from jaxfc.planning.products import product_flops
from jaxfc.planning.programs import Held, Program, of_search, of_training
from jaxfc.planning.table import Memory, Report, table
from jaxfc.planning.topologies import Topology, topology
from jaxfc.search.candidates import Build, Group
from jaxfc.search.chunks import SHARE, free_bytes
from jaxfc.search.loop import lay_out, longest_stretch, stops_of
from jaxfc.search.spaces import Settings
from jaxfc.tasks import Task
from jaxfc.training.config import TrainConfig
from jaxfc.training.prepare import host_data, prepare
from jaxfc.training.program import STEPS
from jaxfc.training.settings import RunSettings, weighted
from jaxfc.training.spread import check_mesh


class Run(NamedTuple):
    """What is planned: in words, where, on which mesh, and how many candidates of a search (0 of a training).

    >>> Run("training, batch 32", topology("this"), "data=1", 0).members
    0
    """

    what: str
    topology: Topology
    mesh: str
    members: int


@dataclass(frozen=True)
class Plan:
    """What came of planning; as text, a table.

    Args:
        what: the run, in words.
        topology: where.
        mesh: how its devices are arranged, as text.
        members: the candidates to a program of a search; 0 of a training.
        chip: what one chip can do.
        memory: bytes on one chip while the program trains.
        step: what one step is on one chip.
        programs: the programs compiled, that which trains first.

    >>> from jaxfc import FCNet, load
    >>> made = plan(FCNet(64, (32,), 10), "adam", load("digits"), on="this", batch_size=100)
    >>> made.fits, made.memory.slots, made.step.flops
    (True, 19304, 1011200.0)
    """

    what: str
    topology: Topology
    mesh: str
    members: int
    chip: Chip
    memory: Memory
    step: Step
    programs: tuple[Report, ...]

    @property
    def fits(self) -> bool:
        """Whether every program fits the memory."""
        return self.memory.fits and all(report.fits for report in self.programs)

    def times(self) -> dict[str, float]:
        """Seconds of a step; see `jaxfc.planning.estimate.Step.times`."""
        return self.step.times(self.chip, self.topology.shape)

    def __str__(self) -> str:
        return table(self)


def plan(
    net: Network,
    rule: UpdateRule | str,
    data: Dataset,
    *,
    on: str,
    task: Task | None = None,
    hyper: Mapping[str, Any] | None = None,
    batch_size: int = RunSettings.batch_size,
    epochs: int = RunSettings.epochs,
    sampling: str = RunSettings.sampling,
    augment: Sequence[str | Callable] = RunSettings.augment,
    accumulate: int = RunSettings.accumulate,
    ema_decay: float | None = RunSettings.ema_decay,
    class_weight: str | Mapping[str, float] | None = None,
    train_sample: int = 1000,
    mesh: MeshSpec | None = None,
    rows: int | None = None,
) -> Plan:
    """Compile the programs of a training for a machine that may not be here, and read what they take.

    Args:
        net: the network; this and what follows are as `jaxfc.fit` takes them.
        rule: the update rule, or the name of one.
        data: the data set.
        on: where: `"v5e:1x1"` (one chip, Colab's), `"v5e:16x16"` (a pod of 256), other TPUs and shapes, `"h200"`, or
            `"this"`: JAX's default device.
        task: what to train for.
        hyper: the rule's hyper-parameters.
        batch_size: rows in a batch, of which each chip has its part.
        epochs: the number of epochs.
        sampling: how rows are drawn.
        augment: augmentations inside the step.
        accumulate: the parts of a batch over which its gradient is summed.
        ema_decay: keep a moving average of the parameters.
        class_weight: weights of classes.
        train_sample: how many training rows the training score is measured on.
        mesh: the chips along each axis, as `jaxfc.parallel.mesh_of` takes them; by default all along `data`.
        rows: plan for so many training rows, whatever the data have.

    Returns:
        The `Plan`; `print` shows it as a table. Where the programs do not fit, it says so and what to change.

    Raises:
        ValueError, TypeError: as `jaxfc.fit`; an unknown topology; a batch that does not divide over its chips.
        ModuleNotFoundError: the compiler for it is not installed.

    >>> from jaxfc import FCNet, load
    >>> made = plan(FCNet(64, (32,), 10), "adam", load("digits"), on="this")
    >>> print(str(made).splitlines()[2:5])  # doctest: +ELLIPSIS
    ['', 'memory of a device while training', '  data ...']
    """
    settings = RunSettings(batch_size, epochs, sampling, tuple(augment), accumulate, ema_decay)
    where = topology(on)
    devices = mesh_on(where, mesh, "data")
    data = weighted(data, class_weight)
    data = data if rows is None else of_length(data, rows)
    with compiling_for(where.platform):
        how = {"task": task, "hyper": hyper, "train_sample": train_sample}
        prepared = prepare(net, rule, data, settings, **how, ahead=False)
        check_mesh(devices, net, batch_size, accumulate)
        run = Run(f"training, batch {batch_size}", where, spelled(devices), 0)
        return _plan(
            run,
            *of_training(prepared, devices),
            cost(net).activation_bytes * batch_size / devices.size,
            net,
            devices.size,
        )


def plan_search(
    data: Dataset,
    build: TrainConfig | Build,
    settings: Sequence[Settings],
    *,
    on: str,
    mesh: MeshSpec | None = None,
    rows: int | None = None,
    chunk: int | None = None,
    **options: Any,
) -> list[Plan]:
    """Compile the programs of a search for a machine that may not be here: a plan for each group of candidates.

    Args:
        data: the data set; this and what follows are as `jaxfc.search.run` takes them.
        build: a configuration, or a function of a candidate's settings.
        settings: what sets each candidate apart.
        on: where; see `plan`.
        mesh: the chips along each axis; by default all along `population`.
        rows: plan for so many training rows, whatever the data have.
        chunk: the members of a program; by default as many as suit the chips.
        **options: the search's others.

    Raises:
        ValueError, TypeError: as `jaxfc.search.run` and `plan`; no candidate fits.
        ModuleNotFoundError: the compiler is not installed.

    >>> from jaxfc import TrainConfig, load
    >>> settings = [{"learning_rate": 1e-3}, {"learning_rate": 1e-2}]
    >>> [plan.what for plan in plan_search(load("digits"), TrainConfig(), settings, on="this", chunk=2)]
    ['a search, 2 candidates to a program, batch 32']
    """
    where = topology(on)
    devices = mesh_on(where, mesh, "population")
    check_use(devices, ("population",), "a search")
    data = data if rows is None else of_length(data, rows)
    with compiling_for(where.platform):
        device = where.devices[0] if where.here else _Far(where, limited=chunk is None)
        layout = lay_out(data, build, settings, chunk=chunk, device=device, **options)
        epochs = longest_stretch(stops_of(layout.brackets, layout.shared, len(layout.folds[0].rows)))
        return [
            _plan_group(group, cut.width(len(group.places)), epochs, layout.data, where, devices)
            for group, cut in zip(layout.groups, layout.cuts, strict=True)
        ]


def _plan_group(group: Group, width: int, epochs: int, data: Dataset, where: Topology, devices: Mesh) -> Plan:
    share = -(-width // devices.size)  # filled up with members that are thrown away
    batch = group.settings.batch_size
    one = mesh_of(devices=list(devices.devices.flat[:1]))  # every chip runs the program of one, for its share
    programs, held = of_search(group, host_data(data, group.settings, None), share, epochs, one)
    activations = cost(group.net).activation_bytes * share * batch
    width = share * devices.size
    run = Run(f"a search, {width} candidates to a program, batch {batch}", where, spelled(devices), width)
    return _plan(run, programs, held, activations, group.net, chips=1)


class _Far:
    """A device that is not here, as a search asks one what fits it."""

    def __init__(self, where: Topology, *, limited: bool) -> None:
        self.platform, self.device_kind = where.platform, where.chip.name
        # Of a number of candidates that was asked for, the compiler says whether it fits.
        memory = len(where.devices) * where.chip.memory / where.chip.parts
        self.limit = int(memory) if limited else 10**18

    def memory_stats(self) -> dict[str, int]:
        return {"bytes_limit": self.limit}


def of_length(data: Dataset, rows: int) -> Dataset:
    """A data set as if it had so many training rows: for shapes, for which one row stands for all.

    Raises:
        ValueError, TypeError: no number of rows.

    >>> from jaxfc import load
    >>> of_length(load("digits"), 10**6).x_train.shape
    (1000000, 64)
    """
    check_number("rows", rows, low=1)
    made = copy.copy(data)
    x = as_device_rows(data.x_train, what="x_train", wide=jax.config.jax_enable_x64)
    longer = {"x": np.broadcast_to(x[:1], (rows, *x.shape[1:]))}
    for part in "yw":
        values = getattr(data, f"{part}_train")
        longer[part] = None if values is None else np.resize(values, (rows, *values.shape[1:]))
    for part, values in longer.items():
        object.__setattr__(made, f"{part}_train", values)  # what was checked is not checked again
    return made


def _plan(run: Run, programs: list[Program], held: Held, activations: float, net: Network, chips: int) -> Plan:
    """Compile a run's programs, each of which is for so many chips, and read them."""
    where = run.topology
    traced = [program.traced() for program in programs]
    with ThreadPoolExecutor(len(traced), "compiler") as pool:
        waiting = [pool.submit(_compiled, each.lower(lowering_platforms=(where.platform,))) for each in traced]
        compiled = [each.result() for each in waiting]
    reports = [Report.of(program.name, *done) for program, done in zip(programs, compiled, strict=True)]
    text = reports[0].text
    free = SHARE * free_bytes(where.devices[0]) if where.here else where.chip.memory / where.chip.parts
    chip = measured(where.devices[0], dtype(net), free) if where.here else where.chip
    instructions = text.within(STEPS) if text else []
    step = Step(
        product_flops(traced[0], STEPS) / chips,
        traffic(held.params, held.slots, held.rows, activations),
        text.collectives(instructions) if text else [],
        text.cycles(instructions) if text else 0,
    )
    sizes = (bytes_of(each) for each in (held.data, (held.params, held.kept), held.slots))
    return Plan(*run, chip, Memory.of(*sizes, reports[0], free), step, tuple(reports))


def _compiled(lowered: Any) -> tuple[Any, str]:
    """A compiled program; or None, and what the compiler says of a memory that is too small for it."""
    try:
        return lowered.compile(), ""
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and "memory" not in str(error):
            raise
        return None, str(error)
