"""The models that are compared, all at their defaults: each makes a fresh estimator for a task.

An estimator is fitted on a frame whose text columns are pandas categories and whose other columns are numbers, with
missing values where there are any. What a library cannot take itself is prepared for it in the usual way.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

CLASSES = "classification"


def _columns(x: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The names of columns of numbers, and of categories."""
    names = [name for name in x if x[name].dtype == "category"]
    return [name for name in x if name not in names], names


def _prepared(estimator: Any, x: pd.DataFrame) -> Any:
    """Behind the usual scaling and one-hot encoding, for estimators that take plain numbers."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, names = _columns(x)
    scaled = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(ColumnTransformer([("numbers", scaled, numbers), ("names", one_hot, names)]), estimator)


def linear(task: str, x: pd.DataFrame, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    return _prepared(LogisticRegression(max_iter=1000) if task == CLASSES else Ridge(), x)


def mlp(task: str, x: pd.DataFrame, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    return _prepared((MLPClassifier if task == CLASSES else MLPRegressor)(random_state=seed), x)


def hist_gradient_boosting(task: str, x: pd.DataFrame, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if task == CLASSES else HistGradientBoostingRegressor
    return kind(categorical_features="from_dtype", random_state=seed)


def lightgbm(task: str, x: pd.DataFrame, seed: int) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMClassifier if task == CLASSES else LGBMRegressor)(verbose=-1, n_jobs=1, random_state=seed)


class _Texts:
    """An estimator that wants categories as text, without missing ones."""

    def __init__(self, estimator: Any, names: Sequence[str]) -> None:
        self.estimator, self.names = estimator, list(names)

    def _plain(self, x: pd.DataFrame) -> pd.DataFrame:
        return x.assign(**{name: x[name].astype(object).where(x[name].notna(), "missing") for name in self.names})

    def fit(self, x: pd.DataFrame, y: Any) -> "_Texts":
        self.estimator.fit(self._plain(x), y)
        return self

    def predict(self, x: pd.DataFrame) -> np.ndarray:
        return self.estimator.predict(self._plain(x))

    def predict_proba(self, x: pd.DataFrame) -> np.ndarray:
        return self.estimator.predict_proba(self._plain(x))

    @property
    def classes_(self) -> np.ndarray:
        return self.estimator.classes_


def catboost(task: str, x: pd.DataFrame, seed: int) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    names = _columns(x)[1]
    kind = CatBoostClassifier if task == CLASSES else CatBoostRegressor
    return _Texts(
        kind(cat_features=names, verbose=False, thread_count=1, random_seed=seed, allow_writing_files=False), names
    )


class _Imputed(_Texts):
    """An estimator of pytabkit: categories as they are, missing numbers as the column's median."""

    def _plain(self, x: pd.DataFrame) -> pd.DataFrame:
        return x.fillna(self.medians)

    def fit(self, x: pd.DataFrame, y: Any) -> "_Imputed":
        self.medians = x[_columns(x)[0]].median()
        self.estimator.fit(self._plain(x), np.asarray(y), cat_col_names=self.names)
        return self


def _pytabkit(name: str) -> Callable[[str, pd.DataFrame, int], Any]:
    def make(task: str, x: pd.DataFrame, seed: int) -> Any:
        from pytabkit import models

        for library in ("pytorch_lightning", "lightning"):  # which greet at every fit
            logging.getLogger(library).setLevel(logging.ERROR)
        kind = getattr(models.sklearn.sklearn_interfaces, f"{name}_{'Classifier' if task == CLASSES else 'Regressor'}")
        return _Imputed(kind(device="cpu", random_state=seed, n_threads=1, verbosity=0), _columns(x)[1])

    return make


def _jaxfc(name: str) -> Callable[[str, pd.DataFrame, int], Any]:
    def make(task: str, x: pd.DataFrame, seed: int) -> Any:
        import jaxfc.sklearn

        kind = getattr(jaxfc.sklearn, f"{name}{'Classifier' if task == CLASSES else 'Regressor'}")
        return kind(random_state=seed)

    return make


MODELS: dict[str, Callable[[str, pd.DataFrame, int], Any]] = {  # the cheapest first
    "linear": linear,
    "mlp": mlp,
    "hgb": hist_gradient_boosting,
    "lightgbm": lightgbm,
    "catboost": catboost,
    "fc": _jaxfc("FC"),
    "fc-search": _jaxfc("FCSearch"),
    "realmlp-td-s": _pytabkit("RealMLP_TD_S"),
    "tabm-d": _pytabkit("TabM_D"),
}
