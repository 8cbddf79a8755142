"""What a search tries: spaces of values, and settings drawn from them or laid out as a grid.

A space maps a number u, uniform in [0, 1), to a value. Each setting's u is drawn from the search's
seed, the trial's number and the setting's name alone: more trials, or another setting beside it,
change none of the draws there were.
"""

import itertools
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from jaxfc.errors import check_number, shortened, unknown_name

Settings = dict[str, Any]
MOST_CANDIDATES = 100_000


@runtime_checkable
class Space(Protocol):
    """What every space offers."""

    def at(self, u: float) -> Any:
        """The value at `u` in [0, 1)."""


@dataclass(frozen=True)
class LogUniform:
    r"""Numbers whose logarithm is uniform, $\mathrm{low} \cdot (\mathrm{high} / \mathrm{low})^u$.

    >>> LogUniform(1e-3, 1e-1).at(0.5)
    0.01

    Raises:
        ValueError: a bound that is not positive, or bounds in the wrong order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds("loguniform", self.low, self.high)
        if self.low <= 0:
            raise ValueError(f"loguniform:{self.low}:{self.high}: bounds must be above 0; use uniform for others")

    def at(self, u: float) -> float:
        """The value at `u`, to twelve digits."""
        exponent = math.log10(self.low) + u * (math.log10(self.high) - math.log10(self.low))
        return float(f"{10**exponent:.12g}")


@dataclass(frozen=True)
class Uniform:
    r"""Uniform numbers, $\mathrm{low} + u\,(\mathrm{high} - \mathrm{low})$.

    >>> Uniform(0.3, 0.5).at(0.5)
    0.4

    Raises:
        ValueError: bounds in the wrong order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds("uniform", self.low, self.high)

    def at(self, u: float) -> float:
        """The value at `u`, to twelve digits."""
        return float(f"{self.low + u * (self.high - self.low):.12g}")


@dataclass(frozen=True)
class Integers:
    """Integers from `low` to `high`, both included.

    >>> Integers(1, 3).at(0.9)
    3

    Raises:
        TypeError: a bound that is not an integer.
        ValueError: bounds in the wrong order.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        for bound in (self.low, self.high):
            if not isinstance(bound, int):
                raise TypeError(f"integers:{self.low}:{self.high}: {bound!r} must be an integer")
        _check_bounds("integers", self.low, self.high)

    @property
    def count(self) -> int:
        """How many there are."""
        return self.high - self.low + 1

    @property
    def options(self) -> tuple[int, ...]:
        """All of them."""
        return tuple(range(self.low, self.high + 1))

    def at(self, u: float) -> int:
        """The value at `u`."""
        return self.low + int(u * (self.high - self.low + 1))


@dataclass(frozen=True)
class Choice:
    """One of several values, each as likely.

    >>> Choice((16, 32, 64)).at(0.5)
    32

    Raises:
        ValueError: nothing to choose from.
    """

    options: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("choice: name at least one value")

    def at(self, u: float) -> Any:
        """The value at `u`."""
        return self.options[int(u * len(self.options))]


def loguniform(low: float | int, high: float | int) -> LogUniform:
    """Numbers uniform in their logarithm: for learning rates, L2 strengths, weight scales.

    >>> loguniform(1e-4, 1)
    LogUniform(low=0.0001, high=1.0)
    """
    return LogUniform(float(low), float(high))


def uniform(low: float | int, high: float | int) -> Uniform:
    """Uniform numbers: for keep ratios and momentum.

    >>> uniform(0.5, 1)
    Uniform(low=0.5, high=1.0)
    """
    return Uniform(float(low), float(high))


def integers(low: int, high: int) -> Integers:
    """Integers, both bounds included.

    >>> integers(1, 3).options
    (1, 2, 3)
    """
    return Integers(low, high)


def choice(*options: Any) -> Choice:
    """One of the values given.

    >>> choice("relu", "tanh").options
    ('relu', 'tanh')
    """
    return Choice(options)


def seeds(count: int) -> Integers:
    """The seeds from 0 to `count - 1`: as a space for `seed`, the same setting from several starts.

    >>> seeds(3)
    Integers(low=0, high=2)
    """
    check_number("seeds", count, low=1)
    return Integers(0, count - 1)


def logspace(low: float | int, high: float | int, count: int) -> Choice:
    """So many values, evenly spaced in their logarithm, both bounds included: a grid's axis.

    >>> logspace(0.001, 0.1, 3).options
    (0.001, 0.01, 0.1)
    """
    return _points("logspace", LogUniform(float(low), float(high)), count)


def linspace(low: float | int, high: float | int, count: int) -> Choice:
    """So many evenly spaced values, both bounds included: a grid's axis.

    >>> linspace(0.3, 0.5, 3).options
    (0.3, 0.4, 0.5)
    """
    return _points("linspace", Uniform(float(low), float(high)), count)


def _points(kind: str, space: LogUniform | Uniform, count: int) -> Choice:
    if not isinstance(count, int):
        raise TypeError(f"{kind}: a count of {count!r} must be an integer")
    check_number(f"{kind}'s count", count, low=2)
    check_count(f"{kind}'s count", count)
    return Choice(tuple(space.at(i / (count - 1)) for i in range(count)))


def sample(spaces: Mapping[str, Space], trials: int, *, seed: int = 0, first: int = 0) -> list[Settings]:
    """Draw settings at random.

    Args:
        spaces: a space for each name: of a `TrainConfig`'s field, or whatever your own `build` takes.
        trials: how many.
        seed: of the draws.
        first: the number of the first trial: those from 10 on are the same whether or not 0 to 9 are drawn.

    Raises:
        ValueError: no trials.

    >>> sample({"learning_rate": loguniform(1e-4, 1e-1), "hidden": choice((64,), (64, 64))}, 2)
    [{'learning_rate': 0.00535513099707, 'hidden': (64, 64)}, {'learning_rate': 0.0108572387011, 'hidden': (64, 64)}]
    """
    if trials < 1:
        raise ValueError(f"trials={trials} must be at least 1")
    check_count("trials", trials)
    check_number("seed", seed, low=0)
    return [
        {name: space.at(_uniform(seed, number, name)) for name, space in spaces.items()}
        for number in range(first, first + trials)
    ]


def _uniform(seed: int, number: int, name: str) -> float:
    return np.random.default_rng([seed, number, zlib.crc32(name.encode())]).random()


def grid(spaces: Mapping[str, Space]) -> list[Settings]:
    """All combinations of the spaces' values, the last name varying fastest.

    Raises:
        ValueError: a space without a finite number of values.

    >>> grid({"learning_rate": logspace(0.001, 0.01, 2), "seed": seeds(2)})[1]
    {'learning_rate': 0.001, 'seed': 1}
    """
    for name, space in spaces.items():
        if _count(space) is None:
            raise ValueError(f"{name}: a grid needs choice, integers, seeds, linspace or logspace, not {spell(space)}")
    check_count("the grid's combinations", math.prod(map(_count, spaces.values())))
    return [
        dict(zip(spaces, values, strict=True)) for values in itertools.product(*(s.options for s in spaces.values()))
    ]


def _count(space: Space) -> int | None:
    """How many values a space has, of which it need not have a list; None where there is no end to them."""
    if hasattr(space, "count"):
        return space.count
    return len(space.options) if hasattr(space, "options") else None


def check_count(what: str, count: int) -> None:
    """Raise a ValueError for more candidates than a search can lay out.

    >>> check_count("trials", 10**9)
    Traceback (most recent call last):
    ValueError: trials=1000000000: a search has at most 100000 candidates; try fewer
    """
    if count > MOST_CANDIDATES:
        raise ValueError(
            f"{what}={shortened(str(count))}: a search has at most {MOST_CANDIDATES} candidates; try fewer"
        )


def _check_bounds(kind: str, low: float | int, high: float | int) -> None:
    for bound in (low, high):
        check_number(f"{kind}'s bound", bound)
    if low > high:
        raise ValueError(f"{kind}:{low}:{high}: the bounds are reversed; write {kind}:{high}:{low}")


# ---------------------------------------------------------------------------------------------------
# As text, for the command line
# ---------------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[..., Space]] = {
    "loguniform": loguniform,
    "uniform": uniform,
    "integers": integers,
    "choice": choice,
    "seeds": seeds,
    "linspace": linspace,
    "logspace": logspace,
}


def parse(name: str, text: str) -> Space:
    """Read a space as the command line has it: `loguniform:1e-4:1e-1`, `choice:64,128x64`, `seeds:5`.

    Widths of hidden layers are joined by `x`; `none` stands for no normalization, dropout and the like.

    Raises:
        ValueError: an unknown kind, or bounds that make no space; the setting is named.

    >>> parse("hidden", "choice:64,128x64")
    Choice(options=((64,), (128, 64)))
    """
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise unknown_name(f"space for {name}", kind, KINDS)
    try:
        if kind == "choice":
            return choice(*(_widths(option) if name == "hidden" else _value(option) for option in rest.split(",")))
        return KINDS[kind](*map(_number, rest.split(":")))
    except TypeError:
        raise ValueError(f"{name}={text}: write {_USAGE[kind]}") from None
    except ValueError as error:
        raise ValueError(f"{name}={text}: {error}") from None


_USAGE = {
    "loguniform": "loguniform:LOW:HIGH",
    "uniform": "uniform:LOW:HIGH",
    "integers": "integers:LOW:HIGH, whole numbers",
    "choice": "choice:A,B,C",
    "seeds": "seeds:COUNT",
    "linspace": "linspace:LOW:HIGH:COUNT",
    "logspace": "logspace:LOW:HIGH:COUNT",
}


def spell(space: Space) -> str:
    """A space as the command line has it.

    >>> spell(loguniform(1e-4, 0.1))
    'loguniform:0.0001:0.1'
    """
    if isinstance(space, Choice):
        return "choice:" + ",".join(map(spell_value, space.options))
    return f"{type(space).__name__.lower()}:{space.low}:{space.high}"


def spell_value(value: Any, digits: int = 12) -> str:
    """A setting's value as the command line and tables have it.

    >>> spell_value((128, 64)), spell_value(0.00123456789), spell_value(None)
    ('128x64', '0.00123456789', 'none')
    """
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "x".join(map(str, value)) or "linear"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _widths(text: str) -> tuple[int, ...]:
    return () if text == "linear" else tuple(int(width) for width in text.split("x"))


def _value(text: str) -> Any:
    if text == "none":
        return None
    try:
        return _number(text)
    except ValueError:
        return text


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
