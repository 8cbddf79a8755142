"""Tables of text, dates and missing values at the command line: looked at, trained on, evaluated, predicted."""

import csv

import numpy as np
import pytest
from command import done, fails, jaxfc

from jaxfc import Model, load
from jaxfc.data import Normalizer, recognize
from jaxfc.data.csv_file import delimiter_of

HEADER = ("size", "colour", "sold", "rooms", "id", "same", "price")


def rows(count=200, seed=0, colours=("red", "green", "blue")):
    draw = np.random.default_rng(seed)
    made = []
    for i in range(count):
        size, colour, rooms = draw.lognormal(), draw.choice(colours), draw.integers(1, 5)
        dear = size + (colour == "red") + rooms / 4 > 2
        day = f"2020-{draw.integers(1, 13):02d}-{draw.integers(1, 29):02d}"
        gaps = draw.random(2) < 0.1
        made.append([
            "" if gaps[0] else f"{size:.4f}", "NA" if gaps[1] else colour, day, str(rooms), f"u{i}", "k",
            "dear" if dear else "cheap",
        ])  # fmt: skip
    return made


def text(rows, separator=",", header=HEADER):
    return "\n".join(separator.join(row) for row in [header, *rows]) + "\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "houses.csv").write_text(text(rows()))
    return tmp_path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a run on the table, trained where identifiers and constants are left out with a warning."""
    folder = tmp_path_factory.mktemp("houses")
    (folder / "houses.csv").write_text(text(rows()))
    skip = ["--column", "id=skip", "same=skip"]
    flags = ["--hidden", "16", "--epochs", "15", "--learning-rate", "0.01", "--no-progress"]
    done("train", "--data", folder / "houses.csv", "--out", folder / "run", *skip, *flags)
    return folder / "run"


def test_a_run_embeds_numbers_and_categories(folder):
    embed = ["--numbers", "piecewise", "--categories", "embed"]
    skip = ["--column", "id=skip", "same=skip"]
    done("train", "--data", "houses.csv", "--out", "e", *skip, *embed, "--epochs", "1", "--no-progress")
    net = Model.load(folder / "e" / "model.safetensors").net
    assert (net.numbers, net.categories, net.input_dim) == ("piecewise", "embed", 16)


def test_inspect_shows_what_columns_are_and_become(capfd):
    code, out, err = jaxfc(capfd, "inspect", "houses.csv")
    assert (code, err) == (0, [])
    assert out[0] == "houses.csv: 200 rows; 4 columns become 16 inputs"
    cells = {line.split()[0]: line for line in out[2:-2]}
    assert "number" in cells["size"]
    assert cells["size"].endswith("2 inputs: value, missing")
    missing = sum(row[1] == "NA" for row in rows())
    assert cells["colour"].endswith(f" {missing}  4 inputs: blue, green, red, missing")
    assert "date" in cells["sold"]
    assert "value, sin and cos of year, sin and cos of week" in cells["sold"]
    assert cells["rooms"].endswith("5 inputs: 1, 2, 3, 4, value")
    assert "left out  it has 200 different texts in 200 rows" in cells["id"]
    assert "left out  it is 'k' in every row" in cells["same"]
    assert out[-1].startswith("price, to be learned by classification: 2 classes: ")
    flags = ("--label", "rooms", "--task", "regression", "--column", "price=skip", "sold=skip")
    _, out, _ = jaxfc(capfd, "inspect", "houses.csv", *flags)
    assert out[-1] == "rooms, a number to predict: 1 to 4, median 2"
    assert "left out  as asked" in "\n".join(out)
    assert "unknown column 'sald': did you mean 'sold'" in fails(
        capfd, "inspect", "houses.csv", "--column", "sald=skip"
    )
    assert "write NAME=number" in fails(capfd, "inspect", "houses.csv", "--column", "sold")
    assert "is no table" in fails(capfd, "inspect", "houses.npz")


def test_a_run_predicts_raw_rows_and_categories_never_seen(capfd, run, folder):
    model = Model.load(run / "model.safetensors")
    assert [column.name for column in model.about.columns.columns] == ["size", "colour", "sold", "rooms"]
    later = rows(30, seed=1, colours=("red", "mauve"))
    order = [6, 3, 1, 0, 2]  # a label that is ignored, and the columns that the model learned from
    (folder / "later.csv").write_text(
        text([[row[i] for i in order] for row in later], header=[HEADER[i] for i in order])
    )
    code, _, err = jaxfc(capfd, "predict", run, "later.csv")
    assert (code, err) == (0, [])
    table = {name: np.array([row[i] for row in later]) for i, name in enumerate(HEADER)}
    expected = model.predict_proba(model.about.columns.codes(table))
    with open("later.predictions.csv") as file:
        lines = list(csv.DictReader(file))
    np.testing.assert_allclose([[float(line["p_cheap"]), float(line["p_dear"])] for line in lines], expected, atol=1e-6)
    code, out, _ = jaxfc(capfd, "evaluate", run, "--data", "later.csv", "--label", "price")
    accuracy = np.mean([line["label"] == row[6] for line, row in zip(lines, later, strict=True)])
    assert (code, out[-1]) == (0, f"accuracy: {accuracy:.4f}")
    assert accuracy > 0.7


def test_later_rows_that_do_not_fit_are_named(capfd, run, folder):
    for change, message in (
        ({0: "big"}, "bad.csv, line 3: column 'size' is 'big', and no number"),
        ({0: "inf"}, "bad.csv, line 3: column 'size' is inf"),
        ({2: "31.1.2020"}, "bad.csv, line 3: column 'sold' is '31.1.2020', and no date (others are of the form iso)"),
    ):
        bad = rows(3)
        for place, value in change.items():
            bad[1][place] = value
        (folder / "bad.csv").write_text(text(bad))
        assert message in fails(capfd, "predict", run, "bad.csv")
    (folder / "bad.csv").write_text(text([row[1:] for row in rows(3)], header=HEADER[1:]))
    assert "bad.csv lacks the column 'size'" in fails(capfd, "predict", run, "bad.csv")
    (folder / "bad.csv").write_text(text(rows(3), header=("size", "size", *HEADER[2:])))
    assert "2 columns are named 'size'" in fails(capfd, "predict", run, "bad.csv")


def test_evaluating_the_runs_own_table_again_takes_the_same_rows(capfd, run):
    code, out, _ = jaxfc(capfd, "evaluate", run, "--split", "test")
    assert code == 0
    history = done("evaluate", run, "--split", "test")
    assert out[-1] == history[-1]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_any_delimiter_quotes_and_a_byte_order_mark(folder, separator):
    quoted = [[f'"{cell}"' for cell in row] for row in rows()]
    (folder / "other.csv").write_text("\ufeff" + text(quoted, separator), encoding="utf-8")
    with pytest.warns(UserWarning, match=r"left out the columns 'id' .* 'same'"):
        plain, other = load("houses.csv"), load("other.csv")
    assert other.columns == plain.columns
    np.testing.assert_array_equal(other.x_train, plain.x_train)
    values = separator.join(["1,5", "2.5", "a b"])
    assert delimiter_of(f"a{separator}b{separator}c\n{values}\n") == separator


def test_decimal_commas_where_semicolons_separate(folder):
    lines = [[row[0].replace(".", ","), row[6]] for row in rows()]
    (folder / "d.csv").write_text(text(lines, ";", ("size", "price")))
    data = load("d.csv")
    assert [column.kind for column in data.columns.columns] == ["number"]
    every = np.concatenate([data.x_train, data.x_val, data.x_test])[:, 0]
    np.testing.assert_array_equal(np.sort(every), np.sort([np.float32(row[0] or np.nan) for row in rows()]))


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_parquet_and_arrow_keep_their_types(folder, ending):
    pa = pytest.importorskip("pyarrow")
    table = dict(zip(HEADER, map(list, zip(*rows(), strict=True)), strict=True))
    table["size"] = [float(value) if value else None for value in table["size"]]
    table["colour"] = [None if value == "NA" else value for value in table["colour"]]
    table["sold"] = pa.array(np.array(table["sold"], "datetime64[D]"))
    table["rooms"] = pa.array([int(value) for value in table["rooms"]], pa.int8())
    if ending == "parquet":
        pytest.importorskip("pyarrow.parquet").write_table(pa.table(table), "d.parquet", row_group_size=70)
    else:
        with pa.OSFile("d.arrow", "wb") as file, pa.ipc.new_file(file, pa.table(table).schema) as writer:
            writer.write_table(pa.table(table), max_chunksize=70)
    with pytest.warns(UserWarning, match="left out"):
        data, plain = load(f"d.{ending}"), load("houses.csv")
    np.testing.assert_array_equal(data.x_train, plain.x_train)
    np.testing.assert_array_equal(data.y_train, plain.y_train)


def test_tables_of_numbers_are_as_before_unless_columns_are_named(folder):
    numbers = [[row[3], f"{i / 7:.3f}", row[6]] for i, row in enumerate(rows())]
    (folder / "n.csv").write_text(text(numbers, header=("rooms", "size", "price")))
    data, named = load("n.csv"), load("n.csv", columns={"rooms": "category"})
    assert isinstance(data.normalizer, Normalizer)
    assert data.columns is None
    assert [column.kind for column in named.columns.columns] == ["category", "number"]
    np.testing.assert_array_equal(named.x_train[:, 1], data.x_train[:, 1])
    np.testing.assert_array_equal(named.x_train[:, 0], data.x_train[:, 0] - 1)
    table = {"rooms": [row[0] for row in numbers], "size": [row[1] for row in numbers]}
    assert named.columns.columns == recognize(table, {"rooms": "category"}).columns
    with pytest.raises(ValueError, match=r"columns={'a': 'skip'} is for tables; digits has none"):
        load("digits", columns={"a": "skip"})
    (folder / "gaps.csv").write_text(text([["", "1", "x"], ["2", "3", "y"]], header=("a", "b", "c")))
    with pytest.raises(ValueError, match="2 rows are too few"):
        load("gaps.csv")
