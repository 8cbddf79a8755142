import contextlib
import os
import pickle
import pickletools
import tarfile
from pathlib import Path

import numpy as np
import pytest

from jaxfc.data import load
from jaxfc.data.cifar10 import read_batch
from jaxfc.errors import FormatError

BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
NAMES = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
ROWS = 20  # in each batch, in place of the official 10,000


def python2_pickle(value):
    """Pickle as Python 2 did, where bytes and text were both `str` and numpy's core was `numpy.core`."""
    raw = pickle.dumps(value, protocol=3)
    ops = list(pickletools.genops(raw))
    ends = [position for _, _, position in ops[1:]] + [len(raw)]
    out = []
    for (op, _, start), end in zip(ops, ends, strict=True):
        chunk = raw[start:end]
        if op.name == "PROTO":
            chunk = b"\x80\x02"
        elif op.name == "SHORT_BINBYTES":
            chunk = b"U" + chunk[1:]
        elif op.name in ("BINBYTES", "BINUNICODE"):
            chunk = b"T" + chunk[1:]
        elif op.name == "GLOBAL":
            chunk = chunk.replace(b"numpy._core", b"numpy.core")
        out.append(chunk)
    return b"".join(out)


def batch_contents(seed, rows=ROWS):
    rng = np.random.default_rng(seed)
    return {
        b"batch_label": b"a batch",
        b"labels": rng.integers(10, size=rows).tolist(),
        b"data": rng.integers(256, size=(rows, 3072), dtype=np.uint8),
        b"filenames": [b"picture.png"] * rows,
    }


def meta_contents(rows=ROWS):
    return {b"num_cases_per_batch": rows, b"label_names": NAMES, b"num_vis": 3072}


@pytest.fixture
def folder(tmp_path):
    """A small CIFAR-10 in the official layout, unpacked."""
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for seed, name in enumerate(BATCHES):
        (folder / name).write_bytes(python2_pickle(batch_contents(seed)))
    (folder / "batches.meta").write_bytes(python2_pickle(meta_contents()))
    return folder


@pytest.fixture
def archive(folder, tmp_path):
    """The same, packed, in an order of files as jumbled as the official one."""
    (tmp_path / "packed").mkdir()
    path = tmp_path / "packed" / "cifar-10-python.tar.gz"
    (folder / "readme.html").write_text("not a batch")
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(folder, "cifar-10-batches-py", recursive=False)
        for name in ["data_batch_4", "readme.html", "test_batch", "data_batch_3", "batches.meta", "data_batch_2"]:
            tar.add(folder / name, f"cifar-10-batches-py/{name}")
        for name in ["data_batch_5", "data_batch_1"]:
            tar.add(folder / name, f"cifar-10-batches-py/{name}")
    return path


def assert_is_the_small_cifar10(data):
    batches = [batch_contents(seed) for seed in range(6)]
    x = np.concatenate([batch[b"data"] for batch in batches])
    y = np.concatenate([batch[b"labels"] for batch in batches])
    # Of 100 training rows the last 2 validate, as 1,000 of the official 50,000.
    for split, rows in {"train": slice(98), "val": slice(98, 100), "test": slice(100, 120)}.items():
        np.testing.assert_array_equal(data.split(split)[0], x[rows])
        np.testing.assert_array_equal(data.split(split)[1], y[rows])
    assert (data.x_train.dtype, data.y_train.dtype) == (np.uint8, np.int32)
    assert data.classes == tuple(name.decode() for name in NAMES)
    assert data.image_shape == (3, 32, 32)
    np.testing.assert_allclose(data.normalizer.mean, x[:98].mean(axis=0), rtol=1e-6)
    assert data.normalizer.scale == 1


def test_reads_an_unpacked_folder_and_the_folder_above_it(folder):
    assert_is_the_small_cifar10(load("cifar10", data_dir=folder.parent))
    assert_is_the_small_cifar10(load("cifar10", data_dir=str(folder)))


def test_reads_the_archive_without_unpacking_it(archive):
    assert_is_the_small_cifar10(load("cifar10", data_dir=archive.parent))
    assert os.listdir(archive.parent) == [archive.name]


def test_reads_files_that_python_3_and_a_new_numpy_wrote(folder):
    for seed, name in enumerate(BATCHES):
        (folder / name).write_bytes(pickle.dumps(batch_contents(seed), protocol=4))
    assert_is_the_small_cifar10(load("cifar10", data_dir=folder))


def test_read_batch_agrees_with_plain_pickle(folder):
    images, labels = read_batch(folder / "data_batch_3")
    plain = pickle.loads((folder / "data_batch_3").read_bytes(), encoding="bytes")
    np.testing.assert_array_equal(images, plain[b"data"])
    np.testing.assert_array_equal(labels, plain[b"labels"])
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)


class Call:
    """Pickles to a call of `function`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", ["system", "eval"])
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path, kind, protocol):
    marker = tmp_path / "marker"
    call = Call(os.system, f"touch {marker}") if kind == "system" else Call(eval, f"open({str(marker)!r}, 'w').close()")
    hostile = pickle.dumps({"data": call, "labels": []}, protocol)
    (tmp_path / "hostile").write_bytes(hostile)
    with pytest.raises(FormatError, match=rf"hostile tries to load \w+\.{kind}: not a CIFAR-10 file"):
        read_batch(tmp_path / "hostile")
    assert not marker.exists()
    pickle.loads(hostile)  # proof that the pickle does what it threatens, where it is trusted
    assert marker.exists()


def test_hostile_metadata_is_refused(folder, tmp_path):
    marker = tmp_path / "marker"
    (folder / "batches.meta").write_bytes(pickle.dumps(Call(os.system, f"touch {marker}"), 2))
    with pytest.raises(FormatError, match=r"batches\.meta tries to load"):
        load("cifar10", data_dir=folder)
    assert not marker.exists()


def test_numpy_arrays_of_objects_are_refused(tmp_path):
    contents = batch_contents(0) | {b"data": np.array([[None]], object)}
    (tmp_path / "objects").write_bytes(pickle.dumps(contents, 3))
    with pytest.raises(FormatError, match="not of bytes"):
        read_batch(tmp_path / "objects")


@pytest.mark.parametrize("keep", [0, 1, 30, 5000])
def test_a_truncated_batch_is_named(folder, keep):
    path = folder / "data_batch_2"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match="data_batch_2 is corrupted or truncated"):
        load("cifar10", data_dir=folder)


def test_no_damage_to_a_batch_escapes_as_another_error(tmp_path):
    rng = np.random.default_rng(0)
    whole = bytearray(python2_pickle(batch_contents(0, rows=10)))
    path = tmp_path / "batch"
    for _ in range(300):
        damaged = bytearray(whole)
        place = int(rng.integers(400)) * int(rng.choice([1, -1]))  # where the structure is, not in the pixels
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with contextlib.suppress(FormatError):
            read_batch(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"data": None}, "'data' must be an array"),
        ({b"data": np.zeros((ROWS, 3071), np.uint8)}, r"'data' must be an array of bytes .* \(20, 3071\)"),
        ({b"data": np.zeros(ROWS * 3072, np.uint8)}, "'data' must be an array of bytes"),
        ({b"data": np.zeros((ROWS, 3072), np.float32)}, "not of bytes"),
        ({b"labels": [0] * 19}, "holds 20 images but 19 labels"),
        ({b"labels": [10] * 20}, "'labels' must be a list of whole numbers from 0 to 9"),
        ({b"labels": [-1] * 20}, "'labels' must be"),
        ({b"labels": [0.5] * 20}, "'labels' must be"),
        ({b"labels": b"0" * 20}, "'labels' must be"),
    ],
)
def test_contents_of_a_wrong_shape_or_range_are_named(folder, change, message):
    (folder / "data_batch_1").write_bytes(python2_pickle(batch_contents(0) | change))
    with pytest.raises(FormatError, match=f"data_batch_1.*{message}"):
        load("cifar10", data_dir=folder)


@pytest.mark.parametrize("key", [b"data", b"labels"])
def test_a_missing_entry_is_named(tmp_path, key):
    contents = batch_contents(0)
    del contents[key]
    (tmp_path / "batch").write_bytes(python2_pickle(contents))
    with pytest.raises(FormatError, match=f"batch has no entry '{key.decode()}'"):
        read_batch(tmp_path / "batch")


@pytest.mark.parametrize("change", [{b"label_names": NAMES[:9]}, {b"num_cases_per_batch": 10**12}])
def test_bad_metadata_is_named(folder, change):
    (folder / "batches.meta").write_bytes(python2_pickle(meta_contents() | change))
    with pytest.raises(FormatError, match=f"batches.meta: '{next(iter(change)).decode()}' must be"):
        load("cifar10", data_dir=folder)


def test_batches_must_be_of_one_size_and_the_size_in_the_metadata(folder):
    (folder / "batches.meta").write_bytes(python2_pickle(meta_contents(rows=30)))
    with pytest.raises(FormatError, match=r"hold 20 images where batches\.meta says 30"):
        load("cifar10", data_dir=folder)
    (folder / "data_batch_4").write_bytes(python2_pickle(batch_contents(3, rows=10)))
    with pytest.raises(FormatError, match="data_batch_4 holds 10 images where another batch holds 20"):
        load("cifar10", data_dir=folder)


@pytest.mark.parametrize("part", [0, 0.001, 0.5, 0.999])
def test_a_truncated_archive_is_named(archive, part):
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(FormatError, match=r"cifar-10-python\.tar\.gz"):
        load("cifar10", data_dir=archive.parent)


@pytest.mark.parametrize("place", [0, 5000, -6])  # the magic number, the compressed data, the checksum
def test_a_corrupted_archive_is_named(archive, place):
    damaged = bytearray(archive.read_bytes())
    damaged[place] ^= 0xFF
    archive.write_bytes(damaged)
    with pytest.raises(FormatError, match=r"cifar-10-python\.tar\.gz is corrupted or truncated"):
        load("cifar10", data_dir=archive.parent)


def test_an_archive_without_all_batches_names_those_it_lacks(folder, tmp_path):
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(folder / "data_batch_1", "cifar-10-batches-py/data_batch_1")
        # Batches that are elsewhere in the archive, or links, are not those of the data set.
        tar.add(folder / "data_batch_2", "elsewhere/data_batch_2")
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_3")
        link.type, link.linkname = tarfile.SYMTYPE, str(folder / "data_batch_3")
        tar.addfile(link)
    with pytest.raises(FormatError, match=r"lacks data_batch_2, data_batch_3, .*, test_batch, batches\.meta"):
        load("cifar10", data_dir=tmp_path)


def test_a_folder_without_the_data_set_says_what_was_looked_for(folder):
    (folder / "data_batch_5").unlink()
    with pytest.raises(FileNotFoundError, match=r"cifar10 is not in data_dir .*looked for .*data_batch_5"):
        load("cifar10", data_dir=folder.parent)


@pytest.fixture(scope="module")
def real_folder():
    folder = os.environ.get("JAXFC_DATA")
    if not folder or not (Path(folder) / "cifar-10-batches-py").is_dir():
        pytest.skip("needs the real CIFAR-10: set JAXFC_DATA to the folder that holds cifar-10-batches-py")
    return Path(folder)


def test_the_real_cifar10_is_split_as_in_cs231n(real_folder):
    data = load("cifar10")
    assert [len(data.split(split)[0]) for split in ("train", "val", "test")] == [49_000, 1_000, 10_000]
    parts = {"data_batch_1": data.x_train[:10_000], "data_batch_5": data.x_val, "test_batch": data.x_test}
    labels = {"data_batch_1": data.y_train[:10_000], "data_batch_5": data.y_val, "test_batch": data.y_test}
    for name, x in parts.items():
        with (real_folder / "cifar-10-batches-py" / name).open("rb") as file:
            plain = pickle.load(file, encoding="bytes")
        np.testing.assert_array_equal(x, plain[b"data"][-len(x) :])
        np.testing.assert_array_equal(labels[name], plain[b"labels"][-len(x) :])
    assert data.classes == tuple(name.decode() for name in NAMES)
    assert data.y_train[:5].tolist() == [6, 9, 9, 4, 1]  # frog, truck, truck, deer, automobile
