"""Data that stay in their files: read the same, refused for the same reasons, and trained on in little memory."""

import errno
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from examples import QUIET, assert_same_bits

from jaxfc import FCNet, Model, TrainConfig, fit, load, search
from jaxfc.data import FileRows, read_examples, read_features
from jaxfc.data.mapped import map_npz
from jaxfc.errors import FormatError, OutOfMemoryError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1200, 6))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
KINDS = {
    "f8": X,
    "f4": X.astype("f4"),
    "u1": (X * 40 + 120).clip(0, 255).astype("u1").reshape(-1, 2, 3),
    "i8": (X * 2**40).astype(int),
    "big-endian": X.astype(">f4"),
    "fortran": np.asfortranarray(X),
    "dates": X + 1.7e9,
}


def save(form, name, x, y, **more):
    if form == "npy":
        np.save(f"{name}.npy", x)
        for key, array in {"y": y, **more}.items():
            np.save(f"{name}.{key}.npy", array)
    else:
        (np.savez if form == "npz" else np.savez_compressed)(f"{name}.npz", x=x, y=y, **more)
    return f"{name}.{form[:3]}"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["npz", "npz compressed", "npy"])
def test_a_data_set_in_its_file_is_the_one_in_memory(kind, form):
    path = save(form, kind, KINDS[kind], Y, w=np.arange(1.0, 1201))
    there, here = load(path, stream=True, weights="w"), load(path, stream=False, weights="w")
    assert isinstance(there.x_train, FileRows)
    assert isinstance(here.x_train, np.ndarray)
    assert there.fingerprint() == here.fingerprint()
    assert there.image_shape == here.image_shape
    np.testing.assert_array_equal(np.asarray(there.x_test), here.x_test)
    np.testing.assert_array_equal(there.w_test, here.w_test)
    fold = there.take(np.array([5, 3, -1]), np.array([0]))
    np.testing.assert_array_equal(np.asarray(fold.x_train), here.x_train[[5, 3, -1]])
    assert there.subset(50).fingerprint() == here.subset(50).fingerprint()


def test_statistics_go_block_by_block_and_are_the_same(monkeypatch):
    monkeypatch.setattr("jaxfc.data.file_rows._BLOCK", 600)
    path = save("npy", "x", X, Y)
    there, here = load(path, stream=True), load(path, stream=False)
    assert there.fingerprint() == here.fingerprint()
    z = np.asarray(here.normalizer(here.x_train))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-6)
    spoiled = X.copy()
    spoiled[777, 4] = np.inf
    with pytest.raises(ValueError, match=r"x\[777, 4\] is inf"):
        load(save("npy", "x", spoiled, Y), stream=True)


def test_a_run_on_a_file_has_the_bits_of_one_in_memory():
    path = save("npz", "x", X, Y)
    net, settings = FCNet(6, (8,), 3), {"epochs": 2, "batch_size": 50, **QUIET}
    there = fit(net, "adam", load(path, stream=True), **settings)
    here = fit(net, "adam", load(path, stream=False), **settings)
    assert_same_bits(there, here)
    model = here.model(load(path))
    model.save("m.safetensors")
    model = Model.load("m.safetensors")
    data = load(path, stream=True)
    np.testing.assert_array_equal(model.predict_proba(data.x_test), model.predict_proba(np.asarray(data.x_test)))
    assert_same_bits(fit(net, "adam", data, stream=False, **settings), here)


def test_a_search_has_its_rows_in_memory_or_says_why_not(monkeypatch):
    data = load(save("npz", "x", X, Y), stream=True)
    settings = search.sample({"learning_rate": search.loguniform(1e-3, 1e-1)}, trials=1)
    layout = search.loop.lay_out(data, TrainConfig(hidden=(4,), epochs=1), settings)
    assert isinstance(layout.data.x_train, np.ndarray)
    monkeypatch.setattr("jaxfc.data.mapped.free_bytes", lambda: 1000)
    with pytest.raises(ValueError, match=r"960 rows of .* do not fit into memory.*--num-train"):
        search.run(data, TrainConfig(hidden=(4,)), settings)


def test_what_does_not_fit_stays_in_its_file_by_itself(monkeypatch):
    path = save("npz", "x", X, Y)
    monkeypatch.setattr("jaxfc.data.mapped.free_bytes", lambda: 4 * X.nbytes - 1)
    assert isinstance(load(path).x_train, FileRows)
    monkeypatch.setattr("jaxfc.data.mapped.free_bytes", lambda: 5 * X.nbytes)
    assert isinstance(load(path).x_train, np.ndarray)


@pytest.mark.parametrize("form", ["npz", "npz compressed", "npy"])
def test_a_damaged_file_is_refused(form):
    path = Path(save(form, "x", X, Y))
    raw = bytearray(path.read_bytes())
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(FormatError, match="truncated"):
        load(str(path), stream=True)
    if form != "npy":  # which has no checksum
        raw[5000] ^= 1
        path.write_bytes(raw)
        with pytest.raises(FormatError, match="'x' cannot be read"):
            load(str(path), stream=True)


def test_arrays_of_objects_and_lacking_files_are_refused():
    np.savez("o.npz", x=np.array([[None]]), y=Y[:1])
    with pytest.raises(FormatError, match="Object arrays"):
        load("o.npz", stream=True)
    np.save("alone.npy", X)
    with pytest.raises(FormatError, match=r"no array 'y' beside it: put it into alone\.y\.npy"):
        load("alone.npy")
    with pytest.raises(FileNotFoundError, match=r"gone\.npy"):
        load("gone.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_without_addresses_for_a_map_its_size_and_the_limit_are_named(save, monkeypatch):
    save("x.npz", x=np.ones((1000, 1000)))
    limited = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    def no_map(*args, **kwargs):
        raise limited

    monkeypatch.setattr(np, "memmap", no_map)
    with pytest.raises(OutOfMemoryError, match=r"x.npz.* 8 MB .*ulimit -v"):
        map_npz(Path("x.npz"), "x")


def test_a_member_is_found_wherever_the_archive_has_it():
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.comment = b"made by hand"
        for name, array in (("y", Y), ("x", X)):
            info = zipfile.ZipInfo(f"{name}.npy")
            info.extra = b"\xfe\xca\x04\x00" + bytes(4)
            with archive.open(info, "w") as member:
                np.lib.format.write_array(member, array)
    np.testing.assert_array_equal(map_npz(Path("x.npz"), "x"), X)


# ---------------------------------------------------------------------------------------------------
# Parquet and Arrow
# ---------------------------------------------------------------------------------------------------


def write_tables(columns):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table(columns)
    parquet.write_table(table, "t.parquet", row_group_size=500)
    for name in ("t.arrow", "t.feather"):
        with pa.OSFile(name, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=500)
    with open("t.csv", "w") as file:
        print(*table.column_names, sep=",", file=file)
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
            print(*row, sep=",", file=file)


@pytest.mark.parametrize("stream", [True, False])
def test_a_parquet_or_arrow_file_is_the_csv_of_its_columns(stream):
    write_tables(
        {"a": X[:, 0], "b": X[:, 1], "weight": np.arange(1200), "side": np.array(["left", "middle", "right"])[Y]}
    )
    csv = load("t.csv", weights="weight")
    for name in ("t.parquet", "t.arrow", "t.feather"):
        data = load(name, weights="weight", stream=stream)
        assert isinstance(data.x_train, FileRows) == stream
        assert data.fingerprint() == csv.fingerprint()
        assert (data.feature_names, data.classes) == (csv.feature_names, csv.classes)
        x = read_features(name, num_features=2, feature_names=("b", "a"))
        np.testing.assert_array_equal(x, X[:, [1, 0]])
        _, y, _ = read_examples(name, classes=csv.classes, num_features=3)
        np.testing.assert_array_equal(y, Y)


def test_a_parquet_file_that_cannot_be_used_is_refused():
    pa = pytest.importorskip("pyarrow")
    write_tables({"a": pa.array([1.0, None, 3.0]), "label": [0, 1, 0]})
    with pytest.raises(ValueError, match="row 1: column 'a' is empty"):
        load("t.parquet", stream=True)
    write_tables({"a": ["x", "y"], "label": [0, 1]})
    with pytest.raises(ValueError, match="column 'a' is of string: features must be numbers"):
        load("t.arrow", stream=True)
    write_tables({"a": [1.0, 2.0], "label": pa.array([0, None])})
    with pytest.raises(ValueError, match="row 1: column 'label' is empty"):
        load("t.arrow")
    write_tables({"a": [1.0, float("nan")], "label": [0, 1]})
    with pytest.raises(ValueError, match=r"x\[1, 0\] is nan"):
        load("t.parquet", stream=True)
    for name in ("t.parquet", "t.arrow"):
        Path(name).write_bytes(Path(name).read_bytes()[:-20])
        with pytest.raises(FormatError, match="corrupted or truncated"):
            load(name)
        with pytest.raises(FileNotFoundError):
            load(f"no-{name}")


def test_without_pyarrow_the_remedy_is_named(monkeypatch):
    Path("t.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxfc\[arrow\]'"):
        load("t.parquet")


# ---------------------------------------------------------------------------------------------------
# Little memory
# ---------------------------------------------------------------------------------------------------


LIMITED = """
import resource, sys
import numpy as np
from examples import QUIET
from jaxfc import FCNet, fit, load
from jaxfc.training import streaming

streaming.WINDOW_BYTES = streaming.VAL_BYTES = 2**22
limit = int(sys.argv[1])

def train(path):
    data = load(path, stream=True)
    return fit(FCNet(4096, (4,), 3), "sgd", data, epochs=1, batch_size=512, **QUIET)

train("small.npy")  # whatever it takes beside the rows: threads, a compiler
private = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (private + limit, resource.RLIM_INFINITY))
try:
    np.ones(2 * limit, np.uint8)
except MemoryError:
    print(len(train("large.npy").loss_history))
"""


def sparse(name, rows):
    """Bytes that take no room on the disk: all but the first few are a hole."""
    x = np.lib.format.open_memmap(f"{name}.npy", "w+", np.uint8, (rows, 4096))
    x[:100] = RNG.integers(256, size=(100, 4096))
    np.save(f"{name}.y.npy", np.arange(rows) % 3)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux limits private memory so")
def test_a_file_four_times_the_memory_trains():
    """The limit is on what the process allocates beyond what it has before; a file that is mapped is none of it."""
    limit = 2**27
    sparse("small", 10_000)
    sparse("large", 4 * limit // 4096)
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit)],
        # The C library's allocator would else keep freed megabytes for itself, and the limit counts them.
        env=os.environ | {"PYTHONPATH": path, "MALLOC_MMAP_THRESHOLD_": str(2**20)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == round(4 * limit // 4096 * 0.8) // 512
