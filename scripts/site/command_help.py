"""A Markdown extension: puts a command's own help where a page says `<!-- help: COMMAND -->`, never a stale one."""

import contextlib
import io
import os
import re
from unittest import mock

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor

MARKER = re.compile(r"<!-- help: (.*?) -->")
BEFORE_FENCES = 30  # those of pymdownx.superfences have 25


class CommandHelp(Extension):
    """Replaces every marker of a page."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Come before blocks of code are read."""
        md.preprocessors.register(_Markers(md), "command_help", BEFORE_FENCES)


class _Markers(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        text = MARKER.sub(lambda marker: f"```text\n{help_text(marker[1])}\n```", "\n".join(lines))
        return text.split("\n")


def help_text(command: str) -> str:
    """What `jaxfc COMMAND --help` prints on a terminal 82 columns wide."""
    from jaxfc.cli import main

    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "82", "NO_COLOR": "1"}),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        main([*command.split(), "--help"])
    return printed.getvalue().strip()


def makeExtension(**options: object) -> CommandHelp:
    """What Markdown calls to get the extension."""
    return CommandHelp(**options)
