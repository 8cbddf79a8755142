"""The `jaxfc` command."""

import contextlib
import io
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NoReturn

import tyro

from jaxfc.config import TrainConfig
from jaxfc.errors import DivergenceError
from jaxfc.runs import CONFIG

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
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Gradcheck, tyro.conf.subcommand("gradcheck")]
)


def main(args: list[str] | None = None) -> None:
    """Run the command line: exit code 2 and one line on stderr for bad input, 1 for a run that diverged."""
    try:
        _parse(sys.argv[1:] if args is None else args).run()
    except DivergenceError as error:
        _fail(error, code=1)
    except (ValueError, TypeError, OSError) as error:
        _fail(error, code=2)
    except KeyboardInterrupt:
        _fail("interrupted", code=130)


def _parse(args: list[str]) -> Train | Evaluate | Predict | Gradcheck:
    """Parse the arguments; the defaults of `train --resume` are the settings that the run was begun with."""
    default = tyro.MISSING
    if args[:1] == ["train"] and "--resume" in args:
        folder = _value(args, "--out")
        if folder is None:
            raise ValueError("--resume needs the run folder: add --out RUN")
        default = Train(config=TrainConfig.from_json(Path(folder) / CONFIG))
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(Command, default=default, args=args, prog="jaxfc", description=DESCRIPTION)
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
