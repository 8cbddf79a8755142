"""The scripts that a user copies: they train, say what is wrong with their input, and do not compile for a number."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxfc

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
SMALL = ("--data", "digits", "--hidden", 8, "--epochs", 1, "--batch-size", 100)
EPOCH = re.compile(r"epoch +(\d+)  loss (\d\.\d{4})  val_acc (\d\.\d{4})  \d+\.\d s")


def module(name):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


train_cifar10, search_cifar10 = module("train_cifar10"), module("search_cifar10")


@pytest.fixture
def run(capsys, monkeypatch):
    """A function that runs a script in this process, and returns its exit code and what it wrote."""

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
        code = 0
        try:
            script.main()
        except SystemExit as stop:
            code = stop.code
        written = capsys.readouterr()
        # A text in place of a code is written to stderr, and the code is 1.
        return (code, written.out, written.err) if isinstance(code, int) else (1, written.out, f"{code}\n")

    return run


def test_a_script_runs_as_a_process(tmp_path):
    command = [sys.executable, SCRIPTS / "train_cifar10.py", "--data", "nope.csv", "--out", tmp_path / "model"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"train_cifar10.py: .*nope.csv.*\n", done.stderr)


def test_train_cifar10_trains_and_saves_the_best_epoch(run, tmp_path):
    out = tmp_path / "digits.safetensors"
    sizes = ("--hidden", 64, "--epochs", 6, "--batch-size", 32, "--keep-ratio", 0.8)
    code, stdout, stderr = run(train_cifar10, "--data", "digits", *sizes, "--out", out)
    assert (code, stderr) == (0, "")
    lines = stdout.splitlines()
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


def test_train_cifar10_starts_each_seed_elsewhere_and_repeats_itself(run, tmp_path):
    outputs = [run(train_cifar10, *SMALL, "--seed", s, "--out", tmp_path / f"{i}")[1] for i, s in enumerate((0, 0, 1))]
    losses = [EPOCH.search(output)[2] for output in outputs]
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
def test_train_cifar10_says_in_a_line_what_is_wrong(run, arguments, message, tmp_path):
    out = [] if "--out" in arguments else ["--out", tmp_path / "model.safetensors"]
    code, _, stderr = run(train_cifar10, *arguments, *out)
    assert code == 2
    assert stderr.count("\n") == 1
    assert stderr.startswith("train_cifar10.py: ")
    assert message in stderr
    assert not list(tmp_path.iterdir())


def test_train_cifar10_stops_when_the_loss_is_no_number(run, tmp_path):
    out = tmp_path / "model.safetensors"
    code, _, stderr = run(train_cifar10, *SMALL, "--epochs", 3, "--learning-rate", "1e30", "--out", out)
    assert code == 1
    assert re.fullmatch(r"the loss became (nan|inf) in epoch \d: lower --learning-rate 1e\+30\n", stderr)
    assert not out.exists()


def test_train_cifar10_compiles_an_epoch_once_whatever_the_numbers(compilations):
    data = jaxfc.load("digits")
    plan = jaxfc.data.shuffled_plan(len(data.x_train), 100, seed=0, epoch=1)

    def epoch(learning_rate, reg, keep_ratio):
        numbers = {"reg": reg, "dropout_keep_ratio": keep_ratio}
        net = jaxfc.FCNet(64, (16,), 10, normalization="batchnorm", **numbers)
        carry = train_cifar10.start(net, learning_rate, len(plan), epochs=3, seed=0)
        before = len(compilations)
        carry, loss = train_cifar10.train_epoch(net, carry, data.normalizer, data.x_train, data.y_train, plan)
        assert np.isfinite(loss)
        return len(compilations) - before, jax.device_get(carry.params[0]["w"])

    first, w = epoch(1e-3, 1e-4, 0.5)
    second, other = epoch(3e-3, 1e-2, 0.8)
    assert (first, second) == (1, 0)
    assert not np.allclose(w, other)


def test_search_cifar10_finds_trains_and_draws(run, tmp_path, monkeypatch):
    monkeypatch.setitem(search_cifar10.SPACES, "hidden", jaxfc.search.choice((32,)))
    out = tmp_path / "search"
    sizes = ("--num-train", 300, "--trials", 4, "--epochs", 3, "--final-epochs", 4)
    code, stdout, stderr = run(search_cifar10, "--data", "digits", *sizes, "--out", out)
    assert code == 0, stderr
    assert {path.name for path in out.iterdir()} == {"settings.png", "curves.png", "model.safetensors"}
    model = jaxfc.Model.load(out / "model.safetensors")
    accuracy = model.accuracy(*jaxfc.load("digits").split("test"))
    assert stdout.splitlines()[-1] == f"test_acc: {accuracy:.4f}"
    assert accuracy > 0.8
    code, _, stderr = run(search_cifar10, "--data", "digits", "--out", out)
    assert code == 2
    assert re.fullmatch(r"search_cifar10.py: --out .*: exists; name another folder\n", stderr)


# ---------------------------------------------------------------------------------------------------
# What a TPU's compiler estimates
# ---------------------------------------------------------------------------------------------------

COMPILED = """
%other (x: f32[8]) -> f32[8] {
  %loop = f32[8]{0} fusion(%x), kind=kLoop, metadata={op_name="jit(f)/add"}, backend_config={"estimated_cycles":"900"}
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %copy-start = (f32[512,2]{1,0:S(1)}, f32[512,2]{1,0}, u32[]{:S(2)}) copy-start(%x)
  %slice-start.1 = ((f32[512,2]{1,0}), f32[128,2]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%x), slice={[0:128], [0:2]}
  %a = bf16[8]{0} fusion(%x), kind=kLoop, metadata={op_name="jit(f)/exp"}, backend_config={"estimated_cycles":"20"}
  ROOT %b = (f32[8]{0}, u8[8]{0}) fusion(%a), metadata={op_name="jit(f)/transpose(jvp())/dot_general"}, \
backend_config={"estimated_cycles":"3000"}
}
"""


def test_a_step_is_told_from_the_rest_of_a_program_with_its_cycles_and_copies():
    fusions, copied = module("tpu_cycles").busiest(COMPILED)
    assert [(each.cycles, each.name) for each in fusions] == [(20, "a"), (3000, "b")]
    assert fusions[1].result == "(f32[8]{0}, u8[8]{0})"
    assert copied == 4 * (512 * 2 + 128 * 2)
