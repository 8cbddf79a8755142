"""Errors that several modules raise, and the wording they share."""

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any


class FormatError(ValueError):
    """A file does not hold what its kind promises: corrupted, truncated, or of another format."""


class DivergenceError(FloatingPointError):
    """A training loss became NaN or infinite."""


class PrecisionError(ValueError):
    """Float64 was asked for while JAX's 64-bit mode is off."""


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> ValueError:
    """Return the error for a name outside a fixed set, with the nearest valid one named.

    >>> unknown_name("activation", "rleu", ["relu", "tanh"])
    ValueError("unknown activation 'rleu': did you mean 'relu'? (one of: relu, tanh)")
    """
    valid = list(valid)
    near = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? (one of: {', '.join(valid)})" if near else f"use one of: {', '.join(valid)}"
    return ValueError(f"unknown {kind} {name!r}: {hint}")


def check_number(
    name: str, value: Any, *, low: float | int = -math.inf, high: float | int = math.inf, exclude: str | None = None
) -> None:
    """Raise unless a number is finite and in range; what is not yet a number (a tracer, an array) passes.

    Args:
        name: what the number is called in the message.
        value: the number.
        low: the least value allowed.
        high: the greatest value allowed.
        exclude: `"low"` or `"high"` if that bound itself is not allowed.

    Raises:
        TypeError: a string, a bool, or another thing that is not a number.
        ValueError: not finite, or out of range.
    """
    if hasattr(value, "dtype") and not isinstance(value, numbers.Real):
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={value!r} must be a number")
    above = low < value if exclude == "low" else low <= value
    below = value < high if exclude == "high" else value <= high
    if not (math.isfinite(value) and above and below):
        left = "(" if exclude == "low" or low == -math.inf else "["
        right = ")" if exclude == "high" or high == math.inf else "]"
        raise ValueError(f"{name}={value!r} must be a finite number in {left}{low:g}, {high:g}{right}")
