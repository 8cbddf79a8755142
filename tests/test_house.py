"""A network, an activation, a task, an augmentation and a rule of a user's own, with no file of the library touched.

They are trained, searched, saved, resumed and used to predict, as the library's own are.
"""

from typing import Any, ClassVar, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxfc
from jaxfc import gradcheck, metrics, search
from jaxfc.data import standardized
from jaxfc.errors import FormatError
from jaxfc.layers import differentiable
from jaxfc.optim import Clipped, Schedule, Scheduled, hyper_of

QUIET = {"verbose": False, "progress": False}


# ---------------------------------------------------------------------------------------------------
# What a user writes
# ---------------------------------------------------------------------------------------------------


def bump_forward(x):
    """An activation, exp(-x²), with a gradient derived by hand."""
    out = jnp.exp(-x * x)
    return out, (x, out)


def bump_backward(dout, cache):
    x, out = cache
    return dout * -2 * x * out


bump = differentiable(bump_forward, bump_backward)


@jaxfc.network
class Mixture:
    """Experts, weighed by a gate."""

    input_dim: int
    output_dim: int
    experts: int = 3
    width: int = 8
    activation: Any = bump
    scale: float = jaxfc.number(0.5, low=0)
    reg: Any = jaxfc.number(None, low=0)

    def init(self, key):
        gate, first, second = jax.random.split(key, 3)
        return {
            "gate": jax.random.normal(gate, (self.input_dim, self.experts)) * self.scale,
            "first": jax.random.normal(first, (self.experts, self.input_dim, self.width)) * self.scale,
            "second": jax.random.normal(second, (self.experts, self.width, self.output_dim)) * self.scale,
            "b": jnp.zeros(self.output_dim),
        }, {"seen": jnp.zeros((), jnp.int32)}

    def apply(self, params, stats, x, *, key=None, train=False):
        gate = jax.nn.softmax(x @ params["gate"])
        hidden = self.activation(jnp.einsum("ni,eiw->enw", x, params["first"]))
        outputs = jnp.einsum("enw,ewo,ne->no", hidden, params["second"], gate) + params["b"][None, :]
        return outputs, {"seen": stats["seen"] + 1} if train else stats

    def penalty(self, params):
        return None if self.reg is None else self.reg * sum((params[name] ** 2).sum() for name in ("first", "second"))


def _share_within_half(p, y):
    return jnp.mean(jnp.abs(p - y.reshape(p.shape)) < 0.5)


@jaxfc.described
class Counts(jaxfc.Task):
    """Poisson regression: outputs are logarithms of expected counts."""

    targets: ClassVar[str] = "numbers"
    metrics: ClassVar[dict] = {
        "mae": metrics.REGRESSION["mae"],
        "near": metrics.Metric("near", lambda p, y, w=None: _share_within_half(p, y), True, "near"),
    }
    headline: ClassVar[tuple] = ("mae", "near")
    offset: float = jaxfc.number(0.0)
    rank: str = "mae"

    def loss(self, outputs, y, weights=None):
        y = y.reshape(outputs.shape)
        each = (jnp.exp(outputs + self.offset) - y * (outputs + self.offset)).mean(axis=1)
        return jnp.average(each, weights=weights)

    def decode(self, outputs):
        return jnp.exp(outputs + self.offset)


def jitter(key, x, y):
    """An augmentation: features of each row, shaken a little."""
    return x + 0.05 * jax.random.normal(key, x.shape, x.dtype), y


class SignState(NamedTuple):
    learning_rate: Any
    fade: Any
    mean: Any


class FadingSign:
    """An update rule: the sign of a running mean of gradients."""

    name = "fading sign"

    def init(self, params, learning_rate=1e-2, fade=0.9):
        return SignState(jnp.float32(learning_rate), jnp.float32(fade), jax.tree.map(jnp.zeros_like, params))

    def __call__(self, params, grads, state):
        mean = jax.tree.map(lambda m, g: state.fade * m + (1 - state.fade) * g, state.mean, grads)
        params = jax.tree.map(lambda p, m: p - state.learning_rate * jnp.sign(m), params, mean)
        return params, state._replace(mean=mean)


sign = FadingSign()
KNOWN = (Mixture, Counts, bump, jitter)
RULE = Scheduled(Clipped(sign), "cosine")
HYPER = {"learning_rate": 5e-2, "max_norm": 10.0, "schedule": Schedule(total_steps=48)}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = rng.poisson(np.exp(0.7 * x[:, 0] - 0.4 * x[:, 1])).astype(np.float32)
    parts = (x[:200], y[:200], x[200:250], y[200:250], x[250:], y[250:])
    normalizer = standardized(x[:200], per_feature=True)
    return jaxfc.Dataset("counts", *parts, (), normalizer, targets="numbers", target_names=("count",))


NET = Mixture(4, 1)
RUN = {"epochs": 6, "batch_size": 25, "augment": (jitter,)}


def fit(data, **options):
    return jaxfc.fit(NET, RULE, data, task=Counts(), hyper=HYPER, **{**RUN, **QUIET, **options})


@pytest.fixture(scope="module")
def result(data):
    return fit(data)


# ---------------------------------------------------------------------------------------------------
# What becomes of it
# ---------------------------------------------------------------------------------------------------


def test_it_is_trained_and_ranked_by_its_own_metric(data, result):
    assert result.metric == "mae"
    assert result.best_score == result.val_history[1:].min() < 0.8 * result.val_history[0]
    assert int(result.stats["seen"]) == 6 * 8
    always_the_mean = np.abs(data.y_val - data.y_train.mean()).mean()
    assert result.best_score < 0.8 * always_the_mean
    state = result.opt_state
    np.testing.assert_allclose(hyper_of(state, "max_norm"), 10)


def test_it_predicts_in_its_own_units(data, result):
    model = result.model(data)
    assert model.predict(data.x_test).shape == (50, 1)
    assert (model.predict(data.x_test) > 0).all()
    measured = model.evaluate(*data.split("test"))
    by_hand = np.abs(model.predict(data.x_test)[:, 0] - data.y_test).mean()
    np.testing.assert_allclose(measured["mae"], by_hand, rtol=1e-5)
    copies = model.prediction(data.x_test, copies=3)
    assert 0 < np.abs(copies - model.prediction(data.x_test)).max() < 1


def test_it_is_saved_and_loaded_by_handing_over_what_the_file_names(data, result, tmp_path):
    path = tmp_path / "m.safetensors"
    model = result.model(data)
    model.save(path)
    with pytest.raises(FormatError, match=r"names '(Mixture|bump|Counts|jitter)'.*known="):
        jaxfc.Model.load(path)
    again = jaxfc.Model.load(path, known=KNOWN)
    assert again.net == NET
    np.testing.assert_array_equal(again.prediction(data.x_test, copies=2), model.prediction(data.x_test, copies=2))


def test_it_is_resumed_to_the_same_bits_and_nothing_else_is_taken_for_it(data, result, tmp_path):
    class Stop(Exception):
        pass

    def stop(report):
        if report.epoch == 2:
            raise Stop

    path = tmp_path / "c"
    with pytest.raises(Stop):
        fit(data, checkpoint=path, callbacks=[stop])
    with pytest.raises(ValueError, match=r"task\.offset=0\.0, not 0\.5"):
        jaxfc.fit(NET, RULE, data, task=Counts(0.5), hyper=HYPER, **RUN, **QUIET, checkpoint=path, resume=True)
    resumed = fit(data, checkpoint=path, resume=True, callbacks=[lambda report: None])
    chex.assert_trees_all_equal(resumed.params, fit(data, callbacks=[lambda report: None]).params)
    chex.assert_trees_all_close(resumed.params, result.params, rtol=1e-4, atol=1e-5)


def build(settings):
    net = Mixture(4, 1, experts=settings.get("experts", 3), scale=settings["scale"], reg=settings.get("reg"))
    hyper = HYPER | {"learning_rate": settings["rate"], "fade": settings.get("fade", 0.9)}
    return net, Counts(), RULE, hyper


def test_it_is_searched_and_each_candidate_is_fit(data, tmp_path, compilations):
    spaces = {"rate": search.loguniform(1e-2, 1e-1), "scale": search.uniform(0.2, 0.8)}
    settings = search.sample(spaces | {"fade": search.uniform(0.5, 0.95)}, 5)
    found = search.run(data, build, settings, **RUN, keep=3, progress=False, checkpoint=tmp_path / "s")
    assert (found.programs, found.groups) == (2, 1)
    scores = [trial.score for trial in search.ranked(found.trials)]
    assert scores == sorted(scores)  # less is better
    mine = found.blueprints[found.best.number]
    alone = jaxfc.fit(mine.net, mine.rule, data, task=mine.task, hyper=mine.hyper, **RUN, **QUIET, order_seed=0)
    np.testing.assert_allclose(alone.val_history[1:], found.best.val[0], rtol=1e-4)
    assert alone.best_epoch == found.best.best_epoch
    ensemble = found.ensemble(3)
    path = tmp_path / "e.safetensors"
    ensemble.save(path)
    again = jaxfc.Ensemble.load(path, known=KNOWN)
    np.testing.assert_allclose(again.prediction(data.x_test), ensemble.prediction(data.x_test), rtol=1e-6)
    compilations.clear()
    search.run(data, build, settings[::-1], **RUN, keep=3, progress=False)
    assert not compilations
    other = {"keep": 3, "checkpoint": tmp_path / "s", "resume": True}
    with pytest.raises(ValueError, match="another search"):
        search.run(data, lambda s: build(s | {"experts": 2}), settings, **RUN, **other)


def test_structures_of_its_own_make_groups(data):
    settings = search.grid({"rate": search.choice(1e-2), "scale": search.choice(0.5), "experts": search.choice(2, 3)})
    found = search.run(data, build, settings, **RUN | {"epochs": 1}, folds=2, progress=False)
    assert found.groups == 2
    assert found.ensemble(1).num_members == 2


def test_its_gradient_is_checked():
    assert gradcheck.check_vjp(bump, np.linspace(-1, 1, 7)).passed
    assert gradcheck.check_network(NET, Counts()).passed
    wrong = differentiable(bump_forward, lambda dout, cache: 2 * bump_backward(dout, cache))
    with pytest.raises(AssertionError, match="Mixture"):
        gradcheck.check_network(Mixture(4, 1, activation=wrong), Counts())


def test_its_summary_and_cost():
    lines = jaxfc.summary(NET).splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["b", "first", "gate", "second", "total"]
    params, _ = NET.init(jax.random.key(0))
    assert jaxfc.networks.cost(NET).parameters == sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"net": jaxfc.FCNet(4, (8,), 2)}, ValueError, "2 outputs; Counts of 'counts' needs 1"),
        ({"net": jaxfc.FCNet(5, (8,), 1)}, ValueError, "takes 5 features and 'counts' has 4"),
        ({"net": object()}, TypeError, "(?s)."),
        ({"task": jaxfc.Classification()}, ValueError, "has numbers: use Regression"),
        ({"task": "counts"}, TypeError, "(?s)."),
        ({"task": Counts(rank="mea")}, ValueError, "did you mean 'mae'"),
        ({"rule": lambda p, g, s: (p, s)}, TypeError, "(?s)."),
        ({"augment": ("shift:1",)}, ValueError, "needs images"),
        ({"augment": (lambda key, x, y: (x[:, :2], y),)}, ValueError, r"\(25, 2\)"),
    ],
)
def test_what_does_not_fit_is_named_before_any_work(data, tmp_path, change, error, message):
    arguments = {"net": NET, "rule": RULE, "task": Counts(), "hyper": HYPER, **RUN, **change}
    with pytest.raises(error, match=message):
        jaxfc.fit(arguments.pop("net"), arguments.pop("rule"), data, **arguments, **QUIET, checkpoint=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_network_and_a_rule_that_break_their_contracts_are_named(data):
    @jaxfc.network
    class Flat(Mixture):
        def apply(self, params, stats, x, *, key=None, train=False):
            return Mixture.apply(self, params, stats, x)[0][:, 0], stats

    with pytest.raises(ValueError, match=r"apply of Flat returns outputs of shape \(2,\).*\(batch, output_dim\)"):
        jaxfc.fit(Flat(4, 1), "adam", data, task=Counts(), **QUIET)

    class Growing(FadingSign):
        def __call__(self, params, grads, state):
            return params, (state, state)

    with pytest.raises(ValueError, match="form of its state"):
        jaxfc.fit(NET, Growing(), data, task=Counts(), **QUIET)
