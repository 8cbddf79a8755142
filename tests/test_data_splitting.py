"""How a table's rows are held out: by groups, by time, as large a part of each class."""

import numpy as np
import pytest
from command import done, fails, value

from jaxfc import load
from jaxfc.data import Splitting

ROWS = 200
DRAW = np.random.default_rng(0)
PATIENTS = DRAW.integers(0, 25, ROWS)
DAYS = DRAW.permutation(ROWS) // 2
SIDES = np.where(np.arange(ROWS) % 10 == 3, "rare", "usual")


@pytest.fixture(autouse=True)
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dates = np.datetime64("2020-01-01") + DAYS
    lines = [f"{i},p{p},{d},{s}" for i, p, d, s in zip(range(ROWS), PATIENTS, dates, SIDES, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["row,patient,day,side", *lines]) + "\n")


def rows_of(data):
    """The rows of the file that each split has."""
    return [x[:, 0].astype(int) for x in (data.x_train, data.x_val, data.x_test)]


def loaded(**how):
    data = load("t.csv", columns={"row": "number"}, splitting=Splitting(**how))
    rows = rows_of(data)
    assert sorted(np.concatenate(rows)) == list(range(ROWS))
    return data, rows


def test_groups_are_held_out_whole_and_not_learned_from():
    data, rows = loaded(by="patient")
    assert data.feature_names == ("row", "day")
    train, val, test = ({*PATIENTS[part]} for part in rows)
    assert train.isdisjoint(val | test)
    assert val.isdisjoint(test)
    assert 15 <= len(rows[1]) <= 35
    assert 15 <= len(rows[2]) <= 35


def test_the_latest_rows_are_held_out_to_test_and_those_before_to_validate():
    data, rows = loaded(time="day")
    assert data.feature_names == ("row", "patient")
    train, val, test = (DAYS[part] for part in rows)
    assert train.max() < val.min() <= val.max() < test.min()
    assert [len(part) for part in rows] == [160, 20, 20]


def test_stratified_parts_have_as_large_a_part_of_each_class():
    rows = loaded(stratified=True)[1]
    assert [int((SIDES[part] == "rare").sum()) for part in rows] == [16, 2, 2]
    assert [len(part) for part in rows] == [160, 20, 20]
    assert np.ptp(rows[1]) > 100  # drawn from everywhere


def test_splits_that_cannot_be_made_are_named(tmp_path):
    for how, message in (
        ({"by": "pateint"}, "unknown column to split t.csv by: 'pateint': did you mean 'patient'"),
        ({"by": "side"}, "column 'side' is named twice"),
        ({"by": "patient", "time": "day"}, "rows are split in one way: choose one of by, time"),
        ({"time": "patient"}, "column 'patient' is 'p.*', and no number"),
    ):
        with pytest.raises(ValueError, match=message):
            load("t.csv", columns={"row": "number"}, label="side", splitting=Splitting(**how))
    with pytest.raises(ValueError, match="stratified is for classes, and a regression has none"):
        load("t.csv", label="row", task="regression", splitting=Splitting(stratified=True))
    with pytest.raises(ValueError, match="is for tables; digits has validation and test rows of its own"):
        load("digits", splitting=Splitting(stratified=True))
    one = Splitting(by="g")
    with pytest.raises(ValueError, match="column 'g' has the same in too many of 40 rows"):
        one.hold_out(np.zeros(40), 0.1)


def test_a_run_by_groups_is_evaluated_on_the_same_rows(capfd):
    flags = ["--split-by", "patient", "--column", "row=number", "--hidden", "4", "--epochs", "1", "--no-progress"]
    lines = done("train", "--data", "t.csv", "--out", "run", *flags)
    assert value(done("evaluate", "run"), "accuracy") == value(lines, "test_acc")
    search = ["--learning-rate", "choice:0.1,0.01", "--folds", "3", "--out", "s"]
    assert "folds=3 are drawn at random" in fails(capfd, "search", "--data", "t.csv", *flags, *search)
