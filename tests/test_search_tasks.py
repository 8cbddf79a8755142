"""Searches of every task, of one's own networks, and by metrics of which less is better."""

import dataclasses

import numpy as np
import pytest
from searches import CONFIG, SPACES, curves, digits, fit, table

import jaxfc
from jaxfc import search
from jaxfc.optim import adam
from jaxfc.search.spaces import parse
from jaxfc.search.trials import Trial

RATES = [{"learning_rate": rate} for rate in (1e-4, 1e-1, 1e-3, 1e-2, 3e-2, 3e-3)]


def test_a_search_of_a_regression_ranks_by_less_error():
    data, config = table(), dataclasses.replace(CONFIG, task="regression", rank="rmse", batch_size=25)
    found = search.run(data, config, RATES, method=search.Halving(), keep=2)
    first = [trial.at_rung(1) for trial in found.trials]
    kept = [trial.number for trial in found.trials if trial.status == "finished"]
    assert sorted(kept) == sorted(np.argsort(first)[:2])
    assert found.best.score == min(trial.score for trial in found.trials if trial.status == "finished")
    assert (found.best.metric, found.best.higher) == ("rmse", False)
    # In the target's own units, though the loss sees standardized targets.
    mean, measured = data.y_val.mean(axis=0), found.model().evaluate(data.x_val, data.y_val)
    assert measured["rmse"] == pytest.approx(found.best.score, rel=1e-4)
    assert measured["rmse"] < np.sqrt(np.square(data.y_val - mean).mean())
    result = fit(data, found.best.config)
    np.testing.assert_allclose(found.best.curve, result.val_history[1:], rtol=2e-3)
    assert found.ensemble(2).predict(data.x_test).shape == data.y_test.shape


def test_folds_of_a_regression_standardize_by_their_own_rows():
    data = table()
    config = dataclasses.replace(CONFIG, task="regression", batch_size=25)
    found = search.run(data, config, RATES[3:4], folds=2)
    for fold, member in zip(found.folds, found.ensemble(1).parts[0].members(), strict=True):
        np.testing.assert_allclose(member.task.mean, data.y_train[fold.rows].mean(axis=0), rtol=1e-5)


def test_a_search_of_labels():
    data = table("labels")
    config = dataclasses.replace(CONFIG, task="multilabel", batch_size=25)
    found = search.run(data, config, RATES, keep=2)
    assert (found.best.metric, found.best.higher) == ("f1", True)
    assert found.best.score == pytest.approx(found.model().evaluate(data.x_val, data.y_val)["f1"], abs=1e-5)
    assert found.best.score == max(trial.score for trial in found.trials) > 0.7
    assert set(np.unique(found.ensemble(2).predict(data.x_test))) == {0, 1}


def test_ranking_takes_the_least_where_less_is_better():
    def trial(number, scores, losses):
        val, val_loss = np.array([scores]), np.array([losses])
        return Trial(number, {}, None, 0, (2,), val_loss, val, val_loss, metric="rmse", higher=False)

    trials = [trial(0, [3.0, 2.0], [1.0, 1.0]), trial(1, [1.0, 4.0], [1.0, 1.0]), trial(2, [1.0, np.nan], [0.5, 2.0])]
    assert [t.number for t in search.ranked(trials)] == [2, 1, 0]
    assert [t.best_epoch for t in trials] == [2, 1, 1]
    assert [t.at_rung(1) for t in trials] == [3.0, 1.0, 1.0]


def test_networks_and_rules_of_ones_own_are_searched():
    data = digits()

    def build(settings):
        net = jaxfc.FCNet(data.num_features, (settings["width"],), 10, reg=settings["reg"])
        return net, jaxfc.Classification(rank="log_loss"), adam, {"learning_rate": settings["rate"]}

    # In 0.1 a whole number beside a fraction ended in "Argument types differ".
    spaces = {"reg": parse("reg", "choice:0,1e-4"), "rate": search.logspace(1e-4, 1e-2, 3)}
    settings = search.grid({"width": search.choice(8, 6), **spaces})
    found = search.run(data, build, settings, epochs=2, batch_size=50)
    assert (found.groups, found.best.config, found.best.settings["rate"]) == (1, None, 1e-2)
    assert (found.best.metric, found.best.higher) == ("log_loss", False)
    net, task, rule, hyper = build(found.best.settings)
    result = jaxfc.fit(net, rule, data, task=task, hyper=hyper, epochs=2, batch_size=50, verbose=False)
    np.testing.assert_allclose(found.best.curve, result.val_history[1:], rtol=2e-4)


def test_candidates_have_class_weights_of_their_own():
    data = digits()

    def build(settings):
        weights = np.ones(10, np.float32)
        weights[8] = settings["weight"]
        net = jaxfc.FCNet(data.num_features, (8,), 10)
        return net, jaxfc.Classification(class_weights=weights), adam, {"learning_rate": 1e-2}

    settings = search.grid({"weight": search.choice(1.0, 10.0), "seed": search.seeds(2)})
    found = search.run(data, build, settings, epochs=2, batch_size=50, keep=3)
    assert (found.groups, found.programs) == (1, 2)
    for trial in search.ranked(found.trials)[:3]:
        assert found.model(trial.number).accuracy(*data.split("val")) == pytest.approx(trial.score, abs=1e-6)
    with pytest.raises(ValueError, match="kept of 3 trials, and not of this one: search with a larger keep"):
        found.model(search.ranked(found.trials)[3].number)
    for number in (0, 3):
        net, _, rule, hyper = build(settings[number])
        run = {"epochs": 2, "batch_size": 50, "seed": settings[number]["seed"], "order_seed": 0, "verbose": False}
        alone = jaxfc.fit(net, rule, data, hyper=hyper, class_weight={"8": settings[number]["weight"]}, **run)
        np.testing.assert_allclose(found.trials[number].curve, alone.val_history[1:], atol=5e-3)
        np.testing.assert_allclose(
            found.trials[number].loss[0], alone.loss_history.reshape(2, -1).mean(axis=1), rtol=1e-4
        )


@pytest.mark.parametrize(
    ("build", "options", "error", "message"),
    [
        (lambda settings: None, {}, TypeError, "build returned NoneType; need .network, task, rule"),
        (lambda settings: settings, {"epoch": 2}, TypeError, "did you mean 'epochs'"),
        (dataclasses.replace(CONFIG, task="regression"), {}, ValueError, "Regression .* 'digits' has classes"),
        (dataclasses.replace(CONFIG, rank="rmse"), {}, ValueError, "unknown metric of Classification 'rmse'"),
    ],
)
def test_what_cannot_be_built_is_named(build, options, error, message):
    with pytest.raises(error, match=message):
        search.run(digits(), build, [{}], **options)


def test_curves_of_equal_candidates_are_equal():
    data = digits()
    found = search.run(data, CONFIG, search.sample(SPACES, 1) * 2)
    np.testing.assert_array_equal(*curves(found))
    assert found.best.number == 0
