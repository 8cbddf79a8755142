"""The assignment's update rules: `rule(w, dw, config) -> (next_w, config)`, with `config` changed in place.

The rules themselves are those of `jaxfc.optim`; here a dict stands for their state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxfc import optim as core
from jaxfc.cs231n.bridge import compiled, to_numpy

__all__ = ["adam", "rmsprop", "sgd", "sgd_momentum"]

Array = np.ndarray
Config = dict[str, Any]


@dataclass(frozen=True)
class Adapter:
    """How a config dict maps to the state of a core rule.

    Args:
        rule: the core rule.
        state: its state's type.
        numbers: default hyper-parameters, by name.
        slots: the names of arrays of the parameter's shape, zeros at first.
        counter: the config's name for the state's `step`, if it counts steps.
    """

    rule: core.Rule
    state: type
    numbers: tuple[tuple[str, float], ...]
    slots: tuple[str, ...] = ()
    counter: str | None = None

    def fill(self, w: Array, config: Config) -> Config:
        """Add what is missing, in place."""
        for name, value in self.numbers:
            config.setdefault(name, value)
        for name in self.slots:
            if name not in config:
                config[name] = np.zeros_like(w)
        if self.counter:
            config.setdefault(self.counter, 0)
        return config

    def update(self, params: Any, grads: Any, numbers: Sequence[Any], slots: tuple, count: Any) -> tuple[Any, tuple]:
        """Apply the core rule to arrays, or trees of them; numbers and slots come in order, others are left alone."""
        fields = {name: number for (name, _), number in zip(self.numbers, numbers, strict=False)}
        fields |= zip(self.slots, slots, strict=False)
        if self.counter:
            fields |= {"step": count, "weight_decay": 0 * fields["learning_rate"]}
        params, state = self.rule(params, grads, self.state(**fields))
        return params, tuple(getattr(state, name) for name in self.slots) + slots[len(self.slots) :]


ADAPTERS = {
    "sgd": Adapter(core.sgd, core.SGDState, (("learning_rate", 1e-2),)),
    "sgd_momentum": Adapter(
        core.sgd_momentum, core.MomentumState, (("learning_rate", 1e-2), ("momentum", 0.9)), ("velocity",)
    ),
    "rmsprop": Adapter(
        core.rmsprop, core.RMSPropState, (("learning_rate", 1e-2), ("decay_rate", 0.99), ("epsilon", 1e-8)), ("cache",)
    ),
    "adam": Adapter(
        core.adam,
        core.AdamState,
        (("learning_rate", 1e-3), ("beta1", 0.9), ("beta2", 0.999), ("epsilon", 1e-8)),
        ("m", "v"),
        "t",
    ),
}

_compiled = {name: compiled(adapter.update) for name, adapter in ADAPTERS.items()}


def _apply(name: str, w: Array, dw: Array, config: Config | None) -> tuple[Array, Config]:
    adapter = ADAPTERS[name]
    config = adapter.fill(w, {} if config is None else config)
    if np.shape(w) != np.shape(dw):
        raise ValueError(f"{name}: w has shape {np.shape(w)} and dw {np.shape(dw)}; they must be the same")
    numbers = np.array([config[key] for key, _ in adapter.numbers], np.float64)
    slots = tuple(np.asarray(config[key]) for key in adapter.slots)
    next_w, slots = _compiled[name](
        np.asarray(w), np.asarray(dw), numbers, slots, np.int32(config.get(adapter.counter, 0))
    )
    config |= zip(adapter.slots, to_numpy(slots), strict=True)
    if adapter.counter:
        config[adapter.counter] += 1
    return to_numpy(next_w), config


def sgd(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Stochastic gradient descent; config: `learning_rate` 1e-2.

    >>> w, config = sgd(np.ones(2), np.ones(2), {"learning_rate": 0.5})
    >>> w
    array([0.5, 0.5])
    """
    return _apply("sgd", w, dw, config)


def sgd_momentum(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """SGD with momentum; config: `learning_rate` 1e-2, `momentum` 0.9, `velocity`.

    >>> w, config = sgd_momentum(np.ones(2), np.ones(2), {"learning_rate": 0.5})
    >>> w, config["velocity"]
    (array([0.5, 0.5]), array([-0.5, -0.5]))
    """
    return _apply("sgd_momentum", w, dw, config)


def rmsprop(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """RMSProp; config: `learning_rate` 1e-2, `decay_rate` 0.99, `epsilon` 1e-8, `cache`.

    >>> w, config = rmsprop(np.ones(2), np.ones(2), {"decay_rate": 0.5})
    >>> config["cache"], config["learning_rate"]
    (array([0.5, 0.5]), 0.01)
    """
    return _apply("rmsprop", w, dw, config)


def adam(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Adam; config: `learning_rate` 1e-3, `beta1` 0.9, `beta2` 0.999, `epsilon` 1e-8, `m`, `v`, `t` (before: 0).

    >>> w, config = adam(np.ones(2), np.ones(2), {"learning_rate": 0.5})
    >>> w.round(3), config["t"]
    (array([0.5, 0.5]), 1)
    """
    return _apply("adam", w, dw, config)
