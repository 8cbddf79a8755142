"""A training run and its folder: what `jaxfc train`, `evaluate` and `predict` do.

The folder holds `config.json` (the settings), `checkpoint.safetensors` (everything needed to go on),
`model.safetensors` (the best model), `history.csv` and `curves.png`.
"""

import csv
import io
from pathlib import Path

import jax
import numpy as np

from jaxfc import checkpoint, metrics, plots
from jaxfc.config import TrainConfig
from jaxfc.data import Dataset, load
from jaxfc.ensemble import KIND as ENSEMBLE_KIND
from jaxfc.ensemble import Ensemble
from jaxfc.errors import FormatError, PrecisionError
from jaxfc.files import write_atomically
from jaxfc.model import Model
from jaxfc.network import summary
from jaxfc.train import Result, check_arguments, fit

CONFIG, CHECKPOINT, MODEL, ENSEMBLE, HISTORY, CURVES = (
    "config.json",
    "checkpoint.safetensors",
    "model.safetensors",
    "ensemble.safetensors",
    "history.csv",
    "curves.png",
)


def train(config: TrainConfig, out: Path, *, resume: bool = False, progress: bool | None = None) -> Result:
    """Train as `config` says, and write the run folder.

    Args:
        config: the settings.
        out: the run folder; made if it is not there.
        resume: go on with the run in it. The settings must be those it was begun with.
        progress: see `jaxfc.fit`.

    Raises:
        FileExistsError: the folder holds a run already, and `resume` is False.
        ValueError: settings that cannot be used; or, on resuming, other settings than the run's.
        OSError: data or folder cannot be read or written.
        DivergenceError: the loss became NaN or infinite.
    """
    allow_float64(config)
    data = load_data(config)
    check(config, data)  # whatever is wrong with the settings is said before the folder is made
    net = config.network(data)
    rule, hyper = config.optimizer(len(data.x_train))
    _open_folder(out, config, resume)
    print(f"device: {', '.join(f'{d.platform} ({d.device_kind})' for d in jax.devices())}")
    print(f"data: {data.name}, {len(data.x_train)} training, {len(data.x_val)} validation rows")
    print(summary(net), flush=True)
    result = fit(
        net,
        rule,
        data,
        hyper=hyper,
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=config.seed,
        sampling=config.sampling,
        patience=config.patience,
        progress=progress,
        checkpoint=out / CHECKPOINT,
        resume=True,  # a checkpoint is there only if the folder's own run wrote it
    )
    model = result.model(data)
    model.save(out / MODEL)
    write_atomically(out / HISTORY, history_csv(result))
    plots.save(plots.curves(result.loss_history, result.train_acc_history, result.val_acc_history), out / CURVES)
    if result.stopped == "interrupted":
        print(f"interrupted after epoch {len(result.val_acc_history) - 1}; to go on: jaxfc train --resume --out {out}")
    print(f"val_acc: {model.accuracy(*data.split('val')):.4f}")
    if data.x_test is not None:
        print(f"test_acc: {model.accuracy(*data.split('test')):.4f}")
    print(f"run: {out}")
    return result


def allow_float64(config: TrainConfig) -> None:
    """Turn JAX's 64-bit mode on if the settings need it."""
    if "float64" in (config.param_dtype, config.compute_dtype):
        jax.config.update("jax_enable_x64", True)


def check(config: TrainConfig, data: Dataset) -> None:
    """Raise what a training with these settings would raise at its start.

    Raises:
        ValueError, TypeError: an unknown name, a number out of range.
    """
    net = config.network(data)
    rule, hyper = config.optimizer(len(data.x_train))
    check_arguments(
        net, data, config.epochs, config.batch_size, config.sampling, patience=config.patience, seed=config.seed
    )
    rule.init([], **hyper)


def load_data(config: TrainConfig) -> Dataset:
    """Load the data set that a run's settings name."""
    data = load(config.data, data_dir=config.data_dir, label=config.label)
    data = data if config.num_train is None else data.subset(config.num_train)
    return data.mirrored() if config.mirror else data


def new_folder(data: str, kind: str = "") -> Path:
    """The first free folder `runs/NAME-1`, `runs/NAME-2` …, named after the data set and what it is, if not a run."""
    name, number = Path(data).stem + kind, 1
    while Path("runs", f"{name}-{number}").exists():
        number += 1
    return Path("runs", f"{name}-{number}")


def _open_folder(out: Path, config: TrainConfig, resume: bool) -> None:
    if resume:
        begun = TrainConfig.from_json(out / CONFIG)
        changed = begun.differences(config)
        if changed:
            name = changed[0]
            raise ValueError(
                f"{out} was begun with {name}={getattr(begun, name)!r}, not {getattr(config, name)!r}: "
                f"leave --{name.replace('_', '-')} out to resume, or start a new run in another --out"
            )
        return
    make_folder(out, "run")
    write_atomically(out / CONFIG, config.to_json())


def make_folder(out: Path, kind: str) -> None:
    """Make a folder for a run or another kind of work.

    Raises:
        FileExistsError: it is there, and not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is not empty: pass --resume to go on with the {kind} in it, or another --out")
    out.mkdir(parents=True, exist_ok=True)


def history_csv(result: Result) -> str:
    """The run as CSV: a line for each epoch with its last iteration, mean loss and both accuracies."""
    epochs = len(result.val_acc_history) - 1
    losses = result.loss_history.reshape(epochs, -1) if epochs else np.zeros((0, 0))
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["epoch", "iteration", "mean_loss", "train_acc", "val_acc"])
    for epoch, (train_acc, val_acc) in enumerate(zip(result.train_acc_history, result.val_acc_history, strict=True)):
        mean_loss = f"{losses[epoch - 1].mean():.6f}" if epoch else ""
        writer.writerow([epoch, epoch * losses.shape[1], mean_loss, f"{train_acc:.6f}", f"{val_acc:.6f}"])
    return lines.getvalue()


def evaluate(run: Path, data: str | None, data_dir: str | None, label: str | None, split: str) -> float:
    """Print a model's accuracy, by class too, on a split of its run's data or on other data; draw the confusion matrix.

    Raises:
        FileNotFoundError, FormatError, ValueError, TypeError: a run, model or data that cannot be used.
    """
    model = load_model(run)
    name, x, y = _examples(run, model, data, data_dir, label, split)
    matrix = metrics.confusion_matrix(y, model.predict(x), len(model.classes))
    accuracy = matrix.trace() / matrix.sum()
    print(f"{name}: {len(x)} rows")
    print(metrics.confusion_table(matrix, model.classes))
    folder = run if run.is_dir() else run.parent
    picture = folder / f"confusion-{Path(data).stem if data else split}.png"
    plots.save(plots.confusion(matrix, model.classes), picture)
    print(f"picture: {picture}")
    print(f"accuracy: {accuracy:.4f}")
    return float(accuracy)


def _examples(
    run: Path, model: Model | Ensemble, data: str | None, data_dir: str | None, label: str | None, split: str
) -> tuple[str, np.ndarray, np.ndarray]:
    from jaxfc.datasets import tables

    if data and Path(data).suffix.lower() in (".npz", ".csv"):
        shape = {"num_features": model.net.input_dim, "feature_names": model.feature_names}
        return data, *tables.read_examples(Path(data), classes=model.classes, label=label, **shape)
    if data:
        dataset = load(data, data_dir=data_dir)
    else:
        config = TrainConfig.from_json((run if run.is_dir() else run.parent) / CONFIG)
        dataset = load(config.data, data_dir=data_dir or config.data_dir, label=config.label)
    if dataset.classes != model.classes or dataset.num_features != model.net.input_dim:
        raise ValueError(
            f"{dataset.name} has {dataset.num_features} features and {len(dataset.classes)} classes; this model "
            f"takes {model.net.input_dim} features and knows the classes {', '.join(model.classes)}"
        )
    return f"{dataset.name}, {split}", *dataset.split(split)


def predict(run: Path, file: Path, out: Path | None) -> Path:
    """Write the classes and probabilities that a model gives to a file's rows, as CSV.

    Raises:
        FileExistsError: the output file exists.
        FileNotFoundError, FormatError, ValueError: a run, model or file that cannot be used.
    """
    from jaxfc.datasets import tables

    out = file.with_suffix(".predictions.csv") if out is None else out
    if out.exists():
        raise FileExistsError(f"{out} exists: remove it, or name another --out")
    model = load_model(run)
    x = tables.read_features(file, num_features=model.net.input_dim, feature_names=model.feature_names)
    probabilities = model.predict_proba(x)
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["label", *(f"p_{name}" for name in model.classes)])
    for row in probabilities:
        writer.writerow([model.classes[row.argmax()], *(f"{p:.6f}" for p in row)])
    write_atomically(out, lines.getvalue())
    print(f"{len(x)} rows: {out}")
    return out


def load_model(run: Path) -> Model | Ensemble:
    """Load the model of a run folder, or a file with a model or an ensemble; turns 64-bit mode on if it needs it.

    Raises:
        FileNotFoundError: it is not there.
        FormatError: it cannot be used.
    """
    path = run
    if run.is_dir():
        path = run / MODEL if (run / MODEL).exists() or not (run / ENSEMBLE).exists() else run / ENSEMBLE
    if path.suffix != ".safetensors":
        raise (
            FormatError(f"{path} is neither a run folder nor a .safetensors file")
            if path.exists()
            else FileNotFoundError(f"{run}: no such run folder or model file")
        )
    kind = Ensemble if checkpoint.kind(path) == ENSEMBLE_KIND else Model
    try:
        return kind.load(path)
    except PrecisionError:
        jax.config.update("jax_enable_x64", True)
        return kind.load(path)
