"""What a release says of itself is said once: its address, its version, what Python and JAX it runs on."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = PROJECT["urls"]["Repository"]
CITATION = dict(re.findall(r"^([a-z-]+): (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE))
PAGE = (ROOT / "docs" / "versions.md").read_text()
(JAX,) = (each.removeprefix("jax") for each in PROJECT["dependencies"] if re.match(r"jax[<>=!~]", each))


@pytest.fixture(scope="module")
def pairs():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import pairs
    finally:
        sys.path.pop(0)
    return pairs


def number(version):
    return tuple(map(int, version.split(".")))


def test_the_repository_has_one_address():
    own = re.compile(r"\bgithub(?:\.com)?/([\w.-]+/jaxfc)(?![\w-])")
    named = {}
    for pattern in ("*.md", "*.cff", "*.toml", "*.yml", "docs/**/*.md", "notebooks/*", "jaxfc/**/*.py"):
        for path in ROOT.glob(pattern):
            for found in (
                own.findall(path.read_text()) if path.is_file() and path.suffix not in (".csv", ".npz") else ()
            ):
                named.setdefault(found, set()).add(str(path.relative_to(ROOT)))
    assert set(named) == {ADDRESS.removeprefix("https://github.com/")}, named
    (files,) = named.values()
    assert {"README.md", "SECURITY.md", "CITATION.cff", "docs/index.md"} <= files
    assert len([name for name in files if name.startswith("notebooks/")]) == 10
    assert CITATION["repository-code"] == ADDRESS


def test_the_citation_is_of_this_version_and_the_changelog_has_it():
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]
    released = re.findall(r"^## (\S+) \(.+\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == re.sub(r"\.dev\d+$", "", PROJECT["version"])
    assert released == sorted(set(released), key=number, reverse=True)


def test_the_versions_tried_are_those_asked_for(pairs):
    oldest = re.match(r">=([\d.]+)", JAX)[1]
    wrong = re.findall(r"!=([\d.]+)", JAX)
    assert not {jax for _, jax in pairs.PAIRS} & set(wrong)
    assert min((jax for _, jax in pairs.PAIRS), key=number) == oldest
    pythons = sorted({python for python, _ in pairs.PAIRS}, key=number)
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if ":: 3." in each] == pythons
    for python in pythons:  # with each Python the oldest JAX, and a newer one
        tried = [jax for each, jax in pairs.PAIRS if each == python]
        assert tried[0] == oldest
        assert len(tried) == 2
    for name in (*pairs.TESTS, *pairs.SLICE):
        assert (ROOT / "tests" / f"test_{name}.py").is_file()


def test_the_page_of_versions_has_every_pair_and_what_is_excluded(pairs):
    for pair in pairs.PAIRS:
        assert re.search(rf"^\| {re.escape(' | '.join(pair))} \|.*\bpassed\b", PAGE, re.MULTILINE), pair
    for version in re.findall(r"!=([\d.]+)", JAX):
        assert f"| {version} |" in PAGE


def test_the_public_checks_run_what_a_change_must_pass(pairs):
    workflow = ROOT / ".github" / "workflows" / "ci.yml"
    if not workflow.exists():
        pytest.skip("a source distribution holds none")
    text = workflow.read_text()
    assert re.search(r"^ +- run: \.ci/run$", text, re.MULTILINE)
    assert re.search(r"^permissions:\n  contents: read\n\n", text, re.MULTILINE)
    assert re.findall(r'"(3\.\d+)"', text) == sorted({python for python, _ in pairs.PAIRS}, key=number)
    actions = re.findall(r"uses: (\S+)", text)
    assert actions
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", each) for each in actions)


def test_the_script_says_when_there_is_no_pair():
    """Asked for what it has not, before anything is installed."""
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "pairs.py", "--only", "2.7"], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "no pair to run" in run.stderr or "pip install uv" in run.stderr
