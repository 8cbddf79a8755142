"""The benchmark runs and writes what it says. No time is asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench.py"


def bench(*arguments):
    return subprocess.run([sys.executable, str(BENCH), *map(str, arguments)], capture_output=True, text=True)


def test_quick_run_writes_table_and_file(tmp_path):
    file = tmp_path / "bench.json"
    file.write_text('{"bench": "jaxfc", "of": "an earlier run"}')
    done = bench("--quick", "--work", "c", "--peers", "jaxfc", "numpy", "--json", file)
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
def test_bad_arguments_end_in_one_line(arguments, message):
    done = bench(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
