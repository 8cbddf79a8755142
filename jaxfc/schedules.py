"""Learning-rate schedules: factors that multiply a rule's learning rate, each with an optional warm-up.

A schedule is a pure function of the step and of a `Schedule`, whose numbers are leaves of the state:
changing them compiles nothing.

>>> import jax.numpy as jnp
>>> from jaxfc.optim import adam
>>> rule = Scheduled(adam, "cosine")
>>> state = rule.init({"w": jnp.zeros(2)}, schedule=Schedule(warmup_steps=10, total_steps=100), learning_rate=1e-3)
>>> print(f"{rule.learning_rate(state):g}")
0.0001
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxfc.errors import check_number, unknown_name
from jaxfc.optim import Number, Rule, Tree


class Schedule(NamedTuple):
    """The numbers that a schedule is made of, all in steps (iterations) but the last two.

    Args:
        warmup_steps: $W$, over which the factor rises linearly, from 1/W at the first step.
        total_steps: $T$, at which `cosine` and `linear` arrive at `final`.
        steps_per_epoch: $E$, after each of which `exponential` multiplies by `lr_decay`.
        lr_decay: the factor of `exponential`.
        final: the factor at the end of `cosine` and `linear`.

    >>> print(linear(jnp.int32(100), Schedule(total_steps=100, final=0.5)))
    0.5
    """

    warmup_steps: Any = 0
    total_steps: Any = 1
    steps_per_epoch: Any = 1
    lr_decay: Any = 1.0
    final: Any = 0.0


def constant(step: Array, s: Schedule) -> Array:
    """The factor 1.

    >>> print(constant(jnp.int32(25), Schedule()))
    1.0
    """
    return jnp.ones_like(_progress(step, s))


def exponential(step: Array, s: Schedule) -> Array:
    r"""Decay by epochs, $d^{\lfloor t / E \rfloor}$, as the CS231n assignment's `lr_decay` has it.

    >>> print(exponential(jnp.int32(25), Schedule(steps_per_epoch=10, lr_decay=0.5)))
    0.25
    """
    return jnp.asarray(s.lr_decay, jnp.result_type(float)) ** (step // s.steps_per_epoch)


def cosine(step: Array, s: Schedule) -> Array:
    r"""$f + (1 - f) \tfrac12 (1 + \cos \pi u)$ (Loshchilov and Hutter, 2016), $u$ the progress from $W$ to $T$.

    >>> print(f"{cosine(jnp.int32(50), Schedule(total_steps=100)):.3f}")
    0.500
    """
    return s.final + (1 - s.final) * 0.5 * (1 + jnp.cos(jnp.pi * _progress(step, s)))


def linear(step: Array, s: Schedule) -> Array:
    r"""$1 - (1 - f)\, u$, with $u$ the progress from $W$ to $T$.

    >>> print(linear(jnp.int32(25), Schedule(total_steps=100)))
    0.75
    """
    return 1 - (1 - s.final) * _progress(step, s)


def _progress(step: Array, s: Schedule) -> Array:
    done = jnp.asarray(step - s.warmup_steps, jnp.result_type(float))
    return jnp.clip(done / jnp.maximum(s.total_steps - s.warmup_steps, 1), 0, 1)


SCHEDULES = {f.__name__: f for f in (constant, exponential, cosine, linear)}


class ScheduledState(NamedTuple):
    """State of a `Scheduled` rule; the inner rule's learning rate is the one that the factor applies to.

    >>> from jaxfc.optim import sgd
    >>> state = Scheduled(sgd, "linear").init({"w": jnp.zeros(2)}, schedule=Schedule(total_steps=100))
    >>> print(state.step, state.schedule.total_steps)
    0 100
    """

    step: Int[Array, ""]
    schedule: Schedule
    inner: Any


@dataclass(frozen=True)
class Scheduled:
    """A rule whose learning rate is multiplied by a schedule, with warm-up; `init` takes a `Schedule` as well.

    Args:
        rule: the rule, whose state has a `learning_rate`.
        kind: one of `SCHEDULES`.

    Raises:
        ValueError: an unknown kind, or (from `init`) numbers that make no schedule.

    >>> from jaxfc.optim import sgd
    >>> rule = Scheduled(sgd, "exponential")
    >>> state = rule.init({"w": jnp.zeros(2)}, schedule=Schedule(steps_per_epoch=100, lr_decay=0.95))
    """

    rule: Rule
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise unknown_name("schedule", self.kind, SCHEDULES)

    def init(self, params: Tree, *, schedule: Schedule, **hyper: Any) -> ScheduledState:
        """Return the state to start from."""
        check_number("warmup_steps", schedule.warmup_steps, low=0)
        check_number("total_steps", schedule.total_steps, low=1)
        check_number("steps_per_epoch", schedule.steps_per_epoch, low=1)
        check_number("lr_decay", schedule.lr_decay, low=0, exclude="low")
        check_number("final", schedule.final, low=0)
        # With a dtype of their own: weakly typed numbers would compile the step a second time.
        numbers = jax.tree.map(lambda number: jnp.asarray(number, jnp.result_type(number)), schedule)
        return ScheduledState(jnp.int32(0), numbers, self.rule.init(params, **hyper))

    def __call__(self, params: Tree, grads: Tree, state: ScheduledState) -> tuple[Tree, ScheduledState]:
        """Apply the rule with the scheduled learning rate."""
        base = state.inner.learning_rate
        params, inner = self.rule(params, grads, state.inner._replace(learning_rate=self.learning_rate(state)))
        return params, ScheduledState(state.step + 1, state.schedule, inner._replace(learning_rate=base))

    def learning_rate(self, state: ScheduledState, ago: int = 0) -> Number:
        """Return the learning rate of the coming update, or of the one `ago` updates before that."""
        step = state.step - ago
        warmup = jnp.minimum((step + 1) / jnp.maximum(state.schedule.warmup_steps, 1), 1)
        factor = SCHEDULES[self.kind](step, state.schedule) * warmup
        return state.inner.learning_rate * factor.astype(state.inner.learning_rate.dtype)
