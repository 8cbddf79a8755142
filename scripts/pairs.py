"""Run the tests with the oldest and the newest JAX that each Python has: `python scripts/pairs.py`.

Each pair gets an environment of its own, made and thrown away by uv (`pip install uv`), in which the library and what
its tests need are installed as `pip install` would. A pair whose Python is not on this machine is left out.

    python scripts/pairs.py                         every pair, for minutes each; ends with a table in Markdown
    python scripts/pairs.py --slice                 the oldest and the newest pair, and of the tests a few
    python scripts/pairs.py --only 3.12 0.8.1       pairs of these Pythons and versions of JAX alone
"""

import argparse
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
# The oldest JAX that works and the newest that there is, for each Python; the oldest pair first, the newest last.
PAIRS = (
    ("3.11", "0.8.1"),
    ("3.11", "0.10.1"),
    ("3.12", "0.8.1"),
    ("3.12", "0.12.0.1"),
    ("3.13", "0.8.1"),
    ("3.13", "0.12.0.1"),
)
# What JAX's versions may change: layers and their gradients, compiled programs, random bits, files, the face.
TESTS = (
    "ahead", "checkpoint", "compilation", "cs231n_layers", "fit", "gradcheck", "layers", "losses",
    "metrics", "model", "networks", "optim", "padded", "products", "resume", "right_numbers", "search_candidates",
    "step", "tasks", "threefry",
)  # fmt: skip
SLICE = ("optim_schedules", "threefry")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--slice", action="store_true", help="the oldest and the newest pair, and a few tests")
    arguments.add_argument(
        "--only", nargs="+", default=[], metavar="VERSION", help="pairs of these Pythons or JAX alone"
    )
    options = arguments.parse_args()
    there = [pair for pair in PAIRS if python(pair[0]) and (not options.only or set(pair) <= set(options.only))]
    for version in sorted({version for version, _ in PAIRS if not python(version)}):
        print(f"Python {version} is not on this machine: its pairs are left out", flush=True)
    if options.slice:
        there = there[:1] + there[-1:] if len(there) > 1 else there
    if not there:
        sys.exit("pairs: no pair to run; see PAIRS in scripts/pairs.py")
    tests = [f"tests/test_{name}.py" for name in (SLICE if options.slice else TESTS)]
    rows = [(*pair, *run(*pair, tests, 0 if options.slice else 2)) for pair in there]
    print("\n| Python | JAX | NumPy | tests | seconds |\n|---|---|---|---|---|")
    for row in rows:
        print("|", " | ".join(row), "|")
    return int(any("failed" in row[3] or "error" in row[3] for row in rows))


@functools.cache
def python(version: str) -> str | None:
    """The interpreter of that version on this machine, pyenv's or what uv finds; none is downloaded."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    if kept:
        return str(kept[-1])
    command = [uv(), "python", "find", "--no-python-downloads", "--no-project", "--system", version]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else None


def run(version: str, jax: str, tests: list[str], processes: int) -> tuple[str, str, str]:
    """NumPy's version, what pytest says in its last line, and the seconds that all took, installing too."""
    start = time.monotonic()
    print(f"Python {version}, JAX {jax}", flush=True)
    with tempfile.TemporaryDirectory(prefix="jaxfc-pair-") as folder:
        environment = Path(folder) / "venv"
        inside = environment / "bin" / "python"
        for command in (
            [uv(), "venv", "--quiet", "--python", python(version), environment],
            [uv(), "pip", "install", "--quiet", "--python", inside, "--editable", f"{ROOT}[test]", f"jax=={jax}"],
        ):
            subprocess.run(command, check=True, env=clean())
        numbers = subprocess.run(
            [inside, "-c", "import numpy; print(numpy.__version__)"], check=True, capture_output=True, text=True
        ).stdout.strip()
        # The first command, then the tests.
        subprocess.run([environment / "bin" / "jaxfc", "train", "--epochs", "2"], cwd=folder, check=True, env=clean())
        output = ""
        with subprocess.Popen(
            [inside, "-m", "pytest", "-p", "no:cacheprovider", f"--numprocesses={processes}", *tests],
            cwd=ROOT, env=clean(), stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            for line in process.stdout:
                print(line, end="", flush=True)
                output = line.strip() or output
        if process.returncode and not re.search("failed|error", output):
            output += f" failed: exit code {process.returncode}"
    return numbers, output.strip("= "), f"{time.monotonic() - start:.0f}"


def clean() -> dict[str, str]:
    """The environment without what would show other packages to a Python that is not this one."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {"JAX_PLATFORMS": "cpu", "MPLBACKEND": "agg"} | {k: v for k, v in os.environ.items() if k not in hidden}


def uv() -> str:
    return shutil.which("uv") or sys.exit("pairs: uv makes the environments: pip install uv")


if __name__ == "__main__":
    sys.exit(main())
