"""Compare models on real tables: jaxfc's estimators, scikit-learn's, gradient boosting, and other networks for tables.

Every model at its defaults, on the same folds of cross-validation. A fold's scores and times are one line of a file,
written at once: a run that is stopped goes on where it was when it is started again, and several may share the file.
The report has mean ranks with critical differences, and a picture.

    pip install -e '.[tables]'
    python scripts/tables.py
    python scripts/tables.py --models fc mlp hgb --tables wine diabetes --repeats 1
    python scripts/tables.py --report
"""

import argparse
import os
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # one core for each model; read when the libraries are imported
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import lines  # noqa: E402
from tabular import report, runs  # noqa: E402
from tabular.models import MODELS  # noqa: E402
from tabular.sources import META, TABLES, TEST, Table  # noqa: E402


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--models", nargs="+", choices=[*MODELS], default=[*MODELS], help="default: all")
    parser.add_argument("--tables", nargs="+", choices=[*TABLES], help="default: those of the test")
    parser.add_argument("--meta", action="store_true", help="the tables that defaults were chosen on, not the test's")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2, help="how often to cross-validate, on other folds each time")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no fold later than that")
    parser.add_argument("--out", type=Path, default=Path("tables.jsonl"), help="a line for each fold")
    parser.add_argument("--report", action="store_true", help="run nothing: report on what was run")
    parser.add_argument("--json", type=Path, help="write the report there")
    parser.add_argument("--picture", type=Path, help="draw mean ranks and times there")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    tables = [TABLES[name] for name in args.tables] if args.tables else META if args.meta else TEST
    if not args.report:
        carry_out(args, tables)
    found = report.whole(runs.read(args.out), tables, args.models)
    if not found["tables"]:
        sys.exit(f"tables.py: {args.out} has no table that all of its models were run on")
    print("\n" + report.text(found))
    if args.json:
        report.write(args.json, found)
    if args.picture:
        report.draw(args.picture, found)


def carry_out(args: argparse.Namespace, tables: list[Table]) -> None:
    """Run what is not done yet, model after model."""
    end = time.monotonic() + 60 * args.minutes
    for model in args.models:
        for table in tables:
            for entry in runs.run(table, model, set(runs.read(args.out)), repeats=args.repeats, folds=args.folds):
                lines.append(args.out, entry)
                score = entry.get("acc", entry.get("r2"))
                print(
                    f"{table.name:14} {model:13} {entry['repeat']}.{entry['fold']}  {score:.4f}"
                    f"  fit {entry['fit_s']:.2f} s ({entry['fit_cpu_s']:.2f} s of the processor)",
                    flush=True,
                )
                if time.monotonic() > end:
                    return


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
