"""Every flag of `jaxfc train` reaches its run; runs of each task, from training to prediction."""

import csv
import dataclasses
import re

import numpy as np
import pytest
from command import jaxfc, numbers_alone, value, write_table

from jaxfc import FCNet, Model, Regression, ResidualNet, TrainConfig, load

CLASSES = (
    "--hidden 8 --normalization batchnorm --activation gelu --dropout-keep-ratio 0.9 --reg 0.001 "
    "--weight-scale 0.1 --label-smoothing 0.1 --norm-momentum 0.8 --loss softmax --rank f1 "
    "--update-rule adamw --learning-rate 0.01 --weight-decay 0.1 --beta1 0.8 --beta2 0.99 --epsilon 1e-6 "
    "--clip-norm 1 --schedule cosine --warmup-epochs 1 --batch-size 64 --epochs 2 --sampling replacement "
    "--augment mirror noise:0.1 --pool 2 --accumulate 2 --ema-decay 0.9 --tta 2 --class-weight balanced "
    "--patience 2 --seed 5 --order-seed 6 --num-train 500 --compute-dtype bfloat16 --out here"
)
NUMBERS = (
    "--data table.csv --task regression --label mass,depth --weights weight --loss huber --huber-delta 0.5 --rank mae "
    "--network residual --hidden 8 8 --expansion 2 --depth-keep-ratio 0.9 --update-rule nesterov --momentum 0.8 "
    "--lr-decay 0.9 --epochs 2 --out here"
)
LABELS = "--data table.csv --task multilabel --label tall,wide --hidden 8 --learning-rate 0.02 --epochs 8 --out here"
QUANTILES = (
    "--data table.csv --task regression --label mass --loss quantile --quantiles 0.1 0.5 0.9 --hidden --out here"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXFC_DATA", raising=False)
    return tmp_path


@pytest.fixture
def table(folder):
    """A table of numbers, `table.csv`."""
    write_table(folder / "table.csv", 200)
    numbers_alone(folder / "table.csv")
    return folder / "table.csv"


def train(capfd, flags):
    code, out, err = jaxfc(capfd, "train", *flags.split(), "--no-progress")
    assert (code, err) == (0, [])
    return out


def evaluated(capfd, *args):
    """What `jaxfc evaluate` prints of a run: the value of each metric."""
    code, out, err = jaxfc(capfd, "evaluate", "here", *args)
    assert (code, err) == (0, [])
    found = filter(None, (re.fullmatch(r"(\w+): (-?\d+\.\d{4})", line) for line in out))
    return {name: float(number) for name, number in map(re.Match.groups, found)}


def predicted(capfd, folder, file):
    assert jaxfc(capfd, "predict", "here", file)[0] == 0
    return list(csv.DictReader((folder / file).with_suffix(".predictions.csv").open()))


def test_every_flag_is_in_one_of_these_runs():
    words = f"{CLASSES} {NUMBERS} {LABELS} {QUANTILES}".split()
    named = {word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
    missing = {field.name for field in dataclasses.fields(TrainConfig)} - named
    elsewhere = {
        "column",
        "split_by",
        "split_time",
        "stratify",
        "numbers",
        "categories",
    }  # test_runs_columns, -splitting
    assert missing <= {"data_dir", "param_dtype", "decay_rate", *elsewhere, *OTHER_RULES}


# Hyper-parameters of rules that are trained by name in the tests of optim.
OTHER_RULES = ("ns_steps", "fallback_learning_rate")


def test_a_classification_with_every_flag_of_its_own(capfd, folder):
    out = train(capfd, CLASSES)
    config = TrainConfig.from_json(folder / "here" / "config.json")
    assert config.augment == ("mirror", "noise:0.1")
    assert (config.accumulate, config.ema_decay, config.tta, config.class_weight) == (2, 0.9, 2, ("balanced",))
    assert (config.seed, config.order_seed, config.rank, config.sampling) == (5, 6, "f1", "replacement")
    data = load("digits")
    best, raw = (Model.load(folder / "here" / f"{name}.safetensors") for name in ("model", "model-raw"))
    assert (best.params[0]["w"] != raw.params[0]["w"]).any()
    for model, copies, name in ((best, 2, "val_f1"), (raw, 0, "val_f1_raw")):
        measured = model.evaluate(*data.split("val"), copies=copies)
        assert value(out, name) == pytest.approx(measured["f1"], abs=0.02)  # in bfloat16
    assert [line.split(":")[0] for line in out[-6:]] == ["val_f1", "test_f1", "test_acc", "val_f1_raw", "run", "next"]
    head = (folder / "here" / "history.csv").read_text().splitlines()[0]
    assert head == "epoch,iteration,mean_loss,train_f1,val_f1,val_loss,val_f1_raw"
    assert evaluated(capfd, "--tta", "2")["accuracy"] == value(out, "test_acc")
    np.save("x.npy", data.x_test[:3])
    assert len(predicted(capfd, folder, "x.npy")) == 3


def test_a_residual_network_on_two_numbers_with_weights(capfd, folder, table):
    out = train(capfd, NUMBERS)
    model = Model.load(folder / "here" / "model.safetensors")
    assert isinstance(model.net, ResidualNet)
    assert (model.net.expansion, model.net.depth) == (2, 2)
    assert isinstance(model.task, Regression)
    assert (model.task.criterion, model.task.delta, model.task.rank) == ("huber", 0.5, "mae")
    assert [line.split(":")[0] for line in out[-6:]] == ["val_mae", "test_mae", "test_r2", "test_rmse", "run", "next"]
    data = load("table.csv", task="regression", label="mass,depth", weights="weight")
    measured = model.evaluate(data.x_test, data.y_test, data.w_test)
    assert value(out, "test_rmse") == pytest.approx(measured["rmse"], abs=1e-4)
    assert measured["rmse"] != model.evaluate(data.x_test, data.y_test)["rmse"]
    again = evaluated(capfd)
    assert (again["rmse"], again["mae"]) == (value(out, "test_rmse"), value(out, "test_mae"))
    assert (folder / "here" / "regression-test.png").exists()
    rows = predicted(capfd, folder, "table.csv")
    assert list(rows[0]) == ["mass", "depth"]
    whole = evaluated(capfd, "--data", "table.csv", "--label", "mass,depth", "--weights", "weight")
    truth = list(csv.DictReader(table.open()))
    errors = [
        [abs(float(p[name]) - float(t[name])) for name in ("mass", "depth")] for p, t in zip(rows, truth, strict=True)
    ]
    weights = [float(t["weight"]) for t in truth]
    assert whole["mae"] == pytest.approx(np.average(np.mean(errors, axis=1), weights=weights), abs=1e-3)


def test_labels_from_training_to_prediction(capfd, folder, table):
    out = train(capfd, LABELS)
    assert [line.split(":")[0] for line in out[-5:]] == ["val_f1", "test_f1", "test_auc", "run", "next"]
    assert value(out, "test_f1") > 0.7
    assert evaluated(capfd)["f1"] == value(out, "test_f1")
    rows = predicted(capfd, folder, "table.csv")
    assert list(rows[0]) == ["tall", "wide", "p_tall", "p_wide"]
    for row in rows:
        assert row["tall"] == str(int(float(row["p_tall"]) >= 0.5))
    whole = evaluated(capfd, "--data", "table.csv", "--label", "tall,wide")
    truth = list(csv.DictReader(table.open()))
    exact = [all(p[name] == t[name] for name in ("tall", "wide")) for p, t in zip(rows, truth, strict=True)]
    assert whole["exact_match"] == pytest.approx(np.mean(exact), abs=1e-4)


def test_quantiles_of_a_linear_model(capfd, folder, table):
    out = train(capfd, QUANTILES)
    model = Model.load(folder / "here" / "model.safetensors")
    assert isinstance(model.net, FCNet)
    assert (model.task.quantiles, model.task.rank) == ((0.1, 0.5, 0.9), "pinball")
    assert value(out, "val_pinball") > 0
    assert evaluated(capfd)["pinball"] == value(out, "test_pinball")
    assert list(predicted(capfd, folder, "table.csv")[0]) == ["mass_q0.1", "mass_q0.5", "mass_q0.9"]


def test_a_hinge_loss_and_weights_of_some_classes(capfd, folder):
    train(capfd, "--loss hinge --class-weight 8=3 3=0.5 --num-train 300 --hidden --epochs 1 --out here")
    config = TrainConfig.from_json(folder / "here" / "config.json")
    assert (config.loss, config.class_weights()) == ("hinge", {"8": 3.0, "3": 0.5})
    assert Model.load(folder / "here" / "model.safetensors").task.criterion == "hinge"
