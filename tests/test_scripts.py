"""The scripts that a user copies: they train, say what is wrong with their input, and do not compile for a number."""

import importlib.util
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxfc

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
EPOCH = re.compile(r"epoch +(\d+)  loss (\d\.\d{4})  val_acc (\d\.\d{4})  \d+\.\d s")


def run(script, *arguments):
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


train_cifar10 = partial(run, "train_cifar10.py")
search_cifar10 = partial(run, "search_cifar10.py")


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("train_cifar10", SCRIPTS / "train_cifar10.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_train_cifar10_trains_and_saves_the_best_epoch(tmp_path):
    out = tmp_path / "digits.safetensors"
    sizes = ("--hidden", 64, "--epochs", 6, "--batch-size", 32, "--keep-ratio", 0.8)
    done = train_cifar10("--data", "digits", *sizes, "--out", out)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    epochs = [match.groups() for match in map(EPOCH.fullmatch, lines) if match]
    assert [int(number) for number, *_ in epochs] == [1, 2, 3, 4, 5, 6]
    losses = [float(loss) for _, loss, _ in epochs]
    assert losses[-1] < losses[0] / 2
    assert lines[-1] == f"model: {out}"

    data, model = jaxfc.load("digits"), jaxfc.Model.load(out)
    best = max(float(val_acc) for *_, val_acc in epochs)
    assert model.accuracy(*data.split("val")) == pytest.approx(best, abs=5e-5)
    assert lines[-2] == f"test_acc: {model.accuracy(*data.split('test')):.4f}"
    assert model.accuracy(*data.split("test")) > 0.9


def test_train_cifar10_starts_each_seed_elsewhere_and_repeats_itself(tmp_path):
    sizes = ("--data", "digits", "--hidden", 8, "--epochs", 1, "--batch-size", 100)
    runs = [train_cifar10(*sizes, "--seed", seed, "--out", tmp_path / f"{i}") for i, seed in enumerate((0, 0, 1))]
    losses = [EPOCH.search(done.stdout)[2] for done in runs]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "digts"], "unknown data set 'digts': did you mean 'digits'?"),
        (["--data", "nope.csv"], "nope.csv"),
        (["--epochs", "0"], "--epochs 0 must be at least 1"),
        (["--epochs", "many"], "invalid int value: 'many'"),
        (["--data", "digits", "--batch-size", "5000"], "batch_size=5000"),
        (["--data", "digits", "--keep-ratio", "1.5"], "dropout_keep_ratio=1.5"),
        (["--out", "nowhere/model.safetensors"], "there is no such folder"),
        (["--out", __file__], "exists; name another file"),
    ],
)
def test_train_cifar10_says_in_a_line_what_is_wrong(arguments, message, tmp_path):
    out = [] if "--out" in arguments else ["--out", tmp_path / "model.safetensors"]
    done = train_cifar10(*arguments, *out)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("train_cifar10.py: ")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_train_cifar10_stops_when_the_loss_is_no_number(tmp_path):
    out = tmp_path / "model.safetensors"
    sizes = ("--hidden", 8, "--batch-size", 100, "--epochs", 3)
    done = train_cifar10("--data", "digits", *sizes, "--learning-rate", "1e30", "--out", out)
    assert done.returncode == 1
    assert re.fullmatch(r"the loss became (nan|inf) in epoch \d: lower --learning-rate 1e\+30\n", done.stderr)
    assert not out.exists()


def test_train_cifar10_compiles_an_epoch_once_whatever_the_numbers(script, compilations):
    data = jaxfc.load("digits")
    plan = jaxfc.data.shuffled_plan(len(data.x_train), 100, seed=0, epoch=1)

    def epoch(learning_rate, reg, keep_ratio):
        numbers = {"reg": reg, "dropout_keep_ratio": keep_ratio}
        net = jaxfc.FCNet(64, (16,), 10, normalization="batchnorm", **numbers)
        carry = script.start(net, learning_rate, len(plan), epochs=3, seed=0)
        before = len(compilations)
        carry, loss = script.train_epoch(net, carry, data.normalizer, data.x_train, data.y_train, plan)
        assert np.isfinite(loss)
        return len(compilations) - before, jax.device_get(carry.params[0]["w"])

    first, w = epoch(1e-3, 1e-4, 0.5)
    second, other = epoch(3e-3, 1e-2, 0.8)
    assert (first, second) == (1, 0)
    assert not np.allclose(w, other)


def test_search_cifar10_finds_trains_and_draws(tmp_path):
    out = tmp_path / "search"
    done = search_cifar10("--data", "digits", "--trials", 6, "--epochs", 3, "--final-epochs", 4, "--out", out)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"settings.png", "curves.png", "model.safetensors"}
    model = jaxfc.Model.load(out / "model.safetensors")
    accuracy = model.accuracy(*jaxfc.load("digits").split("test"))
    assert done.stdout.splitlines()[-1] == f"test_acc: {accuracy:.4f}"
    assert accuracy > 0.8
    again = search_cifar10("--data", "digits", "--out", out)
    assert again.returncode == 2
    assert re.fullmatch(r"search_cifar10.py: --out .*: exists; name another folder\n", again.stderr)
