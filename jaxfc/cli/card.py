"""What `jaxfc describe` does: a trained model's card, in Markdown, of what its folder holds and of nothing else."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxfc.artifacts import checkpoint
from jaxfc.artifacts.ensemble import Ensemble
from jaxfc.artifacts.files import write_atomically
from jaxfc.artifacts.model import Model
from jaxfc.cli.use import check_free, load_model, model_path
from jaxfc.errors import listed
from jaxfc.networks import summary
from jaxfc.search.folder import fingerprint_of
from jaxfc.training.config import TrainConfig
from jaxfc.training.runs import CHECKPOINT, CONFIG, HISTORY

ASKED_FOR = ("update_rule", "learning_rate", "batch_size", "epochs")
PREDICTS = {"classes": "one of {} classes", "labels": "any of {} labels", "numbers": "{} number(s)"}


def describe(run_folder: Path, out: Path | None = None) -> str:
    """Print a model's card, or write it to a file.

    Raises:
        FileExistsError: the file exists.
        FileNotFoundError, FormatError, ValueError: a run or model that cannot be used.
    """
    if out is not None:
        check_free(out)
    card = card_of(run_folder)
    if out is None:
        print(card, end="")
    else:
        write_atomically(out, card)
        print(f"card: {out}")
    return card


def card_of(run_folder: Path) -> str:
    """The card of a run folder, or of a model's file."""
    model, path = load_model(run_folder), model_path(run_folder)
    config = TrainConfig.from_json(path.parent / CONFIG) if (path.parent / CONFIG).exists() else None
    parts = [f"# {_plain((path.parent if run_folder.is_dir() else path).resolve().stem)}\n"]
    parts += [_predicts(model), _data(model, config, path), _network(model)]
    parts += [_training(config, path), _measured(model, path), _file(model, path, run_folder)]
    return "\n".join(part for part in parts if part)


def _predicts(model: Model | Ensemble) -> str:
    about, task = model.about, model.task
    names = about.outputs()
    lines = [f"{PREDICTS[about.targets].format(about.num_targets or len(about.classes))}"]
    lines[0] = f"Predicts {lines[0]}" + (f": {_plain(listed(names))}." if names else ".")
    for name, what in (("temperature", "Outputs are divided by the temperature"), ("threshold", "Answers from")):
        value = getattr(task, name, None)
        if value is not None:
            lines.append(f"{what} {np.array2string(np.asarray(value), precision=4)}.")
    return " ".join(lines) + "\n"


def _data(model: Model | Ensemble, config: TrainConfig | None, path: Path) -> str:
    about, shape = model.about, model.about.image_shape
    columns = f"images of {' x '.join(map(str, shape))}" if shape else f"{model.num_features} columns"
    rows = [("rows are", columns + (f": {listed(about.feature_names)}" if about.feature_names else ""))]
    if config is not None:
        rows = [("data", config.data), *rows]
    found = fingerprint_of(path.parent)
    return _section("Data", _table([*rows, *([("fingerprint", found)] if found else [])]))


def _network(model: Model | Ensemble) -> str:
    members = f"The mean of {model.num_members} networks, the first of which is:\n\n" if model.num_members > 1 else ""
    return _section("Network", f"{members}```text\n{summary(model.net)}\n```")


def _training(config: TrainConfig | None, path: Path) -> str:
    rows = []
    if config is not None:
        # What differs from the defaults, and beside it what a reader asks for first.
        names = dict.fromkeys([*ASKED_FOR, *TrainConfig().differences(config)])
        rows = [(name, getattr(config, name)) for name in names if name != "data"]
        rows = [(name, "the rule's own" if value is None else value) for name, value in rows]
    try:
        versions = json.loads(checkpoint.metadata(path.parent / CHECKPOINT)["run"])["versions"]
        rows += [(f"version of {name}", version) for name, version in versions.items()]
    except (KeyError, ValueError, TypeError, AttributeError):
        pass  # no checkpoint is left, or one that does not say
    return _section("Training", _table(rows)) if rows else ""


def _measured(model: Model | Ensemble, path: Path) -> str:
    """The scores of the best epoch, as the run's history has them."""
    try:
        with (path.parent / HISTORY).open(newline="", encoding="utf-8") as file:
            epochs = list(csv.DictReader(file))
        rank = f"val_{model.task.rank}"
        scores = [float(epoch[rank]) * (1 if model.task.higher else -1) for epoch in epochs]
        best = epochs[int(np.nanargmax(scores))]
        rows = [(name, best[name]) for name in best if name.startswith(("train_", "val_"))]
    except (OSError, KeyError, ValueError, TypeError):
        return ""
    title = f"Measured, after epoch {best['epoch']} of {len(epochs) - 1}"
    return _section(title, _table(rows) + "\n\nOf the rows trained on, a sample is measured.")


def _file(model: Model | Ensemble, path: Path, run_folder: Path) -> str:
    written = path.stat()
    count = sum(int(np.size(leaf)) for one in model._members() for leaf in jax.tree.leaves(one.params))
    rows = [
        ("file", path.name),
        ("size", f"{written.st_size:,} bytes, {count:,} parameters"),
        ("written", datetime.fromtimestamp(written.st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
    kind = type(model).__name__
    code = f'import jaxfc\n\nmodel = jaxfc.{kind}.load("{path.name}")\nmodel.predict(x)  # rows as the data had them'
    use = f"```python\n{code}\n```\n\n```sh\njaxfc predict {run_folder.name or path.name} FILE\n```"
    return _section("Use", f"{_table(rows)}\n\n{use}")


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}\n"


def _table(rows: list[tuple[str, Any]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {_plain(name)} | {_plain(value)} |" for name, value in rows)])


def _plain(value: Any) -> str:
    """A text that Markdown leaves as it is."""
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\|`*<>[]#" else letter for letter in text)
