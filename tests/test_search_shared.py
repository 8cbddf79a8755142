"""Searches that workers share: the ledger's promises, and real processes of which one is killed."""

import csv
import json

import numpy as np
import pytest
from command import fails, jaxfc
from processes import ended, started
from searches import CONFIG, SPACES, curves, digits

from jaxfc import Model, search
from jaxfc.search.ledger import ATTEMPT, CANDIDATE, Ledger, Sharing

optuna = pytest.importorskip("optuna")
FLAGS = ["--hidden", 8, "--epochs", 2, "--num-train", 300, "--learning-rate", "loguniform:1e-3:1e-1", "--no-progress"]
COURSE = {"status": "finished"}


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(params=["journal.log", "sqlite:///study.db"])
def storage(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return request.param


def worker(storage, clock=None, total=4, lease=10, **fingerprint):
    def entry(number):
        return {"rate": 0.1 * number}, {"rate": optuna.distributions.FloatDistribution(0, 1)}

    how = {"higher": True, "clock": clock or Clock()}
    return Ledger(Sharing(storage, lease=lease), {"data": "digits", **fingerprint}, entry, total, **how)


def states(ledger):
    """What Optuna itself has of each entry."""
    return [(t.user_attrs[CANDIDATE], t.user_attrs[ATTEMPT], t.state.name) for t in ledger._study.trials]


def test_candidates_are_claimed_by_one_worker_and_noted_once(storage):
    a, b = worker(storage), worker(storage)
    both = a.survey(), b.survey()
    assert both[0].waiting == both[1].waiting == [0, 1, 2, 3]
    assert a.claim([0, 1, 2, 3], 3) == [0, 1, 2]
    assert b.claim([0, 1, 2, 3], 3) == [3]  # which were waiting when it looked
    assert a.note(0, COURSE, 0.5)
    assert a.note(1, {"status": "failed"}, None)
    survey = b.survey()
    assert (survey.waiting, survey.running, survey.courses) == ([], [2, 3], {0: COURSE, 1: {"status": "failed"}})
    assert states(b) == [(0, 0, "COMPLETE"), (1, 0, "FAIL"), (2, 0, "RUNNING"), (3, 0, "RUNNING")]
    assert b._study.best_trial.params == {"rate": 0.0}


def test_what_a_silent_worker_had_is_taken_over_and_its_late_note_refused(storage):
    clock = Clock()
    a, b, c = (worker(storage, clock) for _ in range(3))
    a.survey()
    a.claim([0, 1], 2)
    for each in (b, c):
        assert each.survey().running == [0, 1]
    clock.now = 9
    a._beat()
    assert b.survey().running == [0, 1]
    clock.now = 18  # nine seconds after b heard of it, eighteen after c did
    assert b.survey().running == [0, 1]
    clock.now = 20
    b.survey()
    assert b.survey().waiting == [0, 1, 2, 3]
    c.survey()
    assert b.claim([0], 1) == [0]
    assert not a.note(0, COURSE, 0.5)
    assert b.note(0, COURSE, 0.5)
    assert [each for each in states(b) if each[0] < 2] == [
        (0, 0, "FAIL"), (1, 0, "FAIL"), (0, 1, "COMPLETE"), (1, 1, "WAITING"),
    ]  # fmt: skip


def test_what_a_leaving_worker_had_waits_for_others_at_once(storage):
    with worker(storage) as a:
        a.survey()
        a.claim([0, 1], 2)
        a.note(1, COURSE, 0.5)
    b = worker(storage)
    survey = b.survey()
    assert survey.waiting == [0, 2, 3]
    assert survey.workers == 1


def test_a_death_between_two_steps_loses_nothing(storage, monkeypatch):
    clock = Clock()
    with monkeypatch.context() as dying:
        dying.setattr(Ledger, "_enter", lambda *_: 1 / 0)  # the study is made, and nothing entered
        with pytest.raises(ZeroDivisionError):
            worker(storage, clock, total=2)
    a, b = (worker(storage, clock, total=2) for _ in range(2))
    assert a.survey().waiting == b.survey().waiting == []
    clock.now = 11
    a.survey()
    b._enter(0, 0)  # at the same moment, say: the first entry counts
    assert a.survey().waiting == [0, 1]
    assert a.claim([0, 1], 2) == [0, 1]
    assert b.survey().waiting == []
    # A claim's end, and then no new entry.
    with monkeypatch.context() as dying:
        dying.setattr(Ledger, "_enter", lambda *_: None)
        a._give_back(a._claimed.pop(0))
    clock.now = 12
    assert b.survey().waiting == []
    clock.now = 30  # and none of the other, whose worker says nothing
    b.survey()
    assert b.survey().waiting == [0, 1]


def test_another_search_or_study_is_refused(storage, tmp_path):
    worker(storage)
    with pytest.raises(ValueError, match="is of another search \\(its data differ\\): start all workers with the same"):
        worker(storage, data="other")
    with pytest.raises(ValueError, match="its lease differ"):
        worker(storage, lease=20)
    other = optuna.create_study(storage=f"sqlite:///{tmp_path}/other.db", study_name="jaxfc", direction="maximize")
    other.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(ValueError, match="'jaxfc' is of no jaxfc search"):
        worker(f"sqlite:///{tmp_path}/other.db")


def test_a_shared_search_is_the_search_of_one(tmp_path):
    data, settings = digits(), search.sample({**SPACES, "normalization": search.choice(None)}, 6)
    options = {"keep": 2, "folds": 2}
    alone = search.run(data, CONFIG, settings, **options)
    sharing = Sharing(str(tmp_path / "journal.log"))
    found = search.run_shared(data, CONFIG, settings, sharing, folder=tmp_path / "kept", **options)
    np.testing.assert_array_equal(curves(found), curves(alone))
    np.testing.assert_array_equal(found.ensemble(2).predict(data.x_test), alone.ensemble(2).predict(data.x_test))
    again = search.run_shared(data, CONFIG, settings, sharing, folder=tmp_path / "kept", **options)
    assert again.programs == 0  # nothing is trained twice
    assert [t.rank for t in again.trials] == [t.rank for t in alone.trials]
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_one_of_three_workers_is_killed(tmp_path):
    dying = (
        "import time; from jaxfc import cli; from jaxfc.search.ledger import Ledger\n"
        "real = Ledger.claim\n"
        "def claim(*args):\n"
        "    print('claimed', len(real(*args)), flush=True)\n"
        "    time.sleep(600)\n"
        "Ledger.claim = claim\n"
        "import sys; cli.main(sys.argv[1:])"
    )
    flags = ["search", *FLAGS, "--trials", 9, "--chunk", 2, "--ensemble", 2]
    shared = [*flags, "--study", "journal.log", "--lease", 3, "--out", "shared"]
    with started(["-c", dying, *shared], cwd=tmp_path) as (killed,):
        while not killed.stdout.readline().startswith("claimed"):
            pass
        with started(*[["-m", "jaxfc_command", *each] for each in (shared, shared, [*flags, "--out", "whole"])],
                     cwd=tmp_path) as others:  # fmt: skip
            killed.kill()
            results = ended(others, 100)
    assert [code for code, *_ in results] == [0, 0, 0], results
    for _, out, _ in results[:2]:
        *_, report, what_next = out.splitlines()
        assert report == "report: shared/report.html"
        assert what_next.startswith("next: jaxfc evaluate shared; ")
    table, whole = ((tmp_path / name / "trials.csv").read_text() for name in ("shared", "whole"))
    assert table == whole
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
    study = optuna.load_study(study_name="jaxfc", storage=optuna.storages.JournalStorage(backend))
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    assert sorted(trial.user_attrs[CANDIDATE] for trial in done) == list(range(9))
    assert any(trial.state.name == "FAIL" for trial in study.trials)  # of the one that was killed
    for trial, row in zip(sorted(done, key=lambda t: t.user_attrs[CANDIDATE]), csv.DictReader(whole.splitlines()),
                          strict=True):  # fmt: skip
        assert trial.params["learning_rate"] == float(row["learning_rate"])
        assert f"{trial.value:.4f}" == row["val_acc"]
    a, b = (Model.load(tmp_path / name / "model.safetensors") for name in ("shared", "whole"))
    np.testing.assert_array_equal(a.params[0]["w"], b.params[0]["w"])
    assert (tmp_path / "shared" / "ensemble.safetensors").exists()


def test_the_command_says_what_cannot_be_shared(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shared = ["search", *FLAGS, "--trials", 2, "--study", "journal.log"]
    assert "method=halving compares all candidates" in fails(capfd, *shared, "--method", "halving")
    assert "lease=0" in fails(capfd, *shared, "--lease", 0)
    assert "name a file in a folder that is there" in fails(capfd, *shared[:-1], "absent/journal.log")
    (tmp_path / "text").write_text("no journal\n" * 3)
    assert "is no journal of Optuna's" in fails(capfd, *shared[:-1], "text", "--out", "a")
    code, out, _ = jaxfc(capfd, *shared, "--out", "mine")
    assert code == 0
    assert out[-2] == "report: mine/report.html"
    assert out[-1].startswith("next: jaxfc evaluate mine; ")
    assert json.loads((tmp_path / "mine" / "search.json").read_text())["study"] == "jaxfc"
    assert "its candidates differ" in fails(capfd, *shared, "--search-seed", 1, "--out", "other")
    assert "workers share as 'jaxfc': name its --study" in fails(capfd, "search", "--resume", "--out", "mine")
    # A machine that shares no folder has no part of the best model; with the file it has.
    code, out, _ = jaxfc(capfd, *shared, "--out", "elsewhere")
    assert code == 0
    assert "put what other workers have in their own folders into elsewhere/kept" in out[-1]
    (kept,) = (tmp_path / "mine" / "kept").iterdir()
    (tmp_path / "elsewhere" / "kept").mkdir(exist_ok=True)
    kept.rename(tmp_path / "elsewhere" / "kept" / kept.name)
    code, out, _ = jaxfc(capfd, "search", "--resume", "--out", "elsewhere", "--study", "journal.log", "--no-progress")
    assert code == 0
    a, b = (Model.load(tmp_path / name / "model.safetensors") for name in ("mine", "elsewhere"))
    np.testing.assert_array_equal(a.params[0]["w"], b.params[0]["w"])
