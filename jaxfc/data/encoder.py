"""The map from a table's codes to network inputs: numbers scaled, categories one-hot, what is missing said so.

An `Encoder` stands where a `jaxfc.Normalizer` does: an argument of the compiled step, saved with the model.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Float32

from jaxfc.data.columns import Column, Columns, number_of

# A column of at most so many categories has an input for each; of a column of more, so many are kept, those with the
# most rows, and all others share one input, so that a row's width stays bounded.
MOST_ONE_HOT = 16
_CLIP = 10.0  # with 3, nearly linear tables had up to 1.8 times the squared error
_QUARTILES = 1.349  # standard deviations between a normal distribution's quartiles
_PERIODS = {"year": 365.2425, "week": 7.0, "day": 1.0}
_MONDAY = 4.0 / 7.0  # 1970-01-01 was a Thursday: the week's phase counts from a Sunday


class Cycle(NamedTuple):
    """A cycle of a date: its place among the codes, its days, and whether only whole days count.

    >>> Cycle(0, 7.0, True).period
    7.0
    """

    place: int
    period: float
    whole: bool


class Table(NamedTuple):
    """A category: its place among the codes, how many there are, and how many inputs it becomes.

    >>> Table(0, 3, 4).shape
    (5, 4)
    """

    place: int
    categories: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """A row for each category, one for those never seen, one for a missing value; a column for each input."""
        return self.categories + 2, self.width


class Layout(NamedTuple):
    """Which inputs come from which codes, in the order of the inputs: all that is static of an encoder.

    Args:
        num_features: how many codes a row has.
        numbers: the places of numbers and dates; an input each.
        gaps: the places of those that may be missing; an input each.
        cycles: cycles of dates; two inputs each, sine and cosine.
        tables: categories; as many inputs as their tables have columns.

    >>> from jaxfc.data.columns import recognize
    >>> columns = recognize({"size": [1.5, None, 2.5], "colour": ["red", "blue", "green"]})
    >>> Layout.of(columns).num_inputs
    5
    """

    num_features: int
    numbers: tuple[int, ...]
    gaps: tuple[int, ...]
    cycles: tuple[Cycle, ...]
    tables: tuple[Table, ...]

    @classmethod
    def of(cls, columns: Columns) -> "Layout":
        """The layout for some columns."""
        numbers, gaps, cycles, tables = [], [], [], []
        for place, column in enumerate(columns.columns):
            if column.kind == "category":
                tables.append(Table(place, len(column.categories), len(_inputs(column))))
                continue
            numbers.append(place)
            gaps += [place] if column.gaps else []
            cycles += [Cycle(place, _PERIODS[name], name == "week") for name in column.cycles]
        return cls(len(columns.columns), *map(tuple, (numbers, gaps, cycles, tables)))

    @property
    def num_inputs(self) -> int:
        """How many inputs a row becomes."""
        return len(self.numbers) + len(self.gaps) + 2 * len(self.cycles) + sum(table.width for table in self.tables)

    def like(self, members: int | None = None) -> "Encoder":
        """The shapes of an encoder of this layout, or of several that are stacked; what a file is read into."""

        def shape(*sizes: int) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(sizes if members is None else (members, *sizes), np.float32)

        count = len(self.numbers)
        tables = tuple(shape(*table.shape) for table in self.tables)
        return Encoder(self, shape(count), shape(count), shape(len(self.gaps)), shape(len(self.cycles)), tables)


def inputs_of(columns: Columns) -> list[tuple[str, str]]:
    """The inputs that an encoder makes of some columns, in their order: the column's name, and what of it.

    >>> from jaxfc.data.columns import recognize
    >>> inputs_of(recognize({"size": [1.5, None, 2.5], "colour": ["red", "blue", "green"]}))
    [('size', 'value'), ('size', 'missing'), ('colour', 'blue'), ('colour', 'green'), ('colour', 'red')]
    """
    every = columns.columns
    numbers = [column for column in every if column.kind != "category"]
    return [
        *((column.name, "value") for column in numbers),
        *((column.name, "missing") for column in numbers if column.gaps),
        *(
            (column.name, f"{wave} of {name}")
            for column in numbers
            for name in column.cycles
            for wave in ("sin", "cos")
        ),
        *((column.name, what) for column in every if column.kind == "category" for what in _inputs(column)),
    ]


def _inputs(column: Column) -> list[str]:
    """What the inputs of a category say."""
    count = len(column.categories)
    if count == 2:
        names = [f"{column.categories[1]}, not {column.categories[0]}"]
    elif count <= MOST_ONE_HOT:
        names = list(column.categories) if count > 1 else []
    else:
        names = [*(f"{i + 1}. most frequent" for i in range(MOST_ONE_HOT)), "any other", "frequency"]
    return [*names, *(["value"] if column.whole and count > 2 else []), *(["missing"] if column.gaps else [])]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Encoder:
    r"""The map from a table's codes to network inputs, fitted on training rows.

    - A number $x$ becomes $c\big(1.349\, (x - \mathrm{median}) / (q_{75} - q_{25})\big)$, of about unit variance, with
      $c(z) = z / \sqrt{1 + (z/10)^2}$, which bends outliers towards $\pm 10$ (RealMLP towards 3, Holzmüller et al.
      2024). Where both quartiles are the same, half the range takes the place of their distance, without the factor;
      a number that never varied is 0.
      One that is missing is 0, the median, and where that may happen an input of its own is 1 then.
    - A date is such a number of days, and has the sine and cosine of its place in the year, the week and the day,
      where dates differ in that.
    - Of two categories, the first is -1 and the second 1; of up to 16, each is an input that is 1 for it; of more,
      so it is with the 16 most frequent ones, one input is 1 for all others, and one holds the logarithm of how
      frequent a category was, scaled as numbers are. Categories that are whole numbers have such an input for the
      number as well. One that training rows did not have is 0 throughout, or one of the others where there are such.

    A category's inputs are a row of its table: a row for each category in order, one for those never seen, and
    one for a missing value. A pytree, of which the layout is static.

    Args:
        layout: which inputs come from which codes.
        center: the medians, `(numbers,)`.
        scale: what distances from them are multiplied by, `(numbers,)`.
        gaps: what an input that says "missing" is where it is, `(gaps,)`: 0 where training rows lacked nothing.
        phases: the part of each cycle that a code of 0 is at, `(cycles,)`.
        tables: for each category `(categories + 2, inputs)`.

    >>> from jaxfc.data.columns import recognize
    >>> table = {"size": [1.0, 2.0, 3.0, None], "colour": ["red", "blue", "green", "red"]}
    >>> columns = recognize(table)
    >>> print(Encoder.fit(columns, columns.codes(table))(columns.codes({"size": [3, None], "colour": ["red", None]})))
    [[1.3368905 0.        0.        0.        1.       ]
     [0.        1.        0.        0.        0.       ]]
    """

    layout: Layout = field(metadata={"static": True})
    center: Any  # leaves: arrays, or whatever else a tree is mapped to
    scale: Any
    gaps: Any
    phases: Any
    tables: Any

    @classmethod
    def fit(cls, columns: Columns, codes: Float32[np.ndarray, "rows columns"]) -> "Encoder":
        """Fit an encoder to the codes of training rows; see `Columns.codes`.

        Raises:
            ValueError: other codes than those of these columns, or none.
        """
        layout = Layout.of(columns)
        if codes.ndim != 2 or codes.shape[1] != layout.num_features or not len(codes):
            raise ValueError(f"codes have shape {codes.shape}: they must be (rows, {layout.num_features})")
        fitted = [_robust(codes[:, place]) for place in layout.numbers]
        center, scale = np.array(fitted, np.float32).reshape(-1, 2).T
        gaps = np.array([np.isnan(codes[:, place]).any() for place in layout.gaps], np.float32)
        phases = np.array([_phase(columns.columns[c.place].offset, c) for c in layout.cycles], np.float32)
        tables = tuple(_table(columns.columns[table.place], codes[:, table.place]) for table in layout.tables)
        return cls(layout, center, scale, gaps, phases, tables)

    @property
    def takes_missing(self) -> bool:
        """Whether NaN may stand for a missing value: it may."""
        return True

    @property
    def num_features(self) -> int:
        """How many codes a row has."""
        return self.layout.num_features

    @property
    def num_inputs(self) -> int:
        """How many inputs it becomes."""
        return self.layout.num_inputs

    def __call__(self, x: Float[Array | np.ndarray, "batch columns"], dtype: DTypeLike = None) -> Array:
        """Encode a batch, into `dtype` (by default that of the codes)."""
        from jaxfc.layers.common import wider

        x = jnp.asarray(x)
        dtype = dtype or x.dtype
        wide = wider(x.dtype, dtype)
        x = x.astype(wide)
        center, scale, gaps, phases = (
            jnp.asarray(each, wide)[None, :] for each in (self.center, self.scale, self.gaps, self.phases)
        )
        layout = self.layout
        numbers = x[:, np.array(layout.numbers, int)]
        parts = [
            smoothly_clipped((jnp.where(jnp.isnan(numbers), center, numbers) - center) * scale),
            jnp.isnan(x[:, np.array(layout.gaps, int)]).astype(wide) * gaps,
            _waves(x, layout.cycles, phases),
            *(_rows(table, x[:, where.place]) for where, table in zip(layout.tables, self.tables, strict=True)),
        ]
        return jnp.concatenate([part.astype(dtype) for part in parts], axis=1)


def smoothly_clipped(z: Any) -> Any:
    r"""Bend large numbers towards $\pm 10$, $c(z) = z / \sqrt{1 + (z/10)^2}$; small ones hardly change.

    >>> print(np.round(smoothly_clipped(np.array([0.1, 1, 100])), 3))
    [0.1   0.995 9.95 ]
    """
    return z / (1 + (z / _CLIP) ** 2) ** 0.5


def _waves(x: Array, cycles: tuple[Cycle, ...], phases: Array) -> Array:
    """The sine and cosine of where in its cycles each date is; 0 for a missing one."""
    days = x[:, np.array([cycle.place for cycle in cycles], int)]
    whole = np.array([[cycle.whole for cycle in cycles]], bool)
    periods = np.array([[cycle.period for cycle in cycles]], x.dtype)
    days = jnp.where(jnp.broadcast_to(whole, days.shape), jnp.floor(days), days)
    turns = days / periods + phases
    angle = 2 * np.pi * (turns - jnp.floor(turns))
    waves = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=2)
    return jnp.where(jnp.isnan(waves), 0, waves).reshape(x.shape[0], 2 * len(cycles))


def _rows(table: Any, code: Array) -> Array:
    """The table's rows of a column of codes: the last for a missing value, the last but one for one not known."""
    table = jnp.asarray(table)
    unseen = len(table) - 2
    index = jnp.where(jnp.isnan(code), unseen + 1, jnp.clip(code, 0, unseen)).astype(jnp.int32)
    return jnp.take(table, index, axis=0, mode="clip")


def _robust(values: np.ndarray) -> tuple[float, float]:
    """The median of a column, and what its distances from it are multiplied by."""
    values = values[~np.isnan(values)].astype(np.float64)
    if not len(values):
        return 0.0, 0.0
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    spread = (high - low) / _QUARTILES if high > low else (values.max() - values.min()) / 2
    return median, 1 / spread if spread > 0 else 0.0


def _phase(offset: float, cycle: Cycle) -> float:
    return (offset / cycle.period + (_MONDAY if cycle.whole else 0)) % 1


def _table(column: Column, codes: np.ndarray) -> Float32[np.ndarray, "codes inputs"]:
    """The inputs of each category, of an unknown one and of a missing value, by what training rows have."""
    count = len(column.categories)
    missing = np.isnan(codes)
    rows = np.bincount(np.clip(codes[~missing], 0, count).astype(int), minlength=count + 1)
    seen = rows[:count] > 0
    parts = []
    if count == 2:
        parts.append(np.array([[-1.0], [1.0], [0.0]]) * np.append(seen, False)[:, None])
    elif 2 < count <= MOST_ONE_HOT:
        parts.append(np.eye(count + 1, count) * np.append(seen, False)[:, None])
    elif count > MOST_ONE_HOT:
        kept = np.argsort(-rows[:count], kind="stable")[:MOST_ONE_HOT]
        one_hot = np.zeros((count + 1, MOST_ONE_HOT + 1))
        one_hot[:, -1] = 1
        one_hot[kept] = np.eye(MOST_ONE_HOT, MOST_ONE_HOT + 1)
        parts += [one_hot, _scaled(np.log(rows + 1), rows)]
    if column.whole and count > 2:
        values = np.array([*map(number_of, column.categories), np.nan], np.float64)
        parts.append(_scaled(values, rows))
    table = np.concatenate([np.zeros((count + 1, 0)), *parts], axis=1)
    table = np.concatenate([table, np.zeros((1, table.shape[1]))])
    if column.gaps:
        table = np.concatenate([table, np.zeros((count + 2, 1))], axis=1)
        table[-1, -1] = float(missing.any())
    return table.astype(np.float32)


def _scaled(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Numbers of categories, scaled by how many training rows have each; 0 where there is no number."""
    median, scale = _robust(np.repeat(values, rows))
    return np.nan_to_num(smoothly_clipped((values - median) * scale))[:, None]
