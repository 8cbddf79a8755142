"""The CS231n assignment's trainings, on jaxfc's face or on plain NumPy: a process times one of them.

    python -m peers.assignment jaxfc rules full FOLDER

trains twice, and prints the seconds of the first time, compilation included, and of the second as JSON.
"""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import numpy as np

TASKS = {
    "check": "cell 4: numerical gradients of a tiny net",
    "rules": "cells 8 and 11: five layers by four rules",
    "final": "cell 18: the final training",
}
IMPLEMENTATIONS = ("jaxfc", "numpy")
ONCE = ("final",)  # tasks so long that compilation hardly counts

Arrays = dict[str, np.ndarray]
RATES = {"sgd": 5e-3, "sgd_momentum": 5e-3, "adam": 1e-3, "rmsprop": 1e-4}


def load_names(implementation: str) -> ModuleType:
    """A module with `FullyConnectedNet` and `Solver`."""
    if implementation == "numpy":
        sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
        import numpy_reference

        return numpy_reference
    from jaxfc.cs231n import solver
    from jaxfc.cs231n.classifiers import fc_net

    names = ModuleType("face")
    names.FullyConnectedNet, names.Solver = fc_net.FullyConnectedNet, solver.Solver
    return names


def check(names: ModuleType, data: Arrays, quick: bool) -> None:
    """Compare gradients with centred differences, as cell 4 does."""
    from jaxfc.cs231n.gradient_check import eval_numerical_gradient

    X, y = np.random.randn(2, 15), np.random.randint(10, size=2)
    for reg in (0, 3.14):
        model = names.FullyConnectedNet([20, 30], input_dim=15, reg=reg, weight_scale=5e-2, dtype=np.float64)
        for name in sorted(model.loss(X, y)[1])[-1 if quick else 0 :]:
            eval_numerical_gradient(lambda _, model=model: model.loss(X, y)[0], model.params[name], verbose=False)


def rules(names: ModuleType, data: Arrays, quick: bool) -> None:
    """Train five hidden layers on 4,000 images by four rules, as cells 8 and 11 do."""
    small = data | {"X_train": data["X_train"][:4000], "y_train": data["y_train"][:4000]}
    for rule, rate in RATES.items():
        model = names.FullyConnectedNet([100] * 5, weight_scale=5e-2)
        settings = {"num_epochs": 1 if quick else 5, "optim_config": {"learning_rate": rate}}
        names.Solver(model, small, batch_size=100, update_rule=rule, **settings).train()


def final(names: ModuleType, data: Arrays, quick: bool) -> None:
    """Train the best model on all images, as cell 18 ends; with settings that its search may find."""
    model = names.FullyConnectedNet(
        [64, 32] if quick else [2048, 1024],
        weight_scale=0.0158,
        reg=1.8e-4,
        dropout_keep_ratio=0.47,
        normalization="batchnorm",
    )
    settings = {"num_epochs": 1 if quick else 5, "optim_config": {"learning_rate": 1.8e-3}, "lr_decay": 0.85}
    names.Solver(model, data, batch_size=512, update_rule="adam", print_every=50, **settings).train()


def read(folder: Path, quick: bool) -> Arrays:
    """The assignment's arrays, from the bench's."""
    from peers.work import Data

    stored = Data.read(folder)
    rows = 4000 if quick else len(stored.x)

    def images(x: np.ndarray) -> np.ndarray:
        return (x - stored.mean.astype(np.float64)).reshape(-1, 3, 32, 32)

    train, val = (images(stored.x[:rows]), stored.y[:rows]), (images(stored.x_val), stored.y_val)
    return dict(zip(("X_train", "y_train", "X_val", "y_val"), (*train, *val), strict=True))


def main() -> None:
    implementation, task, size, folder = sys.argv[1:]
    names, train = load_names(implementation), globals()[task]
    data: Any = {} if task == "check" else read(Path(folder), size == "quick")
    print(json.dumps({"seconds": [timed(train, names, data, size == "quick") for _ in range(1 + (task not in ONCE))]}))


def timed(train: Callable, names: ModuleType, data: Arrays, quick: bool) -> float:
    """Seconds of a training, its prints swallowed."""
    np.random.seed(231)
    start = perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        train(names, data, quick)
    return perf_counter() - start


if __name__ == "__main__":
    main()
