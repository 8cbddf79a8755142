"""A bridge to Optuna (`pip install 'jaxfc[optuna]'`): it proposes settings, jaxfc trains a batch of them at once.

Whatever the study's storage is (a database, say) makes the search shared among machines.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxfc.data import Dataset
from jaxfc.search.candidates import Build, check_names
from jaxfc.search.loop import run
from jaxfc.search.spaces import Choice, Integers, LogUniform, Settings, Space, spell_value
from jaxfc.search.trials import SearchResult
from jaxfc.training.config import TrainConfig

if TYPE_CHECKING:
    import optuna


def optimize(
    study: "optuna.Study",
    data: Dataset,
    build: TrainConfig | Build,
    spaces: Mapping[str, Space],
    *,
    trials: int,
    batch: int = 16,
    **options: Any,
) -> list[SearchResult]:
    """Ask a study for a batch of settings, train them together, tell it their scores; and again.

    Args:
        study: an Optuna study, made with `direction="maximize"`; with `"minimize"` where less of the metric is better.
        data: the data set.
        build: as in `jaxfc.search.run`.
        spaces: a space for each name searched.
        trials: how many candidates in all.
        batch: how many to ask for at a time: the more, the faster, and the less each can learn from the others.
        options: those of `jaxfc.search.run`: `method`, `folds`, `keep` …

    Returns:
        The result of each batch. In the study, a trial that diverged is marked failed, one that was
        stopped at a rung pruned; the score after each epoch is reported as an intermediate value.

    Raises:
        ValueError: a study of the wrong direction, no trials, or what `jaxfc.search.run` raises.

    >>> import optuna
    >>> from jaxfc import load, search
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    >>> spaces = {"learning_rate": search.loguniform(1e-3, 1e-1)}
    >>> found = optimize(study, load("digits"), TrainConfig(hidden=(16,), epochs=2), spaces, trials=8, batch=4)
    >>> len(study.trials), study.best_value == max(each.best.score for each in found)
    (8, True)
    """
    from optuna.study import StudyDirection

    middle = {name: space.at(0.5) for name, space in spaces.items()}
    task = build.problem() if isinstance(build, TrainConfig) else build(middle)[1]
    needed = StudyDirection.MAXIMIZE if task.higher else StudyDirection.MINIMIZE
    if study.direction != needed:
        which = "higher" if task.higher else "lower"
        raise ValueError(
            f"the study {study.direction.name.lower()}s, and a {which} {task.rank} is better: make it with "
            f'optuna.create_study(direction="{needed.name.lower()}")'
        )
    if trials < 1 or batch < 1:
        raise ValueError(f"trials={trials} and batch={batch} must be at least 1")
    if isinstance(build, TrainConfig):
        check_names(spaces)
    return [_round(study, data, build, spaces, min(batch, trials - done), options) for done in range(0, trials, batch)]


def _round(
    study: "optuna.Study",
    data: Dataset,
    build: TrainConfig | Build,
    spaces: Mapping[str, Space],
    count: int,
    options: dict[str, Any],
) -> SearchResult:
    """One batch: ask, train, tell."""
    from optuna.trial import TrialState

    asked = [study.ask() for _ in range(count)]
    try:
        found = run(data, build, [_suggested(trial, spaces) for trial in asked], **options)
    except BaseException:
        for trial in asked:
            study.tell(trial, state=TrialState.FAIL)
        raise
    for trial, mine in zip(asked, found.trials, strict=True):
        if mine.status in ("failed", "running"):
            study.tell(trial, state=TrialState.FAIL)
            continue
        for epoch, score in enumerate(mine.curve, start=1):
            trial.report(float(score), epoch)
        if mine.status == "stopped":
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, mine.score)
    return found


def _suggested(trial: "optuna.Trial", spaces: Mapping[str, Space]) -> Settings:
    return {name: _suggest(trial, name, space) for name, space in spaces.items()}


def _suggest(trial: "optuna.Trial", name: str, space: Any) -> Any:
    if isinstance(space, Choice):
        # As text: a study's storage holds no tuples.
        options = {spell_value(option): option for option in space.options}
        return options[trial.suggest_categorical(name, list(options))]
    if isinstance(space, Integers):
        return trial.suggest_int(name, space.low, space.high)
    return trial.suggest_float(name, space.low, space.high, log=isinstance(space, LogUniform))
