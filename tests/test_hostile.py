"""Whatever is handed over ends in a line: a slice of what `scripts/hostile.py` tries."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import Case, collected, problem

ROOT = Path(__file__).parent.parent
CASES = [case for case in collected() if not case.slow]
EVERY = {"flags": 3, "calls": 3, "odd": 1}  # others: every fifth
KINDS = dict.fromkeys(case.kind for case in CASES)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_input_ends_in_a_line(tmp_path, kind):
    mine = [case for case in CASES if case.kind == kind][:: EVERY.get(kind, 5)]
    assert len(mine) > 5
    wrong = {}
    for number, case in enumerate(mine):
        (tmp_path / str(number)).mkdir()
        wrong[case.name] = problem(case, tmp_path / str(number))
    assert not {name: text for name, text in wrong.items() if text}


def test_all_of_them_are_as_many_as_promised():
    assert len(collected()) >= 600


ENDS = {
    "a traceback": (lambda folder: 1 / 0, "traceback: ZeroDivisionError"),
    "two lines": (lambda folder: (2, ["jaxfc: no", "jaxfc: never"]), "2 lines"),
    "no line": (lambda folder: (2, []), "0 lines"),
    "no word of ours": (lambda folder: (2, ["Traceback: no"]), "no line to read"),
    "a long line": (lambda folder: (2, ["jaxfc: no" + "!" * 5000]), "no line to read"),
    "another line": (lambda folder: (2, ["jaxfc: yes"]), "does not say 'no'"),
    "no refusal": (lambda folder: (0, []), "code 0 instead of 2"),
    "a folder": (lambda folder: ((folder / "out").mkdir(), (2, ["jaxfc: no"]))[1], "left behind: out"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_bad_end_is_noticed(tmp_path, name):
    act, expected = ENDS[name]
    assert problem(Case(name, act, "no"), tmp_path).startswith(expected)


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs to know the most memory taken")
def test_the_script_tries_within_bounds():
    command = [sys.executable, ROOT / "scripts" / "hostile.py", "--only", ".npz: y of 40 GB"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].split()[:3] == ["all", "1", "0"]
