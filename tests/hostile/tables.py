"""Tables that a user may hand over: `.csv`."""

import os
from collections.abc import Callable
from pathlib import Path

from hostile import Case, command
from hostile.arrays import sparse

CSV = ("train", "--data", "{}/d.csv", "--out", "{}/out", "--epochs", "1", "--hidden")


def text(contents: str | bytes) -> Callable[[Path], None]:
    """What makes a `.csv` file of a text."""

    def make(folder: Path) -> None:
        (folder / "d.csv").write_bytes(contents.encode() if isinstance(contents, str) else contents)

    return make


def table(*columns: str, rows: int = 60, change: Callable[[list[list[str]]], object] | None = None) -> str:
    """A table of numbers with two classes as its last column."""
    lines = [[*(f"{(i * 7 + j) % 11}.5" for j in range(len(columns) - 1)), "ab"[i % 2]] for i in range(rows)]
    if change is not None:
        change(lines)
    return "\n".join([",".join(columns), *map(",".join, lines)]) + "\n"


WIDE = [f"c{i}" for i in range(100_000)]
CASES: list[Case] = [
    command(".csv: 100,000 columns of one name", *CSV, says="named", make=text(",".join(["c"] * 100_000) + "\n1\n")),
    command(".csv: 100,000 columns, one twice", *CSV, says="named", make=text(",".join([*WIDE, "c7"]) + "\n1\n")),
    command(
        ".csv: 100,000 columns, no label", *CSV, "--label", "z", says="unknown label", make=text(table(*WIDE, rows=2))
    ),
    command(".csv: 100,000 columns, a row too short", *CSV, says="values", make=text(",".join(WIDE) + "\n1\n")),
    command(".csv: 100,000 columns", *CSV, says=None, make=text(table(*WIDE, rows=42))),
    command(
        ".csv: 100,000 labels",
        *CSV[:-1],
        "--task",
        "multilabel",
        "--label",
        ",".join(WIDE[:10_000]),
        "--hidden",
        says="0 or 1",
        make=text(table(*WIDE, rows=10)),
    ),
    command(".csv: a column's name of 100 kB", *CSV, says="characters", make=text(table("a" * 10**5, "b"))),
    command(
        ".csv: a label of 100 kB",
        *CSV,
        says="characters",
        make=text(table("a", "b", change=lambda lines: lines[3].__setitem__(1, "z" * 10**5))),
    ),
    command(
        ".csv: a field of 1 MB",
        *CSV,
        says="field",
        make=text(table("a", "b", change=lambda lines: lines[3].__setitem__(1, "z" * 10**6))),
    ),
    command(
        ".csv: a number of 100 kB",
        *CSV,
        says="finite",
        make=text(table("a", "b", change=lambda lines: lines[3].__setitem__(0, "9" * 10**5))),
    ),
    command(
        ".csv: text of 100 kB for a number",
        *CSV,
        says="no number",
        make=text(table("a", "b", change=lambda lines: lines[3].__setitem__(0, "z" * 10**5))),
    ),
    command(
        ".csv: a label of 5,000 digits",
        *CSV,
        says="characters",
        make=text(table("a", "b", change=lambda lines: lines[3].__setitem__(1, "9" * 5000))),
    ),
    command(
        ".csv: every label a number of 900 digits",
        *CSV,
        says="identifier",
        make=text(
            table(
                "a", "b", change=lambda lines: [line.__setitem__(1, str(i) * 450) for i, line in enumerate(lines, 10)]
            )
        ),
    ),
    command(".csv: 100 GB of nothing", *CSV, says="first line", make=sparse("d.csv", 10**11)),
    command(".csv: 100 GB after a header", *CSV, says="TB", make=sparse("d.csv", 10**11, b"a,b\n1,2\n")),
    command(
        ".csv: an endless file", *CSV, says="no regular file", make=lambda f: (f / "d.csv").symlink_to("/dev/zero")
    ),
    command(".csv: a pipe", *CSV, says="no regular file", make=lambda f: os.mkfifo(f / "d.csv")),
    command(".csv: a folder", *CSV, says="d.csv", make=lambda f: (f / "d.csv").mkdir()),
    command(".csv: empty", *CSV, says="empty", make=text("")),
    command(".csv: blank lines", *CSV, says="empty|header", make=text("\n" * 10**6)),
    command(".csv: null bytes", *CSV, says="d.csv", make=text(b"\0" * 10**6)),
    command(".csv: not UTF-8", *CSV, says="UTF-8", make=text(b"a,b\n\xff\xfe,1\n")),
    command(".csv: UTF-16", *CSV, says="UTF-8", make=text("a,b\n1,2\n".encode("utf-16"))),
    command(".csv: an open quote", *CSV, says="line", make=text('a,b\n1,"2\n' + "3,4\n" * 1000)),
    command(".csv: a header alone", *CSV, says="no rows", make=text("a,b\n")),
    command(".csv: no header", *CSV, says="first line", make=text("1.5,2\n1,2\n")),
    command(".csv: one column", *CSV, says="only the column", make=text("a\n1\n")),
    command(".csv: commas alone", *CSV, says="first line", make=text("," * 10**5 + "\n")),
    command(".csv: three rows", *CSV, says="few", make=text("a,b\n1,x\n2,y\n3,x\n")),
    command(
        ".csv: one class",
        *CSV,
        says="same label",
        make=text(table("a", "b", change=lambda lines: [line.__setitem__(1, "a") for line in lines])),
    ),
    command(
        ".csv: a missing number",
        *CSV,
        says=None,
        make=text(table("a", "b", change=lambda lines: lines[3].__setitem__(0, ""))),
    ),
    command(
        ".csv: a missing label",
        *CSV,
        says="missing",
        make=text(table("a", "b", change=lambda lines: lines[3].__setitem__(1, " "))),
    ),
    command(
        ".csv: nan", *CSV, says=None, make=text(table("a", "b", change=lambda lines: lines[3].__setitem__(0, "nan")))
    ),
    command(
        ".csv: 1e39",
        *CSV,
        says="1e39",
        make=text(table("a", "b", change=lambda lines: lines[3].__setitem__(0, "1e39"))),
    ),
    command(
        ".csv: label column of 100 kB", *CSV, "--label", "z" * 10**5, says="unknown label", make=text(table("a", "b"))
    ),
    command(".csv: label column 10**30", *CSV, "--label", "1" + "0" * 30, says="columns", make=text(table("a", "b"))),
    command(
        ".csv: label column of 5,000 digits", *CSV, "--label", "9" * 5000, says="label", make=text(table("a", "b"))
    ),
    command(
        ".csv: 1,000 kinds of a label",
        *CSV,
        "--task",
        "multilabel",
        "--label",
        "a,a",
        says="twice",
        make=text(table("a", "b")),
    ),
    command(".csv: text to predict", *CSV, "--task", "regression", says="no number", make=text(table("a", "b"))),
    command(
        ".csv: numbers to predict of 1e400",
        *CSV,
        "--task",
        "regression",
        says="1e400",
        make=text(table("a", "b", change=lambda lines: [line.__setitem__(1, "1e400") for line in lines])),
    ),
    command(
        ".csv: a number to predict of 1e39",
        *CSV,
        "--task",
        "regression",
        says="1e\\+39|1e39",
        make=text(
            table("a", "b", change=lambda lines: [line.__setitem__(1, f"{i}e39") for i, line in enumerate(lines)])
        ),
    ),
    command(
        ".csv: weights of 1e39",
        *CSV[:-1],
        "--weights",
        "a",
        "--hidden",
        says="weights",
        make=text(table("a", "b", "c", change=lambda lines: lines[3].__setitem__(0, "1e39"))),
    ),
]
