"""What ends a command: Ctrl-C, SIGTERM and SIGHUP, cleanly the first time, and at once the second."""

import csv
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxfc.training.config import TrainConfig

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "jaxfc_command"]
LONG = ["train", "--hidden", "8", "--epochs", "1000000", "--out", "x"]


def _as_from_a_terminal():
    """The tests may themselves be a background job, which is told to ignore some signals."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path):
    """A function that starts a process in an empty folder, all of it in a process group of its own."""
    begun = []
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}

    def start(command, **options):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        how = {"start_new_session": True, "preexec_fn": _as_from_a_terminal}
        begun.append(subprocess.Popen(command, cwd=tmp_path, env=env, **how, **streams))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def wait_for(stream, what):
    for line in stream:
        if what in line:
            return line
    raise AssertionError(f"it ended without {what!r}")


def test_sigterm_ends_a_run_at_an_epoch_boundary_with_everything_saved(start, tmp_path):
    run = start([*COMMAND, *LONG])
    wait_for(run.stdout, "(Epoch 1 ")
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=60)
    assert err == "terminated: stopping at the end of this epoch (Ctrl-C again to stop at once)\n"
    assert run.returncode == 0
    ended = next(line for line in out.splitlines() if line.startswith("interrupted after epoch "))
    assert ended.endswith("; to go on: jaxfc train --resume --out x")
    epochs = int(ended.split()[3].rstrip(";"))
    assert len(list(csv.reader((tmp_path / "x" / "history.csv").open()))) == epochs + 2
    names = {"config.json", "checkpoint.safetensors", "model.safetensors", "history.csv", "curves.png"}
    assert set(os.listdir(tmp_path / "x")) == names


def test_a_run_ends_cleanly_when_its_terminal_is_closed(start, tmp_path):
    ours, theirs = pty.openpty()
    take = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"  # as the terminal that controls it
    code = f"{take}; import sys, jaxfc_command; sys.argv[1:] = {LONG}; jaxfc_command.main()"
    run = start([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal:
        seen = b""
        while b"(Epoch 1 " not in seen:
            seen = seen[-20:] + terminal.read(1000)
    run.wait(timeout=60)  # closed: it is hung up, and whatever it prints now would raise
    assert run.returncode == 0
    assert (tmp_path / "x" / "curves.png").exists()


SEARCH = """
import sys
from jaxfc.search import loop
show = loop._show
loop._show = lambda *args: (show(*args), print("in the loop", flush=True))
import jaxfc_command
sys.argv[1:] = "search --hidden 2000 2000 2000 --epochs 400 --trials 2 --out x".split()
jaxfc_command.main()
"""


def test_a_second_ctrl_c_ends_a_search_at_once(start, tmp_path):
    run = start([sys.executable, "-c", SEARCH])
    wait_for(run.stdout, "in the loop")
    run.send_signal(signal.SIGINT)
    assert "interrupted: stopping after the running chunks" in run.stderr.readline()
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)  # its first chunk takes minutes
    assert (run.returncode, out, err) == (130, "", "jaxfc: interrupted\n")


ENDLESS = """
import hashlib
from jaxfc import console
with console.ended_by_signals(), console.interrupts("soon") as interrupted:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # as a compiled program, it listens to nothing
"""


@pytest.mark.parametrize(("number", "word"), [("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "hung")])
def test_what_listens_to_nothing_is_ended_by_the_second_signal(start, number, word):
    number = getattr(signal, number)
    run = start([sys.executable, "-c", ENDLESS])
    wait_for(run.stdout, "ready")
    run.send_signal(number)
    assert run.stderr.readline().startswith(word)
    run.send_signal(number)
    assert run.stderr.readline().startswith(f"jaxfc: {word}")
    assert run.wait(timeout=30) == 128 + number


def test_a_signal_that_the_process_was_told_to_ignore_stays_ignored(start, tmp_path):
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    run = start([sys.executable, "-c", ignoring + ENDLESS])
    wait_for(run.stdout, "ready")
    run.send_signal(signal.SIGHUP)
    run.send_signal(signal.SIGTERM)
    assert run.stderr.readline().startswith("terminated")


# The interpreter's own start, before the first line of a program, is not a program's to guard.
START = f"""
import signal, sys
real = signal.signal
def first(*args):
    signal.signal = real
    signal.signal(*args)
    print("up", flush=True)
signal.signal = first
sys.argv[1:] = {LONG}
import jaxfc_command
jaxfc_command.main()
"""


@pytest.mark.parametrize("after", [0, 0.4, 0.9])
def test_ctrl_c_during_the_start_is_one_line(start, tmp_path, after):
    run = start([sys.executable, "-c", START])
    wait_for(run.stdout, "up")
    time.sleep(after)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    if run.returncode == 130:
        assert err == "jaxfc: interrupted\n"
    else:  # it was as quick as that, and ended cleanly
        assert run.returncode == 0
        assert err.startswith("interrupted: stopping")
    if (tmp_path / "x" / "config.json").exists():
        assert TrainConfig.from_json(tmp_path / "x" / "config.json").hidden == (8,)
