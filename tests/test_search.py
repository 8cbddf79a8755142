"""Searches: that candidates do not disturb one another, what shares a program, rungs, going on, bad arguments."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from searches import CONFIG, SPACES, curves, digits, fit

import jaxfc
from jaxfc import search
from jaxfc.search import loop
from jaxfc.training.settings import RunSettings

HALVED = {"method": search.Halving(), "folds": 2, "keep": 2, "chunk": 2}


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.fixture(scope="module")
def settings():
    return search.sample(SPACES, 9)


@pytest.fixture(scope="module")
def whole(data, settings):
    """A search of all of them, to the end."""
    return search.run(data, CONFIG, settings, keep=3)


def test_a_candidate_depends_on_nothing_beside_it(data, settings, whole):
    reverse = search.run(data, CONFIG, settings[::-1])
    alone = search.run(data, CONFIG, settings[4:5])
    chunked = search.run(data, CONFIG, settings, chunk=2)
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
    spaces = {
        "hidden": search.choice((8,), (8, 8)),
        "update_rule": search.choice("adam", "sgd"),
        "learning_rate": search.logspace(1e-3, 1e-2, 3),
    }
    layout = loop.lay_out(data, CONFIG, search.grid(spaces), pad=False)
    assert [sorted(group.places) for group in layout.groups] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert len(layout.trials) == 12


def test_what_diverges_is_marked_and_disturbs_nobody(data, settings, whole):
    found = search.run(data, CONFIG, [settings[0], {"learning_rate": 1e30, "reg": 1e-3}, *settings[1:7]])
    failed = found.trials[1]
    assert failed.status == "failed"
    assert np.isnan(failed.score)
    with pytest.raises(jaxfc.DivergenceError, match=rf"at iteration {failed.failed_at} "):
        fit(data, failed.config)
    np.testing.assert_array_equal(np.delete(curves(found), 1, axis=0), curves(whole)[:7])
    assert found.best.number != 1


def test_when_every_candidate_fails_there_is_no_best(data, whole):
    found = search.run(data, dataclasses.replace(CONFIG, learning_rate=1e30, reg=0.1), [{}, {"seed": 1}])
    assert [trial.status for trial in found.trials] == ["failed", "failed"]
    with pytest.raises(ValueError, match="no candidate"):
        found.model()


def test_halving_stops_the_worse_at_each_rung_and_the_rest_train_as_ever(data, settings, whole):
    found = search.run(data, CONFIG, settings, method=search.Halving())
    unstopped = curves(whole)
    assert sorted(trial.epochs for trial in found.trials) == [1] * 6 + [3] * 3
    for trial in found.trials:
        # Another length of the program may round otherwise.
        np.testing.assert_allclose(trial.curve, unstopped[trial.number, : trial.epochs], atol=1.1 / len(data.x_val))
    first = {trial.number: trial.at_rung(1) for trial in found.trials}
    gone = [trial.number for trial in found.trials if trial.status == "stopped"]
    assert max(first[n] for n in gone) <= min(first[n] for n in first if n not in gone)
    assert found.best.status == "finished"


def test_hyperband_runs_brackets(data):
    found = search.run(data, CONFIG, search.sample(SPACES, 10), method=search.Hyperband())
    sizes = [sum(trial.bracket == place for trial in found.trials) for place in (0, 1)]
    assert sizes == [6, 4]
    assert sorted(t.epochs for t in found.trials if t.bracket == 0) == [1] * 4 + [3] * 2
    assert [t.epochs for t in found.trials if t.bracket == 1] == [3] * 4


def test_a_grids_order_does_not_decide_the_brackets(data):
    points = search.grid({"learning_rate": search.logspace(1e-3, 1e-1, 11), "seed": search.seeds(2)})
    layout = loop.lay_out(data, dataclasses.replace(CONFIG, epochs=9), points, method=search.Hyperband())
    places = [trial.bracket for trial in layout.trials]
    assert [places.count(place) for place in range(3)] == [12, 6, 4]
    assert places != sorted(places)  # as they were in 0.1
    assert all(len({trial.settings["seed"] for trial in layout.trials if trial.bracket == b}) == 2 for b in range(3))


def test_a_layout_can_be_carried_out_twice(data, settings):
    layout = loop.lay_out(data, CONFIG, settings, method=search.Halving())
    first, second = loop.carry_out(layout), loop.carry_out(layout)
    assert all(trial.epochs == 0 for trial in layout.trials)
    for a, b in zip(first.trials, second.trials, strict=True):
        assert a.status == b.status
        np.testing.assert_array_equal(a.val, b.val)


def test_an_ensemble_is_the_mean_of_its_members(data, whole, tmp_path):
    ensemble = whole.ensemble(3)
    members = [
        jaxfc.Model.of(
            whole.blueprints[t.number].net, jax.tree.map(jnp.asarray, whole.kept[t.number][0].params), (), data
        )
        for t in search.ranked(whole.trials)[:3]
    ]
    mean = np.mean([member.predict_proba(data.x_test) for member in members], axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(data.x_test), mean, rtol=1e-5, atol=1e-7)
    ensemble.save(tmp_path / "e.safetensors")
    again = jaxfc.Ensemble.load(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(again.predict_proba(data.x_test), ensemble.predict_proba(data.x_test))
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "e.safetensors").read_bytes()[:-9])
    with pytest.raises(jaxfc.FormatError, match="half"):
        jaxfc.Ensemble.load(tmp_path / "half.safetensors")
    with pytest.raises(ValueError, match="keep=4"):
        whole.ensemble(4)


class Killed(Exception):
    """Stands in for a kill."""


@pytest.mark.parametrize("chunks", [1, 6])
def test_a_killed_search_goes_on_to_the_same_result(data, settings, tmp_path, monkeypatch, chunks):
    candidates = [*settings[:8], {"reg": 0.1, "learning_rate": 1e30}]
    whole = search.run(data, CONFIG, candidates, **HALVED)
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
        search.run(data, CONFIG, candidates, **HALVED, checkpoint=tmp_path / "c")
    monkeypatch.undo()
    resumed = search.run(data, CONFIG, candidates, **HALVED, checkpoint=tmp_path / "c", resume=True)
    for a, b in zip(whole.trials, resumed.trials, strict=True):
        assert (a.status, a.failed_at, a.settings) == (b.status, b.failed_at, b.settings)
        np.testing.assert_array_equal(a.val, b.val)
        np.testing.assert_array_equal(a.val_loss, b.val_loss)
    assert whole.kept.keys() == resumed.kept.keys()
    jax.tree.map(np.testing.assert_array_equal, whole.kept, resumed.kept)


@pytest.fixture
def ctrl_c():
    """Ctrl-C is listened to, also where the tests are a background job, which is told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_search_keeps_what_is_finished(data, settings, tmp_path, monkeypatch):
    real = loop._record

    def interrupting(*args):
        real(*args)
        os.kill(os.getpid(), 2)

    monkeypatch.setattr(loop, "_record", interrupting)
    with pytest.raises(KeyboardInterrupt):  # the second one, at once
        search.run(data, CONFIG, settings, **HALVED, checkpoint=tmp_path / "c")
    monkeypatch.undo()
    found = search.run(data, CONFIG, settings, **HALVED, checkpoint=tmp_path / "c", resume=True)
    for a, b in zip(found.trials, search.run(data, CONFIG, settings, **HALVED).trials, strict=True):
        np.testing.assert_array_equal(a.val, b.val)


def test_a_checkpoint_of_another_search_is_left_alone(data, settings, whole, tmp_path):
    path = tmp_path / "c"
    search.run(data, CONFIG, settings[:1], checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="resume=True"):
        search.run(data, CONFIG, settings[:1], checkpoint=path)
    for mine, config, rows, name in (
        (settings[1:2], CONFIG, 200, "candidates"),
        (settings[:1], dataclasses.replace(CONFIG, epochs=4), 200, "shared settings"),
        (settings[:1], dataclasses.replace(CONFIG, activation="tanh"), 200, "shared settings"),
        (settings[:1], CONFIG, 199, "data"),
    ):
        with pytest.raises(ValueError, match=f"another search .its {name} differ"):
            search.run(data.subset(rows), config, mine, checkpoint=path, resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "options", "error", "message"),
    [
        ([], {}, ValueError, "trials=0"),
        ([{"lerning_rate": 1}], {}, ValueError, "did you mean 'learning_rate'"),
        ([{"epochs": 1}], {}, ValueError, "epochs cannot be searched"),
        ([{"learning_rate": -1.0}], {}, ValueError, "learning_rate=-1.0"),
        ([{}, {"dropout_keep_ratio": 0.0}], {}, ValueError, "dropout_keep_ratio=0.0"),
        ([{"batch_size": 401}], {}, ValueError, "batch_size=401"),
        ([{"batch_size": True}], {}, TypeError, "batch_size=True must be an integer"),
        ([{"batch_size": 1, "normalization": "batchnorm"}], {}, ValueError, "batch_size=1, .* at least 2 rows"),
        ([{"accumulate": 3}], {}, ValueError, "accumulate=3 must divide batch_size=50"),
        ([{"seed": -1}], {}, ValueError, "seed=-1"),
        ([{"sampling": "shufled"}], {}, ValueError, "did you mean 'shuffled'"),
        ([{}], {"folds": 0}, ValueError, "folds=0"),
        ([{}], {"folds": 201}, ValueError, "folds=201"),
        ([{}], {"keep": 0}, ValueError, "keep=0"),
        ([{}], {"chunk": 0}, ValueError, "chunk=0"),
        ([{}], {"chunk": 10**9}, ValueError, "chunk=1000000000.* do not fit"),
        ([{}], {"epochs": 2}, TypeError, "epochs is the configuration's own"),
        ([{}], {"epoch": 2}, TypeError, "did you mean 'epochs'"),
        ([{}], {"class_weight": {"11": 2.0}}, ValueError, "class '11'"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_written(data, tmp_path, settings, options, error, message):
    with pytest.raises(error, match=message) as raised:
        search.run(data, CONFIG, settings, checkpoint=tmp_path / "c", **options)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "c").exists()


def test_a_progress_bar_counts_candidates_and_epochs(data, settings, whole, capfd):
    search.run(data, CONFIG, settings[:5], progress=True)
    assert "15/15" in capfd.readouterr().err


def test_a_long_search_is_the_same_in_pieces(data, settings, whole, monkeypatch):
    monkeypatch.setattr(loop, "MOST_EPOCHS", 2)
    pieces = search.run(data, CONFIG, settings, keep=3)
    np.testing.assert_array_equal(curves(pieces), curves(whole))
    for a, b in zip(pieces.trials, whole.trials, strict=True):
        np.testing.assert_array_equal(a.loss, b.loss)
        assert (a.status, a.best_epoch) == (b.status, b.best_epoch)


def test_no_piece_has_more_epochs_or_plans_than_it_should():
    brackets, shared = search.Halving(3, 1).brackets(9, 9000), RunSettings(epochs=9000)
    stops = loop.stops_of(brackets, shared, 1000)
    assert set(brackets[0].rungs) <= set(stops)
    assert max(np.diff([0, *stops])) == 1000
    assert max(np.diff([0, *loop.stops_of(brackets, shared, 10**6)])) == loop.PLAN_BYTES // (4 * 10**6)
    assert loop.stops_of(search.Random().brackets(9, 1000), RunSettings(epochs=1000), 1000) == [1000]
