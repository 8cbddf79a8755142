"""The benchmark runs and writes what it says. No time is asserted."""

import importlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import jaxfc

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench.py"


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    paths = list(sys.path)
    spec = importlib.util.spec_from_file_location("bench", BENCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = paths


def test_quick_run_writes_table_and_file(tmp_path):
    file = tmp_path / "bench.json"
    file.write_text('{"bench": "jaxfc", "of": "an earlier run"}')
    command = [sys.executable, BENCH, "--quick", "--work", "c", "--peers", "jaxfc", "numpy", "--json", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "(c) [64], Adam, batch 32, 20 epochs: digits, 1297 rows; ms per run" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
    report = json.loads(file.read_text())
    assert report["bench"] == "jaxfc"
    assert report["quick"]
    assert report["versions"].keys() >= {"jax", "numpy"}
    assert report["machine"].keys() >= {"cpu", "cores", "backend", "device"}
    assert report["import"].keys() == {"jax", "jaxfc"}
    assert list(report["works"]) == ["c"]
    rows = report["works"]["c"]["rows"]
    assert [row["peer"] for row in rows] == ["jaxfc", "numpy"]
    for row in rows:
        assert row["status"] == "ok"
        assert len(row["times"]) == 1
        assert 0 < row["min"] <= row["median"] <= row["max"]
        assert row["first_seconds"] > 0 <= row["compile_seconds"]
        assert row["peak_memory"] > 2**20
        assert row["final_loss"] < row["first_loss"]  # it trained
        assert row["val_acc"] > 0.5
    assert rows[0]["ratio"] == 1 != rows[1]["ratio"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--work", "z"], "invalid choice: 'z'"),
        (["--peers", "theano"], "invalid choice: 'theano'"),
        (["--rounds", "0"], "--rounds 0: must be at least 1"),
        (["--rounds", "many"], "invalid int value: 'many'"),
        (["--data-dir", "nowhere"], "--data-dir nowhere: there is no such folder"),
        (["--json", "nowhere/bench.json"], "there is no folder nowhere"),
        (["--json", str(BENCH)], "exists and was not written by this benchmark"),
    ],
)
def test_bad_arguments_end_in_one_line(script, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        script.main()
    stderr = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "peer"), [("a", "jaxfc"), ("d", "jaxfc-search")])
def test_steps_and_searches_learn_at_the_size_of_a_toy(script, name, peer):
    works = importlib.import_module("peers.work")
    data = jaxfc.load("digits").subset(200)
    arrays = (data.x_train, data.y_train, data.x_val, data.y_val, *data.normalizer)
    small = {"hidden_dims": (8,), "batch_size": 50, "epochs": 3, "iterations": None}
    work = replace(works.WORKS[name], **small, candidates=min(works.WORKS[name].candidates, 2))
    entry = importlib.import_module("peers").PEERS[peer]
    trainer = getattr(importlib.import_module(f"peers.{entry.module}"), entry.cls)(work, works.Data(*arrays), "")
    trainer.start()
    losses = trainer.train(work.plans(200, 0)).losses
    assert losses[-1] < losses[0]
