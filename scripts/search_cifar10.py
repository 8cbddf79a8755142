"""Search for a good network on CIFAR-10, then train it, and an ensemble: to copy and change.

python scripts/search_cifar10.py
python scripts/search_cifar10.py --data digits --trials 8 --epochs 2 --final-epochs 3
"""

import argparse
import dataclasses
from pathlib import Path

import jaxfc
from jaxfc import TrainConfig, search
from jaxfc.plots import save
from jaxfc.search.pictures import learning_curves, parallel_coordinates

# Everything here is a number but the widths: one program for each choice of them trains all its candidates.
SPACES = {
    "hidden": search.choice((256,), (256, 128)),
    "learning_rate": search.loguniform(3e-4, 1e-2),
    "weight_scale": search.loguniform(1e-2, 1e-1),
    "reg": search.loguniform(1e-6, 1e-3),
    "dropout_keep_ratio": search.uniform(0.4, 0.9),
}


def train(data: jaxfc.Dataset, config: TrainConfig) -> jaxfc.Model:
    """Train a configuration, and return the model of its best epoch."""
    net, task, rule, hyper = config.build(data, len(data.x_train))
    return jaxfc.fit(net, rule, data, task=task, hyper=hyper, **vars(config.settings)).model(data)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a single line."""

    def error(self, message):
        """Print the message and exit with code 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def main() -> None:
    parser = Parser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", default="cifar10", help="cifar10, mnist, fashion_mnist, digits, or a file")
    parser.add_argument("--num-train", type=int, default=10_000, help="training rows of the search, if there are more")
    parser.add_argument("--trials", type=int, default=32, help="number of candidates")
    parser.add_argument("--epochs", type=int, default=9, help="epochs of the candidates that get to the last rung")
    parser.add_argument("--final-epochs", type=int, default=15, help="epochs of the final training, on all rows")
    parser.add_argument("--seed", type=int, default=0, help="of the search")
    parser.add_argument("--out", type=Path, default=Path("search-1"), help="folder to make, for model and pictures")
    args = parser.parse_args()
    try:
        data = jaxfc.load(args.data)
        if args.out.exists():
            raise ValueError(f"--out {args.out}: exists; name another folder")
        few = data.subset(min(args.num_train, len(data.x_train)))
        config = TrainConfig(epochs=args.epochs, batch_size=100, normalization="batchnorm", lr_decay=0.9)
        settings = search.sample(SPACES, args.trials, seed=args.seed)
        found = search.run(few, config, settings, method=search.Halving(), keep=5)
        args.out.mkdir(parents=True)  # nothing that is there is written over
        for trial in search.ranked(found.trials)[:5]:
            print(f"trial {trial.number}: val_acc {trial.score:.4f} after {trial.best_epoch} epochs, {trial.settings}")
        save(parallel_coordinates(found.trials), args.out / "settings.png")
        save(learning_curves(found.trials), args.out / "curves.png")
        kept = min(5, len(found.kept))
        print(f"the best {kept} together: test_acc {found.ensemble(kept).accuracy(*data.split('test')):.4f}")
        model = train(data, dataclasses.replace(found.best.config, epochs=args.final_epochs))
        model.save(args.out / "model.safetensors")
        print(f"test_acc: {model.accuracy(*data.split('test')):.4f}")
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
