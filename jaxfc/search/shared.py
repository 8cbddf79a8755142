"""A search that several workers share: machines that have nothing in common but a database or a file system.

Each worker claims some candidates, trains them as one program, and notes their courses in the study; and again, until
all are done. A candidate is the same whoever trains it. Workers come, go and die; see `jaxfc.search.ledger`.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxfc.artifacts import checkpoint
from jaxfc.console import interrupts, progress_bar
from jaxfc.data import Dataset
from jaxfc.search.candidates import Build
from jaxfc.search.ledger import Ledger, Sharing, Survey
from jaxfc.search.loop import Layout, lanes_for, lay_out, train_some
from jaxfc.search.methods import Random
from jaxfc.search.spaces import Settings, spell_value
from jaxfc.search.storage import best_shape
from jaxfc.search.trials import SearchResult, Trial, ranked
from jaxfc.training.config import TrainConfig
from jaxfc.training.program import Best

KIND = "jaxfc candidate"
CURVES = ("loss", "val", "val_loss")
LOST = (
    "candidate {} is another worker's: this one gave no sign of life for {:g} seconds; with a longer --lease it may be "
    "silent for longer"
)
POLL = 20  # looks at the study within a lease, while others train


def run_shared(
    data: Dataset,
    build: TrainConfig | Build,
    settings: Sequence[Settings],
    sharing: Sharing,
    *,
    folder: str | Path | None = None,
    progress: bool | None = None,
    **options: Any,
) -> SearchResult:
    """Be one of the workers of a search: train candidates until all are done, by this worker or by others.

    Every worker is started with the same arguments but for `folder` and `progress`, at any time. What one that died had
    claimed is trained by others.

    Args:
        data: the data set.
        build: as in `jaxfc.search.run`.
        settings: for each candidate what sets it apart, the same for all workers: `sample` draws it from a seed.
        sharing: the study that they share, by a file or a database.
        folder: where to keep the best candidates' parameters. It may be shared; if it is not, it has those of the
            candidates that were trained here.
        progress: as in `jaxfc.search.run`.
        options: those of `jaxfc.search.run`, but `method`, `checkpoint` and `resume`: the study keeps what is done.

    Returns:
        All trials, whoever trained them; the best parameters as far as `folder` has them (without a folder, as far
        as this worker trained them). Ctrl-C ends this worker at the end of the running chunks.

    Raises:
        ValueError: what `jaxfc.search.run` raises, or the study of another search.
        OSError: the study's storage cannot be used.

    >>> import tempfile
    >>> from jaxfc import load, search
    >>> data, settings = load("digits"), search.sample({"learning_rate": search.loguniform(1e-3, 1e-1)}, trials=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sharing = Sharing(f"{folder}/journal.log")
    ...     found = run_shared(data, TrainConfig(hidden=(16,), epochs=2), settings, sharing)
    >>> [trial.status for trial in found.trials], len(found.kept)
    (['finished', 'finished', 'finished', 'finished'], 1)
    """
    check(sharing, options.get("method"))
    layout = lay_out(data, build, settings, **options)
    return carry_out(layout, sharing, None if folder is None else Path(folder), progress=progress)


def check(sharing: Sharing, method: Any = None) -> None:
    """Raise a ValueError unless a search can be shared in this way."""
    sharing.check()
    if not isinstance(method, Random | None):
        name = type(method).__name__.lower()
        raise ValueError(
            f"method={name} compares all candidates at each rung, which workers that come and go cannot: share a "
            "random search or a grid, or leave --study out"
        )


def carry_out(layout: Layout, sharing: Sharing, folder: Path | None, *, progress: bool | None = None) -> SearchResult:
    """Be a worker of a search that was laid out; see `run_shared`."""
    made, keep = layout.blueprints, layout.keep
    files = None if folder is None else Files(folder, layout)
    fingerprint = {name: part for name, part in layout.fingerprint.items() if name != "padded networks"}
    memory: dict[int, list[Best]] = {}
    with (
        Ledger(sharing, fingerprint, _entry_of(layout), len(made), higher=made[0].task.higher) as ledger,
        lanes_for(layout) as lanes,
        progress_bar(progress, total=len(made), done=0, unit="candidate") as bar,
        interrupts("after the running chunks") as interrupted,
    ):
        while True:
            survey = ledger.survey()
            trials = _trials(layout, survey.courses)
            _show(bar, trials, survey)
            if len(survey.courses) == len(made) or interrupted.is_set():
                break
            mine = ledger.claim(*_wanted(layout, survey))
            if not mine:
                interrupted.wait(sharing.lease / POLL)
                continue
            for trial, best in train_some(layout, lanes, mine, interrupted):
                trials[trial.number] = trial
                among = [each.number for each in ranked(trials)[:keep]]
                if trial.number in among and files is not None:
                    files.write(trial.number, best)  # before the course is noted: what is done has its file
                elif trial.number in among:
                    memory = {number: memory[number] for number in memory if number in among} | {trial.number: best}
                diverged = trial.status == "failed" or trial.score != trial.score
                if not ledger.note(trial.number, _course(trial, ledger.worker), None if diverged else trial.score):
                    warnings.warn(LOST.format(trial.number, sharing.lease), stacklevel=2)
    whole = len(survey.courses) == len(made)
    best = [trial.number for trial in ranked(trials)[:keep]]
    kept = memory if files is None else files.read(best)
    if files is not None and whole:
        files.prune(best)
    return SearchResult(
        trials, made, lanes.num_programs, len(layout.groups), kept, layout.data, layout.folds, not whole
    )


def _show(bar: Any, trials: list[Trial], survey: Survey) -> None:
    if bar.disable:
        return
    bar.n = len(survey.courses)
    best = ranked(trials)[:1]
    score = f", best {best[0].score:.4f}" if best else ""
    bar.set_postfix_str(f"{survey.workers} worker(s){score}", refresh=False)
    bar.refresh()


def _wanted(layout: Layout, survey: Survey) -> tuple[list[int], int]:
    """What to claim: candidates that share programs, and how many: this worker's part of them, in whole programs."""
    if not survey.waiting:
        return [], 0
    first = survey.waiting[0]
    group, cut = next((g, c) for g, c in zip(layout.groups, layout.cuts, strict=True) if first in g.places)
    waiting = [number for number in survey.waiting if number in group.places]
    programs = -(-len(waiting) // (survey.workers * cut.members))
    return waiting, cut.members * min(programs, cut.programs)


# ---------------------------------------------------------------------------------------------------
# In the study
# ---------------------------------------------------------------------------------------------------


def _entry_of(layout: Layout) -> Any:
    """What makes a candidate's parameters and their distributions, as the study shows them.

    Whatever is no number is shown as text. What is drawn or laid out is known, so a distribution says no more than
    what values there are.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    settings = [trial.settings for trial in layout.trials]

    def entry(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        params, distributions = {}, {}
        for name in settings[0]:
            values = [each[name] for each in settings]
            if all(type(value) in (int, float) for value in values):
                kind = FloatDistribution if any(isinstance(value, float) for value in values) else IntDistribution
                params[name], distributions[name] = values[number], kind(min(values), max(values))
            else:
                texts = [spell_value(value) for value in values]
                params[name] = texts[number]
                distributions[name] = CategoricalDistribution(list(dict.fromkeys(texts)))
        return params, distributions

    return entry


def _course(trial: Trial, worker: str) -> dict[str, Any]:
    """A trial as JSON can hold it, to the last bit."""
    curves = {name: [[float(str(value)) for value in fold] for fold in getattr(trial, name)] for name in CURVES}
    types = [getattr(trial, name).dtype.name for name in CURVES]
    return curves | {"types": types, "status": trial.status, "failed_at": trial.failed_at, "worker": worker}


def _trials(layout: Layout, courses: Mapping[int, Mapping[str, Any]]) -> list[Trial]:
    """All trials, those that are done with their courses."""
    trials = [replace(trial, _found={}) for trial in layout.trials]
    for number, course in courses.items():
        trial = trials[number]
        trial.status, trial.failed_at = course["status"], course["failed_at"]
        for name, kind in zip(CURVES, course["types"], strict=True):
            setattr(trial, name, np.array(course[name], kind))
    return trials


# ---------------------------------------------------------------------------------------------------
# In a folder
# ---------------------------------------------------------------------------------------------------


class Files:
    """The best candidates' parameters, a file for each, in a folder that workers may share.

    Args:
        folder: the folder; made with the first file.
        layout: the search.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder, self._layout = folder, layout

    def path(self, number: int) -> Path:
        """The file of a candidate."""
        return self.folder / f"trial-{number}.safetensors"

    def write(self, number: int, best: list[Best]) -> None:
        """Write a candidate's best parameters on the folds.

        Raises:
            OSError: it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.save(self.path(number), best, {checkpoint.FORMAT: KIND})

    def read(self, numbers: Sequence[int]) -> dict[int, list[Best]]:
        """The parameters of those candidates that have a file here.

        Raises:
            FormatError: a file is corrupted.
        """
        found = {}
        for number in numbers:
            if self.path(number).exists():
                group = next(group for group in self._layout.groups if number in group.places)
                like = [best_shape(group, number)] * len(self._layout.folds)
                best = checkpoint.load(self.path(number), like, kind=KIND)
                found[number] = jax.tree.map(np.asarray, best)
        return found

    def prune(self, numbers: Sequence[int]) -> None:
        """Remove all files but those of these candidates."""
        spared = {self.path(number) for number in numbers}
        for path in self.folder.glob("trial-*.safetensors"):
            if path not in spared:
                path.unlink(missing_ok=True)
