"""Augmentations against loops in NumPy that use the same draws, their distributions, and their spellings."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxfc.data import augment as augmentations
from jaxfc.data.augment import Mixup, Noise, augment, parse, spell
from jaxfc.data.augment_images import Colour, Cutout, Elastic, ImageAugmentation, Mirror, Shift
from jaxfc.layers.threefry import bits16

SHAPES = [(5, 4), (3, 7, 6)]
KEY = jax.random.key(3)


def images(image_shape, rows=40, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(1, 255, size=(rows, math.prod(image_shape))).astype(dtype)


def draws(key, rows, limits):
    bits = np.asarray(bits16(key, (rows, len(limits))), np.int64)
    return bits * np.array(limits) // 65536


def applied(augmentation, x, key=KEY):
    out, y = augmentation(key, jnp.asarray(x), jnp.arange(len(x)))
    np.testing.assert_array_equal(y, np.arange(len(x)))
    assert out.dtype == x.dtype
    return np.asarray(out)


def mirrored(image, draw):
    return np.flip(image, axis=-1) if draw[0] else image


def shifted(image, draw, pixels=2):
    out = np.zeros_like(image)
    height, width = image.shape[-2:]
    down, right = draw - pixels
    for i in range(height):
        for j in range(width):
            if 0 <= i + down < height and 0 <= j + right < width:
                out[..., i, j] = image[..., i + down, j + right]
    return out


def blanked(image, draw, pixels=3):
    out = image.copy()
    top, left = draw - pixels // 2
    out[..., max(top, 0) : max(top + pixels, 0), max(left, 0) : max(left + pixels, 0)] = 0
    return out


def stored(image, dtype):
    return image.astype(dtype) if dtype.kind == "f" else np.clip(np.rint(image), 0, 255).astype(dtype)


def coloured(image, draw, strength=0.4):
    brightness, contrast, saturation = 1 + strength * ((draw + 0.5) / 2**15 - 1)
    channels = image.reshape(-1, *image.shape[-2:]).astype(float)
    grey = channels.mean(axis=0)
    out = grey + saturation * (channels - grey)
    out = brightness * ((1 - contrast) * grey.mean() + contrast * out)
    return stored(out.reshape(image.shape), image.dtype)


def bent(image, draw, pixels=2):
    """Each pixel of where it comes from: knots moved, what lies between them by interpolation along both axes."""
    height, width = image.shape[-2:]
    moved = pixels * ((draw + 0.5) / 2**15 - 1).reshape(2, 4, 4)
    channels = image.reshape(-1, height, width).astype(float)
    out = np.zeros_like(channels)
    for i in range(height):
        for j in range(width):
            across = [[np.interp(3 * j / (width - 1), range(4), row) for row in axis] for axis in moved]
            down, right = (np.interp(3 * i / (height - 1), range(4), values) for values in across)
            y, x = np.clip(i + down, 0, height - 1), np.clip(j + right, 0, width - 1)
            lines = [[np.interp(x, range(width), line) for line in channel] for channel in channels]
            out[:, i, j] = [np.interp(y, range(height), line) for line in lines]
    return stored(out.reshape(image.shape), image.dtype)


OF_IMAGES = {
    "mirror": (Mirror, lambda height, width: (2,), mirrored),
    "shift": (functools.partial(Shift, pixels=2), lambda height, width: (5, 5), shifted),
    "cutout": (functools.partial(Cutout, pixels=3), lambda height, width: (height, width), blanked),
    "colour": (functools.partial(Colour, strength=0.4), lambda height, width: (2**16,) * 3, coloured),
    "elastic": (functools.partial(Elastic, pixels=2), lambda height, width: (2**16,) * 32, bent),
}
each_of_images = pytest.mark.parametrize("name", OF_IMAGES)


@each_of_images
@pytest.mark.parametrize("image_shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_against_a_loop(name, image_shape, dtype):
    make, limits, change = OF_IMAGES[name]
    x = images(image_shape, dtype=dtype)
    own = draws(KEY, len(x), limits(*image_shape[-2:]))
    expected = [change(image.reshape(image_shape), draw).ravel() for image, draw in zip(x, own, strict=True)]
    rounding = 0 if name not in ("colour", "elastic") else 1 if dtype == np.uint8 else 1e-3
    np.testing.assert_allclose(applied(make(image_shape), x).astype(float), np.asarray(expected, float), atol=rounding)


@each_of_images
def test_one_row_after_another_and_all_at_once_are_the_same(name, monkeypatch):
    augmentation, x = OF_IMAGES[name][0]((3, 7, 6)), images((3, 7, 6))
    one_by_one = applied(augmentation, x)
    monkeypatch.setattr(lax, "platform_dependent", lambda *args, default, **platforms: default(*args))
    np.testing.assert_array_equal(applied(augmentation, x), one_by_one)


@pytest.mark.parametrize("augmentation", [*(make((5, 4)) for make, _, _ in OF_IMAGES.values()), Noise(0.5)], ids=spell)
def test_a_row_depends_on_the_key_and_its_index_alone(augmentation):
    x = images((5, 4), dtype=np.float32)
    out = applied(augmentation, x)
    np.testing.assert_array_equal(applied(augmentation, x[:7]), out[:7])
    np.testing.assert_array_equal(applied(augmentation, x), out)
    assert (applied(augmentation, x, jax.random.key(4)) != out).any()
    assert len({tuple(row) for row in applied(augmentation, np.repeat(x[:1], 40, axis=0))}) > 1


@pytest.mark.parametrize(
    "augmentation", [*(make((5, 4)) for make, _, _ in OF_IMAGES.values()), Noise(0.5), Mixup(0.3)], ids=spell
)
def test_mapped_over_keys_and_compiled(augmentation):
    x, y = jnp.asarray(images((5, 4), dtype=np.float32)), jnp.eye(40)
    keys = jax.random.split(KEY, 3)
    mapped = jax.jit(jax.vmap(augmentation, in_axes=(0, None, None)))(keys, x, y)
    one_by_one = [augmentation(key, x, y) for key in keys]
    chex.assert_trees_all_close(mapped, jax.tree.map(lambda *each: jnp.stack(each), *one_by_one), rtol=1e-5, atol=1e-6)


def test_half_of_the_images_are_mirrored():
    x = np.tile(np.uint8([[1, 2]]), (4000, 1))
    assert abs((applied(Mirror((1, 2)), x)[:, 0] == 2).mean() - 0.5) < 0.03


def test_every_shift_is_as_probable():
    x = np.zeros((9000, 9), np.uint8)
    x[:, 4] = 1  # the middle of 3 x 3: it stays in sight
    places = applied(Shift((3, 3), 1), x).argmax(axis=1)
    assert (abs(np.bincount(places, minlength=9) - 1000) < 120).all()


def test_every_pixel_is_the_centre_of_as_many_squares():
    blank = applied(Cutout((3, 4), 1), np.ones((12000, 12), np.uint8)) == 0
    assert (blank.sum(axis=1) == 1).all()
    assert (abs(blank.sum(axis=0) - 1000) < 120).all()


def test_noise_is_normal():
    noise = np.sort(applied(Noise(2), np.zeros((500, 400), np.float32)).ravel()) / 2
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.005
    # Its quantiles, against the normal distribution's.
    ranks = np.linspace(0.001, 0.999, 50)
    np.testing.assert_allclose(
        np.quantile(noise, ranks), jax.scipy.special.ndtri(jnp.asarray(ranks, jnp.float32)), atol=0.05
    )


def test_noise_keeps_the_type(x64):
    for dtype in (jnp.bfloat16, jnp.float32, jnp.float64):
        assert Noise(0.1)(KEY, jnp.zeros((2, 3), dtype), jnp.arange(2))[0].dtype == dtype


def test_mixup_mixes_inputs_and_targets_alike():
    # Examples that tell their own index, so that partners and shares can be read off the result.
    x, y = Mixup(0.7)(KEY, jnp.eye(30), jnp.eye(30))
    np.testing.assert_array_equal(x, y)
    np.testing.assert_allclose(x.sum(axis=0), 1, rtol=1e-6)  # everyone is a partner once
    np.testing.assert_allclose(x.sum(axis=1), 1, rtol=1e-6)
    own = np.diagonal(x)[np.diagonal(x) < 1 - 1e-6]
    np.testing.assert_allclose(own, own[0], rtol=1e-6)  # one share for the batch


@pytest.mark.parametrize("alpha", [0.2, 1, 5])
def test_shares_are_drawn_from_a_beta_distribution(alpha):
    x = jnp.array([[0.0], [1.0]])
    mix = jax.jit(jax.vmap(lambda key: Mixup(alpha)(key, x, x)[0]))
    share = np.asarray(mix(jax.random.split(KEY, 4000)))[:, 0, 0]
    # Half of all permutations of two exchange them; then the first becomes 1 - lambda.
    share = share[share > 0]
    assert abs(share.mean() - 0.5) < 0.03
    np.testing.assert_allclose(share.var(), 1 / (4 * (2 * alpha + 1)), rtol=0.1)


def test_mixup_wants_floats():
    with pytest.raises(TypeError, match="y has type int32; it mixes floats"):
        Mixup(0.2)(KEY, jnp.zeros((3, 2)), jnp.arange(3))


def of_stored(key, x, y):
    assert x.dtype == jnp.uint8
    return x + 1, y


of_stored.stored = True


def of_normalized(key, x, y):
    assert x.dtype == jnp.float32
    return x * 10, y


def soft(key, x, y):
    assert y.shape == (3, 3)
    return x, y / 2


soft.mixes = True


def stepped(*augmentations, key=KEY, image_shape=(2, 2)):
    x, y = jnp.asarray(images(image_shape, rows=3)), jnp.arange(3)
    maps = {"normalize": lambda x: x.astype(jnp.float32) / 2, "soften": lambda y: jax.nn.one_hot(y, 3)}
    return (x, y), jax.jit(functools.partial(augment, **maps), static_argnums=0)(augmentations, key, x, y)


def test_stored_inputs_first_then_normalization_then_the_others():
    (x, y), (new_x, new_y) = stepped(of_normalized, of_stored)
    np.testing.assert_array_equal(new_x, (np.asarray(x) + 1) / 2 * 10)
    np.testing.assert_array_equal(new_y, y)


def test_targets_are_softened_where_one_mixes():
    _, (_, y) = stepped(of_stored, soft)
    np.testing.assert_array_equal(y, np.eye(3) / 2)


def test_no_augmentation_at_all():
    (x, y), (new_x, new_y) = stepped()
    np.testing.assert_array_equal(new_x, np.asarray(x) / 2)
    np.testing.assert_array_equal(new_y, y)


def test_equal_augmentations_draw_differently():
    noise = Noise(1.0)
    _, (once, _) = stepped(noise)
    (x, _), (twice, _) = stepped(noise, noise)
    assert not np.allclose(twice - np.asarray(x) / 2, 2 * (once - np.asarray(x) / 2))


@pytest.mark.parametrize("wrong", [lambda key, x, y: (x[:, 1:], y), lambda key, x, y: (x, jnp.stack([y, y], axis=1))])
def test_an_augmentation_that_changes_a_shape(wrong):
    wrong.__name__ = "halves"
    with pytest.raises(ValueError, match=r"augmentation 'halves' made x .* of x \(3, 4\), y \(3,\); it must keep"):
        stepped(wrong)


def test_rows_that_are_no_images():
    with pytest.raises(ValueError, match=r"mirror: x \(3, 4\) holds no images of shape \(3, 2, 2\)"):
        stepped(Mirror((3, 2, 2)))


def test_a_class_of_ones_own():
    class Darker(ImageAugmentation):
        limits = (4,)

        def change(self, image, draws):
            return image // (1 + draws[0]).astype(image.dtype)

    x = images((5, 4))
    np.testing.assert_array_equal(applied(Darker((5, 4)), x), x // (1 + draws(KEY, len(x), (4,))))
    assert spell(Darker((5, 4))) == "Darker"


def test_values_are_equal_where_their_settings_are():
    assert Shift((5, 4), 2) == Shift((5, 4), 2)
    assert hash(Shift((5, 4), 2)) == hash(Shift((5, 4), 2))
    assert Shift((5, 4), 2) != Cutout((5, 4), 2)


TEXTS = ("mirror", "shift:4", "cutout:8", "colour:0.2", "elastic:2", "mixup:0.2", "noise:0.1")


def test_spellings():
    made = parse(TEXTS, (3, 32, 32))
    shape = (3, 32, 32)
    of_images = (Mirror(shape), Shift(shape, 4), Cutout(shape, 8), Colour(shape, 0.2), Elastic(shape, 2))
    assert made == (*of_images, Mixup(0.2), Noise(0.1))
    assert {type(each) for each in made} == set(augmentations.BUILT_IN)
    assert tuple(map(spell, made)) == TEXTS
    assert spell(of_stored) == "of_stored"
    assert parse((), None) == ()
    assert parse(("noise:1e-3",), None) == (Noise(0.001),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("miror", "unknown augmentation 'miror': did you mean 'mirror'"),
        ("shift", "augmentation 'shift': write shift:PIXELS"),
        ("shift:", "write shift:PIXELS"),
        ("shift:2.5", "write shift:PIXELS"),
        ("mixup:much", "write mixup:ALPHA"),
        ("noise:1:2", "write noise:SCALE"),
        ("mirror:3", "augmentation 'mirror:3': write mirror$"),
        ("mirror:", "augmentation 'mirror:': write mirror$"),
        ("shift:6", "shift: pixels=6 must be from 1 to 5: images are 7 x 6"),
        ("shift:0", "pixels=0 must be from 1"),
        ("cutout:6", "cutout: pixels=6 must be from 1 to 5"),
        ("elastic:6", "elastic: pixels=6 must be from 1 to 5"),
        ("colour:2", r"colour: strength=2.0 must be a finite number in \[0, 1\]"),
        ("mixup:0", r"mixup: alpha=0.0 must be a finite number in \(0, 1e\+06\]"),
        ("noise:-1", "noise: scale=-1.0 must be"),
        ("noise:nan", "noise: scale=nan must be"),
    ],
)
def test_spellings_that_are_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        parse((text,), (3, 7, 6))


def test_augmentations_of_images_where_there_are_none():
    with pytest.raises(ValueError, match=r"--augment mirror needs images; iris\.csv holds a table: leave it out"):
        parse(("mirror",), None, name="iris.csv")


def test_a_shape_that_is_no_images():
    with pytest.raises(ValueError, match=r"image_shape=\(64,\) must be \(height, width\) or"):
        Mirror((64,))
