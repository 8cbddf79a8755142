"""Tables of text, dates and missing values that a user may hand over."""

import numpy as np

from hostile import Case, call, command
from hostile.tables import CSV, text
from jaxfc.data import Encoder, recognize

RNG = np.random.default_rng(0)
LOOK = ("inspect", "{}/d.csv")


def table(header: str, value: object, count: int = 60) -> str:
    """A table with a number, what follows from a row's number, and two classes."""
    lines = (f"{x:.4f},{value(i)},{'ab'[i % 2]}" for i, x in enumerate(RNG.normal(size=count)))
    return "\n".join([header, *lines]) + "\n"


def odd(usual: str, one: str, place: int = 7):
    """A column that is usual but in one row."""
    return lambda i: one if i == place else usual.format(i % 28 + 1)


CASES: list[Case] = [
    command("columns: all constant", *CSV, says="'a'.*'b'", make=text("a,b,y\n" + "1,x,u\n1,x,v\n" * 30)),
    command("columns: all empty", *CSV, says="no values", make=text("a,b,y\n" + ",,u\n,,v\n" * 30)),
    command("columns: text in numbers", *CSV, says="line 9.*'b' is 'x'", make=text(table("a,b,y", odd("{}.5", "x")))),
    command("columns: an infinite number", *CSV, says="line 9.*inf", make=text(table("a,b,y", odd("{}.5", "inf")))),
    command(
        "columns: a date that is none",
        *CSV,
        says="line 9.*'2020-02-30'",
        make=text(table("a,b,y", odd("2020-01-{:02d}", "2020-02-30"))),
    ),
    command(
        "columns: a date in another form",
        *CSV,
        says="line 9.*'31.1.2020'.*iso",
        make=text(table("a,b,y", odd("2020-01-{:02d}", "31.1.2020"))),
    ),
    command("columns: text of 100 kB", *CSV, says=None, make=text(table("a,b,y", odd("t{}", "z" * 10**5)))),
    command(
        "columns: a number of 5,000 digits", *CSV, says="finite", make=text(table("a,b,y", odd("{}.5", "9" * 5000)))
    ),
    command("columns: all text of its own", *LOOK, says=None, make=text(table("a,b,y", lambda i: f"id-{i}"))),
    command("columns: more categories than rows", *CSV, says=None, make=text(table("a,b,y", lambda i: f"t{i // 2}"))),
    command("columns: all missing but one", *CSV, says=None, make=text(table("a,b,y", lambda i: "" if i else "x"))),
    command(
        "columns: an ID as target", *CSV, "--label", "b", says="identifier", make=text(table("a,b,y", "u{}".format))
    ),
    command(
        "columns: a target with gaps", *CSV, "--label", "b", says="line 2", make=text(table("a,b,y", lambda i: ""))
    ),
    command("columns: another kind", *LOOK, "--column", "b=text", says="category", make=text(table("a,b,y", str))),
    command(
        "columns: another name", *LOOK, "--column", "c=skip", says="unknown column", make=text(table("a,b,y", str))
    ),
    command("columns: no kind", *LOOK, "--column", "b", says="NAME=number", make=text(table("a,b,y", str))),
    command(
        "columns: a kind twice", *LOOK, "--column", "b=skip", "b=skip", says="twice", make=text(table("a,b,y", str))
    ),
    command("columns: numbers as dates", *LOOK, "--column", "b=date", says="line", make=text(table("a,b,y", str))),
    command(
        "columns: all skipped",
        *CSV[:-1],
        "--column",
        "a=skip",
        "b=skip",
        "--hidden",
        says="no column is left",
        make=text(table("a,b,y", str)),
    ),
    command("columns: of a data set", "train", "--out", "{}/out", "--column", "a=skip", says="for tables"),
    command("columns: of an absent file", *LOOK, says="No such file"),
    command(
        "columns: a split by none",
        *CSV[:-1],
        "--split-by",
        "z",
        "--hidden",
        says="unknown column",
        make=text(table("a,b,y", str)),
    ),
    command(
        "columns: a split by the label",
        *CSV[:-1],
        "--split-by",
        "y",
        "--label",
        "y",
        "--hidden",
        says="twice",
        make=text(table("a,b,y", str)),
    ),
    command(
        "columns: a split by one group",
        *CSV[:-1],
        "--split-by",
        "b",
        "--hidden",
        says="the same in too many",
        make=text(table("a,b,y", lambda i: "x")),
    ),
    command(
        "columns: a split by text as time",
        *CSV[:-1],
        "--split-time",
        "b",
        "--hidden",
        says="no number",
        make=text(table("a,b,y", lambda i: f"t{i % 7}")),
    ),
    command(
        "columns: two splits",
        *CSV[:-1],
        "--split-by",
        "b",
        "--stratify",
        "--hidden",
        says="one way",
        make=text(table("a,b,y", str)),
    ),
    call("recognize: no table", lambda: recognize(None), says="shape"),
    call("recognize: three axes", lambda: recognize(np.ones((2, 2, 2))), says="shape"),
    call("recognize: no rows", lambda: recognize(np.ones((0, 2))), says="nothing"),
    call("recognize: complex numbers", lambda: recognize(np.ones((2, 2), complex)), says="complex"),
    call("recognize: lists within", lambda: recognize({"a": np.array([[1], [2, 3]], object)}), says="a list|list"),
    call(
        "Encoder.fit: no codes", lambda: Encoder.fit(recognize({"a": [1.0, 2.5]}), np.ones((0, 1), "f")), says="shape"
    ),
]
