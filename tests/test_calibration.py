"""Temperatures, calibration error, thresholds and conformal intervals, against naive twins and scikit-learn."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxfc
from jaxfc import calibration, metrics
from jaxfc.artifacts.ensemble import Ensemble
from jaxfc.artifacts.predictor import About
from jaxfc.data import Normalizer

pytestmark = pytest.mark.usefixtures("promotion")

RNG = np.random.default_rng(0)


def linear(weights, task, about):
    """A model whose outputs are its inputs times a matrix."""
    weights = np.asarray(weights, np.float32)
    net = jaxfc.FCNet(len(weights), (), weights.shape[1])
    params = [{"w": jnp.asarray(weights), "b": jnp.zeros(weights.shape[1])}]
    return jaxfc.Model(net, params, (), Normalizer(np.zeros(len(weights), "f"), np.float32(1)), about, task)


def classes_drawn(rows, temperature, count=3, seed=0):
    """Scores, and classes drawn from the softmax of the scores divided by a temperature."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 3, (rows, count)).astype(np.float32)
    p = np.exp(x / temperature)
    p /= p.sum(axis=1, keepdims=True)
    return x, (p.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(max=count - 1).astype(np.int32)


def softmax_model(count=3, scale=1.0):
    return linear(scale * np.eye(count), jaxfc.Classification(), About(classes=tuple("abcde"[:count])))


@pytest.mark.parametrize("true", [0.5, 2.5])
def test_the_temperature_that_classes_were_drawn_at_is_found(true):
    x, y = classes_drawn(20_000, true)
    model = softmax_model()
    better = model.calibrated(x, y)
    assert float(better.task.temperature) == pytest.approx(true, rel=0.05)
    before, after = model.evaluate(x, y), better.evaluate(x, y)
    assert after["log_loss"] < before["log_loss"]
    assert after["ece"] < 0.02 < before["ece"]
    assert after["acc"] == before["acc"]
    # The derivative of the log loss by 1/T is zero there: it is the least.
    z, inverse = x.astype(np.float64), 1 / float(better.task.temperature)
    p = np.exp(z * inverse - np.logaddexp.reduce(z * inverse, axis=1, keepdims=True))
    assert abs(((p * z).sum(axis=1) - z[np.arange(len(z)), y]).mean()) < 1e-4


def test_it_is_never_worse_than_one():
    for seed in range(5):
        x, y = classes_drawn(12, 1.0, seed=seed)
        model = softmax_model()
        better = model.calibrated(x, y)
        losses = [each.evaluate(x, y, metrics=["log_loss"])["log_loss"] for each in (model, better)]
        assert losses[1] <= losses[0] + 1e-7
    assert calibration.temperature(lambda t: abs(t - 1)) == pytest.approx(1, abs=1e-6)


def test_an_ensemble_has_one_temperature_and_labels_have_theirs(tmp_path):
    x, y = classes_drawn(4000, 2.0)
    ensemble = Ensemble.of([softmax_model(scale=scale) for scale in (0.9, 1.0, 1.3)])
    better = ensemble.calibrated(x, y)
    t = float(better.task.temperature)
    assert 1.5 < t < 3
    parts = [softmax_model(scale=scale / t).predict_proba(x[:5]) for scale in (0.9, 1.0, 1.3)]
    np.testing.assert_allclose(better.predict_proba(x[:5]), np.mean(parts, axis=0), atol=1e-6)
    better.save(tmp_path / "e.safetensors")
    again = Ensemble.load(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(again.predict_proba(x), better.predict_proba(x))

    labels = (1 / (1 + np.exp(-x / 2)) > np.random.default_rng(1).random(x.shape)).astype(np.uint8)
    model = linear(np.eye(3), jaxfc.Multilabel(), About("labels", classes=("a", "b", "c")))
    better = model.calibrated(x, labels)
    assert float(better.task.temperature) == pytest.approx(2, rel=0.1)
    better.save(tmp_path / "m.safetensors")
    again = jaxfc.Model.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict_proba(x), better.predict_proba(x))


def test_a_task_without_a_temperature_is_refused():
    model = linear(np.eye(1), jaxfc.Regression(), About("numbers", num_targets=1))
    with pytest.raises(TypeError, match="for Classification and Multilabel"):
        model.calibrated(np.ones((3, 1), np.float32), np.ones(3))


def naive_ece(p, y, weights):
    total = 0.0
    for b in range(15):
        inside = [i for i in range(len(p)) if b / 15 < p[i].max() <= (b + 1) / 15]
        w = weights[inside]
        if w.sum():
            right = np.average(p[inside].argmax(axis=1) == y[inside], weights=w)
            total += w.sum() / weights.sum() * abs(right - np.average(p[inside].max(axis=1), weights=w))
    return total


def test_the_calibration_error_is_the_definition_under_jit_and_vmap():
    p = RNG.dirichlet(np.ones(4), (2, 50))
    y, w = RNG.integers(0, 4, (2, 50)), RNG.integers(0, 3, (2, 50)).astype(float)
    function = metrics.CLASSIFICATION["ece"].function
    with jax.enable_x64(True):
        out = jax.jit(jax.vmap(function))(p, y, w)
        soft = function(p[0], np.eye(4)[y[0]], w[0])
    np.testing.assert_allclose(out, [naive_ece(*each) for each in zip(p, y, w, strict=True)], rtol=1e-12)
    np.testing.assert_allclose(soft, out[0], rtol=1e-12)
    bins = calibration.reliability(p[0].max(axis=1), p[0].argmax(axis=1) == y[0], w[0])
    np.testing.assert_allclose(np.nansum(np.abs(bins[:, 0] - bins[:, 1]) * bins[:, 2]), out[0], rtol=1e-12)


@pytest.mark.parametrize("metric", calibration.THRESHOLD_METRICS)
def test_a_threshold_is_the_best_of_all(metric):
    sklearn = pytest.importorskip("sklearn.metrics")
    score = {"f1": sklearn.f1_score, "balanced_acc": sklearn.balanced_accuracy_score}[metric]
    for seed in range(4):
        rng = np.random.default_rng(seed)
        p = np.round(rng.random(40), 1 if seed % 2 else 6)  # with ties, and without
        y = (rng.random(40) < p**2).astype(int)
        w = rng.integers(1, 4, 40) if seed > 1 else None
        found = calibration.threshold(p, y, metric, w)
        every = [score(y, p >= cut, sample_weight=w) for cut in [*np.unique(p), 1.1]]
        assert score(y, p >= found, sample_weight=w) == pytest.approx(max(every))


def test_answers_and_metrics_follow_a_threshold_and_probabilities_do_not(tmp_path):
    x, y = classes_drawn(300, 1.0, count=2)
    x[:, 0] += 4  # the second class is rare
    model = softmax_model(2)
    better = model.with_threshold(x, y)
    answers = better.predict(x)
    assert answers.tolist() == (better.predict_proba(x)[:, 1] >= better.task.threshold).astype(int).tolist()
    np.testing.assert_array_equal(better.predict_proba(x), model.predict_proba(x))
    before, after = model.evaluate(x, y), better.evaluate(x, y)
    assert after["acc"] == pytest.approx((answers == y).mean())
    assert after["f1"] != before["f1"]
    assert after["auc"] == before["auc"]
    better.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(jaxfc.Model.load(tmp_path / "m.safetensors").predict(x), answers)

    ensemble = Ensemble.of([model, model]).with_threshold(x, y)
    np.testing.assert_array_equal(ensemble.predict(x), answers)
    labels = np.stack([y, 1 - y], axis=1).astype(np.uint8)
    several = linear(np.eye(2), jaxfc.Multilabel(), About("labels", classes=("a", "b")))
    chosen = several.with_threshold(x, labels, metric="balanced_acc")
    p = chosen.predict_proba(x)
    np.testing.assert_array_equal(chosen.predict(x), p >= np.asarray(chosen.task.threshold)[None, :])
    assert chosen.evaluate(x, labels)["exact_match"] == pytest.approx((chosen.predict(x) == labels).all(axis=1).mean())


def test_a_threshold_that_cannot_be_is_refused():
    x, y = classes_drawn(30, 1.0)
    with pytest.raises(ValueError, match="two classes or for labels; this model predicts 3 classes"):
        softmax_model().with_threshold(x, y)
    with pytest.raises(ValueError, match="rows of both kinds; all 3 are 1"):
        calibration.threshold(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="unknown metric of a threshold 'f2': did you mean 'f1'"):
        calibration.threshold(np.ones(3), np.ones(3), "f2")


def twin(scores, coverage):
    """The margin, said otherwise: the least score that so many of n + 1 rows do not exceed."""
    n = len(scores)
    return next(s for s in sorted(scores) if (scores <= s).sum() >= coverage * (n + 1))


QUANTILE = jaxfc.Regression(criterion="quantile", quantiles=(0.1, 0.5, 0.9))


@pytest.mark.parametrize("quantiles", [False, True])
def test_intervals_cover_what_they_promise(quantiles):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(21_000, 2)).astype(np.float32)
    noise = rng.normal(size=(21_000, 2)) * (1 + np.abs(x))
    y = x + noise
    if quantiles:  # far too narrow at first
        weights = np.repeat(np.eye(2), 3, axis=1) * np.array([0.9, 1.0, 1.1] * 2)
        model = linear(weights, QUANTILE, About("numbers", num_targets=2))
    else:
        model = linear(np.eye(2), jaxfc.Regression(), About("numbers", num_targets=2))
    held, new = slice(0, 1000), slice(1000, None)
    intervals = model.conformal(x[held], y[held])
    for coverage in (0.5, 0.9, 0.99):
        low, high = intervals.interval(x[new], coverage)
        covered = ((low <= y[new]) & (y[new] <= high)).mean(axis=0)
        np.testing.assert_allclose(covered, coverage, atol=0.04)
        p = model.prediction(x).astype(np.float64)
        ends = (p[:, ::3], p[:, 2::3]) if quantiles else (p, p)
        ends = np.minimum(*ends), np.maximum(*ends)
        scores = np.maximum(ends[0] - y, y - ends[1])[held]
        reach = np.array([twin(scores[:, i], coverage) for i in range(2)])
        np.testing.assert_allclose(low, ends[0][new] - reach, rtol=1e-9)
        np.testing.assert_allclose(high, ends[1][new] + reach, rtol=1e-9)


def test_too_few_rows_for_a_coverage_are_refused():
    model = linear(np.eye(1), jaxfc.Regression(), About("numbers", num_targets=1))
    intervals = model.conformal(np.ones((8, 1), np.float32), np.arange(8.0))
    with pytest.raises(ValueError, match=r"coverage=0.9 needs 9 held-out rows or more, and there are 8"):
        intervals.interval(np.ones((1, 1), np.float32))
    with pytest.raises(ValueError, match="between 0 and 1"):
        intervals.interval(np.ones((1, 1), np.float32), coverage=90)
    with pytest.raises(ValueError, match="this model predicts classes"):
        softmax_model().conformal(*classes_drawn(9, 1.0))


def test_a_temperature_goes_out_with_the_model():
    torch = pytest.importorskip("torch")
    x, _ = classes_drawn(5, 1.0)
    model = replace(softmax_model(), task=jaxfc.Classification(temperature=2.5))
    with torch.no_grad():
        np.testing.assert_allclose(model.to_torch()(torch.tensor(x)), model.predict_proba(x), atol=1e-6)
