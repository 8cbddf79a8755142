"""The gradient check itself: it passes what is right and finds what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfc import gradcheck
from jaxfc.vjp import differentiable


def test_every_layer_passes_and_the_process_keeps_its_precision():
    rows = gradcheck.check_layers(seed=1)
    assert all(row.passed for row in rows), gradcheck.table(rows)
    names = {row.layer for row in rows}
    assert {"affine", "batchnorm", "layernorm", "dropout", "softmax_loss", "svm_loss", "relu", "gelu"} <= names
    assert not jax.config.jax_enable_x64
    assert f"{len(rows)} of {len(rows)} passed" in gradcheck.table(rows)


def cube_forward(x):
    return x**3, (x,)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("error", [0.0, 1e-8, 1e-3])
def test_a_wrong_entry_is_found_however_small(error):
    def cube_backward(dout, cache):
        gradient = 3 * cache[0] ** 2 * dout
        return gradient.at[1].multiply(1 + error)

    (row,) = gradcheck.check("cube", differentiable(cube_forward, cube_backward), {"x": jnp.linspace(1, 2, 5)})
    assert row.passed == (error == 0)
    assert (row.numerical > gradcheck.NUMERICAL_TOLERANCE) == (error == 1e-3)
    assert ("FAILED" in gradcheck.table([row])) == (error > 0)


@pytest.mark.usefixtures("x64")
def test_numerical_vjp_of_a_linear_map_is_its_transpose():
    w, dout = jnp.arange(6.0).reshape(2, 3), jnp.array([1.0, -2.0, 0.5])
    (dx,) = gradcheck.numerical_vjp(lambda x: x @ w, (jnp.ones(2),), dout)
    np.testing.assert_allclose(dx, w @ dout, rtol=1e-9)


def test_relative_error_is_that_of_the_worst_entry():
    assert gradcheck.relative_error(jnp.array([1.0, 1.0]), jnp.array([1.0, 3.0])) == 0.5
    assert gradcheck.relative_error(jnp.zeros(0), jnp.zeros(0)) == 0
