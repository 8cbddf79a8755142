"""Searches: what the candidates are, that they do not disturb one another, rungs, folds, and going on."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxfc
from jaxfc import search
from jaxfc.config import TrainConfig
from jaxfc.errors import FormatError
from jaxfc.search import loop

CONFIG = TrainConfig(hidden=(16,), epochs=3, batch_size=50)
SPACES = {"learning_rate": search.loguniform(1e-3, 1e-1), "reg": search.loguniform(1e-5, 1e-2)}


@pytest.fixture(scope="module")
def data():
    return jaxfc.load("digits").subset(400)


def fit(data, config):
    rule, hyper = config.optimizer(len(data.x_train))
    run = {"epochs": config.epochs, "batch_size": config.batch_size, "seed": config.seed, "sampling": config.sampling}
    return jaxfc.fit(config.network(data), rule, data, hyper=hyper, **run, verbose=False)


def curves(found):
    return np.stack([trial.curve for trial in found.trials])


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 3e-3, "reg": 1e-3, "weight_scale": 0.05},
        {"learning_rate": 3e-3, "dropout_keep_ratio": 0.7, "normalization": "batchnorm", "norm_momentum": 0.8},
        {"update_rule": "sgd_momentum", "momentum": 0.8, "learning_rate": 1e-2, "lr_decay": 0.5, "clip_norm": 1.0},
        {"update_rule": "adamw", "beta1": 0.8, "beta2": 0.99, "weight_decay": 0.1, "schedule": "cosine"},
        {"activation": "tanh", "normalization": "layernorm", "label_smoothing": 0.1, "hidden": (8, 8)},
        {"sampling": "replacement", "batch_size": 30, "warmup_epochs": 1.0, "hidden": ()},
    ],
)
def test_a_candidate_is_the_training_that_fit_does(data, settings):
    found = search.run(data, CONFIG, [settings, {**settings, "learning_rate": 1e-4}], keep=2)
    trial = found.trials[0]
    result = fit(data, trial.config)
    np.testing.assert_allclose(trial.curve, result.val_acc_history[1:], atol=2.1 / len(data.x_val))
    np.testing.assert_allclose(trial.loss[0], result.loss_history.reshape(3, -1).mean(axis=1), rtol=2e-4)
    if found.best is trial and trial.best_epoch == result.best_epoch:
        mine, theirs = (model.predict_proba(data.x_test) for model in (found.model(), result.model(data)))
        np.testing.assert_allclose(mine, theirs, atol=5e-3)


def test_a_candidates_seed_is_that_of_its_weights_and_the_rows_are_the_searchs(data):
    found = search.run(data, CONFIG, [{"seed": seed} for seed in (0, 1, 1)])
    first, second, again = curves(found)
    assert (first != second).any()
    np.testing.assert_array_equal(second, again)


def test_a_candidate_depends_on_nothing_beside_it(data):
    settings = search.sample(SPACES, 11)
    whole = search.run(data, CONFIG, settings)
    reverse = search.run(data, CONFIG, settings[::-1])
    alone = search.run(data, CONFIG, settings[4:5])
    chunked = search.run(data, CONFIG, settings, chunk=3)
    np.testing.assert_array_equal(curves(whole), curves(reverse)[::-1])
    np.testing.assert_array_equal(curves(alone)[0], curves(whole)[4])
    np.testing.assert_array_equal(alone.trials[0].loss, whole.trials[4].loss)
    # Another width of the program may round otherwise.
    np.testing.assert_allclose(curves(chunked), curves(whole), atol=2.1 / len(data.x_val))
    for a, b in zip(chunked.trials, whole.trials, strict=True):
        np.testing.assert_allclose(a.loss, b.loss, rtol=1e-3)


def test_numbers_share_a_program_and_a_second_value_compiles_nothing(data, compilations):
    names = {
        "learning_rate": search.loguniform(1e-3, 1e-2), "beta1": search.uniform(0.8, 0.9),
        "beta2": search.uniform(0.99, 0.999), "epsilon": search.loguniform(1e-9, 1e-7),
        "weight_decay": search.loguniform(1e-3, 1e-1), "reg": search.loguniform(1e-5, 1e-3),
        "dropout_keep_ratio": search.uniform(0.5, 0.9), "weight_scale": search.loguniform(1e-2, 1e-1),
        "label_smoothing": search.uniform(0, 0.2), "norm_momentum": search.uniform(0.8, 0.95),
        "lr_decay": search.uniform(0.8, 1), "warmup_epochs": search.uniform(0, 2), "clip_norm": search.uniform(0.5, 2),
        "seed": search.integers(0, 99),
    }  # fmt: skip
    config = dataclasses.replace(CONFIG, update_rule="adamw", normalization="batchnorm")
    found = search.run(data, config, search.sample(names, 9))
    assert (found.groups, found.programs) == (1, 2)
    assert len({trial.score for trial in found.trials}) > 2
    compilations.clear()
    search.run(data, config, search.sample(names, 9, seed=1))
    assert not compilations


def test_static_settings_are_grouped_by_program(data):
    settings = search.grid(
        {
            "hidden": search.choice((8,), (8, 8)),
            "update_rule": search.choice("adam", "sgd"),
            "learning_rate": search.logspace(1e-3, 1e-2, 3),
        }
    )
    found = search.run(data, CONFIG, settings)
    assert (found.groups, found.programs) == (4, 8)
    assert len(found.trials) == 12


@pytest.mark.usefixtures("x64")
def test_a_float64_search_is_the_training_that_fit_does(data):
    config = dataclasses.replace(CONFIG, param_dtype="float64", normalization="batchnorm", epochs=2)
    found = search.run(data, config, [{"reg": 1e-3}])
    assert found.model().params[0]["w"].dtype == np.float64
    result = fit(data, found.best.config)
    np.testing.assert_allclose(found.best.loss[0], result.loss_history.reshape(2, -1).mean(axis=1), rtol=1e-9)


def test_what_diverges_is_marked_and_disturbs_nobody(data):
    config = dataclasses.replace(CONFIG, update_rule="sgd")
    healthy = [{"learning_rate": rate} for rate in (0.01, 0.02, 0.05)]
    found = search.run(data, config, [healthy[0], {"learning_rate": 1e30}, *healthy[1:]])
    failed = found.trials[1]
    assert failed.status == "failed"
    assert np.isnan(failed.score)
    with pytest.raises(jaxfc.DivergenceError, match=rf"at iteration {failed.failed_at} "):
        fit(data, failed.config)
    alone = search.run(data, config, healthy)
    np.testing.assert_array_equal(curves(found)[[0, 2, 3]], curves(alone))
    assert found.best.number != 1


def test_when_every_candidate_fails_there_is_no_best(data):
    config = dataclasses.replace(CONFIG, update_rule="sgd", learning_rate=1e30)
    found = search.run(data, config, [{}, {"seed": 1}])
    assert [trial.status for trial in found.trials] == ["failed", "failed"]
    with pytest.raises(ValueError, match="no candidate"):
        found.model()


def test_halving_stops_the_worse_at_each_rung_and_the_rest_train_as_ever(data):
    config = dataclasses.replace(CONFIG, epochs=9)
    settings = search.sample(SPACES, 9)
    found = search.run(data, config, settings, method=search.Halving())
    whole = curves(search.run(data, config, settings))
    assert sorted(trial.epochs for trial in found.trials) == [1] * 6 + [3] * 2 + [9]
    for trial in found.trials:
        np.testing.assert_array_equal(trial.curve, whole[trial.number, : trial.epochs])
    first = whole[:, 0]
    gone = [trial.number for trial in found.trials if trial.epochs == 1]
    assert first[gone].max() <= first[[n for n in range(9) if n not in gone]].min()
    assert found.best.status == "finished"


def test_hyperband_runs_brackets(data):
    config = dataclasses.replace(CONFIG, epochs=9)
    found = search.run(data, config, search.sample(SPACES, 22), method=search.Hyperband())
    assert [trial.bracket for trial in found.trials] == [0] * 12 + [1] * 6 + [2] * 4
    assert sorted(t.epochs for t in found.trials if t.bracket == 0) == [1] * 8 + [3] * 3 + [9]
    assert [t.epochs for t in found.trials if t.bracket == 2] == [9] * 4


def test_patience_stops_a_candidate_where_fit_would(data):
    config = dataclasses.replace(CONFIG, epochs=30, patience=2)
    settings = [{"learning_rate": rate} for rate in (0.02, 0.05, 1e-3)]
    found = search.run(data, config, settings)
    whole = search.run(data, dataclasses.replace(config, patience=None), settings)
    assert [trial.status for trial in found.trials] == ["patience", "patience", "finished"]
    for trial, unstopped in zip(found.trials[:2], whole.trials, strict=False):
        best, since = -1.0, 0
        for accuracy in unstopped.curve:
            best, since = (accuracy, 0) if accuracy > best else (best, since + 1)
            if since == 2:
                break
        assert trial.score == np.float32(best)
        assert trial.epochs < 30


def test_folds_are_trained_apart(data):
    settings = search.sample(SPACES, 3)
    found = search.run(data, CONFIG, settings, folds=4, keep=2)
    assert found.programs == 2
    trial = found.trials[1]
    assert trial.val_acc.shape == (4, 3)
    assert trial.score == pytest.approx(trial.val_acc.mean(axis=0).max())
    # A fold by hand: what is held out and what is trained on are apart, and together are all rows.
    folds = search.folds.split(data, 4, 0)
    held = np.concatenate([np.setdiff1d(np.arange(400), fold.rows) for fold in folds])
    assert sorted(held) == list(range(400))
    first = folds[0]
    own = dataclasses.replace(
        data, x_train=data.x_train[first.rows], y_train=data.y_train[first.rows], x_val=first.x_val, y_val=first.y_val
    )
    np.testing.assert_allclose(fit(own, trial.config).val_acc_history[1:], trial.val_acc[0], atol=2.1 / 100)
    assert found.ensemble(2).num_members == 8
    with pytest.raises(ValueError, match="4 folds: use ensemble"):
        found.model()


def test_an_ensemble_is_the_mean_of_its_members(data, tmp_path):
    settings = [{"seed": seed, "hidden": hidden} for seed in range(2) for hidden in ((16,), (8, 8))]
    found = search.run(data, CONFIG, settings, keep=3)
    ensemble = found.ensemble(3)
    members = [
        jaxfc.Model.of(found.nets[t.number], jax.tree.map(jnp.asarray, found.kept[t.number][0].params), (), data)
        for t in search.ranked(found.trials)[:3]
    ]
    mean = np.mean([member.predict_proba(data.x_test) for member in members], axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(data.x_test), mean, rtol=1e-5, atol=1e-7)
    ensemble.save(tmp_path / "e.safetensors")
    again = jaxfc.Ensemble.load(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(again.predict_proba(data.x_test), ensemble.predict_proba(data.x_test))
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "e.safetensors").read_bytes()[:-9])
    with pytest.raises(FormatError, match="half"):
        jaxfc.Ensemble.load(tmp_path / "half.safetensors")
    with pytest.raises(ValueError, match="keep=4"):
        found.ensemble(4)


class Killed(Exception):
    """Stands in for a kill."""


@pytest.mark.parametrize("chunks", [1, 3, 6])
def test_a_killed_search_goes_on_to_the_same_result(data, tmp_path, monkeypatch, chunks):
    config = dataclasses.replace(CONFIG, epochs=9)
    settings = [*search.sample(SPACES, 8), {"update_rule": "sgd", "learning_rate": 1e30}]
    how = {"method": search.Halving(), "folds": 2, "keep": 2, "chunk": 2}
    whole = search.run(data, config, settings, **how)
    real, seen = loop._record, []

    def killed(*args):
        seen.append(args)
        if len(seen) > chunks:
            raise Killed
        real(*args)

    monkeypatch.setattr(loop, "_record", killed)
    monkeypatch.setattr(
        loop.Storage, "save", lambda self, state, sometimes=False, save=loop.Storage.save: save(self, state)
    )
    with pytest.raises(Killed):
        search.run(data, config, settings, **how, checkpoint=tmp_path / "c")
    monkeypatch.undo()
    resumed = search.run(data, config, settings, **how, checkpoint=tmp_path / "c", resume=True)
    for a, b in zip(whole.trials, resumed.trials, strict=True):
        assert (a.status, a.failed_at, a.settings) == (b.status, b.failed_at, b.settings)
        np.testing.assert_array_equal(a.val_acc, b.val_acc)
    assert whole.kept.keys() == resumed.kept.keys()
    jax.tree.map(np.testing.assert_array_equal, whole.kept, resumed.kept)


def test_an_interrupted_search_keeps_what_is_finished(data, tmp_path, monkeypatch):
    settings = search.sample(SPACES, 8)
    real = loop._record

    def interrupting(*args):
        real(*args)
        os.kill(os.getpid(), 2)

    monkeypatch.setattr(loop, "_record", interrupting)
    with pytest.raises(KeyboardInterrupt):  # the second one, at once
        search.run(data, CONFIG, settings, chunk=1, checkpoint=tmp_path / "c")
    monkeypatch.undo()
    found = search.run(data, CONFIG, settings, chunk=1, checkpoint=tmp_path / "c", resume=True)
    np.testing.assert_array_equal(curves(found), curves(search.run(data, CONFIG, settings, chunk=1)))


def test_a_checkpoint_of_another_search_is_left_alone(data, tmp_path):
    path = tmp_path / "c"
    search.run(data, CONFIG, [{}], checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="resume=True"):
        search.run(data, CONFIG, [{}], checkpoint=path)
    for settings, config, name in (
        ([{"seed": 1}], CONFIG, "candidates"),
        ([{}], dataclasses.replace(CONFIG, epochs=4), "shared settings"),
    ):
        with pytest.raises(ValueError, match=f"another search .its {name} differ"):
            search.run(data, config, settings, checkpoint=path, resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "options", "error", "message"),
    [
        ([], {}, ValueError, "trials=0"),
        ([{"lerning_rate": 1}], {}, ValueError, "did you mean 'learning_rate'"),
        ([{"learning_rate": -1.0}], {}, ValueError, "learning_rate=-1.0"),
        ([{}, {"dropout_keep_ratio": 0.0}], {}, ValueError, "dropout_keep_ratio=0.0"),
        ([{"batch_size": 401}], {}, ValueError, "batch_size=401"),
        ([{"batch_size": 20.5}], {}, TypeError, "batch_size=20.5 must be an integer"),
        ([{"seed": -1}], {}, ValueError, "seed=-1"),
        ([{"sampling": "shufled"}], {}, ValueError, "did you mean 'shuffled'"),
        ([{}], {"folds": 0}, ValueError, "folds=0"),
        ([{}], {"folds": 401}, ValueError, "folds=401"),
        ([{}], {"keep": 0}, ValueError, "keep=0"),
        ([{}], {"chunk": 0}, ValueError, "chunk=0"),
        ([{}], {"chunk": 10**9}, ValueError, "chunk=1000000000.* do not fit"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_written(data, tmp_path, settings, options, error, message):
    with pytest.raises(error, match=message):
        search.run(data, CONFIG, settings, checkpoint=tmp_path / "c", **options)
    assert not (tmp_path / "c").exists()


def test_a_progress_bar_counts_candidates_and_epochs(data, capfd):
    search.run(data, CONFIG, search.sample(SPACES, 5), progress=True)
    assert "15/15" in capfd.readouterr().err
