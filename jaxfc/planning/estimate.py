"""About how long a step takes, from what it computes, moves and sends, and from what a chip can do."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfc.planning.chips import Chip
from jaxfc.planning.compiled import Collective
from jaxfc.planning.placing import bytes_of

ASSUMED = "products at full rate, memory meanwhile: the slower of both; then messages over all links, none hidden"


class Step(NamedTuple):
    """What one step is on one chip.

    Args:
        flops: operations of its products.
        traffic: bytes to and from memory, if nothing stays in the chip's own; see `traffic`.
        collectives: what it exchanges with other chips.
        cycles: the compiler's estimate; 0 where it makes none.

    >>> from jaxfc.planning.chips import CHIPS
    >>> step = Step(197e9, 819e6, [Collective("all-reduce", 10**8, 256)], 2_000_000)
    >>> {name: round(1e3 * seconds, 2) for name, seconds in step.times(CHIPS["v5e"], (16, 16)).items()}
    {'products': 1.0, 'memory': 1.0, 'links': 1.0, 'estimate': 2.0, 'compiler': 1.33}
    """

    flops: float
    traffic: float
    collectives: list[Collective]
    cycles: int

    @property
    def sent(self) -> float:
        """Bytes that a chip sends to others."""
        return sum(each.sent for each in self.collectives)

    def times(self, chip: Chip, shape: tuple[int, ...]) -> dict[str, float]:
        """Seconds that products, memory and links take, the estimate made of them, and the compiler's, if there is one.

        Args:
            chip: the chip.
            shape: how many of them there are along each axis of their network.
        """
        seconds = {
            "products": chip.parts * self.flops / chip.flops,
            "memory": chip.parts * self.traffic / chip.bandwidth,
        }
        seconds["links"] = self.sent / chip.outgoing(shape) if self.collectives else 0.0
        seconds["estimate"] = max(seconds["products"], seconds["memory"]) + seconds["links"]
        if self.cycles:
            seconds["compiler"] = self.cycles / chip.clock
        return seconds

    def product_share(self, chip: Chip) -> float:
        """The share of the compiler's cycles in which a chip could do the products alone."""
        return self.flops / (2 * chip.macs / chip.parts) / self.cycles


def traffic(params: Any, slots: Any, rows: Any, activations: float) -> float:
    """Bytes that a step moves to and from memory, if every array is read where it is used and nothing stays.

    Parameters are read for the forward pass, for the backward pass and for the update, and written; gradients are
    written and read, and so are slots; rows are read, activations written and read.

    Args:
        params: the parameters that are trained, or their shapes.
        slots: what the rule keeps.
        rows: a batch's inputs.
        activations: bytes of a batch's activations on one chip.

    >>> import numpy as np
    >>> traffic(np.ones(10, "f"), np.ones(10, "f"), np.ones(4, np.uint8), 100)
    524
    """
    return 6 * bytes_of(params) + 2 * bytes_of(slots) + bytes_of(rows) + 2 * activations


def measured(device: Any, dtype: Any, memory: float) -> Chip:
    """This machine's own device, by a product and a copy done on it.

    Args:
        device: the device.
        dtype: the type of the product's factors.
        memory: bytes that may be used on it.

    >>> measured(jax.devices()[0], jnp.float32, 1e9).flops > 0
    True
    """
    with jax.default_device(device):
        size = 1024
        a, many = jnp.ones((size, size), dtype), jnp.ones(2**24, jnp.float32)
        product = jax.jit(lambda a: jnp.matmul(a, a, preferred_element_type=jnp.float32))
        flops = 2 * size**3 / _fastest(product, a)
        bandwidth = 2 * many.nbytes / _fastest(jax.jit(jnp.negative), many)
    return Chip(
        device.device_kind, memory, flops, bandwidth, 0, (), 0, 0, 1, "measured here, by one product and one copy"
    )


def _fastest(function: Any, argument: Any) -> float:
    jax.block_until_ready(function(argument))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(function(argument))
        seconds.append(time.perf_counter() - start)
    return min(seconds)
