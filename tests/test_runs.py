"""The command line, as a user meets it: what is printed, what is written, how it fails."""

import csv
import dataclasses
import json
import os
import re
import stat

import jax
import numpy as np
import pytest
from command import fails, jaxfc, value

from jaxfc.config import TrainConfig
from jaxfc.data import load
from jaxfc.model import Model

FAST = ["--hidden", "16", "--epochs", "2", "--no-progress"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXFC_DATA", raising=False)
    return tmp_path


def test_a_run_prints_and_keeps_what_it_promises(capfd, folder):
    code, out, err = jaxfc(capfd, "train", *FAST)
    assert code == 0
    assert not err
    assert out[0].startswith("device: cpu")
    assert any(line.split()[:1] == ["total"] for line in out)
    assert [line for line in out if re.fullmatch(r"\(Epoch \d / 2\) train acc: 0\.\d{6}; val_acc: 0\.\d{6}", line)]
    run = folder / "runs" / "digits-1"
    assert {p.name for p in run.iterdir()} == {
        "config.json", "checkpoint.safetensors", "model.safetensors", "history.csv", "curves.png",
    }  # fmt: skip
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((run / "history.csv").open()))
    assert [(row["epoch"], row["iteration"]) for row in rows] == [("0", "0"), ("1", "40"), ("2", "80")]
    assert json.loads((run / "config.json").read_text())["hidden"] == [16]
    data = load("digits")
    assert round(Model.load(run / "model.safetensors").accuracy(*data.split("test")), 4) == value(out, "test_acc")
    assert max(float(row["val_acc"]) for row in rows) == pytest.approx(value(out, "val_acc"), abs=1e-4)
    jaxfc(capfd, "train", *FAST)
    assert (folder / "runs" / "digits-2").is_dir()


def test_plain_training_reaches_97_percent(capfd):
    code, out, _ = jaxfc(capfd, "train", "--no-progress")
    assert code == 0
    assert value(out, "test_acc") > 0.965  # 97.0% where this was written; one of the 300 images may round otherwise


def test_every_flag_reaches_the_run(capfd, folder):
    flags = (
        "--hidden 8 8 --normalization batchnorm --activation gelu --dropout-keep-ratio 0.9 --reg 0.001 "
        "--weight-scale 0.1 --label-smoothing 0.1 --norm-momentum 0.8 "
        "--update-rule adamw --learning-rate 0.01 --weight-decay 0.1 --beta1 0.8 --beta2 0.99 --epsilon 1e-6 "
        "--clip-norm 1 --schedule cosine --warmup-epochs 1 --batch-size 64 --epochs 3 --sampling replacement "
        "--mirror --patience 2 --seed 5 --num-train 500 --compute-dtype bfloat16 --out here"
    )
    code, _, err = jaxfc(capfd, "train", *flags.split(), "--no-progress")
    assert (code, err) == (0, [])
    config = TrainConfig.from_json(folder / "here" / "config.json")
    changed = set(config.differences(TrainConfig()))
    fixed = {"data", "data_dir", "label", "param_dtype", "momentum", "decay_rate", "lr_decay"}
    assert changed == {f.name for f in dataclasses.fields(TrainConfig)} - fixed


def test_no_hidden_layer_is_a_linear_classifier(capfd):
    code, out, _ = jaxfc(capfd, "train", "--hidden", "--epochs", "5", "--no-progress")
    assert code == 0
    assert ["total", "650"] in [line.split() for line in out]


def test_resuming_goes_on_with_the_runs_own_settings(capfd, folder, monkeypatch):
    from jaxfc import runs

    jaxfc(capfd, "train", *FAST, "--out", "whole", "--patience", "9")
    real = runs.fit
    monkeypatch.setattr(runs, "fit", lambda *a, **k: real(*a, **k, callbacks=[stop]))

    def stop(report):
        raise KeyboardInterrupt

    assert jaxfc(capfd, "train", *FAST, "--out", "halved", "--patience", "9")[0] == 130
    monkeypatch.setattr(runs, "fit", real)
    code, out, _ = jaxfc(capfd, "train", "--resume", "--out", "halved")
    assert code == 0
    assert not any(line.startswith("(Epoch 1 ") for line in out)
    for name in ("history.csv", "config.json"):
        assert (folder / "halved" / name).read_text() == (folder / "whole" / name).read_text()
    halved, whole = (Model.load(folder / name / "model.safetensors") for name in ("halved", "whole"))
    np.testing.assert_array_equal(halved.params[0]["w"], whole.params[0]["w"])


def test_resuming_refuses_other_settings_and_other_folders(capfd):
    jaxfc(capfd, "train", *FAST, "--out", "a")
    line = fails(capfd, "train", "--resume", "--out", "a", "--learning-rate", "0.5")
    assert "learning_rate=0.001, not 0.5" in line
    assert "add --out RUN" in fails(capfd, "train", "--resume")
    assert "expected the folder of a training run" in fails(capfd, "train", "--resume", "--out", "absent")


def test_a_folder_that_holds_something_is_left_alone(capfd, folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("precious")
    assert "is not empty: pass --resume" in fails(capfd, "train", *FAST, "--out", "mine")
    assert [p.name for p in (folder / "mine").iterdir()] == ["notes.txt"]
    jaxfc(capfd, "train", *FAST, "--out", "run")
    before = {p.name: p.read_bytes() for p in (folder / "run").iterdir()}
    assert "is not empty" in fails(capfd, "train", *FAST, "--out", "run")
    assert before == {p.name: p.read_bytes() for p in (folder / "run").iterdir()}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("train --hiden 3", "Unrecognized options: --hiden"),
        ("train --hiden 3", "--hidden"),
        ("train --epochs many", "many"),
        ("trian", "train"),
        ("", "train"),
        ("train --data cifar", "did you mean 'cifar10'"),
        ("train --activation rleu", "did you mean 'relu'"),
        ("train --normalization batch", "did you mean 'batchnorm'"),
        ("train --update-rule adma", "did you mean 'adam'"),
        ("train --schedule cosin", "did you mean 'cosine'"),
        ("train --sampling shufled", "did you mean 'shuffled'"),
        ("train --learning-rate -1", "learning_rate=-1.0"),
        ("train --learning-rate nan", "learning_rate=nan"),
        ("train --lr-decay 0", "lr_decay=0.0"),
        ("train --dropout-keep-ratio 0", "dropout_keep_ratio=0.0 must be a finite number in (0, 1]"),
        ("train --reg -1", "reg=-1.0"),
        ("train --batch-size 5000", "batch_size=5000 must be from 1 to the number of training rows, 1297"),
        ("train --batch-size 0", "batch_size=0"),
        ("train --epochs 0", "epochs=0"),
        ("train --num-train 0", "num_train=0"),
        ("train --seed -1", "seed=-1"),
        ("train --clip-norm 0", "clip_norm=0.0"),
        ("gradcheck --seed -1", "seed=-1"),
        ("train --momentum 0.9", "adam has none"),
        ("train --beta1 1", "beta1=1.0"),
        ("train --norm-momentum 2", "norm_momentum=2.0"),
        ("train --hidden 0", "hidden_dims: 0"),
        ("train --data absent.npz", "absent.npz"),
        ("train --data cifar10 --data-dir absent", "absent"),
        ("evaluate absent", "absent"),
        ("predict absent absent.npy", "absent"),
    ],
)
def test_bad_input_is_one_line_that_names_it(capfd, folder, args, message):
    assert message in fails(capfd, *args.split())
    assert not (folder / "runs").exists()


def test_a_run_that_diverges_fails_with_code_1_and_keeps_its_folder(capfd, folder):
    args = ("train", *FAST, "--update-rule", "sgd", "--learning-rate", "1e30", "--out", "x")
    line = fails(capfd, *args, code=1)
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


def test_a_full_disk_is_named_and_the_last_checkpoint_stays(capfd, folder, monkeypatch):
    from jaxfc import checkpoint

    jaxfc(capfd, "train", *FAST, "--out", "run")
    kept = (folder / "run" / "checkpoint.safetensors").read_bytes()

    def full(path, contents):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "write_atomically", full)
    line = fails(capfd, "train", "--resume", "--out", "run")  # finished: it only writes the model again
    assert "No space left on device" in line
    assert (folder / "run" / "checkpoint.safetensors").read_bytes() == kept


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "config.json"])
def test_damaged_run_files_are_named(capfd, folder, name):
    jaxfc(capfd, "train", *FAST, "--out", "run")
    path = folder / "run" / name
    path.write_bytes(path.read_bytes()[:50])
    assert f"run/{name}" in fails(capfd, "train", "--resume", "--out", "run")


def test_evaluate_prints_classes_and_draws_the_confusion_matrix(capfd, folder):
    _, trained, _ = jaxfc(capfd, "train", *FAST, "--out", "run")
    for split, expected in (("test", value(trained, "test_acc")), ("val", value(trained, "val_acc"))):
        code, out, _ = jaxfc(capfd, "evaluate", "run", "--split", split)
        assert code == 0
        assert value(out, "accuracy") == expected
        table = [line.split() for line in out if len(line.split()) == 14]
        assert sum(int(row[3]) for row in table) == {"test": 300, "val": 200}[split]
        assert (folder / "run" / f"confusion-{split}.png").read_bytes().startswith(b"\x89PNG")
    assert "did you mean 'test'" in fails(capfd, "evaluate", "run", "--split", "tset")
    (folder / "run" / "model.safetensors").write_bytes(b"junk")
    assert "no complete safetensors file" in fails(capfd, "evaluate", "run")


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


def write_table(path, rows, seed=0):
    """A table whose class is text and follows from its first column."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    names = np.array(["left", "right"])[(x[:, 0] > 0).astype(int)]
    lines = ["height,width,side,depth"]
    lines += [f"{a:.4f},{b:.4f},{name},{c:.4f}" for (a, b, c), name in zip(x, names, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return names


def test_a_users_table_from_training_to_prediction(capfd, folder):
    write_table(folder / "table.csv", 400)
    args = ("--data", "table.csv", "--label", "side", "--hidden", "8", "--learning-rate", "0.01", "--no-progress")
    code, out, _ = jaxfc(capfd, "train", *args)
    assert code == 0
    assert value(out, "test_acc") > 0.9
    names = write_table(folder / "new.csv", 50, seed=1)
    code, out, _ = jaxfc(capfd, "evaluate", "runs/table-1", "--data", "new.csv", "--label", "side")
    assert code == 0
    accuracy = value(out, "accuracy")
    code, out, _ = jaxfc(capfd, "predict", "runs/table-1", "new.csv")
    assert code == 0
    rows = list(csv.DictReader((folder / "new.predictions.csv").open()))
    assert list(rows[0]) == ["label", "p_left", "p_right"]
    assert np.mean([row["label"] == name for row, name in zip(rows, names, strict=True)]) == pytest.approx(accuracy)
    for row in rows:
        assert float(row["p_left"]) + float(row["p_right"]) == pytest.approx(1, abs=1e-5)
        assert row["label"] == ("left" if float(row["p_left"]) > 0.5 else "right")
    assert "exists: remove it" in fails(capfd, "predict", "runs/table-1", "new.csv")


def test_predicting_and_evaluating_arrays(capfd, folder):
    jaxfc(capfd, "train", *FAST, "--out", "run")
    data = load("digits")
    np.save("x.npy", data.x_test)
    assert jaxfc(capfd, "predict", "run/model.safetensors", "x.npy", "--out", "p.csv")[0] == 0
    labels = [row["label"] for row in csv.DictReader((folder / "p.csv").open())]
    np.savez("xy.npz", x=data.x_test, y=np.array(labels).astype(int))
    _, out, _ = jaxfc(capfd, "evaluate", "run", "--data", "xy.npz")
    assert value(out, "accuracy") == 1
    np.save("wrong.npy", data.x_test[:, :5])
    assert "5" in fails(capfd, "predict", "run", "wrong.npy")
    assert not (folder / "wrong.predictions.csv").exists()


def test_gradcheck_prints_a_table(capfd, monkeypatch):
    from jaxfc import gradcheck

    row = gradcheck.Row("affine", "x", (2, 3), 1e-16, 1e-9)
    monkeypatch.setattr(gradcheck, "check_layers", lambda seed: [row])
    code, out, _ = jaxfc(capfd, "gradcheck")
    assert code == 0
    assert "1 of 1 passed" in out[-1]
    monkeypatch.setattr(gradcheck, "check_layers", lambda seed: [row._replace(autodiff=1e-3)])
    assert jaxfc(capfd, "gradcheck")[0] == 1


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["predict"], ["gradcheck"]])
def test_help(capfd, command):
    code, out, _ = jaxfc(capfd, *command, "--help")
    assert code == 0
    assert "usage: jaxfc" in out[0]
