"""Augmentations of images: what moves, blanks, colours or bends pixels; see `jaxfc.data.augment`.

What an image draws is whole numbers, so that the same is drawn wherever the program runs.
"""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Int32, Key, Num, Shaped

from jaxfc.errors import check_number
from jaxfc.layers.threefry import bits16

KNOTS = 4  # on a side of the grid by which images are bent

Batch = Num[Array, "batch features"]
Targets = Shaped[Array, "batch ..."]
Image = Num[Array, "channels height width"]
Draws = Int32[Array, " limits"]


@dataclass(frozen=True)
class ImageAugmentation:
    """What augmentations of images share: a subclass says which numbers an image draws, and what becomes of it.

    Args:
        image_shape: `(height, width)` or `(channels, height, width)`; rows are such images, flattened.

    Raises:
        ValueError: another kind of shape; (when called) rows of another length.

    >>> class Flip(ImageAugmentation):
    ...     "Exchange top and bottom with probability 1/2."
    ...     limits = (2,)
    ...
    ...     def change(self, image, draws):
    ...         return jnp.where(draws[0] == 1, image[:, ::-1], image)
    >>> x, y = Flip((2, 1))(jax.random.key(0), jnp.array([[1, 2], [3, 4], [5, 6]]), jnp.arange(3))
    >>> print(x.tolist())
    [[2, 1], [4, 3], [5, 6]]
    """

    image_shape: tuple[int, ...]
    stored: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if len(self.image_shape) not in (2, 3):
            raise ValueError(f"image_shape={self.image_shape} must be (height, width) or (channels, height, width)")

    @property
    def limits(self) -> tuple[int, ...]:
        """An image draws a whole number below each of these, and each is as probable."""
        raise NotImplementedError

    def change(self, image: Image, draws: Draws) -> Image:
        """Change one image by what it drew."""
        raise NotImplementedError

    def __call__(self, key: Key[Array, ""], x: Batch, y: Targets) -> tuple[Batch, Targets]:
        """Change every row by draws of its own."""
        if x.shape[1] != math.prod(self.image_shape):
            raise ValueError(f"{type(self).__name__.lower()}: x {x.shape} holds no images of shape {self.image_shape}")
        images = x.reshape(len(x), math.prod(self.image_shape[:-2]), *self.image_shape[-2:])
        # Each limit's share of the 65,536 values, to one.
        bits = bits16(key, (len(x), len(self.limits))).astype(jnp.uint32)
        draws = (bits * np.array([self.limits], np.uint32) >> 16).astype(jnp.int32)
        return each_row(self.change, images, draws).reshape(x.shape), y


@dataclass(frozen=True)
class _ByPixels(ImageAugmentation):
    """An augmentation of images with a number of pixels, less than an image's height and width."""

    pixels: int

    def __post_init__(self) -> None:
        super().__post_init__()
        name, (height, width) = type(self).__name__.lower(), self.image_shape[-2:]
        if not isinstance(self.pixels, numbers.Integral):
            raise TypeError(f"{name}: pixels={self.pixels!r} must be a whole number")
        if not 1 <= self.pixels < min(height, width):
            raise ValueError(
                f"{name}: pixels={self.pixels} must be from 1 to {min(height, width) - 1}: "
                f"images are {height} x {width}"
            )


@dataclass(frozen=True)
class Mirror(ImageAugmentation):
    """Exchange left and right of an image with probability 1/2.

    >>> x = jnp.array([[1, 2], [3, 4], [5, 6]], jnp.uint8)
    >>> print(Mirror((1, 2))(jax.random.key(0), x, jnp.arange(3))[0].tolist())
    [[2, 1], [4, 3], [5, 6]]
    """

    limits: ClassVar[tuple[int, ...]] = (2,)

    def change(self, image: Image, draws: Draws) -> Image:
        """Mirror an image that drew 1."""
        return lax.cond(draws[0] == 1, lambda image: image[..., ::-1], lambda image: image, image)


@dataclass(frozen=True)
class Shift(_ByPixels):
    r"""Move an image by up to so many pixels, zeros moving in: the "random crop" of the CIFAR literature.

    Both offsets are uniform in $\{-p, \dots, p\}$, as if the image were padded by $p$ zeros on all sides
    and a window of its own size cut out at random (Lee et al., "Deeply-supervised nets", 2015).

    Args:
        image_shape: as `ImageAugmentation` has it.
        pixels: $p$, less than the image's height and width.

    Raises:
        ValueError: `pixels` out of range.

    >>> x = jnp.arange(1, 10, dtype=jnp.uint8)[None]
    >>> print(Shift((3, 3), 1)(jax.random.key(1), x, jnp.arange(1))[0].reshape(3, 3))
    [[0 0 0]
     [2 3 0]
     [5 6 0]]
    """

    @property
    def limits(self) -> tuple[int, ...]:
        """The offsets from the padded image's corner."""
        return (2 * self.pixels + 1,) * 2

    def change(self, image: Image, draws: Draws) -> Image:
        """Cut a window out of the padded image."""
        sides = (self.pixels, self.pixels)
        return lax.dynamic_slice(jnp.pad(image, ((0, 0), sides, sides)), (np.int32(0), draws[0], draws[1]), image.shape)


@dataclass(frozen=True)
class Cutout(_ByPixels):
    """Blank a square of every image (DeVries and Taylor, 2017).

    The square's centre is uniform over the image; what of it lies beyond the border is cut off. Its
    pixels become 0 as images are stored: black, where the paper's become the mean.

    Args:
        image_shape: as `ImageAugmentation` has it.
        pixels: the square's side, less than the image's height and width.

    Raises:
        ValueError: `pixels` out of range.

    >>> x = jnp.ones((1, 9), jnp.uint8)
    >>> print(Cutout((3, 3), 2)(jax.random.key(0), x, jnp.arange(1))[0].reshape(3, 3))
    [[1 1 1]
     [0 0 1]
     [0 0 1]]
    """

    @property
    def limits(self) -> tuple[int, ...]:
        """The square's centre."""
        return self.image_shape[-2:]

    def change(self, image: Image, draws: Draws) -> Image:
        """Blank the square around the centre."""
        row, column = (
            jnp.arange(size, dtype=draws.dtype) - centre + self.pixels // 2
            for size, centre in zip(self.limits, draws, strict=True)
        )
        rows, columns = ((place >= 0) & (place < self.pixels) for place in (row, column))
        return jnp.where((rows[:, None] & columns[None, :])[None], 0, image)


@dataclass(frozen=True)
class Colour(ImageAugmentation):
    r"""Change an image's brightness, contrast and saturation (Howard, 2013), each by a factor of its own.

    $$x \leftarrow b \, \big(m + c \, (g + s \, (x - g) - m)\big), \qquad b, c, s \sim U(1 - a, 1 + a)$$

    with $g$ the mean of a pixel's channels and $m$ that of the image. Whole numbers are kept within 0 and 255.

    Args:
        image_shape: as `ImageAugmentation` has it.
        strength: $a$, from 0 to 1.

    Raises:
        ValueError: `strength` out of range.

    >>> x = jnp.array([[10, 20]], jnp.uint8)
    >>> print(Colour((1, 2), 0.5)(jax.random.key(0), x, jnp.arange(1))[0])
    [[13 26]]
    """

    strength: float | int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("colour: strength", self.strength, low=0, high=1)

    limits: ClassVar[tuple[int, ...]] = (2**16,) * 3

    def change(self, image: Image, draws: Draws) -> Image:
        """Change the three by the factors drawn."""
        brightness, contrast, saturation = 1 + self.strength * _symmetric(draws)
        wide = image.astype(jnp.float32)
        grey = wide.mean(axis=0, keepdims=True)
        mean = grey.mean()
        changed = brightness * (mean + contrast * (grey + saturation * (wide - grey) - mean))
        return _as_stored(changed, image.dtype)


@dataclass(frozen=True)
class Elastic(_ByPixels):
    """Bend an image as if it were drawn on rubber (Simard, Steinkraus and Platt, 2003).

    Each knot of a grid of 4 x 4, laid over the image, is moved by up to so many pixels down and across, and what lies
    between them with them; a pixel is interpolated between the four about the place that it comes from.

    Args:
        image_shape: as `ImageAugmentation` has it.
        pixels: how far a knot may move, less than the image's height and width.

    Raises:
        ValueError: `pixels` out of range.

    >>> x = jnp.arange(0, 90, 10, dtype=jnp.uint8)[None]
    >>> print(Elastic((3, 3), 1)(jax.random.key(0), x, jnp.arange(1))[0].reshape(3, 3))
    [[18 20 42]
     [46 33 57]
     [68 71 65]]
    """

    limits: ClassVar[tuple[int, ...]] = (2**16,) * (2 * KNOTS**2)

    def change(self, image: Image, draws: Draws) -> Image:
        """Interpolate the image at the places moved to."""
        size = image.shape[1:]
        rows, columns = (_between_knots(length) for length in size)
        moved = self.pixels * jnp.einsum("ik,dkl,jl->dij", rows, _symmetric(draws).reshape(2, KNOTS, KNOTS), columns)
        places = [
            jnp.clip(own + along, 0, length - 1)
            for own, along, length in zip(np.indices(size).astype(np.float32), moved, size, strict=True)
        ]
        bent = [jax.scipy.ndimage.map_coordinates(channel.astype(jnp.float32), places, order=1) for channel in image]
        return _as_stored(jnp.stack(bent), image.dtype)


def _symmetric(draws: Draws) -> Float[Array, " limits"]:
    """Draws below 2**16 as numbers between -1 and 1."""
    return (draws.astype(jnp.float32) + 0.5) * np.float32(2**-15) - 1


def _between_knots(length: int) -> Float[np.ndarray, "length knots"]:
    """How much each of so many pixels in a line has of each knot."""
    places = np.linspace(0, KNOTS - 1, length)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(KNOTS))).astype(np.float32)


def _as_stored(image: Float[Array, "channels height width"], dtype: DTypeLike) -> Image:
    """An image in the type that it is stored in, rounded where that has whole numbers."""
    if jnp.issubdtype(dtype, jnp.floating):
        return image.astype(dtype)
    return jnp.clip(jnp.round(image), 0, 255).astype(dtype)


def each_row(function: Callable[..., Array], *arrays: Array) -> Array:
    """Apply a function to every row of arrays.

    On a CPU to one after another: the compiler would fuse what works on all at once with its
    neighbours, and make the draws and divide indices anew for every pixel, at several times the cost.

    >>> print(each_row(jnp.sum, jnp.array([[1, 2], [3, 4]])))
    [3 7]
    """

    def one_by_one(*arrays: Array) -> Array:
        return lax.map(lambda rows: function(*rows), arrays)

    return lax.platform_dependent(*arrays, cpu=one_by_one, default=jax.vmap(function))
