"""Columns of tables: what they are taken for, the codes that stand for their values, and what is refused."""

import datetime
import re
import warnings

import numpy as np
import pytest

from jaxfc.data import Column, recognize
from jaxfc.data.dates import days, form_of, reader


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


ROWS = 60
DRAW = np.random.default_rng(0)
SIZES = DRAW.normal(size=ROWS)
ROOMS = DRAW.integers(0, 4, ROWS)
COLOURS = DRAW.choice(["red", "green", "blue"], ROWS)
SOLD = [datetime.datetime(2020, 1, 31) + datetime.timedelta(days=float(day)) for day in range(0, 2 * ROWS, 2)]
OLD = DRAW.random(ROWS) > 0.5


def plain():
    """The table as a mapping of lists: numbers with a gap, whole numbers, text with a gap, dates, booleans."""
    sizes, colours = SIZES.tolist(), COLOURS.tolist()
    sizes[3], colours[4] = None, None
    table = {"size": sizes, "rooms": ROOMS.tolist(), "colour": colours, "sold": SOLD, "old": OLD.tolist()}
    return {name: np.array(values, object) for name, values in table.items()}


def frames():
    pandas, polars, pyarrow = map(pytest.importorskip, ("pandas", "polars", "pyarrow"))
    lists = {name: values.tolist() for name, values in plain().items()}
    typed = pandas.DataFrame(lists).astype({"rooms": "Int64", "colour": "category"})
    texts = {name: ["" if v is None else str(v) for v in values] for name, values in lists.items()}
    return {
        "pandas": pandas.DataFrame(lists),
        "pandas, typed": typed,
        "polars": polars.DataFrame(lists),
        "polars, categorical": polars.DataFrame(lists).with_columns(polars.col("colour").cast(polars.Categorical)),
        "arrow": pyarrow.table(lists),
        "arrow, dictionary": pyarrow.table({**lists, "colour": pyarrow.array(lists["colour"]).dictionary_encode()}),
        "objects": np.column_stack(list(plain().values())),
        "text": {name: np.array(values) for name, values in texts.items()},
    }


def expected():
    """The codes, by hand."""
    codes = np.empty((ROWS, 5))
    codes[:, 0] = SIZES
    codes[:, 1] = ROOMS
    codes[:, 2] = [["blue", "green", "red"].index(colour) for colour in COLOURS]
    codes[:, 3] = np.arange(0, 2 * ROWS, 2)
    codes[:, 4] = OLD
    codes[3, 0] = codes[4, 2] = np.nan
    return codes.astype(np.float32)


def test_a_table_is_recognized_whatever_holds_it():
    columns = recognize(plain())
    assert columns.columns == (
        Column("size", "number", 0, gaps=True),
        Column("rooms", "category", 1, ("0", "1", "2", "3"), whole=True),
        Column("colour", "category", 2, ("blue", "green", "red"), gaps=True),
        Column("sold", "date", 3, offset=days(SOLD[0]), cycles=("year", "week")),
        Column("old", "category", 4, ("False", "True")),
    )
    np.testing.assert_array_equal(columns.codes(plain()), expected())
    for what, table in frames().items():
        own = recognize(table)
        assert [(c.kind, c.categories, c.gaps) for c in own.columns] == [
            (c.kind, c.categories, c.gaps) for c in columns.columns
        ], what
        np.testing.assert_array_equal(own.codes(table), expected(), err_msg=what)
        if what != "text":  # dates that a column's type had are no text
            np.testing.assert_array_equal(columns.codes(table), expected(), err_msg=what)


def test_frames_in_another_order_are_reordered_and_other_columns_ignored():
    columns = recognize(plain())
    table = plain()
    turned = {"more": np.arange(ROWS), **{name: table[name] for name in reversed(table)}}
    np.testing.assert_array_equal(columns.codes(turned), expected())
    table.pop("rooms")
    with pytest.raises(ValueError, match="lacks the column 'rooms', which the model learned from; it has: size, col"):
        columns.codes(table)
    with pytest.raises(ValueError, match="has 2 columns without names to go by; 5 are expected: size, rooms, colour"):
        columns.codes(np.ones((3, 2)))
    double = pytest.importorskip("pandas").DataFrame(np.ones((3, 2)), columns=["size", "size"])
    for use in (columns.codes, recognize):
        with pytest.raises(ValueError, match="2 columns are named 'size': name each differently"):
            use(double)


def test_categories_never_seen_have_a_code_of_their_own():
    columns = recognize({"colour": ["red", "blue", None], "rooms": ["1", "2", "02"]}, {"rooms": "category"})
    assert columns.columns[1].categories == ("1", "02", "2")
    later = {"colour": ["blue", "mauve", "NA"], "rooms": np.array([2.0, 3.0, np.nan])}
    np.testing.assert_array_equal(columns.codes(later), np.float32([[0, 2], [2, 3], [np.nan, np.nan]]))


@pytest.mark.parametrize("text", ["", " ", "NA", "n/a", "NaN", "nan", "null", "None", "?", "NaT", "<NA>"])
def test_what_stands_for_a_missing_value(text):
    columns = recognize({"a": ["1.5", text, "2.5"], "b": ["x", "y", text]})
    assert [column.kind for column in columns.columns] == ["number", "category"]
    assert columns.columns[1].categories == ("x", "y")
    np.testing.assert_array_equal(columns.codes({"a": [text], "b": [text]}), [[np.nan, np.nan]])


def test_whole_numbers_of_few_values_are_categories_and_others_numbers():
    few, rare = np.arange(90) % 9 % 8, np.arange(90) % 8
    many, halves = np.arange(90) % 9, np.arange(90) % 4 / 2
    columns = recognize(np.column_stack([few, rare[:], many, halves]).astype(float))
    assert [column.kind for column in columns.columns] == ["category", "category", "number", "number"]
    few_rows = recognize(np.column_stack([np.arange(70) % 8, np.arange(70) / 7]))
    assert [column.kind for column in few_rows.columns] == ["number", "number"]  # under ten rows to each value


def test_numbers_that_float32_would_blur_have_an_offset():
    seconds = 1.7e9 + np.arange(50.0)
    columns = recognize({"t": seconds})
    codes = columns.codes({"t": seconds})
    np.testing.assert_array_equal(codes[:, 0] + np.float64(columns.columns[0].offset), seconds)
    assert recognize({"t": np.arange(50.0)}).columns[0].offset == 0


def test_columns_of_which_nothing_can_be_learned_are_left_out_with_a_warning():
    ids = [f"u{i}" for i in range(40)]
    table = {"a": np.arange(40) / 3, "one": np.ones(40), "same": ["x"] * 40, "none": [None] * 40, "id": ids}
    message = (
        "left out the columns 'one' (it is 1 in every row), 'same' (it is 'x' in every row), 'none' (it has no "
        "values), 'id' (it has 40 different texts in 40 rows, as an identifier has)"
    )
    with pytest.warns(UserWarning, match=re.escape(message)):
        columns = recognize(table)
    assert [name for name, _ in columns.left_out] == ["one", "same", "none", "id"]
    asked = dict.fromkeys(("one", "same", "none", "id"), "skip")
    assert recognize(table, asked).columns == columns.columns  # and no warning
    assert len(recognize(table, {**asked, "id": "category"}).columns) == 2
    with pytest.raises(ValueError, match=r"no column is left to learn from: 'one' .it is 1 in every row., 'same' .it"):
        recognize({"one": np.ones(4), "same": ["x"] * 4})
    gap = recognize({"one": [1.0, None, 1.0], "text": ["x", "x", None]})  # what is missing is something to learn from
    assert [column.gaps for column in gap.columns] == [True, True]


def test_kinds_are_overridden_column_by_column():
    table = {"zip": ["01234", "05678", "01234"], "n": np.array([0.5, 1.5, 2.5]), "d": ["3/4/2020", "5/6/2021", "NA"]}
    assert [c.kind for c in recognize(table).columns] == ["number", "number", "date"]
    columns = recognize(table, {"zip": "category", "n": "category", "d": "skip"})
    assert [c.categories for c in columns.columns] == [("01234", "05678"), ("0.5", "1.5", "2.5")]
    rooms = {"rooms": np.arange(30) % 3}
    assert recognize(rooms, {"rooms": "number"}).columns[0].kind == "number"
    with pytest.raises(ValueError, match="unknown column 'zap': did you mean 'zip'"):
        recognize(table, {"zap": "skip"})
    with pytest.raises(ValueError, match="unknown kind of column 'zip' 'categry': did you mean 'category'"):
        recognize(table, {"zip": "categry"})
    with pytest.raises(ValueError, match="column 'n' holds numbers, and no dates"):
        recognize(table, {"n": "date"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "2", "x", "4"], "row 2: column 'a' is 'x', and no number: correct it, or say what the column is"),
        (["1", "2", "inf"], "row 2: column 'a' is inf: numbers must be finite, within float32"),
        (np.array([1.0, -np.inf]), "row 1: column 'a' is -inf: numbers must be finite"),
        (np.array([1.0, 1e39, 2.0]), r"row 1: column 'a' is 1e\+39: numbers must be finite"),
        (np.array([1, 10**400], object), "row 1: column 'a' is inf: numbers must be finite"),
        (["2020-01-31", "2020-02-30", "2020-03-01"], "row 1: column 'a' is '2020-02-30', and no date .others are of"),
        (np.array(["x", 1, "y"], object), "row 1: column 'a' is 1, a number, where rows before it hold a text"),
        (np.array([True, 0.5], object), "row 1: column 'a' is 0.5, a number, where rows before it hold a boolean"),
    ],
)
def test_values_that_do_not_fit_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        recognize({"a": values})


def test_values_that_do_not_fit_later_are_named():
    columns = recognize({"n": [1.5, 2.5], "d": ["2020-01-31", "2020-02-01"], "c": ["x", "y"]})
    good = {"n": [3.5], "d": ["2020-05-06"], "c": ["z"]}
    for name, value, message in (
        ("n", "big", "row 0: column 'n' is 'big', and no number"),
        ("n", np.inf, "row 0: column 'n' is inf"),
        ("d", "1.2.2020", r"row 0: column 'd' is '1.2.2020', and no date \(others are of the form iso\)"),
        ("d", 5.0, "column 'd' holds numbers, where dates are expected"),
    ):
        with pytest.raises(ValueError, match=message):
            columns.codes(good | {name: [value]})
    with pytest.raises(ValueError, match="columns are of different lengths, 1, 2"):
        columns.codes(good | {"n": [1.5, 2.5]})
    with pytest.raises(ValueError, match="the table has 0 rows and 3 columns"):
        columns.codes({name: [] for name in good})
    for table, error, message in (
        (np.ones(3), ValueError, r"the table has shape \(3,\): it must be \(rows, columns\)"),
        ("x", ValueError, r"the table has shape \(\)"),
        ([[1.0], [1.0, 2.0]], ValueError, "setting an array|shape"),
        (np.ones((2, 1), complex), TypeError, "column 'x0' has type complex128: use numbers, text"),
    ):
        with pytest.raises(error, match=message):
            recognize(table)


@pytest.mark.parametrize(
    ("text", "form", "moment"),
    [
        ("2020-03-04", "iso", (2020, 3, 4)),
        ("2020-03-04T05:06:07", "iso", (2020, 3, 4, 5, 6, 7)),
        ("2020-03-04 05:06:07.5Z", "iso", (2020, 3, 4, 5, 6, 7, 500_000)),
        ("2020-03-04T05:06+02:00", "iso", (2020, 3, 4, 3, 6)),
        ("2020/03/04 05:06", "%Y/%m/%d", (2020, 3, 4, 5, 6)),
        ("4.3.2020", "%d.%m.%Y", (2020, 3, 4)),
        ("3/14/2020", "%m/%d/%Y", (2020, 3, 14)),
        ("14/3/2020", "%d/%m/%Y", (2020, 3, 14)),
        ("14-03-2020", "%d-%m-%Y", (2020, 3, 14)),
        ("4 Mar 2020", "%d %b %Y", (2020, 3, 4)),
        ("March 4, 2020", "%B %d, %Y", (2020, 3, 4)),
        ("3/14/20 5:06", "%m/%d/%y", (2020, 3, 14, 5, 6)),
    ],
)
def test_dates_in_usual_forms(text, form, moment):
    assert form_of([text]) == (form, 1)
    expected = (datetime.datetime(*moment) - datetime.datetime(1970, 1, 1)) / datetime.timedelta(days=1)
    assert reader(form)(text) == pytest.approx(expected, abs=1e-9)


def test_whether_the_day_or_the_month_comes_first_is_told_by_all_rows():
    first = recognize({"d": ["01/02/2020", "03/04/2020"]})
    second = recognize({"d": ["01/02/2020", "13/04/2020"]})
    assert (first.columns[0].form, second.columns[0].form) == ("%m/%d/%Y", "%d/%m/%Y")
