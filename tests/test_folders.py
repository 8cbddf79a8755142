"""Folders of runs and searches: one process at a time, and what a beginning that was killed has left is nothing."""

import errno
import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from command import FAST, fails, jaxfc

from jaxfc.artifacts import folders
from jaxfc.artifacts.files import write_atomically


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXFC_DATA", raising=False)
    return tmp_path


HOLDER = """
import sys
from pathlib import Path
from jaxfc.artifacts.folders import held
with held(Path(sys.argv[1]), []):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(folder):
    """Another process that holds the folder `x`."""
    (folder / "x").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, "x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_what_another_process_writes_is_left_to_it(capfd, folder, holder):
    message = "jaxfc: x is being written by another process: wait for its end, or name another --out"
    for command in ("train", "search"):
        assert fails(capfd, command, *FAST, "--out", "x") == message
    assert os.listdir("x") == [folders.LOCK]
    # Killed, it leaves its lock behind, which then holds nothing.
    holder.kill()
    holder.wait()
    assert os.listdir("x") == [folders.LOCK]
    code, _, _ = jaxfc(capfd, "train", *FAST, "--out", "x")
    assert code == 0
    assert folders.LOCK not in os.listdir("x")
    # And so it is with a run that is gone on with.
    with folders.held(folder / "x", []):
        assert fails(capfd, "train", "--resume", "--out", "x") == message


def test_what_stood_in_the_way_is_left_as_it_was(folder):
    (folder / "x").mkdir()
    (folder / "x" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="x is not empty"), folders.begun(folder / "x", "run", []):
        pass
    assert os.listdir("x") == ["notes.txt"]


def test_a_lock_that_is_let_go_in_between_is_not_taken_for_one_that_holds(folder):
    """Whoever opened the lock's file before it was removed does not think that it holds the folder."""
    for _ in range(20):
        with folders.held(folder, []):
            pass
        with folders.held(folder, []), pytest.raises(BlockingIOError), folders.held(folder, []):
            pass
    assert os.listdir(folder) == []


def test_a_file_system_without_locks_is_warned_of(folder, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="cannot be locked here"), folders.begun(folder / "x", "run", []):
        write_atomically(folder / "x" / "model", "whole")
    assert os.listdir("x") == ["model"]


def test_no_two_are_given_the_same_new_folder(folder):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: folders.first_free("x"), range(80)))
    assert len(set(made)) == 80
    assert {path.name for path in made} == set(os.listdir("runs"))


@pytest.mark.parametrize("command", ["train", "search"])
def test_a_folder_that_was_killed_while_its_settings_were_written_is_begun_anew(capfd, folder, command):
    settings = {"train": "config.json", "search": "search.json"}[command]
    (folder / "x").mkdir()
    (folder / "x" / folders.LOCK).touch()
    (folder / "x" / f".{settings}.0123abcd.tmp").write_text('{"half')
    assert fails(capfd, command, *FAST, "--out", "x", "--epochs", "0")  # what is wrong is said before
    assert f"x/{settings}: no such file" in fails(capfd, command, "--resume", "--out", "x")
    small = ("--num-train", "100", "--trials", "2") if command == "search" else ()
    code, _, _ = jaxfc(capfd, command, *FAST, *small, "--out", "x")
    assert code == 0
    assert not [name for name in os.listdir("x") if name.startswith(".")]
