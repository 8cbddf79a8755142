"""Numbers and names on the command line that no training can have."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from hostile import Case, command, run
from jaxfc.search import loop
from jaxfc.training import fit

TRAIN = ("train", "--out", "{}/out", "--num-train", "64", "--epochs", "1", "--hidden")
SEARCH = ("search", "--out", "{}/out", "--num-train", "64", "--epochs", "1", "--hidden", "4", "--trials", "2")


def train(flags: str, says: str | None, code: int = 2) -> Case:
    """A case of `jaxfc train`; what flags say last holds."""
    return command(f"train {flags}", *TRAIN, *flags.split(), says=says, code=code)


def search(flags: str, says: str | None, code: int = 2) -> Case:
    """A case of `jaxfc search`."""
    return command(f"search {flags}", *SEARCH, *flags.split(), says=says, code=code)


def interrupted(*args: str) -> Case:
    """A case of what would take hours, and on which Ctrl-C is pressed after two seconds."""

    @contextlib.contextmanager
    def soon(*_: object) -> Iterator[threading.Event]:
        event = threading.Event()
        timer = threading.Timer(2, event.set)
        timer.start()
        yield event
        timer.cancel()

    def act(folder: Path) -> tuple[int, list[str]]:
        with mock.patch.object(loop, "interrupts", soon), mock.patch.object(fit, "interrupts", soon):
            return run([arg.replace("{}", str(folder)) for arg in args])

    return Case(f"Ctrl-C on {' '.join(args)}", act, None, slow=True)


NUMBERS = [
    train("--hidden 1000000000", "GB|TB"),
    train("--hidden 100000 100000 100000", "GB"),
    train("--hidden 100000000000000000000", "[GTPE]B"),
    train("--hidden 9223372036854775808", "B"),
    train("--hidden " + "9" * 4000, "PB"),
    train("--hidden " + "9" * 5000, "hidden"),
    train("--hidden 0", "at least 1"),
    train("--hidden -5", "hidden"),
    train("--hidden 1.5", "hidden"),
    train("--hidden " + "8 " * 1000, "layers"),
    train("--hidden " + "8 " * 20_000, "layers"),
    train("--network residual --hidden " + "8 " * 1000, "layers"),
    train("--network residual --hidden 8 --expansion 1000000000", "GB"),
    train("--network residual --hidden 1000000", "[GT]B"),
    train("--network residual --hidden 8 9", "all the same"),
    train("--epochs 0", "at least 1"),
    train("--epochs -1", "at least 1"),
    train("--epochs 1000000000000", "2147483647"),
    train("--epochs 10000000000", "2147483647"),
    train("--epochs " + "9" * 400, "epochs"),
    train("--batch-size 0", "batch_size"),
    train("--batch-size 1000000000000", "batch_size"),
    train("--batch-size -1", "batch_size"),
    train("--batch-size 1 --normalization batchnorm --hidden 4", "at least 2"),
    train("--accumulate 0", "accumulate"),
    train("--accumulate 1000000000000", "accumulate"),
    train("--patience 0", "patience"),
    train("--patience 10000000000", None),
    train("--patience 2147483648", None),
    *[
        train(f"--{name} {value}", "seed")
        for name in ("seed", "order-seed")
        for value in (2**31, 2**32, 2**63, 2**64, 10**30, -1)
    ],
    train("--seed 2147483647", None),
    *[train(f"--warmup-epochs {value}", "warmup_epochs") for value in ("1e10", "1e300", "1e308", "inf", "nan", "-1")],
    *[
        train(f"--{name} {value}", name.replace("-", "_"))
        for name in ("learning-rate", "weight-scale", "reg")
        for value in ("1e39", "1e300", "1e400", "inf", "-inf", "nan", "-1", "1e-60")
    ],
    *[train(f"--{name} 1e39", name.replace("-", "_")) for name in ("lr-decay", "clip-norm", "eps", "weight-decay")],
    train("--reg 1e38", "nan|inf", code=1),
    train("--weight-scale 1e38", "nan|inf", code=1),
    train("--learning-rate 1e38 --update-rule sgd --epochs 3", "nan|inf", code=1),
    *[train(f"--dropout-keep-ratio {value}", "dropout_keep_ratio") for value in ("0", "2", "-1", "nan", "1e-60")],
    *[train(f"--norm-momentum {value}", "norm_momentum") for value in ("2", "-1", "nan")],
    *[train(f"--ema-decay {value}", "ema_decay") for value in ("1", "2", "-1", "nan")],
    train("--label-smoothing 1e39", "label_smoothing"),
    train("--label-smoothing nan", "label_smoothing"),
    train("--depth-keep-ratio 0 --network residual --hidden 4", "depth_keep_ratio"),
    train("--tta 1000000000 --augment mirror", "tta"),
    train("--tta -1", "tta"),
    train("--num-train 0", "num_train"),
    train("--num-train 1000000000000", "num_train"),
    train("--num-train 31", "batch_size"),
    *[
        train(f"--augment {value}", value.partition(":")[0])
        for value in (
            "shift:1000000000000",
            "shift:-1",
            "shift:1e9",
            "shift:",
            "cutout:99999999999999999999",
            "noise:1e39",
            "noise:-1",
            "noise:nan",
            "mixup:1e39",
            "mixup:0",
            "mixup:nan",
            "mirror:1",
        )
    ],
    train("--augment " + "shift:" + "9" * 5000, "shift"),
    train("--augment " + "z" * 100_000, "augmentation"),
    *[
        train(f"--class-weight {value}", "class|weight")
        for value in ("1=1e39", "1=1e400", "1=nan", "1=-1", "99=1", "=1", "1=", "heavy", "1=2 1=3", "z" * 50_000 + "=1")
    ],
]
NAMED = {"rank": "metric", "param-dtype": "param_dtype"}
NAMES = [
    *[
        train(f"--{name} {value}", NAMED.get(name, name.split("-")[0]))
        for name in (
            "activation",
            "normalization",
            "network",
            "task",
            "loss",
            "update-rule",
            "schedule",
            "sampling",
            "rank",
            "param-dtype",
        )
        for value in ("z" * 50_000, "\u202e")
    ],
    train("--data nowhere", "unknown data set"),
    train("--data " + "z" * 50_000, "data"),
    train("--data /dev/null", "unknown data set"),
    train("--data digits --label x", None),
    train("--data cifar10 --data-dir /dev/null", "file"),
    train("--quantiles " + "0.5 " * 5000, "quantiles"),
    train("--task regression", "has classes"),
    train("--no-such-flag 3", "no-such-flag"),
    train("--" + "z" * 50_000, "z|option"),
    train("--update-rule sgd --momentum 0.9", "momentum"),
    command("train into a file", "train", "--out", "{}/d", says="d", make=lambda f: (f / "d").touch()),
    command("train into /dev/null", "train", "--out", "/dev/null/x", "--epochs", "1", says="Not a directory"),
    command("train into a name of 5,000 letters", "train", "--out", "{}/" + "z" * 5000, says="name too long"),
    command("train into a null byte", "train", "--out", "{}/a\0b", says="null"),
    command("train --extend past counting", "train", "--extend", "9" * 30, says="resume"),
    command("resume nothing", "train", "--resume", "--out", "{}/none", says="no such file"),
    command("no command", says="jaxfc: "),
    command("a command of 50 kB", "z" * 50_000, says="jaxfc: "),
    command("export nothing", "export", "{}/none", says="no such run folder"),
    command("export into a format of 50 kB", "export", "{}/none", "--to", "z" * 50_000, says="to"),
    command("export into a folder that is not there", "export", "/dev/null", "--out", "{}/a/b", says="neither"),
    command("describe a device", "describe", "/dev/null", says="neither a run folder"),
    command("calibrate nothing", "calibrate", "{}/none", says="no such run folder"),
    command("gradcheck of a seed of 2**64", "gradcheck", "--seed", str(2**64), says="seed"),
    command("gradcheck of a negative seed", "gradcheck", "--seed", "-1", says="seed"),
]
SEARCHES = [
    search("--trials 1000000000", "trials"),
    search("--trials 0", "trials"),
    search("--trials -1", "trials"),
    search("--learning-rate linspace:0.1:0.2:10000000000", "10000000000"),
    search("--grid --learning-rate linspace:0.1:0.2:1e10", "linspace"),
    search("--grid --learning-rate logspace:0.1:0.2:10000000000", "10000000000"),
    search("--grid --seed seeds:10000000000", "grid"),
    search("--grid --seed integers:0:1000000000000000000000", "grid"),
    search("--grid --seed seeds:10000 --learning-rate linspace:0.1:0.2:10000", "grid"),
    search("--grid --learning-rate linspace:0.1:0.2:1", "count"),
    search("--seed seeds:0", "seeds"),
    search("--seed seeds:1e9", "seeds"),
    search("--seed integers:2147483648:2147483649", "seed"),
    search("--seed integers:0:100000000000000000000", "seed"),
    search("--seed -1", "seed"),
    *[search(f"--seed {value}", "seed") for value in (2**31, 2**63)],
    search(f"--search-seed {2**70}", None),
    search("--search-seed -1", "seed"),
    search("--learning-rate loguniform:1e39:1e40", "learning_rate"),
    search("--learning-rate loguniform:0:1", "above 0"),
    search("--learning-rate loguniform:1:1e400", "finite"),
    search("--learning-rate uniform:2:1", "reversed"),
    search("--learning-rate uniform:1", "uniform:LOW:HIGH"),
    search("--learning-rate uniform:a:b", "learning_rate"),
    search("--learning-rate choice:", "learning_rate"),
    search("--learning-rate choice:0.1,x", "learning_rate"),
    search("--weight-scale choice:1e39", "weight_scale"),
    search("--reg choice:1e39", "reg"),
    search("--hidden choice:1000000000", "GB|TB"),
    search("--hidden choice:100000x100000x100000", "GB"),
    search("--hidden choice:" + "x".join(["8"] * 1000), "layers"),
    search("--hidden choice:0", "at least 1"),
    search("--hidden choice:axb", "hidden"),
    search("--hidden integers:1:9", "hidden"),
    search("--activation choice:nope", "nope"),
    search("--activation choice:" + "z" * 50_000, "activation"),
    search("--batch-size choice:10000000000", "batch_size"),
    search("--batch-size uniform:1:9", "batch_size"),
    search("--epochs 1000000000000", "2147483647"),
    search("--epochs choice:1,2", "epochs"),
    search("--method sideways", "method"),
    search("--method halving --eta 1", "eta"),
    search("--method halving --eta 1000000000000", None),
    search("--method halving --min-epochs 1000000000", None),
    search("--method hyperband --min-epochs 0", "min_epochs"),
    search("--folds 0", "folds"),
    search("--folds 1000000000", "folds"),
    search("--ensemble 0", "ensemble"),
    search("--ensemble 1000000000000", None),
    search("--chunk 0", "chunk"),
    search("--chunk 1000000000000", "chunk"),
    search("--warmup-epochs choice:1e10", "warmup_epochs"),
    search("--then-train=--epochs=0", "epochs"),
    search("--then-train=--learning-rate=1e39", "learning_rate"),
    search("--then-train=--hidden=1000000000", "GB|TB"),
    command("search --then-train with an open quote", *SEARCH, "--then-train=--hidden '", says="quot"),
    search("--patience 10000000000", None),
    search("--tta 1000000000 --augment mirror", "tta"),
]
HOURS = [
    interrupted(*TRAIN, "8", "--epochs", "1000000"),
    interrupted(*SEARCH, "--epochs", "100000"),
    interrupted(*SEARCH, "--epochs", "1000000", "--method", "halving"),
]
CASES: list[Case] = [*HOURS, *NUMBERS, *NAMES, *SEARCHES]
