"""The commands, each with its flags."""

import shlex
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxfc.cli.flags import CacheFlag, CandidateFlags, ProcessFlags, asked_for, config_of, flags_of
from jaxfc.data.readers import TABLES
from jaxfc.search.config import PHOTOGRAPHS, SEARCH, SearchConfig, SearchSettings
from jaxfc.search.ledger import Sharing
from jaxfc.search.recipes import table_search
from jaxfc.training.config import TrainConfig
from jaxfc.training.cookbook import Recipe, recipe, recipes
from jaxfc.training.runs import CONFIG


class Plain:
    """A command whose defaults are its fields'."""

    def defaults(self) -> "Plain | None":
        """What the defaults of the command are, where its arguments say so."""
        return None

    def arguments(self) -> dict[str, Any]:
        """Its flags, but those that every command has."""
        return {name: value for name, value in vars(self).items() if name not in ("compile_cache", "processes", "mesh")}

    def together(self) -> str | None:
        """The mesh; of several processes, by default all of their devices, among which rows are divided."""
        return "data=-1" if self.mesh is None and self.processes.joining().several else self.mesh


@dataclass(frozen=True)
class Train(Plain):
    """Train a network, and keep it, its curves and a checkpoint in a run folder."""

    config: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    recipe: str | None = None
    """Settings that go far in a given time, which other flags override: see `jaxfc recipes`."""
    minutes: float | None = None
    """Train as many epochs as end, with all else, in so many minutes on this machine (default: the recipe's)."""
    out: Path | None = None
    """Run folder (default: the first free of runs/NAME-1, runs/NAME-2 …)."""
    resume: bool = False
    """Go on with the run in --out, with the settings it was begun with."""
    extend: int | None = None
    """With --resume: go on to so many epochs in all, more than the run was planned for."""
    stream: bool = False
    """Leave rows in their file and read them part by part, as is done by itself where they do not fit into memory."""
    mesh: str | None = None
    """Devices to train on: data=8, or data=4,model=2; -1 for all that are left (default: one)."""
    processes: tyro.conf.OmitArgPrefixes[ProcessFlags] = field(default_factory=ProcessFlags)
    progress: bool = True
    """Show a progress bar, where the output is a terminal."""
    compile_cache: CacheFlag = field(default_factory=asked_for)

    def defaults(self) -> "Train | None":
        """Those of the run to be gone on with, or of a recipe."""
        if self.resume:
            return Train(TrainConfig.from_json(_out(self.out) / CONFIG))
        return None if self.recipe is None else Train(recipe(self.recipe).config)

    def run(self) -> None:
        """Run the command."""
        from jaxfc.training import runs

        progress = None if self.progress else False
        more = {"progress": progress, "stream": self.stream or None, "mesh": self.together()}
        chosen = None if self.recipe is None else recipe(self.recipe)
        more |= {"recipe": chosen, "minutes": self._minutes(chosen)}
        runs.train(self.config, self.out, resume=self.resume, extend=self.extend, **more)

    def _minutes(self, chosen: Recipe | None) -> float | None:
        """The minutes that the run has; with --epochs in place of a recipe's own, as long as these take."""
        if chosen is None or self.minutes is not None or self.config.epochs != chosen.config.epochs:
            return self.minutes
        return chosen.minutes


def _out(out: Path | None) -> Path:
    if out is None:
        raise ValueError("--resume needs the run folder: add --out RUN")
    return out


@dataclass(frozen=True)
class Search(Plain):
    """Train many networks at once, and find, train and show the best.

    Any setting can be searched. In place of its value write a space: loguniform:1e-4:1e-1, uniform:0.3:0.5,
    integers:1:9, choice:relu,tanh, seeds:5, linspace:0.3:0.5:3, logspace:1e-4:1e-2:5. Widths of hidden layers
    are joined by x: --hidden choice:100,200x100. With no space, learning rate, L2 strength and dropout are
    searched; and with --data cifar10 the defaults are those of a search of ten minutes on two cores.
    """

    candidates: tyro.conf.OmitArgPrefixes[CandidateFlags] = field(default_factory=CandidateFlags)
    how: tyro.conf.OmitArgPrefixes[SearchSettings] = field(default_factory=SearchSettings)
    out: Path | None = None
    """Folder (default: the first free of runs/NAME-search-1, runs/NAME-search-2 …)."""
    resume: bool = False
    """Go on with the search in --out, with the settings it was begun with."""
    study: str | None = None
    """Share the search with other workers, started with the same flags: a file that all of them reach, or a database's
    URL (needs Optuna)."""
    study_name: str = Sharing("").name
    """With --study: the search's name there."""
    lease: float = Sharing("").lease
    """With --study: take a worker for dead that gave no sign of life for so many seconds."""
    mesh: str | None = None
    """Devices that networks are divided among: population=8 (default: all that are alike)."""
    progress: bool = True
    """Show a progress bar, where the output is a terminal."""
    compile_cache: CacheFlag = field(default_factory=asked_for)

    def defaults(self) -> "Search | None":
        """Those of the search to be gone on with; or of a search of photographs, or of a table."""
        if self.resume:
            begun = SearchConfig.from_json(_out(self.out) / SEARCH)
            return Search(*flags_of(begun), study_name=begun.study or self.study_name)
        config = config_of(self.candidates, self.how)
        if config.spaces:
            return None
        if config.train.data == "cifar10":
            return Search(*flags_of(PHOTOGRAPHS))
        return Search(*flags_of(table_search(config.train))) if Path(config.train.data).suffix in TABLES else None

    def run(self) -> None:
        """Run the command."""
        from jaxfc.search import folder

        config = config_of(self.candidates, self.how)
        final = None if config.then_train is None else partial(_changed, config.then_train)
        sharing = None if self.study is None else Sharing(self.study, self.study_name, self.lease)
        how = {
            "resume": self.resume,
            "progress": None if self.progress else False,
            "sharing": sharing,
            "mesh": self.mesh,
        }
        folder.search(config, self.out, final, **how)


def _changed(flags: str, config: TrainConfig) -> TrainConfig:
    """The settings, changed by flags of `train`."""
    from jaxfc.cli import parse

    return parse(TrainConfig, config, shlex.split(flags), prog="--then-train")


@dataclass(frozen=True)
class Evaluate(Plain):
    """Measure a trained model by all metrics of its task, and draw where it errs."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or a model.safetensors."""
    data: str | None = None
    """Other data than the run's: a data set's name, or a .npz or .csv file."""
    data_dir: str | None = None
    """Folder that holds the data set's files."""
    label: str | None = None
    """Label column of a .csv (default: the last); several are joined by commas."""
    weights: str | None = None
    """Column of a .csv, or array of a .npz, with a weight for each example."""
    split: str = "test"
    """train, val or test."""
    tta: int = 0
    """Average predictions over so many augmented copies of each row."""
    mesh: str | None = None
    """Devices that rows are divided among: data=8 (default: one)."""
    processes: tyro.conf.OmitArgPrefixes[ProcessFlags] = field(default_factory=ProcessFlags)
    compile_cache: CacheFlag = field(default_factory=asked_for)

    def run(self) -> None:
        """Run the command."""
        from jaxfc.cli import use

        use.evaluate(**self.arguments(), mesh=self.together())


@dataclass(frozen=True)
class Predict(Plain):
    """Write what a trained model predicts for a file's rows, as CSV: labels and probabilities, or values."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or a model.safetensors."""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A .npy or .npz (x) array, or a .csv with the columns that the model was trained on."""
    out: Path | None = None
    """The file to write (default: FILE with the ending .predictions.csv)."""
    tta: int = 0
    """Average predictions over so many augmented copies of each row."""
    mesh: str | None = None
    """Devices that rows are divided among: data=8 (default: one)."""
    processes: tyro.conf.OmitArgPrefixes[ProcessFlags] = field(default_factory=ProcessFlags)
    progress: bool = True
    """Show a progress bar, where the output is a terminal."""
    compile_cache: CacheFlag = field(default_factory=asked_for)

    def run(self) -> None:
        """Run the command."""
        from jaxfc.cli import use

        use.predict(**self.arguments() | {"progress": None if self.progress else False}, mesh=self.together())


@dataclass(frozen=True)
class Calibrate(Plain):
    """Fit a model's probabilities to rows that it was not trained on, and keep it beside the run's own."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or a model.safetensors."""
    out: Path | None = None
    """The file to write (default: calibrated.safetensors beside the model)."""
    threshold: Literal["f1", "balanced_acc"] | None = None
    """Also choose from which probability on to answer the second of two classes, or a label: the best by this."""
    data: str | None = None
    """Other data than the run's: a data set's name, or a .npz or .csv file."""
    data_dir: str | None = None
    """Folder that holds the data set's files."""
    label: str | None = None
    """Label column of a .csv (default: the last); several are joined by commas."""
    split: str = "val"
    """train, val or test."""
    compile_cache: CacheFlag = field(default_factory=asked_for)

    def run(self) -> None:
        """Run the command."""
        from jaxfc.cli import calibrate

        calibrate.calibrate(**self.arguments())


@dataclass(frozen=True)
class Describe(Plain):
    """Print a trained model's card, in Markdown: what it is, what it was trained on and how, how good it is."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or a model.safetensors."""
    out: Path | None = None
    """A file to write it to."""
    compile_cache: CacheFlag = field(default_factory=asked_for)

    def run(self) -> None:
        """Run the command."""
        from jaxfc.cli import card

        card.describe(**self.arguments())


@dataclass(frozen=True)
class Export(Plain):
    """Write a trained model, preprocessing included, for programs that know nothing of this library."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or a model.safetensors."""
    to: Literal["onnx", "stablehlo", "torch"] = "onnx"
    """onnx for any runtime of it, stablehlo for jax.export, torch for torch.export.load (an FCNet alone)."""
    out: Path | None = None
    """The file to write (default: model.onnx, model.stablehlo or model.pt2 beside the model)."""
    input_dtype: Literal["float32", "uint8"] = "float32"
    """The type of the rows that it takes: uint8 for images as bytes (torch takes any)."""
    compile_cache: CacheFlag = field(default_factory=asked_for)

    def run(self) -> None:
        """Run the command."""
        from jaxfc.cli import export

        export.export(**self.arguments())


@dataclass(frozen=True)
class Inspect(Plain):
    """Show what is in a table before training on it: what each column is, its values, and what it becomes."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A .csv, .parquet or .arrow file."""
    label: str | None = None
    """Label column, by name or index (default: the last); several are joined by commas."""
    column: tuple[str, ...] = ()
    """What columns are: NAME=number, =category, =date, or =skip (default: as recognized)."""
    weights: str | None = None
    """Column with a weight for each example."""
    task: str = "classification"
    """classification, multilabel or regression."""
    compile_cache: CacheFlag = field(default_factory=asked_for)

    def run(self) -> None:
        """Run the command."""
        from jaxfc.data.overview import overview
        from jaxfc.training.config import columns_of

        how = {"label": self.label, "task": self.task, "weights": self.weights}
        print(overview(self.file, columns=columns_of(self.column), **how))


@dataclass(frozen=True)
class Gradcheck(Plain):
    """Compare every layer's hand-written VJP with autodiff and with centred differences, in float64."""

    seed: int = 0
    """Seed of the values drawn."""
    compile_cache: CacheFlag = field(default_factory=asked_for)

    def run(self) -> None:
        """Run the command."""
        from jaxfc import gradcheck

        rows = gradcheck.check_layers(self.seed)
        print(gradcheck.table(rows))
        if not all(row.passed for row in rows):
            sys.exit(1)


@dataclass(frozen=True)
class Plan(Plain):
    """Compile a training or a search for a machine that may not be here: does it fit, how long is a step.

    Flags are those of train; with a flag of search, or a space in place of a value, a search is planned. Nothing is
    trained or written. The exit code is 1 where it does not fit.
    """

    candidates: tyro.conf.OmitArgPrefixes[CandidateFlags] = field(default_factory=CandidateFlags)
    how: tyro.conf.OmitArgPrefixes[SearchSettings] = field(default_factory=SearchSettings)
    recipe: str | None = None
    """Plan a training by these settings, which other flags override: see `jaxfc recipes`."""
    on: str = "this"
    """v5e:1x1 (a TPU chip, Colab's), v5e:16x16 (a pod), other kinds (v4, v5p, v6e) and shapes, h200; or this: JAX's
    default device."""
    mesh: str | None = None
    """The chips along each axis: data=4,model=2 (default: all along data, of a search along population)."""
    rows: int | None = None
    """Plan for so many training rows, whatever the data have."""
    compile_cache: CacheFlag = field(default_factory=asked_for)

    def defaults(self) -> "Plan | None":
        """Those of a recipe."""
        return None if self.recipe is None else Plan(CandidateFlags(**vars(recipe(self.recipe).config)))

    def run(self) -> None:
        """Run the command."""
        from jaxfc.cli import planning

        if not planning.show(config_of(self.candidates, self.how), self.on, self.mesh, self.rows):
            sys.exit(1)


@dataclass(frozen=True)
class Recipes(Plain):
    """Show the recipes of `jaxfc train --recipe NAME`: what each is for, its settings, and what it reached."""

    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = None
    """One of them, with its settings (default: all, a line each)."""
    compile_cache: CacheFlag = field(default_factory=asked_for)

    def run(self) -> None:
        """Run the command."""
        for name in recipes() if self.name is None else [self.name]:
            one = recipe(name)
            print(f"{one.name}: {one.about}")
            for line in one.reached:
                print(f"  reached: {line}")
            if self.name is not None:
                print("\n".join(f"  {key}: {value}" for key, value in one.settings.items()))


Command: Any = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Search, tyro.conf.subcommand("search")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[Calibrate, tyro.conf.subcommand("calibrate")]
    | Annotated[Describe, tyro.conf.subcommand("describe")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Gradcheck, tyro.conf.subcommand("gradcheck")]
    | Annotated[Plan, tyro.conf.subcommand("plan")]
    | Annotated[Recipes, tyro.conf.subcommand("recipes")]
)
