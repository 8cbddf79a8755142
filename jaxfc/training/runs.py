"""A training run and its folder: what `jaxfc train` does.

The folder holds `config.json` (the settings), `checkpoint.safetensors` (everything needed to go on),
`model.safetensors` (the best model; where averages of parameters are kept, these, and the raw ones in
`model-raw.safetensors`), `history.csv` and `curves.png`.
"""

import csv
import io
import json
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from jaxfc import plots
from jaxfc.artifacts import checkpoint, folders
from jaxfc.artifacts.files import write_atomically, writing
from jaxfc.artifacts.predictor import MOST_COPIES, Predictor
from jaxfc.data import Dataset, load
from jaxfc.errors import check_number
from jaxfc.networks import summary
from jaxfc.parallel import MeshSpec, mesh_of, spelled
from jaxfc.training.config import TrainConfig
from jaxfc.training.cookbook import Recipe
from jaxfc.training.fit import carry_out
from jaxfc.training.needs import check_needs
from jaxfc.training.pace import pace, since_the_process_began
from jaxfc.training.prepare import as_begun, check_arguments, check_rows, prepare
from jaxfc.training.result import Result
from jaxfc.training.settings import weighted
from jaxfc.training.spread import check_mesh
from jaxfc.training.streaming import streams

CONFIG, CHECKPOINT, MODEL, RAW, ENSEMBLE, HISTORY, CURVES = (
    "config.json",
    "checkpoint.safetensors",
    "model.safetensors",
    "model-raw.safetensors",
    "ensemble.safetensors",
    "history.csv",
    "curves.png",
)
FILES = (CONFIG, CHECKPOINT, MODEL, RAW, HISTORY, CURVES)


def train(
    config: TrainConfig,
    out: Path | None = None,
    *,
    resume: bool = False,
    extend: int | None = None,
    progress: bool | None = None,
    stream: bool | None = None,
    mesh: MeshSpec | None = None,
    recipe: Recipe | None = None,
    minutes: float | None = None,
    hints: bool = True,
) -> Result:
    """Train as `config` says, and write the run folder.

    Args:
        config: the settings.
        out: the run folder; made if it is not there. By default the first free of `runs/NAME-1`, `runs/NAME-2` …,
            named after the data set.
        resume: go on with the run in it. The settings must be those it was begun with.
        extend: with `resume`, go on to so many epochs in all.
        progress: see `jaxfc.fit`.
        stream: see `jaxfc.fit` and `jaxfc.load`. No setting of the run: its numbers are the same.
        mesh: see `jaxfc.fit`. A run may be gone on with on another.
        recipe: the recipe that the settings are of, if one: it is asked whether it suits the data.
        minutes: choose the number of epochs such that they end in so many minutes, counted from the process's start.
        hints: say at the end what can be done with the run.

    Raises:
        FileExistsError: the folder holds a run already, and `resume` is False.
        ValueError: settings that cannot be used; or, on resuming, other settings than the run's, or no checkpoint.
        OSError: data or folder cannot be read or written, or another process writes the folder.
        DivergenceError: the loss became NaN or infinite.
    """
    given = config.epochs
    if resume and out is None:
        raise ValueError("resume=True goes on with a run: say in which folder")
    if extend is not None:
        config = _extended(config, out, extend, resume=resume)
    elif resume:
        config = _as_planned(config, out)
    allow_float64(config)
    data = load_data(config, stream, recipe)
    check(config, data, stream)  # whatever is wrong with the settings is said before the folder is made
    check_mesh(mesh_of(mesh), config.net(data), config.batch_size, config.accumulate)
    if minutes is not None and not resume:
        config = _in_time(config, data, minutes, stream, mesh)
    with _opened(out, config, resume, extended=config.epochs != given) as out:
        result = _train_in(out, config, data, extend=extend, progress=progress, stream=stream, mesh=mesh)
        if hints:
            longer = f"jaxfc train --resume --out {shlex.quote(str(out))} --extend {2 * config.epochs}"
            print(what_next(out, data, *([longer] if result.stopped == "finished" else [])))
        return result


def _train_in(
    out: Path,
    config: TrainConfig,
    data: Dataset,
    *,
    extend: int | None,
    progress: bool | None,
    stream: bool | None,
    mesh: MeshSpec | None,
) -> Result:
    """Train, and write what comes of it to a folder that is held."""
    net, task, rule, hyper = config.build(data, len(data.x_train))
    print(f"device: {', '.join(f'{d.platform} ({d.device_kind})' for d in jax.devices())}")
    if mesh is not None:
        print(f"mesh: {spelled(mesh_of(mesh))}")
    print(f"data: {data.name}, {len(data.x_train)} training, {len(data.x_val)} validation rows")
    print(summary(net), flush=True)
    if extend is not None:
        print(f"extended to {extend} epochs: the {config.schedule} schedule is from here on that of a run of so many")
    with as_begun(out / CHECKPOINT), ThreadPoolExecutor(1) as painter:
        prepared = prepare(
            net,
            rule,
            data,
            config.settings,
            task=task,
            hyper=hyper,
            class_weight=config.class_weights(),
            checkpoint=out / CHECKPOINT,
            resume=True,  # a checkpoint is there only if the folder's own run wrote it
            extend=extend is not None,
            stream=stream,
            mesh=mesh,
        )
        painter.submit(plots.get_ready)  # while the compiler works
        result = carry_out(prepared, progress=progress)
        if not writing():
            return result
        if config.epochs != TrainConfig.from_json(out / CONFIG).epochs:
            write_atomically(out / CONFIG, config.to_json())
        model = result.model(data)
        model.save(out / MODEL)
        if result.best_raw is not None:
            result.model(data, raw=True).save(out / RAW)
        write_atomically(out / HISTORY, history_csv(result))
        drawn = painter.submit(_draw, result, out)
        if result.stopped == "interrupted":
            print(f"interrupted after epoch {len(result.val_history) - 1}; to go on: jaxfc train --resume --out {out}")
        for name, value in final_measures(model, data, copies=config.tta):
            print(f"{name}: {value:.4f}")
        drawn.result()
    if result.best_raw is not None:
        print(f"val_{task.rank}_raw: {result.val_raw_history[result.best_epoch]:.4f}")
    print(f"run: {out}")
    return result


def _draw(result: Result, out: Path) -> None:
    plots.save(plots.curves_of(result), out / CURVES)


def what_next(out: Path, data: Dataset, *more: str) -> str:
    """The last line of a command that leaves a model: the commands that take its folder.

    Args:
        out: the folder.
        data: the data; without test rows, it is the validation rows that can be measured on.
        *more: further commands.

    >>> what_next(Path("runs/digits-1"), load("digits"))
    'next: jaxfc evaluate runs/digits-1; jaxfc predict runs/digits-1 FILE'
    """
    folder, split = shlex.quote(str(out)), "" if data.x_test is not None else " --split val"
    return "next: " + "; ".join([f"jaxfc evaluate {folder}{split}", f"jaxfc predict {folder} FILE", *more])


def final_measures(
    model: Predictor, data: Dataset, *, copies: int = 0, prefix: str = ""
) -> Iterator[tuple[str, float]]:
    """What a run ends with: on the validation rows the metric that ranks, on the test rows the most telling too."""
    rank = model.task.rank
    for split in ("val", "test") if data.x_test is not None else ("val",):
        names = dict.fromkeys([rank, *model.task.headline] if split == "test" else [rank])
        measured = model.evaluate(*data.split(split), data.weights(split), copies=copies, metrics=names)
        for name in names:
            yield f"{prefix}{split}_{name}", measured[name]


def _in_time(
    config: TrainConfig, data: Dataset, minutes: float, stream: bool | None, mesh: MeshSpec | None
) -> TrainConfig:
    """The settings, with as many epochs as there is time for."""
    check_number("minutes", minutes, low=0, exclude="low")
    iterations = len(data.x_train) // config.batch_size
    timed = pace(config, data, stream=stream, mesh=mesh)
    epochs = timed.check(minutes, since_the_process_began(), iterations)
    print(f"minutes: {epochs} epochs of about {timed.epoch(iterations):.3g} s end in {minutes:g}")
    return replace(config, epochs=epochs)


def _extended(config: TrainConfig, out: Path | None, epochs: int, *, resume: bool) -> TrainConfig:
    if not resume:
        raise ValueError(f"extend={epochs} goes on with a run: add --resume, or plan a new run with --epochs {epochs}")
    if epochs <= config.epochs:
        raise ValueError(f"extend={epochs} must be more than the {config.epochs} epochs that {out} was planned for")
    return replace(config, epochs=epochs)


def _as_planned(config: TrainConfig, out: Path) -> TrainConfig:
    """The settings, with the epochs that the checkpoint knows of: an extension that was killed had not noted them."""
    try:
        run = json.loads(checkpoint.metadata(out / CHECKPOINT)["run"])
        planned = int(run["settings"]["epochs"])
    except (KeyError, TypeError, ValueError):  # no checkpoint yet; or a damaged one, which `fit` will name
        return config
    begun = TrainConfig.from_json(out / CONFIG)
    return replace(config, epochs=planned) if config.epochs == begun.epochs < planned else config


def allow_float64(config: TrainConfig) -> None:
    """Turn JAX's 64-bit mode on if the settings need it."""
    if "float64" in (config.param_dtype, config.compute_dtype):
        jax.config.update("jax_enable_x64", True)


def check(config: TrainConfig, data: Dataset, stream: bool | None = None) -> None:
    """Raise what a training with these settings would raise at its start.

    Raises:
        ValueError, TypeError: an unknown name, a number out of range.
    """
    net, task, rule, hyper = config.build(data, len(data.x_train))
    check_arguments(net, task, data, config.settings)
    weighted(data, config.class_weights())
    check_needs(net, *config.settings.averaged(rule, hyper), config.settings, data, streamed=streams(data, stream))
    rule.init([], **hyper)
    check_rows(data)
    check_copies(config)


def check_copies(config: TrainConfig) -> None:
    """Raise a ValueError unless a model can be measured on so many augmented copies of each row."""
    if config.tta < 0 or (config.tta and not config.augment):
        raise ValueError(f"tta={config.tta} averages over augmented copies: name --augment, or leave --tta out")
    if config.tta > MOST_COPIES:
        raise ValueError(f"tta={config.tta} must be at most {MOST_COPIES}")


def load_data(config: TrainConfig, stream: bool | None = None, recipe: Recipe | None = None) -> Dataset:
    """Load the data set that a run's settings name, if the recipe that they are of suits it."""
    where = {"data_dir": config.data_dir, "label": config.label, "weights": config.weights, "columns": config.columns()}
    data = load(config.data, task=config.task, stream=stream, splitting=config.splitting(), **where)
    if recipe is not None:
        recipe.check(data)
    return (data if config.num_train is None else data.subset(config.num_train)).pooled(config.pool)


@contextmanager
def _opened(out: Path | None, config: TrainConfig, resume: bool, *, extended: bool = False) -> Iterator[Path]:
    """The run folder, held, with the settings in it."""
    if resume:
        begun = TrainConfig.from_json(out / CONFIG)
        changed = [name for name in begun.differences(config) if not (extended and name == "epochs")]
        if changed:
            name = changed[0]
            hint = " (more epochs: --extend)" if name == "epochs" else ""
            raise ValueError(
                f"{out} was begun with {name}={getattr(begun, name)!r}, not {getattr(config, name)!r}: "
                f"leave --{name.replace('_', '-')} out to resume{hint}, or start a new run in another --out"
            )
        with folders.held(out, FILES):
            folders.check_whole(out, MODEL, CHECKPOINT)
            yield out
        return
    out = folders.first_free(Path(config.data).stem) if out is None else out
    with folders.begun(out, "run", FILES):
        write_atomically(out / CONFIG, config.to_json())
        yield out


def history_csv(result: Result) -> str:
    """The run as CSV: a line for each epoch with its last iteration, mean loss, both scores and validation loss."""
    epochs = len(result.val_history) - 1
    losses = result.loss_history.reshape(epochs, -1) if epochs else np.zeros((0, 0))
    columns = {
        f"train_{result.metric}": result.train_history,
        f"val_{result.metric}": result.val_history,
        "val_loss": result.val_loss_history,
    }
    if result.best_raw is not None:
        columns[f"val_{result.metric}_raw"] = result.val_raw_history
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["epoch", "iteration", "mean_loss", *columns])
    for epoch, measured in enumerate(zip(*columns.values(), strict=True)):
        mean_loss = f"{losses[epoch - 1].mean():.6f}" if epoch else ""
        writer.writerow([epoch, epoch * losses.shape[1], mean_loss, *(f"{value:.6f}" for value in measured)])
    return lines.getvalue()
