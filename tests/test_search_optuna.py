"""The bridge to Optuna, against Optuna's own storage."""

import dataclasses

import pytest

import jaxfc
from jaxfc import TrainConfig, search

optuna = pytest.importorskip("optuna")
from jaxfc.search.optuna_bridge import optimize  # noqa: E402

CONFIG = TrainConfig(hidden=(8,), epochs=3, batch_size=50)


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="module")
def data():
    return jaxfc.load("digits").subset(300)


def make_study(**options):
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0), **options)


def test_a_shared_study_is_told_every_accuracy(data, tmp_path):
    where = {"storage": f"sqlite:///{tmp_path}/study.db", "study_name": "shared"}
    spaces = {
        "learning_rate": search.loguniform(1e-3, 1e-1),
        "reg": search.uniform(0, 1e-3),
        "seed": search.integers(0, 5),
        "hidden": search.choice((8,), ()),
    }
    found = optimize(make_study(**where), data, CONFIG, spaces, trials=5, batch=3)
    assert [len(each.trials) for each in found] == [3, 2]
    study = optuna.load_study(**where)
    mine = [trial for each in found for trial in each.trials]
    for theirs, trial in zip(study.trials, mine, strict=True):
        assert theirs.value == pytest.approx(trial.score)
        assert list(theirs.intermediate_values.values()) == pytest.approx(list(trial.curve))
        assert theirs.params["learning_rate"] == trial.settings["learning_rate"]
        assert theirs.params["hidden"] == {(8,): "8", (): "linear"}[trial.settings["hidden"]]
    assert theirs.distributions["learning_rate"].log
    again = optimize(optuna.load_study(**where), data, CONFIG, spaces, trials=1)
    assert len(optuna.load_study(**where).trials) == 6
    assert len(again[0].trials) == 1


def test_what_failed_and_what_was_stopped_are_marked(data):
    study = make_study()
    optimize(study, data, CONFIG, {"learning_rate": search.choice(0.05, 1e30)}, trials=6, batch=6)
    states = {trial.params["learning_rate"]: trial.state.name for trial in study.trials}
    assert states == {"0.05": "COMPLETE", "1e+30": "FAIL"}
    study = make_study()
    rates = {"learning_rate": search.loguniform(1e-3, 1e-1)}
    optimize(study, data, CONFIG, rates, trials=6, batch=6, method=search.Halving())
    assert sorted(trial.state.name for trial in study.trials) == ["COMPLETE"] * 2 + ["PRUNED"] * 4


def test_a_study_is_told_of_trials_that_could_not_be_trained(data):
    study = make_study()
    with pytest.raises(ValueError, match="learning_rate=-"):
        optimize(study, data, CONFIG, {"learning_rate": search.uniform(-2, -1)}, trials=2)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL"]


def test_bad_arguments_are_named(data):
    with pytest.raises(ValueError, match="the study minimizes"):
        optimize(optuna.create_study(), data, CONFIG, {}, trials=1)
    with pytest.raises(ValueError, match=r'the study maximizes, and a lower log_loss .*"minimize"'):
        optimize(make_study(), data, dataclasses.replace(CONFIG, rank="log_loss"), {}, trials=1)
    with pytest.raises(ValueError, match="trials=0"):
        optimize(make_study(), data, CONFIG, {}, trials=0)
