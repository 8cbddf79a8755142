"""The README's Python blocks, run as they stand, and its commands, read as the command line reads them."""

import re
import shlex
from pathlib import Path

import pytest
import tyro

from jaxfc import cli
from jaxfc.cli.commands import Command

pytestmark = pytest.mark.usefixtures("promotion")  # a page's reader has not set JAX's switches

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
SHELL = "".join(re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)).replace("\\\n", " ")
COMMANDS = [line.removeprefix("jaxfc ") for line in SHELL.splitlines() if line.startswith("jaxfc ")]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs(block, capsys):
    exec(compile(block, "README.md", "exec"), {})
    assert float(capsys.readouterr().out.split()[-1]) > 0


@pytest.mark.parametrize("command", [each for each in COMMANDS if "--help" not in each])
def test_a_command_has_flags_that_there_are(command):
    read = cli.parse(Command, tyro.MISSING, shlex.split(command, comments=True))
    if isinstance(read, cli.commands.Train):
        assert read.config.problem().rank
    if isinstance(read, cli.commands.Search):
        assert cli.flags.config_of(read.candidates, read.how).candidates()
