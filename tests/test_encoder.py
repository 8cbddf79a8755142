"""The encoder of a table's codes, against a twin in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfc.data import Encoder, inputs_of, recognize

ROWS = 300


def table(seed=0, rows=ROWS):
    draw = np.random.default_rng(seed)
    columns = {
        "size": draw.lognormal(size=rows),
        "flat": np.where(np.arange(rows) % 10 < 9, 2.0, draw.normal(size=rows)),  # both quartiles are the same
        "colour": draw.choice(["red", "green", "blue", "grey"], rows).astype(object),
        "old": draw.random(rows) > 0.3,
        "rooms": draw.integers(0, 6, rows).astype(float),
        "town": np.array([f"t{i}" for i in draw.geometric(0.08, rows)], object),
        "sold": np.datetime64("2019-12-30T06:00") + (draw.integers(0, 20_000, rows)).astype("timedelta64[h]"),
    }
    for name in ("size", "rooms"):
        columns[name][draw.random(rows) < 0.1] = np.nan
    for name in ("colour", "town"):
        columns[name][draw.random(rows) < 0.1] = None
    return columns


def clipped(z):
    return z / np.sqrt(1 + (z / 10) ** 2)


def robust(train, x):
    """x centred and scaled by what was trained on, in float64; NaN becomes 0."""
    train = train[~np.isnan(train)]
    low, middle, high = np.percentile(train, [25, 50, 75])
    spread = (high - low) / 1.349 if high > low else (train.max() - train.min()) / 2
    return np.nan_to_num(clipped((x - middle) / spread))


def is_none(values):
    return np.array([value is None for value in values])


def twin(train, x):
    """The inputs by their names, from the raw tables, without codes."""
    out = {}
    for name in ("size", "flat"):
        out[name, "value"] = robust(train[name], x[name])
    out["size", "missing"] = np.isnan(x["size"])
    for colour in ("blue", "green", "grey", "red"):
        out["colour", colour] = x["colour"] == colour
    out["colour", "missing"] = is_none(x["colour"])
    out["old", "True, not False"] = np.where(x["old"], 1, -1)
    for rooms in range(6):
        out["rooms", str(rooms)] = x["rooms"] == rooms
    out["rooms", "value"] = robust(train["rooms"], x["rooms"])
    out["rooms", "missing"] = np.isnan(x["rooms"])
    towns = sorted({town for town in train["town"] if town is not None}, key=str)
    counts = {town: int((train["town"] == town).sum()) for town in towns}
    kept = sorted(towns, key=lambda town: -counts[town])[:16]
    for i, town in enumerate(kept):
        out["town", f"{i + 1}. most frequent"] = x["town"] == town
    missing = is_none(x["town"])
    out["town", "any other"] = [town is not None and town not in kept for town in x["town"]]
    logs = {town: np.log(count + 1) for town, count in counts.items()}
    every = np.array([logs[town] for town in train["town"] if town is not None])
    out["town", "frequency"] = robust(every, np.array([logs.get(town, 0.0) for town in x["town"]])) * ~missing
    out["town", "missing"] = missing
    every, days = ((each["sold"] - np.datetime64("1970-01-01")) / np.timedelta64(1, "D") for each in (train, x))
    out["sold", "value"] = robust(every, days)
    for name, place in (("year", days / 365.2425), ("week", (np.floor(days) - 3) / 7), ("day", days)):
        out["sold", f"sin of {name}"] = np.sin(2 * np.pi * place)
        out["sold", f"cos of {name}"] = np.cos(2 * np.pi * place)
    return {name: np.asarray(values, np.float64) for name, values in out.items()}


@pytest.fixture(scope="module")
def fitted():
    columns = recognize(table())
    return columns, Encoder.fit(columns, columns.codes(table()))


def test_inputs_are_those_of_the_twin(fitted):
    columns, encoder = fitted
    later = table(seed=1, rows=100)  # with towns that the training rows did not have
    assert {*later["town"]} - {*table()["town"]}
    for x in (table(), later):
        z = np.asarray(jax.jit(lambda encoder, x: encoder(x))(encoder, columns.codes(x)))
        assert z.dtype == np.float32
        assert z.shape == (len(x["size"]), encoder.num_inputs) == (len(z), len(inputs_of(columns)))
        expected = twin(table(), x)
        assert set(expected) == set(inputs_of(columns))
        for i, name in enumerate(inputs_of(columns)):
            # As float32, some hundred days are known to some seconds.
            atol = 5e-4 if name[0] == "sold" else 1e-5
            np.testing.assert_allclose(z[:, i], expected[name], atol=atol, err_msg=str(name))


def test_what_training_rows_lack_is_zero():
    columns = recognize({"size": [1.0, None, 2.0, 4.0], "colour": ["red", "blue", "green", None]})
    few = columns.codes({"size": [1.0, 2.0, 4.0], "colour": ["red", "blue", "blue"]})
    z = Encoder.fit(columns, few)(columns.codes({"size": [None, 2.0], "colour": ["green", None]}))
    assert inputs_of(columns)[:2] == [("size", "value"), ("size", "missing")]
    np.testing.assert_array_equal(z, 0)  # 2.0 is the median
    assert (
        Encoder.fit(columns, few).layout == Encoder.fit(columns, columns.codes({"size": [1], "colour": ["x"]})).layout
    )


def test_columns_that_never_vary_in_the_training_rows_are_zero():
    columns = recognize({"a": [1.0, 2.0], "b": ["x", "y"]})
    z = Encoder.fit(columns, np.float32([[5, 0], [5, 0]]))(np.float32([[7, 1]]))
    np.testing.assert_array_equal(z, 0)


def test_the_layout_is_static_and_the_numbers_are_leaves(fitted, compilations):
    columns, encoder = fitted
    codes = columns.codes(table())
    program = jax.jit(lambda encoder, x: encoder(x, "bfloat16"))
    assert program(encoder, codes).dtype == jnp.bfloat16
    before = len(compilations)
    other = Encoder.fit(columns, codes[:200])
    assert hash(other.layout) == hash(encoder.layout)
    program(other, codes)
    assert len(compilations) == before
    stacked = jax.tree.map(lambda *leaves: jnp.stack([*map(jnp.asarray, leaves)]), encoder, other)
    z = jax.vmap(lambda encoder: encoder(codes))(stacked)
    np.testing.assert_allclose(z[1], other(codes), atol=1e-6)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), stacked)
    assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), encoder.layout.like(members=2))


def test_codes_of_other_columns_are_refused(fitted):
    columns, _ = fitted
    with pytest.raises(ValueError, match=r"codes have shape \(3, 2\): they must be \(rows, 7\)"):
        Encoder.fit(columns, np.ones((3, 2), np.float32))
