"""What an update rule is: the contract, the library's own kind of rule, and a test of anybody's."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from jaxfc.optim.hyper import Number
from jaxfc.optim.leaves import Predicate, Tree, path_of
from jaxfc.optim.state import hyper_of


@runtime_checkable
class UpdateRule(Protocol):
    """What every rule offers. Rules are hashable: they are static arguments of a compiled program.

    A state is any pytree. In a NamedTuple or a dict, a hyper-parameter is found by its name: a schedule
    can drive it. A rule may also offer `learning_rate(state, ago=0)`; see `learning_rate_of`. And it may say that
    it `ignores_zeros`: parameters that are zero, with zero gradients, stay so, and what becomes of the others does
    not depend on them. Then a search may train networks of several sizes as one program, padded with zeros.

    >>> from jaxfc.optim import Clipped, adam
    >>> isinstance(adam, UpdateRule), isinstance(Clipped(adam), UpdateRule)
    (True, True)
    """

    def init(self, params: Tree, **hyper: Any) -> Any:
        """Return the state to start from, with hyper-parameters other than the defaults by keyword."""

    def __call__(self, params: Tree, grads: Tree, state: Any) -> tuple[Tree, Any]:
        """Return updated parameters and state."""


@dataclass(frozen=True)
class Rule:
    """A named update rule, made of two functions; see `UpdateRule`.

    Args:
        name: what it is called.
        init: `init(params, **hyper) -> state`, its hyper-parameters named in its signature.
        update: `update(params, grads, state) -> (params, state)`.
        decays: the parameters that its weight decay acts on; `update` is given it as a fourth argument.
            None for a rule without decoupled decay.
        ignores_zeros: see `UpdateRule`.

    >>> from jaxfc.optim import sgd
    >>> params = {"w": jnp.ones(2)}
    >>> state = sgd.init(params, learning_rate=0.5)
    >>> params, state = sgd(params, {"w": jnp.ones(2)}, state)
    >>> params["w"]
    Array([0.5, 0.5], dtype=float32)
    """

    name: str
    init: Callable[..., Any]
    update: Callable[..., tuple[Tree, Any]]
    decays: Predicate | None = None
    # What a rule does is said by the rest: a run that was begun before there was this goes on.
    ignores_zeros: bool = field(default=False, metadata={"described": False})

    def __repr__(self) -> str:
        return self.name

    @property
    def hyper(self) -> tuple[str, ...]:
        """The names of its hyper-parameters."""
        return _keywords(self.init)

    def learning_rate(self, state: Any, ago: int = 0) -> Number | None:
        """Return the learning rate of the coming update; a schedule alone makes it differ from earlier ones."""
        return _stored_rate(state)

    def __call__(self, params: Tree, grads: Tree, state: Any) -> tuple[Tree, Any]:
        """Apply the rule once."""
        if self.decays is None:
            return self.update(params, grads, state)
        return self.update(params, grads, state, self.decays)


def as_rule(
    init: Callable[..., Any], decays: Predicate | None = None, *, ignores_zeros: bool = False
) -> Callable[[Callable[..., Any]], Rule]:
    """Make a `Rule` of an update function, keeping its name, docstring and module.

    >>> @as_rule(lambda params: ())
    ... def stand_still(params, grads, state):
    ...     return params, state
    >>> stand_still.name
    'stand_still'
    """

    def join(update: Callable[..., Any]) -> Rule:
        rule = Rule(update.__name__, init, update, decays, ignores_zeros)
        for attribute in ("__doc__", "__module__"):
            object.__setattr__(rule, attribute, getattr(update, attribute))
        return rule

    return join


def hyper_names(rule: UpdateRule) -> tuple[str, ...]:
    """The keywords that a rule's `init` takes: what it says they are (`rule.hyper`), or its signature does.

    >>> from jaxfc.optim import Clipped, sgd
    >>> hyper_names(Clipped(sgd))
    ('max_norm', 'learning_rate')
    """
    return tuple(rule.hyper) if hasattr(rule, "hyper") else _keywords(rule.init)


@cache
def _keywords(init: Callable[..., Any]) -> tuple[str, ...]:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    _, *rest = inspect.signature(init).parameters.values()
    return tuple(parameter.name for parameter in rest if parameter.kind not in variable)


def ignores_zeros(rule: UpdateRule, hyper: Mapping[str, Any]) -> bool:
    """Whether zeros beside a network's parameters change nothing and stay zeros; a rule that does not say so: no.

    Args:
        rule: any rule.
        hyper: its hyper-parameters: where `epsilon` is 0, a gradient of zero is divided by zero.

    >>> from jaxfc.optim import Clipped, adam, muon
    >>> ignores_zeros(Clipped(adam), {}), ignores_zeros(adam, {"epsilon": 0.0}), ignores_zeros(muon, {})
    (True, False, False)
    """
    return bool(getattr(rule, "ignores_zeros", False)) and hyper.get("epsilon", 1) != 0


def learning_rate_of(rule: UpdateRule, state: Any, ago: int = 0) -> Number | None:
    """Return the learning rate of the coming update, for messages and curves.

    Args:
        rule: any rule. It, or what it wraps as `rule`, may offer `learning_rate(state, ago)`; else the
            state is asked.
        state: its state.
        ago: return the rate of the update so many before the coming one.

    Returns:
        The rate, of rules side by side the greatest; None of a rule that has none.

    >>> from jaxfc.optim import Clipped, Schedule, Scheduled, sgd
    >>> rule = Clipped(Scheduled(sgd, "linear"))
    >>> state = rule.init({"w": jnp.ones(2)}, max_norm=1.0, learning_rate=0.5, schedule=Schedule(warmup_steps=5))
    >>> print(learning_rate_of(rule, state))
    0.1
    """
    if hasattr(rule, "learning_rate"):
        return rule.learning_rate(state, ago)
    if hasattr(rule, "rule") and hasattr(state, "inner"):
        return learning_rate_of(rule.rule, state.inner, ago)
    return _stored_rate(state)


def _stored_rate(state: Any) -> Number | None:
    try:
        return jnp.asarray(jax.tree.reduce(jnp.maximum, hyper_of(state, "learning_rate")))
    except ValueError:
        return None


def check_rule(rule: Any, params: Any, grads: Any, state: Any) -> None:
    """Raise unless an update leaves the structure, shapes and dtypes of everything as they were.

    A step that is compiled, looped over and saved needs it so. Nothing is computed.

    Args:
        rule: what should be a rule.
        params: parameters, or their shapes.
        grads: gradients, or their shapes.
        state: the rule's state, or its shapes.

    Raises:
        TypeError: the rule cannot be called, or has no `init`.
        ValueError: it returns no pair of parameters and state, or one of another form than it is given;
            the first leaf that differs is named.

    >>> params = {"w": jnp.ones(2)}
    >>> count = Rule("count", lambda params: {"step": 0}, lambda params, grads, state: (params, {"step": 0.0}))
    >>> check_rule(count, params, params, count.init(params))
    Traceback (most recent call last):
    ValueError: the rule count must keep the form of its state: 'step' was int32[] and became float32[]
    """
    check_is_rule(rule)
    known = rule, *map(_form, (params, grads, state))
    if known in _CHECKED:  # a training of milliseconds is checked at its start, too
        return
    returned = jax.eval_shape(rule, params, grads, state)
    if not isinstance(returned, tuple) or len(returned) != 2:
        size = f" of {len(returned)}" if isinstance(returned, tuple) else ""
        raise ValueError(f"the rule {rule} must return (params, state), not a {type(returned).__name__}{size}")
    for kind, before, after in zip(("the parameters", "its state"), (params, state), returned, strict=True):
        difference = _difference(before, after)
        if difference:
            raise ValueError(f"the rule {rule} must keep the form of {kind}: {difference}")
    _CHECKED.add(known)


def check_is_rule(rule: Any) -> None:
    """Raise a TypeError for what is no update rule, as far as can be told without parameters.

    >>> check_is_rule(3)
    Traceback (most recent call last):
    TypeError: 3 is no update rule: it needs init(params, **hyper) and rule(params, grads, state)
    """
    if not callable(rule) or not callable(getattr(rule, "init", None)):
        raise TypeError(f"{rule!r} is no update rule: it needs init(params, **hyper) and rule(params, grads, state)")


_CHECKED: set[Any] = set()


def _form(tree: Any) -> tuple[Any, ...]:
    leaves, structure = jax.tree.flatten(tree)
    return structure, *((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)


def _difference(before: Any, after: Any) -> str | None:
    """The first difference between two trees, in words."""
    was, now = _described(before), _described(after)
    for path, leaf in was.items():
        if now.get(path) != leaf:
            return f"{path!r} was {leaf} and " + (f"became {now[path]}" if path in now else "is gone")
    for path in now.keys() - was.keys():
        return f"{path!r} is new"
    if jax.tree.structure(before) != jax.tree.structure(after):
        return f"{type(before).__name__} became {type(after).__name__}"
    return None


def _described(tree: Any) -> dict[str, str]:
    shapes = jax.tree.leaves_with_path(jax.eval_shape(lambda: tree))
    return {path_of(keys): f"{leaf.dtype}{list(leaf.shape)}" for keys, leaf in shapes}
