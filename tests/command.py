"""The command line as tests call it."""

import re

from jaxfc import cli


def jaxfc(capfd, *args):
    """Run a command; return its exit code, and the lines it wrote to stdout and stderr."""
    code = 0
    try:
        cli.main([str(arg) for arg in args])
    except SystemExit as stop:
        code = stop.code or 0
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def fails(capfd, *args, code=2):
    """Run a command that must fail with one line on stderr, and return that line."""
    got, _, err = jaxfc(capfd, *args)
    assert got == code, err
    assert len(err) == 1, err
    assert err[0].startswith("jaxfc: ")
    return err[0]


def value(lines, name):
    (found,) = [line for line in lines if re.fullmatch(rf"{name}: 0\.\d{{4}}|{name}: 1\.0000", line)]
    return float(found.split()[1])
