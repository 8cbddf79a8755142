"""The loop of a search, around the compiled programs of `jaxfc.search.population`.

Rung by rung, all candidates still running are trained to the next epoch at which some are stopped. The
candidates that share programs are trained in chunks, and kept on the host between chunks: what has
stopped costs nothing more.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxfc.config import TrainConfig
from jaxfc.console import interrupts, progress_bar
from jaxfc.data import Dataset
from jaxfc.search.candidates import Group, configure, group
from jaxfc.search.chunks import Chunking, chunking
from jaxfc.search.folds import Fold, split
from jaxfc.search.lanes import Chunk, Lanes, Trained
from jaxfc.search.methods import Bracket, Method, Random
from jaxfc.search.spaces import Settings
from jaxfc.search.storage import State, Storage
from jaxfc.search.trials import SearchResult, Trial, ranked
from jaxfc.train import check_arguments

NEVER = 2**30  # epochs of patience, where there is no early stopping


def run(
    data: Dataset,
    config: TrainConfig,
    settings: Sequence[Settings],
    *,
    method: Method | None = None,
    folds: int = 1,
    keep: int = 1,
    chunk: int | None = None,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> SearchResult:
    """Train many networks at once, and return them ranked by validation accuracy.

    Each candidate is the training that `jaxfc.fit` does with `config` and the candidate's settings. All
    candidates see the same rows in the same order, that of `config.seed`; a candidate's own `seed` is that
    of its initial weights and dropout.

    Args:
        data: the data set.
        config: the settings that all candidates share; its `data` and `num_train` are not looked at.
        settings: for each candidate the settings that set it apart; see `jaxfc.search.sample` and `grid`.
        method: which candidates train for how long; by default all to the end.
        folds: with k > 1, k-fold cross-validation over the training rows: each candidate trains k times,
            measured on one k-th of them and trained on the others, and its accuracy is the mean.
        keep: how many of the best candidates' parameters to keep, for an ensemble.
        chunk: how many networks to train in one program; by default what suits the device.
        progress: show a progress bar; by default on a terminal and in a notebook.
        checkpoint: a file to keep the search in, so that nothing that is finished is lost.
        resume: go on from that file, if it is there; the result is that of a search never stopped.

    Returns:
        The `SearchResult`. Ctrl-C ends the search at the end of the running chunks, with everything saved.

    Raises:
        ValueError: no candidates, unknown names, numbers out of range, a chunk that does not fit the
            device's memory, or the checkpoint of another search.
        TypeError: a value of the wrong type.
        FileExistsError: the checkpoint exists and `resume` is False.

    >>> from jaxfc import load, search
    >>> data = load("digits")
    >>> settings = search.sample({"learning_rate": search.loguniform(1e-3, 1e-1)}, trials=8)
    >>> found = search.run(data, TrainConfig(hidden=(16,), epochs=2), settings)
    >>> len(found.trials), found.best.score > 0.8, found.programs
    (8, True, 2)
    """
    prepared = plan(data, config, settings, method=method, folds=folds, keep=keep, chunk=chunk)
    return carry_out(prepared, progress=progress, checkpoint=checkpoint, resume=resume)


def carry_out(
    plan: "Plan", *, progress: bool | None = None, checkpoint: str | Path | None = None, resume: bool = False
) -> SearchResult:
    """Train what was laid out; see `run`."""
    data, config, keep, parts, groups, brackets, trials, cuts, fingerprint = plan
    folds = len(parts)
    state = State(trials)
    storage = Storage(checkpoint, fingerprint, resume=resume)
    storage.restore(state, groups)

    stops = _stops(brackets, config)
    longest = max(b - a for a, b in zip([0, *stops], stops, strict=False))
    patience = NEVER if config.patience is None else config.patience
    settings_of_lanes = {"seed": config.seed, "patience": patience, "longest": longest}
    with (
        Lanes(jax.local_devices(), max(cut.programs for cut in cuts), data, parts, **settings_of_lanes) as lanes,
        progress_bar(progress, total=1, done=0, unit="epoch") as bar,
        interrupts("after the running chunks") as interrupted,
    ):
        bar.n = folds * sum(t.epochs for t in trials)
        for stop in stops:
            _show(bar, state, brackets, folds)
            for trained in lanes.train(_chunks(state, groups, cuts, stop), interrupted):
                _record(state, trained, patience, keep)
                bar.n += folds * len(trained.chunk.numbers) * trained.chunk.num_epochs
                _show(bar, state, brackets, folds)
                storage.save(state, sometimes=True)
            if interrupted.is_set():
                break
            _promote(state, brackets, stop, keep)
            storage.save(state)
        storage.save(state)
        _show(bar, state, brackets, folds)
    nets = {number: net for g in groups for number, net in g.nets.items()}
    in_order = [nets[trial.number] for trial in trials]
    return SearchResult(trials, in_order, lanes.num_programs, len(groups), state.kept, data, interrupted.is_set())


class Plan(NamedTuple):
    """A search before its beginning."""

    data: Dataset
    config: TrainConfig
    keep: int
    folds: list[Fold]
    groups: list[Group]
    brackets: list[Bracket]
    trials: list[Trial]
    cuts: list[Chunking]
    fingerprint: dict[str, Any]


def plan(
    data: Dataset,
    config: TrainConfig,
    settings: Sequence[Settings],
    *,
    method: Method | None = None,
    folds: int = 1,
    keep: int = 1,
    chunk: int | None = None,
) -> Plan:
    """Lay out a search; raises what `run` would raise of these arguments, before anything is written."""
    if keep < 1:
        raise ValueError(f"keep={keep} must be at least 1")
    configs = configure(config, settings)
    parts = split(data, folds, config.seed)
    groups = group(configs, data, len(parts[0].rows))
    nets = {number: net for g in groups for number, net in g.nets.items()}
    for number, c in enumerate(configs):
        check_arguments(nets[number], data, c.epochs, c.batch_size, c.sampling, 1, c.patience, c.seed)
    brackets = (method or Random()).brackets(len(settings), config.epochs)
    device = jax.local_devices()[0]
    cuts = [chunking(g, len(parts[0].y_val), len(g.numbers), device, chunk) for g in groups]
    fingerprint = {
        "data": [data.name, *data.x_train.shape],
        "shared settings": config.to_json(),
        "candidates": [dict(each) for each in settings],
        "rungs": brackets,
        "folds": folds,
        "kept candidates": keep,
    }
    trials = _trials(settings, configs, brackets, folds)
    return Plan(data, config, keep, parts, groups, brackets, trials, cuts, fingerprint)


def _trials(
    settings: Sequence[Settings], configs: Sequence[TrainConfig], brackets: Sequence[Bracket], folds: int
) -> list[Trial]:
    places = [place for place, bracket in enumerate(brackets) for _ in range(bracket.size)]
    blank = np.zeros((folds, 0), np.float32)
    return [
        Trial(number, dict(each), config, place, brackets[place].rungs, blank, blank)
        for number, (each, config, place) in enumerate(zip(settings, configs, places, strict=True))
    ]


def _stops(brackets: Sequence[Bracket], config: TrainConfig) -> list[int]:
    """The epochs at which candidates may stop."""
    stops = {rung for bracket in brackets for rung in bracket.rungs}
    if config.patience is not None:
        stops |= set(range(config.patience, config.epochs, config.patience))
    return sorted(stops)


def _chunks(state: State, groups: Sequence[Group], cuts: Sequence[Chunking], stop: int) -> list[Chunk]:
    """What has yet to be trained for every running trial to get to an epoch."""
    chunks = []
    for g, cut in zip(groups, cuts, strict=True):
        waiting = [t for t in state.trials if t.number in g.numbers and t.status == "running" and t.epochs < stop]
        for start in range(0, len(waiting), cut.members):
            mine = waiting[start : start + cut.members]
            members = tuple(state.members[t.number] for t in mine) if mine[0].epochs else None
            numbers, epochs = tuple(t.number for t in mine), mine[0].epochs
            chunks.append(Chunk(g, cut.width(len(mine)), numbers, members, epochs + 1, stop - epochs))
    return chunks


def _record(state: State, trained: Trained, patience: int, keep: int) -> None:
    """Note down what came of a chunk."""
    for number, members, loss, val_acc in zip(
        trained.chunk.numbers, trained.members, trained.loss, trained.val_acc, strict=True
    ):
        trial = state.trials[number]
        trial.loss = np.concatenate([trial.loss, loss], axis=1)
        trial.val_acc = _filled(np.concatenate([trial.val_acc, val_acc], axis=1))
        failures = [int(member.failed_at) for member in members if member.failed_at]
        if failures:
            trial.status, trial.failed_at = "failed", min(failures)
        elif trial.epochs >= trial.rungs[-1]:
            trial.status = "finished"
        elif all(trial.epochs - int(member.best.epoch) >= patience for member in members):
            trial.status = "patience"
        state.members[number] = members
        if trial.status != "running":
            _end(state, trial, keep)


def _filled(val_acc: np.ndarray) -> np.ndarray:
    """Accuracies with those of epochs that early stopping left out, where parameters stay as they were."""
    for i in range(1, val_acc.shape[1]):
        val_acc[:, i] = np.where(np.isnan(val_acc[:, i]), val_acc[:, i - 1], val_acc[:, i])
    return val_acc


def _promote(state: State, brackets: Sequence[Bracket], stop: int, keep: int) -> None:
    """Stop those of each bracket that do not go on from this rung."""
    for place, bracket in enumerate(brackets):
        if stop not in bracket.rungs[:-1]:
            continue
        running = [t for t in state.trials if t.bracket == place and t.status == "running"]
        for trial in ranked(running)[bracket.going_on(bracket.rungs.index(stop)) :]:
            trial.status = "stopped"
            _end(state, trial, keep)


def _end(state: State, trial: Trial, keep: int) -> None:
    """Forget a trial's members; of the best trials keep the best parameters."""
    members = state.members.pop(trial.number)
    if trial.status != "failed":
        state.kept[trial.number] = [jax.tree.map(np.copy, member.best) for member in members]
    kept = ranked([state.trials[number] for number in state.kept])
    for worse in kept[keep:]:
        del state.kept[worse.number]


def _show(bar: Any, state: State, brackets: Sequence[Bracket], folds: int) -> None:
    """Bring the progress bar up to date."""
    left = 0
    for place, bracket in enumerate(brackets):
        epochs = [t.epochs for t in state.trials if t.bracket == place and t.status == "running"]
        left += _left(bracket, epochs)
    bar.total = bar.n + folds * left
    best = ranked(state.trials)[:1]
    bar.set_postfix_str(f"{len(state.trials)} candidates, best {best[0].score:.4f}" if best else "", refresh=False)
    bar.refresh()


def _left(bracket: Bracket, epochs: list[int]) -> int:
    """How many epochs a bracket's running candidates have yet to train, who have trained so many each."""
    left = 0
    for i, rung in enumerate(bracket.rungs):
        left += sum(max(rung - trained, 0) for trained in epochs)
        epochs = [max(rung, trained) for trained in epochs][: bracket.going_on(i)]
    return left
