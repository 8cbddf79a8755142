"""What version 0.1 wrote can be read: its models and ensembles, its run folders and search folders."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import fails, jaxfc, value

from jaxfc import Classification, Ensemble, Model, load

THERE = Path(__file__).with_name("version_0_1")
EXPECTED = json.loads((THERE / "expected.json").read_text())
FILES = {
    "run": (Model, "run/model.safetensors"),
    "search": (Model, "search/model.safetensors"),
    "ensemble": (Ensemble, "search/ensemble.safetensors"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A copy of the folders, where commands can write."""
    monkeypatch.delenv("JAXFC_DATA", raising=False)
    monkeypatch.chdir(shutil.copytree(THERE, tmp_path / "here"))
    return Path.cwd()


@pytest.mark.parametrize("name", FILES)
def test_models_predict_what_they_did(name):
    kind, file = FILES[name]
    model, data = kind.load(THERE / file), load("digits")
    assert model.task == Classification(label_smoothing=model.task.label_smoothing)
    assert (model.classes, model.image_shape) == (data.classes, (8, 8))
    np.testing.assert_allclose(model.predict_proba(data.x_test[:4]), EXPECTED[name]["first"], rtol=1e-6)
    assert model.accuracy(*data.split("test")) == EXPECTED[name]["test_acc"]


@pytest.mark.parametrize("name", FILES)
def test_a_model_that_is_written_again_is_the_same(name, tmp_path):
    kind, file = FILES[name]
    model = kind.load(THERE / file)
    model.save(tmp_path / "again.safetensors")
    x = load("digits").x_test[:4]
    np.testing.assert_array_equal(kind.load(tmp_path / "again.safetensors").predict_proba(x), model.predict_proba(x))


@pytest.mark.parametrize(("what", "name"), [("run", "run"), ("search", "search"), (FILES["ensemble"][1], "ensemble")])
def test_evaluate_and_predict_take_its_folders(capfd, folder, what, name):
    code, out, err = jaxfc(capfd, "evaluate", what)
    assert (code, err) == (0, [])
    assert value(out, "accuracy") == round(EXPECTED[name]["test_acc"], 4)
    np.save("x.npy", load("digits").x_test[:4])
    assert jaxfc(capfd, "predict", what, "x.npy")[0] == 0
    rows = list(csv.DictReader((folder / "x.predictions.csv").open()))
    probabilities = [[float(row[f"p_{digit}"]) for digit in range(10)] for row in rows]
    np.testing.assert_allclose(probabilities, EXPECTED[name]["first"], atol=1e-6)


def test_its_runs_are_not_gone_on_with(capfd, folder):
    before = (folder / "run" / "checkpoint.safetensors").read_bytes()
    line = fails(capfd, "train", "--resume", "--out", "run", "--no-progress")
    assert "written by version 0.1" in line
    assert "cannot be gone on with" in line
    assert (folder / "run" / "checkpoint.safetensors").read_bytes() == before
