"""Runs that were stopped, killed or are of another kind, and their checkpoints."""

import os
import subprocess
import sys
import time

import chex
import pytest
import safetensors.numpy
from examples import NET, PLAIN, Stop, assert_same_bits, blobs, run, stop_after

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


COUNTED = """
import os, sys, threading
os.sched_setaffinity(0, range(int(sys.argv[2])))
from examples import PLAIN, blobs, run
def train(path):
    run(blobs(), PLAIN, "sgd", checkpoint=path)
thread = threading.Thread(target=train, args=(sys.argv[1],))
thread.start()
thread.join()
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2 or not hasattr(os, "sched_setaffinity"), reason="needs two cores")
def test_a_small_run_has_the_same_bits_on_one_core_on_two_and_in_any_thread(data, tmp_path):
    here = os.path.dirname(__file__)
    path = os.pathsep.join([here, os.path.dirname(here), os.environ.get("PYTHONPATH", "")])
    # Compiled anew: for how many cores a program is compiled is what is tested.
    env = os.environ | {"PYTHONPATH": path, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    runs = {
        cores: subprocess.Popen([sys.executable, "-c", COUNTED, str(tmp_path / str(cores)), str(cores)], env=env)
        for cores in (1, 2)
    }
    assert [process.wait() for process in runs.values()] == [0, 0]
    run(data, PLAIN, "sgd", checkpoint=tmp_path / "here")
    one, two, here = (safetensors.numpy.load_file(tmp_path / name) for name in ("1", "2", "here"))
    chex.assert_trees_all_equal(one, two)
    chex.assert_trees_all_equal(one, here)


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
