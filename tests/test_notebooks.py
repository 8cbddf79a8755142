"""The notebooks run from top to bottom, and what is committed of their outputs is presentable."""

import os
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
UNWANTED = re.compile(r"warning|(?<![\w.:/])/(root|home|opt|tmp|Users|work)\b", re.IGNORECASE)

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def texts(notebook):
    """All text that a reader sees in outputs."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from output.get("traceback", [])
            yield from (text for kind, text in output.get("data", {}).items() if kind.startswith("text/"))


def check_outputs(notebook):
    assert all(output.output_type != "error" for cell in notebook.cells for output in cell.get("outputs", []))
    shown = "\n".join(texts(notebook))
    assert shown.strip()
    assert not UNWANTED.search(shown), UNWANTED.search(shown)
    return shown


@pytest.mark.parametrize("data", ["digits", "CIFAR-10"])
def test_it_runs(path, data, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    if data == "digits":
        monkeypatch.delenv("JAXFC_DATA", raising=False)
    elif not os.environ.get("JAXFC_DATA"):
        pytest.skip("JAXFC_DATA names no folder with CIFAR-10")
    monkeypatch.setenv("JAXFC_NOTEBOOK", "quick")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    shown = check_outputs(notebook)
    assert f"Data: {data}," in shown
    assert str(tmp_path) not in shown


def test_the_committed_outputs_are_there_and_presentable(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1))
    assert "Data: CIFAR-10," in check_outputs(notebook)
    assert path.stat().st_size < 1.5e6
