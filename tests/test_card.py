"""The commands that calibrate and describe a run, and the pictures of an evaluation."""

import jax
import numpy as np
import pytest
from command import FAST, done, fails, jaxfc, write_table

from jaxfc import Ensemble, Model
from jaxfc.artifacts.ensemble import load_predictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_table(folder / "t.csv", rows=200)
    where = ["--data", folder / "t.csv", "--label", "side"]
    done("train", *where, *FAST, "--out", folder / "run")
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    yield "run"
    for made in ("calibrated.safetensors", "card.md"):
        (folder / "run" / made).unlink(missing_ok=True)


def test_calibrate_keeps_a_model_beside_the_runs_own(capfd, run):
    code, out, err = jaxfc(capfd, "calibrate", run, "--threshold", "f1")
    assert (code, err) == (0, [])
    assert out[0].endswith("t.csv, val: 20 rows")
    named = dict(line.split(": ") for line in out)
    before, now = (float(word) for word in named["log_loss"].split()[::2][:2])
    assert now <= before
    model = Model.load("run/calibrated.safetensors")
    assert float(named["temperature"]) == pytest.approx(float(model.task.temperature), abs=1e-4)
    assert 0 < float(model.task.threshold) < 1
    assert Model.load("run/model.safetensors").task.temperature is None
    assert "run/calibrated.safetensors exists" in fails(capfd, "calibrate", run)

    code, out, _ = jaxfc(capfd, "evaluate", "run/calibrated.safetensors")
    assert code == 0
    assert [line for line in out if line.startswith(("ece: ", "log_loss: "))]
    assert "picture: run/reliability-test.png" in out


def test_a_card_says_what_the_folder_holds(capfd, run):
    code, out, err = jaxfc(capfd, "describe", run)
    assert (code, err) == (0, [])
    text = "\n".join(out)
    assert out[0] == "# run"
    assert "Predicts one of 2 classes: left, right." in text
    for line in (
        "| rows are | 7 columns: height, width, depth, tall, wide, mass, weight |",
        "| epochs | 2 |",
        "| hidden | 16 |",
        f"| version of jax | {jax.__version__} |",
        "## Measured, after epoch ",
        'model = jaxfc.Model.load("model.safetensors")',
    ):
        assert line in text
    history = np.genfromtxt("run/history.csv", delimiter=",", names=True)
    assert f"| val_acc | {history['val_acc'].max():.6f} |".replace("_", r"_") in text
    assert jaxfc(capfd, "describe", run, "--out", "run/card.md")[1] == ["card: run/card.md"]
    with open("run/card.md") as file:
        assert file.read() == text + "\n"
    assert "run/card.md exists" in fails(capfd, "describe", run, "--out", "run/card.md")


def test_a_file_alone_has_a_card(capfd, run, tmp_path):
    model = load_predictor("run/model.safetensors")
    Ensemble.of([model, model]).save(tmp_path / "two|three.safetensors")
    code, out, err = jaxfc(capfd, "describe", tmp_path / "two|three.safetensors")
    assert (code, err) == (0, [])
    assert out[0] == r"# two\|three"
    assert "The mean of 2 networks, the first of which is:" in out
    assert not [line for line in out if line.startswith(("## Training", "## Measured"))]
    assert "no such run folder" in fails(capfd, "describe", "nowhere")


def test_a_prediction_in_chunks_shows_a_bar(run, capfd):
    model = load_predictor("run/model.safetensors")
    x = np.random.default_rng(0).normal(size=(30_000, 7)).astype(np.float32)
    shown = model.prediction(x, progress=True)
    assert "30000/30000" in capfd.readouterr().err.replace(".0k", "000")
    np.testing.assert_array_equal(shown, model.prediction(x))
    assert capfd.readouterr().err == ""
