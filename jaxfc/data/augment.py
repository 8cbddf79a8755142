r"""Augmentations: random changes of a batch, made inside the compiled step.

An augmentation is any hashable callable `(key, x, y) -> (x, y)` over a batch, `x` of shape
`(batch, features)`; a user's own is a plain function. Two attributes, both False where they are
missing, say where in the step it stands:

- `stored`: it moves or blanks pixels, and gets inputs as they are stored (uint8, say), before they
  are normalized: a quarter of the memory to move. Any other gets normalized floats.
- `mixes`: it mixes targets, so that `y` comes as floats `(batch, outputs)`: one-hot, or numbers.

The built-in ones are values: equal where their settings are. What they draw for row $i$ depends on
the key and on $i$ alone (`Mixup` excepted), never on the batch's length or on its place on devices.
"""

import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int32, Key, Num, Shaped

from jaxfc.errors import check_number, shortened, unknown_name
from jaxfc.layers.common import wide_type
from jaxfc.layers.threefry import bits16

_MOST = 1e6  # of a number beyond which nothing is left of the inputs, or float32 has no draws

Batch = Num[Array, "batch features"]
Targets = Shaped[Array, "batch ..."]
Image = Num[Array, "channels height width"]
Draws = Int32[Array, " limits"]
Augmentation = Callable[[Key[Array, ""], Batch, Targets], tuple[Batch, Targets]]


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
            raise ValueError(f"{spell(self)}: x {x.shape} holds no images of shape {self.image_shape}")
        images = x.reshape(len(x), math.prod(self.image_shape[:-2]), *self.image_shape[-2:])
        # Each limit's share of the 65,536 values, to one.
        bits = bits16(key, (len(x), len(self.limits))).astype(jnp.uint32)
        draws = (bits * np.array([self.limits], np.uint32) >> 16).astype(jnp.int32)
        return _each_row(self.change, images, draws).reshape(x.shape), y


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
class Shift(ImageAugmentation):
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

    pixels: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_pixels(self)

    @property
    def limits(self) -> tuple[int, ...]:
        """The offsets from the padded image's corner."""
        return (2 * self.pixels + 1,) * 2

    def change(self, image: Image, draws: Draws) -> Image:
        """Cut a window out of the padded image."""
        sides = (self.pixels, self.pixels)
        return lax.dynamic_slice(jnp.pad(image, ((0, 0), sides, sides)), (np.int32(0), draws[0], draws[1]), image.shape)


@dataclass(frozen=True)
class Cutout(ImageAugmentation):
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

    pixels: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_pixels(self)

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
class Noise:
    r"""Add normal noise to every input, $x + \sigma \epsilon$ with $\epsilon \sim \mathcal N(0, 1)$.

    Args:
        scale: $\sigma$, the standard deviation, in units of normalized inputs.

    Raises:
        ValueError: a scale that is negative or not finite.

    >>> x, y = Noise(0.1)(jax.random.key(0), jnp.zeros((100, 100)), jnp.arange(100))
    >>> print(f"{x.std():.2f}")
    0.10
    """

    scale: float | int

    def __post_init__(self) -> None:
        check_number("noise: scale", self.scale, low=0, high=_MOST)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "batch features"], y: Targets) -> tuple[Batch, Targets]:
        """Add noise to every input."""
        # The middles of 65,536 equally probable intervals: symmetric, and never infinite.
        uniform = (bits16(key, x.shape).astype(jnp.float32) + 0.5) * 2**-15 - 1
        return x + (self.scale * math.sqrt(2) * lax.erf_inv(uniform)).astype(x.dtype), y


@dataclass(frozen=True)
class Mixup:
    r"""Mix every example with another of the batch (Zhang, Cisse, Dauphin and Lopez-Paz, 2017).

    $$x_i \leftarrow \lambda x_i + (1 - \lambda) x_{\pi(i)}, \qquad
      y_i \leftarrow \lambda y_i + (1 - \lambda) y_{\pi(i)}$$

    with a random permutation $\pi$ of the batch and $\lambda \sim \mathrm{Beta}(\alpha, \alpha)$: one $\lambda$
    for a batch, as in the paper's code.

    Args:
        alpha: $\alpha$; near 0 hardly anything is mixed, at 1 every share is as probable.

    Raises:
        ValueError: an `alpha` that is not positive and finite.
        TypeError: (when called) targets that are not floats.

    >>> x, y = Mixup(1.0)(jax.random.key(0), jnp.array([[0.0], [1.0]]), jnp.eye(2))
    >>> print(y.sum(axis=1))
    [1. 1.]
    """

    alpha: float | int
    mixes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("mixup: alpha", self.alpha, low=0, high=_MOST, exclude="low")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "batch features"], y: Targets) -> tuple[Batch, Targets]:
        """Mix the batch with a permutation of itself."""
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise TypeError(f"mixup: y has type {y.dtype}; it mixes floats: one-hot rows, or numbers")
        share_key, order_key = jax.random.split(key)
        share = jax.random.beta(share_key, self.alpha, self.alpha, dtype=jnp.float32)
        order = jax.random.permutation(order_key, len(x))

        def mixed(a: Array) -> Array:
            wide = wide_type(a)
            mine, theirs = share.astype(wide), (1 - share).astype(wide)

            def mix(row: Array, other: Array) -> Array:
                return (mine * row.astype(wide) + theirs * a[other].astype(wide)).astype(a.dtype)

            return _each_row(mix, a, order)

        return mixed(x), mixed(y)


BUILT_IN = (Mirror, Shift, Cutout, Noise, Mixup)


def augment(
    augmentations: tuple[Augmentation, ...],
    key: Key[Array, ""],
    x: Batch,
    y: Targets,
    *,
    normalize: Callable[[Batch], Float[Array, "batch features"]],
    soften: Callable[[Targets], Float[Array, "batch outputs"]],
) -> tuple[Float[Array, "batch features"], Targets]:
    """Normalize a batch with all augmentations applied: those of stored inputs before, the others after it.

    Args:
        augmentations: what to apply; each draws from a key of its own, by its place in the tuple.
        key: the step's key.
        x: inputs as stored.
        y: targets as stored.
        normalize: the map from stored to network inputs.
        soften: the map from targets as stored to floats, applied where an augmentation mixes them.

    Raises:
        ValueError: an augmentation changed a shape; raised when the step is traced.

    >>> x, y = jnp.array([[0, 255], [255, 0]], jnp.uint8), jnp.array([0, 1])
    >>> maps = {"normalize": lambda x: x / 255, "soften": lambda y: jax.nn.one_hot(y, 2)}
    >>> x, y = augment((Mirror((1, 2)), Mixup(0.2)), jax.random.key(0), x, y, **maps)
    >>> x.dtype.name, y.shape
    ('float32', (2, 2))
    """
    keyed = [(augmentation, jax.random.fold_in(key, i)) for i, augmentation in enumerate(augmentations)]
    if any(getattr(augmentation, "mixes", False) for augmentation in augmentations):
        y = soften(y)
    for augmentation, own_key in keyed:
        if getattr(augmentation, "stored", False):
            x, y = _apply(augmentation, own_key, x, y)
    x = normalize(x)
    for augmentation, own_key in keyed:
        if not getattr(augmentation, "stored", False):
            x, y = _apply(augmentation, own_key, x, y)
    return x, y


def parse(
    texts: Sequence[str], image_shape: tuple[int, ...] | None, *, name: str = "the data set"
) -> tuple[Augmentation, ...]:
    """Make augmentations of their spellings: `mirror`, `shift:PIXELS`, `cutout:PIXELS`, `noise:SCALE`, `mixup:ALPHA`.

    Args:
        texts: the spellings.
        image_shape: the shape of the data's images; None where rows are no images.
        name: the data set's name, for messages.

    Raises:
        ValueError: an unknown name, a number that is missing or out of range, or an augmentation of
            images where there are none.

    >>> parse(["mirror", "shift:4"], (3, 32, 32))
    (Mirror(image_shape=(3, 32, 32)), Shift(image_shape=(3, 32, 32), pixels=4))
    """
    return tuple(_parse_one(text, image_shape, name) for text in texts)


def _parse_one(text: str, image_shape: tuple[int, ...] | None, data: str) -> Augmentation:
    kinds = {kind.__name__.lower(): kind for kind in BUILT_IN}
    name, colon, number = text.partition(":")
    if name not in kinds:
        raise unknown_name("augmentation", name, kinds)
    kind, setting = kinds[name], _setting(kinds[name])
    settings = {setting: _number(number, whole=setting == "pixels")} if setting else {}
    if None in settings.values() or (colon and not setting):
        raise ValueError(f"augmentation {shortened(text)!r}: write {name}{f':{setting.upper()}' if setting else ''}")
    if issubclass(kind, ImageAugmentation):
        if image_shape is None:
            raise ValueError(f"--augment {text} needs images; {data} holds a table: leave it out")
        settings["image_shape"] = image_shape
    return kind(**settings)


def _number(text: str, *, whole: bool) -> float | int | None:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        return None


def spell(augmentation: Augmentation) -> str:
    """Write an augmentation as `parse` reads it; a user's own by its name.

    >>> spell(Shift((3, 32, 32), 4)), spell(Mixup(0.2))
    ('shift:4', 'mixup:0.2')
    """
    if type(augmentation) not in BUILT_IN:
        return getattr(augmentation, "__name__", type(augmentation).__name__)
    name, setting = type(augmentation).__name__.lower(), _setting(type(augmentation))
    return name if setting is None else f"{name}:{getattr(augmentation, setting)}"


def _setting(kind: type) -> str | None:
    """The name of the one number that a built-in augmentation takes, if any."""
    return next((field.name for field in fields(kind) if field.name != "image_shape"), None)


def _apply(augmentation: Augmentation, key: Key[Array, ""], x: Batch, y: Targets) -> tuple[Batch, Targets]:
    new_x, new_y = augmentation(key, x, y)
    if new_x.shape != x.shape or new_y.shape != y.shape:
        raise ValueError(
            f"augmentation {spell(augmentation)!r} made x {new_x.shape}, y {new_y.shape} "
            f"of x {x.shape}, y {y.shape}; it must keep shapes"
        )
    return new_x, new_y


def _each_row(function: Callable[..., Array], *arrays: Array) -> Array:
    """Apply a function to every row of arrays.

    On a CPU to one after another: the compiler would fuse what works on all at once with its
    neighbours, and make the draws and divide indices anew for every pixel, at several times the cost.
    """

    def one_by_one(*arrays: Array) -> Array:
        return lax.map(lambda rows: function(*rows), arrays)

    return lax.platform_dependent(*arrays, cpu=one_by_one, default=jax.vmap(function))


def _check_pixels(augmentation: Shift | Cutout) -> None:
    name, pixels = type(augmentation).__name__.lower(), augmentation.pixels
    height, width = augmentation.image_shape[-2:]
    if not isinstance(pixels, numbers.Integral):
        raise TypeError(f"{name}: pixels={pixels!r} must be a whole number")
    if not 1 <= pixels < min(height, width):
        raise ValueError(
            f"{name}: pixels={pixels} must be from 1 to {min(height, width) - 1}: images are {height} x {width}"
        )
