"""Arrays that a user may hand over: `.npz` and `.npy`."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hostile import Case, command

TRAIN = ("train", "--data", "{}/d.npz", "--out", "{}/out", "--epochs", "1", "--hidden")
X, Y = np.arange(180.0).reshape(60, 3), np.arange(60) % 2


def npy(array: np.ndarray) -> bytes:
    """The bytes of a `.npy` file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


def headed(header: str | bytes, body: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """The bytes of a `.npy` file with a header of one's own."""
    raw = header if isinstance(header, bytes) else header.encode("latin1")
    length = struct.pack("<H" if version == (1, 0) else "<I", len(raw))
    return b"\x93NUMPY" + bytes(version) + length + raw + body


def described(shape: str, descr: str = "'<f8'", order: str = "False") -> str:
    """A header's text."""
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def zipped(method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Callable[[Path], None]:
    """What makes a `.npz` of members, each of whatever bytes."""

    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / "d.npz", "w", method) as archive:
            for name, raw in members.items():
                archive.writestr(f"{name}.npy", raw)

    return make


def inflated(folder: Path, size: int = 40 * 10**9, name: str = "x.npy", shape: str = "(5000000000, 1)") -> None:
    """A `.npz` one of whose members is declared, and compressed, to 40 GB of zeros, of which the first MB are there."""
    raw = headed(described(shape))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(raw + bytes(10**6)) + packer.flush()
    with zipfile.ZipFile(folder / "d.npz", "w") as archive:
        archive.writestr("y.npy" if name == "x.npy" else "x.npy", npy(Y if name == "x.npy" else X))
        info = zipfile.ZipInfo(name)
        archive.writestr(info, packed)
        info.compress_type, info.file_size, info.CRC = zipfile.ZIP_DEFLATED, size + len(raw), 0


def patched(change: Callable[[bytes], bytes], method: int = zipfile.ZIP_DEFLATED) -> Callable[[Path], None]:
    """What makes a good `.npz` and then changes its bytes."""

    def make(folder: Path) -> None:
        zipped(method, x=npy(X), y=npy(Y))(folder)
        (folder / "d.npz").write_bytes(change((folder / "d.npz").read_bytes()))

    return make


def sparse(name: str, size: int, begins: bytes = b"") -> Callable[[Path], None]:
    """What makes a file of so many bytes that takes no place on disk."""

    def make(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.write(begins)
            file.truncate(size)

    return make


HEADERS = {
    "a shape of 10**18": described("(1000000000000000000,)"),
    "a shape of 10**30": described("(1" + "0" * 30 + ", 3)"),
    "a shape of 1,000 digits": described("(1" + "0" * 1000 + ", 3)"),
    "a shape of 5,000 digits": described("(1" + "0" * 5000 + ", 3)"),
    "a negative shape": described("(-20, -3)"),
    "a product that wraps round": described("(4294967296, 4294967296)"),
    "no product but a zero": described("(0, 1000000000000000000000)"),
    "100 axes": described("(" + "1, " * 100 + ")"),
    "a shape of text": described("('a', 'b')"),
    "a shape of floats": described("(20.0, 3.0)"),
    "a shape of booleans": described("(True, 60)"),
    "a shape that is a number": described("60"),
    "no shape": "{'descr': '<f8', 'fortran_order': False}\n",
    "no dictionary": "[1, 2, 3]\n",
    "nothing": "",
    "no literal": "__import__('os').system('true')\n",
    "an unfinished literal": "{'descr': '<f8', 'fort",
    "deep brackets": "(" * 5000 + ")" * 5000 + "\n",
    "deep signs": "-" * 9000 + "1\n",
    "a header of 9,000 keys": "{" + "'a':1," * 1500 + "}\n",
    "a null byte": "{'descr': '<f8', \0}\n",
    "keys of mixed kinds": "{1: 2, 'shape': (20, 3), 'descr': '<f8'}\n",
    "another order": described("(20, 3)", order="'maybe'"),
    "objects": described("(20, 3)", "'|O'"),
    "an unknown type": described("(20, 3)", "'<q99'"),
    "a type of 2**31 bytes": described("(20, 3)", "'|V2147483647'"),
    "a type of nothing": described("(20, 3)", "'|V0'"),
    "text of 10**9 letters": described("(20, 3)", "'<U1000000000'"),
    "records": described("(20,)", "[('a', '<f8'), ('b', '<i4')]"),
    "nested records": described("(20,)", "[('a', " * 50 + "'<f8'" + ")]" * 50),
    "a record of 10**12 numbers": described("(20,)", "[('a', '<f8', (1000000000000,))]"),
    "complex numbers": described("(20, 3)", "'<c16'"),
    "dates": described("(20, 3)", "'<M8[s]'"),
    "durations": described("(20, 3)", "'<m8[s]'"),
    "more rows than follow": described("(2000, 3)"),
}
REFUSED = "d\\.np[yz]"

# What NumPy reads, though there is nothing in it to train on: also refused, later.
MEMBERS = [
    case
    for name, header in HEADERS.items()
    for case in (
        command(f".npz: x has {name}", *TRAIN, says=REFUSED, make=zipped(x=headed(header, bytes(480)), y=npy(Y))),
        command(
            f".npy: {name}",
            "predict",
            "{}/m.safetensors",
            "{}/d.npy",
            says="d\\.npy|m\\.safetensors",
            make=lambda folder, header=header: (folder / "d.npy").write_bytes(headed(header, bytes(480))),
        ),
    )
]
ARCHIVES = [
    command(".npz: empty", *TRAIN, says=REFUSED, make=lambda f: (f / "d.npz").touch()),
    command(".npz: a folder", *TRAIN, says=REFUSED, make=lambda f: (f / "d.npz").mkdir()),
    command(".npz: absent", *TRAIN, says=REFUSED),
    command(".npz: a pipe", *TRAIN, says="no regular file", make=lambda f: os.mkfifo(f / "d.npz")),
    command(
        ".npz: an endless file", *TRAIN, says="no regular file", make=lambda f: (f / "d.npz").symlink_to("/dev/zero")
    ),
    command(".npz: a link to itself", *TRAIN, says=REFUSED, make=lambda f: (f / "d.npz").symlink_to(f / "d.npz")),
    command(".npz: 100 GB of nothing", *TRAIN, says=REFUSED, make=sparse("d.npz", 10**11)),
    command(".npz: a .npy", *TRAIN, says="single array", make=lambda f: (f / "d.npz").write_bytes(npy(X))),
    command(".npz: 40 GB in 40 kB", *TRAIN, says="GB", make=inflated),
    command(".npz: of 40 GB a few are asked for", *TRAIN, says=REFUSED, make=lambda f: inflated(f, shape="(20, 3)")),
    command(".npz: 2**62 bytes", *TRAIN, says=REFUSED, make=lambda f: inflated(f, 2**62, shape=f"({2**59}, 1)")),
    command(".npz: y of 40 GB", *TRAIN, says=REFUSED, make=lambda f: inflated(f, name="y.npy")),
    command(".npz: truncated", *TRAIN, says=REFUSED, make=patched(lambda raw: raw[: len(raw) // 2])),
    command(".npz: without its end", *TRAIN, says=REFUSED, make=patched(lambda raw: raw[:-10])),
    command(".npz: of pickles", *TRAIN, says=REFUSED, make=zipped(x=npy(np.array([{}] * 60, object)), y=npy(Y))),
    command(
        ".npz: labels are pickles", *TRAIN, says=REFUSED, make=zipped(x=npy(X), y=npy(np.array([{}] * 60, object)))
    ),
    command(".npz: x is no array", *TRAIN, says=REFUSED, make=zipped(x=b"these are notes", y=npy(Y))),
    command(".npz: x is empty", *TRAIN, says=REFUSED, make=zipped(x=b"", y=npy(Y))),
    command(".npz: y is no array", *TRAIN, says=REFUSED, make=zipped(x=npy(X), y=b"\x00" * 100)),
    command(".npz: no y", *TRAIN, says="lacks the array", make=zipped(x=npy(X))),
    command(".npz: no members", *TRAIN, says=REFUSED, make=zipped()),
    command(
        ".npz: x of version 9",
        *TRAIN,
        says=REFUSED,
        make=zipped(x=headed(described("(20, 3)"), bytes(480), (9, 0)), y=npy(Y)),
    ),
    command(
        ".npz: a header of 4 GB",
        *TRAIN,
        says=REFUSED,
        make=zipped(x=b"\x93NUMPY\x02\0" + b"\xff" * 4 + bytes(99), y=npy(Y)),
    ),
    command(
        ".npz: a header of 100 kB",
        *TRAIN,
        says=REFUSED,
        make=zipped(x=headed(described("(20, 3)") + " " * 10**5, bytes(480), (2, 0)), y=npy(Y)),
    ),
    *[
        command(
            f".npz: {name}, damaged at {place}",
            *TRAIN,
            says=REFUSED,
            make=patched(
                lambda raw, place=place: (
                    raw[: int(place * len(raw))] + b"\xff\x00\xff" + raw[int(place * len(raw)) + 3 :]
                ),
                method,
            ),
        )
        for name, method in (
            ("deflate", zipfile.ZIP_DEFLATED),
            ("bzip2", zipfile.ZIP_BZIP2),
            ("LZMA", zipfile.ZIP_LZMA),
        )
        for place in (0.1, 0.15, 0.2, 0.3)
    ],
    command(
        ".npz: LZMA's window of 4 GB",
        *TRAIN,
        says=REFUSED,
        make=patched(lambda raw: raw.replace(b"\x5d\x00\x00\x80\x00", b"\x5d\xff\xff\xff\xff"), zipfile.ZIP_LZMA),
    ),
    command(
        ".npz: an unknown method",
        *TRAIN,
        says=REFUSED,
        make=patched(lambda raw: raw.replace(b"\x14\x00\x00\x00\x08\x00", b"\x14\x00\x00\x00\x62\x00")),
    ),
    command(
        ".npz: encrypted",
        *TRAIN,
        says=REFUSED,
        make=patched(
            lambda raw: raw.replace(
                b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"
            ).replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00")
        ),
    ),
    command(".npz: 1,000 axes of nothing", *TRAIN, says=REFUSED, make=zipped(x=npy(np.zeros((20, 0))), y=npy(Y))),
    command(".npz: one number", *TRAIN, says=REFUSED, make=zipped(x=npy(np.float64(3)), y=npy(Y))),
    command(
        ".npz: a label of 100 kB",
        *TRAIN,
        says="characters",
        make=lambda f: np.savez_compressed(f / "d.npz", x=X, y=np.array(["a", "b" * 10**5] * 30)),
    ),
    command(
        ".npz: infinite numbers", *TRAIN, says="inf", make=zipped(x=npy(X / 0.0 if False else X + np.inf), y=npy(Y))
    ),
    command(".npz: numbers past float32", *TRAIN, says="too large", make=zipped(x=npy(X * 1e300), y=npy(Y))),
    command(
        ".npz: a label of 2**63",
        *TRAIN,
        says="y",
        make=zipped(x=npy(X), y=npy((Y + np.uint64(2**63)).astype(np.uint64))),
    ),
    command(
        ".npz: a label of 10**9", *TRAIN, says="labels must be class indices", make=zipped(x=npy(X), y=npy(Y * 10**9))
    ),
    command(
        ".npz: weights are text",
        *TRAIN[:-1],
        "--weights",
        "y",
        "--hidden",
        says=REFUSED,
        make=zipped(x=npy(X), y=npy(np.array(["a", "b"] * 30))),
    ),
    command(".npz: a name with a null byte", "train", "--data", "a\0.npz", "--out", "{}/out", says="null"),
    command(
        ".npz: a name of 5,000 letters", "train", "--data", "a" * 5000 + ".npz", "--out", "{}/out", says="name too long"
    ),
]
CASES: list[Case] = [*MEMBERS, *ARCHIVES]
