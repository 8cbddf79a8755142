"""Normalizers: how they are fitted, and the precision they compute in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfc import data
from jaxfc.data import Normalizer


def test_normalizers_centre_and_scale():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(9000, 3)).astype(np.uint8) // np.uint8([1, 2, 255])
    each = np.asarray(data.standardized(x, per_feature=True)(x))
    np.testing.assert_allclose(each[:, :2].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(each[:, :2].std(0), 1, rtol=1e-4)
    together = np.asarray(data.standardized(x, per_feature=False)(x))
    np.testing.assert_allclose(np.sqrt((together**2).mean()), 1, rtol=1e-4)
    np.testing.assert_allclose(data.centred(x)(x), x - x.mean(0), atol=1e-3)


def test_a_feature_that_never_varies_becomes_zero():
    x = np.full((5, 2), 3, np.uint8)
    for per_feature in (True, False):
        np.testing.assert_array_equal(data.standardized(x, per_feature=per_feature)(x), 0)


def test_normalizers_compute_in_the_type_asked_for():
    out = jax.jit(lambda n, x: n(x, "bfloat16"))(Normalizer(np.zeros(2, np.float32), np.float32(1)), np.ones((1, 2)))
    assert out.dtype == "bfloat16"


YEARS = np.arange(2012, 2020, dtype=np.float32)[:, None]
SECONDS = 1.7e9 + np.arange(100.0)[:, None]


@pytest.mark.parametrize("fit", [data.centred, lambda x: data.standardized(x, per_feature=True)])
def test_bfloat16_is_rounded_to_after_the_mean_is_subtracted(fit):
    normalizer = fit(YEARS)
    exact = (YEARS - YEARS.mean()) * np.asarray(normalizer.scale)
    out = normalizer(YEARS, "bfloat16")
    assert out.dtype == "bfloat16"
    np.testing.assert_allclose(np.asarray(out, np.float32), exact, rtol=2**-8)
    assert len(np.unique(np.asarray(out, np.float32))) == len(YEARS)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_float32_program_is_a_subtraction_and_a_product(dtype):
    normalizer = Normalizer(np.zeros(2, np.float32), np.float32(1))
    program = jax.make_jaxpr(lambda n, x: n(x, "float32"))(normalizer, np.ones((3, 2), dtype))
    computed = [equation.primitive.name for equation in program.eqns if "broadcast" not in equation.primitive.name]
    assert computed == [*(["convert_element_type"] if dtype == np.uint8 else []), "sub", "mul"]


def test_seconds_keep_a_mean_in_float64(x64):
    for x in (SECONDS, SECONDS.astype(np.int64)):
        normalizer = data.standardized(x, per_feature=True)
        assert normalizer.mean.dtype == np.float64
        for dtype in ("float32", "float64"):
            z = np.asarray(normalizer(jnp.asarray(SECONDS), dtype))
            np.testing.assert_allclose(z, (SECONDS - SECONDS.mean()) / SECONDS.std(), rtol=1e-6)


def test_float64_rows_that_float32_holds_have_a_mean_in_float32():
    x = np.random.default_rng(0).normal(3, 2, size=(200, 3)) * [1, 1e-3, 0] + [0, 0, 0.1]
    for fit in (data.centred, lambda x: data.standardized(x, per_feature=True)):
        wide, narrow = fit(x), fit(x.astype(np.float32))
        assert (wide.mean.dtype, np.asarray(wide.scale).dtype) == (np.float32, np.float32)
        np.testing.assert_allclose(wide.mean, narrow.mean, rtol=1e-6)
        np.testing.assert_allclose(wide.scale, narrow.scale, rtol=1e-6)
