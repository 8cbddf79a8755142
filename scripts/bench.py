"""Compare jaxfc with other libraries at the same training, in one run.

Works are trainings and searches (see `peers/work.py`), and for each a process per peer. The processes take turns, round
after round, so that whatever slows the machine down for a while slows all alike; a ratio is the median
over rounds of the ratio within a round. Between them the machine's own rate of matrix products is measured,
and after the last the accuracy reached, so that nobody gains by computing less.

    python scripts/bench.py
    python scripts/bench.py --work b c --peers jaxfc torch --rounds 3
    python scripts/bench.py --peers jaxfc jaxfc-search --against main --fail-above 1.10
"""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from benchmark.figures import slowdowns  # noqa: E402
from benchmark.measuring import run_assignment, run_work  # noqa: E402
from benchmark.options import ASSIGNMENT, parse_arguments  # noqa: E402
from benchmark.report import MARK, write  # noqa: E402
from benchmark.revisions import extracted  # noqa: E402
from benchmark.surroundings import import_time, machine, versions  # noqa: E402
from benchmark.table import assignment_block, block, footer, header  # noqa: E402


def main() -> None:
    args = parse_arguments()
    report: dict[str, Any] = MARK | {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "quick": args.quick,
        "rounds": args.rounds,
        "machine": machine(),
        "versions": versions(),
        "against": {revision.name: revision.commit for revision in args.against},
        "import": import_time(),
        "works": {},
    }
    print(header(report), flush=True)
    with extracted(args.against) as revisions:
        for name in args.work:
            if name == ASSIGNMENT:
                report["works"][name] = run_assignment(args)
                print("\n" + assignment_block(report["works"][name]), flush=True)
            else:
                report["works"][name] = run_work(name, args, revisions)
                print("\n" + block(name, report["works"][name]), flush=True)
            write(args.json, report)
    print("\n" + footer(report, args.json))
    if args.fail_above is not None and (slower := slowdowns(report["works"], args.fail_above)):
        sys.exit("\n".join(f"bench.py: {line}" for line in slower))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
