"""Runs that were stopped, killed or are of another kind, and their checkpoints."""

import os
import subprocess
import sys
import time

import chex
import pytest
import safetensors.numpy
from examples import NET, Stop, assert_same_bits, blobs, run, stop_after

from jaxfc.errors import FormatError


@pytest.fixture(scope="module")
def data():
    return blobs()


@pytest.fixture(scope="module")
def whole(data):
    """A run of which every epoch is a program of its own, never stopped."""
    return run(data, callbacks=[lambda report: None])


@pytest.mark.parametrize("epochs_first", [1, 3])
def test_a_stopped_and_resumed_run_ends_with_the_same_bits(data, whole, tmp_path, epochs_first):
    with pytest.raises(Stop):
        run(data, checkpoint=tmp_path / "c", callbacks=[stop_after(epochs_first)])
    resumed = run(data, checkpoint=tmp_path / "c", callbacks=[lambda report: None], resume=True)
    assert_same_bits(resumed, whole)


KILLED = """
import sys
from examples import blobs, run
run(blobs(), epochs=60, verbose=True, checkpoint=sys.argv[1], callbacks=[lambda report: None])
"""


def test_a_run_killed_at_any_moment_resumes_to_the_same_bits(data, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    here = os.path.dirname(__file__)
    path = os.pathsep.join([here, os.path.dirname(here), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", KILLED, str(killed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path})
    for line in process.stdout:
        if line.startswith("(Epoch 3 "):
            time.sleep(0.01)  # somewhere inside an epoch, or inside the writing of a checkpoint
            process.kill()
            break
    process.communicate()
    assert killed.exists()
    for path in (killed, whole):
        result = run(data, epochs=60, checkpoint=path, callbacks=[lambda report: None], resume=True)
        assert len(result.val_history) == 61
    chex.assert_trees_all_equal(*(safetensors.numpy.load_file(path) for path in (killed, whole)))


def test_an_existing_checkpoint_is_not_overwritten(data, tmp_path):
    (tmp_path / "c").write_text("something of value")
    with pytest.raises(FileExistsError, match="resume=True"):
        run(data, checkpoint=tmp_path / "c")
    assert (tmp_path / "c").read_text() == "something of value"


def test_a_run_that_is_done_is_not_trained_again(data, tmp_path):
    done = run(data, checkpoint=tmp_path / "c")
    before = (tmp_path / "c").stat().st_mtime_ns
    assert_same_bits(run(data, checkpoint=tmp_path / "c", resume=True), done)
    assert (tmp_path / "c").stat().st_mtime_ns == before


def test_damaged_checkpoints_are_refused(data, tmp_path):
    path = tmp_path / "c"
    run(data, NET, checkpoint=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError, match="no complete safetensors file"):
        run(data, checkpoint=path, resume=True)
