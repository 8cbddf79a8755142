"""The network as a whole, against a naive twin, and its description as a pytree."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import naive
import numpy as np
import pytest

from jaxfc import network
from jaxfc.network import FCNet


def drawn(seed, **kwargs):
    """A network of drawn widths with drawn parameters, and a batch for it, in float64."""
    rng = np.random.default_rng(seed)
    hidden = tuple(int(h) for h in rng.integers(2, 7, size=rng.integers(0, 4)))
    net = FCNet(int(rng.integers(1, 7)), hidden, int(rng.integers(2, 6)), param_dtype="float64", **kwargs)
    params, stats = network.init(net, jax.random.key(seed))
    params = jax.tree.map(lambda p: p + 0.3 * jnp.asarray(rng.normal(size=p.shape)), params)
    n = int(rng.integers(2, 8))
    x, y = jnp.asarray(rng.normal(size=(n, net.input_dim))), jnp.asarray(rng.integers(net.num_classes, size=n))
    return net, params, stats, x, y


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
def test_loss_and_gradients_equal_the_naive_twin(normalization, activation, seed):
    net, params, stats, x, y = drawn(seed, normalization=normalization, activation=activation, reg=0.3)
    got = jax.jit(jax.value_and_grad(lambda p: network.loss(net, p, stats, x, y)[0]))(params)
    settings = {"normalization": normalization, "activation": activation, "reg": 0.3}
    expected = jax.jit(jax.value_and_grad(lambda p: naive.network_loss(p, x, y, **settings)))(params)
    chex.assert_trees_all_close(got, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("hidden", [(), (3,), (5, 4, 3)])
@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
def test_shapes_of_parameters_and_scores(hidden, normalization):
    net = FCNet(6, hidden, 4, normalization=normalization)
    params, stats = network.init(net, jax.random.key(0))
    assert [p["w"].shape for p in params] == list(zip((6, *hidden), (*hidden, 4), strict=True))
    assert [set(p) for p in params[:-1]] == [{"w", "b", "gamma", "beta"} if normalization else {"w", "b"}] * len(hidden)
    assert len(stats) == (len(hidden) if normalization == "batchnorm" else 0)
    x = jnp.ones((7, 6))
    assert network.apply(net, params, stats, x)[0].shape == (7, 4)
    probabilities = network.predict_proba(net, params, stats, x)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(network.predict(net, params, stats, x), probabilities.argmax(1))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [("he", (2 / 400) ** 0.5), ("glorot", (2 / 700) ** 0.5), ("lecun", (1 / 400) ** 0.5), (0.03, 0.03)],
)
def test_initial_scale(scale, expected):
    params, _ = network.init(FCNet(400, (300,), 10, weight_scale=scale), jax.random.key(0))
    np.testing.assert_allclose(params[0]["w"].std(), expected, rtol=0.01)
    assert abs(params[0]["w"].mean()) < expected / 50
    np.testing.assert_array_equal(params[0]["b"], 0)


def test_numbers_are_leaves_and_change_without_compiling(compilations):
    net = FCNet(4, (3,), 2, dropout_keep_ratio=0.5, reg=0.1, weight_scale=0.01)
    assert len(jax.tree.leaves(net)) == 6
    f = jax.jit(lambda net, p, s, x, y, key: network.loss(net, p, s, x, y, key)[0])
    params, stats = network.init(net, jax.random.key(0))
    arguments = (params, stats, jnp.ones((2, 4)), jnp.array([0, 1]), jax.random.key(0))
    first = f(net, *arguments)
    compilations.clear()
    changes = {"dropout_keep_ratio": 0.9, "reg": 0.5, "label_smoothing": 0.1, "norm_eps": 1e-3, "weight_scale": 3.0}
    second = f(dataclasses.replace(net, **changes), *arguments)
    assert not compilations
    assert first != second
    f(dataclasses.replace(net, activation="tanh"), *arguments)
    assert compilations


def test_a_network_is_vmapped_over_its_numbers():
    def final(scale, reg):
        net = FCNet(4, (3,), 2, weight_scale=scale, reg=reg)
        params, stats = network.init(net, jax.random.key(0))
        return network.loss(net, params, stats, jnp.ones((2, 4)), jnp.array([0, 1]))[0]

    scales, regs = jnp.array([0.1, 1.0]), jnp.array([0.0, 2.0])
    together = jax.vmap(final)(scales, regs)
    alone = [final(float(s), float(r)) for s, r in zip(scales, regs, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_networks_compare_and_hash_by_value():
    assert FCNet(4, [3], 2) == FCNet(4, (3,), 2)
    assert hash(FCNet(4, (3,), 2)) == hash(FCNet(4, (3,), 2))
    assert jax.tree.map(lambda x: x, FCNet(4, (3,), 2, reg=0.1)) == FCNet(4, (3,), 2, reg=0.1)


def test_dropout_acts_in_training_only_and_by_its_key():
    net = FCNet(8, (64,), 3, dropout_keep_ratio=0.5)
    params, stats = network.init(net, jax.random.key(0))
    x = jnp.ones((2, 8))
    scores = [network.apply(net, params, stats, x, key=jax.random.key(s), train=True)[0] for s in (0, 0, 1)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()
    plain = dataclasses.replace(net, dropout_keep_ratio=None)
    np.testing.assert_array_equal(
        network.apply(net, params, stats, x)[0], network.apply(plain, params, stats, x, train=True)[0]
    )


def test_batchnorm_statistics_change_in_training_only():
    net = FCNet(3, (4,), 2, normalization="batchnorm")
    params, stats = network.init(net, jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (16, 3))
    chex.assert_trees_all_equal(network.apply(net, params, stats, x)[1], stats)
    _, new = network.apply(net, params, stats, x, train=True)
    hidden = x @ params[0]["w"]
    np.testing.assert_allclose(new[0].mean, 0.1 * hidden.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(new[0].var, 0.9 + 0.1 * hidden.var(0), rtol=1e-4)


@pytest.mark.parametrize("param_dtype", ["float32", "bfloat16"])
def test_bfloat16_computation(param_dtype):
    net = FCNet(8, (16,), 3, normalization="batchnorm", param_dtype=param_dtype, compute_dtype="bfloat16", reg=0.01)
    params, stats = network.init(net, jax.random.key(0))
    x, y = jax.random.normal(jax.random.key(1), (32, 8)), jnp.arange(32) % 3
    (value, stats), grads = jax.value_and_grad(network.loss, 1, has_aux=True)(net, params, stats, x, y)
    assert value.dtype == jnp.float32
    assert stats[0].var.dtype == jnp.float32
    assert {g.dtype.name for g in jax.tree.leaves(grads)} == {param_dtype}
    wide = dataclasses.replace(net, param_dtype="float32", compute_dtype=None)
    exact, _ = network.loss(wide, jax.tree.map(lambda p: p.astype(jnp.float32), params), stats, x, y)
    np.testing.assert_allclose(value, exact, rtol=0.02)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"normalization": "batchnrom"}, "did you mean 'batchnorm'"),
        ({"activation": "rleu"}, "did you mean 'relu'"),
        ({"weight_scale": "hee"}, "did you mean 'he'"),
        ({"param_dtype": "float16"}, "did you mean 'bfloat16'"),
        ({"weight_scale": -1.0}, "weight_scale=-1.0"),
        ({"reg": -0.1}, "reg=-0.1"),
        ({"reg": float("nan")}, "reg=nan"),
        ({"dropout_keep_ratio": 0.0}, "dropout_keep_ratio=0.0 must be a finite number in \\(0, 1\\]"),
        ({"dropout_keep_ratio": 1.5}, "dropout_keep_ratio=1.5"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"norm_eps": 0.0}, "norm_eps=0.0"),
        ({"hidden_dims": (3, 0)}, "hidden_dims: 0 must be at least 1"),
        ({"num_classes": 1}, "num_classes: 1 must be at least 2"),
    ],
)
def test_bad_descriptions_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FCNet(**{"input_dim": 4, "hidden_dims": (3,), "num_classes": 2, **kwargs})


def test_bad_types_are_named():
    with pytest.raises(TypeError, match="hidden_dims: True must be an integer"):
        FCNet(4, (True,), 2)
    with pytest.raises(TypeError, match=r"reg='0\.1' must be a number"):
        FCNet(4, (3,), 2, reg="0.1")


def test_bad_calls_are_named():
    net = FCNet(4, (3,), 2, dropout_keep_ratio=0.5)
    params, stats = network.init(net, jax.random.key(0))
    with pytest.raises(ValueError, match=r"x has shape \(2, 5\); this network takes \(batch, 4\)"):
        network.apply(net, params, stats, jnp.ones((2, 5)))
    with pytest.raises(ValueError, match="pass key="):
        network.apply(net, params, stats, jnp.ones((2, 4)), train=True)
    with pytest.raises(ValueError, match="jax_enable_x64"):
        network.init(FCNet(4, (3,), 2, param_dtype="float64"), jax.random.key(0))


def test_summary_counts_every_parameter():
    net = FCNet(6, (5, 4), 3, normalization="batchnorm", dropout_keep_ratio=0.5)
    params, _ = network.init(net, jax.random.key(0))
    total = sum(p.size for p in jax.tree.leaves(params))
    assert network.summary(net).splitlines()[-1].split() == ["total", str(total)]
    assert "batchnorm, relu, dropout (keep 0.5)" in network.summary(net)
