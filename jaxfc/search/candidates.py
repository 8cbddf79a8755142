"""Candidates: settings made into networks and rules, grouped by the program that can train them together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfc.config import TrainConfig
from jaxfc.data import Dataset, check_batch
from jaxfc.network import FCNet
from jaxfc.optim import UpdateRule
from jaxfc.search.population import Candidates, Programs, programs_of, stack
from jaxfc.search.spaces import Settings, check_names


@dataclass
class Group:
    """Candidates that differ in numbers only, and so share their programs.

    Args:
        rule: their update rule.
        batch_size: rows in a batch.
        sampling: how an epoch's rows are drawn.
        num_rows: the number of training rows.
        programs: the programs.
        numbers: for each trial, by its number, what sets it apart: a `Candidates` of single numbers.
        nets: for each trial its network.
    """

    rule: UpdateRule
    batch_size: int
    sampling: str
    num_rows: int
    programs: Programs
    numbers: dict[int, Candidates] = field(default_factory=dict)
    nets: dict[int, FCNet] = field(default_factory=dict)

    @property
    def iterations(self) -> int:
        """Iterations of an epoch."""
        return self.num_rows // self.batch_size

    def stacked(self, numbers: Sequence[int]) -> Candidates:
        """The candidates of these numbers as a population."""
        return stack([self.numbers[number] for number in numbers])


def configure(config: TrainConfig, settings: Sequence[Settings]) -> list[TrainConfig]:
    """The configuration of each trial: `config` with its settings.

    Raises:
        ValueError: no trials, an unknown name, or one that cannot be searched.
        TypeError: a value that is not an integer where one is needed.
    """
    if not settings:
        raise ValueError("trials=0: name at least one candidate")
    for each in settings:
        check_names(each)
        for name in ("batch_size", "seed"):
            value = each.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name}={value!r} must be an integer: use integers, seeds or choice")
    return [replace(config, **each) for each in settings]


def group(configs: Sequence[TrainConfig], data: Dataset, num_rows: int) -> list[Group]:
    """Group configurations by program, in the order of their first ones.

    Args:
        configs: the trials' configurations.
        data: the data.
        num_rows: the number of training rows, less than the data's where folds are held out.

    Raises:
        ValueError, TypeError: a setting that no training takes; it is named, as in `jaxfc.fit`.
    """
    groups: dict[Any, Group] = {}
    hypers: dict[Any, list] = defaultdict(list)
    for number, config in enumerate(configs):
        check_batch(num_rows, config.batch_size)
        net = config.network(data)
        rule, hyper = config.optimizer(num_rows)
        structure = jax.tree.structure((net, hyper))
        key = (structure, rule, config.batch_size, config.sampling)
        if key not in groups:
            groups[key] = Group(rule, config.batch_size, config.sampling, num_rows, programs_of(rule))
        hypers[key].append(hyper)
        groups[key].numbers[number] = Candidates(
            _numbers(net, jnp.promote_types(net.param_dtype, jnp.float32)),
            _numbers(hyper, jnp.result_type(float)),
            np.int32(config.seed),
        )
        groups[key].nets[number] = net
    for key, each in groups.items():
        # Every number's range is an interval: the least and the greatest value stand for all.
        for extreme in (np.min, np.max):
            each.rule.init([], **jax.tree.map(lambda *values, f=extreme: f(values).item(), *hypers[key]))
    return list(groups.values())


def _numbers(tree: Any, kind: Any) -> Any:
    """A tree's numbers with the types that every candidate's have, whatever they were written as."""

    def number(value: Any) -> np.ndarray:
        return np.asarray(value, np.int32 if isinstance(value, int) else kind)

    return jax.tree.map(number, tree)
