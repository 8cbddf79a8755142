"""`jaxfc search`, as a user meets it: what is printed, what is written, how it goes on and how it fails."""

import csv
import json
import shutil

import numpy as np
import pytest
from command import done, fails, interrupted_at_once, jaxfc, numbers_alone, value, write_table

from jaxfc import Ensemble, Model, TrainConfig, load
from jaxfc.artifacts import checkpoint
from jaxfc.search import loop
from jaxfc.search.config import PHOTOGRAPHS, SearchConfig
from jaxfc.search.folder import fingerprint_of

FAST = ["--hidden", "8", "--epochs", "2", "--num-train", "300", "--no-progress"]
RATES = ["--learning-rate", "loguniform:1e-3:1e-1"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXFC_DATA", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a search, and the lines that it printed."""
    out = tmp_path_factory.mktemp("searched") / "x"
    flags = [*RATES, "--hidden=choice:8,4x4", "--trials", 6, "--ensemble", 2, "--then-train=--epochs 3 --lr-decay 0.9"]
    return out, done("search", *FAST, *flags, "--out", out)


@pytest.fixture
def here(searched, folder):
    """A copy of that folder."""
    return shutil.copytree(searched[0], folder / "x")


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_search_and_its_final_training(capfd, searched, here):
    out = searched[1]
    assert {path.name for path in here.iterdir()} == {
        "search.json", "checkpoint.safetensors", "trials.csv", "model.safetensors", "config.json",
        "ensemble.safetensors", "final", "report.html", "settings.png", "scatter.png", "curves.png", "confusion.png",
        "weights.png",
    }  # fmt: skip
    trials = rows(here / "trials.csv")
    assert [row["trial"] for row in trials] == list("012345")
    assert {row["hidden"] for row in trials} == {"8", "4x4"}
    assert max(float(row["val_acc"]) for row in trials) == value(out, "best_val")
    assert any("2 programs compiled for 1 group(s)" in line for line in out)
    # The final training is of the best settings, on all rows, with the flags' changes.
    best = max(trials, key=lambda row: (float(row["val_acc"]), -float(row["val_loss"])))
    config = TrainConfig.from_json(here / "final" / "config.json")
    assert (config.epochs, config.lr_decay, config.num_train) == (3, 0.9, None)
    assert "x".join(map(str, config.hidden)) == best["hidden"]
    assert config.learning_rate == float(best["learning_rate"])
    data = load("digits")
    model = Model.load(here / "model.safetensors")
    assert round(model.accuracy(*data.split("val")), 4) == value(out, "val_acc")
    assert round(model.accuracy(*data.split("test")), 4) == value(out, "test_acc")
    ensemble = Ensemble.load(here / "ensemble.safetensors")
    assert round(ensemble.accuracy(*data.split("test")), 4) == value(out, "ensemble_test_acc")
    # The folder, and the ensemble's file, can be used as a training run's can.
    _, out, _ = jaxfc(capfd, "evaluate", here)
    assert value(out, "accuracy") == round(model.accuracy(*data.split("test")), 4)
    _, out, _ = jaxfc(capfd, "evaluate", here / "ensemble.safetensors")
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


def test_resuming_refuses_other_settings(capfd, here):
    assert "begun with other settings (trials)" in fails(capfd, "search", "--resume", "--out", here, "--trials", "3")
    other = ("--learning-rate", "loguniform:1e-3:1")
    assert "begun with other settings (spaces)" in fails(capfd, "search", "--resume", "--out", here, *other)
    assert "--out" in fails(capfd, "search", "--resume")
    assert "expected the folder of a search" in fails(capfd, "search", "--resume", "--out", "b")


def test_what_a_search_found_is_not_overwritten_by_one_without_its_checkpoint(capfd, here):
    (here / "checkpoint.safetensors").unlink()
    before = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
    for command in ("train", "search"):
        line = fails(capfd, command, "--resume", "--out", here)
        assert "has a model.safetensors and no checkpoint.safetensors to go on from" in line
    assert before == {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}


def test_a_final_training_that_is_interrupted_is_gone_on_with(capfd, folder, searched, monkeypatch):
    from jaxfc.training import fit

    shutil.copytree(searched[0], folder / "x")
    shutil.rmtree(folder / "x" / "final")
    for name in ("model.safetensors", "report.html"):
        (folder / "x" / name).unlink()

    monkeypatch.setattr(fit, "interrupts", interrupted_at_once)
    code, out, _ = jaxfc(capfd, "search", "--resume", "--out", "x", "--no-progress")
    assert code == 0
    assert out[-1] == "interrupted; to go on: jaxfc search --resume --out x"
    assert not (folder / "x" / "model.safetensors").exists()
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert jaxfc(capfd, "search", "--resume", "--out", "x", "--no-progress")[0] == 0
    a, b = (Model.load(path / "model.safetensors") for path in (folder / "x", searched[0]))
    np.testing.assert_array_equal(a.params[0]["w"], b.params[0]["w"])


def test_a_folder_that_holds_something_is_left_alone(capfd, folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    assert "mine is not empty" in fails(capfd, "search", *FAST, "--out", "mine")
    assert [path.name for path in (folder / "mine").iterdir()] == ["notes.txt"]


def test_when_every_candidate_fails_the_report_says_so(capfd, folder, searched):
    args = ("--learning-rate", "uniform:1e29:1e30", "--trials", "2", "--out", "x")
    line = fails(capfd, "search", *FAST, *args, code=1)
    assert "all 2 candidates failed" in line
    assert "every candidate failed" in (folder / "x" / "report.html").read_text()
    assert [row["status"] for row in rows(folder / "x" / "trials.csv")] == ["failed", "failed"]
    assert all(int(row["failed_at"]) > 0 for row in rows(folder / "x" / "trials.csv"))


def test_folds_give_a_model_of_them_all_beside_the_ensemble(capfd, folder):
    flags = ("--grid", "--seed", "seeds:2", "--folds", "3", "--ensemble", "2", "--out", "x")
    code, out, _ = jaxfc(capfd, "search", *FAST, *flags)
    assert code == 0
    # In 0.1 both were written to one file.
    for name, members, said in (("model", 3, "val_acc"), ("ensemble", 6, "ensemble_val_acc")):
        ensemble = Ensemble.load(folder / "x" / f"{name}.safetensors")
        assert ensemble.num_members == members
        assert round(ensemble.accuracy(*load("digits").split("val")), 4) == value(out, said)
    code, again, _ = jaxfc(capfd, "evaluate", "x")
    assert value(again, "accuracy") == value(out, "test_acc")


def test_a_search_of_a_regression_by_its_error(capfd, folder):
    write_table(folder / "table.csv", 200)
    flags = ("--data", "table.csv", "--task", "regression", "--label", "mass", "--rank", "rmse", "--weights", "weight")
    without = ("--hidden", "4", "--epochs", "2", "--no-progress", "--out", "x")
    # A column of text is no number.
    err = fails(capfd, "search", *flags, *without, "--column", "side=number")
    assert "column 'side' is '" in err
    assert not (folder / "x").exists()
    numbers_alone(folder / "table.csv")
    code, out, _ = jaxfc(capfd, "search", *flags, *without, "--learning-rate", "logspace:1e-4:1e-2:3", "--grid")
    assert code == 0
    errors = [float(row["val_rmse"]) for row in rows(folder / "x" / "trials.csv")]
    assert min(errors) == value(out, "best_val") == value(out, "val_rmse") == errors[2]
    assert value(out, "test_rmse") > 0 > -abs(value(out, "test_r2"))
    assert "confusion.png" not in {path.name for path in (folder / "x").iterdir()}
    code, out, _ = jaxfc(capfd, "evaluate", "x", "--split", "val")
    assert value(out, "rmse") == min(errors)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--learning-rate loguniform:1e-2:1e-3", "the bounds are reversed"),
        ("--learning-rate loguniform:0:1e-3", "bounds must be above 0"),
        ("--learning-rate logunifrom:1e-3:1", "did you mean 'loguniform'"),
        ("--lerning-rate loguniform:1e-3:1", "did you mean --learning-rate?"),
        ("--epochs integers:1:3", "epochs"),
        ("--trials 0", "trials=0 must be at least 1"),
        ("--grid --reg uniform:0:1", "reg: a grid needs"),
        ("--method halvin", "halvin"),
        ("--method halving --eta 1", "eta=1"),
        ("--chunk 1000000000", "do not fit"),
        ("--ensemble 0", "ensemble=0"),
        ("--folds 0", "folds=0"),
        ("--reg uniform:-1:-0.5", "reg=-"),
        ("--then-train=--epchs=3", "--epchs"),
        ("--then-train=--epochs=0", "epochs=0"),
        ("--then-train --epochs=3", 'Join flags to it: --then-train="--epochs 5"'),
        ("--hidden choice:8,a", "hidden=choice:8,a"),
        ("--data absent.csv", "absent.csv"),
        ("--rank choice:acc,f1", "unknown metric of Classification 'choice:acc,f1'"),
        ("--normalization batchnorm --batch-size choice:1,32", "batch_size=1"),
        ("--network residual --hidden choice:8,8x4", "hidden=(8, 4)"),
    ],
)
def test_bad_input_is_one_line_that_names_it(capfd, folder, args, message):
    assert message in fails(capfd, "search", *FAST, *args.split())
    assert not (folder / "runs").exists()


def test_the_settings_of_a_search_are_kept(capfd, here):
    kept = json.loads((here / "search.json").read_text())
    assert kept["spaces"] == {"learning_rate": "loguniform:1e-3:1e-1", "hidden": "choice:8,4x4"}
    assert kept["train"]["epochs"] == 2
    (here / "search.json").write_text("{")
    assert "holds no settings of a search" in fails(capfd, "search", "--resume", "--out", here)


def test_photographs_have_defaults_of_their_own_until_a_space_is_given(monkeypatch):
    from jaxfc import cli
    from jaxfc.search import folder as module

    seen = []
    monkeypatch.setattr(module, "search", lambda config, *args, **options: seen.append(config))
    cli.main(["search", "--data", "cifar10", "--epochs", "2"])
    cli.main(["search", "--data", "cifar10", "--reg", "uniform:0:1"])
    assert (seen[0].train.augment, seen[0].train.epochs, seen[0].ensemble) == (("mirror",), 2, 3)
    assert seen[0].spaces == PHOTOGRAPHS.spaces
    assert (seen[1].train, seen[1].spaces) == (TrainConfig(data="cifar10"), {"reg": "uniform:0:1"})


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_report_in_a_real_browser_on_a_phone_and_sorted_by_a_click(here):
    sync_api = pytest.importorskip("playwright.sync_api")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=quiet)
        page = browser.new_page()
        problems, requests = [], []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda request: requests.append(request.url))
        page.set_viewport_size({"width": 360, "height": 740})
        page.goto((here / "report.html").as_uri())
        # It opens with the best trials, the best first, and pictures; the table of all is folded away after them.
        best = page.locator("#best tbody tr")
        assert best.count() == 6
        scores = page.locator("#best tbody td:nth-child(2)").all_inner_texts()
        assert scores == sorted(scores, key=float, reverse=True)
        assert not page.locator("#trials").is_visible()
        tops = [page.locator(each).first.bounding_box()["y"] for each in ("#best", "img", "#all")]
        assert tops == sorted(tops)
        for opened in (False, True):  # a wide table scrolls by itself, and the page does not
            assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
            if not opened:
                page.locator("summary").click()
        assert page.locator(".table", has=page.locator("#trials")).evaluate("box => box.scrollWidth > box.clientWidth")
        page.set_viewport_size({"width": 1200, "height": 800})

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


def test_what_data_a_folders_model_was_trained_on(tmp_path):
    assert fingerprint_of(tmp_path) is None
    (tmp_path / "checkpoint.safetensors").write_bytes(b"torn")
    assert fingerprint_of(tmp_path) is None
    checkpoint.save(tmp_path / "checkpoint.safetensors", {}, {"search": {"data": ["d.csv", 60, 3, "0a"]}})
    assert fingerprint_of(tmp_path) == "0a"
    (tmp_path / "final").mkdir()
    checkpoint.save(tmp_path / "final" / "checkpoint.safetensors", {}, {"run": {"data": {"fingerprint": "0b"}}})
    assert fingerprint_of(tmp_path) == "0b"
    checkpoint.save(tmp_path / "final" / "checkpoint.safetensors", {}, {})  # of version 0.1
    assert fingerprint_of(tmp_path) is None


def test_a_table_of_which_nothing_else_is_said_is_searched_by_a_population(folder):
    rng = np.random.default_rng(0)
    rows = [f"{x:.3f},{'blue' if x > 0 else 'red'},{rng.normal():.3f},{3 * x:.3f}" for x in rng.normal(size=60)]
    (folder / "numbers.csv").write_text("size,colour,noise,price\n" + "\n".join(rows) + "\n")
    flags = ["--task", "regression", "--trials", 4, "--epochs", 3, "--ensemble", 5, "--no-progress"]
    lines = done("search", "--data", "numbers.csv", *flags)
    assert "search: 4 candidates, random, up to 3 epochs" in lines
    assert "4 candidates (4 finished); 2 programs compiled for 1 group(s)" in lines  # widths and depths among them
    assert any(line.startswith("ensemble_test_r2") for line in lines)
    out = folder / "runs" / "numbers-search-1"
    begun = SearchConfig.from_json(out / "search.json")
    assert begun.greedy
    assert set(begun.spaces) == {"hidden", "learning_rate", "weight_decay", "dropout_keep_ratio"}
    assert Ensemble.load(out / "ensemble.safetensors").num_members == 5  # of 4: some of them twice


@pytest.mark.parametrize("flags", [["--folds", "3"], ["--study", "study.log"]])
def test_greedy_selection_needs_all_candidates_and_their_validation_rows(capfd, flags):
    assert "greedy=True compares all candidates' predictions" in fails(capfd, "search", "--greedy", *flags)
