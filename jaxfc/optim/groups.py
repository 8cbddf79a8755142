"""Rules side by side: each for a group of the parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfc.errors import unknown_name
from jaxfc.optim.contract import UpdateRule, hyper_names, learning_rate_of
from jaxfc.optim.hyper import Number
from jaxfc.optim.leaves import Tree, path_of


class GroupedState(NamedTuple):
    """State of a `Grouped` rule: each group's, whose trees have None in place of the others' parameters.

    >>> from jaxfc.optim import adam, sgd
    >>> rule = Grouped({"w": adam, "b": sgd}, lambda path, leaf: path)
    >>> print(rule.init({"w": jnp.ones(2), "b": jnp.ones(2)}).groups["w"].m)
    {'b': None, 'w': Array([0., 0.], dtype=float32)}
    """

    groups: dict[str, Any]


@dataclass(frozen=True)
class Grouped:
    """Rules side by side, each of which updates a group of the parameters and sees no others.

    `init` takes a dict of hyper-parameters for each group, under its name. Another keyword goes to every
    group whose rule takes it, where the group's own dict does not say otherwise. A schedule around
    multiplies each group's own number; see `jaxfc.optim.hyper_of`.

    Args:
        rules: a rule for each group, by the group's name.
        assign: from the path of a parameter, such as `"0.w"`, and the parameter, the name of its group.

    Raises:
        ValueError: (from `init`) a parameter assigned to a group that there is not.
        TypeError: (from `init`) a keyword that no rule takes, or something else than a dict for a group.

    >>> from jaxfc.optim import adam, muon
    >>> rule = Grouped({"matrices": muon, "rest": adam}, lambda path, leaf: "matrices" if leaf.ndim == 2 else "rest")
    >>> params = [{"w": jnp.ones((2, 3)), "b": jnp.ones(3)}]
    >>> state = rule.init(params, learning_rate=1e-3, matrices={"learning_rate": 0.02})
    >>> print(state.groups["matrices"].learning_rate, state.groups["rest"].learning_rate)
    0.02 0.001
    """

    rules: Mapping[str, UpdateRule]
    assign: Callable[[str, Any], str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", dict(self.rules))

    def __hash__(self) -> int:
        return hash((frozenset(self.rules.items()), self.assign))

    @property
    def hyper(self) -> tuple[str, ...]:
        """The keywords of `init`."""
        shared = (name for rule in self.rules.values() for name in hyper_names(rule))
        return tuple(dict.fromkeys((*self.rules, *shared)))

    def init(self, params: Tree, **hyper: Any) -> GroupedState:
        """Return the state to start from."""
        for name, value in hyper.items():
            if name not in self.hyper:
                raise TypeError(f"{name}={value!r} is taken by no group's rule: use {', '.join(self.hyper)}")
            if name in self.rules and not isinstance(value, Mapping):
                raise TypeError(f"{name}={value!r} must be a dict of hyper-parameters for that group")
        parts = self._split(params, self._names(params))
        states = {}
        for group, rule in self.rules.items():
            shared = {name: hyper[name] for name in hyper_names(rule) if name in hyper and name not in self.rules}
            states[group] = rule.init(parts[group], **(shared | dict(hyper.get(group, {}))))
        return GroupedState(states)

    def __call__(self, params: Tree, grads: Tree, state: GroupedState) -> tuple[Tree, GroupedState]:
        """Apply each group's rule to its parameters."""
        names = self._names(params)
        parts, gradients = self._split(params, names), self._split(grads, names)
        states, updated = {}, {}
        for group, rule in self.rules.items():
            part, states[group] = rule(parts[group], gradients[group], state.groups[group])
            updated[group] = iter(jax.tree.leaves(part))
        leaves = [next(updated[name]) for name in names]
        return jax.tree.unflatten(jax.tree.structure(params), leaves), GroupedState(states)

    def learning_rate(self, state: GroupedState, ago: int = 0) -> Number | None:
        """Return the greatest of the groups' learning rates."""
        rates = [learning_rate_of(rule, state.groups[group], ago) for group, rule in self.rules.items()]
        rates = [rate for rate in rates if rate is not None]
        return jax.tree.reduce(jnp.maximum, rates) if rates else None

    def _names(self, params: Tree) -> list[str]:
        """The group of each leaf, in the order of the leaves."""
        names = []
        for keys, leaf in jax.tree.leaves_with_path(params):
            names.append(self.assign(path_of(keys), leaf))
            if names[-1] not in self.rules:
                raise unknown_name(f"group of the parameter {path_of(keys)!r},", names[-1], self.rules)
        return names

    def _split(self, tree: Tree, names: list[str]) -> dict[str, Tree]:
        """The tree as each group sees it: with None, which is no leaf, in place of the others' leaves."""
        leaves, structure = jax.tree.flatten(tree)
        return {
            group: structure.unflatten(
                leaf if name == group else None for name, leaf in zip(names, leaves, strict=True)
            )
            for group in self.rules
        }
