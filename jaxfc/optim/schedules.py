"""Schedules: factors that multiply a rule's learning rate, or another hyper-parameter, with an optional warm-up.

A schedule is a pure function of the step and of a `Schedule`, whose numbers are leaves of the state:
changing them compiles nothing.

>>> import jax.numpy as jnp
>>> from jaxfc.optim import adam
>>> rule = Scheduled(adam, "cosine")
>>> state = rule.init({"w": jnp.zeros(2)}, schedule=Schedule(warmup_steps=10, total_steps=100), learning_rate=1e-3)
>>> print(f"{rule.learning_rate(state):g}")
0.0001
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, Real

from jaxfc.errors import check_number, unknown_name
from jaxfc.optim.contract import UpdateRule, hyper_names, learning_rate_of
from jaxfc.optim.hyper import Number, on_device
from jaxfc.optim.leaves import Tree
from jaxfc.optim.state import hyper_of, with_hyper


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
    per_epoch = jnp.asarray(s.steps_per_epoch)
    epochs = step.astype(per_epoch.dtype) // per_epoch
    return lax.pow(_fraction(s.lr_decay), epochs.astype(jnp.int32))


def cosine(step: Array, s: Schedule) -> Array:
    r"""$f + (1 - f) \tfrac12 (1 + \cos \pi u)$ (Loshchilov and Hutter, 2016), $u$ the progress from $W$ to $T$.

    >>> print(f"{cosine(jnp.int32(50), Schedule(total_steps=100)):.3f}")
    0.500
    """
    final = _fraction(s.final)
    return final + (1 - final) * 0.5 * (1 + jnp.cos(jnp.pi * _progress(step, s)))


def linear(step: Array, s: Schedule) -> Array:
    r"""$1 - (1 - f)\, u$, with $u$ the progress from $W$ to $T$.

    >>> print(linear(jnp.int32(25), Schedule(total_steps=100)))
    0.75
    """
    return 1 - (1 - _fraction(s.final)) * _progress(step, s)


def _progress(step: Array, s: Schedule) -> Array:
    warmup = _fraction(s.warmup_steps)
    return jnp.clip((_fraction(step) - warmup) / jnp.maximum(_fraction(s.total_steps) - warmup, 1), 0, 1)


def _fraction(number: Any) -> Array:
    """A number of a schedule in the type to compute in; steps are exact in it up to 2^24, in float32."""
    return jnp.asarray(number, jnp.result_type(float))


Kind = Callable[[Array, Schedule], Array]

SCHEDULES: dict[str, Kind] = {f.__name__: f for f in (constant, exponential, cosine, linear)}


class ScheduledState(NamedTuple):
    """State of a `Scheduled` rule; the inner state holds the number that the factor applies to.

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
    """A rule of which one hyper-parameter is multiplied by a schedule, with warm-up.

    `init` takes a `Schedule` as well: as `schedule` for the learning rate, as `weight_decay_schedule` for the
    weight decay, and so on. Wrapped once more, the rule has another hyper-parameter scheduled too.

    Args:
        rule: the rule, whose state has the hyper-parameter; see `jaxfc.optim.hyper_of`.
        kind: one of `SCHEDULES`, or a hashable function `(step, schedule) -> factor`.
        of: the name of the hyper-parameter.

    Raises:
        ValueError: an unknown kind, or (from `init`) numbers that make no schedule, or a rule without such
            a hyper-parameter.
        TypeError: (from `init`) no `Schedule`.

    >>> from jaxfc.optim import adamw
    >>> rule = Scheduled(Scheduled(adamw, "cosine"), "constant", of="weight_decay")
    >>> state = rule.init(
    ...     {"w": jnp.zeros(2)},
    ...     schedule=Schedule(warmup_steps=10, total_steps=100),
    ...     weight_decay_schedule=Schedule(warmup_steps=50),
    ... )
    """

    rule: UpdateRule
    kind: str | Kind
    of: str = "learning_rate"

    def __post_init__(self) -> None:
        if not callable(self.kind) and self.kind not in SCHEDULES:
            raise unknown_name("schedule", self.kind, SCHEDULES)

    @property
    def keyword(self) -> str:
        """The keyword of `init` that takes the `Schedule`."""
        return "schedule" if self.of == "learning_rate" else f"{self.of}_schedule"

    @property
    def hyper(self) -> tuple[str, ...]:
        """The keywords of `init`."""
        return (self.keyword, *hyper_names(self.rule))

    @property
    def ignores_zeros(self) -> bool:
        """As the rule's."""
        return getattr(self.rule, "ignores_zeros", False)

    def init(self, params: Tree, **hyper: Any) -> ScheduledState:
        """Return the state to start from."""
        schedule = hyper.pop(self.keyword, None)
        if not isinstance(schedule, Schedule):
            raise TypeError(f"{self.keyword}={schedule!r} must be a Schedule: it drives the {self.of}")
        check_number("warmup_steps", schedule.warmup_steps, low=0)
        check_number("total_steps", schedule.total_steps, low=1)
        check_number("steps_per_epoch", schedule.steps_per_epoch, low=1)
        check_number("lr_decay", schedule.lr_decay, low=0, exclude="low")
        check_number("final", schedule.final, low=0)
        inner = self.rule.init(params, **hyper)
        hyper_of(inner, self.of)  # raises if there is none
        # With a dtype of their own: weakly typed numbers would compile the step a second time.
        numbers = jax.tree.map(lambda number: on_device(number, jnp.result_type(number)), schedule)
        return ScheduledState(on_device(0, jnp.int32), numbers, inner)

    def __call__(self, params: Tree, grads: Tree, state: ScheduledState) -> tuple[Tree, ScheduledState]:
        """Apply the rule with the scheduled number in place of the one it has, which stays in the state."""
        base, factor = hyper_of(state.inner, self.of), self.factor(state)
        scheduled = jax.tree.map(lambda number: _times(number, factor), base)
        params, inner = self.rule(params, grads, with_hyper(state.inner, self.of, scheduled))
        return params, ScheduledState(state.step + 1, state.schedule, with_hyper(inner, self.of, base))

    def factor(self, state: ScheduledState, ago: int = 0) -> Array:
        """Return the factor of the coming update, warm-up included, or of the one `ago` updates before that."""
        step = state.step - ago
        warmup = jnp.minimum(_fraction(step + 1) / jnp.maximum(_fraction(state.schedule.warmup_steps), 1), 1)
        kind = self.kind if callable(self.kind) else SCHEDULES[self.kind]
        return kind(step, state.schedule) * warmup

    def learning_rate(self, state: ScheduledState, ago: int = 0) -> Number | None:
        """Return the learning rate of the coming update, or of the one `ago` updates before that."""
        rate = learning_rate_of(self.rule, state.inner, ago)
        return rate if rate is None or self.of != "learning_rate" else _times(rate, self.factor(state, ago))


def _times(number: Any, factor: Array) -> Array:
    """A product of the number's dtype, unless that is an integer's."""
    dtype = jnp.result_type(number)
    return number * (factor.astype(dtype) if jnp.issubdtype(dtype, jnp.floating) else factor)


def extended(state: Any, total_steps: Real[Array, "..."] | int) -> Any:
    """Return a rule's state with every `Schedule` in it made so many steps long, to go on with a run that ended.

    Args:
        state: the state of any rule.
        total_steps: the new `total_steps`, those already taken included.

    Raises:
        ValueError: less than 1.

    >>> from jaxfc.optim import sgd
    >>> rule = Scheduled(sgd, "linear")
    >>> state = rule.init({"w": jnp.zeros(2)}, schedule=Schedule(total_steps=100))
    >>> print(extended(state, 300).schedule.total_steps)
    300
    """
    check_number("total_steps", total_steps, low=1)

    def extend(node: Any) -> Any:
        if not isinstance(node, Schedule):
            return node
        return node._replace(total_steps=jnp.full_like(node.total_steps, total_steps))

    return jax.tree.map(extend, state, is_leaf=lambda node: isinstance(node, Schedule))
