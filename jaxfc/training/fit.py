"""The loop over epochs, around the compiled programs of `jaxfc.training.program`.

A run is a host loop over one program, which trains one epoch or several short ones. Between programs
the host prints, saves and stops.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxfc.artifacts import checkpoint as files
from jaxfc.console import interrupts, progress_bar, to_whoever_listens
from jaxfc.data import PLANS, Dataset
from jaxfc.errors import DivergenceError
from jaxfc.networks import Network
from jaxfc.optim import UpdateRule, check_rule, learning_rate_of
from jaxfc.parallel import MeshSpec, any_process, check_alike, fetched, put
from jaxfc.tasks import Task
from jaxfc.training.measuring import DeviceData
from jaxfc.training.prepare import CHECKPOINT_KIND, Prepared, Training, as_begun, placed, prepare
from jaxfc.training.program import NEVER, Progress, begin_measured
from jaxfc.training.result import EpochReport, Histories, Result
from jaxfc.training.settings import RunSettings
from jaxfc.training.spread import Spread, spread
from jaxfc.training.step import TrainState, init_state


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
    callbacks: Sequence[Callable[[EpochReport], Any]] = (),
    verbose: bool = True,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    extend: bool = False,
    stream: bool | None = None,
    mesh: MeshSpec | None = None,
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
        sampling: `"shuffled"`, where the rows that do not fill a batch sit the epoch out; `"replacement"`; or
            `"continuous"`, where batches go on through shuffled rows from one epoch into the next, and rows of
            weight 0 are in none. See `jaxfc.data`.
        augment: augmentations inside the step: names such as `"shift:4"`, or functions `(key, x, y) -> (x, y)`;
            see `jaxfc.data.augment`.
        accumulate: the parts of a batch over which its gradient is summed; see `jaxfc.training.step.take_step`.
        ema_decay: keep a moving average of the parameters with this decay; it is what is measured and kept as best.
        patience: stop once so many epochs in a row have not improved on the best validation score.
        seed: of initial parameters and dropout.
        order_seed: of the order of rows and of augmentations; by default `seed`.
        class_weight: `"balanced"`, or a weight for each class; multiplies the data's weights of training rows.
        train_sample: how many training rows the training score is measured on, drawn once.
        callbacks: called with an `EpochReport` after each epoch; one that returns True ends the run.
        verbose: print a line for each epoch.
        progress: show a progress bar; by default on a terminal and in a notebook.
        checkpoint: a file to keep the run in, written between programs.
        resume: go on from that file, if it is there. The result is the same to the last bit as that
            of a run never stopped.
        extend: with `resume`, go on to more epochs than the run was planned for. What a schedule has yet to do
            is then that of a run planned so: the rate of `cosine` and `linear` may rise again.
        stream: leave the training rows where they are and send them to the device in windows, a part of an epoch
            ahead of time. The result is the same to the last bit. By default where the rows are in a file, or are
            more than half of what is free of the device's memory.
        mesh: the devices to train on, by default one: `"data=8"` divides each batch among eight,
            `"data=4,model=2"` the hidden units too; see `jaxfc.parallel`. It is no part of what a run is: a
            checkpoint is gone on with on any number of devices.

    Returns:
        The `Result`. Ctrl-C ends the run at the next epoch boundary, with everything saved and returned.

    Raises:
        ValueError: unknown names, numbers out of range, data that do not fit the network or the task, a mesh that
            does not fit the devices or the batch, a checkpoint of another run (the first difference is named).
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
    settings = RunSettings(
        batch_size, epochs, sampling, tuple(augment), accumulate, ema_decay, patience, seed, order_seed
    )
    with as_begun(checkpoint if resume else None):
        prepared = prepare(
            net,
            rule,
            data,
            settings,
            task=task,
            hyper=hyper,
            class_weight=class_weight,
            train_sample=train_sample,
            group=1 if callbacks else None,
            checkpoint=checkpoint,
            resume=resume,
            extend=extend,
            stream=stream,
            mesh=mesh,
        )
        return carry_out(prepared, callbacks=callbacks, verbose=verbose, progress=progress)


def carry_out(
    prepared: Prepared,
    *,
    callbacks: Sequence[Callable[[EpochReport], Any]] = (),
    verbose: bool = True,
    progress: bool | None = None,
    start: TrainState | None = None,
) -> Result:
    """The second half of `fit`: train what `prepare` has prepared. See `fit` for arguments and errors.

    A run that is not gone on with begins from `start`, whose arrays are gone afterwards; by default it is drawn.

    >>> from jaxfc import FCNet, load
    >>> prepared = prepare(FCNet(64, (8,), 10), "adam", load("digits"), RunSettings(epochs=2))
    >>> carry_out(prepared, verbose=False).val_history.shape
    (3,)
    """
    task, settings, checkpoint = prepared.task, prepared.settings, prepared.checkpoint
    if verbose and prepared.stream is not None:
        with to_whoever_listens():
            print(prepared.stream, flush=True)
    run = prepared.run
    together = prepared.mesh.is_multi_process
    if together:
        check_alike({**prepared.who, "epochs trained": run.epoch if run else 0})
    state = (_drawn(prepared) if start is None else start) if run is None else None
    over = _spread(prepared, state)
    where = over.shardings
    if prepared.stream is not None:
        prepared = prepared._replace(stream=prepared.stream.over(prepared.mesh, where))
    on_device = placed(prepared.rows, settings, where and where.data)
    if run is None:
        run = _start(prepared, over, state, on_device)
        if verbose:
            _print_epoch(task, run.histories, 0, settings.epochs)
    elif where is not None:
        run = run._replace(progress=put(run.progress, where.progress))

    def save(run: Training) -> None:
        whole = run if where is None else fetched(run)
        about = {"run": prepared.who, "x64": bool(jax.config.jax_enable_x64)}
        files.save(checkpoint, whole, {files.FORMAT: CHECKPOINT_KIND, **about})

    stopped = "finished"
    bar = progress_bar(progress, total=settings.epochs, done=run.epoch, unit="epoch")
    with bar, interrupts() as interrupted:
        while run.epoch < settings.epochs:
            if settings.patience is not None and run.epoch - int(run.progress.best.epoch) >= settings.patience:
                stopped = "patience"
                break
            if any_process(interrupted.is_set()) if together else interrupted.is_set():
                stopped = "interrupted"
                if checkpoint and not checkpoint.exists():  # a run is gone on with from its checkpoint only
                    save(run)
                break
            before = run.epoch
            run = _advance(prepared, over, run, on_device)
            if checkpoint:
                save(run)  # before callbacks are called: one of them may raise
            for number in range(before + 1, run.epoch + 1):
                if verbose:
                    _print_epoch(task, run.histories, number, settings.epochs)
                for callback in callbacks:
                    if callback(_report(run, number, len(run.histories.loss) // run.epoch)) is True:
                        stopped = "callback"
            with to_whoever_listens():
                bar.set_postfix(loss=f"{run.histories.loss[-1]:.4f}", val=f"{run.histories.val[-1]:.4f}")
                bar.update(run.epoch - before)
            if stopped == "callback":
                break
    if where is not None:  # whoever has the result need not know where it was trained
        run = run._replace(progress=put(fetched(run.progress), None))
    return _result(prepared.net, task, run, stopped, prepared.recipe.augmentations)


def _drawn(prepared: Prepared) -> TrainState:
    rule = prepared.recipe.rule
    state = init_state(prepared.net, rule, jax.random.key(prepared.settings.seed), **prepared.hyper)
    check_rule(rule, state.params, state.params, state.opt_state)
    return state


def _spread(prepared: Prepared, state: TrainState | None) -> Spread:
    """The training over its mesh; of one that was not begun, the state is given."""
    mesh, recipe, net, task, rows = (getattr(prepared, name) for name in ("mesh", "recipe", "net", "task", "rows"))
    progress = None if prepared.run is None else prepared.run.progress
    if progress is None and mesh.size > 1:
        progress, _ = begin_measured.eval_shape(net, task, state, rows)
    return spread(mesh, recipe, net, task, progress, rows)


def _start(prepared: Prepared, over: Spread, state: TrainState, data: DeviceData) -> Training:
    where = over.shardings
    state = state if where is None else put(state, where.progress.state)
    begin = begin_measured if prepared.stream is None else prepared.stream.begin
    progress, measures = begin(over.net, over.task, state, data)
    progress = progress if where is None else put(progress, where.progress)
    course = (_course(each, 1) for each in jax.device_get(measures))
    return Training(progress, Histories(np.zeros(0, np.float32), *course))


def _course(measured: np.ndarray | None, epochs: int) -> np.ndarray:
    """What was measured in the first of these epochs; NaN where it is not measured."""
    return np.full(epochs, np.nan, np.float32) if measured is None else np.atleast_1d(measured)[:epochs]


def _advance(prepared: Prepared, over: Spread, run: Training, data: DeviceData) -> Training:
    """Train some epochs more; as many as a program does, if there are so many left."""
    settings, group, where = prepared.settings, prepared.group, over.shardings
    if prepared.compilation is not None:
        prepared.compilation.result()
    stream, first = prepared.stream, run.epoch + 1
    rows, train = (len(data.x), over.program) if stream is None else (len(stream.x), stream.train)
    count = min(group, settings.epochs - run.epoch)
    plan, weights = PLANS[settings.sampling], prepared.rows.weights if stream is None else stream.weights
    how = {"seed": settings.order, "weights": weights}
    plans = [plan(rows, settings.batch_size, epoch=first + i, **how) for i in range(count)]
    plans += plans[-1:] * (group - count)  # one shape, and so one program, for all of a run
    patience = NEVER if settings.patience is None else min(settings.patience, NEVER)
    numbers = map(np.int32, (first, count, patience))
    rows_of_batches = np.stack(plans)
    if where is not None and stream is None:
        rows_of_batches = put(rows_of_batches, where.plans)
    arguments = over.recipe, over.net, over.task, run.progress, data, rows_of_batches
    progress, losses, measures = train(*arguments, *numbers)
    losses, measures, failed_at, steps = jax.device_get((losses, measures, progress.failed_at, progress.state.step))
    iterations = losses.shape[1]
    if failed_at:
        _raise_divergence(
            prepared.recipe.rule, progress, int(failed_at), losses.ravel(), (first - 1) * iterations, iterations
        )
    trained = int(steps) // iterations - run.epoch  # patience may have ended it sooner
    new = Histories(losses[:trained].ravel(), *(_course(each, trained) for each in measures))
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
    with to_whoever_listens():
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
