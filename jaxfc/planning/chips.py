"""What chips can do, as their makers publish it: the figures that an estimate of time is made of."""

from typing import NamedTuple

GB = 10**9
CLOUD = "https://docs.cloud.google.com/tpu/docs/"


class Chip(NamedTuple):
    """A kind of chip, by what one of them has.

    Args:
        name: what it is called.
        memory: bytes of memory.
        flops: operations a second of products in bfloat16.
        bandwidth: bytes a second to and from its memory.
        link: bytes a second that go out over one of its links.
        pod: the chips along each axis of the largest network of them; () where a switch joins them.
        wrap: the chips along an axis, of which a multiple is closed to a ring; 0 where a switch joins them.
        macs: multiplications a cycle, as its compiler's estimates have it; 0 where its compiler estimates none.
        parts: how many devices JAX's topologies make of one chip.
        source: where the figures are published.

    >>> round(CHIPS["v5e"].clock / 1e9, 2)  # GHz
    1.5
    """

    name: str
    memory: float
    flops: float
    bandwidth: float
    link: float
    pod: tuple[int, ...]
    wrap: int
    macs: int
    parts: int
    source: str

    @property
    def clock(self) -> float:
        """Cycles a second: the published rate of products over that of a cycle."""
        return self.flops / (2 * self.macs)

    def outgoing(self, shape: tuple[int, ...]) -> float:
        """Bytes a second that leave a chip of a slice of some shape, over all of its links.

        An axis of a torus has two links to a chip where it is closed to a ring, else one at its ends, which a
        ring of messages has to wait for.

        >>> CHIPS["v5e"].outgoing((16, 16)) / CHIPS["v5e"].outgoing((4, 4)), CHIPS["v5e"].outgoing((1, 1))
        (2.0, 0.0)
        """
        if not self.wrap:
            return self.link
        return sum((self.link * (2 if n % self.wrap == 0 else 1) for n in shape if n > 1), 0.0)


# Of a link, Google gives the sum of all of a chip's, both ways; the book "How to Scale Your Model"
# (https://jax-ml.github.io/scaling-book/tpus) takes that apart, and says which axes are rings.
CHIPS = {
    "v4": Chip("TPU v4", 32 * GB, 275e12, 1200 * GB, 45 * GB, (16, 16, 16), 4, 8 * 128**2, 2, f"{CLOUD}v4"),
    "v5e": Chip("TPU v5e", 16 * GB, 197e12, 819 * GB, 50 * GB, (16, 16), 16, 4 * 128**2, 1, f"{CLOUD}v5e"),
    "v5p": Chip("TPU v5p", 95 * GB, 459e12, 2765 * GB, 100 * GB, (16, 20, 28), 4, 8 * 128**2, 1, f"{CLOUD}v5p"),
    "v6e": Chip("TPU v6e", 32 * GB, 918e12, 1638 * GB, 100 * GB, (16, 16), 16, 4 * 256**2, 1, f"{CLOUD}v6e"),
    "h200": Chip(
        "NVIDIA H200",
        141 * GB,
        989e12,
        4800 * GB,
        450 * GB,
        (),
        0,
        0,
        1,
        "https://www.nvidia.com/en-us/data-center/h200/",
    ),
}
