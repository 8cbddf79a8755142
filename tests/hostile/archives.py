"""Data sets of the web as somebody may have packed or spoiled them: CIFAR-10's pickles and tar, MNIST's IDX files."""

import gzip
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hostile import Case, command

BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
META = "batches.meta"
NAMES = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
CIFAR = (
    "train",
    "--data",
    "cifar10",
    "--data-dir",
    "{}",
    "--out",
    "{}/out",
    "--epochs",
    "1",
    "--hidden",
    "8",
    "--batch-size",
    "5",
)
MNIST = ("train", "--data", "mnist", "--data-dir", "{}", "--out", "{}/out", "--epochs", "1", "--hidden", "8")


def batch(rows: int = 20, **changes: Any) -> dict[bytes, Any]:
    """The contents of a batch file, with changed entries."""
    rng = np.random.default_rng(0)
    data = rng.integers(256, size=(rows, 3072), dtype=np.uint8)
    whole = {b"data": data, b"labels": rng.integers(10, size=rows).tolist(), b"filenames": [b"a.png"] * rows}
    return whole | {name.encode(): value for name, value in changes.items()}


def meta(**changes: Any) -> dict[bytes, Any]:
    """The contents of `batches.meta`, with changed entries."""
    return {b"num_cases_per_batch": 20, b"label_names": NAMES} | {
        name.encode(): value for name, value in changes.items()
    }


def folder_of(first: bytes | None = None, names: bytes | None = None, protocol: int = 2) -> Callable[[Path], None]:
    """What makes the folder of batches, of which the first, or the file of names, is of other bytes."""

    def make(folder: Path) -> None:
        (folder / "cifar-10-batches-py").mkdir()
        for name, raw in files(first, names, protocol).items():
            (folder / "cifar-10-batches-py" / name).write_bytes(raw)

    return make


def files(first: bytes | None = None, names: bytes | None = None, protocol: int = 2) -> dict[str, bytes]:
    """The files of the data set."""
    whole = {name: pickle.dumps(batch(), protocol) for name in BATCHES}
    whole[META] = pickle.dumps(meta(), protocol) if names is None else names
    return whole if first is None else whole | {BATCHES[0]: first}


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE, **more: Any) -> bytes:
    """A member's header, whatever follows it."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for field, value in more.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def sparse(size: int) -> bytes:
    """A sparse member of so many bytes, of which one block is there."""
    head = bytearray(member("cifar-10-batches-py/data_batch_1", 512, tarfile.GNUTYPE_SPARSE))
    head[386:398], head[398:410] = b"00000000000\0", b"00000001000\0"
    head[483:495] = b"\x80" + size.to_bytes(11, "big")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + bytes(512)


def packed(*raw: bytes, before: bool = True, level: int = 1) -> Callable[[Path], None]:
    """What makes an archive that begins (or ends) with some bytes, beside the data set's files."""

    def make(folder: Path) -> None:
        whole = b"".join(
            member(f"cifar-10-batches-py/{name}", len(data)) + data + bytes(-len(data) % 512)
            for name, data in files().items()
        )
        parts = (*raw, whole) if before else (whole, *raw)
        with gzip.open(folder / "cifar-10-python.tar.gz", "wb", compresslevel=level) as file:
            for part in (*parts, bytes(1024)):
                file.write(part)

    return make


def nested(depth: int = 60, kind: str = "list") -> bytes:
    """A pickle of something that holds itself twice, `depth` times over: small to keep, endless to print or hash."""
    end, start = {"list": (b"l", b"("), "tuple": (b"t", b"(")}[kind]
    raw = b"]q\x00" if kind == "list" else b")q\x00"
    for i in range(depth):
        raw += start + b"h" + bytes([i]) + b"h" + bytes([i]) + end + b"q" + bytes([i + 1])
    return raw


def entry(name: bytes, value: bytes, rest: bytes = b"") -> bytes:
    """A pickle of a dictionary with one entry, whose value is pickled already, and more such."""
    return b"\x80\x02}(U" + bytes([len(name)]) + name + value + rest + b"u."


class Runs:
    """Unpickled, it would run a command."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch out",)


class Sized:
    """Unpickled, it would be so many bytes."""

    def __init__(self, *how: Any) -> None:
        self.how = how

    def __reduce__(self) -> tuple:
        return self.how[0], tuple(self.how[1:])


PICKLES: dict[str, bytes] = {
    "empty": b"",
    "of text": b"hello",
    "a stop alone": b".",
    "truncated": pickle.dumps(batch(), 2)[:-100],
    "a list": pickle.dumps([1, 2]),
    "a number": pickle.dumps(3),
    "a command": pickle.dumps(batch(labels=Runs())),
    "bytes of 2**60": entry(b"data", b"\x8e" + struct.pack("<Q", 2**60)),
    "text of 2**60": entry(b"data", b"\x8d" + struct.pack("<Q", 2**60)),
    "a number of 2**31 bytes": entry(b"data", b"\x8b" + struct.pack("<i", 2**31 - 1)),
    "a frame of 2**62": b"\x80\x04\x95" + struct.pack("<Q", 2**62),
    "a memo's place of 2**32 - 1": b"\x80\x02}r\xff\xff\xff\xff.",
    "a memo's place of 2**31": b"\x80\x02}r\x00\x00\x00\x80.",
    "nothing in the memo": b"\x80\x02h\x07.",
    "nested lists as data": entry(b"data", nested()),
    "nested lists as labels": entry(b"labels", nested(), b"U\x04data]"),
    "nested tuples as a key": b"\x80\x02}(" + nested(kind="tuple") + b"Nu.",
    "nested tuples in a set": b"\x80\x04\x8f(" + nested(kind="tuple") + b"\x90.",
    "a frozen set of nested tuples": b"\x80\x04(" + nested(kind="tuple") + b"\x91.",
    "an array of 2**60 rows": pickle.dumps(batch(data=Sized(np.zeros, (2**60, 3072), np.uint8))),
    "bytes(10**12)": pickle.dumps(batch(data=Sized(bytes, 10**12)), 2),
    "bytearray(10**12)": pickle.dumps(batch(data=Sized(bytearray, 10**12)), 2),
    "a range of 10**12": pickle.dumps(batch(labels=Sized(range, 10**12))),
    "an encoder of another kind": entry(b"data", b"c_codecs\nencode\nX\x01\x00\x00\x00aU\x05rot13\x86R"),
    "an encoder without arguments": entry(b"data", b"c_codecs\nencode\n)R"),
    "an encoder of bytes": entry(b"data", b"c_codecs\nencode\nU\x01aX\x06\x00\x00\x00latin1\x86R"),
    "an encoder of nested lists": entry(b"data", b"c_codecs\nencode\n" + nested() + b"X\x06\x00\x00\x00latin1\x86R"),
    "another codec": entry(b"data", b"c_codecs\ndecode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00latin1\x86R"),
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent identifier": b"\x80\x02Nq\x00Q.",
    "10,000 brackets": b"\x80\x02" + b"(" * 10000 + b"l" * 10000 + b".",
    "a million marks": b"\x80\x02" + b"(" * 10**6 + b".",
    "a name of 1 MB": b"\x80\x04\x8c\x01a" + b"X" + struct.pack("<I", 10**6) + b"z" * 10**6 + b"\x93.",
    "an instance": b"\x80\x02(ios\nsystem\n.",
    "labels of 10": pickle.dumps(batch(labels=[10] * 20)),
    "labels of text": pickle.dumps(batch(labels=["1"] * 20)),
    "labels of 2**70": pickle.dumps(batch(labels=[2**70] * 20)),
    "labels that are true": pickle.dumps(batch(labels=[True] * 20)),
    "too few labels": pickle.dumps(batch(labels=[1])),
    "no labels": pickle.dumps({b"data": batch()[b"data"]}),
    "data of floats": pickle.dumps(batch(data=np.zeros((20, 3072)))),
    "data of objects": pickle.dumps(batch(data=np.array([[{}] * 3072]))),
    "data of three axes": pickle.dumps(batch(data=np.zeros((20, 3, 1024), np.uint8))),
    "data of one row more": pickle.dumps(batch(21)),
    "no rows": pickle.dumps(batch(0)),
}
METAS: dict[str, bytes] = {
    "a count of 10**4000": pickle.dumps(meta(num_cases_per_batch=10**4000)),
    "a count of 10**5000": pickle.dumps(meta(num_cases_per_batch=10**5000)),
    "a count of nested lists": entry(
        b"num_cases_per_batch",
        nested(),
        b"U\x0blabel_names"
        + pickle.dumps(["a"] * 10, 2)[2:-1]
        .replace(b"q\x00", b"")
        .replace(b"q\x01", b"q\xf0")
        .replace(b"h\x01", b"h\xf0"),
    ),
    "a count of -1": pickle.dumps(meta(num_cases_per_batch=-1)),
    "a count of 21": pickle.dumps(meta(num_cases_per_batch=21)),
    "names of nested lists": entry(b"num_cases_per_batch", b"K\x14", b"U\x0blabel_names" + nested()),
    "11 names": pickle.dumps(meta(label_names=[*NAMES, b"ufo"])),
    "a name of 100 kB": pickle.dumps(meta(label_names=[*NAMES[:-1], b"z" * 10**5])),
    "no names": pickle.dumps({b"num_cases_per_batch": 20}),
}
AT_ONCE = bytes(1 << 20)
TARS = [
    command(
        "CIFAR-10: a member of 2**60 bytes",
        *CIFAR,
        says="data_batch_1",
        make=packed(member("cifar-10-batches-py/data_batch_1", 2**60)),
    ),
    command(
        "CIFAR-10: a foreign member of 2**60 bytes",
        *CIFAR,
        says="foreign|truncated",
        make=packed(member("notes", 2**60)),
    ),
    command(
        "CIFAR-10: a last member of 2**60 bytes",
        *CIFAR,
        says="foreign|truncated",
        make=packed(member("notes", 2**60), before=False),
    ),
    command(
        "CIFAR-10: a header of 2**60 bytes", *CIFAR, says="cifar", make=packed(member("pax", 2**60, tarfile.XHDTYPE))
    ),
    command(
        "CIFAR-10: a long name of 2**40 bytes",
        *CIFAR,
        says="cifar",
        make=packed(member("long", 2**40, tarfile.GNUTYPE_LONGNAME)),
    ),
    command("CIFAR-10: a sparse member of 100 GB", *CIFAR, says="data_batch_1", make=packed(sparse(10**11))),
    command(
        "CIFAR-10: 1.2 GB of zeros after its end",
        *CIFAR,
        says="GB",
        make=packed(*[AT_ONCE] * 1200, before=False),
        slow=True,
    ),
    command(
        "CIFAR-10: a foreign member of 1 GB",
        *CIFAR,
        says="foreign",
        make=packed(member("zeros", 2**30), *[AT_ONCE] * 1024),
        slow=True,
    ),
    command("CIFAR-10: 50,000 empty members", *CIFAR, says="members", make=packed(*[member("empty", 0)] * 50_000)),
    command("CIFAR-10: a batch that is a link", *CIFAR, says="lacks", make=lambda f: _tar(f, tarfile.SYMTYPE)),
    command("CIFAR-10: a batch that is a device", *CIFAR, says="lacks", make=lambda f: _tar(f, tarfile.CHRTYPE)),
    command("CIFAR-10: empty", *CIFAR, says="cifar", make=lambda f: (f / "cifar-10-python.tar.gz").touch()),
    command(
        "CIFAR-10: no gzip",
        *CIFAR,
        says="cifar",
        make=lambda f: (f / "cifar-10-python.tar.gz").write_bytes(b"x" * 9999),
    ),
    command(
        "CIFAR-10: no tar",
        *CIFAR,
        says="cifar",
        make=lambda f: (f / "cifar-10-python.tar.gz").write_bytes(gzip.compress(b"x" * 9999)),
    ),
    command(
        "CIFAR-10: another checksum",
        *CIFAR,
        says="cifar",
        make=lambda f: (packed()(f), _patch(f / "cifar-10-python.tar.gz", -8)),
    ),
    command(
        "CIFAR-10: truncated",
        *CIFAR,
        says="cifar",
        make=lambda f: (packed()(f), os.truncate(f / "cifar-10-python.tar.gz", 9999)),
    ),
    command(
        "CIFAR-10: a batch of 100 GB on disk",
        *CIFAR,
        says="data_batch_1",
        make=lambda f: (folder_of()(f), os.truncate(f / "cifar-10-batches-py" / "data_batch_1", 10**11)),
    ),
    *[
        command(f"CIFAR-10: packed again by Python 3, protocol {p}", *CIFAR, says=None, make=folder_of(protocol=p))
        for p in range(6)
    ],
]


def _tar(folder: Path, kind: bytes) -> None:
    head = member("cifar-10-batches-py/data_batch_1", 0, kind, linkname="/etc/passwd")
    rest = {name: raw for name, raw in files().items() if name != BATCHES[0]}
    with gzip.open(folder / "cifar-10-python.tar.gz", "wb", compresslevel=1) as file:
        file.write(head)
        for name, raw in rest.items():
            file.write(member(name, len(raw)) + raw + bytes(-len(raw) % 512))
        file.write(bytes(1024))


def _patch(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 255
    path.write_bytes(raw)


def idx(head: bytes, body: bytes = b"", *, packing: Callable[[bytes], bytes] = bytes) -> Callable[[Path], None]:
    """What makes the four files, the first of which is of these bytes."""

    def make(folder: Path) -> None:
        names = (
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        )
        for name in names:
            shape = (24, 28, 28) if "images" in name else (24,)
            raw = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + bytes(int(np.prod(shape)))
            (folder / name).write_bytes(raw)
        (folder / names[0]).write_bytes(packing(head + body))

    return make


def _bomb(raw: bytes, size: int = 2**30) -> bytes:
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packer:
        packer.write(raw)
        for _ in range(size >> 20):
            packer.write(AT_ONCE)
    return file.getvalue()


IMAGES = struct.pack(">HBBIII", 0, 8, 3, 24, 28, 28)
IDX = [
    command(f"MNIST: {name}", *MNIST, says="train-", make=make, slow="GB" in name)
    for name, make in {
        "empty": idx(b""),
        "two zeros": idx(b"\0\0"),
        "255 axes of 2**32 - 1": idx(b"\0\0\x08\xff" + b"\xff" * 1020),
        "2**96 bytes": idx(b"\0\0\x08\x03" + b"\xff" * 12),
        "no axes": idx(b"\0\0\x08\x00", b"\0"),
        "40 axes": idx(b"\0\0\x08\x28" + b"\0\0\0\1" * 40, b"\0"),
        "floats": idx(b"\0\0\x0d\x03" + b"\0" * 12),
        "no images": idx(struct.pack(">HBBIII", 0, 8, 3, 0, 28, 28)),
        "one byte more": idx(IMAGES, bytes(24 * 784 + 1)),
        "one byte less": idx(IMAGES, bytes(24 * 784 - 1)),
        "1 GB more, packed": idx(IMAGES, bytes(24 * 784), packing=_bomb),
        "1 GB for a header of nothing": idx(struct.pack(">HBBIII", 0, 8, 3, 0, 28, 28), packing=_bomb),
        "1 GB of those promised and packed": idx(struct.pack(">HBBIII", 0, 8, 3, 2**32 - 1, 28, 28), packing=_bomb),
        "a damaged packing": idx(IMAGES, bytes(24 * 784), packing=lambda raw: gzip.compress(raw)[:-20]),
        "packed nothing": idx(b"", packing=gzip.compress),
        "100 GB on disk": lambda f: (idx(IMAGES)(f), os.truncate(f / "train-images-idx3-ubyte", 10**11)),
    }.items()
]
CASES: list[Case] = [
    *[
        command(f"CIFAR-10: a batch is {name}", *CIFAR, says="data_batch_", make=folder_of(raw))
        for name, raw in PICKLES.items()
    ],
    *[
        command(f"CIFAR-10: {name}", *CIFAR, says="batches.meta", make=folder_of(names=raw))
        for name, raw in METAS.items()
    ],
    *TARS,
    *IDX,
]
