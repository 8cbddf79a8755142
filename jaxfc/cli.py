"""The `jaxfc` command."""

import contextlib
import io
import re
import shlex
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import tyro

from jaxfc.config import TrainConfig
from jaxfc.errors import DivergenceError
from jaxfc.runs import CONFIG
from jaxfc.search.config import PHOTOGRAPHS, SEARCH, SearchConfig

DESCRIPTION = "Fully-connected networks in pure JAX."


@dataclass(frozen=True)
class Train:
    """Train a network, and keep it, its curves and a checkpoint in a run folder."""

    config: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    out: Path | None = None
    """Run folder (default: the first free of runs/NAME-1, runs/NAME-2 …)."""
    resume: bool = False
    """Go on with the run in --out, with the settings it was begun with."""
    progress: bool = True
    """Show a progress bar, where the output is a terminal."""

    def run(self) -> None:
        """Run the command."""
        from jaxfc import runs

        out = self.out or runs.new_folder(self.config.data)
        runs.train(self.config, out, resume=self.resume, progress=None if self.progress else False)


@dataclass(frozen=True)
class Search:
    """Train many networks at once, and find, train and show the best.

    Any setting can be searched. In place of its value write a space: loguniform:1e-4:1e-1, uniform:0.3:0.5,
    integers:1:9, choice:relu,tanh, seeds:5, linspace:0.3:0.5:3, logspace:1e-4:1e-2:5. Widths of hidden layers
    are joined by x: --hidden choice:100,200x100. With no space, learning rate, L2 strength and dropout are
    searched; and with --data cifar10 the defaults are those of a search of ten minutes on two cores.
    """

    config: tyro.conf.OmitArgPrefixes[SearchConfig] = field(default_factory=SearchConfig)
    out: Path | None = None
    """Folder (default: the first free of runs/NAME-search-1, runs/NAME-search-2 …)."""
    resume: bool = False
    """Go on with the search in --out, with the settings it was begun with."""
    progress: bool = True
    """Show a progress bar, where the output is a terminal."""

    def run(self) -> None:
        """Run the command."""
        from jaxfc import runs
        from jaxfc.search import folder

        flags = self.config.then_train
        final = None if flags is None else partial(_changed, flags)
        out = self.out or runs.new_folder(self.config.train.data, "-search")
        folder.search(self.config, out, final, resume=self.resume, progress=None if self.progress else False)


def _changed(flags: str, config: TrainConfig) -> TrainConfig:
    """The settings, changed by flags of `train`."""
    return _parse_quietly(TrainConfig, config, shlex.split(flags), prog="--then-train")


@dataclass(frozen=True)
class Evaluate:
    """Measure a trained model, class by class, and draw its confusion matrix."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or a model.safetensors."""
    data: str | None = None
    """Other data than the run's: a data set's name, or a .npz or .csv file."""
    data_dir: str | None = None
    """Folder that holds the data set's files."""
    label: str | None = None
    """Label column of a .csv (default: the last)."""
    split: str = "test"
    """train, val or test."""

    def run(self) -> None:
        """Run the command."""
        from jaxfc import runs

        runs.evaluate(self.run_folder, self.data, self.data_dir, self.label, self.split)


@dataclass(frozen=True)
class Predict:
    """Write the labels and probabilities that a trained model gives to a file's rows, as CSV."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or a model.safetensors."""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A .npy or .npz (x) array, or a .csv with the columns that the model was trained on."""
    out: Path | None = None
    """The file to write (default: FILE with the ending .predictions.csv)."""

    def run(self) -> None:
        """Run the command."""
        from jaxfc import runs

        runs.predict(self.run_folder, self.file, self.out)


@dataclass(frozen=True)
class Gradcheck:
    """Compare every layer's hand-written VJP with autodiff and with centred differences, in float64."""

    seed: int = 0
    """Seed of the values drawn."""

    def run(self) -> None:
        """Run the command."""
        from jaxfc import gradcheck

        rows = gradcheck.check_layers(self.seed)
        print(gradcheck.table(rows))
        if not all(row.passed for row in rows):
            sys.exit(1)


Command = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Search, tyro.conf.subcommand("search")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Gradcheck, tyro.conf.subcommand("gradcheck")]
)


def main(args: list[str] | None = None) -> None:
    """Run the command line: exit code 2 and one line on stderr for bad input, 1 for a run that diverged."""
    try:
        _run(sys.argv[1:] if args is None else args)
    except DivergenceError as error:
        _fail(error, code=1)
    except (ValueError, TypeError, OSError) as error:
        _fail(error, code=2)
    except KeyboardInterrupt:
        _fail("interrupted", code=130)


def _run(args: list[str]) -> None:
    """Parse the arguments and run the command; with `--resume`, the defaults are the settings it was begun with."""
    spaces: dict[str, str] = {}
    if args[:1] == ["search"]:
        args, spaces = _take_spaces(args)
    default: Any = tyro.MISSING
    if args[:1] in (["train"], ["search"]) and "--resume" in args:
        folder = _value(args, "--out")
        if folder is None:
            raise ValueError("--resume needs the run folder: add --out RUN")
        if args[0] == "train":
            default = Train(config=TrainConfig.from_json(Path(folder) / CONFIG))
        else:
            default = Search(config=SearchConfig.from_json(Path(folder) / SEARCH))
    elif args[:1] == ["search"] and not spaces and _value(args, "--data") == "cifar10":
        default = Search(config=PHOTOGRAPHS)
    command = _parse_quietly(Command, default, args, prog="jaxfc", description=DESCRIPTION)
    if spaces:
        command = replace(command, config=replace(command.config, spaces=spaces))
    command.run()


NO_SPACES = ("--data", "--data-dir", "--label", "--out", "--then-train")


def _take_spaces(args: list[str]) -> tuple[list[str], dict[str, str]]:
    """Take the flags whose values are spaces out of the arguments."""
    rest: list[str] = []
    spaces: dict[str, str] = {}
    taken = False
    for word, following in zip(args, [*args[1:], ""], strict=True):
        if taken:
            taken = False
            continue
        flag, joined, value = word.partition("=")
        value = value if joined else following
        if word == "--then-train":
            # Joined: its value begins with dashes, as a flag does.
            rest.append(f"{word}={following}")
            taken = True
        elif flag.startswith("--") and flag not in NO_SPACES and re.match("[a-z]+:", value):
            spaces[flag.removeprefix("--").replace("-", "_")] = value
            taken = not joined
        else:
            rest.append(word)
    return rest, spaces


def _parse_quietly(kind: Any, default: Any, args: list[str], **options: str) -> Any:
    """Parse arguments; what is wrong with them becomes a `ValueError` of one line."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, default=default, args=args, **options)
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        raise ValueError(_one_line(errors.getvalue())) from None


def _value(args: list[str], flag: str) -> str | None:
    for arg, following in zip(args, [*args[1:], None], strict=True):
        if arg == flag:
            return following
        if arg.startswith(f"{flag}="):
            return arg.partition("=")[2]
    return None


def _one_line(box: str) -> str:
    """Condense a parser's boxed message into one line: what is wrong, and what was perhaps meant."""
    text = " ".join(re.sub(r"[\u2500-\u257f]", " ", box).split())
    text = re.sub(r"^(Unrecognized options|Value error|Missing subcommand|Parsing error|Required options)\s+", "", text)
    return re.split(r"\s*(?:Argument helptext|For full helptext|Got errors)", text)[0]


def _fail(error: BaseException | str, *, code: int) -> NoReturn:
    message = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        message = f"{error.filename}: {error.strerror}"
    print(f"jaxfc: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
