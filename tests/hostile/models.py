"""Run folders, models and settings that a hand or a disk has spoiled, and rows that do not fit a model."""

import json
import shutil
import struct
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hostile import Case, command, run
from hostile.arrays import npy

RESUME = ("train", "--resume", "--out", "{}/run", "--no-progress")
EVALUATE = ("evaluate", "{}/run")
PREDICT = ("predict", "{}/run", "{}/rows.npy")


@cache
def trained() -> Path:
    """A run, trained once in a process."""
    folder = Path(tempfile.mkdtemp(prefix="jaxfc-hostile-"))
    code, lines = run(
        ["train", "--out", str(folder / "run"), "--epochs", "1", "--hidden", "4", "--num-train", "64", "--no-progress"]
    )
    assert code == 0, lines
    return folder / "run"


def with_run(change: Callable[[Path], object] = lambda run: None) -> Callable[[Path], None]:
    """What makes a run folder, and ten rows for its model, and changes the folder."""

    def make(folder: Path) -> None:
        shutil.copytree(trained(), folder / "run")
        (folder / "rows.npy").write_bytes(npy(np.zeros((10, 64), np.uint8)))
        change(folder / "run")

    return make


def setting(**values: Any) -> Callable[[Path], None]:
    """What makes a run whose settings have other values."""

    def change(run: Path) -> None:
        path = run / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return with_run(change)


def written(name: str, contents: str | bytes) -> Callable[[Path], None]:
    """What makes a run, one of whose files holds something else."""
    raw = contents.encode() if isinstance(contents, str) else contents
    return with_run(lambda run: (run / name).write_bytes(raw))


def tensors(header: str | bytes, body: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with a header of one's own."""
    raw = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body


def described(**metadata: str) -> bytes:
    """A model file without tensors, with these metadata."""
    return tensors(json.dumps({"__metadata__": {"jaxfc.format": "jaxfc model", **metadata}}))


DEEP = "[" * 100_000 + "]" * 100_000
SETTINGS = [
    command(f"config.json: {name}", *RESUME, says="config.json", make=written("config.json", contents))
    for name, contents in {
        "empty": "",
        "a list": "[]",
        "a number": "3",
        "null": "null",
        "deep brackets": DEEP,
        "deep keys": '{"a":' * 50_000,
        "not UTF-8": b"\xff\xfe{}",
        "no JSON": "hello",
        "an unknown setting": '{"colour": "red"}',
        "a number of 10**6 digits": '{"epochs": ' + "9" * 10**6 + "}",
    }.items()
] + [
    command(f"config.json: {name}={str(value)[:20]}", *RESUME, says=f"{name}|config", make=setting(**{name: value}))
    for name, value in {
        "epochs": "5",
        "hidden": "wide",
        "batch_size": None,
        "seed": 1.5,
        "learning_rate": "fast",
        "data": 3,
        "task": [],
        "reg": {},
        "augment": "mirror",
        "param_dtype": 7,
        "activation": [1],
        "normalization": {},
        "warmup_epochs": "long",
        "tta": "no",
        "class_weight": [1],
        "num_train": "all",
        "schedule": None,
        "quantiles": "half",
        "weight_scale": [],
        "loss": 1,
        "data_dir": 5,
        "patience": "none",
    }.items()
]
FILES = [
    command(f"{kind}: {name}", *line, says=kind, make=written(kind, raw))
    for kind, line in (("model.safetensors", PREDICT), ("checkpoint.safetensors", RESUME))
    for name, raw in {
        "empty": b"",
        "of text": b"hello world",
        "a header of 2**63": tensors("{}", length=2**63),
        "a header of 2**40": tensors("{}", length=2**40),
        "no JSON": tensors("{{{{"),
        "deep brackets": tensors(DEEP),
        "a foreign one": tensors('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        "a tensor of 2**60": tensors(
            '{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4]}}', bytes(4)
        ),
        "a tensor of nothing": tensors('{"a":{"dtype":"F32","shape":[0, 99999999],"data_offsets":[0,0]}}'),
        "eight zeros": b"\0" * 8,
    }.items()
] + [
    command(
        f"model.safetensors: {name}",
        *PREDICT,
        says="model.safetensors",
        make=written("model.safetensors", described(**values)),
    )
    for name, values in {
        "no network": {},
        "a network of brackets": {"net": DEEP},
        "an unknown network": {"net": '{"type": "Big"}'},
        "a network of 2**60": {
            "net": json.dumps({"type": "FCNet", "input_dim": 2**60, "hidden_dims": [2**60], "output_dim": 2**60})
        },
        "a network of 10**9": {
            "net": json.dumps({"type": "FCNet", "input_dim": 64, "hidden_dims": [10**9], "output_dim": 10**9}),
            "task": '{"type": "Classification"}',
            "classes": "[]",
        },
        "a network of 20,000 layers": {
            "net": json.dumps({"type": "FCNet", "input_dim": 64, "hidden_dims": [8] * 20_000, "output_dim": 10}),
            "task": '{"type": "Classification"}',
            "classes": "[]",
        },
        "a class that is none": {"net": '{"type": "Normalizer", "mean": 1, "scale": 1}'},
        "a network that is a list": {"net": "[1]"},
        "a network in no JSON": {"net": "{{"},
        "checksums that are none": {"net": "{}", "jaxfc.checksums": "7"},
    }.items()
]
ROWS = [
    command(
        f"predict rows: {name}",
        *PREDICT,
        says="rows.npy|inputs",
        make=lambda f, raw=raw: (with_run()(f), (f / "rows.npy").write_bytes(raw)),
    )
    for name, raw in {
        "too wide": npy(np.zeros((3, 65))),
        "too narrow": npy(np.zeros((3, 1))),
        "none": npy(np.zeros((0, 64))),
        "of one axis": npy(np.zeros(64)),
        "of text": npy(np.full((3, 64), "a")),
        "nan": npy(np.full((3, 64), np.nan)),
        "1e300": npy(np.full((3, 64), 1e300)),
        "objects": npy(np.full((3, 64), None)),
        "complex": npy(np.zeros((3, 64), complex)),
        "a .npz": b"PK\x03\x04",
        "empty": b"",
    }.items()
]
USES = [
    command("predict: rows that are not there", "predict", "{}/run", "{}/none.npy", says="none.npy", make=with_run()),
    command("predict: rows of an unknown kind", "predict", "{}/run", "{}/rows.txt", says="rows.txt", make=with_run()),
    command("predict: no run", "predict", "{}/none", "{}/rows.npy", says="none", make=with_run()),
    command("predict: a folder that is no run", "predict", "{}", "{}/rows.npy", says="no such file", make=with_run()),
    command("predict: 10**9 copies", *PREDICT, "--tta", "1000000000", says="tta|copies", make=with_run()),
    command("predict: into what exists", *PREDICT, "--out", "{}/rows.npy", says="exists", make=with_run()),
    command("predict: into no folder", *PREDICT, "--out", "{}/none/x.csv", says="none", make=with_run()),
    command("evaluate: an unknown split", *EVALUATE, "--split", "z" * 50_000, says="split", make=with_run()),
    command("evaluate: 10**9 copies", *EVALUATE, "--tta", "1000000000", says="tta|copies", make=with_run()),
    command(
        "evaluate: other data", *EVALUATE, "--data", "cifar10", "--data-dir", "{}", says="cifar10", make=with_run()
    ),
    command("evaluate: data that are not there", *EVALUATE, "--data", "{}/none.csv", says="none.csv", make=with_run()),
    command(
        "evaluate: other labels",
        *EVALUATE,
        "--data",
        "{}/d.npz",
        says="label",
        make=lambda f: (with_run()(f), np.savez(f / "d.npz", x=np.zeros((3, 64)), y=np.array(["q" * 50_000] * 3))),
    ),
    command("resume: other settings", *RESUME, "--hidden", "5", says="begun with hidden", make=with_run()),
    command("resume: fewer epochs", *RESUME, "--extend", "1", says="extend", make=with_run()),
    command("resume: epochs past counting", *RESUME, "--extend", "1000000000000", says="2147483647", make=with_run()),
]
CASES: list[Case] = [*SETTINGS, *FILES, *ROWS, *USES]
