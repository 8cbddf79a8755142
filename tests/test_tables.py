"""The benchmark on tables: it can be stopped at any moment, and ranks are what statistics books have."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")


@pytest.fixture(scope="module", autouse=True)
def parts():
    """What the script is made of can be imported meanwhile."""
    paths = list(sys.path)
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path[:] = paths


def test_tables_of_the_test_and_those_that_defaults_were_chosen_on_are_others():
    from tabular.sources import META, PACKAGES, TABLES, TEST

    assert len(TABLES) == len(TEST) + len(META)
    assert {table.task for table in TEST} == {table.task for table in META} == {"classification", "regression"}
    sources = [{(table.package, table.read, table.target) for table in part} for part in (TEST, META)]
    assert not sources[0] & sources[1]
    assert {table.package for table in TABLES.values()} == set(PACKAGES)


def test_a_run_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    import importlib.util

    from tabular.sources import TABLES

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # the script sets them
        monkeypatch.setenv(name, "1")
    spec = importlib.util.spec_from_file_location("tables", SCRIPTS / "tables.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    file = tmp_path / "found.jsonl"
    command = ["tables.py", "--models", "linear", "--tables", "wine", "diabetes", "--repeats", "1", "--out", str(file)]
    monkeypatch.setattr(sys, "argv", [*command, "--minutes", "0"])
    script.main()
    assert len(file.read_text().splitlines()) == 1
    with file.open("a") as half:
        half.write('{"table":"wine","model":"lin')  # a process was killed
    found = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", [*command, "--json", str(found), "--picture", str(tmp_path / "found.png")])
    script.main()
    report = json.loads(found.read_text())
    assert list(report["tables"]) == ["wine", "diabetes"]
    assert report["tables"]["wine"] | {"rows": 178, "columns": 13, "classes": 3} == report["tables"]["wine"]
    assert [len(report["results"][name]["linear"]["fit_cpu_s"]) for name in ("wine", "diabetes")] == [5, 5]
    assert np.mean(report["results"]["wine"]["linear"]["acc"]) > 0.95
    assert TABLES["wine"].package == "sklearn"
    before = file.read_bytes()
    script.main()
    assert file.read_bytes() == before
    assert "mean ranks" in capsys.readouterr().out


def test_models_are_compared_on_the_folds_that_all_have():
    from tabular.ranks import shared

    have = {"a": (0, 1, 2), "b": (1, 2, 3)}
    entries = {("wine", model, 0, fold): {} for model, folds in have.items() for fold in folds}
    assert {key[3] for key in shared(entries)} == {1, 2}


def test_a_model_without_all_tables_is_ranked_by_itself_on_those_that_it_has():
    from tabular import report
    from tabular.sources import TABLES

    def measured(acc):
        names = ("acc", "auc", "log_loss", "ece", "fit_s", "fit_cpu_s", "predict_s", "predict_cpu_s")
        return dict.fromkeys(names, acc)

    names, scores = ("wine", "breast-cancer"), {"linear": 0.5, "mlp": 0.4}
    entries = {
        (table, model, 0, fold): measured(acc) for table in names for model, acc in scores.items() for fold in (0, 1)
    }
    entries |= {("wine", "catboost", 0, fold): measured(0.6) for fold in (0, 1)}
    entries |= {("breast-cancer", "catboost", 0, 0): measured(0.6)}  # stopped on the way
    found = report.whole(entries, [TABLES[name] for name in names])
    assert found["models"] == ["linear", "mlp"]
    assert found["ranks"]["score"]["mean"] == {"linear": 1, "mlp": 2}
    assert found["partly"]["catboost"]["tables"] == ["wine"]
    assert found["partly"]["catboost"]["ranks"]["score"] == {"linear": 2, "mlp": 3, "catboost": 1}
    assert [len(found["results"]["breast-cancer"][model]["acc"]) for model in found["results"]["breast-cancer"]] == [
        2,
        2,
    ]
    assert "catboost has 1 of the tables" in report.text(found)


def test_mean_ranks_and_critical_difference():
    from tabular.ranks import critical_difference, ranks, wilcoxon_holm

    scores = np.array([[0.9, 0.8, 0.8], [0.5, 0.7, 0.6]])
    np.testing.assert_allclose(ranks(scores, higher=True), [[1, 2.5, 2.5], [3, 1, 2]])
    np.testing.assert_allclose(ranks(scores, higher=False), [[3, 1.5, 1.5], [1, 3, 2]])
    # Demšar (2006) has q = 2.569 for four models at 5%.
    np.testing.assert_allclose(critical_difference(4, 14), 2.569 * np.sqrt(4 * 5 / (6 * 14)), rtol=1e-3)
    always = np.column_stack([np.arange(12.0), np.arange(12.0) + 1, np.arange(12.0) + 1])
    assert wilcoxon_holm(always, ["a", "b", "c"]) == pytest.approx({"a / b": 3 / 2**11, "a / c": 3 / 2**11, "b / c": 1})


def test_calibration_error_of_confidence_that_is_right_and_of_one_that_is_not():
    from tabular.runs import calibration_error

    sure, right = np.full(100, 0.8), np.arange(100) % 5 > 0
    assert calibration_error(sure, right, bins=5) == pytest.approx(0)
    assert calibration_error(np.full(100, 0.99), right, bins=5) == pytest.approx(0.19)
