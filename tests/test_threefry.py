"""The generator against the known answers that its authors publish (Random123, kat_vectors)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfc.layers.threefry import _below_by_quarters, bits16, bits16_below, threefry2x32


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers(key, counter, expected):
    out = threefry2x32(tuple(map(jnp.uint32, key)), tuple(map(jnp.uint32, counter)))
    assert tuple(int(word) for word in out) == expected


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (5, 7), (2, 1023)])
def test_shapes_that_do_not_divide_by_4(shape):
    bits = bits16(jax.random.key(0), shape)
    assert bits.shape == shape
    assert bits.dtype == jnp.uint16


def test_bits_are_uniform():
    bits = np.asarray(bits16(jax.random.key(5), (512, 1024)))
    counts = np.bincount(bits.ravel() >> 8, minlength=256)
    chi2 = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert 150 < chi2 < 370  # 255 degrees of freedom: mean 255, standard deviation 23
    assert abs(np.unpackbits(bits.view(np.uint8)).mean() - 0.5) < 0.001


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (5, 7), (64, 1023)])
@pytest.mark.parametrize("limit", [1, 20000, 65536])
def test_every_device_draws_the_same_mask(shape, limit):
    key, limit = jax.random.key(3), jnp.uint32(limit)
    expected = np.asarray(bits16(key, shape)) < int(limit)
    np.testing.assert_array_equal(bits16_below(key, shape, limit), expected)
    # The form for a TPU, here computed by a CPU.
    words = jax.random.bits(key, (2,), jnp.uint32)
    np.testing.assert_array_equal(_below_by_quarters(shape, words[0], words[1], limit), expected)
