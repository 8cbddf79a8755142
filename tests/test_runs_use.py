"""`jaxfc evaluate`, `predict` and `gradcheck`, as a user meets them: of a run of digits, and of a table."""

import csv
import io
import shutil

import numpy as np
import pytest
from command import FAST, done, fails, jaxfc, value, write_table
from matplotlib.figure import Figure

from jaxfc import load


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


def test_evaluate_prints_classes_and_draws_the_confusion_matrix(capfd, trained, run):
    for split, expected in (("test", value(trained[1], "test_acc")), ("val", value(trained[1], "val_acc"))):
        code, out, _ = jaxfc(capfd, "evaluate", "run", "--split", split)
        assert code == 0
        assert value(out, "accuracy") == expected
        assert out[-1] == f"accuracy: {expected:.4f}"
        assert {"balanced_acc", "log_loss", "f1", "auc"} <= {line.split(":")[0] for line in out}
        table = [line.split() for line in out if len(line.split()) == 14]
        assert sum(int(row[3]) for row in table) == {"test": 300, "val": 200}[split]
        assert (run / f"confusion-{split}.png").read_bytes().startswith(b"\x89PNG")
    assert "did you mean 'test'" in fails(capfd, "evaluate", "run", "--split", "tset")
    (run / "model.safetensors").write_bytes(b"junk")
    assert "no complete safetensors file" in fails(capfd, "evaluate", "run")


def test_a_picture_that_is_not_jaxfcs_is_not_drawn_over(capfd, run):
    for content in (b"a user's own", plots_elsewhere()):
        (run / "confusion-test.png").write_bytes(content)
        for _ in range(2):
            _, out, _ = jaxfc(capfd, "evaluate", "run")
            assert "picture: run/confusion-test-2.png" in out
        assert (run / "confusion-test.png").read_bytes() == content
    (run / "confusion-test.png").unlink()
    _, out, _ = jaxfc(capfd, "evaluate", "run")
    assert "picture: run/confusion-test.png" in out


def plots_elsewhere():
    """A picture that matplotlib drew for somebody else."""
    picture = io.BytesIO()
    Figure().savefig(picture, format="png")
    return picture.getvalue()


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


@pytest.mark.parametrize("suffix", ["npy", "feather"])
def test_rows_that_were_appended_do_not_turn_training_rows_into_test_rows(capfd, folder, suffix):
    def write(rows):
        x, y = data.x_train[:rows, 20:30], data.y_train[:rows]
        if suffix == "npy":
            np.save("d.npy", x)
            np.save("d.y.npy", y)
        else:
            feather = pytest.importorskip("pyarrow.feather")
            columns = {f"x{i}": column for i, column in enumerate(x.T)} | {"y": y}
            feather.write_feather(pytest.importorskip("pyarrow").table(columns), "d.feather")

    data = load("digits")
    write(300)
    done("train", "--data", f"d.{suffix}", *FAST)
    assert jaxfc(capfd, "evaluate", "runs/d-1")[0] == 0
    write(310)
    assert "has changed since" in fails(capfd, "evaluate", "runs/d-1")


def test_predicting_and_evaluating_arrays(capfd, folder, run):
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


def test_copies_need_a_model_that_was_trained_with_augmentations(capfd, folder, run):
    assert "copies=3: the model was trained without" in fails(capfd, "evaluate", "run", "--tta", "3")
    np.save("x.npy", load("digits").x_test[:2])
    assert "copies=3" in fails(capfd, "predict", "run", "x.npy", "--tta", "3")
    assert not (folder / "x.predictions.csv").exists()


def test_gradcheck_prints_a_table(capfd, monkeypatch):
    from jaxfc import gradcheck

    row = gradcheck.Row("affine", "x", (2, 3), 1e-16, 1e-9)
    monkeypatch.setattr(gradcheck, "check_layers", lambda seed: [row])
    code, out, _ = jaxfc(capfd, "gradcheck")
    assert code == 0
    assert "1 of 1 passed" in out[-1]
    monkeypatch.setattr(gradcheck, "check_layers", lambda seed: [row._replace(autodiff=1e-3)])
    assert jaxfc(capfd, "gradcheck")[0] == 1


@pytest.mark.parametrize("command", [[], ["train"], ["search"], ["evaluate"], ["predict"], ["gradcheck"]])
def test_help(capfd, command):
    code, out, _ = jaxfc(capfd, *command, "--help")
    assert code == 0
    assert "usage: jaxfc" in out[0]
