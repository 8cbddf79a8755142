"""The loop over epochs, around the compiled programs of `jaxfc.training.program`.

A run is a host loop over one program, which trains one epoch or several short ones. Between programs
the host prints, saves and stops.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxfc.artifacts import checkpoint as files
from jaxfc.console import interrupts, progress_bar
from jaxfc.data import PLANS, Dataset, as_device_rows
from jaxfc.errors import DivergenceError, FormatError, check_number
from jaxfc.networks import Network, check_network
from jaxfc.networks.contract import cost
from jaxfc.optim import UpdateRule, check_rule, extended, learning_rate_of
from jaxfc.optim import rule as rule_named
from jaxfc.tasks import Task, check_task, task_for
from jaxfc.training.identity import check_same, identity
from jaxfc.training.program import NEVER, DeviceData, Progress, Recipe, begin_measured, train_program
from jaxfc.training.result import EpochReport, Histories, Result
from jaxfc.training.settings import RunSettings, weighted
from jaxfc.training.step import init_state

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


def fit(
    net: Network,
    rule: UpdateRule | str,
    data: Dataset,
    *,
    task: Task | None = None,
    hyper: Mapping[str, Any] | None = None,
    batch_size: int = RunSettings.batch_size,
    epochs: int = RunSettings.epochs,
    sampling: str = RunSettings.sampling,
    augment: Sequence[str | Callable] = RunSettings.augment,
    accumulate: int = RunSettings.accumulate,
    ema_decay: float | None = RunSettings.ema_decay,
    patience: int | None = RunSettings.patience,
    seed: int = RunSettings.seed,
    order_seed: int | None = RunSettings.order_seed,
    class_weight: str | Mapping[str, float] | None = None,
    train_sample: int = 1000,
    callbacks: Sequence[Callable[[EpochReport], None]] = (),
    verbose: bool = True,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    extend: bool = False,
) -> Result:
    """Train a network.

    Args:
        net: the network to train.
        rule: the update rule, or the name of one.
        data: the data set; its inputs go to the device as they are and are normalized inside the step. Its
            weights, if it has any, weigh the loss and what is measured.
        task: what to train for; by default what suits the data's targets.
        hyper: the rule's hyper-parameters, as its `init` takes them.
        batch_size: rows in a batch. An epoch has `len(x_train) // batch_size` iterations.
        epochs: the number of epochs.
        sampling: `"shuffled"`, where the rows that do not fill a batch sit the epoch out; or
            `"replacement"`. See `jaxfc.data`.
        augment: augmentations inside the step: names such as `"shift:4"`, or functions `(key, x, y) -> (x, y)`;
            see `jaxfc.data.augment`.
        accumulate: the parts of a batch over which its gradient is summed; see `jaxfc.training.step.take_step`.
        ema_decay: keep a moving average of the parameters with this decay; it is what is measured and kept as best.
        patience: stop once so many epochs in a row have not improved on the best validation score.
        seed: of initial parameters and dropout.
        order_seed: of the order of rows and of augmentations; by default `seed`.
        class_weight: `"balanced"`, or a weight for each class; multiplies the data's weights of training rows.
        train_sample: how many training rows the training score is measured on, drawn once.
        callbacks: called with an `EpochReport` after each epoch.
        verbose: print a line for each epoch.
        progress: show a progress bar; by default on a terminal and in a notebook.
        checkpoint: a file to keep the run in, written between programs.
        resume: go on from that file, if it is there. The result is the same to the last bit as that
            of a run never stopped.
        extend: with `resume`, go on to more epochs than the run was planned for. What a schedule has yet to do
            is then that of a run planned so: the rate of `cosine` and `linear` may rise again.

    Returns:
        The `Result`. Ctrl-C ends the run at the next epoch boundary, with everything saved and returned.

    Raises:
        ValueError: unknown names, numbers out of range, data that do not fit the network or the task, a
            checkpoint of another run (the first difference is named).
        TypeError: what is no network, rule or task.
        DivergenceError: the loss became NaN or infinite; the last good checkpoint stays.
        FileExistsError: the checkpoint exists and `resume` is False.

    >>> from jaxfc import FCNet, load
    >>> data = load("digits")
    >>> net = FCNet(data.num_features, (32,), len(data.classes))
    >>> result = fit(net, "adam", data, hyper={"learning_rate": 3e-3}, epochs=3, verbose=False)
    >>> result.best_score > 0.8
    True
    """
    rule = rule_named(rule) if isinstance(rule, str) else rule
    task = task_for(data) if task is None else task
    settings = RunSettings(
        batch_size, epochs, sampling, tuple(augment), accumulate, ema_decay, patience, seed, order_seed
    )
    check_arguments(net, task, data, settings, train_sample)
    data = weighted(data, class_weight)
    augmentations = settings.augmentations(data)
    rule, hyper = settings.averaged(rule, hyper or {})
    task = task.fitted(data.y_train, data.weights("train"))
    checkpoint = None if checkpoint is None else Path(checkpoint)
    if checkpoint and checkpoint.exists() and not resume:
        raise FileExistsError(f"{checkpoint} exists: pass resume=True to go on from it, or name another file")

    on_device = device_data(data, settings, train_sample)
    run = _start(net, task, rule, on_device, hyper, seed)
    who = identity(net, task, rule, hyper, settings, data) if checkpoint else {}
    if checkpoint and checkpoint.exists():
        run = _load(checkpoint, run, who, extend=extend)
        if extend:
            run = _extended(run, epochs, len(data.x_train) // batch_size)
    elif verbose:
        _print_epoch(task, run.histories, 0, epochs)
    recipe = Recipe(rule, augmentations, accumulate)
    iterations = len(data.x_train) // batch_size
    group = 1 if callbacks else _epochs_per_program(net, epochs, iterations, batch_size)

    def save(run: Training) -> None:
        files.save(checkpoint, run, {files.FORMAT: CHECKPOINT_KIND, "run": who})

    stopped = "finished"
    with progress_bar(progress, total=epochs, done=run.epoch, unit="epoch") as bar, interrupts() as interrupted:
        while run.epoch < epochs:
            if patience is not None and run.epoch - int(run.progress.best.epoch) >= patience:
                stopped = "patience"
                break
            if interrupted.is_set():
                stopped = "interrupted"
                if checkpoint and not checkpoint.exists():  # a run is gone on with from its checkpoint only
                    save(run)
                break
            before = run.epoch
            run = _advance(recipe, net, task, run, on_device, settings, group)
            if checkpoint:
                save(run)  # before callbacks are called: one of them may raise
            for number in range(before + 1, run.epoch + 1):
                if verbose:
                    _print_epoch(task, run.histories, number, epochs)
                for callback in callbacks:
                    callback(_report(run, number, iterations))
            bar.set_postfix(loss=f"{run.histories.loss[-1]:.4f}", val=f"{run.histories.val[-1]:.4f}")
            bar.update(run.epoch - before)
    return _result(net, task, run, stopped, augmentations)


def check_arguments(net: Network, task: Task, data: Dataset, settings: RunSettings, train_sample: int = 1000) -> None:
    """Raise what `fit` would raise of these arguments, before anything is written.

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
    check_number("train_sample", train_sample, low=1)
    settings.check(len(data.x_train), getattr(net, "min_batch", 1))
    settings.augmentations(data)
    check_network(net)
    if net.input_dim != data.num_features:
        raise ValueError(f"the network takes {net.input_dim} features and {data.name!r} has {data.num_features}")
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
    sample = None
    if train_sample is not None:
        rows = len(data.x_train)
        # A stream of its own: epoch numbers, which seed the plans, start from 1.
        order = np.random.default_rng([settings.order, 0]).permutation(rows)
        sample = np.sort(order[: min(train_sample, rows)]).astype(np.int32)
    train, val = ((*rows_on_device(data, split), data.weights(split)) for split in ("train", "val"))
    return jax.device_put(DeviceData(data.normalizer, *train, *val, sample, jax.random.key(settings.order)), device)


def rows_on_device(data: Dataset, split: str, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a split, or of some of its rows, in the types that they have on a device.

    >>> from jaxfc import load
    >>> rows_on_device(load("digits"), "val")[0].dtype.name
    'uint8'
    """
    x, y = (each if rows is None else each[rows] for each in data.split(split))
    how = {"wide": jax.config.jax_enable_x64, "learned": split == "train" and rows is None}
    x = as_device_rows(x, what=f"{data.name}: x_{split}", names=data.feature_names, **how)
    return x, as_device_rows(y, what=f"{data.name}: y_{split}", names=data.target_names, **how)


def _start(
    net: Network, task: Task, rule: UpdateRule, data: DeviceData, hyper: Mapping[str, Any], seed: int
) -> Training:
    state = init_state(net, rule, jax.random.key(seed), **hyper)
    check_rule(rule, state.params, state.params, state.opt_state)
    progress, measures = begin_measured(net, task, state, data)
    course = (np.array([each]) for each in jax.device_get(measures))
    return Training(progress, Histories(np.zeros(0, np.float32), *course))


def _load(path: Path, like: Training, who: dict[str, Any], *, extend: bool) -> Training:
    tensors, metadata = files.read(path, kind=CHECKPOINT_KIND)
    if "run" not in metadata:
        raise FormatError(
            f"{path} was written by version 0.1 and does not say what run it is of: its model can be used, "
            "but the run cannot be gone on with"
        )
    check_same(who, json.loads(metadata["run"]), path, extend=extend)
    return files.restore(tensors, like, path)


def _extended(run: Training, epochs: int, iterations: int) -> Training:
    if epochs < run.epoch:
        raise ValueError(f"epochs={epochs}: extend=True only adds, and {run.epoch} epochs are trained: give more")
    state = run.progress.state
    state = state._replace(opt_state=extended(state.opt_state, epochs * iterations))
    return run._replace(progress=run.progress._replace(state=state))


def _advance(
    recipe: Recipe, net: Network, task: Task, run: Training, data: DeviceData, settings: RunSettings, group: int
) -> Training:
    """Train some epochs more; as many as `group`, if there are so many left."""
    rows, first = len(data.x), run.epoch + 1
    count = min(group, settings.epochs - run.epoch)
    plan = PLANS[settings.sampling]
    plans = [plan(rows, settings.batch_size, seed=settings.order, epoch=first + i) for i in range(count)]
    plans += plans[-1:] * (group - count)  # one shape, and so one program, for all of a run
    patience = NEVER if settings.patience is None else settings.patience
    numbers = map(np.int32, (first, count, patience))
    progress, losses, measures = train_program(recipe, net, task, run.progress, data, np.stack(plans), *numbers)
    losses, measures, failed_at, steps = jax.device_get((losses, measures, progress.failed_at, progress.state.step))
    iterations = losses.shape[1]
    if failed_at:
        _raise_divergence(recipe.rule, progress, int(failed_at), losses.ravel(), (first - 1) * iterations, iterations)
    trained = int(steps) // iterations - run.epoch  # patience may have ended it sooner
    new = Histories(losses[:trained].ravel(), *(each[:trained] for each in measures))
    return Training(progress, Histories(*map(np.concatenate, zip(run.histories, new, strict=True))))


def _raise_divergence(
    rule: UpdateRule, progress: Progress, failed_at: int, losses: np.ndarray, before: int, per_epoch: int
) -> None:
    ago = int(progress.state.step) - (failed_at - 1)
    rate = learning_rate_of(rule, progress.state.opt_state, ago=ago)
    at = "" if rate is None else f" with learning rate {float(rate):g}"
    raise DivergenceError(
        f"the loss became {losses[failed_at - 1 - before]} at iteration {failed_at} "
        f"(epoch {(failed_at - 1) // per_epoch + 1}){at}: lower the learning rate, or clip gradients"
    )


def _epochs_per_program(net: Network, epochs: int, iterations: int, batch_size: int) -> int:
    """How many epochs to train in one program: as many as divide the run and take about a tenth of a second.

    A divisor, so that a run is saved at epochs that do not depend on where it was resumed.
    """
    flops = 3 * batch_size * iterations * cost(net).flops
    limit = min(AT_ONCE / max(flops, 1), 5000 / iterations)
    return max(n for n in range(1, epochs + 1) if epochs % n == 0 and n <= max(limit, 1))


def _report(run: Training, epoch: int, iterations: int) -> EpochReport:
    course = run.histories
    return EpochReport(
        epoch,
        course.loss[(epoch - 1) * iterations : epoch * iterations],
        *(float(each[epoch]) for each in (course.train, course.val, course.val_loss)),
        run.progress.state,
    )


def _print_epoch(task: Task, histories: Histories, epoch: int, epochs: int) -> None:
    from tqdm import tqdm

    line = f"(Epoch {epoch} / {epochs}) train {task.rank}: {histories.train[epoch]:f}; val_{task.rank}: "
    tqdm.write(f"{line}{histories.val[epoch]:f}", file=sys.stdout)
    sys.stdout.flush()


def _result(net: Network, task: Task, run: Training, stopped: str, augmentations: tuple) -> Result:
    state, best, course = run.progress.state, run.progress.best, run.histories
    epoch = int(best.epoch)
    return Result(
        net,
        task,
        state.params,
        state.stats,
        best.params,
        best.stats,
        None if best.raw == () else best.raw,
        float(course.val[epoch]),
        epoch,
        *course,
        state.opt_state,
        stopped,
        augmentations,
    )
