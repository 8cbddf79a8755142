"""Layers against their naive twins, in float64, every entry, over drawn shapes."""

import re

import chex
import embedding_layers
import jax
import jax.numpy as jnp
import naive
import numpy as np
import pytest

from jaxfc import layers

SEEDS = range(2)
RTOL = 1e-10


def cases(seed):
    """Each layer as `name: (function, naive twin, differentiated arguments)`, shapes and values drawn."""
    rng = np.random.default_rng(seed)
    n, d, k, c = (int(v) for v in rng.integers([2, 1, 1, 2], [9, 8, 8, 7]))

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape))

    y = jnp.asarray(rng.integers(c, size=n))
    weights = jnp.asarray(rng.uniform(size=n))
    mean, var = draw(d), jnp.asarray(rng.uniform(0.5, 2, size=d))
    x, gamma, beta, scores = draw(n, d), draw(d), draw(d), draw(n, c)
    eps, smoothing, slope = (float(v) for v in rng.uniform(1e-3, 0.3, size=3))
    keep, kept_rows = rng.random((n, d)) < 0.6, rng.random(n) < 0.6
    counted = np.roll(np.arange(d) < (d + 1) / 2, n)  # drawn from no generator: all else stays as it was drawn
    soft, several = jnp.asarray(rng.dirichlet(np.ones(c), size=n)), jnp.asarray(rng.integers(2, size=(n, c)))
    quantiles, targets = tuple(rng.uniform(0.1, 0.9, size=k)), draw(n, d)
    result = {
        "affine": (layers.affine, naive.affine, (x, draw(d, k), draw(k))),
        "batchnorm": (
            lambda *a: layers.batchnorm(*a, mean, var, 0.9, eps)[0],
            lambda *a: naive.batchnorm(*a, eps),
            (x, gamma, beta),
        ),
        "batchnorm_test": (
            lambda *a: layers.batchnorm_test(*a, mean, var, eps),
            lambda *a: naive.batchnorm_test(*a, mean, var, eps),
            (x, gamma, beta),
        ),
        "layernorm": (lambda *a: layers.layernorm(*a, eps), lambda *a: naive.layernorm(*a, eps), (x, gamma, beta)),
        "layernorm, padded": (
            lambda *a: layers.layernorm(*a, eps, jnp.asarray(counted)),
            lambda *a: naive.layernorm(*a, eps, counted),
            (x, gamma, beta),
        ),
        "rmsnorm": (lambda *a: layers.rmsnorm(*a, eps), lambda *a: naive.rmsnorm(*a, eps), (x, gamma)),
        "rmsnorm, padded": (
            lambda *a: layers.rmsnorm(*a, eps, jnp.asarray(counted)),
            lambda *a: naive.rmsnorm(*a, eps, counted),
            (x, gamma),
        ),
        "dropout": (lambda x: layers.dropout(x, 0.6, jnp.asarray(keep)), lambda x: jnp.where(keep, x, 0) / 0.6, (x,)),
        "stochastic_depth": (
            lambda x: layers.stochastic_depth(x, 0.6, jnp.asarray(kept_rows)),
            lambda x: jnp.where(kept_rows[:, None], x, 0) / 0.6,
            (x,),
        ),
        "softmax_loss": (
            lambda s: layers.softmax_loss(s, y, weights, smoothing),
            lambda s: naive.softmax_loss(s, y, weights, smoothing),
            (scores,),
        ),
        "softmax_loss, soft": (
            lambda s: layers.softmax_loss(s, soft, weights, smoothing),
            lambda s: naive.softmax_loss(s, soft, weights, smoothing),
            (scores,),
        ),
        "softmax_loss, plain": (lambda s: layers.softmax_loss(s, y), lambda s: naive.softmax_loss(s, y), (scores,)),
        "svm_loss": (lambda s: layers.svm_loss(s, y, weights), lambda s: naive.svm_loss(s, y, weights), (scores,)),
        "sigmoid_loss": (
            lambda s: layers.sigmoid_loss(s, several, weights),
            lambda s: naive.sigmoid_loss(s, several, weights),
            (scores,),
        ),
        "sigmoid_loss, soft": (
            lambda s: layers.sigmoid_loss(s, soft),
            lambda s: naive.sigmoid_loss(s, soft),
            (scores,),
        ),
        "squared_loss": (
            lambda o: layers.squared_loss(o, targets, weights),
            lambda o: naive.squared_loss(o, targets, weights),
            (x,),
        ),
        "huber_loss": (
            lambda o: layers.huber_loss(o, targets, weights, 0.8),
            lambda o: naive.huber_loss(o, targets, weights, 0.8),
            (x,),
        ),
        "quantile_loss": (
            lambda o: layers.quantile_loss(o, targets, weights, quantiles),
            lambda o: naive.quantile_loss(o, targets, weights, quantiles),
            (draw(n, d * k),),
        ),
        "l2_penalty": (lambda w: layers.l2_penalty(w, eps), lambda w: naive.l2_penalty(w, eps), (x,)),
        "leaky_relu": (lambda x: layers.leaky_relu(x, slope), lambda x: naive.leaky_relu(x, slope), (x,)),
    }
    for name in ("relu", "tanh", "sigmoid", "silu", "gelu"):
        result[name] = (getattr(layers, name), getattr(naive, name), (x,))
    return result | embedding_layers.cases(seed)


with jax.enable_x64(True):
    NAMES = list(cases(0))


def vjp(f, args, dout):
    out, pull = jax.vjp(f, *args)
    return out, pull(dout)


@pytest.mark.usefixtures("x64")
class LayersTest(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_value_and_vjp_equal_the_naive_twins(self):
        for seed in SEEDS:
            for name, (f, twin, args) in cases(seed).items():
                with self.subTest(name, seed=seed):
                    dout = jnp.asarray(np.random.default_rng(seed).normal(size=jax.eval_shape(twin, *args).shape))
                    got = self.variant(lambda args, dout, f=f: vjp(f, args, dout))(args, dout)
                    expected = jax.jit(lambda args, dout, twin=twin: vjp(twin, args, dout))(args, dout)
                    chex.assert_trees_all_close(got, expected, rtol=RTOL, atol=1e-13)

    @chex.variants(with_jit=True, without_jit=True)
    def test_numerical_gradients(self):
        for name, (f, _, args) in cases(0).items():
            if name in ("relu", "leaky_relu", "svm_loss", "quantile_loss", "piecewise_linear"):
                continue  # kinks; `jaxfc gradcheck` checks them away from those
            with self.subTest(name):
                chex.assert_numerical_grads(self.variant(f), args, order=1, atol=1e-6, rtol=1e-6, modes=("rev",))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", NAMES)
def test_second_derivatives_equal_the_naive_twins(name):
    f, twin, args = cases(1)[name]

    def curvature(f):
        return jax.jit(jax.grad(lambda args: sum((g**2).sum() for g in jax.grad(lambda a: (f(*a) ** 2).sum())(args))))

    chex.assert_trees_all_close(curvature(f)(args), curvature(twin)(args), rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", NAMES)
def test_rematerialization_and_vmap_leave_gradients_as_they_are(name):
    f, _, args = cases(2)[name]

    def gradient(*args):
        return jax.grad(lambda args: (jax.checkpoint(f)(*args) ** 2).sum())(args)

    stacked = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), args)
    got = jax.jit(jax.vmap(gradient))(*stacked)
    plain = jax.jit(jax.grad(lambda args: (f(*args) ** 2).sum()))
    for i in range(2):
        alone = plain(jax.tree.map(lambda a, i=i: a[i], stacked))
        chex.assert_trees_all_close(jax.tree.map(lambda a, i=i: a[i], got), alone, rtol=RTOL, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", NAMES)
def test_plain_autodiff_offers_forward_mode_and_the_same_gradients(name):
    f, twin, args = cases(0)[name]
    jitted = jax.jit(f)
    tangents = jax.tree.map(jnp.ones_like, args)
    jitted(*args)  # compiled with hand VJPs: the switch has to reach through the cache
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(jitted, args, tangents)
    with layers.plain_autodiff():
        chex.assert_trees_all_close(
            jax.jvp(jitted, args, tangents), jax.jvp(jax.jit(twin), args, tangents), rtol=RTOL, atol=1e-12
        )
        plain = jax.grad(lambda args: (jitted(*args) ** 2).sum())(args)
    hand = jax.jit(jax.grad(lambda args: (f(*args) ** 2).sum()))(args)
    chex.assert_trees_all_close(plain, hand, rtol=RTOL, atol=1e-12)


def test_vmap_over_keep_ratio_eps_and_the_other_constants():
    x = jax.random.normal(jax.random.key(0), (64, 32))
    one, zero = jnp.ones(32), jnp.zeros(32)
    key, y = jax.random.key(1), jnp.arange(64) % 32
    functions = {
        "keep ratio": (lambda p: layers.dropout(x, p, key), [0.2, 0.5, 1.0]),
        "eps": (lambda e: layers.batchnorm(x, one, zero, zero, one, 0.9, e)[0], [1e-5, 0.1, 1.0]),
        "momentum": (lambda m: layers.batchnorm(x, one, zero, zero, one, m)[1], [0.0, 0.9, 1.0]),
        "layernorm eps": (lambda e: layers.layernorm(x, one, zero, e), [1e-5, 0.1, 1.0]),
        "smoothing": (lambda s: layers.softmax_loss(x, y, label_smoothing=s), [0.0, 0.1, 0.9]),
        "rows kept": (lambda p: layers.stochastic_depth(x, p, key), [0.2, 0.5, 1.0]),
        "rmsnorm eps": (lambda e: layers.rmsnorm(x, one, e), [1e-5, 0.1, 1.0]),
        "delta": (lambda d: layers.huber_loss(x, 0 * x, delta=d), [0.1, 1.0, 2.0]),
        "quantiles": (lambda q: layers.quantile_loss(x, x[:, :16] + 1, None, jnp.stack([q, 1 - q])), [0.1, 0.4, 0.9]),
        "slope": (lambda s: layers.leaky_relu(x, s), [0.0, 0.1, 0.9]),
        "reg": (lambda r: layers.l2_penalty(x, r), [0.0, 0.1, 0.9]),
    }
    for f, values in functions.values():
        f = jax.jit(f)
        together = jax.vmap(f)(jnp.array(values))
        for i, value in enumerate(values):
            chex.assert_trees_all_close(jax.tree.map(lambda a, i=i: a[i], together), f(value), rtol=1e-6, atol=1e-6)


def test_constants_have_no_gradient():
    x, one, zero = jnp.ones((4, 3)), jnp.ones(3), jnp.zeros(3)

    def f(eps, mean, momentum):
        out, running = layers.batchnorm(x * jnp.arange(3.0)[None, :], one, zero, mean, one, momentum, eps)
        return out.sum() + sum(r.sum() for r in running)

    for switch in (False, True):
        with layers.plain_autodiff() if switch else jax.enable_x64(False):
            chex.assert_trees_all_equal(jax.grad(f, (0, 1, 2))(0.1, zero, 0.9), (0.0, zero, 0.0))


class TestBatchnorm:
    def test_running_statistics_follow_the_batches(self):
        rng = np.random.default_rng(0)
        mean, var = np.zeros(3), np.ones(3)
        running = (jnp.zeros(3), jnp.ones(3))
        for _ in range(5):
            x = rng.normal(2, 3, size=(10, 3)).astype(np.float32)
            mean, var = 0.9 * mean + 0.1 * x.mean(0), 0.9 * var + 0.1 * x.var(0)
            _, running = layers.batchnorm(jnp.asarray(x), jnp.ones(3), jnp.zeros(3), *running)
        chex.assert_trees_all_close(running, (mean.astype(np.float32), var.astype(np.float32)), rtol=1e-5)

    def test_features_without_variance_give_beta_and_finite_gradients(self):
        x = jnp.full((4, 2), 7.0)

        def f(x):
            return layers.batchnorm(x, jnp.ones(2), jnp.full(2, 0.5), jnp.zeros(2), jnp.ones(2))[0]

        np.testing.assert_array_equal(f(x), 0.5)
        np.testing.assert_allclose(
            jax.grad(lambda x: (f(x) * jnp.arange(8.0).reshape(4, 2)).sum())(x).sum(0), 0, atol=1e-3
        )

    def test_large_means_do_not_spoil_the_variance(self):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 1)).astype(np.float32) + 1e4)
        out, _ = layers.batchnorm(x, jnp.ones(1), jnp.zeros(1), jnp.zeros(1), jnp.ones(1))
        np.testing.assert_allclose(out.std(), 1, rtol=1e-2)

    @pytest.mark.parametrize("shape", [(0, 3), (3,), (2, 3, 3)])
    def test_wrong_shapes_are_named(self, shape):
        with pytest.raises(ValueError, match="normalization: x has shape"):
            layers.batchnorm(jnp.zeros(shape), *[jnp.ones(3)] * 4)


class TestDropout:
    key = jax.random.key(3)

    @pytest.mark.parametrize("keep_ratio", [0.1, 0.47, 0.9, 1.0])
    def test_keeps_the_ratio_and_the_expectation(self, keep_ratio):
        out = layers.dropout(jnp.ones((1000, 501)), keep_ratio, self.key)
        kept = np.asarray(out != 0)
        assert abs(kept.mean() - keep_ratio) < 4 * (keep_ratio * (1 - keep_ratio) / kept.size) ** 0.5 + 1 / 65536
        np.testing.assert_allclose(out[out != 0], 1 / keep_ratio, rtol=1e-4)
        if keep_ratio < 1:  # neither rows nor columns, nor neighbours, are alike
            spread = (keep_ratio * (1 - keep_ratio)) ** 0.5
            assert np.abs(kept.mean(0) - keep_ratio).max() < 5 * spread / 1000**0.5
            assert np.abs(kept.mean(1) - keep_ratio).max() < 5 * spread / 501**0.5
            for other in (np.roll(kept, 1, 0), np.roll(kept, 1, 1), np.roll(kept, 126, 1)):
                assert abs(np.corrcoef(kept.ravel(), other.ravel())[0, 1]) < 0.01

    def test_gradient_uses_the_same_mask(self):
        x = jnp.ones((20, 7))
        out, pull = jax.vjp(lambda x: layers.dropout(x, 0.5, self.key), x)
        np.testing.assert_array_equal(pull(jnp.ones_like(x))[0], out)

    def test_a_row_does_not_depend_on_the_size_of_the_batch(self):
        few, many = (layers.dropout(jnp.ones((n, 9)), 0.5, self.key) for n in (3, 30))
        np.testing.assert_array_equal(few, many[:3])

    def test_keys_decide(self):
        draws = [layers.dropout(jnp.ones((8, 8)), 0.5, jax.random.key(s)) for s in (0, 0, 1)]
        np.testing.assert_array_equal(draws[0], draws[1])
        assert (draws[0] != draws[2]).any()

    def test_keys_of_another_kind_serve_too(self):
        out = layers.dropout(jnp.ones((100, 100)), 0.5, jax.random.key(0, impl="rbg"))
        assert 0.45 < (out != 0).mean() < 0.55

    @pytest.mark.parametrize("keep_ratio", [0, -0.1, 1.1, float("nan")])
    def test_keep_ratio_out_of_range(self, keep_ratio):
        with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
            layers.dropout(jnp.ones((2, 2)), keep_ratio, self.key)


class TestStochasticDepth:
    key = jax.random.key(3)

    @pytest.mark.parametrize("keep_ratio", [0.1, 0.9, 1.0])
    def test_keeps_whole_rows_at_the_ratio(self, keep_ratio):
        out = np.asarray(layers.stochastic_depth(jnp.ones((4000, 3)), keep_ratio, self.key))
        kept = out[:, 0] != 0
        np.testing.assert_array_equal(out, np.broadcast_to(out[:, :1], out.shape))
        assert abs(kept.mean() - keep_ratio) <= 4 * (keep_ratio * (1 - keep_ratio) / kept.size) ** 0.5
        np.testing.assert_allclose(out[kept], 1 / keep_ratio, rtol=1e-4)

    def test_gradient_uses_the_same_rows(self):
        x = jnp.ones((20, 7))
        out, pull = jax.vjp(lambda x: layers.stochastic_depth(x, 0.5, self.key), x)
        np.testing.assert_array_equal(pull(jnp.ones_like(x))[0], out)

    def test_a_row_does_not_depend_on_the_size_of_the_batch(self):
        few, many = (layers.stochastic_depth(jnp.ones((n, 2)), 0.5, self.key) for n in (5, 30))
        np.testing.assert_array_equal(few, many[:5])

    def test_wrong_arguments_are_named(self):
        with pytest.raises(ValueError, match=r"stochastic_depth: keep_ratio=0 must be in \(0, 1\]"):
            layers.stochastic_depth(jnp.ones((2, 2)), 0, self.key)
        with pytest.raises(ValueError, match=r"mask \(3,\)"):
            layers.stochastic_depth(jnp.ones((2, 2)), 0.5, jnp.ones(3, bool))


def test_affine_names_the_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"x \(2, 3\), w \(4, 5\), b \(5,\)"):
        layers.affine(jnp.zeros((2, 3)), jnp.zeros((4, 5)), jnp.zeros(5))


def test_relu_has_gradient_0_at_0():
    np.testing.assert_array_equal(jax.grad(lambda x: layers.relu(x).sum())(jnp.array([-1.0, 0.0, 1.0])), [0, 0, 1])


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu", "gelu"])
def test_activations_are_finite_far_out(name):
    x = jnp.array([-1e4, -100.0, 100.0, 1e4])
    value, pull = jax.vjp(getattr(layers, name), x)
    assert jnp.isfinite(value).all()
    assert jnp.isfinite(pull(jnp.ones(4))[0]).all()


def test_bfloat16_activations_keep_float32_parameters_gradients_and_sums():
    x = jnp.ones((1000, 4), jnp.bfloat16)
    w, b = jnp.ones((4, 2)), jnp.zeros(2)
    out, pull = jax.vjp(layers.affine, x, w, b)
    dx, dw, db = pull(jnp.ones_like(out))
    assert (out.dtype, dx.dtype, dw.dtype, db.dtype) == (jnp.bfloat16, jnp.bfloat16, jnp.float32, jnp.float32)
    np.testing.assert_array_equal(db, 1000)  # bfloat16 counts no further than 256
    np.testing.assert_array_equal(dw, 1000)
    out, (mean, _) = layers.batchnorm(x, jnp.ones(4), jnp.zeros(4), jnp.zeros(4), jnp.ones(4), 0.0)
    assert (out.dtype, mean.dtype) == (jnp.bfloat16, jnp.float32)


def test_affine_returns_another_type_and_computes_its_gradients_in_that_of_x():
    x = jax.random.normal(jax.random.key(0), (300, 4), jnp.bfloat16)
    w, b = jax.random.normal(jax.random.key(1), (4, 2)), jnp.zeros(2)
    out, pull = jax.vjp(lambda *args: layers.affine(*args, dtype=jnp.float32), x, w, b)
    sums = x.astype(jnp.float32) @ w.astype(jnp.bfloat16).astype(jnp.float32)
    np.testing.assert_allclose(out, sums, rtol=1e-6, atol=1e-6)
    assert (out != out.astype(jnp.bfloat16).astype(jnp.float32)).any()
    dx, dw, db = pull(jnp.full_like(out, 1 + 2**-12))
    assert (dx.dtype, dw.dtype, db.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    np.testing.assert_array_equal(db, 300 * (1 + 2**-12))  # as it came
    np.testing.assert_allclose(dw[:, 0], x.astype(jnp.float32).sum(0), rtol=1e-5, atol=1e-5)  # rounded to 1
    products = [line for line in jax.jit(pull).lower(out).as_text().splitlines() if "dot_general" in line]
    assert len(products) >= 2
    for line in products:
        assert re.search(r": \(tensor<\w+xbf16>, tensor<\w+xbf16>\) -> tensor<\w+xf32>", line), line


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("x64")
def test_affine_of_one_type_converts_nothing(dtype):
    args = jnp.ones((4, 3), dtype), jnp.ones((3, 2), dtype), jnp.ones(2, dtype)
    program = jax.make_jaxpr(lambda *args: jax.vjp(layers.affine, *args)[1](jnp.ones((4, 2), dtype)))(*args)
    assert "convert_element_type" not in str(program)


def test_rmsnorm_of_a_row_of_zeros_is_zero_and_its_gradient_finite():
    x = jnp.zeros((2, 3))
    out, pull = jax.vjp(layers.rmsnorm, x, jnp.ones(3))
    np.testing.assert_array_equal(out, 0)
    assert all(jnp.isfinite(gradient).all() for gradient in pull(jnp.ones((2, 3))))
    with pytest.raises(ValueError, match=r"gamma \(2,\)"):
        layers.rmsnorm(x, jnp.ones(2))


def test_where_no_feature_counts_a_normalization_is_zero_and_its_gradient_finite():
    x, one, none = jnp.arange(6.0).reshape(2, 3), jnp.ones(3), jnp.zeros(3, bool)
    for f in (lambda x: layers.layernorm(x, one, one, 1e-5, none), lambda x: layers.rmsnorm(x, one, 1e-5, none)):
        out, pull = jax.vjp(f, x)
        chex.assert_trees_all_close((out, *pull(out + 1)), (0 * x, 0 * x), rtol=0)
    with pytest.raises(ValueError, match=r"counted \(2,\)"):
        layers.layernorm(x, one, one, 1e-5, jnp.ones(2, bool))


def test_layers_carry_their_names_and_documentation():
    assert layers.affine.__name__ == "affine"
    assert "y = x w + b" in layers.affine.__doc__
    assert "affine_backward" in layers.affine.__doc__
