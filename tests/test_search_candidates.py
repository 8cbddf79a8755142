"""What a candidate is: the very training that `fit` does with its configuration, on all rows or on a fold."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from searches import CONFIG, curves, digits, fit

import jaxfc
from jaxfc import search
from jaxfc.search import folds


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.mark.parametrize(
    ("settings", "shared"),
    [
        (
            {
                "update_rule": "sgd_momentum", "momentum": 0.8, "learning_rate": 1e-2, "lr_decay": 0.5,
                "clip_norm": 1.0, "normalization": "batchnorm", "norm_momentum": 0.8, "dropout_keep_ratio": 0.7,
                "weight_scale": 0.05, "reg": 1e-3, "seed": 3,
            },
            {},
        ),
        (
            {
                "network": "residual", "hidden": (8,), "expansion": 2, "depth_keep_ratio": 0.8, "seed": 1,
                "update_rule": "adamw", "beta1": 0.8, "weight_decay": 0.1, "schedule": "cosine", "warmup_epochs": 1.0,
                "label_smoothing": 0.1, "sampling": "replacement", "batch_size": 30,
            },
            {},
        ),
        (
            {"hidden": (), "accumulate": 5, "seed": 5},
            {"augment": ("mirror", "noise:0.1"), "ema_decay": 0.9, "class_weight": ("balanced",)},
        ),
    ],
    ids=["plain", "residual", "linear"],
)  # fmt: skip
def test_a_candidate_is_the_training_that_fit_does(data, settings, shared):
    found = search.run(
        data, dataclasses.replace(CONFIG, **shared), [settings, {**settings, "learning_rate": 1e-4}], keep=2
    )
    trial, result = found.trials[0], fit(data, found.trials[0].config)
    assert_same(data, trial, result)
    assert trial.config.order_seed == 0
    assert found.model().about == result.model(data).about
    if found.best is trial and trial.best_epoch == result.best_epoch:
        mine, theirs = (model.predict_proba(data.x_test) for model in (found.model(), result.model(data)))
        np.testing.assert_allclose(mine, theirs, atol=5e-3)


def assert_same(data, trial, result, rtol=2e-4):
    """A trial and a run of `fit` took the same course; a validation row or two may round otherwise."""
    epochs = trial.epochs
    np.testing.assert_allclose(trial.curve, result.val_history[1:], atol=2.1 / len(data.x_val))
    np.testing.assert_allclose(trial.val_loss[0], result.val_loss_history[1:], rtol=rtol)
    np.testing.assert_allclose(trial.loss[0], result.loss_history.reshape(epochs, -1).mean(axis=1), rtol=rtol)


@pytest.mark.usefixtures("x64")
def test_a_float64_search_is_the_training_that_fit_does(data):
    config = dataclasses.replace(CONFIG, param_dtype="float64", normalization="batchnorm")
    found = search.run(data, config, [{"reg": 1e-3}])
    assert found.model().params[0]["w"].dtype == np.float64
    assert_same(data, found.best, fit(data, found.best.config), rtol=1e-9)


def test_patience_ends_a_candidate_where_it_ends_fit(data):
    # At rate 0 nothing improves on the first epoch; in 0.1 fit took the untrained network for the best.
    config = dataclasses.replace(CONFIG, epochs=24, patience=3)
    found = search.run(data, config, [{"learning_rate": rate} for rate in (0.0, 0.05, 1e-3)])
    result = fit(data, found.trials[0].config)
    assert (found.trials[0].status, result.stopped) == ("patience", "patience")
    assert found.trials[0].best_epoch == result.best_epoch == 1
    assert found.trials[0].score == pytest.approx(result.best_score, abs=1.1 / len(data.x_val))
    for trial in found.trials:
        best = 0
        for epoch, measured in enumerate(zip(trial.curve, -trial.val_loss[0], strict=True)):
            best = epoch if measured > (trial.curve[best], -trial.val_loss[0][best]) else best
            if epoch - best == 3:
                break
        assert (epoch - best == 3) == (trial.status == "patience")
        assert trial.best_epoch == best + 1
        assert np.ptp(trial.curve[epoch:]) == 0


def test_hyper_parameters_that_are_arrays_can_be_used_again(data):
    rate = jnp.float32(1e-2)  # in 0.1 the first training donated it
    first, second = (
        jaxfc.fit(CONFIG.net(data), "adam", data, hyper={"learning_rate": rate}, epochs=1, verbose=False)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.loss_history, second.loss_history)
    assert rate == 1e-2


def test_a_candidates_seed_is_that_of_its_weights_and_the_rows_are_the_searchs(data):
    found = search.run(data, CONFIG, [{"seed": seed, "learning_rate": 0.01} for seed in (0, 1, 1)])
    first, second, again = curves(found)
    assert (first != second).any()
    np.testing.assert_array_equal(second, again)
    assert {trial.config.order_seed for trial in found.trials} == {0}


def test_folds_are_trained_apart(data):
    weights = np.random.default_rng(0).uniform(0.5, 2, len(data.x_train)).astype(np.float32)
    data = dataclasses.replace(data, w_train=weights)
    found = search.run(data, CONFIG, [{"learning_rate": rate} for rate in (1e-3, 1e-2)], folds=4, keep=2)
    assert found.programs == 2
    trial = found.trials[1]
    assert trial.val_acc.shape == (4, 3)
    assert trial.score == pytest.approx(trial.val_acc.mean(axis=0).max())
    # A fold by hand: what is held out and what is trained on are apart, and together are all rows.
    held = np.concatenate([fold.held for fold in found.folds])
    assert sorted(held) == list(range(200))
    first = found.folds[0]
    assert not set(first.rows) & set(first.held)
    result = fit(data.take(first.rows, first.held), trial.config)
    np.testing.assert_allclose(result.val_history[1:], trial.val[0], atol=2.1 / 50)
    np.testing.assert_allclose(result.val_loss_history[1:], trial.val_loss[0], rtol=2e-4)
    assert found.ensemble(2).num_members == 8
    with pytest.raises(ValueError, match="4 folds: use ensemble"):
        found.model()


def test_no_fold_knows_the_rows_that_it_is_measured_on(data):
    first = folds.split(data, 2, 0)[0]
    x = data.x_train.copy()
    x[first.held[0]] = 255
    again, other = folds.split(dataclasses.replace(data, x_train=x), 2, 0)
    np.testing.assert_array_equal(again.held, first.held)
    np.testing.assert_array_equal(again.normalizer.mean, first.normalizer.mean)
    np.testing.assert_array_equal(again.normalizer.scale, first.normalizer.scale)
    assert (other.normalizer.mean != folds.split(data, 2, 0)[1].normalizer.mean).any()
