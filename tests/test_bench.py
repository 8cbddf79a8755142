"""The benchmark runs and writes what it says. No time is asserted."""

import importlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jaxfc

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "scripts" / "bench.py"
needs_history = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the repository's history")


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


@needs_history
def test_quick_run_writes_table_and_file(tmp_path):
    file = tmp_path / "bench.json"
    file.write_text('{"bench": "jaxfc", "of": "an earlier run"}')
    command = [sys.executable, BENCH, "--quick", "--work", "c", "--peers", "jaxfc", "numpy", "--against", "HEAD"]
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
    assert len(report["against"]["HEAD"]) == 40
    assert list(report["works"]) == ["c"]
    rows = report["works"]["c"]["rows"]
    assert [row["title"] for row in rows] == ["jaxfc", "jaxfc at HEAD", "NumPy"]
    for row in rows:
        assert row["status"] == "ok", row
        assert len(row["times"]) == 1
        assert 0 < row["min"] <= row["median"] <= row["max"]
        assert row["first_seconds"] > 0 <= row["compile_seconds"]
        assert row["peak_memory"] > 2**20
        assert row["final_loss"] < row["first_loss"]  # it trained
        assert row["val_acc"] > 0.5
    here, there, numpy = rows
    assert here["ratio"] == 1 != numpy["ratio"] > 0
    assert there["slowdown"] == pytest.approx(here["median"] / there["median"])
    assert f"jaxfc at HEAD: this checkout takes {there['slowdown']:.2f} times as long" in done.stdout


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
        (["--against", "no-such-tag"], "--against no-such-tag: no such revision in this repository"),
        (["--against", "HEAD", "--peers", "numpy"], "--against: none of the works and peers asked for has jaxfc in it"),
        (["--against", "HEAD", "--work", "assignment"], "--against: none of the works and peers"),
        (["--fail-above", "1.1"], "--fail-above 1.1: name what to compare with, by --against"),
        (["--fail-above", "0", "--against", "HEAD"], "--fail-above 0: must be a positive ratio"),
        (["--fail-above", "nan", "--against", "HEAD"], "--fail-above nan: must be a positive ratio"),
        (["--fail-above", "1.1", "--against", "HEAD", "--quick"], "a --quick run is too short"),
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
def test_peers_learn_at_the_size_of_a_toy_and_say_how_much(promotion, script, name, peer):
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


# ---------------------------------------------------------------------------------------------------
# Against other revisions
# ---------------------------------------------------------------------------------------------------


@needs_history
def test_a_revision_is_extracted_with_its_own_peers_and_removed_again(script):
    revisions = part("benchmark.revisions")
    with revisions.extracted([revisions.resolved("HEAD")]) as roots:
        root = roots["HEAD"]
        assert all((root / path).is_file() for path in ("jaxfc/__init__.py", *revisions.NEEDED))
    assert not root.exists()


def test_a_revision_without_peers_is_refused(script, monkeypatch):
    revisions = part("benchmark.revisions")
    monkeypatch.setattr(revisions, "git", lambda command, *_: b"0123\n" if command == "rev-parse" else b"")
    with pytest.raises(ValueError, match=r"has no scripts/peers/jaxfc_peer.py"):
        revisions.resolved("long-ago")


def test_another_jaxfc_in_place_of_the_revisions_is_an_error(script, tmp_path):
    with pytest.raises(ImportError, match="is imported in place of the jaxfc in"):
        part("peers.revision").peer_class(tmp_path, part("peers").PEERS["jaxfc"])


@pytest.mark.parametrize("inside", [False, True])
def test_accuracy_of_peers_from_before_they_measured_it(script, inside):
    data = digits(part("peers.work"))
    net = jaxfc.FCNet(64, (), 10)
    params, stats = jaxfc.init(net, jax.random.key(0))
    peer = SimpleNamespace(net=net, state=SimpleNamespace(params=params, stats=stats))
    expected = ((data.x_val - data.mean) * data.scale) @ np.asarray(params[0]["w"])
    measured = part("peers.revision").accuracy(SimpleNamespace(net=net, progress=peer) if inside else peer, data)
    assert measured == pytest.approx(np.mean(expected.argmax(axis=1) == data.y_val))


def rounds(*seconds):
    """What a worker answered in rounds that took so long."""
    rest = {"first_loss": 2.0, "final_loss": 1.0, "val_acc": 0.9, "peak_memory": 2**20, "note": ""}
    return [rest | {"seconds": 10 * s, "per_step": s} for s in seconds]


def fabricated(here, there):
    """A work's result, of this checkout and of a revision."""
    rows = [{"peer": "jaxfc", "title": "jaxfc"}, {"peer": "jaxfc", "title": "jaxfc at v1", "revision": "v1"}]
    for row, times in zip(rows, (here, there), strict=True):
        row |= {"status": "ok", "first": rounds(5)[0], "rounds": rounds(*times)}
    summary, work = part("benchmark.figures").summary, part("peers.work").WORKS["b"]
    titles = {"title": work.title, "data": "none", "per_step": True, "products": {}}
    return titles | {"rows": [summary(row, rows, {}, work) for row in rows]}


def test_a_slowdown_is_the_median_over_rounds_of_this_checkouts_time_over_the_revisions(script):
    # The second round was slow for both.
    result = fabricated(here=(1.2, 3.3, 1.0), there=(1.0, 3.0, 1.0))
    assert result["rows"][0]["slowdown"] is None
    assert result["rows"][1]["slowdown"] == pytest.approx(1.1)
    slowdowns = part("benchmark.figures").slowdowns
    assert slowdowns({"b": result}, 1.2) == []
    assert slowdowns({"b": result}, 1.05) == [
        "work (b): this checkout takes 1.10 times as long as jaxfc at v1, more than 1.05 times"
    ]


def test_a_faster_checkout_and_a_work_without_rows_are_no_slowdown(script):
    works = {"b": fabricated(here=(1.0,), there=(2.0,)), "assignment": {"times": {}}}
    assert part("benchmark.figures").slowdowns(works, 1.0) == []


def test_what_could_not_be_compared_is_said(script):
    failed = {"peer": "jaxfc", "title": "jaxfc at v1", "revision": "v1", "status": "failed", "reason": "no memory"}
    lines = part("benchmark.figures").slowdowns({"a": {"rows": [failed]}}, 1.1)
    assert lines == ["work (a): this checkout and jaxfc at v1 could not be compared"]


@pytest.mark.parametrize(("limit", "code"), [("1.1", 1), ("1.3", 0)])
def test_exit_code_of_a_slowdown(script, monkeypatch, capsys, tmp_path, limit, code):
    revision = part("benchmark.revisions").Revision("v1", "0123")
    monkeypatch.setattr(part("benchmark.options"), "resolved", lambda name: revision)
    monkeypatch.setattr(script, "extracted", lambda revisions: part("contextlib").nullcontext({"v1": tmp_path}))
    monkeypatch.setattr(script, "run_work", lambda *_: fabricated(here=(1.25, 1.2), there=(1.0, 1.0)))
    machine = {"cpu": "c", "cores": 1, "backend": "cpu", "device": "cpu", "python": "3"}
    monkeypatch.setattr(script, "machine", lambda: machine)
    monkeypatch.setattr(script, "import_time", lambda: {"jax": 1.0, "jaxfc": 1.0})
    chosen = ["--work", "b", "c", "--against", "v1", "--fail-above", limit, "--json", str(tmp_path / "bench.json")]
    monkeypatch.setattr(sys, "argv", ["bench.py", *chosen])
    if code:
        with pytest.raises(SystemExit) as stop:
            script.main()
        # A text in place of a code is written to stderr, and the code is 1.
        assert [line.split(":")[1] for line in stop.value.code.splitlines()] == [" work (b)", " work (c)"]
    else:
        script.main()
    assert "jaxfc at v1" in capsys.readouterr().out
    assert json.loads((tmp_path / "bench.json").read_text())["against"] == {"v1": "0123"}
