"""Nothing is lost: a slice of what `scripts/faults.py` does, at moments spread over each command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults import SCENARIOS, contents, full, lost, moments, quick, stopping, torn, trial

ROOT = Path(__file__).parent.parent
STEPS = {"run": 7, "extension": 9, "search": 29, "prediction": 2, "evaluation": 3}

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs to know the paths of open files")


@pytest.fixture(autouse=True)
def small():
    with quick():
        yield


@pytest.mark.parametrize("name", SCENARIOS)
def test_whatever_stops_a_command_nothing_is_lost(tmp_path, name):
    scenario = SCENARIOS[name]
    seen = moments(scenario, tmp_path / "whole")
    assert len(seen) > 10
    whole = contents(tmp_path / "whole")
    for at in range(0, len(seen), STEPS[name]):
        assert trial(scenario, tmp_path / f"stopped-{at}", whole, stopping(at)) is None, f"stopped {seen[at]}, {at}"
    for at in range(1, len(seen), 3 * STEPS[name]):
        assert trial(scenario, tmp_path / f"full-{at}", whole, full(at)) is None, f"full {seen[at]}, {at}"


def test_a_loss_is_noticed(tmp_path):
    scenario = SCENARIOS["run"]
    moments(scenario, tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    run = tmp_path / "whole" / "run"
    (run / ".history.csv.0123abcd.lost").touch()
    assert lost(scenario, tmp_path / "whole", whole) == "stay for good: .history.csv.0123abcd.lost"
    (run / ".history.csv.0123abcd.lost").unlink()
    (run / "notes").touch()
    assert lost(scenario, tmp_path / "whole", whole) == "differ: run/notes"
    (run / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-1])
    assert torn(tmp_path) == ["model.safetensors"]
    (run / "config.json").unlink()
    (run / "model.safetensors").unlink()
    assert lost(scenario, tmp_path / "whole", whole).startswith("cannot be gone on with: FileExistsError")


def test_nothing_is_lost_by_real_deaths_and_kills():
    command = [sys.executable, ROOT / "scripts" / "faults.py", "--only", "run", "--every", "0"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, "--deaths", "2", "--kills", "2"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.rsplit(maxsplit=3)[:3] for line in done.stdout.splitlines()]
    assert rows[1:] == [["died at an operation", "2", "0"], ["killed at random", "2", "0"]]
