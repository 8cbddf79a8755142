"""The benchmark runs and writes what it says. No time is asserted."""

import importlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jaxfc

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "scripts" / "bench.py"


@pytest.fixture(scope="module")
def script():
    """The script as a module; what it is made of can be imported meanwhile."""
    paths = list(sys.path)
    spec = importlib.util.spec_from_file_location("bench", BENCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = paths


def part(name):
    return importlib.import_module(name)


def test_quick_run_writes_table_and_file(tmp_path):
    file = tmp_path / "bench.json"
    file.write_text('{"bench": "jaxfc", "of": "an earlier run"}')
    command = [sys.executable, BENCH, "--quick", "--work", "c", "--peers", "jaxfc", "numpy"]
    done = subprocess.run([*command, "--json", file], capture_output=True, text=True, cwd=tmp_path)
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
    assert [row["title"] for row in rows] == ["jaxfc", "NumPy"]
    for row in rows:
        assert row["status"] == "ok", row
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
    written = capsys.readouterr()
    assert stop.value.code == 2
    assert message in written.err
    assert written.err.count("\n") == 1
    assert written.out == ""


def digits(works):
    """A few rows of the digits, as a peer reads them."""
    data = jaxfc.load("digits").subset(200)
    return works.Data(data.x_train, data.y_train, data.x_val, data.y_val, *data.normalizer)


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("a", "jaxfc"),
        ("b", "jaxfc-bfloat16"),
        ("d", "jaxfc-search"),
        ("a", "numpy"),
        ("b", "sklearn"),
        ("c", "sklearn"),
        ("a", "torch-bfloat16"),
        ("a", "flax"),
        ("a", "equinox"),
    ],
)
def test_peers_learn_at_the_size_of_a_toy_and_say_how_much(script, name, peer):
    works, entry = part("peers.work"), part("peers").PEERS[peer]
    pytest.importorskip(entry.package)
    small = {"hidden_dims": (32,), "batch_size": 50, "epochs": 25, "iterations": None, "keep_ratio": None}
    work = replace(works.WORKS[name], **small, candidates=min(works.WORKS[name].candidates, 2))
    trainer = getattr(part(f"peers.{entry.module}"), entry.cls)(work, digits(works), entry.variant)
    trainer.start()
    outcome = trainer.train(work.plans(200, 0))
    assert outcome.losses[-1] < outcome.losses[0]
    assert (trainer.accuracy() if outcome.val_acc is None else outcome.val_acc) > 0.5


def test_a_bfloat16_peer_computes_in_bfloat16(script):
    works, peers = part("peers.work"), part("peers")
    work = replace(works.WORKS["b"], hidden_dims=(4,))
    for name, dtype in (("jaxfc", "float32"), ("jaxfc-bfloat16", "bfloat16")):
        entry = peers.PEERS[name]
        assert entry.dtype == dtype
        assert part("peers.jaxfc_peer").Jaxfc(work, digits(works), entry.variant).net.dtype == dtype
    entry = peers.PEERS["jaxfc-search-bfloat16"]
    search = part("peers.jaxfc_search_peer").JaxfcSearch(work, digits(works), entry.variant)
    assert entry.dtype == search.config.compute_dtype == "bfloat16"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_meter_computes_every_product_of_a_step(script, dtype):
    product = part("peers.product")
    factors, flops = product.step_products((6, 5, 3), 4, dtype)
    shapes = [(kind, a.shape, b.shape) for kind, a, b in factors]
    forward, last = ("nn", (4, 6), (6, 5)), ("nn", (4, 5), (5, 3))
    if dtype == "float32":
        backward = [("tn", (4, 6), (4, 5)), ("tn", (4, 5), (4, 3)), ("nt", (4, 3), (5, 3))]
    else:  # the one form of which XLA has a fast product
        backward = [("nn", (6, 4), (4, 5)), ("nn", (5, 4), (4, 3)), ("nn", (4, 3), (3, 5))]
    assert shapes == [forward, backward[0], last, *backward[1:]]
    assert flops == 2 * (2 * 4 * 6 * 5 + 3 * 4 * 5 * 3)
    total = 0.0
    for kind, a, b in factors:
        assert a.dtype == b.dtype == dtype
        a, b = (np.asarray(each, np.float64) for each in (a, b))
        total += ((a.T if kind == "tn" else a) @ (b.T if kind == "nt" else b))[0, 0]
    assert float(product.repeated(factors, 3)()) == pytest.approx(3 * total, rel=1e-5)
