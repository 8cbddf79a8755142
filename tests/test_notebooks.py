"""Every notebook runs from top to bottom, was committed with clean outputs, and says what its text form says."""

import os
import re
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
UNWANTED = re.compile(r"Warning|/root|/home/|/Users/|/tmp|/opt/")
PLACEHOLDER = re.compile(r"\b(TODO|FIXME|TEXT-[A-Z]+)\b")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def runs():
    """Each notebook with digits alone; those that can use CIFAR-10 with it, where it is at hand."""
    for path in NOTEBOOKS:
        wants = any("cifar10" in cell.source.lower() for cell in read(path).cells if cell.cell_type == "code")
        data = "cifar10" if wants and "JAXFC_DATA" in os.environ else "digits"
        yield pytest.param(path, data, id=f"{path.stem}-{data}")


def texts(notebook):
    """What the code cells print and show as text."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield output.get("text", "") + "".join(output.get("data", {}).get("text/plain", ""))


@pytest.mark.parametrize(("path", "data"), list(runs()))
def test_a_notebook_runs_from_top_to_bottom(path, data, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXFC_NOTEBOOK", "quick")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compiling takes most of the time
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a notebook's own: pictures in the page
    if data == "digits":
        monkeypatch.delenv("JAXFC_DATA", raising=False)
    notebook = read(path)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    assert not [text for text in texts(notebook) if UNWANTED.search(text)]


@every_notebook
def test_a_notebook_is_committed_with_clean_outputs(path):
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [text for text in texts(notebook) if UNWANTED.search(text)]
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)


@every_notebook
def test_a_notebook_and_its_text_form_hold_the_same_cells(path):
    """After a change to either: `jupytext --sync notebooks/*.ipynb`."""
    notebook, text = read(path), jupytext.read(path.with_suffix(".py"))
    assert notebook.metadata.get("jupytext", {}).get("formats") == "ipynb,py:percent"
    cells = [(cell.cell_type, cell.source) for cell in notebook.cells]
    assert cells == [(cell.cell_type, cell.source) for cell in text.cells]


@every_notebook
def test_a_notebook_was_written_to_its_end(path):
    assert not [cell.source for cell in read(path).cells if PLACEHOLDER.search(cell.source)]


@every_notebook
def test_a_notebook_begins_by_installing_and_naming_the_devices(path):
    first = next(cell.source for cell in read(path).cells if cell.cell_type == "code")
    assert "%pip install" in first
    assert "jax.devices()" in first
