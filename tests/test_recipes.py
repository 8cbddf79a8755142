"""Recipes: settings that ship with the library, and the epochs that a machine has time for."""

from dataclasses import replace

import numpy as np
import pytest
from command import fails

from jaxfc import load
from jaxfc.cli import main
from jaxfc.data import Dataset, standardized
from jaxfc.training import runs
from jaxfc.training.config import TrainConfig
from jaxfc.training.cookbook import recipe, recipes
from jaxfc.training.pace import Pace


def images(rows):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (rows, 3 * 32 * 32)).astype(np.uint8), rng.integers(0, 10, rows)
    fit = standardized(x, per_feature=False)
    return Dataset("images", x, y, x, y, x, y, tuple("0123456789"), fit, image_shape=(3, 32, 32))


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_is_a_run_that_can_be_begun(name):
    one = recipe(name)
    data = images(1100).pooled(one.config.pool)
    one.check(data)
    runs.check(one.config, data)
    assert one.config.data in ("cifar10", "fashion_mnist") or not one.images
    assert set(one.settings) <= set(vars(TrainConfig()))


def test_flags_override_a_recipe_and_epochs_its_minutes(capsys, tmp_path):
    main(["train", "--recipe", "plain", "--epochs", "2", "--hidden", "8", "--out", str(tmp_path / "run")])
    assert "(Epoch 2 / 2)" in capsys.readouterr().out
    written = TrainConfig.from_json(tmp_path / "run" / "config.json")
    assert written == replace(recipe("plain").config, epochs=2, hidden=(8,))


def test_a_recipe_is_planned(capsys):
    main(["plan", "--recipe", "plain", "--hidden", "8"])
    assert "training, batch 64, on this" in capsys.readouterr().out


def test_minutes_choose_the_epochs_and_the_schedule_is_of_so_many(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "pace", lambda *_, **__: Pace(0.05, measuring=0.5, compiling=1.0, ending=2.5))
    monkeypatch.setattr(runs, "since_the_process_began", lambda: 3.0)
    main(["train", "--minutes", "0.2", "--batch-size", "320", "--schedule", "cosine", "--out", str(tmp_path / "run")])
    # 12 s less a margin of 3%, 3 s gone, 1 for the compiler, the first measure's half a second, and 2.5 s at the end.
    assert "minutes: 6 epochs of about 0.7 s end in 0.2" in capsys.readouterr().out
    assert TrainConfig.from_json(tmp_path / "run" / "config.json").epochs == 6


def test_the_pace_of_a_machine_is_measured(tmp_path):
    config = TrainConfig(hidden=(8,), patience=1)
    timed = runs.pace(config, load("digits"))
    assert timed.step > 0
    assert timed.measuring > 0
    assert timed.compiling >= 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--recipe", "cifar-10m"], "unknown recipe 'cifar-10m': did you mean 'cifar10-10m'?"),
        (["--minutes", "0"], "minutes=0"),
        (["--recipe", "cifar10-1m", "--data", "points.csv"], "recipe 'cifar10-1m' is for images"),
    ],
)
def test_what_is_no_recipe_or_no_time_is_named(capfd, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i},{i % 7},{'ab'[i % 2]}\n" for i in range(40))
    (tmp_path / "points.csv").write_text(f"x,y,side\n{rows}")
    assert message in fails(capfd, "train", *flags)
    assert [path.name for path in tmp_path.iterdir()] == ["points.csv"]


def test_copies_that_predictions_are_averaged_over_take_time_as_well():
    config = TrainConfig(hidden=(8,), augment=("noise:0.1",))
    plain, averaged = (runs.pace(replace(config, tta=copies), load("digits")) for copies in (0, 64))
    rows = 64 * 500  # of the validation and test rows
    assert averaged.ending > plain.ending + rows / (4 * config.batch_size) * min(plain.step, averaged.step)


def test_too_few_minutes_for_an_epoch_are_named_with_how_many_it_takes():
    with pytest.raises(ValueError, match=r"minutes=0.05: an epoch takes about 3 s here, .* give at least 0.2"):
        Pace(step=0.1, measuring=1.0, compiling=1.0).check(0.05, gone=1.0, iterations=20)
