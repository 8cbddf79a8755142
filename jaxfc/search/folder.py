"""A search and its folder: what `jaxfc search` does.

The folder holds `search.json` (the settings), `checkpoint.safetensors` (everything needed to go on),
`trials.csv`, the best model as `model.safetensors` with its `config.json` (so that it can be evaluated
and used as the folder of a training run can), the ensemble, the final training in `final/`, pictures,
and `report.html` with all of it. Workers that share a search may share its folder; the best candidates' parameters are
then in `kept/`, each written by the worker that trained it.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from jaxfc import metrics, plots
from jaxfc.artifacts import checkpoint, folders
from jaxfc.artifacts.files import write_atomically
from jaxfc.artifacts.model import Model
from jaxfc.artifacts.predictor import Predictor
from jaxfc.errors import DivergenceError
from jaxfc.parallel import MeshSpec, spelled
from jaxfc.search import pictures, report, shared
from jaxfc.search.config import SEARCH, SearchConfig
from jaxfc.search.ledger import Sharing
from jaxfc.search.loop import Layout, carry_out, lay_out
from jaxfc.search.spaces import spell_value
from jaxfc.search.trials import SearchResult, ranked
from jaxfc.training import runs
from jaxfc.training.config import TrainConfig

TRIALS, REPORT, FINAL, KEPT = "trials.csv", "report.html", "final", "kept"
PICTURES = ("settings", "scatter", "curves", "confusion", "weights")
FILES = (
    *(SEARCH, runs.CHECKPOINT, TRIALS, runs.CONFIG, runs.MODEL, runs.ENSEMBLE, REPORT),
    *(f"{name}.png" for name in PICTURES),
)


def search(
    config: SearchConfig,
    out: Path | None = None,
    final: Callable[[TrainConfig], TrainConfig] | None = None,
    *,
    resume: bool = False,
    progress: bool | None = None,
    sharing: Sharing | None = None,
    mesh: MeshSpec | None = None,
) -> SearchResult:
    """Search as `config` says, and write the folder.

    Args:
        config: the settings.
        out: the folder; made if it is not there. By default the first free of `runs/NAME-search-1` ….
        final: what `config.then_train` makes of the best candidate's settings, for the final training.
        resume: go on with the search in the folder. The settings must be those it was begun with.
        progress: see `jaxfc.search.run`.
        sharing: be one of the workers of a search that others do too. Workers may share the folder; by default it is
            `runs/NAME`, by the study's name.
        mesh: likewise.

    Raises:
        FileExistsError: the folder holds something, and `resume` is False.
        ValueError: settings that cannot be used; or, on resuming, others than the search's, or no checkpoint.
        OSError: data or folder cannot be read or written, or another process writes the folder.
        DivergenceError: every candidate failed.
    """
    if resume and out is None:
        raise ValueError("resume=True goes on with a search: say in which folder")
    runs.allow_float64(config.train)
    data = runs.load_data(config.train)
    if config.ensemble < 1:
        raise ValueError(f"ensemble={config.ensemble} must be at least 1")
    key = config.train.splitting().key
    if config.folds > 1 and key:
        raise ValueError(
            f"folds={config.folds} are drawn at random, and rows are split by {key!r}: leave one of them out"
        )
    runs.check_copies(config.train)
    candidates = config.candidates()
    if config.greedy and (config.folds > 1 or sharing is not None):
        raise ValueError("greedy=True compares all candidates' predictions: leave out --folds, --study, or --greedy")
    keep = len(candidates) if config.greedy else config.ensemble
    options = {"method": config.how(), "folds": config.folds, "keep": keep, "chunk": config.chunk}
    options |= {"pad": config.pad, "mesh": mesh}
    # Whatever is wrong with the settings is said before the folder is made.
    layout = lay_out(data, config.train, candidates, **options)
    if final is not None:
        runs.check(final(replace(config.train, **candidates[0])), data)
    if sharing is not None:
        shared.check(sharing, options["method"])
        return _work_in(out, replace(config, study=sharing.name), layout, final, progress, sharing)
    with _opened(out, config, resume) as out:
        return _search_in(out, config, layout, final, progress)


def _search_in(
    out: Path,
    config: SearchConfig,
    layout: Layout,
    final: Callable[[TrainConfig], TrainConfig] | None,
    progress: bool | None,
) -> SearchResult:
    """Search, and write what comes of it to a folder that is held."""
    _print_head(config, layout)
    # A checkpoint is there only if the folder's own search wrote it.
    found = carry_out(layout, progress=progress, checkpoint=out / runs.CHECKPOINT, resume=True)
    write_atomically(out / TRIALS, report.trials_csv(found.trials))
    if found.interrupted:
        print(f"interrupted; to go on: jaxfc search --resume --out {out}")
        return found
    return _conclude(out, config, found, final, progress)


def _work_in(
    out: Path | None,
    config: SearchConfig,
    layout: Layout,
    final: Callable[[TrainConfig], TrainConfig] | None,
    progress: bool | None,
    sharing: Sharing,
) -> SearchResult:
    """Be one of a search's workers; the first to see its end writes what comes of it to the folder."""
    out = Path("runs", sharing.name) if out is None else out
    _join(out, config)
    _print_head(config, layout)
    found = shared.carry_out(layout, sharing, out / KEPT, progress=progress)
    if found.interrupted:
        print("interrupted: other workers may go on; to be one again: the same command")
        return found
    with folders.held(out, FILES, wait=None):
        if (out / REPORT).exists() and (out / runs.MODEL).exists():  # another worker was here first
            _print_best(found)
            _print_end(out, found)
            return found
        write_atomically(out / TRIALS, report.trials_csv(found.trials))
        needed = ranked(found.trials)[: config.ensemble] if final is None or config.ensemble > 1 else []
        if elsewhere := [f"trial-{t.number}.safetensors" for t in needed if t.number not in found.kept]:
            _print_best(found)
            _write_report(out, config, found, None, {})
            print(f"report: {out / REPORT}; for the model, put what other workers have in their own folders into "
                  f"{out / KEPT} ({', '.join(elsewhere)}), and give the command again")  # fmt: skip
            return found
        return _conclude(out, config, found, final, progress)


def _join(out: Path, config: SearchConfig) -> None:
    """Make a folder that workers share, or find it."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file: name another --out")
    out.mkdir(parents=True, exist_ok=True)
    with folders.held(out, FILES, wait=60):
        if (out / SEARCH).exists():
            _check_same(out, config)
        elif any(path.name != folders.LOCK for path in out.iterdir()):
            raise FileExistsError(f"{out} is not empty: name another --out")
        else:
            write_atomically(out / SEARCH, config.to_json())


def _print_head(config: SearchConfig, layout: Layout) -> None:
    """Say what is going to be done, and where."""
    data, candidates = layout.data, layout.trials
    print(f"device: {', '.join(f'{d.platform} ({d.device_kind})' for d in jax.devices())}")
    if layout.mesh.size > 1:
        print(f"mesh: {spelled(layout.mesh)}")
    print(f"data: {data.name}, {len(data.x_train)} training, {len(data.x_val)} validation rows")
    where = "" if config.study is None else f", shared as {config.study!r}"
    print(
        f"search: {len(candidates)} candidates, {config.method}, up to {config.train.epochs} epochs{where}", flush=True
    )


def _conclude(
    out: Path,
    config: SearchConfig,
    found: SearchResult,
    final: Callable[[TrainConfig], TrainConfig] | None,
    progress: bool | None,
) -> SearchResult:
    """Write what came of a search that is complete to a folder that is held."""
    if not ranked(found.trials):
        _write_report(out, config, found, None, {})
        raise DivergenceError(
            f"all {len(found.trials)} candidates failed: lower the learning rates ({out / REPORT} lists them)"
        )
    _print_best(found)
    model = _best_model(out, found, final, progress)
    if model is None:
        where = "" if config.study is None else " with its --study"
        print(f"interrupted; to go on: jaxfc search --resume --out {out}{where}")
        return found
    data = found.data
    measured = dict(runs.final_measures(model, data, copies=config.train.tta))
    lines = {} if final else measured  # a final training has printed its own
    if config.ensemble > 1:
        ensemble = (found.selection if config.greedy else found.ensemble)(config.ensemble)
        ensemble.save(out / runs.ENSEMBLE)
        joined = dict(runs.final_measures(ensemble, data, copies=config.train.tta, prefix="ensemble_"))
        lines, measured = lines | joined, measured | joined
    for name, value in lines.items():
        print(f"{name}: {value:.4f}")
    _write_report(out, config, found, model, measured)
    _print_end(out, found)
    return found


@contextmanager
def _opened(out: Path | None, config: SearchConfig, resume: bool) -> Iterator[Path]:
    """The search's folder, held, with the settings in it."""
    if resume:
        _check_same(out, config)
        with folders.held(out, FILES):
            folders.check_whole(out, runs.MODEL, runs.CHECKPOINT)
            yield out
        return
    out = folders.first_free(Path(config.train.data).stem + "-search") if out is None else out
    with folders.begun(out, "search", FILES):
        write_atomically(out / SEARCH, config.to_json())
        yield out


def fingerprint_of(folder: Path) -> str | None:
    """The fingerprint of the data that the model in a folder was trained on, be it a run's or a search's.

    None where no checkpoint is left, or one of version 0.1, which does not say.

    >>> fingerprint_of(Path("absent")) is None
    True
    """
    final = folder / FINAL / runs.CHECKPOINT
    about = checkpoint.metadata(final if final.exists() else folder / runs.CHECKPOINT)
    try:
        if "run" in about:
            found = json.loads(about["run"])["data"]["fingerprint"]
        else:
            found = json.loads(about["search"])["data"][-1]
    except (ValueError, TypeError, LookupError):
        return None
    return found if isinstance(found, str) else None


def _check_same(out: Path, config: SearchConfig) -> None:
    """Raise unless a folder's search has these settings."""
    begun = SearchConfig.from_json(out / SEARCH)
    if begun.study != config.study and begun.study is not None:
        raise ValueError(f"{out} is of a search that workers share as {begun.study!r}: name its --study to be one")
    if begun != config:
        names = [f.name for f in dataclasses.fields(config) if getattr(begun, f.name) != getattr(config, f.name)]
        raise ValueError(
            f"{out} was begun with other settings ({names[0]}): give none to resume, or start a new search in "
            "another --out"
        )


def _print_end(out: Path, found: SearchResult) -> None:
    print(f"report: {out / REPORT}")
    print(runs.what_next(out, found.data))


def _print_best(found: SearchResult) -> None:
    counts = ", ".join(
        f"{sum(t.status == s for t in found.trials)} {s}" for s in dict.fromkeys(t.status for t in found.trials)
    )
    print(f"{len(found.trials)} candidates ({counts}); {found.programs} programs compiled for {found.groups} group(s)")
    for trial in ranked(found.trials)[:5]:
        settings = ", ".join(f"{name} {spell_value(value, 5)}" for name, value in trial.settings.items())
        print(f"  trial {trial.number}: {trial.score:.4f} after epoch {trial.best_epoch} ({settings})")
    print(f"best_val: {found.best.score:.4f}", flush=True)


def _best_model(
    out: Path, found: SearchResult, final: Callable[[TrainConfig], TrainConfig] | None, progress: bool | None
) -> Predictor | None:
    """The model that the search ends with: trained anew, or the best candidate's, or that of all its folds.

    None if its training was interrupted.
    """
    config = found.best.config
    if final is not None:
        config = final(replace(config, num_train=None))
        folder = out / FINAL
        print(f"final training: {folder}", flush=True)
        resume = (folder / runs.CONFIG).exists()
        result = runs.train(config, folder, resume=resume, progress=progress, hints=False)
        if result.stopped == "interrupted":
            return None
        model: Predictor = result.model(runs.load_data(config))
    elif len(found.kept[found.best.number]) > 1:
        model = found.ensemble(1)
    else:
        model = found.model()
    write_atomically(out / runs.CONFIG, config.to_json())
    model.save(out / runs.MODEL)
    return model


def _write_report(
    out: Path, config: SearchConfig, found: SearchResult, model: Predictor | None, measured: Mapping[str, float]
) -> None:
    """Draw the pictures, and put everything on one page."""
    data, trials = found.data, found.trials
    title = found.blueprints[0].task.metrics[trials[0].metric].title
    figures = {}
    if ranked(trials):
        figures[f"Settings and {title}, candidate by candidate"] = (
            "settings",
            pictures.parallel_coordinates(trials, title),
        )
        figures[f"{title[:1].upper()}{title[1:]} by setting"] = "scatter", pictures.scatter(trials, title)
        figures["Learning curves"] = "curves", pictures.learning_curves(trials, title)
    if model is not None and data.targets == "classes":
        split = "val" if data.x_test is None else "test"
        x, y = data.split(split)
        right = y if y.ndim == 1 else y.argmax(axis=1)
        matrix = metrics.confusion_matrix(right, model.predict(x), len(data.classes))
        figures[f"Confusion matrix of the final model ({split})"] = "confusion", plots.confusion(matrix, data.classes)
    if isinstance(model, Model) and model.input_shape is not None and model.first_weights is not None:
        picture = plots.weights(np.asarray(model.first_weights, np.float32), model.input_shape)
        figures["First layer of the final model"] = "weights", picture
    files = {}
    for caption, (name, figure) in figures.items():
        files[caption] = plots.png(figure)
        write_atomically(out / f"{name}.png", files[caption])
    page = report.page(f"Search on {data.name}", _facts(config, found, measured), trials, files)
    write_atomically(out / REPORT, page)


def _facts(config: SearchConfig, found: SearchResult, measured: Mapping[str, float]) -> dict[str, str]:
    statuses = [trial.status for trial in found.trials]
    facts = {
        "data": f"{found.data.name}, {len(found.data.x_train)} training and {len(found.data.x_val)} validation rows",
        "candidates": ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)),
        "searched": ", ".join(f"{name} in {text}" for name, text in config.searched.items()),
        "method": config.method + (f", {config.folds} folds" if config.folds > 1 else ""),
        # Not how many programs were compiled: of a search that was stopped, each part compiles its own.
        "groups of candidates": f"{found.groups}, each of which shares its programs",
    }
    if not ranked(found.trials):
        return facts | {"result": "every candidate failed: the loss became NaN or infinite"}
    best = found.best
    settings = ", ".join(f"{name} {spell_value(value, 5)}" for name, value in best.settings.items())
    facts["best candidate"] = (
        f"trial {best.number}: {best.score:.4f} on validation after epoch {best.best_epoch}; {settings}"
    )
    return facts | {name.replace("_", " "): f"{value:.4f}" for name, value in measured.items()}
