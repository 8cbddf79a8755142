"""Networks as a whole, against naive twins, and their descriptions as pytrees."""

import dataclasses
import itertools

import chex
import jax
import jax.numpy as jnp
import naive
import numpy as np
import pytest

from jaxfc import Classification, FCNet, ResidualNet, networks, objective
from jaxfc.networks import Cost, check_network, cost, network
from jaxfc.networks.contract import shapes

NORMALIZATIONS = [None, "batchnorm", "layernorm", "rmsnorm"]
NETS = [FCNet(4, (3,), 2), ResidualNet(4, 3, 2, 2)]


def drawn(seed, kind, **kwargs):
    """A network of drawn widths with drawn parameters, and a batch for it, in float64."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(1, 7), rng.integers(2, 6)
    if kind is FCNet:
        inside = (tuple(rng.integers(2, 7, size=rng.integers(0, 4)).tolist()),)
    else:
        inside = rng.integers(2, 6), rng.integers(1, 4)
        kwargs = {"expansion": int(rng.integers(1, 4))} | kwargs
    inside = [int(n) if np.ndim(n) == 0 else n for n in inside]
    net = kind(int(ends[0]), *inside, int(ends[1]), param_dtype="float64", **kwargs)
    # Drawn by NumPy: nothing needs to be compiled for it.
    params, stats = jax.tree.map(lambda leaf: jnp.asarray(0.7 * rng.normal(size=leaf.shape)), shapes(net))
    n = int(rng.integers(2, 8))
    x, y = rng.normal(size=(n, net.input_dim)), rng.integers(net.output_dim, size=n)
    return net, params, stats, x, y


def bent(x):
    """An activation of a user's own."""
    return jnp.sin(x) + x / 2


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(("kind", "twin"), [(FCNet, naive.fcnet), (ResidualNet, naive.residual_net)])
def test_loss_and_gradients_equal_the_naive_twin(kind, twin, normalization, seed):
    # Each normalization meets three activations, and each activation all normalizations or nearly so.
    activation = ["relu", "tanh", "gelu", bent][(seed + NORMALIZATIONS.index(normalization)) % 4]
    net, params, stats, x, y = drawn(seed, kind, normalization=normalization, activation=activation, reg=0.3)

    def ours(p):
        return objective.loss(net, p, stats, x, y)[0]

    def theirs(p):
        return naive.network_loss(twin(p, x, normalization=normalization, activation=activation), p, y, 0.3)

    got, expected = jax.jit(lambda p: (jax.value_and_grad(ours)(p), jax.value_and_grad(theirs)(p)))(params)
    chex.assert_trees_all_close(got, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("hidden", [(), (5, 4, 3)])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_shapes_of_parameters_and_scores(hidden, normalization):
    net = FCNet(6, hidden, 4, normalization=normalization)
    params, stats = networks.init(net, jax.random.key(0))
    assert [p["w"].shape for p in params] == list(itertools.pairwise((6, *hidden, 4)))
    extra = {None: set(), "rmsnorm": {"gamma"}}.get(normalization, {"gamma", "beta"})
    assert [set(p) for p in params] == [{"w", "b"} | extra] * len(hidden) + [{"w", "b"}]
    assert len(stats) == (len(hidden) if normalization == "batchnorm" else 0)
    x = jnp.ones((7, 6))
    assert networks.apply(net, params, stats, x)[0].shape == (7, 4)
    probabilities = objective.predict_proba(net, params, stats, x)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(objective.predict(net, params, stats, x), probabilities.argmax(1))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_shapes_of_a_residual_network(normalization):
    net = ResidualNet(6, 5, 3, 4, expansion=2, normalization=normalization)
    params, stats = networks.init(net, jax.random.key(0))
    extra = {None: set(), "rmsnorm": {"gamma"}}.get(normalization, {"gamma", "beta"})
    assert [set(block) for block in params["blocks"]] == [{"w1", "b1", "w2", "b2"} | extra] * 3
    assert {(block["w1"].shape, block["w2"].shape) for block in params["blocks"]} == {((5, 10), (10, 5))}
    assert (params["stem"]["w"].shape, params["head"]["w"].shape) == (net.first_shape, (5, 4)) == ((6, 5), (5, 4))
    assert len(stats) == (3 if normalization == "batchnorm" else 0)
    assert networks.apply(net, params, stats, jnp.ones((7, 6)))[0].shape == (7, 4)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [("he", (2 / 400) ** 0.5), ("glorot", (2 / 700) ** 0.5), ("lecun", (1 / 400) ** 0.5), (0.03, 0.03)],
)
def test_initial_scale(scale, expected):
    params, _ = networks.init(FCNet(400, (300,), 10, weight_scale=scale), jax.random.key(0))
    np.testing.assert_allclose(params[0]["w"].std(), expected, rtol=0.01)
    assert abs(params[0]["w"].mean()) < expected / 50
    np.testing.assert_array_equal(params[0]["b"], 0)


def test_a_residual_blocks_second_matrix_starts_smaller_the_deeper_the_network():
    for depth in (1, 4):
        params, _ = networks.init(ResidualNet(8, 100, depth, 3, expansion=3), jax.random.key(0))
        np.testing.assert_allclose(params["blocks"][-1]["w1"].std(), (2 / 100) ** 0.5, rtol=0.02)
        np.testing.assert_allclose(params["blocks"][-1]["w2"].std(), (2 / 300 / depth) ** 0.5, rtol=0.02)


def test_numbers_are_leaves_and_change_without_compiling(compilations):
    net, task = FCNet(4, (3,), 2, dropout_keep_ratio=0.5, reg=0.1, weight_scale=0.01), Classification()
    assert len(jax.tree.leaves(net)) == 5
    assert len(jax.tree.leaves(task)) == 1
    f = jax.jit(lambda net, task, p, s, x, y, key: objective.loss(net, p, s, x, y, key, task=task)[0])
    params, stats = networks.init(net, jax.random.key(0))
    arguments = (params, stats, jnp.ones((2, 4)), jnp.array([0, 1]), jax.random.key(0))
    first = f(net, task, *arguments)
    compilations.clear()
    changes = {"dropout_keep_ratio": 0.9, "reg": 0.5, "norm_eps": 1e-3, "weight_scale": 3.0}
    second = f(dataclasses.replace(net, **changes), Classification(label_smoothing=0.1), *arguments)
    assert not compilations
    assert first != second
    f(dataclasses.replace(net, activation="tanh"), task, *arguments)
    assert compilations


@pytest.mark.parametrize(
    "make", [lambda **kwargs: FCNet(4, (3,), 2, **kwargs), lambda **kwargs: ResidualNet(4, 3, 1, 2, **kwargs)]
)
def test_a_network_is_vmapped_over_its_numbers(make):
    @jax.jit
    def final(scale, reg):
        net = make(weight_scale=scale, reg=reg)
        params, stats = networks.init(net, jax.random.key(0))
        return objective.loss(net, params, stats, jnp.ones((2, 4)), jnp.array([0, 1]))[0]

    scales, regs = jnp.array([0.1, 1.0]), jnp.array([0.0, 2.0])
    together = jax.vmap(final)(scales, regs)
    alone = [final(float(s), float(r)) for s, r in zip(scales, regs, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_networks_compare_and_hash_by_value():
    assert FCNet(4, [3], 2) == FCNet(4, (3,), 2)
    assert hash(FCNet(4, (3,), 2)) == hash(FCNet(4, (3,), 2))
    assert jax.tree.map(lambda x: x, FCNet(4, (3,), 2, reg=0.1)) == FCNet(4, (3,), 2, reg=0.1)
    assert FCNet(4, (3,), 2, activation=bent) != FCNet(4, (3,), 2)


@pytest.mark.parametrize(
    "make", [lambda **kwargs: FCNet(8, (64,), 3, **kwargs), lambda **kwargs: ResidualNet(8, 16, 1, 3, **kwargs)]
)
def test_dropout_acts_in_training_only_and_by_its_key(make):
    net = make(dropout_keep_ratio=0.5)
    params, stats = networks.init(net, jax.random.key(0))
    x = jnp.ones((2, 8))
    scores = [networks.apply(net, params, stats, x, key=jax.random.key(s), train=True)[0] for s in (0, 0, 1)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()
    np.testing.assert_array_equal(
        networks.apply(net, params, stats, x)[0], networks.apply(make(), params, stats, x, train=True)[0]
    )


@pytest.mark.usefixtures("x64")
def test_stochastic_depth_leaves_blocks_out_row_by_row():
    """Every row is that of one choice of blocks, each scaled by its ratio, and each choice is as frequent as it is
    probable: 3/4 and 1/2 are the ratios of two blocks whose last is kept for half of the rows."""
    net = ResidualNet(3, 4, 2, 2, depth_keep_ratio=0.5, param_dtype="float64", weight_scale=0.7)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes(net)[0])
    x = rng.normal(size=(400, 3))
    settings = {"normalization": "layernorm", "activation": "gelu"}

    @jax.jit
    def with_blocks(kept):
        h = naive.affine(x, **params["stem"])
        for i, (block, ratio) in enumerate(zip(params["blocks"], (0.75, 0.5), strict=True)):
            h = h + kept[i] / ratio * naive.residual_branch(block, h, **settings)
        return naive.affine(h, **params["head"])

    trained, whole = jax.jit(
        lambda key: [networks.apply(net, params, (), x, key=key, train=train)[0] for train in (True, False)]
    )(jax.random.key(1))
    choices = [np.abs(with_blocks(np.array(kept)) - trained) for kept in itertools.product((0.0, 1.0), repeat=2)]
    chosen = np.max(choices, axis=2) < 1e-10
    np.testing.assert_array_equal(chosen.sum(axis=0), 1)
    np.testing.assert_allclose(chosen.mean(axis=1), [1 / 8, 1 / 8, 3 / 8, 3 / 8], atol=0.06)
    np.testing.assert_allclose(whole, with_blocks(np.array([0.75, 0.5])), rtol=1e-9)


@pytest.mark.parametrize("kind", [FCNet, ResidualNet])
def test_batchnorm_statistics_change_in_training_only(kind):
    inside = ((4,),) if kind is FCNet else (4, 1)
    net = kind(3, *inside, 2, normalization="batchnorm")
    params, stats = networks.init(net, jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (16, 3))
    chex.assert_trees_all_equal(networks.apply(net, params, stats, x)[1], stats)
    _, new = networks.apply(net, params, stats, x, train=True)
    normalized = x @ (params[0] if kind is FCNet else params["stem"])["w"]
    np.testing.assert_allclose(new[0].mean, 0.1 * normalized.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(new[0].var, 0.9 + 0.1 * normalized.var(0), rtol=1e-4)


@pytest.mark.parametrize(("kind", "param_dtype"), [(FCNet, "float32"), (FCNet, "bfloat16"), (ResidualNet, "bfloat16")])
def test_bfloat16_computation(kind, param_dtype):
    inside = ((16,),) if kind is FCNet else (16, 1)
    dtypes = {"param_dtype": param_dtype, "compute_dtype": "bfloat16"}
    net = kind(8, *inside, 3, normalization="batchnorm", reg=0.01, **dtypes)
    params, stats = networks.init(net, jax.random.key(0))
    x, y = jax.random.normal(jax.random.key(1), (32, 8)), jnp.arange(32) % 3
    gradient = jax.jit(jax.value_and_grad(objective.loss, 1, has_aux=True))
    (value, after), grads = gradient(net, params, stats, x, y)
    assert value.dtype == jnp.float32
    assert after[0].var.dtype == jnp.float32
    assert {g.dtype.name for g in jax.tree.leaves(grads)} == {param_dtype}
    wide = dataclasses.replace(net, param_dtype="float32", compute_dtype=None)
    (exact, _), _ = gradient(wide, jax.tree.map(lambda p: p.astype(jnp.float32), params), stats, x, y)
    np.testing.assert_allclose(value, exact, rtol=0.02)


BAD = [
    ({"normalization": "batchnrom"}, "did you mean 'batchnorm'"),
    ({"activation": "rleu"}, "did you mean 'relu'"),
    ({"weight_scale": "hee"}, "did you mean 'he'"),
    ({"param_dtype": "float16"}, "did you mean 'bfloat16'"),
    ({"weight_scale": -1.0}, "weight_scale=-1.0"),
    ({"reg": -0.1}, "reg=-0.1"),
    ({"reg": float("nan")}, "reg=nan"),
    ({"dropout_keep_ratio": 0.0}, "dropout_keep_ratio=0.0 must be a finite number in \\(0, 1\\]"),
    ({"dropout_keep_ratio": 1.5}, "dropout_keep_ratio=1.5"),
    ({"norm_eps": 0.0}, "norm_eps=0.0"),
    ({"output_dim": 0}, "output_dim: 0 must be at least 1"),
]
BAD_FCNET = [({"hidden_dims": (3, 0)}, "hidden_dims: 0 must be at least 1")]
BAD_RESIDUAL = [
    ({"depth": 0}, "depth: 0 must be at least 1"),
    ({"expansion": 0}, "expansion: 0 must be at least 1"),
    ({"depth_keep_ratio": 0.0}, "depth_keep_ratio=0.0 must be a finite number in \\(0, 1\\]"),
]


@pytest.mark.parametrize(
    ("net", "change", "message"),
    [(NETS[0], *each) for each in BAD + BAD_FCNET] + [(NETS[1], *each) for each in BAD + BAD_RESIDUAL],
)
def test_bad_descriptions_are_named(net, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(net, **change)


def test_bad_types_are_named():
    with pytest.raises(TypeError, match="hidden_dims: True must be an integer"):
        FCNet(4, (True,), 2)
    with pytest.raises(TypeError, match="width: True must be an integer"):
        ResidualNet(4, True, 1, 2)
    for net in NETS:
        with pytest.raises(TypeError, match=r"reg='0\.1' must be a number"):
            dataclasses.replace(net, reg="0.1")
    with pytest.raises(TypeError, match=r"depth_keep_ratio='0\.1' must be a number"):
        ResidualNet(4, 3, 1, 2, depth_keep_ratio="0.1")


@pytest.mark.parametrize("net", NETS)
def test_bad_calls_are_named(net):
    params, stats = networks.init(net, jax.random.key(0))
    with pytest.raises(ValueError, match=r"x has shape \(2, 5\); this network takes \(batch, 4\)"):
        networks.apply(net, params, stats, jnp.ones((2, 5)))
    dropping = dataclasses.replace(net, dropout_keep_ratio=0.5)
    with pytest.raises(ValueError, match="pass key="):
        networks.apply(dropping, params, stats, jnp.ones((2, 4)), train=True)
    with pytest.raises(ValueError, match="jax_enable_x64"):
        networks.init(dataclasses.replace(net, param_dtype="float64"), jax.random.key(0))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("net", [FCNet(6, (5, 4), 3), FCNet(6, (), 3), ResidualNet(6, 5, 3, 4, expansion=2)])
def test_cost_and_summary_count_every_parameter(net, normalization):
    net = dataclasses.replace(net, normalization=normalization, dropout_keep_ratio=0.5)
    params = jax.tree.leaves(networks.init(net, jax.random.key(0))[0])
    total = sum(p.size for p in params)
    assert cost(net).parameters == total
    assert cost(net).flops == 2 * sum(p.size for p in params if p.ndim == 2)
    assert cost(dataclasses.replace(net, compute_dtype="bfloat16")).activation_bytes == cost(net).activation_bytes / 2
    assert networks.summary(net).splitlines()[-1].split() == ["total", f"{total}"]


def test_summary_names_every_part():
    net = FCNet(6, (5, 4), 3, normalization="batchnorm", dropout_keep_ratio=0.5, activation=bent)
    assert networks.summary(net).count("batchnorm, bent, dropout (keep 0.5)") == 2
    net = ResidualNet(6, 5, 3, 4, normalization="rmsnorm", dropout_keep_ratio=0.5, depth_keep_ratio=0.8)
    expected = "(+ rmsnorm, affine to 20, gelu, dropout (keep 0.5), stochastic depth (keep 0.8), affine)"
    assert expected in networks.summary(net)


@network
class Bilinear:
    """A user's network that offers no more than it must."""

    input_dim: int
    output_dim: int
    fault: str = ""

    def init(self, key):
        u, v = jax.random.normal(key, (2, self.input_dim, 8))
        return {"u": u, "v": v, "w": jnp.zeros((8, self.output_dim))}, ()

    def apply(self, params, stats, x, *, key=None, train=False):
        outputs = (x @ params["u"]) * (x @ params["v"]) @ params["w"]
        if self.fault == "shape":
            outputs = outputs[:, 0]
        if self.fault == "type":
            outputs = outputs.astype(int)
        return outputs, (outputs.mean(),) if train and self.fault == "statistics" else stats


def test_a_network_without_cost_or_rows_is_counted_all_the_same():
    net = Bilinear(5, 3)
    check_network(net)
    counted = cost(net)
    assert counted == Cost(2 * 5 * 8 + 8 * 3, 2 * (2 * 5 * 8 + 8 * 3), counted.activation_bytes)
    assert counted.activation_bytes >= 4 * (3 * 8 + 3)
    names = [line.split()[0] for line in networks.summary(net).splitlines()]
    assert names == ["parameter", "u", "v", "w", "total"]
    assert networks.summary(net).endswith("104")


@pytest.mark.parametrize("net", NETS)
def test_the_librarys_networks_meet_the_contract(net):
    for normalization in NORMALIZATIONS:
        check_network(dataclasses.replace(net, normalization=normalization, dropout_keep_ratio=0.5))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("shape", r"apply of Bilinear returns outputs of shape \(2,\) for 2 rows; need \(batch, output_dim\)"),
        ("type", "returns outputs of type int32; need floating point"),
        ("statistics", "returns other statistics than init"),
    ],
)
def test_networks_that_break_the_contract_are_named(fault, message):
    with pytest.raises(ValueError, match=message):
        check_network(Bilinear(5, 3, fault))


def test_what_is_no_network_is_named():
    with pytest.raises(TypeError, match=r"[nN]etwork"):
        check_network({})
    with pytest.raises(TypeError, match="network Half lacks output_dim"):

        @network
        class Half:
            input_dim: int
