"""What runs of recipes reached, as JSON, as tables, and as a picture of accuracy against minutes."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reached.changes import CHANGES
from reached.peers import PEERS
from reached.runs import Key

# Of fully-connected networks on CIFAR-10's test images, without other data: what, accuracy, source.
RECORDS = (
    ("search of version 0.1", 0.621, "this project, ten minutes on two cores"),
    ("Lin et al. 2015, augmented", 0.78, "arXiv 1511.02580"),
    ("Bachmann et al. 2023", 0.75, "arXiv 2306.13575"),
    ("beta-LASSO, Neyshabur 2020", 0.8519, "arXiv 2007.13657"),
)


def whole(entries: Mapping[Key, dict[str, Any]]) -> dict[str, Any]:
    """Each recipe with its runs by seed, and each change to it with how far it is from the recipe's own."""
    found: dict[str, Any] = {}
    for key, entry in sorted(entries.items()):
        part = found.setdefault(key.recipe, {"runs": [], "peers": {}, "changes": {}})
        kind = "peers" if key.change in PEERS else "changes"
        runs = part[kind].setdefault(key.change, []) if key.change else part["runs"]
        runs.append({name: value for name, value in entry.items() if name not in ("recipe", "change")})
    return found


def text(report: Mapping[str, Any]) -> str:
    """Tables in Markdown."""
    lines = ["| recipe | seconds | epochs | seeds | validation | test |", "|---|---|---|---|---|---|"]
    for name, part in report.items():
        for of, runs in [(name, part["runs"]), *((f"{name}, {peer}", runs) for peer, runs in part["peers"].items())]:
            if runs:
                seconds, epochs = (round(statistics.mean(run[what] for run in runs)) for what in ("seconds", "epochs"))
                val, test = (spread([run[what] for run in runs]) for what in ("val", "test"))
                lines.append(f"| {of} | {seconds} | {epochs} | {len(runs)} | {val} | {test} |")
    for name, part in report.items():
        if part["changes"] and part["runs"]:
            lines += ["", *_changes(name, part)]
    return "\n".join(lines)


def _changes(name: str, part: Mapping[str, Any]) -> list[str]:
    """A recipe's changes, from the best to the worst; a difference is of the same seeds."""
    own = {run["seed"]: run["val"] for run in part["runs"]}
    rows = []
    for change, runs in part["changes"].items():
        shared = [run for run in runs if run["seed"] in own]
        if not shared:
            continue
        differences = [100 * (run["val"] - own[run["seed"]]) for run in shared]
        epochs = round(statistics.mean(run["epochs"] for run in shared))
        rows.append((statistics.mean(differences), change, epochs, spread([run["val"] for run in shared])))
    lines = [f"| {name} with | epochs | validation | points more |", "|---|---|---|---|"]
    return lines + [
        f"| {CHANGES[change].about} | {epochs} | {val} | {points:+.1f} |"
        for points, change, epochs, val in sorted(rows, reverse=True)
    ]


def spread(values: list[float]) -> str:
    """A mean in percent, with the standard deviation over seeds where there are several."""
    mean = f"{100 * statistics.mean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} ± {100 * statistics.stdev(values):.1f}"


def write(path: Path, report: Mapping[str, Any]) -> None:
    """Write the report as JSON."""
    from jaxfc.artifacts.files import write_atomically

    write_atomically(path, json.dumps(report, indent=1) + "\n")


def draw(path: Path, report: Mapping[str, Any]) -> None:
    """Draw the accuracy on validation rows against minutes, a line for each seed, with the records beside it."""
    from jaxfc import plots

    figure, axes = plots.new_figure(1, 1, (7, 4.5))
    shown = [(name, part) for name, part in report.items() if part["runs"] and name.startswith("cifar10")]
    for number, (name, part) in enumerate(shown):
        for run in part["runs"]:
            minutes = [run["seconds"] / 60 * (i + 1) / len(run["history"]) for i in range(len(run["history"]))]
            axes.plot(minutes, run["history"], color=f"C{number}", alpha=0.6, linewidth=1)
        axes.plot([], [], color=f"C{number}", label=f"{name}: test {spread([r['test'] for r in part['runs']])}%")
    for name, accuracy, _ in RECORDS:
        axes.axhline(accuracy, color="0.6", linewidth=0.8, linestyle=":")
        axes.annotate(name, (0.01, accuracy), xycoords=("axes fraction", "data"), fontsize=7, va="bottom", color="0.4")
    axes.set_xscale("log")
    axes.set_xlabel("minutes on two processor cores")
    axes.set_ylabel("accuracy on validation images")
    axes.set_ylim(0.4, 0.9)
    axes.legend(loc="lower right")
    plots.save(figure, path)
