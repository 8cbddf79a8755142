"""Networks padded to a common size: what they draw, compute and become is what they do unpadded, up to rounding."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfc import Classification, FCNet, networks, optim
from jaxfc.networks.contract import shapes
from jaxfc.networks.padded import units
from jaxfc.search.padding import forms
from jaxfc.training.step import TrainState, init_state, take_step

# One layer to three, widths that are no multiples of four, the widest not the deepest.
DIMS = [(5,), (9, 3), (3, 4, 6)]


def family_of(**options):
    return [FCNet(7, dims, 3, **options) for dims in DIMS]


def trained(net, params, stats, x, y):
    """Parameters, statistics, losses and outputs after some steps."""
    rule = optim.sgd_momentum
    state = TrainState(params, stats, rule.init(params, learning_rate=0.1), jax.random.key(4), jnp.int32(0))
    state, losses = jax.lax.scan(lambda state, _: take_step(net, rule, state, x, y), state, length=3)
    return state.params, state.stats, losses, net.apply(state.params, state.stats, x)[0]


def placed(net, params, stats):
    """A network's own parameters and statistics where a padded one has them, and zeros around."""
    blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes(net))
    numbered = jax.tree.map(lambda leaf: np.arange(leaf.size).reshape(leaf.shape), blank)
    blanks, numbers = (tree[0][: len(params) - 1] + tree[0][-1:] for tree in (blank, numbered))
    where = net.cut(*numbered)
    assert len(numbers) == len(where[0])
    for leaf, place, own in zip(
        *map(jax.tree.leaves, ((blanks, blank[1][: len(stats)]), where, (params, stats))), strict=True
    ):
        leaf.flat[place] = own
    return blank


def assert_of_one_form(nets):
    """They can be the members of one program."""
    assert len({(jax.tree.structure(net), *map(np.shape, jax.tree.leaves(net))) for net in nets}) == 1


def as_arrays(tree):
    return jax.tree.map(np.asarray, tree)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("normalization", "activation", "keep_ratio"),
    [(None, "sigmoid", 0.6), ("batchnorm", "relu", 0.5), ("layernorm", "gelu", None), ("rmsnorm", "tanh", 0.7)],
)
def test_padded_networks_train_as_they_do_unpadded(normalization, activation, keep_ratio):
    shared = {"normalization": normalization, "activation": activation, "param_dtype": "float64", "reg": 0.1}
    family = family_of(dropout_keep_ratio=keep_ratio, **shared)
    padded = [net.padded(family) for net in family]
    assert_of_one_form(padded)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 7)), rng.integers(3, size=6)

    # Drawn by NumPy: to compile draws takes longer than all else.
    drawn = [jax.tree.map(lambda leaf: rng.normal(size=leaf.shape) ** 2, shapes(net)) for net in family]
    members = [(net, *placed(net, *own)) for net, own in zip(padded, drawn, strict=True)]

    # Compiled without optimization, which would take most of the time.
    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def both(members, alone):
        return jax.vmap(lambda each: trained(*each, x, y))(members), [trained(*each, x, y) for each in alone]

    alone = [(net, *own) for net, own in zip(family, drawn, strict=True)]
    ours, theirs = both(jax.tree.map(lambda *leaves: np.stack(leaves), *members), alone)
    for i, (net, expected) in enumerate(zip(padded, theirs, strict=True)):
        params, stats, *measured = jax.tree.map(lambda leaf, i=i: leaf[i], ours)
        chex.assert_trees_all_close((*net.cut(params, stats), *measured), as_arrays(expected), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", [name for name, rule in optim.RULES.items() if rule.ignores_zeros])
def test_a_rule_that_says_so_leaves_zeros_alone(name):
    rule = optim.Clipped(optim.Averaged(optim.Scheduled(optim.RULES[name], "cosine")))
    net, *_ = family = family_of(weight_scale=0.3)
    padded = net.padded(family)
    hyper = {"learning_rate": 0.1, "max_norm": 2.0, "schedule": optim.Schedule(1, 9)}
    drawn = init_state(padded, rule, jax.random.key(0), **hyper)
    grads = jax.tree.map(lambda p: 1e3 * p * jnp.cos(1e3 * p), drawn.params)  # zero where parameters are

    @jax.jit
    def updated(params, grads):
        state = rule.init(params, **hyper)
        for _ in range(3):
            params, state = rule(params, grads, state)
        return params, optim.averages(state)

    own = as_arrays(updated(*(padded.cut(tree, ())[0] for tree in (drawn.params, grads))))
    for ours, theirs in zip(updated(drawn.params, grads), own, strict=True):
        chex.assert_trees_all_close(padded.cut(ours, ())[0], theirs, rtol=1e-6, atol=1e-7)
        count = sum(np.count_nonzero(leaf) for leaf in jax.tree.leaves(ours))
        assert count == sum(np.count_nonzero(leaf) for leaf in jax.tree.leaves(theirs))


def test_which_rules_say_so():
    said = {name for name, rule in optim.RULES.items() if optim.ignores_zeros(rule, {})}
    assert said == set(optim.RULES) - {"muon"}
    assert optim.ignores_zeros(optim.decaying(optim.adamw, optim.everything), {})
    assert not optim.ignores_zeros(optim.decaying(optim.adamw, lambda path, leaf: path == "0.w"), {})
    assert not optim.ignores_zeros(optim.Clipped(optim.Scheduled(optim.muon, "cosine")), {})
    assert not optim.ignores_zeros(optim.Grouped({"all": optim.sgd}, lambda path, leaf: "all"), {})
    assert not optim.ignores_zeros(optim.Rule("mine", lambda params: (), lambda p, g, s: (p, s)), {})
    assert not optim.ignores_zeros(optim.adam, {"epsilon": 0.0})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_weights_are_the_networks_own(dtype):
    with jax.enable_x64(dtype == "float64"):
        scales = ["he", 0.05, "glorot"]
        family = [
            FCNet(7, d, 3, "batchnorm", weight_scale=s, param_dtype=dtype) for d, s in zip(DIMS, scales, strict=True)
        ]
        padded = [net.padded(family) for net in family]
        assert_of_one_form(padded)
        init = jax.jit(lambda nets: [net.init(jax.random.key(1)) for net in nets])
        for net, drawn, expected in zip(padded, init(padded), init(family), strict=True):
            # The same draws; the last bit of a normal number is the compiler's, who sees other widths.
            chex.assert_trees_all_close(net.cut(*drawn), as_arrays(expected), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("width", range(9))
def test_units_lie_in_quarters_and_each_once(width):
    number, there = units(width, 8)
    assert number[there].tolist() == list(range(width))
    quarter = -(-width // 4)
    assert all(place // 2 == unit // quarter for place, unit in zip(np.flatnonzero(there), range(width), strict=True))


def test_what_a_padded_network_costs_and_what_it_does_not_tell():
    family = family_of()
    padded = family[0].padded(family)
    params, _ = padded.init(jax.random.key(0))
    cost = networks.cost(padded)
    assert cost.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert cost.flops == 2 * sum(layer["w"].size for layer in params)
    assert networks.cost(family[0]).parameters < cost.parameters
    networks.check_network(padded)


def test_what_has_no_family():
    def of_ones_own(x):
        return x * x

    assert family_of()[0].family == family_of(weight_scale=0.1)[1].family
    assert family_of()[0].family != family_of(reg=0.1)[0].family
    assert FCNet(7, (), 3).family is None
    assert FCNet(7, (4,), 3, activation=of_ones_own).family is None
    with jax.threefry_partitionable(False):
        assert FCNet(7, (4,), 3).family is None


def test_sizes_that_would_waste_more_than_compiling_takes_stay_apart():
    from jaxfc.search.candidates import Blueprint
    from jaxfc.training.settings import RunSettings

    def made(*widths):
        nets = [FCNet(64, (width,), 10) for width in widths]
        return [Blueprint(net, Classification(), optim.adam, {}, RunSettings(), None) for net in nets]

    def shared(candidates, pad=None, steps=1000.0):
        nets = forms(candidates, pad, [steps] * len(candidates), "cpu")
        return [getattr(net, "largest", net).hidden_dims for net in nets]

    small = made(32, 64, 128)
    assert shared(small) == [(128,)] * 3
    assert shared(small, pad=False) == [(32,), (64,), (128,)]
    assert shared(made(*[32] * 8, *[64] * 8), steps=1e5) == [(32,)] * 8 + [(64,)] * 8
    mixed = made(32, *[4096] * 8, 64, 30)
    assert shared(mixed) == [(64,), *[(4096,)] * 8, (64,), (64,)]
    assert shared(mixed, pad=True) == [(4096,)] * 11
    assert shared(made(32, 32)) == [(32,)] * 2
