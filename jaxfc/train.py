"""The loop over epochs, around the compiled programs of `jaxfc.step`.

A run is a host loop over one program, which trains one epoch or several short ones. Between programs
the host prints, saves and stops.
"""

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxfc.checkpoint import FORMAT
from jaxfc.checkpoint import load as load_tree
from jaxfc.checkpoint import save as save_tree
from jaxfc.console import interrupts, progress_bar
from jaxfc.data import PLANS, Dataset, check_batch
from jaxfc.errors import DivergenceError, unknown_name
from jaxfc.model import Model
from jaxfc.network import FCNet, Params, Stats
from jaxfc.optim import UpdateRule
from jaxfc.optim import rule as rule_named
from jaxfc.step import Best, DeviceData, TrainState, first_best, init_state, train_epochs, train_step

__all__ = ["EpochReport", "Result", "TrainState", "fit", "init_state", "train_epochs", "train_step"]

CHECKPOINT_KIND = "jaxfc checkpoint"


class Histories(NamedTuple):
    """A run's course. Accuracies begin with those before the first epoch."""

    loss: Float[np.ndarray, " iterations"]
    train_acc: Float[np.ndarray, " epochs_and_one"]
    val_acc: Float[np.ndarray, " epochs_and_one"]


class Run(NamedTuple):
    """All that a run consists of between two programs; a checkpoint is this."""

    state: TrainState
    best: Best
    histories: Histories

    @property
    def epoch(self) -> int:
        """The number of epochs trained."""
        return len(self.histories.val_acc) - 1


class EpochReport(NamedTuple):
    """What a callback is told after each epoch. `state` is valid until the callback returns: copy what you keep.

    >>> from jaxfc.data import load
    >>> def show(report):
    ...     print(report.epoch, len(report.losses), report.val_acc > 0.1)
    >>> result = fit(FCNet(64, (8,), 10), "adam", load("digits"), epochs=2, verbose=False, callbacks=[show])
    1 12 True
    2 12 True
    """

    epoch: int
    losses: Float[np.ndarray, " iterations"]
    train_acc: float
    val_acc: float
    state: TrainState


class Result(NamedTuple):
    """What `fit` returns.

    `params` and `stats` are those after the last epoch, `best_params` and `best_stats` those of the
    epoch (`best_epoch`, 0 for the initial ones) with the best validation accuracy. Histories are NumPy
    arrays: `loss_history` per iteration; `train_acc_history` and `val_acc_history` per epoch, the
    first entry before any training. `stopped` says why the run ended: `"finished"`, `"patience"` or
    `"interrupted"`.

    >>> from jaxfc.data import load
    >>> result = fit(FCNet(64, (8,), 10), "adam", load("digits"), epochs=2, verbose=False)
    >>> result.loss_history.shape, result.val_acc_history.shape, result.stopped
    ((24,), (3,), 'finished')
    """

    net: FCNet
    params: Params
    stats: Stats
    best_params: Params
    best_stats: Stats
    best_val_acc: float
    best_epoch: int
    loss_history: Float[np.ndarray, " iterations"]
    train_acc_history: Float[np.ndarray, " epochs_and_one"]
    val_acc_history: Float[np.ndarray, " epochs_and_one"]
    opt_state: Any
    stopped: str

    def model(self, data: Dataset) -> Model:
        """The best parameters with all that is needed to use them: normalizer, class names, image shape."""
        return Model.of(self.net, self.best_params, self.best_stats, data)


def fit(
    net: FCNet,
    rule: UpdateRule | str,
    data: Dataset,
    *,
    hyper: dict[str, Any] | None = None,
    epochs: int = 10,
    batch_size: int = 100,
    seed: int = 0,
    sampling: str = "shuffled",
    train_sample: int = 1000,
    patience: int | None = None,
    callbacks: Sequence[Callable[[EpochReport], None]] = (),
    verbose: bool = True,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> Result:
    """Train a network.

    Args:
        net: the network to train.
        rule: the update rule, or the name of one.
        data: the data set; its inputs go to the device as they are and are normalized inside the step.
        hyper: the rule's hyper-parameters, as its `init` takes them.
        epochs: the number of epochs.
        batch_size: rows in a batch. An epoch has `len(x_train) // batch_size` iterations.
        seed: of initial parameters, order of rows, and dropout.
        sampling: `"shuffled"`, where the rows that do not fill a batch sit the epoch out; or
            `"replacement"`. See `jaxfc.data`.
        train_sample: how many training rows the training accuracy is measured on, drawn once.
        patience: stop once so many epochs in a row have not improved on the best validation accuracy.
        callbacks: called with an `EpochReport` after each epoch.
        verbose: print a line for each epoch.
        progress: show a progress bar; by default on a terminal and in a notebook.
        checkpoint: a file to keep the run in, written between programs.
        resume: go on from that file, if it is there. The result is the same to the last bit as that
            of a run never stopped.

    Returns:
        The `Result`. Ctrl-C ends the run at the next epoch boundary, with everything saved and returned.

    Raises:
        ValueError: unknown names, numbers out of range, data that do not fit the network, a
            checkpoint of another network or rule.
        DivergenceError: the loss became NaN or infinite; the last good checkpoint stays.
        FileExistsError: the checkpoint exists and `resume` is False.

    >>> from jaxfc.data import load
    >>> data = load("digits")
    >>> net = FCNet(data.num_features, (32,), len(data.classes))
    >>> result = fit(net, "adam", data, hyper={"learning_rate": 3e-3}, epochs=3, batch_size=32, verbose=False)
    >>> result.best_val_acc > 0.8
    True
    """
    rule = rule_named(rule) if isinstance(rule, str) else rule
    check_arguments(net, data, epochs, batch_size, sampling, train_sample, patience, seed)
    checkpoint = None if checkpoint is None else Path(checkpoint)
    if checkpoint and checkpoint.exists() and not resume:
        raise FileExistsError(f"{checkpoint} exists: pass resume=True to go on from it, or name another file")

    on_device = _to_device(data, train_sample, seed)
    run = _start(net, rule, on_device, hyper or {}, seed)
    if checkpoint and checkpoint.exists():
        run = load_tree(checkpoint, run, kind=CHECKPOINT_KIND)
    elif verbose:
        _print_epoch(run.histories, 0, epochs)
    iterations = len(data.x_train) // batch_size
    group = 1 if callbacks or patience is not None else _epochs_per_program(net, epochs, iterations, batch_size)

    stopped = "finished"
    with progress_bar(progress, total=epochs, done=run.epoch, unit="epoch") as bar, interrupts() as interrupted:
        while run.epoch < epochs:
            if patience is not None and run.epoch - int(run.best.epoch) >= patience:
                stopped = "patience"
                break
            if interrupted.is_set():
                stopped = "interrupted"
                break
            first = run.epoch + 1
            numbers = range(first, first + min(group, epochs - run.epoch))
            plans = np.stack([PLANS[sampling](len(data.x_train), batch_size, seed=seed, epoch=n) for n in numbers])
            run = _advance(net, rule, run, on_device, plans)
            if checkpoint:
                save_tree(checkpoint, run, {FORMAT: CHECKPOINT_KIND})
            for number in numbers:
                if verbose:
                    _print_epoch(run.histories, number, epochs)
                for callback in callbacks:
                    callback(_report(run, number, iterations))
            bar.set_postfix(loss=f"{run.histories.loss[-1]:.4f}", val=f"{run.histories.val_acc[-1]:.4f}")
            bar.update(len(numbers))
    return _result(net, run, stopped)


def check_arguments(
    net: FCNet,
    data: Dataset,
    epochs: int,
    batch_size: int,
    sampling: str,
    train_sample: int = 1000,
    patience: int | None = None,
    seed: int = 0,
) -> None:
    """Raise what `fit` would raise of these arguments, before anything is written.

    Raises:
        ValueError: an unknown name, a number out of range, or a network that does not fit the data.

    >>> from jaxfc.data import load
    >>> check_arguments(FCNet(64, (8,), 10), load("digits"), epochs=0, batch_size=100, sampling="shuffled")
    Traceback (most recent call last):
    ValueError: epochs=0 must be at least 1
    """
    if sampling not in PLANS:
        raise unknown_name("sampling", sampling, PLANS)
    for name, value in {"epochs": epochs, "train_sample": train_sample, "patience": patience}.items():
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    if seed < 0:
        raise ValueError(f"seed={seed} must be at least 0")
    check_batch(len(data.x_train), batch_size)
    if net.input_dim != data.num_features:
        raise ValueError(f"the network takes {net.input_dim} features and {data.name!r} has {data.num_features}")
    if net.num_classes != len(data.classes):
        raise ValueError(f"the network has {net.num_classes} classes and {data.name!r} has {len(data.classes)}")


def _to_device(data: Dataset, train_sample: int, seed: int) -> DeviceData:
    rows = len(data.x_train)
    # A stream of its own: epoch numbers, which seed the plans, start from 1.
    sample = np.random.default_rng([seed, 0]).permutation(rows)[: min(train_sample, rows)]
    arrays = (data.x_train, data.y_train, np.sort(sample).astype(np.int32), data.x_val, data.y_val)
    return DeviceData(jax.tree.map(jnp.asarray, data.normalizer), *map(jnp.asarray, arrays))


def _start(net: FCNet, rule: UpdateRule, data: DeviceData, hyper: dict[str, Any], seed: int) -> Run:
    state = init_state(net, rule, jax.random.key(seed), **hyper)
    best, accuracies = first_best(net, state, data)
    train_acc, val_acc = np.asarray(accuracies)
    return Run(state, best, Histories(np.zeros(0, np.float32), np.array([train_acc]), np.array([val_acc])))


def _advance(net: FCNet, rule: UpdateRule, run: Run, data: DeviceData, plans: np.ndarray) -> Run:
    state, best, losses, accuracies = train_epochs(net, rule, run.state, run.best, data, plans, np.int32(run.epoch + 1))
    losses, accuracies = jax.device_get((losses, accuracies))
    losses = losses.ravel()
    _check_losses(rule, state, losses, len(run.histories.loss), plans.shape[1])
    train_acc, val_acc = accuracies.T
    new = Histories(losses, train_acc, val_acc)
    return Run(state, best, Histories(*map(np.concatenate, zip(run.histories, new, strict=True))))


def _check_losses(rule: UpdateRule, state: TrainState, losses: np.ndarray, before: int, per_epoch: int) -> None:
    wrong = np.flatnonzero(~np.isfinite(losses))
    if not len(wrong):
        return
    rate = float(rule.learning_rate(state.opt_state, ago=len(losses) - int(wrong[0])))
    iteration = before + int(wrong[0]) + 1
    raise DivergenceError(
        f"the loss became {losses[wrong[0]]} at iteration {iteration} (epoch {(iteration - 1) // per_epoch + 1}) "
        f"with learning rate {rate:g}: lower the learning rate, or clip gradients"
    )


def _epochs_per_program(net: FCNet, epochs: int, iterations: int, batch_size: int) -> int:
    """How many epochs to train in one program: as many as divide the run and take about a tenth of a second.

    A divisor, so that every program of the run, and of a resumed run, is the same one.
    """
    flops = 6 * batch_size * iterations * sum(a * b for a, b in itertools.pairwise(net.dims))
    limit = min(2e10 / flops, 5000 / iterations)
    return max(n for n in range(1, epochs + 1) if epochs % n == 0 and n <= max(limit, 1))


def _report(run: Run, epoch: int, iterations: int) -> EpochReport:
    losses, train_acc, val_acc = run.histories
    return EpochReport(
        epoch,
        losses[(epoch - 1) * iterations : epoch * iterations],
        float(train_acc[epoch]),
        float(val_acc[epoch]),
        run.state,
    )


def _print_epoch(histories: Histories, epoch: int, epochs: int) -> None:
    from tqdm import tqdm

    line = (
        f"(Epoch {epoch} / {epochs}) train acc: {histories.train_acc[epoch]:f}; val_acc: {histories.val_acc[epoch]:f}"
    )
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def _result(net: FCNet, run: Run, stopped: str) -> Result:
    state, best = run.state, run.best
    return Result(
        net,
        state.params,
        state.stats,
        best.params,
        best.stats,
        float(best.val_acc),
        int(best.epoch),
        *run.histories,
        state.opt_state,
        stopped,
    )
