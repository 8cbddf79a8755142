"""An mkdocs hook: puts the command's own help where a page says `<!-- help: COMMAND -->`, so that it is never stale."""

import contextlib
import io
import os
import re
from typing import Any
from unittest import mock

MARKER = re.compile(r"<!-- help: (.*?) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every marker of a page."""
    return MARKER.sub(lambda marker: f"```text\n{help_text(marker[1])}\n```", markdown)


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
