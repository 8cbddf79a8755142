"""The documentation: every block of its pages runs, every public name has an example, and the site builds."""

import contextlib
import doctest
import importlib
import inspect
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_data_cifar10 import BATCHES, batch_contents, meta_contents, python2_pickle
from test_data_idx import arrays, write

import jaxfc
from jaxfc import cli

pytestmark = pytest.mark.usefixtures("promotion")  # a page's reader has not set JAX's switches

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [str(page.relative_to(DOCS)) for page in sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PEERS = ("torch", "sklearn", "flax")


def blocks(page: str) -> list[tuple[str, str, int]]:
    """The language, the text and the line of each code block."""
    text = (DOCS / page).read_text()
    return [(match[1], match[2], text.count("\n", 0, match.start()) + 2) for match in FENCE.finditer(text)]


PAGES_WITH_CODE = [page for page in PAGES if blocks(page)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to run in, and JAX's settings as they were afterwards."""
    monkeypatch.chdir(tmp_path)
    x64 = jax.config.jax_enable_x64
    yield tmp_path
    jax.config.update("jax_enable_x64", x64)


@pytest.mark.parametrize("page", PAGES_WITH_CODE)
def test_every_block_of_a_page_runs_and_prints_what_the_page_says(page, folder):
    names: dict = {"__name__": "page"}
    lacking, printed = set(), None
    for language, text, line in blocks(page):
        if language == "python":
            peers = {peer for peer in PEERS if re.search(rf"^(import|from) {peer}\b", text, re.MULTILINE)}
            lacking |= {peer for peer in peers if importlib.util.find_spec(peer) is None}
            if lacking and page == "howto/pytorch.md":  # all that follows builds on PyTorch
                break
            printed = None if lacking & peers else run_python(text, names, f"{page}, line {line}")
        elif language == "sh":
            run_commands(text)
            printed = None
        elif language == "text" and printed is not None:
            assert matches(text, printed), f"{page}, line {line}: {printed}"
        else:
            assert language == "text", f"{page}, line {line}: a block of {language} is not tested"
    if lacking:
        pytest.skip(f"without {', '.join(sorted(lacking))}; the other blocks ran")


def run_python(text: str, names: dict, where: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, where, "exec"), names)
    return printed.getvalue()


def run_commands(text: str) -> None:
    """Run the lines that call the command; others, such as pip's, are not this project's to test."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("jaxfc "):
            cli.main(shlex.split(line, comments=True)[1:])


def matches(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed; `…` stands for anything within a line."""
    return re.fullmatch(".*".join(map(re.escape, shown.split("…"))), printed) is not None


def test_a_wrong_output_on_a_page_is_noticed():
    assert matches("(7,)\naccuracy: 0.9…\n", "(7,)\naccuracy: 0.97\n")
    assert not matches("(7,)\naccuracy: 0.9…\n", "(7,)\naccuracy: 0.87\n")
    assert not matches("(7,)\naccuracy: 0.9…\n", "(7,)\naccuracy: 0.97\n(8,)\n")


# ---------------------------------------------------------------------------------------------------
# The site
# ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("zensical")
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("latex2mathml")
    folder = tmp_path_factory.mktemp("site")  # the generator writes beside its settings
    shutil.copy(ROOT / "mkdocs.yml", folder)
    for part in ("docs", "jaxfc", "scripts"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    build = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=folder,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    assert "No issues found" in build.stdout + build.stderr
    return folder / "site"


def test_the_site_leads_to_every_page():
    menu = (ROOT / "mkdocs.yml").read_text()
    assert not [page for page in PAGES if not re.search(rf"[:-] {re.escape(page)}$", menu, re.MULTILINE)]


def test_the_site_builds_without_a_warning_and_fetches_nothing_to_be_read(site):
    pages = {page: page.read_text() for page in site.rglob("*.html")}
    assert len(pages) > len(PAGES)  # and the one for what there is not
    for page, text in pages.items():
        loaded = re.findall(
            r'<(?:script|img|link rel="(?:stylesheet|preconnect)")[^>]*?(?:src|href)="?(https?:[^" ]*)', text
        )
        assert not loaded, f"{page} loads {loaded}"
        assert "fonts.g" not in text
    layers = pages[site / "reference/layers/index.html"]
    assert layers.count("<math") > 80
    assert "arithmatex" not in layers
    assert "&lt;math" not in layers
    for name in ("linear.affine", "normalization.batchnorm", "classification.softmax_loss"):
        assert f'id="jaxfc.layers.{name}"' in layers  # made by `differentiable`, no def statement


def test_the_command_line_page_has_every_flag(site):
    page = (site / "reference/cli/index.html").read_text()
    for name in inspect.signature(jaxfc.TrainConfig).parameters:
        assert f"--{name.replace('_', '-')}" in page


# ---------------------------------------------------------------------------------------------------
# Docstrings
# ---------------------------------------------------------------------------------------------------


def referenced_modules() -> list[ModuleType]:
    """The modules that the reference has a page or a section for."""
    pages = "\n".join((DOCS / page).read_text() for page in PAGES)
    names = dict.fromkeys(re.findall(r"^::: (jaxfc[a-z0-9_.]*)$", pages, re.MULTILINE))
    return [importlib.import_module(name) for name in names]


def public_names() -> dict[str, object]:
    """Every public function, class and update rule of those modules and of `jaxfc` itself, once, by its full name."""
    names = {f"jaxfc.{name}": getattr(jaxfc, name) for name in jaxfc.__all__}
    for module in referenced_modules():
        own = getattr(module, "__all__", None) or [name for name in vars(module) if is_own(name, module)]
        names |= {f"{module.__name__}.{name}": getattr(module, name) for name in own}
    once = {}
    for name, value in names.items():
        if callable(value) and getattr(value, "__module__", "").startswith("jaxfc"):  # no alias of an annotation
            once.setdefault(id(value), (name, value))
    return dict(once.values())


def is_own(name: str, module: ModuleType) -> bool:
    """Whether a module without `__all__` defines this name, and not merely imports it."""
    return not name.startswith("_") and getattr(getattr(module, name), "__module__", None) == module.__name__


NAMES = public_names()


# What the command line and the pages of other modules stand for.
INTERNAL = {"cli", "console"}
INCLUDED = {  # a module, and the page that has a section for it
    "description": "reference/networks",
    "objective": "reference/tasks",
    "compilation": "howto/compilation-cache",
}


def test_the_reference_has_every_package_and_public_module():
    modules = {path.stem for path in (ROOT / "jaxfc").glob("[a-z]*.py")}
    packages = {path.parent.name for path in (ROOT / "jaxfc").glob("*/__init__.py")}
    pages = {path.stem for path in (DOCS / "reference").glob("*.md")}
    assert (modules | packages) - INTERNAL - INCLUDED.keys() <= pages
    for module, page in INCLUDED.items():
        assert f"::: jaxfc.{module}\n" in (DOCS / f"{page}.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_a_docstring_with_an_example(name):
    text = inspect.getdoc(NAMES[name]) or ""
    assert len(text) > 20, f"{name} has no docstring"
    if inspect.isclass(NAMES[name]):  # an example may stand in a method
        text += "".join(member.__doc__ or "" for member in vars(NAMES[name]).values() if inspect.isfunction(member))
    assert ">>> " in text, f"{name} has no example"


@pytest.fixture
def small_data_sets(tmp_path, monkeypatch):
    """CIFAR-10 and MNIST in the official layout, cut down to a few rows."""
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    for seed, batch in enumerate(BATCHES):
        (batches / batch).write_bytes(python2_pickle(batch_contents(seed)))
    (batches / "batches.meta").write_bytes(python2_pickle(meta_contents()))
    for name in ("mnist", "fashion-mnist"):
        write(tmp_path / name, arrays())
    monkeypatch.setenv("JAXFC_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def not_run_by_pytest(name: str) -> bool:
    """Doctest looks at functions and classes only, and leaves out what needs a downloaded data set."""
    value = NAMES[name]
    return isinstance(value, jaxfc.optim.Rule) or "# doctest: +SKIP" in (inspect.getdoc(value) or "")


@pytest.mark.parametrize("name", list(filter(not_run_by_pytest, NAMES)))
def test_the_examples_that_pytest_does_not_run_do_run(name, small_data_sets):
    text = inspect.getdoc(NAMES[name]).replace("# doctest: +SKIP", "")
    names = dict(vars(sys.modules[name.rpartition(".")[0]])) | {"np": np, "jax": jax, "jnp": jnp}
    example = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    assert example.examples
    report = io.StringIO()
    result = doctest.DocTestRunner().run(example, out=report.write)
    assert not result.failed, report.getvalue()
