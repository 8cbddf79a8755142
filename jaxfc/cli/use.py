"""What `jaxfc evaluate` and `jaxfc predict` do: a trained model, measured and used."""

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from jaxfc import calibration, metrics, plots
from jaxfc.artifacts.ensemble import Ensemble, load_predictor
from jaxfc.artifacts.files import write_atomically, writing
from jaxfc.artifacts.model import Model
from jaxfc.data import Dataset, load, read_examples, read_features
from jaxfc.data.readers import KNOWN
from jaxfc.errors import FormatError, PrecisionError
from jaxfc.memory import check_memory
from jaxfc.search.folder import fingerprint_of
from jaxfc.tasks import Regression
from jaxfc.training.config import TrainConfig
from jaxfc.training.runs import CONFIG, ENSEMBLE, MODEL, load_data
from jaxfc.training.settings import weighted

_CELL = 100  # bytes of memory for a number and its text


def evaluate(
    run_folder: Path,
    data: str | None = None,
    data_dir: str | None = None,
    label: str | None = None,
    weights: str | None = None,
    split: str = "test",
    tta: int = 0,
    mesh: str | None = None,
) -> dict[str, float]:
    """Print a model's metrics on a split of its run's data or on other data, and draw where it errs.

    A classification ends with the table of its confusions and `accuracy`; the others with a line for each metric.

    Raises:
        FileNotFoundError, FormatError, ValueError, TypeError: a run, model or data that cannot be used.
    """
    model = load_model(run_folder)
    name, x, y, w = examples(run_folder, model, data, data_dir, label, weights, split)
    prediction = model.prediction(x, copies=tta, mesh=mesh)
    measured = model.task.measure(prediction, y, w)
    print(f"{name}: {len(x)} rows")
    kind = model.about.targets
    figures = {}
    if kind == "classes":
        right = y if y.ndim == 1 else y.argmax(axis=1)
        matrix = metrics.confusion_matrix(right, np.asarray(model.task.answer(prediction)), len(model.classes))
        print(metrics.confusion_table(matrix, model.classes))
        figures["confusion"] = plots.confusion(matrix, model.classes)
        sure, hits = prediction.max(axis=1), prediction.argmax(axis=1) == right
        figures["reliability"] = plots.reliability(calibration.reliability(sure, hits, w))
    elif kind == "labels":
        print(metrics.label_table(y, np.asarray(model.task.answer(prediction)), model.classes))
        each = None if w is None else np.repeat(w, prediction.shape[1])
        figures["reliability"] = plots.reliability(calibration.reliability(prediction.ravel(), y.ravel(), each))
    elif isinstance(model.task, Regression) and not model.task.quantiles:
        figures["regression"] = plots.regression(y.reshape(prediction.shape), prediction, model.about.target_names)
    folder = run_folder if run_folder.is_dir() else run_folder.parent
    for what, figure in figures.items():
        picture = plots.save_beside(figure, folder / f"{what}-{Path(data).stem if data else split}.png")
        print(f"picture: {picture}")
    last = "acc" if kind == "classes" else model.task.rank
    for metric in [*(m for m in measured if m != last), *([last] if last in measured else [])]:
        print(f"{'accuracy' if metric == 'acc' else metric}: {measured[metric]:.4f}")
    return measured


def examples(
    run: Path,
    model: Model | Ensemble,
    data: str | None,
    data_dir: str | None,
    label: str | None,
    weights: str | None,
    split: str,
) -> tuple[str, np.ndarray, np.ndarray, np.ndarray | None]:
    """A name, inputs, targets and weights: a split of a run's data, or other data."""
    about = model.about
    if data and Path(data).suffix.lower() in KNOWN:
        like = {"num_features": model.num_features, "feature_names": about.feature_names, "classes": about.classes}
        targets = {"targets": about.targets, "target_names": about.target_names, "columns": about.columns}
        return data, *read_examples(Path(data), label=label, weights=weights, **like, **targets)
    if data:
        dataset = load(data, data_dir=data_dir)
    else:
        folder = run if run.is_dir() else run.parent
        config = TrainConfig.from_json(folder / CONFIG)
        config = replace(config, data_dir=data_dir or config.data_dir)
        dataset = load_data(replace(config, num_train=None))
        if Path(config.data).suffix.lower() in KNOWN:
            _check_unchanged(folder, config, dataset)
        if weights not in (None, config.weights):
            dataset = load_data(replace(config, weights=weights, num_train=None))
    if (
        dataset.classes != about.classes
        or dataset.targets != about.targets
        or dataset.num_features != model.num_features
    ):
        known = f"the {'classes' if about.targets == 'classes' else about.targets} {', '.join(about.outputs())}"
        raise ValueError(
            f"{dataset.name} has {dataset.num_features} features and {dataset.num_outputs} {dataset.targets}; this "
            f"model takes {model.num_features} features and knows {known}"
        )
    return f"{dataset.name}, {split}", *dataset.split(split), dataset.weights(split)


def _check_unchanged(folder: Path, config: TrainConfig, data: Dataset) -> None:
    """Raise a ValueError if a user's file is not what a run was trained on: it would be split anew.

    Which rows are held out depends on how many there are: with rows appended, rows that were trained on would be
    tested on.
    """
    then = fingerprint_of(folder)
    if then is None:
        return
    if config.num_train is not None:
        data = data.subset(config.num_train)
    if then != weighted(data, config.class_weights()).fingerprint():
        raise ValueError(
            f"{config.data} has changed since {folder} was trained on it: it would be split anew, and rows that were "
            "trained on could be tested on: restore it, or name a file of other rows by --data"
        )


def predict(
    run_folder: Path,
    file: Path,
    out: Path | None = None,
    tta: int = 0,
    mesh: str | None = None,
    progress: bool | None = False,
) -> Path:
    """Write what a model predicts for a file's rows, as CSV.

    Of a classification, the label and each class's probability; of several labels, 0 or 1 and a probability
    for each; of a regression, a value for each target (and quantile).

    Raises:
        FileExistsError: the output file exists.
        FileNotFoundError, FormatError, ValueError: a run, model or file that cannot be used.
    """
    out = file.with_suffix(".predictions.csv") if out is None else out
    check_free(out)
    model = load_model(run_folder)
    like = {"feature_names": model.feature_names, "columns": model.about.columns}
    x = read_features(file, num_features=model.num_features, **like)
    outputs = model.about.num_targets or len(model.classes)
    check_memory(f"a table of {len(x)} predictions", _CELL * len(x) * (outputs + 1), "predict fewer rows at a time")
    prediction = model.prediction(x, copies=tta, mesh=mesh, progress=progress)
    head, answers = _columns(model, prediction)
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([*answer, *values] for answer, values in zip(answers, _texts(model, prediction), strict=True))
    check_free(out)  # another process may have been as quick
    write_atomically(out, lines.getvalue())
    print(f"{len(x)} rows: {out}")
    return out


def check_free(out: Path) -> None:
    """Raise a FileExistsError if a file to be written is there already."""
    if writing() and os.path.lexists(out):
        raise FileExistsError(f"{out} exists: remove it, or name another --out")


def _columns(model: Model | Ensemble, prediction: np.ndarray) -> tuple[list[str], list[list]]:
    """The names of all columns, and each row's answers, which come first."""
    classes = model.classes
    if model.about.targets == "classes":
        return ["label", *(f"p_{name}" for name in classes)], [[classes[i]] for i in model.task.answer(prediction)]
    if model.about.targets == "labels":
        return [*classes, *(f"p_{name}" for name in classes)], model.task.answer(prediction).tolist()
    count = prediction.shape[1]
    names: list[str] = list(model.about.target_names or [])
    quantiles = getattr(model.task, "quantiles", ())
    if not names:
        names = [f"y{i}" for i in range(count)] if count > max(len(quantiles), 1) else ["y"]
    if quantiles:
        names = [f"{name}_q{quantile:g}" for name in names for quantile in quantiles]
    return names, [[] for _ in prediction]


def _texts(model: Model | Ensemble, prediction: np.ndarray) -> list[list[str]]:
    form = "{:.9g}" if model.about.targets == "numbers" else "{:.6f}"
    return [[form.format(value) for value in row] for row in prediction]


def model_path(run: Path) -> Path:
    """The file of a run folder's model; of a folder without one, its ensemble; a file is itself."""
    if not run.is_dir():
        return run
    return run / MODEL if (run / MODEL).exists() or not (run / ENSEMBLE).exists() else run / ENSEMBLE


def load_model(run: Path) -> Model | Ensemble:
    """Load the model of a run folder, or a file with a model or an ensemble; turns 64-bit mode on if it needs it.

    Raises:
        FileNotFoundError: it is not there.
        FormatError: it cannot be used.
    """
    path = model_path(run)
    if path.suffix != ".safetensors":
        raise (
            FormatError(f"{path} is neither a run folder nor a .safetensors file")
            if path.exists()
            else FileNotFoundError(f"{run}: no such run folder or model file")
        )
    try:
        if path.exists():
            check_memory(f"{path}: the model", 2 * path.stat().st_size, "give the process more, or use a smaller model")
        return load_predictor(path)
    except PrecisionError:
        jax.config.update("jax_enable_x64", True)
        return load_predictor(path)
