"""Which networks of several sizes share a program, each padded to the largest of them.

A program more takes a while to compile; a padded network computes as much as the largest. Where the former
takes longer than the latter, networks are padded.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from jaxfc.networks import Network
from jaxfc.networks.contract import cost
from jaxfc.optim import ignores_zeros
from jaxfc.search.candidates import Blueprint
from jaxfc.search.chunks import NARROW


class Speed(NamedTuple):
    """Seconds in which the two programs of one size compile; and operations a second, of small networks."""

    compiling: float
    rate: float


CPU = Speed(1.5, 5e10)  # of one core; what several cores do beside one another is as much sooner done of either
ACCELERATOR = Speed(5.0, 5e12)  # a guess: there, compilation counts for more


def forms(
    made: Sequence[Blueprint], pad: bool | None, steps: Sequence[float], platform: str, members: int = NARROW
) -> list[Network]:
    """The form in which each candidate's network is trained: itself, or padded as others are.

    Networks are padded that say they can be (`family`, see `jaxfc.networks.contract`), under a rule that leaves
    zeros alone, where nothing else keeps them from sharing a program.

    Args:
        made: the candidates.
        pad: whether to pad; None: where it saves time, by an estimate.
        steps: about how many steps each candidate trains.
        platform: the kind of device.
        members: of a program; on a CPU, where a program is filled up with members that are thrown away.
    """
    alike: dict[Any, dict[Any, list[int]]] = defaultdict(lambda: defaultdict(list))
    families: dict[Any, Any] = {}
    for number, each in enumerate(made if pad is not False else ()):
        structure = jax.tree.structure(each.net)
        if structure not in families:
            families[structure] = getattr(each.net, "family", None)
        if families[structure] is not None and ignores_zeros(each.rule, each.hyper):
            rest = jax.tree.structure((each.task, dict(each.hyper)))
            run = each.settings.batch_size, each.settings.sampling, each.settings.accumulate
            alike[families[structure], each.rule, rest, run][structure].append(number)
    found = [each.net for each in made]
    for sizes in alike.values():
        every = [Size(made, numbers, steps, platform, members) for numbers in sizes.values()]
        for part in [every] if pad else _parts(every):
            family = [size.net for size in part]
            for number in (number for size in part for number in size.numbers if len(part) > 1):
                found[number] = made[number].net.padded(family)
    return found


class Size:
    """Candidates with networks of one size."""

    def __init__(
        self, made: Sequence[Blueprint], numbers: list[int], steps: Sequence[float], platform: str, members: int
    ) -> None:
        first = made[numbers[0]]
        self.net, self.numbers, self.flops = first.net, numbers, cost(first.net).flops
        self.speed, self.members = (CPU, members) if platform == "cpu" else (ACCELERATOR, 1)
        # A step is a forward pass, and a backward pass of twice its operations.
        self.rows = 3 * first.settings.batch_size * sum(steps[number] for number in numbers) / len(numbers)


def _parts(sizes: list[Size]) -> list[list[Size]]:
    """Sizes that are to share programs: from the largest on, each joins those before it if that saves time."""
    parts: list[list[Size]] = []
    for size in sorted(sizes, key=lambda size: -size.flops):
        if parts and _seconds([*parts[-1], size]) < _seconds(parts[-1]) + _seconds([size]):
            parts[-1].append(size)
        else:
            parts.append([size])
    return parts


def _seconds(part: list[Size]) -> float:
    """About how long it takes to compile the programs of a part and to train its members."""
    first = part[0]
    flops = first.flops if len(part) == 1 else cost(first.net.padded([size.net for size in part])).flops
    count = sum(len(size.numbers) for size in part)
    filled = -(-count // first.members) * first.members
    rows = sum(size.rows * len(size.numbers) for size in part) / count
    return first.speed.compiling + flops * rows * filled / first.speed.rate
