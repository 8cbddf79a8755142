"""Errors that several modules raise, and the wording they share."""

import difflib
import math
import numbers
import sys
from collections.abc import Iterable
from typing import Any

_LONGEST_NAME, _MOST_NAMES = 100, 2000


class FormatError(ValueError):
    """A file does not hold what its kind promises: corrupted, truncated, or of another format.

    >>> import tempfile
    >>> from jaxfc import Model
    >>> with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
    ...     try:
    ...         Model.load(file.name)
    ...     except FormatError:
    ...         print("no model")
    no model
    """


class DivergenceError(FloatingPointError):
    """A training loss became NaN or infinite.

    >>> from jaxfc import FCNet, fit, load
    >>> try:
    ...     fit(FCNet(64, (8,), 10), "sgd", load("digits"), hyper={"learning_rate": 1e30}, epochs=1, verbose=False)
    ... except DivergenceError as error:
    ...     print(str(error)[:19])
    the loss became nan
    """


class PrecisionError(ValueError):
    """Float64 was asked for while JAX's 64-bit mode is off.

    >>> import jax
    >>> from jaxfc import FCNet, init
    >>> net = FCNet(4, (8,), 3, param_dtype="float64")
    >>> try:
    ...     init(net, jax.random.key(0))
    ... except PrecisionError as error:
    ...     print(str(error)[:25])
    float64 needs 64-bit mode
    """


class OutOfMemoryError(ValueError):
    """Work needs more memory than is free; none of it was begun.

    >>> from jaxfc import FCNet, fit, load
    >>> try:
    ...     fit(FCNet(64, (10**6, 10**6), 10), "adam", load("digits"))
    ... except OutOfMemoryError as error:
    ...     print(str(error)[:44])
    training this network needs about 12 TB of m
    """


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> ValueError:
    """Return the error for a name outside a fixed set, with the nearest valid one named.

    >>> unknown_name("activation", "rleu", ["relu", "tanh"])
    ValueError("unknown activation 'rleu': did you mean 'relu'? (one of: relu, tanh)")
    """
    valid, text = list(valid), str(name)[:_LONGEST_NAME]
    # Compared are names of a length that people type, and not more of them than take a moment.
    near = difflib.get_close_matches(text, [each for each in valid[:_MOST_NAMES] if len(each) <= _LONGEST_NAME], 1, 0.5)
    names = listed(valid)
    hint = f"did you mean {near[0]!r}? (one of: {names})" if near else f"use one of: {names}"
    return ValueError(f"unknown {kind} {shortened(repr(name))}: {hint}")


def listed(names: Iterable[str], most: int = 20) -> str:
    """Names as a message has them: not more of them, nor more of each, than people read.

    >>> listed(map(str, range(100)), most=3)
    '0, 1, 2 … (100 in all)'
    """
    names = list(names)
    text = ", ".join(shortened(name) for name in names[:most])
    return text if len(names) <= most else f"{text} … ({len(names)} in all)"


def shortened(text: str, longest: int = 100) -> str:
    """A text without its middle, where it is longer than a message should be.

    >>> shortened("0123456789" * 100, longest=20)
    '0123456789… (1000 characters) …789'
    """
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]}… ({len(text)} characters) …{text[-(longest // 6) :]}"


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

    >>> check_number("momentum", 1.5, low=0, high=1)
    Traceback (most recent call last):
    ValueError: momentum=1.5 must be a finite number in [0, 1]
    """
    if hasattr(value, "dtype") and not isinstance(value, numbers.Real):
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={value!r} must be a number")
    above = low < value if exclude == "low" else low <= value
    below = value < high if exclude == "high" else value <= high
    endless = isinstance(value, int) and abs(value) > sys.float_info.max  # past all floats
    if endless or not (-math.inf < value < math.inf and above and below):
        left = "(" if exclude == "low" or low == -math.inf else "["
        right = ")" if exclude == "high" or high == math.inf else "]"
        raise ValueError(f"{name}={shortened(str(value))} must be a finite number in {left}{low:g}, {high:g}{right}")
