"""What a run found, as JSON, as a table, and as a picture."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from tabular.models import CLASSES, MODELS
from tabular.ranks import SCORES, collected, complete, critical_difference, means, ranks, shared, wilcoxon_holm
from tabular.runs import Key
from tabular.sources import PACKAGES, Table

LIBRARIES = ("jaxfc", "jax", "scikit-learn", "lightgbm", "catboost", "pytabkit", "torch", "numpy", "pandas")
TIMES = ("fit_s", "fit_cpu_s", "predict_s", "predict_cpu_s")


def summary(
    entries: Mapping[Key, dict[str, Any]], tables: Sequence[Table], chosen: Sequence[str] = tuple(MODELS)
) -> dict[str, Any]:
    """All that is to be said of the tables which every model that was run has been run on, by the folds that all have.

    Args:
        entries: what was measured.
        tables: the tables to look at.
        chosen: the models to look at.
    """
    entries = shared({key: entry for key, entry in entries.items() if key[1] in chosen})
    found = collected(entries)
    models = [name for name in MODELS if any(name in found[table.name] for table in tables)]
    done = [table for table in tables if all(model in found[table.name] for model in models)]
    parts = {task: [table.name for table in done if table.task == task] for task in (CLASSES, "regression")}
    report: dict[str, Any] = {
        "benchmark": "tables",
        "versions": {name: _version(name) for name in (*LIBRARIES, *(p for p, _ in PACKAGES.values()))},
        "tables": {table.name: _described(table) for table in done},
        "models": models,
        "ranks": {},
    }
    scores = [means(found, parts[task], models, "acc" if task == CLASSES else "r2") for task in parts]
    whole = [("score", np.concatenate(scores), True, [*parts[CLASSES], *parts["regression"]])]
    whole += [("acc", scores[0], True, parts[CLASSES]), ("r2", scores[1], True, parts["regression"])]
    whole += [
        (name, means(found, parts[CLASSES], models, name), SCORES[name], parts[CLASSES])
        for name in ("auc", "log_loss", "ece")
    ]
    for name, values, higher, of in whole:
        if len(of):
            report["ranks"][name] = _ranked(values, higher, models, len(of))
    report["seconds"] = {model: _seconds(found, model, [table.name for table in done]) for model in models}
    report["results"] = {table.name: {model: dict(found[table.name][model]) for model in models} for table in done}
    return report


def whole(
    entries: Mapping[Key, dict[str, Any]], tables: Sequence[Table], chosen: Sequence[str] = tuple(MODELS)
) -> dict[str, Any]:
    """A `summary` of the models that have all folds of all tables; and of each other one how it ranks among them.

    It ranks on those tables alone of which it has all folds. Where no model has everything, all are in one summary.
    """
    names = [table.name for table in tables]
    having = complete([key for key in entries if key[0] in names], chosen)
    every = set().union(*having.values())
    models = [name for name, mine in having.items() if mine == every]
    report = summary(entries, tables, models or chosen)
    report["partly"] = {}
    for model, mine in having.items() if models else ():
        if model in models or not mine:
            continue
        found = summary(entries, [table for table in tables if table.name in mine], [*models, model])
        mean = {name: each["mean"] for name, each in found["ranks"].items()}
        report["partly"][model] = {"tables": list(found["tables"]), "ranks": mean, "seconds": found["seconds"]}
        for table, results in found["results"].items():
            report["results"][table][model] = results[model]
    return report


def _ranked(values: np.ndarray, higher: bool, models: Sequence[str], num_tables: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mean": dict(zip(models, ranks(values, higher).mean(axis=0).round(3).tolist(), strict=True))
    }
    if len(models) > 1:
        found["critical_difference"] = round(critical_difference(len(models), num_tables), 3)
    if len(models) > 1 and num_tables > 1:
        found["wilcoxon_holm"] = {pair: float(f"{p:.3g}") for pair, p in wilcoxon_holm(values, models).items()}
    return found


def _seconds(found: Mapping, model: str, tables: Sequence[str]) -> dict[str, float]:
    """Of the median fold, which leaves out a first one's compilation: in all, and times the MLP's (geometric mean)."""
    median = {name: [float(np.median(found[table][model][name])) for table in tables] for name in TIMES}
    totals = {name: float(f"{np.sum(each):.4g}") for name, each in median.items()}
    if all("mlp" in found[table] for table in tables):
        mlp = [float(np.median(found[table]["mlp"]["fit_cpu_s"])) for table in tables]
        ratio = np.exp(np.mean(np.log(np.array(median["fit_cpu_s"]) / mlp)))
        totals["fit_cpu_times_mlp"] = float(f"{ratio:.3g}")
    return totals


def _described(table: Table) -> dict[str, Any]:
    x, y = table.load()
    package, licence = PACKAGES[table.package]
    text = sum(x.dtypes == "category")
    about = {"task": table.task, "about": table.about, "package": package, "licence": licence, "rows": len(x)}
    counts = {"columns": x.shape[1], "of categories": int(text), "missing": int(x.isna().sum().sum())}
    return about | counts | ({"classes": int(y.nunique())} if table.task == CLASSES else {})


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def text(report: Mapping[str, Any]) -> str:
    """The mean ranks and times as a table."""
    names = list(report["ranks"])
    times = ["fit_cpu_times_mlp", "fit_cpu_s", "predict_cpu_s"]
    lines = [f"{len(report['tables'])} tables; mean ranks by", ""]
    lines.append(f"{'':16}" + "".join(f"{name:>9}" for name in names) + "   fit, x MLP  fit, s  predict, s")
    for model in sorted(report["models"], key=lambda model: report["ranks"]["score"]["mean"][model]):
        row = "".join(f"{report['ranks'][name]['mean'][model]:9.2f}" for name in names)
        seconds = report["seconds"][model]
        lines.append(f"{model:16}{row}" + "".join(f"{seconds.get(name, np.nan):11.3g}" for name in times))
    if "critical_difference" in report["ranks"]["score"]:
        row = "".join(f"{report['ranks'][name]['critical_difference']:9.2f}" for name in names)
        lines.append(f"{'critical diff.':16}{row}")
    lines += ["", "seconds of the processor, of each table's median fold, summed over tables"]
    for model, part in report.get("partly", {}).items():
        lines += ["", f"{model} has {len(part['tables'])} of the tables; there, mean ranks with it and all of these"]
        for name, mean in part["ranks"].items():
            each = sorted(mean, key=mean.__getitem__)
            lines.append(f"{name:>9}: " + ", ".join(f"{other} {mean[other]:.2f}" for other in each))
    return "\n".join(lines)


def write(path: Path, report: Mapping[str, Any]) -> None:
    """The report as JSON, a line for each table and model."""
    lines = json.dumps({name: value for name, value in report.items() if name != "results"}, indent=1)[:-2]
    rows = (
        ",\n".join(f"   {json.dumps(model)}: {json.dumps(measured)}" for model, measured in models.items())
        for models in report["results"].values()
    )
    each = (f"  {json.dumps(name)}: {{\n{row}\n  }}" for name, row in zip(report["results"], rows, strict=True))
    path.write_text(lines + ',\n "results": {\n' + ",\n".join(each) + "\n }\n}\n")


def draw(path: Path, report: Mapping[str, Any]) -> None:
    """Mean ranks with the critical difference, and mean rank against the time to fit."""
    from matplotlib.figure import Figure

    score = report["ranks"]["score"]
    models = sorted(report["models"], key=lambda model: -score["mean"][model])
    mean = [score["mean"][model] for model in models]
    colours = ["C1" if model.startswith("fc") else "C0" for model in models]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    half = score.get("critical_difference", 0) / 2
    left.errorbar(mean, range(len(models)), xerr=half, fmt="none", ecolor="0.7", capsize=3)
    left.scatter(mean, range(len(models)), c=colours, zorder=3)
    left.set_yticks(range(len(models)), models)
    left.set_xlabel(f"mean rank on {len(report['tables'])} tables; bars: critical difference")
    left.set_xlim(left=0.5)
    seconds = [report["seconds"][model]["fit_cpu_s"] for model in models]
    right.scatter(seconds, mean, c=colours)
    for model, x, y in zip(models, seconds, mean, strict=True):
        right.annotate(model, (x, y), textcoords="offset points", xytext=(5, 3), fontsize=8)
    right.set_xscale("log")
    right.margins(x=0.35, y=0.1)
    right.set_xlabel("seconds of the processor to fit all")
    right.set_ylabel("mean rank")
    figure.savefig(path, dpi=120)
