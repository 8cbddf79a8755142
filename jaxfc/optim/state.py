"""What a rule's state says by name: a hyper-parameter is found, and replaced, however deeply its rule is wrapped.

A state is a NamedTuple or a dict. The state of a wrapper holds the one it wraps as `inner`; the state of
rules side by side holds one for each as `groups`, a dict.
"""

import itertools
from collections.abc import Iterator
from typing import Any


def hyper_of(state: Any, name: str) -> Any:
    """Return a hyper-parameter: the outermost of that name.

    Args:
        state: the state of any rule.
        name: of a field of it, or of a state that it wraps.

    Returns:
        The number; of rules side by side, a dict with the number of each group that has one.

    Raises:
        ValueError: there is none of that name; the message lists what there is.

    >>> import jax.numpy as jnp
    >>> from jaxfc.optim import Clipped, adam
    >>> state = Clipped(adam).init({"w": jnp.ones(2)}, max_norm=5.0, learning_rate=0.5)
    >>> print(hyper_of(state, "max_norm"), hyper_of(state, "learning_rate"))
    5.0 0.5
    """
    found = _find(state, name)
    if found is None:
        raise ValueError(
            f"the rule's state has no {name!r}: it has {', '.join(dict.fromkeys(_names(state))) or 'none'}"
        )
    return found


def with_hyper(state: Any, name: str, value: Any) -> Any:
    """Return the state with another value of a hyper-parameter, where `hyper_of` finds it.

    Args:
        state: the state of any rule.
        name: of a field of it, or of a state that it wraps.
        value: the number; of rules side by side, one for all groups that have it, or a dict with one for each.

    Raises:
        ValueError: there is none of that name; the message lists what there is.

    >>> import jax.numpy as jnp
    >>> from jaxfc.optim import Clipped, adam
    >>> state = Clipped(adam).init({"w": jnp.ones(2)}, max_norm=5.0)
    >>> with_hyper(state, "learning_rate", 0.25).inner.learning_rate
    0.25
    """
    found, fields = hyper_of(state, name), _fields(state)
    if name in fields:
        return _replace(state, name, value)
    if "inner" in fields:
        return _replace(state, "inner", with_hyper(fields["inner"], name, value))
    values = value if isinstance(value, dict) else dict.fromkeys(found, value)
    groups = {group: with_hyper(fields["groups"][group], name, values[group]) for group in found}
    return _replace(state, "groups", fields["groups"] | groups)


def _find(state: Any, name: str) -> Any:
    fields = _fields(state)
    if name in fields:
        return fields[name]
    if "inner" in fields:
        return _find(fields["inner"], name)
    found = {group: _find(each, name) for group, each in fields.get("groups", {}).items()}
    return {group: value for group, value in found.items() if value is not None} or None


def _names(state: Any) -> Iterator[str]:
    for name, value in _fields(state).items():
        if name == "inner":
            yield from _names(value)
        elif name == "groups":
            yield from itertools.chain.from_iterable(map(_names, value.values()))
        else:
            yield name


def _fields(state: Any) -> dict[str, Any]:
    if hasattr(state, "_asdict"):
        return state._asdict()
    return state if isinstance(state, dict) else {}


def _replace(state: Any, name: str, value: Any) -> Any:
    return state | {name: value} if isinstance(state, dict) else state._replace(**{name: value})
