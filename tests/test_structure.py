"""The house: imports run one way, files are short, and what is heavy is imported where it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import jaxfc

ROOT = Path(jaxfc.__file__).parent
# Each room may import those before it.
ORDER = (
    "errors", "memory", "layers", "calibration", "metrics", "optim", "description",
    "data", "networks", "tasks", "objective",
    "parallel", "console",
    "artifacts", "compilation", "gradcheck", "plots", "training", "search", "planning", "sklearn", "cli",
)  # fmt: skip


def imports():
    """Each file of the package, its room, and the rooms it imports."""
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        rooms = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "jaxfc":
                rooms |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxfc."):
                rooms.add(node.module.split(".")[1])
        yield path, room, rooms - {room}


def test_imports_run_one_way():
    for path, room, rooms in imports():
        if room in ("__init__", "cs231n"):  # the door, and the assignment's face: they may look everywhere
            continue
        assert room in ORDER, f"{path}: give the room {room} a place in ORDER"
        later = {each for each in rooms & set(ORDER) if ORDER.index(each) > ORDER.index(room)}
        # For annotations alone, a picture knows what it draws.
        assert later <= ({"training"} if room == "plots" else set()), f"{path} imports {sorted(later)}"
        assert "cs231n" not in rooms, path


def test_no_file_is_long():
    for folder in (ROOT, Path(__file__).parent):
        for path in folder.rglob("*.py"):
            lines = len(path.read_text().splitlines())
            assert lines <= 400 or path.name in LONG, f"{path} has {lines} lines: what are its two purposes?"


LONG = {"test_cs231n_layers.py", "test_cs231n_solver.py"}  # the assignment's cells, one after another


def test_importing_the_library_imports_nothing_heavy():
    heavy = ("matplotlib", "tyro", "optuna", "pooch", "tqdm", "sklearn", "torch", "optax", "flax", "equinox", "chex")
    code = f"import sys, jaxfc; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
