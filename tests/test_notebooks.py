"""Every notebook runs from top to bottom, and was committed with clean outputs."""

import os
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
UNWANTED = re.compile(r"Warning|/root|/home/|/Users/|/tmp|/opt/")


def read(path):
    return nbformat.read(path, as_version=4)


def texts(notebook):
    """What the code cells print and show as text."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield output.get("text", "") + "".join(output.get("data", {}).get("text/plain", ""))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("data", ["digits", "cifar10"])
def test_a_notebook_runs_from_top_to_bottom(path, data, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXFC_NOTEBOOK", "quick")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a notebook's own: pictures in the page
    if data == "digits":
        monkeypatch.delenv("JAXFC_DATA", raising=False)
    elif "JAXFC_DATA" not in os.environ:
        pytest.skip("JAXFC_DATA names no folder with CIFAR-10")
    notebook = read(path)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    assert not [text for text in texts(notebook) if UNWANTED.search(text)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_clean_outputs(path):
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [text for text in texts(notebook) if UNWANTED.search(text)]
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
