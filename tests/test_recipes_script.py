"""Measuring recipes: what is stopped goes on where it was; a change is compared with the recipe from the same seeds."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch):
    """The script as a module, with runs that take no time: what each reaches is known by its seed and change."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("recipes", SCRIPTS / "recipes.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.made = []

    def run(key):
        script.made.append(key)
        val = 0.6 + 0.01 * key.seed + {"": 0, "far-shift": 0.02, "narrow": -0.03, "pytorch": -0.1}[key.change]
        entry = key._asdict() | {"seconds": 58.0, "epochs": 10, "cores": 2, "val": val}
        return entry if key.change in script.CHANGES else entry | {"test": val - 0.02, "history": [0.1, val]}

    monkeypatch.setattr(script.runs, "run", run)
    monkeypatch.setattr(script.runs, "run_peer", run)
    return script


def call(script, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["recipes.py", *map(str, words)])
    script.main()


def test_a_run_is_made_once_and_a_line_cut_off_again(script, monkeypatch, tmp_path, capsys):
    file = tmp_path / "found.jsonl"
    call(script, monkeypatch, "cifar10-1m", "--seeds", 2, "--out", file)
    assert [key.seed for key in script.made] == [0, 1]
    file.write_text(file.read_text()[:-20])
    call(script, monkeypatch, "cifar10-1m", "--seeds", 2, "--out", file)
    assert [key.seed for key in script.made] == [0, 1, 1]
    assert "| cifar10-1m | 58 | 10 | 2 | 60.5 ± 0.7 | 58.5 ± 0.7 |" in capsys.readouterr().out


def test_changes_are_compared_with_the_same_seeds_and_peers_stand_beside(script, monkeypatch, tmp_path, capsys):
    file, found, picture = (tmp_path / name for name in ("found.jsonl", "found.json", "found.png"))
    call(script, monkeypatch, "cifar10-1m", "--seeds", 2, "--out", file)
    call(script, monkeypatch, "cifar10-1m", "--seeds", 1, "--changes", "narrow", "far-shift", "--out", file)
    call(script, monkeypatch, "cifar10-1m", "--seeds", 1, "--peers", "pytorch", "--out", file)
    capsys.readouterr()
    call(script, monkeypatch, "--report", "--out", file, "--json", found, "--picture", picture)
    out = capsys.readouterr().out
    assert "| cifar10-1m, pytorch | 58 | 10 | 1 | 50.0 | 48.0 |" in out
    rows = [line for line in out.splitlines() if line.endswith(("+2.0 |", "-3.0 |"))]
    assert [script.CHANGES[name].about in row for name, row in zip(("far-shift", "narrow"), rows, strict=True)] == [
        True
    ] * 2
    assert "test" not in json.loads(found.read_text())["cifar10-1m"]["changes"]["far-shift"][0]
    assert picture.read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("words", [("cifar",), ("--changes", "narow"), ("--peers", "keras")])
def test_an_unknown_name_is_told(script, monkeypatch, capsys, words):
    with pytest.raises(SystemExit) as stop:
        call(script, monkeypatch, *words)
    assert stop.value.code == 2
    assert f"'{words[-1]}' is none of the" in capsys.readouterr().err


def test_every_change_is_a_run_that_can_be_begun(script, monkeypatch, tmp_path):
    from jaxfc.cli import main
    from jaxfc.training import runs
    from jaxfc.training.cookbook import recipe

    begun = []
    monkeypatch.setattr(runs, "train", lambda config, *_, **__: begun.append(config))
    for change in script.CHANGES.values():
        main(["train", "--recipe", "cifar10-1m", *change.flags, "--out", str(tmp_path / "run")])
        begun[-1].problem()
        begun[-1].optimizer(1000)
    own = recipe("cifar10-1m").config
    assert own not in begun
    assert len(set(begun)) == len(begun) == len(script.CHANGES)
