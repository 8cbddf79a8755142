"""The `jaxfc` command: reading its arguments, and what comes of errors."""

import contextlib
import io
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

from jaxfc.errors import DivergenceError

DESCRIPTION = "Fully-connected networks in pure JAX."


def main(args: list[str] | None = None) -> None:
    """Run the command line: exit code 2 and one line on stderr for bad input, 1 for a run that diverged."""
    try:
        with _warnings_of_one_line():
            _run(sys.argv[1:] if args is None else args)
    except DivergenceError as error:
        _fail(error, code=1)
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        _fail(error, code=2)
    except KeyboardInterrupt:
        _fail("interrupted", code=130)


@contextlib.contextmanager
def _warnings_of_one_line() -> Iterator[None]:
    """Print warnings as the command's own errors are: without the place in the code that they come from."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"jaxfc: {' '.join(str(message).split())}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def _run(args: list[str]) -> None:
    """Parse the arguments and run the command.

    Some commands say themselves what their defaults are (those of the run to be gone on with, say): then the
    arguments are parsed once more, with these.
    """
    import tyro

    from jaxfc.cli.commands import Command

    options = {"prog": "jaxfc", "description": DESCRIPTION}
    command = parse(Command, tyro.MISSING, args, **options)
    default = command.defaults()
    if default is not None:
        command = parse(Command, default, args, **options)
    with _compilation_cache(command.compile_cache) as cache:
        command.run()
    if cache is not None:
        print(cache)


def _compilation_cache(flag: str) -> contextlib.AbstractContextManager[Any]:
    """The cache that `--compile-cache` asks for; where it cannot be had, a line says so, and a run goes on without."""
    from jaxfc.cli.flags import OFF, ON

    if flag == OFF:
        return contextlib.nullcontext()
    from jaxfc.compilation import compilation_cache

    try:
        return compilation_cache(None if flag == ON else flag)
    except OSError as error:
        print(f"jaxfc: no compilation cache: {' '.join(str(error).split())}", file=sys.stderr)
        return contextlib.nullcontext()


def parse(kind: Any, default: Any, args: list[str], **options: str) -> Any:
    """Parse arguments; what is wrong with them becomes a `ValueError` of one line."""
    import tyro

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, default=default, args=args, **options)
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        raise ValueError(_one_line(errors.getvalue())) from None


def _one_line(box: str) -> str:
    """Condense a parser's boxed message into one line: what is wrong, and what was perhaps meant."""
    text = " ".join(re.sub(r"[\u2500-\u257f]", " ", box).split())
    text = re.sub(
        r"^(Unrecognized options|Value error|Missing (?:subcommand|argument)|Parsing error|Required options)\s+",
        "",
        text,
    )
    text = re.split(r"\s*(?:Argument helptext|For full helptext|Got errors)", text)[0]
    text = re.sub(r" Perhaps you meant:.*?(--[\w-]+).*", r": did you mean \1?", text)
    return f'{text} Join flags to it: --then-train="--epochs 5"' if "'--then-train'" in text else text


def _fail(error: BaseException | str, *, code: int) -> NoReturn:
    message = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        message = f"{error.filename}: {error.strerror}"
    print(f"jaxfc: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
