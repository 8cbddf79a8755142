r"""What a comparison of gradients found: rows of relative errors, their table, and the complaint about a wrong one.

The relative error of two entries is $|a - b| / \max(\varphi, |a| + |b|)$, as in the CS231n notes
(https://cs231n.github.io/neural-networks-3/#gradcheck); the floor $\varphi$ keeps rounding out of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

AUTODIFF_TOLERANCE = 1e-10
DIFFERENCE_TOLERANCE = 1e-6


class Entry(NamedTuple):
    """One entry of a gradient, as each of the three ways computes it, and its relative errors."""

    index: tuple[int, ...]
    hand: float
    autodiff: float | None
    difference: float
    errors: tuple[float | None, float]


class Row(NamedTuple):
    """The gradient by one array, compared: relative errors, each of the entry where it is greatest.

    `autodiff` is None where there was no plain twin; `off` counts the entries beyond either tolerance;
    `worst` is the one furthest beyond.

    >>> Row("affine", "x", (2, 3), autodiff=1e-16, difference=2e-9).passed
    True
    """

    function: str
    argument: str
    shape: tuple[int, ...]
    autodiff: float | None
    difference: float
    off: int = 0
    worst: Entry | None = None
    hint: str = ""
    tolerances: tuple[float, float] = (AUTODIFF_TOLERANCE, DIFFERENCE_TOLERANCE)

    @property
    def passed(self) -> bool:
        """Whether both errors are within tolerance."""
        return (self.autodiff or 0) <= self.tolerances[0] and self.difference <= self.tolerances[1]


@dataclass(frozen=True)
class Report:
    """One `Row` for each array differentiated. It prints as a table.

    >>> Report((Row("affine", "x", (2, 3), autodiff=1e-16, difference=2e-3),)).passed
    False
    """

    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether all rows are within tolerance."""
        return all(row.passed for row in self.rows)

    def __str__(self) -> str:
        return table(self.rows)


def relative_errors(a: Any, b: Any, floor: Any) -> np.ndarray:
    """The relative error of each entry; infinite where either is not a number.

    >>> relative_errors([1.0, 1.0], [1.0, 3.0], floor=1e-8)
    array([0. , 0.5])
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore"):
        errors = np.abs(a - b) / np.maximum(floor, np.abs(a) + np.abs(b))
    return np.where(np.isnan(errors), np.inf, errors)


def output_size(out: Sequence[np.ndarray], dout: Sequence[np.ndarray]) -> float:
    r"""The size of the numbers that gradients are made of, $\sigma = \|dy \odot \max(1, |f|)\|$."""
    terms = (np.sum(np.square(d * np.maximum(1, np.abs(y)))) for d, y in zip(dout, out, strict=True))
    return float(np.sqrt(sum(terms)))


def cancellation_floor(size: float, gradients: Sequence[np.ndarray]) -> float:
    r"""The floor against autodiff, $\max(10^{-5} \sigma, 10^{-4} \max |g|)$: what cancels to less may be rounding."""
    greatest = max(np.max(np.abs(gradient), where=np.isfinite(gradient), initial=0) for gradient in gradients)
    return max(1e-5 * size, 1e-4 * float(greatest))


def difference_floor(size: float, steps: np.ndarray, tolerance: float) -> np.ndarray:
    r"""The floors against differences: sixteen times their rounding $\epsilon \sigma / h$ is then within tolerance."""
    return np.asarray(16 * np.finfo(np.float64).eps * size / steps / tolerance)


def compare_gradients(
    function: str,
    argument: str,
    hand: np.ndarray,
    autodiff: np.ndarray | None,
    difference: np.ndarray,
    floors: tuple[float, np.ndarray],
    tolerances: tuple[float, float],
) -> Row:
    """Compare three gradients of one array; floors and tolerances are those against autodiff and differences."""
    by_autodiff = None if autodiff is None else relative_errors(hand, autodiff, floors[0])
    by_difference = relative_errors(hand, difference, floors[1])
    excess = by_difference / tolerances[1]
    if by_autodiff is not None:
        excess = np.maximum(excess, by_autodiff / tolerances[0])
    off = int(np.sum(excess > 1))
    worst = None
    if excess.size:
        at = np.unravel_index(np.argmax(excess), excess.shape)
        values = (_at(gradient, at) for gradient in (hand, autodiff, difference))
        worst = Entry(tuple(map(int, at)), *values, errors=(_at(by_autodiff, at), _at(by_difference, at)))
    return Row(
        function=function,
        argument=argument,
        shape=hand.shape,
        autodiff=None if by_autodiff is None else float(by_autodiff.max(initial=0)),
        difference=float(by_difference.max(initial=0)),
        off=off,
        worst=worst,
        hint=(_cause if off else _caveat)(hand, autodiff, difference, floors, tolerances),
        tolerances=tolerances,
    )


def _at(values: np.ndarray | None, index: tuple) -> float | None:
    return None if values is None else float(values[index])


def _caveat(hand: np.ndarray, _: np.ndarray | None, difference: np.ndarray, floors: tuple, tolerances: tuple) -> str:
    """Say so where differences would not have shown an error of one in a thousand."""
    seen = 1e-3 * np.maximum(np.abs(hand), np.abs(difference)) > tolerances[1] * floors[1]
    return "" if np.any(seen) or not hand.size else "too small for differences"


def _cause(
    hand: np.ndarray, autodiff: np.ndarray | None, difference: np.ndarray, floors: tuple, tolerances: tuple
) -> str:
    """The likely cause, where the numbers show one."""
    if autodiff is not None and np.max(relative_errors(hand, autodiff, floors[0])) <= tolerances[0]:
        if not np.any(hand):
            return "Both are zero: is it a constant of the function? Then leave it out by argnums."
        return "Autodiff agrees: is there a kink within the step of the difference? Then choose values away from it."
    right, floor = (difference, floors[1]) if autodiff is None else (autodiff, floors[0])
    if not np.any(hand):
        return "It is zero everywhere: does the backward rule return None for it? Or is every entry at a kink?"
    factor = float(np.sum(hand * right) / (np.sum(right * right) or 1))
    if right.size > 1 and factor and np.max(relative_errors(hand, factor * right, floor)) < 1e-6:
        return f"It is {factor:.6g} times what it should be, in every entry."
    return ""


def complaint(report: Report) -> str:
    r"""What is wrong, at the entry where it is most: its three values, the likely cause, and the table.

    >>> entry = Entry((2, 1), 1.5, 1.0, 1.0, errors=(0.2, 0.2))
    >>> wrong = Row("affine", "w", (5, 3), 0.2, 0.2, off=1, worst=entry)
    >>> print(complaint(Report((wrong,))).partition("\n\n")[0])
    affine: the hand-written gradient by w is wrong in 1 of 15 entries, most in w[2, 1]:
      hand-written        1.5
      autodiff            1.0, relative error 2.0e-01 (tolerance 1e-10)
      centred difference  1.0, relative error 2.0e-01 (tolerance 1e-06)
    """
    wrong = max(report.rows, key=_excess)
    entry, name = wrong.worst, wrong.argument
    place = f"{name}[{', '.join(map(str, entry.index))}]" if entry.index else name
    lines = [
        f"{wrong.function}: the hand-written gradient by {name} is wrong in {wrong.off} of "
        f"{np.prod(wrong.shape, dtype=int)} entries, most in {place}:",
        f"  hand-written        {entry.hand!r}",
    ]
    if entry.autodiff is not None:
        lines.append(f"  autodiff            {entry.autodiff!r}, {_judged(entry.errors[0], wrong.tolerances[0])}")
    lines.append(f"  centred difference  {entry.difference!r}, {_judged(entry.errors[1], wrong.tolerances[1])}")
    return "\n".join([*lines, *filter(None, [wrong.hint]), "", str(report)])


def _excess(row: Row) -> float:
    return max((row.autodiff or 0) / row.tolerances[0], row.difference / row.tolerances[1])


def _judged(error: float, tolerance: float) -> str:
    return f"relative error {error:.1e} (tolerance {tolerance:g})"


def table(rows: Sequence[Row]) -> str:
    """A table of relative errors, with a verdict for each row.

    >>> print(table([Row("affine", "x", (2, 3), 1e-16, 2e-9)]))
    function  argument  shape   vs autodiff  vs differences
    affine    x         (2, 3)      1.0e-16         2.0e-09  ok
    relative errors of the worst entry, float64; limits 1e-10 and 1e-06: 1 of 1 passed
    """
    texts = [("function", "argument", "shape"), *((row.function, row.argument, str(row.shape)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    left = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in texts]
    lines = [f"{left[0]}  vs autodiff  vs differences"]
    for start, row in zip(left[1:], rows, strict=True):
        autodiff = "none" if row.autodiff is None else f"{row.autodiff:.1e}"
        verdict = "ok" + f" ({row.hint})" * bool(row.hint)
        if not row.passed:
            verdict = f"FAILED: {row.off} of {np.prod(row.shape, dtype=int)} entries"
        lines.append(f"{start}  {autodiff:>11}  {row.difference:>14.1e}  {verdict}")
    if any(row.autodiff is None for row in rows):
        lines.append("no plain twin to differentiate: only differences were compared with (pass reference=)")
    limits = " and ".join(f"{limit:g}" for limit in rows[0].tolerances)
    passed = sum(row.passed for row in rows)
    lines.append(f"relative errors of the worst entry, float64; limits {limits}: {passed} of {len(rows)} passed")
    return "\n".join(lines)
