"""The persistent compilation cache: what it finds, what it leaves as it is, and which folders it refuses."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from command import FAST, fails, jaxfc

from jaxfc import FCNet, compilation, compilation_cache, fit, load

OPTIONS = {"epochs": 2, "verbose": False, "progress": False}


def trained():
    """A training whose programs are made ready anew, as in a new process: its result's arrays as bytes."""
    jax.clear_caches()
    net = FCNet(64, (16,), 10, normalization="batchnorm", dropout_keep_ratio=0.9)
    result = fit(net, "adam", load("digits"), **OPTIONS)
    arrays = (result.params, result.best_params, result.stats, result.loss_history, result.val_loss_history)
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(arrays)]


def refused(stderr):
    """Whether XLA takes its own entries for another machine's; see `jaxfc.compilation`."""
    return "prefer-no-gather" in stderr


def test_a_program_found_gives_the_bits_of_one_compiled_donated_buffers_too(tmp_path, capfd):
    settings = {name: getattr(jax.config, name) for name in compilation._OPTIONS}
    settings["jax_compilation_cache_dir"] = jax.config.jax_compilation_cache_dir
    plain = trained()
    with compilation_cache(tmp_path) as first:
        assert trained() == plain
    assert first.compiled > 3
    assert first.found == 0
    with compilation_cache(tmp_path) as second:
        assert trained() == plain
    if refused(capfd.readouterr().err):
        pytest.skip("XLA refuses its own entries on this processor")
    assert (second.compiled, second.found) == (0, first.compiled)
    assert str(second) == f"compiled: 0 programs; from the cache: {first.compiled}"
    second.close()  # a second time: nothing happens
    assert {name: getattr(jax.config, name) for name in settings} == settings
    jax.jit(lambda x: x + 1)(0)
    assert (second.compiled, second.found) == (0, first.compiled)  # it no longer listens


def test_a_second_run_of_the_command_compiles_nothing(tmp_path):
    def train(name, *flags, **variables):
        command = [sys.executable, "-c", "from jaxfc.cli import main; main()", "train", *FAST, "--out", name, *flags]
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAXFC_CACHE": str(tmp_path / "mine")} | variables
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return run.stdout.splitlines()[-1], run.stderr

    count = 9
    assert train("first", "--compile-cache") == (f"compiled: {count} programs; from the cache: 0", "")
    line, stderr = train("second", JAXFC_COMPILE_CACHE="on")
    if refused(stderr):
        pytest.skip("XLA refuses its own entries on this processor")
    assert (line, stderr) == (f"compiled: 0 programs; from the cache: {count}", "")
    for name in ("history.csv", "curves.png"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    (folder,) = (tmp_path / "mine" / "programs").iterdir()
    assert folder.name == compilation.machine()
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]


def file(path):
    path.touch()
    return path


def open_to_all(path):
    path.mkdir()
    path.chmod(0o777)
    return path


def open_below(path):
    path.mkdir(mode=0o700)
    open_to_all(path / compilation.machine())
    return path


BAD = {
    "a file": (file, NotADirectoryError, "is no folder"),
    "below a file": (lambda path: file(path) / "programs", OSError, r"cannot be written \(Not a directory\)"),
    "mode 0777": (open_to_all, PermissionError, "has mode 777: others could put programs there.*chmod 700"),
    "mode 0777 below": (open_below, PermissionError, "has mode 777"),
    "unwritable": (lambda path: "/proc/jaxfc", OSError, r"/proc/jaxfc cannot be written"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_folder_that_is_not_ones_own_is_refused_and_named(tmp_path, kind):
    make, error, message = BAD[kind]
    with pytest.raises(error, match=message):
        compilation_cache(make(tmp_path / "folder"))


def test_another_users_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="belongs to another user, whose programs would be run"):
        compilation_cache(tmp_path)


def test_a_command_goes_on_without_a_cache_that_it_cannot_have(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    code, out, err = jaxfc(capfd, "train", *FAST, "--compile-cache", open_to_all(tmp_path / "folder"))
    assert code == 0
    assert out[-2] == "run: runs/digits-1"
    assert len(err) == 1
    assert err[0].startswith(f"jaxfc: no compilation cache: {tmp_path}/folder has mode 777: others could ")


def test_the_flag_has_precedence_over_the_variable_and_a_failure_is_one_line(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("JAXFC_COMPILE_CACHE", str(tmp_path / "named"))
    np.save(tmp_path / "x.npy", np.zeros((1, 64)))
    assert fails(capfd, "predict", "absent", tmp_path / "x.npy", "--compile-cache", "off").startswith("jaxfc: absent")
    assert not (tmp_path / "named").exists()
    assert fails(capfd, "evaluate", "absent").startswith("jaxfc: absent: no such run folder")
    assert (tmp_path / "named").is_dir()
    assert jax.config.jax_compilation_cache_dir != str(tmp_path / "named" / compilation.machine())
