"""Measure what recipes reach, and what each of their settings adds: `jaxfc train`, in a process of its own, by seeds.

Choices are made by validation rows. Test rows are measured at the end of a run of a recipe as it is, never with
a change to it. A run is one line of a file, written at once: what is stopped goes on where it was.

    python scripts/recipes.py                            recipes of CIFAR-10 for a minute and for ten, three seeds each
    python scripts/recipes.py cifar10-2h --seeds 1
    python scripts/recipes.py cifar10-1m --changes       each change to it, one at a time
    python scripts/recipes.py cifar10-1m --peers         PyTorch with the same settings, scikit-learn with what it has
    python scripts/recipes.py --report                   tables of what was run, and a picture
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import lines  # noqa: E402
from reached import report, runs  # noqa: E402
from reached.changes import CHANGES  # noqa: E402
from reached.peers import PEERS  # noqa: E402

from jaxfc.training.cookbook import recipes  # noqa: E402

USUAL = ("cifar10-1m", "cifar10-10m")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipes", nargs="*", default=USUAL, metavar="RECIPE", help=f"default: {' '.join(USUAL)}")
    parser.add_argument("--seeds", type=int, default=3, help="how many: 0, 1 and so on")
    parser.add_argument("--changes", nargs="*", metavar="NAME", help=f"which (default: all): {', '.join(CHANGES)}")
    parser.add_argument("--peers", nargs="*", metavar="NAME", help=f"which (default: all): {', '.join(PEERS)}")
    parser.add_argument("--out", type=Path, default=Path("recipes.jsonl"), help="a line for each run")
    parser.add_argument("--report", action="store_true", help="run nothing: report on what was run")
    parser.add_argument("--json", type=Path, help="write the report there")
    parser.add_argument("--picture", type=Path, help="draw accuracy against minutes there")
    args = parser.parse_args()
    for what, known in (("recipes", recipes()), ("changes", CHANGES), ("peers", PEERS)):
        for name in getattr(args, what) or ():
            if name not in known:
                parser.error(f"{name!r} is none of the {what}: {', '.join(known)}")
    return args


def main() -> None:
    args = parse_arguments()
    if not args.report:
        changes = [""] if args.changes is None and args.peers is None else chosen(args.changes, CHANGES)
        changes += chosen(args.peers, PEERS)
        for seed in range(args.seeds):
            for name in args.recipes:
                for change in changes:
                    carry_out(args.out, runs.Key(name, change, seed))
    found = report.whole(runs.read(args.out))
    print("\n" + report.text(found))
    if args.json:
        report.write(args.json, found)
    if args.picture:
        report.draw(args.picture, found)


def chosen(named: list[str] | None, known: Mapping[str, Any]) -> list[str]:
    """Those named, all where none is, and none where the flag is not given."""
    return [] if named is None else named or [*known]


def carry_out(out: Path, key: runs.Key) -> None:
    """Run what was not run."""
    if key in runs.read(out):
        return
    entry = (runs.run_peer if key.change in PEERS else runs.run)(key)
    lines.append(out, entry)
    test = f"  test {entry['test']:.4f}" if "test" in entry else ""
    print(
        f"{key.recipe:14} {key.change or 'as it is':18} seed {key.seed}  {entry['epochs']:3} epochs in "
        f"{entry['seconds']:.0f} s  val {entry['val']:.4f}{test}",
        flush=True,
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except RuntimeError as error:  # a run failed, and has said why
        sys.exit(f"recipes.py: {error}")
