"""Candidates: settings made into networks, tasks and rules, grouped by the program that can train them together."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree

from jaxfc.data import Dataset
from jaxfc.errors import unknown_name
from jaxfc.layers.common import wider
from jaxfc.networks import Network
from jaxfc.networks.contract import dtype, shapes
from jaxfc.optim import UpdateRule, check_rule
from jaxfc.search.spaces import Settings, check_count
from jaxfc.tasks import Task
from jaxfc.training.config import TrainConfig
from jaxfc.training.needs import check_held
from jaxfc.training.prepare import check_arguments
from jaxfc.training.program import Best, Recipe
from jaxfc.training.settings import RUN_NAMES, RunSettings

Build = Callable[[Settings], tuple[Network, Task, UpdateRule, Mapping[str, Any]]]

SEARCHABLE_RUN = ("batch_size", "sampling", "accumulate", "seed")
FIXED = (
    "data", "data_dir", "label", "column", "split_by", "split_time", "stratify", "weights", "class_weight", "num_train",
    "pool", "task", "rank", "tta", "epochs", "patience", "augment", "ema_decay", "order_seed",
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
        nets: for each trial, by its number, its network in the form that all have: its own, or a padded one.
        folds: for each fold what sets the candidates apart, as a population.
    """

    recipe: Recipe
    settings: RunSettings
    num_rows: int
    nets: dict[int, Network] = field(default_factory=dict)
    folds: list[Candidates] = field(default_factory=list)

    @property
    def iterations(self) -> int:
        """Iterations of an epoch."""
        return self.num_rows // self.settings.batch_size

    @property
    def net(self) -> Network:
        """The first candidate's network."""
        return next(iter(self.nets.values()))

    @cached_property
    def places(self) -> dict[int, int]:
        """The place of each trial among the group's."""
        return {number: place for place, number in enumerate(self.nets)}

    @property
    def first(self) -> Candidates:
        """What the first candidate is, on the first fold."""
        return jax.tree.map(lambda column: np.asarray(column[0]), self.folds[0])

    def stacked(self, numbers: Sequence[int], fold: int) -> Candidates:
        """The candidates of these numbers, on a fold, as a population."""
        chosen = [self.places[number] for number in numbers]
        return jax.tree.map(lambda column: column[chosen], self.folds[fold])

    def own(self, number: int, best: Best) -> Best:
        """A trial's best parameters without what pads them."""
        net = self.nets[number]
        if not hasattr(net, "cut"):
            return best
        params, stats = net.cut(best.params, best.stats)
        raw = () if best.raw == () else net.cut(best.raw, best.stats)[0]
        return best._replace(params=params, stats=stats, raw=raw)


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
    check_count("trials", len(settings))
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
        check_held(net, hyper)
        if num_rows < len(data.x_train):
            run.check(num_rows, getattr(net, "min_batch", 1))
        rule, hyper = run.averaged(rule, hyper)
        made.append(Blueprint(net, task, rule, hyper, run, config))
    return made


def _built(build: Build, settings: Settings) -> tuple:
    made = build(dict(settings))
    if not isinstance(made, tuple) or len(made) != 4:
        raise TypeError(f"build returned {type(made).__name__}; need (network, task, rule, hyper-parameters)")
    return made


def group(made: Sequence[Blueprint], nets: Sequence[Network], data: Dataset, folds: Sequence[Any]) -> list[Group]:
    """Group candidates by program, in the order of their first ones.

    Args:
        made: the candidates.
        nets: for each its network in the form in which it is trained; see `jaxfc.search.padding`.
        data: the data.
        folds: the folds, by whose training rows tasks are fitted.

    Raises:
        ValueError, TypeError: a setting that no training takes; it is named, as in `jaxfc.fit`.
    """
    groups: dict[Any, Group] = {}
    rows: dict[Any, list] = defaultdict(list)
    weights = data.weights("train")
    for number, (each, net) in enumerate(zip(made, nets, strict=True)):
        fitted = [each.task.fitted(data.y_train[f.rows], None if weights is None else weights[f.rows]) for f in folds]
        leaves, structure = jax.tree.flatten((net, fitted, dict(each.hyper)))
        recipe = Recipe(each.rule, each.settings.augmentations(data), each.settings.accumulate)
        key = (structure, recipe, each.settings.batch_size, each.settings.sampling)
        if key not in groups:
            groups[key] = Group(recipe, each.settings, len(folds[0].rows))
        groups[key].nets[number] = net
        rows[key].append((*leaves, each.settings.seed))
    for (structure, *_), each, mine in zip(groups, groups.values(), rows.values(), strict=True):
        *columns, seeds = (np.stack(column) for column in zip(*mine, strict=True))
        net, tasks, hyper = structure.unflatten(columns)
        kind = wider(dtype(each.net), getattr(each.net, "param_dtype", np.float32))
        net, tasks = _of_kind((net, tasks), kind)
        apart = net, _of_kind(hyper, jnp.result_type(float)), seeds.astype(np.int32)
        each.folds = [Candidates(apart[0], task, *apart[1:]) for task in tasks]
        params, _ = shapes(each.net)
        check_rule(each.recipe.rule, params, params, jax.eval_shape(lambda e=each, p=params: _state(e, p)))
        # Every number's range is an interval: the least and the greatest value stand for all.
        for extreme in (np.min, np.max):
            values = jax.tree.map(lambda column, f=extreme: f(column, axis=0), hyper)
            each.recipe.rule.init([], **jax.tree.map(lambda v: v.item() if v.ndim == 0 else v, values))
    return list(groups.values())


def _state(group: Group, params: Any) -> Any:
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
    return group.recipe.rule.init(zeros, **group.first.hyper)


def _of_kind(tree: Any, kind: Any) -> Any:
    """Columns of numbers with one type each, whatever they were written as: whole ones, or fractions of a kind."""
    return jax.tree.map(lambda column: column.astype(np.int32 if column.dtype.kind in "iu" else kind), tree)


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
