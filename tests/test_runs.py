"""`jaxfc train`, as a user meets it: what is printed, what is written, how it goes on."""

import csv
import json
import os
import re
import shlex
import shutil
import stat
from functools import partial

import jax
import numpy as np
import pytest
from command import FAST, done, fails, interrupted_at_once, jaxfc, value

from jaxfc import Model, load


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXFC_DATA", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder, and the lines that its training printed."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, done("train", *FAST, "--out", out)


@pytest.fixture
def run(trained, folder):
    """A copy of that folder, `run`."""
    return shutil.copytree(trained[0], folder / "run")


def test_a_run_prints_and_keeps_what_it_promises(trained, run):
    out = trained[1]
    assert out[0].startswith("device: cpu")
    assert any(line.split()[:1] == ["total"] for line in out)
    assert [line for line in out if re.fullmatch(r"\(Epoch \d / 2\) train acc: 0\.\d{6}; val_acc: 0\.\d{6}", line)]
    assert {p.name for p in run.iterdir()} == {
        "config.json", "checkpoint.safetensors", "model.safetensors", "history.csv", "curves.png",
    }  # fmt: skip
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((run / "history.csv").open()))
    assert [(row["epoch"], row["iteration"]) for row in rows] == [("0", "0"), ("1", "40"), ("2", "80")]
    assert list(rows[0]) == ["epoch", "iteration", "mean_loss", "train_acc", "val_acc", "val_loss"]
    assert json.loads((run / "config.json").read_text())["hidden"] == [16]
    data = load("digits")
    assert round(Model.load(run / "model.safetensors").accuracy(*data.split("test")), 4) == value(out, "test_acc")
    assert max(float(row["val_acc"]) for row in rows[1:]) == pytest.approx(value(out, "val_acc"), abs=1e-4)


def test_folders_are_numbered(capfd, folder):
    (folder / "runs" / "digits-1").mkdir(parents=True)
    _, out, _ = jaxfc(capfd, "train", *FAST)
    assert out[-2] == "run: runs/digits-2"
    assert (folder / "runs" / "digits-2" / "model.safetensors").exists()


def test_the_last_line_is_of_commands_that_can_be_given(capfd, folder):
    """In a folder with a space in its name, without test rows; a search names its own, not its final run's."""
    data = load("digits")
    np.savez("d.npz", x=data.x_train[:100], y=data.y_train[:100], x_val=data.x_val, y_val=data.y_val)
    np.save("new.npy", data.x_test)
    small = ["--data", "d.npz", "--hidden", "4", "--epochs", "1", "--no-progress"]
    for command, flags, count in (("train", [], 3), ("search", ["--trials", "1", "--then-train=--epochs 1"], 2)):
        code, out, _ = jaxfc(capfd, command, *small, *flags, "--out", f"my {command}")
        assert (code, sum("next: " in line for line in out)) == (0, 1)
        commands = out[-1].removeprefix("next: ").split("; ")
        assert len(commands) == count
        for each in commands:
            program, *args = shlex.split(each.replace("FILE", "new.npy"))
            code, out, err = jaxfc(capfd, *args)
            assert (program, code, err) == ("jaxfc", 0, []), each
        (folder / "new.predictions.csv").unlink()


def test_plain_training_reaches_97_percent(capfd):
    code, out, _ = jaxfc(capfd, "train", "--no-progress")
    assert code == 0
    assert value(out, "test_acc") > 0.965  # 97.0% where this was written; one of the 300 images may round otherwise


def test_no_hidden_layer_is_a_linear_classifier(capfd):
    code, out, _ = jaxfc(capfd, "train", "--hidden", "--epochs", "2", "--no-progress")
    assert code == 0
    assert ["total", "650"] in [line.split() for line in out]


def test_resuming_goes_on_with_the_runs_own_settings(capfd, folder, run, monkeypatch):
    from jaxfc.training import runs

    def stop(report):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "prepare", partial(runs.prepare, group=1))
        patch.setattr(runs, "carry_out", partial(runs.carry_out, callbacks=[stop]))
        assert jaxfc(capfd, "train", *FAST, "--out", "halved")[0] == 130
    code, out, _ = jaxfc(capfd, "train", "--resume", "--out", "halved")
    assert code == 0
    assert not any(line.startswith("(Epoch 1 ") for line in out)
    for name in ("history.csv", "config.json"):
        assert (folder / "halved" / name).read_text() == (run / name).read_text()
    halved, whole = (Model.load(each / "model.safetensors") for each in (folder / "halved", run))
    np.testing.assert_array_equal(halved.params[0]["w"], whole.params[0]["w"])


def test_a_finished_run_is_extended(capfd, run):
    before = list(csv.DictReader((run / "history.csv").open()))
    code, out, _ = jaxfc(capfd, "train", "--resume", "--extend", "4", "--out", "run", "--no-progress")
    assert code == 0
    assert any(line.startswith("extended to 4 epochs: ") for line in out)
    after = list(csv.DictReader((run / "history.csv").open()))
    assert after[:3] == before
    assert len(after) == 5
    assert json.loads((run / "config.json").read_text())["epochs"] == 4
    assert "extend=4 must be more than the 4" in fails(capfd, "train", "--resume", "--extend", "4", "--out", "run")


def test_an_extension_that_was_killed_goes_on_without_being_told_again(capfd, folder, run, monkeypatch):
    from jaxfc.training import runs

    whole = shutil.copytree(run, folder / "whole")
    assert jaxfc(capfd, "train", "--resume", "--extend", "4", "--out", whole)[0] == 0
    real = runs.carry_out

    def killed(*args, **kwargs):
        real(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "carry_out", killed)
    assert jaxfc(capfd, "train", "--resume", "--extend", "4", "--out", "run")[0] == 130
    monkeypatch.setattr(runs, "carry_out", real)
    assert json.loads((run / "config.json").read_text())["epochs"] == 2
    assert "epochs=2, not 3" in fails(capfd, "train", "--resume", "--epochs", "3", "--out", "run")
    assert jaxfc(capfd, "train", "--resume", "--out", "run")[0] == 0
    for name in ("history.csv", "config.json"):
        assert (run / name).read_text() == (whole / name).read_text()


def test_a_run_interrupted_before_its_first_epoch_is_gone_on_with(capfd, folder, run, monkeypatch):
    from jaxfc.training import fit

    monkeypatch.setattr(fit, "interrupts", interrupted_at_once)
    code, out, _ = jaxfc(capfd, "train", *FAST, "--out", "early")
    assert code == 0
    assert "interrupted after epoch 0; to go on: jaxfc train --resume --out early" in out
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert jaxfc(capfd, "train", "--resume", "--out", "early")[0] == 0
    assert (folder / "early" / "history.csv").read_text() == (run / "history.csv").read_text()


def test_a_model_whose_checkpoint_is_gone_is_not_overwritten(capfd, run):
    (run / "checkpoint.safetensors").unlink()
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    line = fails(capfd, "train", "--resume", "--out", "run")
    assert "run has a model.safetensors and no checkpoint.safetensors to go on from" in line
    assert before == {p.name: p.read_bytes() for p in run.iterdir()}


def test_resuming_refuses_other_settings_and_other_folders(capfd, run):
    line = fails(capfd, "train", "--resume", "--out", "run", "--learning-rate", "0.5")
    assert "learning_rate=None, not 0.5" in line
    line = fails(capfd, "train", "--resume", "--out", "run", "--epochs", "5")
    assert "epochs=2, not 5" in line
    assert "--extend" in line
    assert "add --out RUN" in fails(capfd, "train", "--resume")
    assert "expected the folder of a training run" in fails(capfd, "train", "--resume", "--out", "absent")


def test_a_folder_that_holds_something_is_left_alone(capfd, folder, run):
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("precious")
    assert "is not empty: pass --resume" in fails(capfd, "train", *FAST, "--out", "mine")
    assert [p.name for p in (folder / "mine").iterdir()] == ["notes.txt"]
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    assert "is not empty" in fails(capfd, "train", *FAST, "--out", "run")
    assert before == {p.name: p.read_bytes() for p in run.iterdir()}


def test_a_run_that_diverges_fails_with_code_1_and_keeps_its_folder(capfd, folder):
    line = fails(capfd, "train", *FAST, "--learning-rate", "1e30", "--out", "x", code=1)
    assert "learning rate 1e+30" in line
    assert (folder / "x" / "config.json").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(capfd, folder):
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert "Permission denied" in fails(capfd, "train", *FAST)
    finally:
        folder.chmod(stat.S_IRWXU)


def test_a_place_that_cannot_be_written_is_named(capfd, folder):
    (folder / "file").write_text("not a folder")
    assert "file" in fails(capfd, "train", *FAST, "--out", "file/run")
    assert "is not empty" in fails(capfd, "train", *FAST, "--out", "file")


def test_a_full_disk_is_named_and_the_last_checkpoint_stays(capfd, run, monkeypatch):
    from jaxfc.artifacts import checkpoint

    kept = (run / "checkpoint.safetensors").read_bytes()

    def full(path, contents):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "write_atomically", full)
    line = fails(capfd, "train", "--resume", "--out", "run")  # finished: it only writes the model again
    assert "No space left on device" in line
    assert (run / "checkpoint.safetensors").read_bytes() == kept


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "config.json"])
def test_damaged_run_files_are_named(capfd, run, name):
    (run / name).write_bytes((run / name).read_bytes()[:50])
    assert f"run/{name}" in fails(capfd, "train", "--resume", "--out", "run")


@pytest.fixture
def own_precision():
    """Commands may turn 64-bit mode on; whatever they leave, the process gets its setting back."""
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.usefixtures("own_precision")
@pytest.mark.parametrize("flag", ["--param-dtype", "--compute-dtype"])
def test_a_float64_run_is_usable_by_a_new_process(capfd, recwarn, flag):
    _, trained, _ = jaxfc(capfd, "train", *FAST, flag, "float64", "--out", "run")
    jax.config.update("jax_enable_x64", False)
    code, out, _ = jaxfc(capfd, "evaluate", "run")
    assert code == 0
    assert value(out, "accuracy") == value(trained, "test_acc")
    assert not [w for w in recwarn.list if "float64" in str(w.message)]
