"""What the tests of meshes ask eight virtual devices, in one process; the answers are printed as JSON.

The same runs on one, two and eight of them: an oracle that knows nothing of shardings.
"""

import contextlib
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from examples import Stop, stop_after
from searches import CONFIG, SPACES, digits

import jaxfc
from jaxfc import FCNet, ResidualNet, cli, search
from jaxfc.data.augment import parse
from jaxfc.parallel import mesh_of, population_mesh
from jaxfc.search import loop
from jaxfc.search.population import programs_of
from jaxfc.training.ahead import progress_like
from jaxfc.training.prepare import prepare
from jaxfc.training.settings import RunSettings
from jaxfc.training.spread import spread

NET = FCNet(64, (128,), 10, normalization="batchnorm", dropout_keep_ratio=0.8, reg=1e-3)
SETTINGS = {"batch_size": 64, "epochs": 14, "train_sample": 100}
HYPER = {"learning_rate": 1e-3}
EVERY_EPOCH = {"callbacks": [lambda report: None], "verbose": False, "progress": False}  # is a program of its own


def answers(folder: Path) -> dict:
    data = digits(512)
    return {
        "float32": plainly(data, folder),
        "float64": mixed(data),
        "program": program(data),
        "population": population(data),
        "predictions": predictions(data),
        "lines": lines(folder),
    }


def far(one, other) -> float:
    """The greatest relative difference."""
    one, other = (np.asarray(each, np.float64) for each in (one, other))
    return float(np.max(np.abs(one - other) / np.maximum(np.abs(other), 1e-30)))


def plainly(data, folder) -> dict:
    """A hundred steps on one device, two and eight; and on eight, stopped, and gone on with on two."""

    def run(mesh, **options):
        return jaxfc.fit(NET, "adam", data, hyper=HYPER, mesh=mesh, **SETTINGS | EVERY_EPOCH | options)

    one = run(None)
    found = {mesh: run(mesh) for mesh in ("data=2", "data=8")}
    with contextlib.suppress(Stop):
        run("data=8", checkpoint=folder / "c", callbacks=[stop_after(6)])
    streamed = run("data=8", stream=True)
    resumed = run("data=2", checkpoint=folder / "c", resume=True)
    with contextlib.suppress(Stop):
        run(None, checkpoint=folder / "d", callbacks=[stop_after(6)])
    found["eight, then two"] = resumed
    found["one, then eight"] = run({"data": -1}, checkpoint=folder / "d", resume=True)
    return {
        "steps": len(one.loss_history),
        "losses": {name: far(each.loss_history, one.loss_history) for name, each in found.items()},
        "best": {name: each.best_epoch == one.best_epoch for name, each in found.items()},
        "streamed": far(streamed.loss_history, found["data=8"].loss_history),
        "devices": max(len(leaf.devices()) for leaf in jax.tree.leaves(found["data=8"].params)),
    }


def mixed(data) -> dict:
    """All that draws or looks at a whole batch, in float64, with rows and units divided; and it stops early."""
    net = ResidualNet(
        64, 16, 1, 10, expansion=2, normalization="batchnorm", dropout_keep_ratio=0.9, depth_keep_ratio=0.8,
        reg=1e-3, param_dtype="float64",
    )  # fmt: skip
    options = {"accumulate": 2, "ema_decay": 0.9, "patience": 2, "augment": ("shift:1", "mixup:0.2")}
    with jax.enable_x64(True):
        one, many = (
            jaxfc.fit(net, "adam", data, mesh=mesh, hyper={"learning_rate": 3e-2}, **SETTINGS | EVERY_EPOCH | options)
            for mesh in (None, "data=4,model=2")
        )
    return {
        "losses": far(many.loss_history, one.loss_history),
        "averages": max(map(far, jax.tree.leaves(many.best_params), jax.tree.leaves(one.best_params))),
        "stopped": [one.stopped, many.stopped, len(one.val_history) == len(many.val_history)],
    }


def program(data) -> dict:
    """What the compiler made of a training on eight devices."""
    settings = RunSettings(**{name: value for name, value in SETTINGS.items() if name != "train_sample"})
    made = prepare(NET, "adam", data, settings, train_sample=100, group=1)
    progress = progress_like(NET, made.task, made.recipe.rule, made.rows, HYPER)
    over = spread(mesh_of("data=8"), made.recipe, NET, made.task, progress, made.rows)
    compiled = over.lower(progress, made.rows, (1, len(data.x_train) // 64, 64)).compile()
    where = jax.tree.leaves(over.shardings.progress)
    leaves = [(leaf, sharding) for leaf, sharding in zip(jax.tree.leaves(progress), where, strict=True)]
    matrices = [(leaf, sharding) for leaf, sharding in leaves if leaf.ndim == 2 and leaf.size > 1024]
    rest = sum(leaf.nbytes for leaf in jax.tree.leaves(made.rows._replace(key=None))) + 8
    plans = len(data.x_train) // 64 * 64 * 4 // 8
    return {
        "collectives": collectives(compiled.as_text()),
        "gradients": sum(leaf.size for leaf in jax.tree.leaves(progress.state.params)),
        "divided": sum(leaf.size for leaf in jax.tree.leaves(progress.state.params) if leaf.size > 1024),
        "shares": sorted({leaf.size / np.prod(sharding.shard_shape(leaf.shape)) for leaf, sharding in matrices}),
        "matrices": len(matrices),
        "bytes": compiled.memory_analysis().argument_size_in_bytes - rest - plans,
        "share_bytes": sum(
            int(np.prod(sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize for leaf, sharding in leaves
        ),
        "whole_bytes": sum(leaf.size * leaf.dtype.itemsize for leaf, _ in leaves),
    }


def collectives(text: str) -> dict:
    """By kind of collective, and by whether it is inside the loop over batches, the sizes of what it sends."""
    found: dict[str, list[int]] = {}
    for line in text.splitlines():
        match = re.search(
            r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?\(", line
        )
        if match:
            steps = line.count("while/body") - (1 if "branch" in line else 0)
            shapes = re.findall(r"\w+\[([\d,]*)\]", match[1])
            sizes = [int(np.prod([int(n) for n in shape.split(",") if n])) for shape in shapes]
            found.setdefault(f"{match[2]} {'step' if steps else 'epoch'}", []).extend(sizes)
    return found


def population(data) -> dict:
    """A search over four devices, and on one device with as many candidates at a time as a share."""
    settings = search.sample(SPACES | {"seed": search.integers(0, 99)}, 11, seed=1)
    train = replace(CONFIG, epochs=2, dropout_keep_ratio=0.9)
    one = search.run(data, train, settings, mesh="population=1", chunk=2, folds=2, progress=False)
    many = search.run(data, train, settings, mesh="population=4", chunk=8, folds=2, progress=False)
    (group,) = loop.lay_out(data, train, settings).groups
    made = programs_of(group.recipe)._compiled.values()
    return {
        "same": all(
            np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True)
            for a, b in zip(one.trials, many.trials, strict=True)
            for name in ("loss", "val", "val_loss")
        ),
        "best": all(
            np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one.kept), jax.tree.leaves(many.kept), strict=True)
        ),
        "programs": len(made),
        "collectives": [each for each in (collectives(compiled.as_text()) for compiled in made) if each],
        "by default": population_mesh().shape["population"],
    }


def predictions(data) -> dict:
    model = jaxfc.Model.of(NET, *jaxfc.init(NET, jax.random.key(0)), data, augmentations=parse(["shift:1"], (8, 8)))
    x, y = data.x_train[:501], data.y_train[:501]
    both = jaxfc.Ensemble.of([model, model])
    pairs = [
        (model.prediction(x), model.prediction(x, mesh="data=8")),
        (model.prediction(x, copies=2), model.prediction(x, copies=2, mesh="data=8")),
        (both.prediction(x), both.prediction(x, mesh="data=4")),
    ]
    measured = [list(model.evaluate(x, y, mesh=mesh).values()) for mesh in (None, {"data": 8})]
    return {"far": [float(np.abs(a - b).max()) for a, b in pairs], "measured": far(*measured)}


def lines(folder: Path) -> dict:
    """The commands: a run and its evaluation on a mesh; and the line that each mistake gets."""
    train = ["train", "--hidden", "16", "--epochs", "1", "--num-train", "128", "--no-progress"]
    run = ["--out", str(folder / "run")]
    wrong = {
        "devices": [*train, "--mesh", "data=16"],
        "divide": [*train, "--mesh", "data=3"],
        "axis": [*train, "--mesh", "rows=2"],
        "number": [*train, "--mesh", "data=two"],
        "form": [*train, "--mesh", "data"],
        "batch": [*train, "--batch-size", "20", "--mesh", "data=8"],
        "parts": [*train, "--batch-size", "16", "--accumulate", "4", "--mesh", "data=8"],
        "model": [*train, "--hidden", "15", "--mesh", "model=8"],
        "use": [*train, "--mesh", "population=8"],
        "chunk": ["search", "--num-train", "128", "--epochs", "1", "--chunk", "12", "--mesh", "population=8"],
        "search": ["search", "--num-train", "128", "--epochs", "1", "--mesh", "data=8"],
        "predict": ["evaluate", str(folder / "run"), "--mesh", "model=2"],
    }
    found = {"train": command([*train, *run, "--mesh", "data=8"])}
    found["evaluate"] = command(["evaluate", str(folder / "run"), "--mesh", "data=2"])
    found["resume"] = command(["train", "--resume", *run, "--mesh", "model=1,data=8"])
    return found | {name: command(arguments) for name, arguments in wrong.items()}


def command(arguments: list[str]) -> list:
    """The exit code of a command, and its lines on stdout and stderr."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(arguments)
        except SystemExit as stop:
            code = stop.code or 0
    return [code, out.getvalue().splitlines(), err.getvalue().splitlines()]


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)
    print(json.dumps(answers(Path(sys.argv[1]))))
