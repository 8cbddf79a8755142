"""Mean ranks over tables, and which differences are more than chance."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from tabular.runs import Key

SCORES = {"acc": True, "auc": True, "r2": True, "log_loss": False, "ece": False, "rmse": False, "mae": False}
"""What is measured, and whether more of it is better."""


def shared(entries: Mapping[Key, dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    """What was measured on those folds of a table that all models which were run on it have been run on."""
    having: dict = defaultdict(set)
    models = defaultdict(set)
    for table, model, *fold in entries:
        having[table, *fold].add(model)
        models[table].add(model)
    return {key: entry for key, entry in entries.items() if having[key[0], *key[2:]] == models[key[0]]}


def complete(entries: Iterable[Key], models: Sequence[str]) -> dict[str, set[str]]:
    """For each model that was run the tables on which it has all the folds that any of the models has.

    >>> complete([("a", "fc", 0, 0), ("a", "mlp", 0, 0), ("a", "mlp", 0, 1), ("b", "fc", 0, 0)], ["fc", "mlp", "hgb"])
    {'fc': {'b'}, 'mlp': {'a'}}
    """
    folds: dict = defaultdict(lambda: defaultdict(set))
    for table, model, *fold in entries:
        if model in models:
            folds[table][model].add(tuple(fold))
    having: dict[str, set[str]] = {name: set() for name in models if any(name in each for each in folds.values())}
    for table, each in folds.items():
        every = set().union(*each.values())
        for model in (name for name in each if each[name] == every):
            having[model].add(table)
    return having


def collected(entries: Mapping[Key, dict[str, Any]]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """For each table, model and measure the numbers of all folds, in order."""
    found: dict = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for (table, model, *_), entry in sorted(entries.items()):
        for name, value in entry.items():
            if isinstance(value, float) and name not in ("repeat", "fold"):
                found[table][model][name].append(value)
    return found


def means(found: Mapping, tables: Sequence[str], models: Sequence[str], measure: str) -> np.ndarray:
    """The mean over folds, `(tables, models)`; NaN where a model was not run, or does not have the measure."""
    every = [[found[table][model].get(measure, [np.nan]) for model in models] for table in tables]
    return np.array([[np.mean(folds) for folds in row] for row in every]).reshape(len(tables), len(models))


def ranks(scores: np.ndarray, higher: bool) -> np.ndarray:
    """Each model's rank on each table, 1 for the best; ties share the mean of their ranks.

    >>> ranks(np.array([[0.5, 0.9, 0.9]]), higher=True)
    array([[3. , 1.5, 1.5]])
    """
    return stats.rankdata(-scores if higher else scores, axis=1)


def critical_difference(num_models: int, num_tables: int, alpha: float = 0.05) -> float:
    """How far apart two mean ranks must be for Nemenyi's test (Demšar, 2006).

    >>> round(critical_difference(5, 30), 3)
    1.114
    """
    q = stats.studentized_range.ppf(1 - alpha, num_models, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(num_models * (num_models + 1) / (6 * num_tables)))


def wilcoxon_holm(scores: np.ndarray, models: Sequence[str]) -> dict[str, float]:
    """For each pair of models the p of Wilcoxon's signed-rank test over tables, adjusted by Holm.

    Scores are made comparable first: each table's are divided by its spread over models.
    """
    scaled = scores / np.maximum(scores.std(axis=1, keepdims=True), 1e-12)
    pairs = list(itertools.combinations(range(len(models)), 2))
    raw = np.array([_wilcoxon(scaled[:, a] - scaled[:, b]) for a, b in pairs])
    adjusted, most = np.empty(len(raw)), 0.0
    for place, number in enumerate(np.argsort(raw)):
        most = max(most, min(1.0, raw[number] * (len(raw) - place)))
        adjusted[number] = most
    return {f"{models[a]} / {models[b]}": float(p) for (a, b), p in zip(pairs, adjusted, strict=True)}


def _wilcoxon(differences: np.ndarray) -> float:
    return 1.0 if not differences.any() else float(stats.wilcoxon(differences).pvalue)
