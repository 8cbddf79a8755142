"""`jaxfc search`, as a user meets it: what is printed, what is written, how it goes on and how it fails."""

import csv
import json
import shutil

import numpy as np
import pytest
from command import fails, jaxfc, value

from jaxfc.config import TrainConfig
from jaxfc.data import load
from jaxfc.ensemble import Ensemble
from jaxfc.model import Model
from jaxfc.search import loop
from jaxfc.search.config import PHOTOGRAPHS

FAST = ["--hidden", "8", "--epochs", "2", "--num-train", "300", "--no-progress"]
RATES = ["--learning-rate", "loguniform:1e-3:1e-1"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXFC_DATA", raising=False)
    return tmp_path


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_search_and_its_final_training(capfd, folder):
    code, out, err = jaxfc(
        capfd, "search", *FAST, *RATES, "--reg", "choice:none,1e-3", "--trials", "5", "--ensemble", "2",
        "--then-train", "--epochs 3 --lr-decay 0.9",
    )  # fmt: skip
    assert (code, err) == (0, [])
    here = folder / "runs" / "digits-search-1"
    assert {path.name for path in here.iterdir()} == {
        "search.json", "checkpoint.safetensors", "trials.csv", "model.safetensors", "config.json",
        "ensemble.safetensors", "final", "report.html", "settings.png", "scatter.png", "curves.png", "confusion.png",
        "weights.png",
    }  # fmt: skip
    trials = rows(here / "trials.csv")
    assert [row["trial"] for row in trials] == list("01234")
    assert {row["reg"] for row in trials} == {"none", "0.001"}
    assert max(float(row["val_acc"]) for row in trials) == value(out, "best_val")
    assert any("4 programs compiled for 2 group(s)" in line for line in out)
    # The final training is of the best settings, on all rows, with the flags' changes.
    best = max(trials, key=lambda row: float(row["val_acc"]))
    config = TrainConfig.from_json(here / "final" / "config.json")
    assert (config.epochs, config.lr_decay, config.num_train, config.hidden) == (3, 0.9, None, (8,))
    assert config.learning_rate == float(best["learning_rate"])
    data = load("digits")
    model = Model.load(here / "model.safetensors")
    assert round(model.accuracy(*data.split("val")), 4) == value(out, "val_acc")
    assert round(model.accuracy(*data.split("test")), 4) == value(out, "test_acc")
    ensemble = Ensemble.load(here / "ensemble.safetensors")
    assert round(ensemble.accuracy(*data.split("test")), 4) == value(out, "ensemble_test_acc")
    # The folder, and the ensemble's file, can be used as a training run's can.
    code, out, _ = jaxfc(capfd, "evaluate", here)
    assert value(out, "accuracy") == round(model.accuracy(*data.split("test")), 4)
    code, out, _ = jaxfc(capfd, "evaluate", here / "ensemble.safetensors")
    assert value(out, "accuracy") == round(ensemble.accuracy(*data.split("test")), 4)


def test_a_search_that_was_killed_is_resumed(capfd, folder, monkeypatch):
    flags = ["search", *FAST, *RATES, "--trials", "6", "--method", "halving", "--eta", "2", "--chunk", "2"]
    assert jaxfc(capfd, *flags, "--out", "whole")[0] == 0
    real = loop._promote

    def killed(*args):
        real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_promote", killed)
    monkeypatch.setattr(loop.Storage, "save", lambda *args, **_: None)
    assert jaxfc(capfd, *flags, "--out", "halved")[0] == 130
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    code, _, _ = jaxfc(capfd, "search", "--resume", "--out", "halved", "--no-progress")
    assert code == 0
    assert (folder / "halved" / "trials.csv").read_text() == (folder / "whole" / "trials.csv").read_text()
    a, b = (Model.load(folder / name / "model.safetensors") for name in ("halved", "whole"))
    np.testing.assert_array_equal(a.params[0]["w"], b.params[0]["w"])
    trials = rows(folder / "whole" / "trials.csv")
    assert sorted(row["status"] for row in trials) == ["finished"] * 3 + ["stopped"] * 3
    assert all((row["val_acc_at_2"] == "") == (row["status"] == "stopped") for row in trials)


def test_resuming_refuses_other_settings(capfd):
    jaxfc(capfd, "search", *FAST, *RATES, "--trials", "2", "--out", "a")
    assert "begun with other settings (trials)" in fails(capfd, "search", "--resume", "--out", "a", "--trials", "3")
    other = ("--learning-rate", "loguniform:1e-3:1")
    assert "begun with other settings (spaces)" in fails(capfd, "search", "--resume", "--out", "a", *other)
    assert "--out" in fails(capfd, "search", "--resume")
    assert "expected the folder of a search" in fails(capfd, "search", "--resume", "--out", "b")


def test_a_folder_that_holds_something_is_left_alone(capfd, folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    assert "mine is not empty" in fails(capfd, "search", *FAST, "--out", "mine")
    assert [path.name for path in (folder / "mine").iterdir()] == ["notes.txt"]


def test_when_every_candidate_fails_the_report_says_so(capfd, folder):
    args = ("--update-rule", "sgd", "--learning-rate", "uniform:1e29:1e30", "--trials", "2", "--out", "x")
    line = fails(capfd, "search", *FAST, *args, code=1)
    assert "all 2 candidates failed" in line
    assert "every candidate failed" in (folder / "x" / "report.html").read_text()
    assert [row["status"] for row in rows(folder / "x" / "trials.csv")] == ["failed", "failed"]
    assert all(int(row["failed_at"]) > 0 for row in rows(folder / "x" / "trials.csv"))


def test_folds_give_a_model_of_them_all(capfd, folder):
    code, out, _ = jaxfc(capfd, "search", *FAST, "--grid", "--seed", "seeds:2", "--folds", "3", "--out", "x")
    assert code == 0
    ensemble = Ensemble.load(folder / "x" / "ensemble.safetensors")
    assert ensemble.num_members == 3
    assert round(ensemble.accuracy(*load("digits").split("val")), 4) == value(out, "val_acc")
    code, out, _ = jaxfc(capfd, "evaluate", "x")
    assert code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--learning-rate loguniform:1e-2:1e-3", "the bounds are reversed"),
        ("--learning-rate loguniform:0:1e-3", "bounds must be above 0"),
        ("--learning-rate logunifrom:1e-3:1", "did you mean 'loguniform'"),
        ("--lerning-rate loguniform:1e-3:1", "did you mean 'learning_rate'"),
        ("--epochs integers:1:3", "epochs cannot be searched"),
        ("--trials 0", "trials=0 must be at least 1"),
        ("--grid --reg uniform:0:1", "reg: a grid needs"),
        ("--method halvin", "halvin"),
        ("--method halving --eta 1", "eta=1"),
        ("--chunk 1000000000", "do not fit"),
        ("--ensemble 0", "keep=0"),
        ("--folds 0", "folds=0"),
        ("--reg uniform:-1:-0.5", "reg=-"),
        ("--then-train --epchs=3", "--epchs"),
        ("--then-train --epochs=0", "epochs=0"),
        ("--hidden choice:8,a", "hidden=choice:8,a"),
        ("--data absent.csv", "absent.csv"),
        ("--mirror --folds 2", "folds and mirror"),
    ],
)
def test_bad_input_is_one_line_that_names_it(capfd, folder, args, message):
    assert message in fails(capfd, "search", *FAST, *args.split())
    assert not (folder / "runs").exists()


def test_the_settings_of_a_search_are_kept(capfd, folder):
    jaxfc(capfd, "search", *FAST, *RATES, "--hidden=choice:8,4x4", "--trials", "1", "--out", "x")
    kept = json.loads((folder / "x" / "search.json").read_text())
    assert kept["spaces"] == {"learning_rate": "loguniform:1e-3:1e-1", "hidden": "choice:8,4x4"}
    assert kept["train"]["epochs"] == 2
    (folder / "x" / "search.json").write_text("{")
    assert "holds no settings of a search" in fails(capfd, "search", "--resume", "--out", "x")


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_report_is_sorted_by_a_click_in_a_real_browser(capfd, folder):
    sync_api = pytest.importorskip("playwright.sync_api")
    jaxfc(capfd, "search", *FAST, *RATES, "--hidden", "choice:8,4x4", "--trials", "6", "--out", "x")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=quiet)
        page = browser.new_page()
        problems, requests = [], []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((folder / "x" / "report.html").as_uri())

        def column(name):
            heads = page.locator("#trials th").all_inner_texts()
            return page.locator(f"#trials tbody td:nth-child({heads.index(name) + 1})").all_inner_texts()

        accuracies = column("val_acc")
        assert len(accuracies) == 6
        for reverse in (False, True):
            page.get_by_role("button", name="val_acc").click()
            assert column("val_acc") == sorted(accuracies, key=float, reverse=reverse)
        assert "best" in page.locator("#trials tbody tr").first.get_attribute("class")
        page.get_by_role("button", name="hidden").click()
        assert column("hidden") == sorted(column("hidden"))
        images = page.locator("img")
        assert images.count() == 5
        assert all(image.evaluate("i => i.complete && i.naturalWidth > 100") for image in images.all())
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        browser.close()
    assert not problems
    assert not [url for url in requests if not url.startswith(("file:", "data:"))]


def test_photographs_have_defaults_of_their_own_until_a_space_is_given(monkeypatch):
    from jaxfc import cli
    from jaxfc.search import folder as module

    seen = []
    monkeypatch.setattr(module, "search", lambda config, *args, **options: seen.append(config))
    cli.main(["search", "--data", "cifar10", "--epochs", "2"])
    cli.main(["search", "--data", "cifar10", "--reg", "uniform:0:1"])
    assert (seen[0].train.mirror, seen[0].train.epochs, seen[0].ensemble) == (True, 2, 3)
    assert seen[0].spaces == PHOTOGRAPHS.spaces
    assert (seen[1].train, seen[1].spaces) == (TrainConfig(data="cifar10"), {"reg": "uniform:0:1"})
