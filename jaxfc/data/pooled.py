"""The map from stored images to coarser network inputs: means over squares of normalized pixels."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Num

from jaxfc.data.normalizer import Normalizer


class Pooling(NamedTuple):
    """Which squares of which images are averaged: all that is static of a `Pooled`.

    Args:
        image_shape: `(height, width)` or `(channels, height, width)`.
        side: of the squares, in pixels.

    >>> Pooling((3, 32, 32), 2).pooled_shape
    (3, 16, 16)
    """

    image_shape: tuple[int, ...]
    side: int

    @property
    def pooled_shape(self) -> tuple[int, ...]:
        """The shape of an image of averages."""
        return (*self.image_shape[:-2], *(size // self.side for size in self.image_shape[-2:]))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pooled:
    r"""Means over squares of $s \times s$ normalized pixels, which a network takes in place of an image.

    $$z_{cij} = \frac{1}{s^2} \sum_{a, b < s} (x_{c, si+a, sj+b} - \mathrm{mean}) \cdot \mathrm{scale}$$

    A first layer on means of four costs a quarter; and what fully-connected networks learn of natural images lies in
    the coarser patterns. Augmentations come before it: a shift by a pixel is one by half a mean. It is linear, so that
    the same network on all pixels has each first-layer weight, over $s^2$, at every pixel of the square. A pytree, of
    which the layout is static.

    Args:
        layout: the images, and the squares.
        normalizer: the map from stored to normalized pixels.

    >>> pooled = Pooled(Pooling((2, 4), 2), Normalizer(np.zeros(8, np.float32), np.float32(1)))
    >>> print(pooled(np.uint8([[1, 2, 5, 5, 3, 4, 5, 9]])))
    [[2.5 6. ]]
    """

    layout: Pooling = field(metadata={"static": True})
    normalizer: Any  # a leaf, or whatever else a tree is mapped to

    @property
    def takes_missing(self) -> bool:
        """Whether NaN may stand for a missing value: it may not."""
        return False

    @property
    def num_features(self) -> int:
        """How many pixels a stored image has."""
        return math.prod(self.layout.image_shape)

    @property
    def num_inputs(self) -> int:
        """How many means it becomes."""
        return math.prod(self.layout.pooled_shape)

    def __call__(self, x: Num[Array | np.ndarray, "batch pixels"], dtype: DTypeLike = None) -> Array:
        """Normalize a batch and average it, into `dtype` (by default that of the normalizer)."""
        from jaxfc.layers.common import wider

        x = jnp.asarray(x)
        dtype = dtype or jnp.asarray(self.normalizer.mean).dtype
        (height, width), side = self.layout.pooled_shape[-2:], self.layout.side
        squares = self.normalizer(x, wider(x.dtype, dtype)).reshape(x.shape[0], -1, height, side, width, side)
        # Sums of slices: on a CPU a reduction over two numbers takes many times as long.
        rows = sum(squares[:, :, :, i] for i in range(side))
        means = sum(rows[..., i] for i in range(side)) / side**2
        return means.reshape(x.shape[0], -1).astype(dtype)


def pooled(normalizer: Normalizer, image_shape: tuple[int, ...], side: int) -> Pooled:
    """What averages over squares of so many pixels a side what a normalizer makes of images.

    Raises:
        ValueError: the squares do not fill the images.

    >>> pooled(Normalizer(np.zeros(8, np.float32), np.float32(1)), (2, 4), 3)
    Traceback (most recent call last):
    ValueError: pool=3: squares of 3 x 3 do not fill images of 2 x 4: use a whole number that divides both
    """
    height, width = image_shape[-2:]
    if height % side or width % side:
        raise ValueError(
            f"pool={side}: squares of {side} x {side} do not fill images of {height} x {width}: "
            "use a whole number that divides both"
        )
    return Pooled(Pooling(tuple(image_shape), side), normalizer)
