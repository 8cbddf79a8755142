"""What comes before a training's first epoch: checking its arguments, its data, a checkpoint, and its program."""

import json
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxfc.artifacts import checkpoint as files
from jaxfc.data import Dataset, as_device_rows
from jaxfc.data.arrays import Array
from jaxfc.data.mapped import resident
from jaxfc.errors import FormatError, check_number
from jaxfc.networks import Network, check_network
from jaxfc.networks.contract import cost
from jaxfc.optim import UpdateRule, extended
from jaxfc.optim import rule as rule_named
from jaxfc.optim.contract import check_is_rule
from jaxfc.parallel import MeshSpec, mesh_of, put
from jaxfc.tasks import Task, check_task, task_for
from jaxfc.training.ahead import compiled_ahead, progress_like
from jaxfc.training.identity import check_same, identity
from jaxfc.training.measuring import DeviceData
from jaxfc.training.needs import check_depth, check_needs, check_network_needs
from jaxfc.training.program import Progress, Recipe
from jaxfc.training.result import Histories
from jaxfc.training.settings import RunSettings, weighted
from jaxfc.training.spread import check_mesh
from jaxfc.training.streaming import Stream, streams

CHECKPOINT_KIND = "jaxfc checkpoint"
AT_ONCE = 2e10  # operations, about a tenth of a second, that one program takes on


class Training(NamedTuple):
    """All that a run consists of between two programs; a checkpoint is this.

    >>> Training(None, Histories(*np.zeros((5, 3), "f"))).epoch
    2
    """

    progress: Progress
    histories: Histories

    @property
    def epoch(self) -> int:
        """The number of epochs trained."""
        return len(self.histories.val) - 1


class Prepared(NamedTuple):
    """A training of which all is checked, and whose program is being compiled.

    Args:
        net: the network.
        task: the task, fitted to the data.
        recipe: what else is static.
        hyper: the rule's hyper-parameters.
        settings: the settings.
        rows: what a program reads, on the host yet.
        group: how many epochs a program trains.
        run: the training so far, where one is gone on with.
        checkpoint: the file to keep it in.
        who: the run's identity, for that file.
        compilation: the program's, if there is one; to be waited for.
        mesh: the devices to train on.
        stream: the rows that stay on the host, if they do.

    >>> from jaxfc import FCNet, load
    >>> prepare(FCNet(64, (8,), 10), "adam", load("digits"), RunSettings(epochs=5)).group
    5
    """

    net: Network
    task: Task
    recipe: Recipe
    hyper: Mapping[str, Any]
    settings: RunSettings
    rows: DeviceData
    group: int
    run: Training | None
    checkpoint: Path | None
    who: dict[str, Any]
    compilation: Future | None
    mesh: Mesh
    stream: Stream | None = None


def prepare(
    net: Network,
    rule: UpdateRule | str,
    data: Dataset,
    settings: RunSettings,
    *,
    task: Task | None = None,
    hyper: Mapping[str, Any] | None = None,
    class_weight: str | Mapping[str, float] | None = None,
    train_sample: int | None = 1000,
    group: int | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    extend: bool = False,
    stream: bool | None = None,
    mesh: MeshSpec | None = None,
    ahead: bool = True,
) -> Prepared:
    """The first half of `fit`, which has the same arguments: check them, and begin to compile.

    Before the second half, `carry_out`, there is time to do other things: the compiler works meanwhile. `group`
    is how many epochs a program trains; by default as many as take about a tenth of a second. Without `train_sample`
    (None), no training score is measured. Without `ahead`, nothing is compiled.

    Raises:
        ValueError, TypeError, FileExistsError: as `fit`.

    >>> from jaxfc import FCNet, load
    >>> prepared = prepare(FCNet(64, (8,), 10), "adam", load("digits"), RunSettings(epochs=2))
    >>> prepared.rows.x.shape, prepared.group
    ((1297, 64), 2)
    """
    rule = rule_named(rule) if isinstance(rule, str) else rule
    task = task_for(data) if task is None else task
    check_arguments(net, task, data, settings, train_sample, here=ahead)
    mesh = mesh_of(mesh)
    check_mesh(mesh, net, settings.batch_size, settings.accumulate)
    data = weighted(data, class_weight)
    check_is_rule(rule)
    rule, hyper = settings.averaged(rule, hyper or {})
    if ahead:
        check_needs(net, rule, hyper, settings, data, streamed=streams(data, stream))
    recipe = Recipe(rule, settings.augmentations(data), settings.accumulate)
    task = task.fitted(data.y_train, data.weights("train"))
    checkpoint = None if checkpoint is None else Path(checkpoint)
    if checkpoint and checkpoint.exists() and not resume:
        raise FileExistsError(f"{checkpoint} exists: pass resume=True to go on from it, or name another file")

    rows, streamed = host_data(data, settings, train_sample), None
    if streams(data, stream):
        streamed, rows = Stream.of(rows, settings.batch_size)
        group = 1
    else:
        rows = rows._replace(x=resident(rows.x), x_val=resident(rows.x_val))
    who = identity(net, task, rule, hyper, settings, data) if checkpoint else {}
    epochs, iterations = settings.epochs, len(data.x_train) // settings.batch_size
    run = None
    if checkpoint and checkpoint.exists():
        run = _load(checkpoint, progress_like(net, task, rule, rows, hyper), who, extend=extend)
        run = _extended(run, epochs, iterations) if extend else run
    group = group or _epochs_per_program(net, epochs, iterations, settings.batch_size)
    plans = (group, iterations, settings.batch_size)
    compilation = compiled_ahead(recipe, net, task, rows, hyper, plans, streamed, mesh) if ahead else None
    rows = rows if streamed is None else streamed.beside(rows)
    return Prepared(net, task, recipe, hyper, settings, rows, group, run, checkpoint, who, compilation, mesh, streamed)


def as_begun(checkpoint: str | Path | None) -> AbstractContextManager:
    """JAX's 64-bit mode as it was when a run was begun, of which this is the checkpoint; else as it is.

    In the other mode numbers have other types. So a run goes on to the same bits, also where the mode was changed
    since, in this process or by another one's settings.

    >>> with as_begun(None):
    ...     print(jax.numpy.asarray(1.0).dtype)
    float32
    """
    mode = None if checkpoint is None else files.metadata(checkpoint).get("x64")
    if mode is None or json.loads(mode) == jax.config.jax_enable_x64:
        return nullcontext()
    return jax.enable_x64(json.loads(mode))


def check_arguments(
    net: Network, task: Task, data: Dataset, settings: RunSettings, train_sample: int | None = 1000, here: bool = True
) -> None:
    """Raise what `fit` would raise of these arguments, before anything is written.

    Whether this machine has the memory is asked only of what is to be trained `here`.

    Raises:
        ValueError: an unknown name, a number out of range, or a network that does not fit the data or the task.
        TypeError: what is no network or no task.

    >>> from jaxfc import FCNet, load
    >>> from jaxfc.tasks import Classification
    >>> check_arguments(FCNet(64, (8,), 10), Classification(), load("digits"), RunSettings(epochs=0))
    Traceback (most recent call last):
    ValueError: epochs=0 must be at least 1
    """
    check_task(task, data)
    check_number("train_sample", 1 if train_sample is None else train_sample, low=1)
    settings.check(len(data.x_train), getattr(net, "min_batch", 1))
    settings.augmentations(data)
    if not isinstance(net, Network):
        raise TypeError(f"{type(net).__name__} is no network: decorate its class with jaxfc.network")
    (check_network_needs if here else check_depth)(net)
    check_network(net)
    if net.input_dim != data.num_inputs:
        made = "" if data.num_inputs == data.num_features else f", encoded as {data.num_inputs} inputs (num_inputs)"
        raise ValueError(f"the network takes {net.input_dim} features and {data.name!r} has {data.num_features}{made}")
    needed = task.num_outputs(data)
    if net.output_dim != needed:
        raise ValueError(
            f"the network has {net.output_dim} outputs; {type(task).__name__} of {data.name!r} needs {needed}"
        )


def device_data(data: Dataset, settings: RunSettings, train_sample: int | None, device: Any = None) -> DeviceData:
    """A data set on a device, with a sample of so many training rows to measure on (None: no sample).

    Raises:
        ValueError: inputs that the device's numbers cannot hold.

    >>> from jaxfc import load
    >>> device_data(load("digits"), RunSettings(), train_sample=100).sample.shape
    (100,)
    """
    return placed(host_data(data, settings, train_sample), settings, device)


def host_data(data: Dataset, settings: RunSettings, train_sample: int | None) -> DeviceData:
    """What `device_data` puts on a device, on the host yet; of the key its shape, as to make it takes a program.

    >>> from jaxfc import load
    >>> host_data(load("digits"), RunSettings(), None).x.shape
    (1297, 64)
    """
    sample = None
    if train_sample is not None:
        rows = len(data.x_train)
        # A stream of its own: epoch numbers, which seed the plans, start from 1.
        order = np.random.default_rng([settings.order, 0]).permutation(rows)
        sample = np.sort(order[: min(train_sample, rows)]).astype(np.int32)
    train, val = ((*rows_on_device(data, split), data.weights(split)) for split in ("train", "val"))
    return DeviceData(data.normalizer, *train, *val, sample, _key_like())


@cache
def _key_like() -> jax.ShapeDtypeStruct:
    return jax.eval_shape(lambda: jax.random.key(0))


def placed(rows: DeviceData, settings: RunSettings, device: Any = None) -> DeviceData:
    """Prepared rows on a device, or where shardings say, with the key of augmentations.

    >>> from jaxfc import FCNet, load
    >>> prepared = prepare(FCNet(64, (), 10), "adam", load("digits"), RunSettings())
    >>> placed(prepared.rows, prepared.settings).x.shape
    (1297, 64)
    """
    return put(rows._replace(key=jax.random.key(settings.order)), device)


def rows_on_device(data: Dataset, split: str, rows: np.ndarray | None = None) -> tuple[Array, np.ndarray]:
    """Inputs and targets of a split, or of some of its rows, in the types that they have on a device.

    >>> from jaxfc import load
    >>> rows_on_device(load("digits"), "val")[0].dtype.name
    'uint8'
    """
    x, y = (each if rows is None else each[rows] for each in data.split(split))
    how = {"wide": jax.config.jax_enable_x64, "learned": split == "train" and rows is None}
    x = as_device_rows(x, what=f"{data.name}: x_{split}", names=data.feature_names, **how)
    return x, as_device_rows(y, what=f"{data.name}: y_{split}", names=data.target_names, **how)


def check_rows(data: Dataset) -> None:
    """Raise a ValueError unless a device's numbers can hold what is trained on.

    >>> from jaxfc import load
    >>> check_rows(load("digits"))
    """
    for split in ("train", "val"):
        rows_on_device(data, split)


def _load(path: Path, like: Progress, who: dict[str, Any], *, extend: bool) -> Training:
    tensors, metadata = files.read(path, kind=CHECKPOINT_KIND)
    if "run" not in metadata:
        raise FormatError(
            f"{path} was written by version 0.1 and does not say what run it is of: its model can be used, "
            "but the run cannot be gone on with"
        )
    check_same(who, json.loads(metadata["run"]), path, extend=extend)
    return files.restore(tensors, Training(like, Histories(*np.zeros((5, 0), np.float32))), path)


def _extended(run: Training, epochs: int, iterations: int) -> Training:
    if epochs < run.epoch:
        raise ValueError(f"epochs={epochs}: extend=True only adds, and {run.epoch} epochs are trained: give more")
    state = run.progress.state
    state = state._replace(opt_state=extended(state.opt_state, epochs * iterations))
    return run._replace(progress=run.progress._replace(state=state))


def _epochs_per_program(net: Network, epochs: int, iterations: int, batch_size: int) -> int:
    """How many epochs to train in one program: as many as divide the run and take about a tenth of a second.

    A divisor, so that a run is saved at epochs that do not depend on where it was resumed.
    """
    flops = 3 * batch_size * iterations * cost(net).flops
    limit = min(AT_ONCE / max(flops, 1), 5000 / iterations, epochs)
    return max(n for n in range(1, int(max(limit, 1)) + 1) if epochs % n == 0)
