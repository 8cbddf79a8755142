"""Folds, and what is measured on each: a JSON line, written at once, so that a run can be stopped at any moment."""

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lines
import numpy as np
import pandas as pd

from tabular.models import CLASSES, MODELS
from tabular.sources import Table

Key = tuple[str, str, int, int]  # table, model, repeat, fold


def read(path: Path) -> dict[Key, dict[str, Any]]:
    """What was measured so far, by its key."""
    return {(e["table"], e["model"], e["repeat"], e["fold"]): e for e in lines.read(path)}


def splits(table: Table, y: pd.Series, repeat: int, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows to fit and to test on; of classes, every fold has each class's part."""
    from sklearn.model_selection import KFold, StratifiedKFold

    kind = StratifiedKFold if table.task == CLASSES else KFold
    return list(kind(folds, shuffle=True, random_state=repeat).split(np.zeros(len(y)), y))


def run(table: Table, model: str, done: set[Key], *, repeats: int, folds: int) -> Iterator[dict[str, Any]]:
    """Fit a model on the folds that are not done yet, and yield what is measured on each."""
    x, y = table.load()
    for repeat in range(repeats):
        for fold, (rows, held) in enumerate(splits(table, y, repeat, folds)):
            key = table.name, model, repeat, fold
            if key in done:
                continue
            seed = repeat * folds + fold
            estimator = MODELS[model](table.task, x, seed)
            names = dict(zip(("table", "model", "repeat", "fold"), key, strict=True))
            yield names | {"rows": len(rows)} | measured(table.task, estimator, x, y, rows, held)


def measured(
    task: str, estimator: Any, x: pd.DataFrame, y: pd.Series, rows: np.ndarray, held: np.ndarray
) -> dict[str, float]:
    """Scores on the held rows; seconds, and seconds of the processor, to fit and to predict."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence, and of names of columns
        begun = time.perf_counter(), time.process_time()
        estimator.fit(x.iloc[rows], y.iloc[rows])
        fitted = time.perf_counter(), time.process_time()
        predicted = estimator.predict_proba(x.iloc[held]) if task == CLASSES else estimator.predict(x.iloc[held])
        ended = time.perf_counter(), time.process_time()
    seconds = {
        "fit_s": fitted[0] - begun[0],
        "fit_cpu_s": fitted[1] - begun[1],
        "predict_s": ended[0] - fitted[0],
        "predict_cpu_s": ended[1] - fitted[1],
    }
    scores = (
        of_classes(np.asarray(predicted), np.asarray(estimator.classes_).astype(str), y.iloc[held])
        if task == CLASSES
        else of_numbers(np.asarray(predicted).ravel(), y.iloc[held])
    )
    return {name: float(f"{value:.6g}") for name, value in (scores | seconds).items()}


def of_classes(p: np.ndarray, classes: np.ndarray, y: pd.Series) -> dict[str, float]:
    """Accuracy, area under the curve (one class against the rest, by their shares), log loss, calibration error."""
    from sklearn.metrics import log_loss, roc_auc_score

    p = p / p.sum(axis=1, keepdims=True)
    truth = np.asarray(y)
    chosen, sure = classes[p.argmax(axis=1)], p.max(axis=1)
    scored = p[:, 1] if len(classes) == 2 else p
    auc = roc_auc_score(truth, scored, multi_class="ovr", average="weighted", labels=classes)
    return {
        "acc": np.mean(chosen == truth),
        "auc": auc,
        "log_loss": log_loss(truth, p, labels=classes),
        "ece": calibration_error(sure, chosen == truth),
    }


def calibration_error(sure: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """The expected calibration error: over bins of as many rows, how far confidence is from accuracy."""
    order = np.argsort(sure, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return sum(len(part) * abs(sure[part].mean() - right[part].mean()) for part in parts) / len(sure)


def of_numbers(p: np.ndarray, y: pd.Series) -> dict[str, float]:
    """R², and the root mean square and mean absolute error."""
    truth = np.asarray(y, np.float64)
    error = p - truth
    return {
        "r2": 1 - np.mean(error**2) / np.var(truth),
        "rmse": np.sqrt(np.mean(error**2)),
        "mae": np.mean(np.abs(error)),
    }
