"""Data that are odd but plausible: what is asked, and what is warned of."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hostile import Case, command, run
from hostile.arrays import TRAIN
from hostile.tables import CSV, table, text

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.arange(60) % 2


def arrays(**held: np.ndarray) -> Callable[[Path], None]:
    """What makes a `.npz`."""
    return lambda folder: np.savez(folder / "d.npz", **held)


def rows(label: Callable[[int], object], count: int = 60) -> str:
    """A table whose label follows from the row's number."""
    return "a,b,y\n" + "".join(f"{x:.4f},{z:.4f},{label(i)}\n" for i, (x, z) in enumerate(RNG.normal(size=(count, 2))))


def appended(folder: Path) -> None:
    """A run on a table to which rows were appended afterwards."""
    path = folder / "d.csv"
    path.write_text(rows(lambda i: "ab"[i % 2], 40))
    code, lines = run(
        ["train", "--data", str(path), "--out", str(folder / "run"), "--hidden", "--epochs", "1", "--no-progress"]
    )
    assert code == 0, lines
    path.write_text(path.read_text() + "1,2,a\n3,4,b\n" * 5)


def scaled(part: np.ndarray, **more: np.ndarray) -> Callable[[Path], None]:
    """Bytes to train on, and other numbers to test on."""
    x = RNG.integers(256, size=(60, 4), dtype=np.uint8)
    return arrays(x=x, y=Y, x_test=part, y_test=Y[: len(part)], **more)


CASES: list[Case] = [
    command("an identifier as label", *CSV, says="identifier", make=text(rows(lambda i: f"id-{i}"))),
    command("a number of each row as label", *CSV, says="identifier", make=text(rows(lambda i: i))),
    command("an identifier as label in a .npz", *TRAIN, says="identifier", make=arrays(x=X, y=np.arange(60))),
    command(
        "text for each row as label in a .npz", *TRAIN, says="identifier", make=arrays(x=X, y=np.arange(60).astype("U"))
    ),
    command(
        "numbers to predict as classes",
        *CSV,
        says="warning|regression",
        code=0,
        make=text(rows(lambda i: 100 + i // 2 * 7)),
    ),
    command("a fraction as label", *CSV, says="regression", make=text(rows(lambda i: i + 0.5))),
    command("fractions as labels in a .npz", *TRAIN, says="regression", make=arrays(x=X, y=np.arange(60) + 0.5)),
    command(
        "a class of the test rows alone",
        *TRAIN,
        says="train.*'c'",
        code=0,
        make=arrays(x=X, y=np.array(["a", "b"] * 30), x_test=X[:4], y_test=np.array(["a", "b", "c", "a"])),
    ),
    command(
        "a class index of the test rows alone",
        *TRAIN,
        says="train.*'7'",
        code=0,
        make=arrays(x=X, y=Y, x_test=X[:4], y_test=np.array([0, 1, 7, 0])),
    ),
    command("bytes to train on, fractions to test on", *TRAIN, says="x_test", make=scaled(RNG.random((4, 4)))),
    command(
        "bytes to train on, centred numbers to test on",
        *TRAIN,
        says="x_test",
        make=scaled(RNG.normal(size=(4, 4)) * 100),
    ),
    command(
        "bytes to train on, the same as floats to test on",
        *TRAIN,
        says=None,
        make=scaled(RNG.integers(256, size=(4, 4)).astype(np.float32)),
    ),
    command(
        "fractions to train on, bytes to validate on",
        *TRAIN,
        says="x_val",
        make=arrays(x=RNG.random((60, 4)), y=Y, x_val=RNG.integers(256, size=(4, 4), dtype=np.uint8), y_val=Y[:4]),
    ),
    command("rows appended after training", "evaluate", "{}/run", says="changed", make=appended),
    command(
        "rows appended after training, named", "evaluate", "{}/run", "--data", "{}/d.csv", says=None, make=appended
    ),
    command(
        "one feature that never varies",
        *CSV,
        says=None,
        make=text(table("a", "b", rows=60, change=lambda lines: [line.__setitem__(0, "7") for line in lines])),
    ),
    command(
        "one target that never varies",
        *TRAIN[:-1],
        "--task",
        "regression",
        "--hidden",
        says="nothing to learn",
        make=arrays(x=X, y=np.ones(60)),
    ),
    command("dates in seconds", *TRAIN, says="subtract an offset", make=arrays(x=1.7e9 + X, y=Y)),
    command("more features than rows", *TRAIN, says=None, make=arrays(x=RNG.normal(size=(40, 5000)), y=Y[:40])),
    command("labels of nested axes", *TRAIN, says="shape", make=arrays(x=X, y=Y[:, None])),
    command("labels of another length", *TRAIN, says="shape", make=arrays(x=X, y=Y[:-1])),
    command("labels that are booleans", *TRAIN, says="bool", make=arrays(x=X, y=Y.astype(bool))),
    command("soft targets that do not sum to one", *TRAIN, says="sum", make=arrays(x=X, y=np.ones((60, 2)))),
    command("test rows of other width", *TRAIN, says="shape", make=arrays(x=X, y=Y, x_test=X[:, :2], y_test=Y)),
    command("test rows without labels", *TRAIN, says="lacks", make=arrays(x=X, y=Y, x_test=X)),
    command("empty labels", *TRAIN, says="empty", make=arrays(x=X, y=np.array(["a", " "] * 30))),
]
