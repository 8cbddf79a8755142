"""Files that are written whole or not at all: what they keep, and what a write leaves behind."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from jaxfc.artifacts.files import sweep, write_atomically


def test_a_written_file_is_readable_as_any_other(tmp_path):
    write_atomically(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_a_rewritten_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "model"
    path.write_text("old")
    path.chmod(mode)
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give files away")
def test_a_file_that_root_rewrites_keeps_its_owner(tmp_path):
    path = tmp_path / "model"
    path.write_text("old")
    os.chown(path, 12345, 23456)
    write_atomically(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


def test_a_private_file_is_private_while_it_is_rewritten(tmp_path, monkeypatch):
    path, seen = tmp_path / "model", []
    path.write_text("old")
    path.chmod(0o600)
    real = os.fsync

    def look(descriptor):
        seen.append([stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()])
        real(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_atomically(path, "new")
    assert seen[0] == [0o600, 0o600]


@pytest.mark.parametrize("there", [True, False])
def test_of_a_symbolic_link_the_target_is_written(tmp_path, there):
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "real", tmp_path / "link"
    if there:
        target.write_text("old")
    link.symlink_to("store/real")
    write_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["link", "store"]
    assert os.listdir(tmp_path / "store") == ["real"]


@pytest.mark.parametrize("failing", ["write", "chmod", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, failing, error):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(type(error)) as caught:
        write_atomically(path, "new")
    if isinstance(error, OSError):
        assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_file_and_folder_are_synced(tmp_path, monkeypatch):
    synced, real = [], os.fsync
    kind = {True: "folder", False: "file"}
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(kind[stat.S_ISDIR(os.fstat(fd).st_mode)]), real(fd)))
    write_atomically(tmp_path / "file", "x")
    assert synced == ["file", "folder"]


KILLED = """
import os, sys
from jaxfc.artifacts.files import write_atomically
os.fsync = lambda descriptor: (print("writing", flush=True), sys.stdin.read())
write_atomically(sys.argv[1], "of the other process")
"""


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    path = tmp_path / "[1] file"  # with what is a pattern elsewhere
    other = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "writing\n"
    (tmp_path / ".[1] file.notes.tmp").write_text("a user's own")
    write_atomically(path, "ours")
    sweep(tmp_path, [path.name])
    assert len(os.listdir(tmp_path)) == 3
    other.kill()
    other.communicate()
    assert len(os.listdir(tmp_path)) == 3
    write_atomically(path, "ours again")
    assert sorted(os.listdir(tmp_path)) == [".[1] file.notes.tmp", "[1] file"]
    assert path.read_text() == "ours again"
