"""Several processes that do one run: the run of one process, and every way in which one of them may be missing."""

import csv
import json
import re
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from command import fails
from processes import ended, started
from safetensors.numpy import load_file

from jaxfc import load
from jaxfc.parallel import Joining, processes

FLAGS = ["--hidden", 40, "--num-train", 320, "--normalization", "batchnorm", "--dropout-keep-ratio", 0.8]
LONG = ["--epochs", 9973, "--batch-size", 160, "--no-progress"]  # a prime number: each epoch is a program of its own
LOST = "jaxfc: another process of the run was lost: end the others, and go on with the run by --resume"


@pytest.fixture
def address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def joining(address, count, number):
    return ["--coordinator", address, "--num-processes", count, "--process-id", number]


def train(*flags, address=None, count=1):
    """The arguments of each process of a training."""
    command = ["-m", "jaxfc_command", "train", *FLAGS, *flags]
    return [[*command, *joining(address, count, number)] for number in range(count)] if address else [command]


def losses(path):
    with (path / "history.csv").open() as file:
        return np.array([float(row["mean_loss"]) for row in csv.DictReader(file) if row["mean_loss"]])


WIDE = ["--param-dtype", "float64", "--batch-size", 160, "--augment", "noise:0.1"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder in which one process has trained, and what it printed."""
    folder = tmp_path_factory.mktemp("alone")
    with started(*train(*WIDE, "--epochs", 5, "--out", "1"), cwd=folder) as children:
        ((code, out, err),) = ended(children, 120)
    assert (code, err) == (0, "")
    return folder, out.splitlines()


def assert_same_run(folder, one):
    np.testing.assert_array_equal(losses(folder), losses(one))  # six digits of them
    tensors, others = load_file(one / "model.safetensors"), load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        np.testing.assert_allclose(others[name], tensor, rtol=1e-8, atol=1e-10)


def test_a_run_of_four_processes_is_that_of_one(alone, tmp_path, address):
    folder, printed = alone
    with started(*train(*WIDE, "--epochs", 5, "--out", "4", address=address, count=4), cwd=tmp_path) as children:
        found = ended(children, 120)
    assert [(code, err) for code, _, err in found] == [(0, "")] * 4, found
    assert [out for _, out, _ in found[1:]] == [""] * 3  # process 0 alone prints
    lines = found[0][1].splitlines()
    assert "mesh: data=4" in lines
    assert lines[-4:-2] == printed[-4:-2]  # then come the folder and what is next
    assert names(tmp_path / "4") == names(folder / "1")
    assert_same_run(tmp_path / "4", folder / "1")


def test_each_of_two_processes_reads_its_part_of_a_streamed_run_that_one_goes_on_with(alone, tmp_path, address):
    script = Path(__file__).with_name("counting_rows.py")
    flags = [*WIDE, "--epochs", 3, "--out", "2", "--stream"]
    with started(
        *([script, *words[2:]] for words in train(*flags, address=address, count=2)), cwd=tmp_path
    ) as children:
        found = ended(children, 120)
    assert [(code, err) for code, _, err in found] == [(0, "")] * 2, found
    read = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("rows-*.json"))]
    assert [len(each) for each in read] == [3 * 160] * 2
    for start in range(0, 3 * 160, 160):
        both = read[0][start : start + 160] + read[1][start : start + 160]
        assert sorted(both) == list(range(320))  # each row once an epoch, by one of them
    goes_on = ["-m", "jaxfc_command", "train", "--resume", "--out", "2", "--extend", 5]
    with started(goes_on, cwd=tmp_path) as children:
        assert ended(children, 120)[0][0] == 0
    assert_same_run(tmp_path / "2", alone[0] / "1")


def test_two_processes_predict_what_one_does(alone, tmp_path, address):
    np.save(tmp_path / "x.npy", load("digits").x_test)
    command = ["-m", "jaxfc_command", "predict", alone[0] / "1", "x.npy", "--out"]
    both = [[*command, "both.csv", *joining(address, 2, number)] for number in range(2)]
    with started([*command, "alone.csv"], *both, cwd=tmp_path) as children:
        found = ended(children, 60)
    assert [(code, out) for code, out, _ in found] == [
        (0, "300 rows: alone.csv\n"),
        (0, "300 rows: both.csv\n"),
        (0, ""),
    ]
    assert (tmp_path / "both.csv").read_text() == (tmp_path / "alone.csv").read_text()


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_where_one_is_killed_the_other_ends_and_the_run_goes_on(tmp_path, address):
    first = 0
    for killed in (0, 1):  # of the first one JAX's runtime hears in another way
        flags = ["--resume", "--no-progress"] if killed else LONG
        with started(*train(*flags, "--out", "run", address=address, count=2), cwd=tmp_path) as children:
            lines = iter(children[0].stdout.readline, "")
            before, first = first, next(epoch for epoch in map(epoch_of, lines) if epoch)
            children[killed].kill()
            ((code, _, err),) = ended([children[1 - killed]], 60)
        assert first > before
        assert code != 0
        assert err.splitlines() == [LOST]


def epoch_of(line):
    return int(line.split()[1]) if line.startswith("(Epoch") else None


def test_ctrl_c_on_one_of_them_ends_all_with_everything_saved(tmp_path, address):
    with started(*train(*LONG, "--out", "run", address=address, count=2), cwd=tmp_path) as children:
        next(line for line in iter(children[0].stdout.readline, "") if epoch_of(line))
        children[1].send_signal(signal.SIGTERM)
        found = ended(children, 60)
    assert [code for code, *_ in found] == [0, 0], found
    assert re.search("interrupted after epoch .*; to go on: jaxfc train --resume", found[0][1])
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_processes_with_other_settings_all_say_so(tmp_path, address):
    one, two = train("--out", "run", address=address, count=2)
    with started(one, [*two, "--learning-rate", 0.5], cwd=tmp_path) as children:
        found = ended(children, 60)
    for code, _, err in found:
        assert code == 2
        (line,) = err.splitlines()
        assert "process 1 has" in line
        assert "start all with the same settings" in line


def test_who_does_not_come_is_not_waited_for_long(tmp_path, address):
    port = int(address.split(":")[1])
    late = rf"{address}: process 0 was not there within 1 seconds \(Connection refused\): start it, or wait longer"
    with pytest.raises(TimeoutError, match=late):
        processes._wait_for("127.0.0.1", port, 1)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError, match="cannot listen there"):
        processes._check_free("127.0.0.1", port)
    with started(train("--join-timeout", 2, address=address, count=2)[0], cwd=tmp_path) as children:
        ((code, _, err),) = ended(children, 60)
    assert code != 0
    assert err.splitlines() == ["jaxfc: not all processes of the run came within 2 seconds: start them all"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--distributed"], "no cluster of processes was found"),
        (["--coordinator", "here"], "coordinator='here': write HOST:PORT"),
        (["--coordinator", "here:1"], "needs num_processes too"),
        (["--coordinator", "here:1", "--num-processes", 2, "--process-id", 2], "process_id=2 must be from 0 to"),
        (["--distributed", "--join-timeout", 0], "join_timeout=0"),
    ],
)
def test_what_is_no_cluster_is_named(capfd, flags, message):
    if message.startswith("no cluster"):  # which needs a process that has not begun to compute
        with started(["-m", "jaxfc_command", "train", *flags], cwd="/") as children:
            ((code, _, err),) = ended(children, 60)
        assert (code, len(err.splitlines())) == (2, 1), err
        assert message in err
    else:
        assert message in fails(capfd, "train", *flags)
    assert not Joining().several
