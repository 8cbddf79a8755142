"""What a user does with the library, in small, and the numbers that come of it.

As a program it is the same in a process of its own, under the switches of JAX that its environment sets. It writes the
numbers as JSON. With `halfway`, 64-bit mode is turned on between what was made and its use; with `quick` it does less,
as the tests do, whose time is compilation.

Usage: JAX_DISABLE_JIT=1 python tests/under_switches.py FOLDER [quick] [halfway]
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np
from searches import table

import jaxfc
from jaxfc import TrainConfig, search
from jaxfc.optim import Averaged, Clipped, Schedule, Scheduled, adamw, muon

# With a callback each epoch is a program: one for runs of all lengths.
FIT = {"epochs": 1, "batch_size": 50, "verbose": False, "callbacks": [lambda report: None]}


def pictures():
    """The table's rows as images of 2 x 2 pixels in three classes, without test rows."""
    data = table("labels")
    y, y_val = (each.sum(axis=1).astype(np.int32) % 3 for each in (data.y_train, data.y_val))
    names = ("a", "b", "c")
    return jaxfc.Dataset(
        "pictures", data.x_train, y, data.x_val, y_val, None, None, names, data.normalizer, image_shape=(2, 2)
    )


def trainings():
    """Networks, rules, tasks and data, so that all kinds of each occur."""
    schedule = {"schedule": Schedule(warmup_steps=2, total_steps=4), "max_norm": 1.0, "weight_decay": 0.1}
    augment = ["mirror", "shift:1", "cutout:1", "noise:0.1", "mixup:0.2"]
    wrapped = Averaged(Clipped(Scheduled(adamw, "cosine")))
    norm = {"normalization": "batchnorm", "dropout_keep_ratio": 0.8, "reg": 1e-3}
    decaying = {"schedule": Schedule(steps_per_epoch=2, lr_decay=0.5), "learning_rate": 0.01}
    yield jaxfc.FCNet(4, (8, 4), 3, **norm), wrapped, pictures(), {"hyper": schedule, "augment": augment}
    yield jaxfc.ResidualNet(4, 4, 2, 3, depth_keep_ratio=0.5), muon, table("labels"), {"accumulate": 2}
    yield jaxfc.FCNet(4, (8,), 2, "layernorm"), Scheduled(adamw, "exponential"), table(), {"hyper": decaying}
    quantiles = jaxfc.Regression("quantile", quantiles=(0.2, 0.8))
    yield jaxfc.FCNet(4, (8,), 4, "rmsnorm", "gelu"), "rmsprop", table(), {"task": quantiles}


def trained(folder, halfway, which):
    """Train, stop, go on, save, load and predict with every kind of network, rule and task."""
    numbers = {}
    for i, (net, rule, data, options) in enumerate(which):
        kept = folder / f"run-{i}.safetensors"
        result = jaxfc.fit(net, rule, data, checkpoint=kept, **FIT, **options)
        halfway()
        model = result.model(data)
        model.save(folder / f"model-{i}.safetensors")
        again = jaxfc.Model.load(folder / f"model-{i}.safetensors")
        np.testing.assert_array_equal(model.prediction(data.x_val), again.prediction(data.x_val))
        jaxfc.Ensemble.of([model, again]).prediction(data.x_val)
        longer = {**FIT, "epochs": 2}
        more = jaxfc.fit(net, rule, data, checkpoint=kept, resume=True, extend=True, **longer, **options)
        assert np.isfinite(more.val_history).all()
        measured = again.evaluate(data.x_val, data.y_val)
        numbers[f"training {i}"] = [*more.loss_history.tolist(), *measured.values()]
    return numbers


def searched(folder, folds=1, **shape):
    """A search of widths under one program, on folds and with early stopping; its ensemble."""
    data = pictures()
    spaces = {"learning_rate": search.loguniform(1e-3, 1e-1), "hidden": search.choice((4,), (6, 4))}
    config = TrainConfig(hidden=(4,), epochs=2, batch_size=25, patience=1, **shape)
    each = jax.local_device_count()  # a candidate on each device at once
    found = search.run(data, config, search.sample(spaces, trials=3), folds=folds, keep=2, pad=True, chunk=each)
    found.ensemble(2).save(folder / "ensemble.safetensors")
    probabilities = jaxfc.Ensemble.load(folder / "ensemble.safetensors").predict_proba(data.x_val)
    return {"search": [*(trial.score for trial in found.trials), *probabilities.ravel().tolist()]}


def checked():
    """Gradients of layers and of networks."""
    names = ["affine", "batchnorm", "layernorm, padded", "dropout", "softmax_loss", "quantile_loss", "gelu", "network"]
    rows = jaxfc.gradcheck.check_layers(only=names)
    assert all(row.passed for row in rows)
    return {}


def assignment():
    """A training of the assignment's Solver, and its layers."""
    from jaxfc.cs231n import layers
    from jaxfc.cs231n.classifiers.fc_net import FullyConnectedNet
    from jaxfc.cs231n.solver import Solver

    np.random.seed(231)  # noqa: NPY002 (the assignment draws from the global stream)
    data = pictures()
    parts = {"X_train": data.x_train, "y_train": data.y_train, "X_val": data.x_val, "y_val": data.y_val}
    model = FullyConnectedNet(
        [6, 5], 4, 3, dropout_keep_ratio=0.8, normalization="batchnorm", reg=0.1, dtype=np.float64
    )
    solver = Solver(model, parts, update_rule="adam", num_epochs=1, batch_size=50, verbose=False)
    solver.train()
    out, cache = layers.layernorm_forward(data.x_train, np.ones(4), np.zeros(4), {})
    _, dgamma, _ = layers.layernorm_backward(out, cache)
    loss, _ = model.loss(data.x_val, data.y_val)
    return {"assignment": [*solver.loss_history, float(loss), *dgamma.tolist()]}


def everything(folder, halfway=lambda: None, quick=False):
    """All of it, as numbers by name."""
    if quick:
        return trained(folder, halfway, list(trainings())[:1]) | searched(folder)
    shape = {"folds": 2, "normalization": "layernorm", "dropout_keep_ratio": 0.9}
    return trained(folder, halfway, trainings()) | searched(folder, **shape) | checked() | assignment()


if __name__ == "__main__":
    wide = {"halfway": lambda: jax.config.update("jax_enable_x64", True)} if "halfway" in sys.argv else {}
    print(json.dumps(everything(Path(sys.argv[1]), **wide, quick="quick" in sys.argv)))
