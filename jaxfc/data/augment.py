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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from jaxfc.data.augment_images import (
    Batch,
    Colour,
    Cutout,
    Elastic,
    ImageAugmentation,
    Mirror,
    Shift,
    Targets,
    each_row,
)
from jaxfc.errors import check_number, shortened, unknown_name
from jaxfc.layers.common import wide_type
from jaxfc.layers.threefry import bits16

_MOST = 1e6  # of a number beyond which nothing is left of the inputs, or float32 has no draws

Augmentation = Callable[[Key[Array, ""], Batch, Targets], tuple[Batch, Targets]]


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

            return each_row(mix, a, order)

        return mixed(x), mixed(y)


BUILT_IN = (Mirror, Shift, Cutout, Colour, Elastic, Noise, Mixup)


def augment(
    augmentations: tuple[Augmentation, ...],
    key: Key[Array, ""],
    x: Batch,
    y: Targets,
    *,
    normalize: Callable[[Batch], Float[Array, "batch inputs"]],
    soften: Callable[[Targets], Float[Array, "batch outputs"]],
) -> tuple[Float[Array, "batch inputs"], Targets]:
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
    """Make augmentations of their spellings: `mirror`, `shift:PIXELS`, `colour:STRENGTH`, `noise:SCALE` and so on.

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
