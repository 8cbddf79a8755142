"""The loop of a search, around the compiled programs of `jaxfc.search.population`.

Rung by rung, all candidates still running are trained to the next epoch at which some are stopped. The
candidates that share programs are trained in chunks, and kept on the host between chunks: what has
stopped costs nothing more.
"""

import hashlib
import itertools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxfc.console import interrupts, progress_bar
from jaxfc.data import Dataset, FileRows
from jaxfc.data.mapped import resident
from jaxfc.parallel import MeshSpec, population_mesh
from jaxfc.search.candidates import Blueprint, Build, Group, blueprints, check_run_names, group
from jaxfc.search.chunks import NARROW, Chunking, chunking, shared_bytes
from jaxfc.search.folds import Fold, split
from jaxfc.search.lanes import Chunk, Lanes, Trained, at_the_end
from jaxfc.search.methods import Bracket, Method, Random
from jaxfc.search.padding import forms
from jaxfc.search.spaces import Settings
from jaxfc.search.storage import State, Storage
from jaxfc.search.trials import SearchResult, Trial, ranked
from jaxfc.training.config import TrainConfig
from jaxfc.training.identity import described_run
from jaxfc.training.prepare import check_rows
from jaxfc.training.program import NEVER, Best
from jaxfc.training.settings import RunSettings, weighted

MOST_EPOCHS, PLAN_BYTES = 1000, 2**27  # of one program's call


def run(
    data: Dataset,
    build: TrainConfig | Build,
    settings: Sequence[Settings],
    *,
    method: Method | None = None,
    folds: int = 1,
    keep: int = 1,
    chunk: int | None = None,
    pad: bool | None = None,
    class_weight: str | Mapping[str, float] | None = None,
    mesh: MeshSpec | None = None,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    **shared: Any,
) -> SearchResult:
    """Train many networks at once, and return them ranked by the task's metric on the validation rows.

    Each candidate is the training that `jaxfc.fit` does with what `build` makes of its settings, up to rounding, and
    with `order_seed` that of the search: all candidates see the same rows, augmented in the same way, in the same
    order, and a candidate's own `seed` is that of its initial weights and dropout.

    Args:
        data: the data set.
        build: what makes `(network, task, rule, hyper-parameters)` of a candidate's settings; or a `TrainConfig`
            that the settings change (its `data` and `num_train` are not looked at).
        settings: for each candidate the settings that set it apart; see `jaxfc.search.sample` and `grid`.
            `batch_size`, `sampling`, `accumulate` and `seed` among them are the run's.
        method: which candidates train for how long; by default all to the end.
        folds: with k > 1, k-fold cross-validation over the training rows: each candidate trains k times,
            measured on one k-th of them and trained on the others, and its score is the mean.
        keep: how many of the best candidates' parameters to keep, for an ensemble.
        chunk: how many networks to train in one program; by default what suits the device.
        pad: whether networks of several widths and depths share a program, padded to the largest of them, where
            network and rule allow it; by default where that saves time. A padded network's numbers are its own up
            to rounding, and whatever is returned or written is the network without what padded it.
        class_weight: as in `jaxfc.fit`; with a `TrainConfig`, its own by default.
        mesh: the devices to train on, such as `"population=8"`: each has its share of a program's networks. By
            default all of this process's that are alike. With as many networks on each device, a candidate's numbers
            are the same to the last bit on any number of them.
        progress: show a progress bar; by default on a terminal and in a notebook.
        checkpoint: a file to keep the search in, so that nothing that is finished is lost.
        resume: go on from that file, if it is there; the result is that of a search never stopped.
        **shared: `epochs`, `batch_size`, `augment` and so on, by the names and defaults of `jaxfc.fit`; where
            `build` is a `TrainConfig`, it has them.

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
    how = {"method": method, "folds": folds, "keep": keep, "chunk": chunk, "pad": pad, "class_weight": class_weight}
    how["mesh"] = mesh
    layout = lay_out(data, build, settings, **how, **shared)
    return carry_out(layout, progress=progress, checkpoint=checkpoint, resume=resume)


def carry_out(
    layout: "Layout",
    *,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    last: bool = False,
) -> SearchResult:
    """Train what was laid out; see `run`. The layout stays as it is.

    With `last` the parameters that are kept are those of the last epoch, not of the best, for trainings whose
    validation rows decide nothing; their scores are the best ones all the same.
    """
    data, shared, keep, parts, made, groups, brackets, blank, cuts, fingerprint, _ = layout
    folds, trials = len(parts), [replace(trial, _found={}) for trial in blank]
    state = State(trials, groups)
    storage = Storage(checkpoint, fingerprint, resume=resume)
    storage.restore(state)

    stops, patience = stops_of(brackets, shared, len(parts[0].rows)), _patience(shared)
    with (
        lanes_for(layout) as lanes,
        progress_bar(progress, total=1, done=0, unit="epoch") as bar,
        interrupts("after the running chunks") as interrupted,
    ):
        bar.n = folds * sum(t.epochs for t in trials)
        for stop in stops:
            _show(bar, state, brackets, folds)
            for trained in lanes.train(_chunks(state, groups, cuts, stop), interrupted):
                _record(state, at_the_end(trained) if last else trained, patience, keep)
                bar.n += folds * len(trained.chunk.numbers) * trained.chunk.num_epochs
                _show(bar, state, brackets, folds)
                storage.save(state, sometimes=True)
            if interrupted.is_set():
                break
            _promote(state, brackets, stop, keep)
            storage.save(state)
        storage.save(state)
        _show(bar, state, brackets, folds)
    return SearchResult(trials, made, lanes.num_programs, len(groups), state.kept, data, parts, interrupted.is_set())


def lanes_for(layout: "Layout") -> Lanes:
    """What trains a search's candidates."""
    stops = stops_of(layout.brackets, layout.shared, len(layout.folds[0].rows))
    how = {"settings": layout.shared, "patience": _patience(layout.shared), "longest": longest_stretch(stops)}
    devices = list(layout.mesh.devices.flat)
    return Lanes(devices, max(cut.programs for cut in layout.cuts), layout.data, layout.folds, **how)


def train_some(
    layout: "Layout", lanes: Lanes, numbers: Sequence[int], interrupted: threading.Event
) -> Iterator[tuple[Trial, list[Best]]]:
    """Train some of the candidates, each to its own end; yield each as it ends, with its best parameters on the folds.

    They are what a search of all of them makes of them. Once interrupted, those that have not ended are not yielded.
    """
    # The others are not this worker's: nothing that has stopped is trained.
    trials = [replace(t, _found={}, status="running" if t.number in set(numbers) else "stopped") for t in layout.trials]
    state = State(trials, layout.groups)
    for stop in stops_of(layout.brackets, layout.shared, len(layout.folds[0].rows)):
        for trained in lanes.train(_chunks(state, layout.groups, layout.cuts, stop), interrupted):
            _record(state, trained, _patience(layout.shared), keep=len(trials))
            for number in trained.chunk.numbers:
                if trials[number].status != "running":
                    yield trials[number], state.kept.pop(number, [])
        if interrupted.is_set():
            return


class Layout(NamedTuple):
    """A search before its beginning."""

    data: Dataset
    shared: RunSettings
    keep: int
    folds: list[Fold]
    blueprints: list[Blueprint]
    groups: list[Group]
    brackets: list[Bracket]
    trials: list[Trial]
    cuts: list[Chunking]
    fingerprint: dict[str, Any]
    mesh: Mesh


def lay_out(
    data: Dataset,
    build: TrainConfig | Build,
    settings: Sequence[Settings],
    *,
    method: Method | None = None,
    folds: int = 1,
    keep: int = 1,
    chunk: int | None = None,
    pad: bool | None = None,
    class_weight: str | Mapping[str, float] | None = None,
    mesh: MeshSpec | None = None,
    device: Any = None,
    **options: Any,
) -> Layout:
    """Lay out a search; raises what `run` would raise of these arguments, before anything is written.

    `device` is that whose memory it has to fit, alone: by default the first of the mesh, as one of all of them.
    """
    if keep < 1:
        raise ValueError(f"keep={keep} must be at least 1")
    mesh = population_mesh(mesh)
    shared = _shared(build, options)
    if class_weight is None and isinstance(build, TrainConfig):
        class_weight = build.class_weights()
    if isinstance(data.x_train, FileRows) or isinstance(data.x_val, FileRows):
        # Populations read the rows side by side, each where it stands.
        data = replace(data, x_train=resident(data.x_train), x_val=resident(data.x_val))
    data = weighted(data, class_weight)
    check_rows(data)
    parts = split(data, folds, shared.order)
    made = blueprints(build, settings, shared, data, len(parts[0].rows))
    brackets = (method or Random()).brackets(len(settings), shared.epochs)
    devices = mesh.size if device is None else 1
    device = mesh.devices.flat[0] if device is None else device
    epochs = folds * sum(each.left([0] * each.size) for each in brackets) / len(settings)
    steps = [epochs * (len(parts[0].rows) // each.settings.batch_size) for each in made]
    nets = forms(made, pad, steps, device.platform, max(chunk // devices, 1) if chunk else NARROW)
    groups = group(made, nets, data, parts)
    num_val = len(data.x_val) if parts[0].held is None else len(parts[0].held)
    beside = shared_bytes(data, groups, folds, min(keep, len(settings)), device)
    cuts = [chunking(g, num_val, len(g.places), device, chunk, beside, devices) for g in groups]
    fingerprint = {
        "data": [data.name, *data.x_train.shape, data.fingerprint()],
        "shared settings": _described(asdict(shared), build),
        "candidates": [dict(each) for each in settings],
        "networks, tasks or rules": _digest(made),
        "rungs": brackets,
        "folds": folds,
        "kept candidates": keep,
    }
    if padded := [number for number, (net, each) in enumerate(zip(nets, made, strict=True)) if net is not each.net]:
        fingerprint["padded networks"] = padded
    trials = _trials(settings, made, brackets, folds, shared.order)
    return Layout(data, shared, keep, parts, made, groups, brackets, trials, cuts, fingerprint, mesh)


def _shared(build: TrainConfig | Build, options: Mapping[str, Any]) -> RunSettings:
    check_run_names(options)
    if not isinstance(build, TrainConfig):
        return RunSettings(**{**options, "augment": tuple(options.get("augment", ()))})
    if options:
        raise TypeError(f"{next(iter(options))} is the configuration's own: replace it there")
    return build.settings


def _described(settings: dict[str, Any], build: TrainConfig | Build) -> list[Any]:
    return [json.dumps(settings, default=str), build.to_json() if isinstance(build, TrainConfig) else ""]


def _digest(made: Sequence[Blueprint]) -> str:
    """What the candidates are, beside their settings: a function of one's own may have changed."""
    digest = hashlib.sha256()
    for each in made:
        who = described_run(each.net, each.task, each.rule, each.hyper, each.settings)
        digest.update(json.dumps(who, default=str, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _trials(
    settings: Sequence[Settings], made: Sequence[Blueprint], brackets: Sequence[Bracket], folds: int, seed: int
) -> list[Trial]:
    places = np.repeat(np.arange(len(brackets)), [bracket.size for bracket in brackets])
    # At random: in a grid, neighbours are alike, and a bracket would see only a corner of it.
    places = places[np.argsort(np.random.default_rng([seed, 2]).permutation(len(places)))].tolist()
    blank = np.zeros((folds, 0), np.float32)
    return [
        Trial(
            number, dict(each), one.config, place, brackets[place].rungs, blank, blank, blank,
            one.task.rank, one.task.higher,
        )
        for number, (each, one, place) in enumerate(zip(settings, made, places, strict=True))
    ]  # fmt: skip


def longest_stretch(stops: Sequence[int]) -> int:
    """The most epochs that a program trains, of a search whose candidates may stop after these.

    >>> longest_stretch([1, 3, 9])
    6
    """
    return max(b - a for a, b in zip([0, *stops], stops, strict=False))


def stops_of(brackets: Sequence[Bracket], shared: RunSettings, num_rows: int) -> list[int]:
    """The epochs at which candidates may stop; and some between, so that no program runs for hours.

    >>> stops_of([], RunSettings(epochs=10, patience=4), 1000)
    [4, 8]
    """
    most = max(min(MOST_EPOCHS, PLAN_BYTES // (4 * num_rows)), 1)
    stops = {rung for bracket in brackets for rung in bracket.rungs}
    if shared.patience is not None:
        stops |= set(range(shared.patience, shared.epochs, shared.patience))
    rungs = [0, *sorted(stops)]
    between = (range(a + most, b, most) for a, b in itertools.pairwise(rungs) if b - a > most)
    return sorted(stops.union(*between))


def _patience(shared: RunSettings) -> int:
    return NEVER if shared.patience is None else min(shared.patience, NEVER)


def _chunks(state: State, groups: Sequence[Group], cuts: Sequence[Chunking], stop: int) -> list[Chunk]:
    """What has yet to be trained for every running trial to get to an epoch."""
    chunks = []
    for g, cut in zip(groups, cuts, strict=True):
        waiting = [t for t in state.trials if t.number in g.places and t.status == "running" and t.epochs < stop]
        for start in range(0, len(waiting), cut.members):
            mine = waiting[start : start + cut.members]
            members = tuple(state.members[t.number] for t in mine) if mine[0].epochs else None
            numbers, epochs = tuple(t.number for t in mine), mine[0].epochs
            chunks.append(Chunk(g, cut.width(len(mine)), numbers, members, epochs + 1, stop - epochs))
    return chunks


def _record(state: State, trained: Trained, patience: int, keep: int) -> None:
    """Note down what came of a chunk."""
    chunk = trained.chunk
    for number, members, loss, val, val_loss in zip(
        chunk.numbers, trained.members, trained.loss, trained.val, trained.val_loss, strict=True
    ):
        trial = state.trials[number]
        trial.loss = np.concatenate([trial.loss, loss], axis=1)
        trial.val = _filled(np.concatenate([trial.val, val], axis=1))
        trial.val_loss = _filled(np.concatenate([trial.val_loss, val_loss], axis=1))
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


def _filled(measured: np.ndarray) -> np.ndarray:
    """What was measured, with the epochs that early stopping left out, where parameters stay as they were."""
    for i in range(1, measured.shape[1] if np.isnan(measured).any() else 0):
        measured[:, i] = np.where(np.isnan(measured[:, i]), measured[:, i - 1], measured[:, i])
    return measured


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
        own = state.group_of(trial.number).own
        state.kept[trial.number] = [jax.tree.map(np.copy, own(trial.number, member.best)) for member in members]
    kept = ranked([state.trials[number] for number in state.kept])
    for worse in kept[keep:]:
        del state.kept[worse.number]


def _show(bar: Any, state: State, brackets: Sequence[Bracket], folds: int) -> None:
    """Bring the progress bar up to date."""
    if bar.disable:
        return
    left = 0
    for place, bracket in enumerate(brackets):
        epochs = [t.epochs for t in state.trials if t.bracket == place and t.status == "running"]
        left += bracket.left(epochs)
    bar.total = bar.n + folds * left
    best = ranked(state.trials)[:1]
    bar.set_postfix_str(f"{len(state.trials)} candidates, best {best[0].score:.4f}" if best else "", refresh=False)
    bar.refresh()
