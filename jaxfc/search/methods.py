"""Which candidates train for how long: random search, successive halving, Hyperband.

A method lays out brackets of candidates, each with its rungs: epochs at which all but the best of the
bracket stop.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from jaxfc.errors import check_number


class Bracket(NamedTuple):
    """So many candidates, trained to each of `rungs` (epochs, rising); at each but the last, 1 in `eta` goes on."""

    size: int
    rungs: tuple[int, ...]
    eta: int

    def going_on(self, rung: int) -> int:
        """How many go on from a rung, given by its place in `rungs`."""
        return max(self.size // self.eta ** (rung + 1), 1)

    def left(self, epochs: list[int]) -> int:
        """How many epochs its running candidates have yet to train, who have trained so many each.

        >>> Bracket(size=9, rungs=(1, 3, 9), eta=3).left([0] * 9)
        21
        """
        left = 0
        for i, rung in enumerate(self.rungs):
            left += sum(max(rung - trained, 0) for trained in epochs)
            epochs = [max(rung, trained) for trained in epochs][: self.going_on(i)]
        return left


@runtime_checkable
class Method(Protocol):
    """What every method offers."""

    def brackets(self, trials: int, epochs: int) -> list[Bracket]:
        """The brackets of so many candidates, none trained for longer than so many epochs."""


@dataclass(frozen=True)
class Random:
    """Train every candidate to the end (Bergstra and Bengio, 2012, https://jmlr.org/papers/v13/bergstra12a.html).

    >>> Random().brackets(trials=15, epochs=3)
    [Bracket(size=15, rungs=(3,), eta=1)]
    """

    def brackets(self, trials: int, epochs: int) -> list[Bracket]:
        """One bracket with one rung."""
        return [Bracket(trials, (epochs,), 1)]


@dataclass(frozen=True)
class Halving:
    """Successive halving (Jamieson and Talwalkar, 2016, https://arxiv.org/abs/1502.07943).

    Args:
        eta: 1 in `eta` goes on from each rung, to train `eta` times as long.
        min_epochs: the first rung.

    Raises:
        ValueError: `eta` below 2, or `min_epochs` below 1.

    >>> Halving(eta=3).brackets(trials=27, epochs=9)
    [Bracket(size=27, rungs=(1, 3, 9), eta=3)]
    """

    eta: int = 3
    min_epochs: int = 1

    def __post_init__(self) -> None:
        check_number("eta", self.eta, low=2)
        check_number("min_epochs", self.min_epochs, low=1)

    def brackets(self, trials: int, epochs: int) -> list[Bracket]:
        """One bracket, its rungs a factor of `eta` apart; the last is `epochs`."""
        return [Bracket(trials, _rungs(self.min_epochs, epochs, self.eta), self.eta)]


@dataclass(frozen=True)
class Hyperband:
    r"""Hyperband (Li et al., 2018, https://jmlr.org/papers/v18/16-558.html): halving from several first rungs.

    Bracket s, of $0 \ldots \lfloor \log_\eta (R / r) \rfloor$, first stops candidates at $R \eta^{-s}$ epochs and has
    about $\eta^s / (s + 1)$ of them for each one of bracket 0; here their sum is the number of trials.

    Args:
        eta: as in `Halving`.
        min_epochs: r, the first rung of the bracket that stops earliest.

    Raises:
        ValueError: as `Halving`.

    >>> for bracket in Hyperband(eta=3).brackets(trials=22, epochs=9):
    ...     print(bracket)
    Bracket(size=12, rungs=(1, 3, 9), eta=3)
    Bracket(size=6, rungs=(3, 9), eta=3)
    Bracket(size=4, rungs=(9,), eta=3)
    """

    eta: int = 3
    min_epochs: int = 1

    def __post_init__(self) -> None:
        Halving(self.eta, self.min_epochs)

    def brackets(self, trials: int, epochs: int) -> list[Bracket]:
        """A bracket for each first rung; the earliest first."""
        rungs = _rungs(self.min_epochs, epochs, self.eta)
        count = len(rungs)
        weights = [math.ceil(count / (s + 1) * self.eta**s) for s in reversed(range(count))]
        sizes = _share(trials, weights)
        return [Bracket(size, rungs[i:], self.eta) for i, size in enumerate(sizes) if size]


def _rungs(first: int, last: int, eta: int) -> tuple[int, ...]:
    """`last`, and what is a power of `eta` below it, down to `first`."""
    rungs = [last]
    while rungs[0] // eta >= first:
        rungs.insert(0, rungs[0] // eta)
    return tuple(rungs)


def _share(total: int, weights: list[int]) -> list[int]:
    """Split `total` in proportion to weights, by largest remainders."""
    exact = [total * weight / sum(weights) for weight in weights]
    sizes = [int(share) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: sizes[i] - exact[i])
    for i in by_remainder[: total - sum(sizes)]:
        sizes[i] += 1
    return sizes


METHODS: dict[str, type] = {"random": Random, "halving": Halving, "hyperband": Hyperband}
