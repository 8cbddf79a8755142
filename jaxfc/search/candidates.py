"""Candidates: settings made into networks, tasks and rules, grouped by the program that can train them together."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree

from jaxfc.data import Dataset
from jaxfc.errors import unknown_name
from jaxfc.networks import Network
from jaxfc.networks.contract import dtype, shapes
from jaxfc.optim import UpdateRule, check_rule
from jaxfc.search.spaces import Settings
from jaxfc.tasks import Task
from jaxfc.training.config import TrainConfig
from jaxfc.training.prepare import check_arguments
from jaxfc.training.program import Recipe
from jaxfc.training.settings import RUN_NAMES, RunSettings

Build = Callable[[Settings], tuple[Network, Task, UpdateRule, Mapping[str, Any]]]

SEARCHABLE_RUN = ("batch_size", "sampling", "accumulate", "seed")
FIXED = (
    "data", "data_dir", "label", "weights", "class_weight", "num_train", "task", "rank", "tta", "epochs", "patience",
    "augment", "ema_decay", "order_seed",
)  # fmt: skip
NAMES = tuple(f.name for f in fields(TrainConfig) if f.name not in FIXED)


class Blueprint(NamedTuple):
    """What one candidate is: all that `jaxfc.fit` takes to train it alone, but for the data."""

    net: Network
    task: Task
    rule: UpdateRule
    hyper: Mapping[str, Any]
    settings: RunSettings
    config: TrainConfig | None


class Candidates(NamedTuple):
    """What sets the members of one program apart: numbers of the network, task and rule, and seeds."""

    net: Network
    task: Task
    hyper: PyTree
    seed: Int[Any, "*members"]


@dataclass
class Group:
    """Candidates that differ in numbers only, and so share their programs.

    Args:
        recipe: what is static of their training.
        settings: the first candidate's settings of the run; batch size and sampling are all's.
        num_rows: the number of training rows.
        numbers: for each trial, by its number, and for each fold what sets it apart, as single numbers.
        blueprints: for each trial its blueprint.
    """

    recipe: Recipe
    settings: RunSettings
    num_rows: int
    numbers: dict[int, list[Candidates]] = field(default_factory=dict)
    blueprints: dict[int, Blueprint] = field(default_factory=dict)

    @property
    def iterations(self) -> int:
        """Iterations of an epoch."""
        return self.num_rows // self.settings.batch_size

    @property
    def first(self) -> Blueprint:
        """The first candidate's blueprint."""
        return next(iter(self.blueprints.values()))

    def stacked(self, numbers: Sequence[int], fold: int) -> Candidates:
        """The candidates of these numbers, on a fold, as a population."""
        return stack([self.numbers[number][fold] for number in numbers])


def check_names(names: Mapping[str, Any] | Sequence[str]) -> None:
    """Raise a ValueError unless every name is that of a `TrainConfig`'s setting that can be searched.

    >>> check_names(["epochs"])
    Traceback (most recent call last):
    ValueError: epochs cannot be searched: it is the same for all candidates
    """
    for name in names:
        if name in FIXED:
            raise ValueError(f"{name} cannot be searched: it is the same for all candidates")
        if name not in NAMES:
            raise unknown_name("setting", name, NAMES)


def blueprints(
    build: Build | TrainConfig, settings: Sequence[Settings], shared: RunSettings, data: Dataset, num_rows: int
) -> list[Blueprint]:
    """The blueprint of each candidate.

    Args:
        build: what makes network, task, rule and hyper-parameters of a candidate's settings; or a configuration
            that the settings change.
        settings: what sets each candidate apart. `batch_size`, `sampling`, `accumulate` and `seed` among them are
            those of the run, whatever `build` makes of them.
        shared: the settings of the run that candidates share. Rows come in its order for all of them.
        data: the data.
        num_rows: the number of training rows, less than the data's where folds are held out.

    Raises:
        ValueError: no candidates, an unknown name, or a number out of range.
        TypeError: a value of the wrong type; `build` is neither a configuration nor a function.
    """
    if not settings:
        raise ValueError("trials=0: name at least one candidate")
    if not isinstance(build, TrainConfig) and not callable(build):
        raise TypeError(f"build={build!r} must be a TrainConfig, or a function of a candidate's settings")
    made = []
    for mine in settings:
        changed = {name: mine[name] for name in SEARCHABLE_RUN if name in mine}
        run = replace(shared, order_seed=shared.order, **changed)
        config = None
        if isinstance(build, TrainConfig):
            check_names(mine)
            config = replace(build, **{**mine, "order_seed": run.order_seed})
            net, task, rule, hyper = config.build(data, num_rows)
        else:
            net, task, rule, hyper = _built(build, mine)
        check_arguments(net, task, data, run, 1)
        run.check(num_rows, getattr(net, "min_batch", 1))
        rule, hyper = run.averaged(rule, hyper)
        made.append(Blueprint(net, task, rule, hyper, run, config))
    return made


def _built(build: Build, settings: Settings) -> tuple:
    made = build(dict(settings))
    if not isinstance(made, tuple) or len(made) != 4:
        raise TypeError(f"build returned {type(made).__name__}; need (network, task, rule, hyper-parameters)")
    return made


def group(made: Sequence[Blueprint], data: Dataset, folds: Sequence[Any]) -> list[Group]:
    """Group candidates by program, in the order of their first ones.

    Args:
        made: the candidates.
        data: the data.
        folds: the folds, by whose training rows tasks are fitted.

    Raises:
        ValueError, TypeError: a setting that no training takes; it is named, as in `jaxfc.fit`.
    """
    groups: dict[Any, Group] = {}
    hypers: dict[Any, list] = defaultdict(list)
    weights = data.weights("train")
    for number, each in enumerate(made):
        fitted = [each.task.fitted(data.y_train[f.rows], None if weights is None else weights[f.rows]) for f in folds]
        structure = jax.tree.structure((each.net, fitted[0], dict(each.hyper)))
        recipe = Recipe(each.rule, each.settings.augmentations(data), each.settings.accumulate)
        key = (structure, recipe, each.settings.batch_size, each.settings.sampling)
        if key not in groups:
            groups[key] = Group(recipe, each.settings, len(folds[0].rows))
        hypers[key].append(dict(each.hyper))
        kind = jnp.promote_types(dtype(each.net), jnp.float32)
        kind = jnp.promote_types(kind, getattr(each.net, "param_dtype", np.float32))
        net, hyper = _numbers(each.net, kind), _numbers(dict(each.hyper), jnp.result_type(float))
        seed = np.int32(each.settings.seed)
        groups[key].numbers[number] = [Candidates(net, _numbers(task, kind), hyper, seed) for task in fitted]
        groups[key].blueprints[number] = each
    for key, each in groups.items():
        _of_one_type(each)
        params, _ = shapes(each.first.net)
        check_rule(each.recipe.rule, params, params, jax.eval_shape(lambda e=each, p=params: _state(e, p)))
        # Every number's range is an interval: the least and the greatest value stand for all.
        for extreme in (np.min, np.max):
            values = jax.tree.map(lambda *values, f=extreme: f(np.stack(values), axis=0), *hypers[key])
            each.recipe.rule.init([], **jax.tree.map(lambda v: v.item() if v.ndim == 0 else v, values))
    return list(groups.values())


def _state(group: Group, params: Any) -> Any:
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
    return group.recipe.rule.init(zeros, **next(iter(group.numbers.values()))[0].hyper)


def _numbers(tree: Any, kind: Any) -> Any:
    """A tree's numbers with the types that every candidate's have, whatever they were written as."""

    def number(value: Any) -> np.ndarray:
        value = np.asarray(value)
        return value.astype(np.int32 if value.dtype.kind in "iu" else kind)

    return jax.tree.map(number, tree)


def _of_one_type(group: Group) -> None:
    """Give numbers that are whole in some candidates and fractions in others one type: a program has one."""
    every = [candidates for folds in group.numbers.values() for candidates in folds]
    types = jax.tree.map(lambda *leaves: jnp.result_type(*leaves), *every)
    for number, folds in group.numbers.items():
        group.numbers[number] = [jax.tree.map(lambda leaf, t: leaf.astype(t), each, types) for each in folds]


def stack(trees: list[PyTree]) -> PyTree:
    """Join trees of arrays or numbers along a new first axis, on the host."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def unstack(tree: PyTree, count: int) -> list[PyTree]:
    """The trees that `stack` joined."""
    leaves, structure = jax.tree.flatten(tree)
    return [jax.tree.unflatten(structure, [leaf[i] for leaf in leaves]) for i in range(count)]


def check_run_names(options: Mapping[str, Any]) -> None:
    """Raise a TypeError for an option that is no setting of a run; the nearest is named."""
    for name in options:
        if name not in RUN_NAMES:
            raise TypeError(str(unknown_name("option", name, RUN_NAMES)))
