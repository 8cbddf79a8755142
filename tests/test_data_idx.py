import gzip
import struct

import numpy as np
import pytest

from jaxfc.data import load
from jaxfc.data.idx import read_idx
from jaxfc.errors import FormatError

FILES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


def idx(array, code=0x08):
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def arrays(train=24, test=10, side=28):
    rng = np.random.default_rng(0)
    return [
        rng.integers(256, size=(train, side, side), dtype=np.uint8),
        rng.integers(10, size=train, dtype=np.uint8),
        rng.integers(256, size=(test, side, side), dtype=np.uint8),
        rng.integers(10, size=test, dtype=np.uint8),
    ]


def write(folder, contents, *, compress=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(FILES, contents, strict=True):
        raw = idx(array)
        (folder / f"{name}.gz" if compress else folder / name).write_bytes(
            gzip.compress(raw, mtime=0) if compress else raw
        )
    return folder


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(
    ("name", "subfolder"), [("mnist", "mnist"), ("mnist", "."), ("fashion_mnist", "fashion-mnist")]
)
def test_reads_the_four_files_and_splits_them(tmp_path, name, subfolder, compress):
    x, y, x_test, y_test = contents = arrays()
    write(tmp_path / "data" / subfolder, contents, compress=compress)
    data = load(name, data_dir=tmp_path / "data")
    # The last twelfth of the training file validates: 2 of 24, 5,000 of 60,000.
    np.testing.assert_array_equal(data.x_train, x[:22].reshape(22, 784))
    np.testing.assert_array_equal(data.x_val, x[22:].reshape(2, 784))
    np.testing.assert_array_equal(data.x_test, x_test.reshape(10, 784))
    np.testing.assert_array_equal(np.concatenate([data.y_train, data.y_val, data.y_test]), np.concatenate([y, y_test]))
    assert (data.x_train.dtype, data.y_train.dtype) == (np.uint8, np.int32)
    assert (data.name, data.image_shape) == (name, (28, 28))
    z = np.asarray(data.normalizer(data.x_train))
    np.testing.assert_allclose([z.mean(), z.var(axis=0).mean()], [0, 1], atol=1e-5)


def test_classes(tmp_path):
    write(tmp_path, arrays())
    assert load("mnist", data_dir=tmp_path).classes == tuple("0123456789")
    fashion = load("fashion_mnist", data_dir=tmp_path).classes
    assert (len(fashion), fashion[0], fashion[9]) == (10, "T-shirt/top", "Ankle boot")


def test_a_folder_named_for_one_data_set_is_not_taken_for_the_other(tmp_path):
    folder = write(tmp_path / "mnist", arrays())
    assert load("mnist", data_dir=folder).name == "mnist"
    with pytest.raises(FileNotFoundError, match="fashion_mnist is not in data_dir"):
        load("fashion_mnist", data_dir=folder)


def test_a_missing_file_says_what_was_looked_for(tmp_path):
    write(tmp_path, arrays())
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"mnist is not in data_dir .*t10k-labels-idx1-ubyte .*with or without"):
        load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4), (0, 5), ()])
@pytest.mark.parametrize("compress", [True, False])
def test_read_idx_of_any_shape_and_by_content_not_by_name(tmp_path, shape, compress):
    array = np.arange(np.prod(shape, dtype=int), dtype=np.uint8).reshape(shape)
    path = tmp_path / ("plain" if compress else "misleading.gz")
    path.write_bytes(gzip.compress(idx(array), mtime=0) if compress else idx(array))
    np.testing.assert_array_equal(read_idx(path), array)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is not an IDX file"),
        (b"\0\0\x08", "is not an IDX file"),
        (b"GIF89a and so on", "is not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\1\0\0\0\0", "IDX type 0x0d"),
        (b"\0\0\x08\x02\0\0\0\1\0\0", "ends within its header"),
        (b"\0\0\x08\x01\0\0\0\3ab", "promises 3 bytes .* but 2 follow"),
        (b"\0\0\x08\x01\0\0\0\3abcd", "promises 3 bytes .* but more follow"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"a", "promises an array"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\3abc", mtime=0)[:-9], "is corrupted or truncated"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\3abc", mtime=0)[:-8] + b"\0" * 8, "is corrupted or truncated"),
        (b"\x1f\x8bnonsense", "is corrupted or truncated"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, raw, message):
    (tmp_path / "some-file").write_bytes(raw)
    with pytest.raises(FormatError, match=f"some-file .*{message}"):
        read_idx(tmp_path / "some-file")


@pytest.mark.parametrize(
    ("which", "array", "message"),
    [
        (0, np.zeros((24, 784), np.uint8), r"train-images.* shape \(24, 784\)"),
        (2, np.zeros((10, 27, 28), np.uint8), r"t10k-images.* shape \(10, 27, 28\)"),
        (1, np.zeros(23, np.uint8), r"train-labels.* shape \(23,\) for 24 images"),
        (3, np.zeros((10, 1), np.uint8), r"t10k-labels.* shape \(10, 1\) for 10 images"),
        (3, np.full(10, 10, np.uint8), "t10k-labels.* the label 10"),
    ],
)
def test_files_that_do_not_fit_one_another_are_named(tmp_path, which, array, message):
    contents = arrays()
    contents[which] = array
    write(tmp_path, contents)
    with pytest.raises(FormatError, match=message):
        load("mnist", data_dir=tmp_path)


def test_too_few_images(tmp_path):
    write(tmp_path, arrays(test=0))
    with pytest.raises(FormatError, match=r"t10k-images.* holds no images"):
        load("mnist", data_dir=tmp_path)
    write(tmp_path, arrays(train=11))  # too few to split
    with pytest.raises(ValueError, match=r"mnist: val: .*nothing to train on or evaluate"):
        load("mnist", data_dir=tmp_path)
