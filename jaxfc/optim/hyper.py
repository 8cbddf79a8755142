"""The hyper-parameters of all rules: what each is called, which numbers it may be, and what it does.

A name stands here once. Rules check their numbers by it, and the command line makes its flags of it.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, DTypeLike, Real

from jaxfc.errors import check_number

Number = Real[Array, ""]
Hyper = Real[ArrayLike, ""]


@dataclass(frozen=True)
class HyperParameter:
    """What a hyper-parameter is.

    Args:
        help: what it does, in a line without a full stop.
        low: the least value allowed.
        high: the greatest value allowed.
        exclude: `"low"` or `"high"` if that bound itself is not allowed.

    >>> HYPER["momentum"].check("momentum", 1.0)
    Traceback (most recent call last):
    ValueError: momentum=1.0 must be a finite number in [0, 1)
    """

    help: str
    low: float | int = 0
    high: float | int = math.inf
    exclude: str | None = None

    def check(self, name: str, value: Any) -> None:
        """Raise unless a number is one that this may be.

        Raises:
            TypeError: no number.
            ValueError: not finite, or out of range.
        """
        check_number(name, value, low=self.low, high=self.high, exclude=self.exclude)


HYPER: dict[str, HyperParameter] = {
    "learning_rate": HyperParameter("Learning rate, before its schedule"),
    "weight_decay": HyperParameter("Decoupled weight decay on matrices"),
    "momentum": HyperParameter("Momentum", high=1, exclude="high"),
    "decay_rate": HyperParameter("Decay of the mean squared gradient", high=1, exclude="high"),
    "beta1": HyperParameter("Decay of the mean gradient", high=1, exclude="high"),
    "beta2": HyperParameter("Decay of the mean squared gradient", high=1, exclude="high"),
    "epsilon": HyperParameter("Term in the denominator"),
    "max_norm": HyperParameter("Clip gradients to this global norm", exclude="low"),
    "decay": HyperParameter("Decay of the average of parameters", high=1, exclude="high"),
}
"""Every hyper-parameter of the built-in rules and wrappers, by name."""


def numbers(**hyper: Any) -> list[Array]:
    """Check hyper-parameters and return them as arrays, so that every call of a program sees one type.

    Raises:
        TypeError, ValueError: as `HyperParameter.check`.

    >>> numbers(learning_rate=1, momentum=0.5)
    [Array(1., dtype=float32), Array(0.5, dtype=float32)]
    """
    for name, value in hyper.items():
        HYPER[name].check(name, value)
    wide = jnp.result_type(float)
    return [on_device(value, wide) for value in hyper.values()]


def on_device(value: Hyper, dtype: DTypeLike) -> Number:
    """`jnp.asarray(value, dtype)`, for which a plain number compiles no program.

    >>> on_device(3, jnp.float32)
    Array(3., dtype=float32)
    """
    return jnp.asarray(value, dtype) if isinstance(value, jax.Array) else jax.device_put(np.asarray(value, dtype))
