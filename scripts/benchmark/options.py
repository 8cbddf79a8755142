"""The command line."""

import argparse
import math
from pathlib import Path

from peers import PEERS
from peers.work import WORKS

from benchmark.report import is_own
from benchmark.revisions import OWN_PEERS, resolved
from benchmark.terminal import Parser

ASSIGNMENT = "assignment"  # the face of `jaxfc.cs231n` beside plain NumPy


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description="Compare jaxfc with other libraries at the same training, in one run.")
    parser.add_argument(
        "--work",
        nargs="+",
        choices=[*WORKS, ASSIGNMENT],
        default=list(WORKS),
        help="the works to do (default: a b c d e)",
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="the peers (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer's turn comes (default: 5)")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="file to write (default: bench.json)")
    parser.add_argument("--data-dir", type=Path, help="folder with CIFAR-10 (default: the variable JAXFC_DATA)")
    parser.add_argument(
        "--against",
        nargs="+",
        metavar="REV",
        default=[],
        help="revisions of this repository (tags, branches, commits), whose jaxfc takes turns with this checkout's",
    )
    parser.add_argument(
        "--fail-above",
        type=float,
        metavar="RATIO",
        help="with --against: end with exit code 1 and a line for each work in which the median of this checkout's "
        "time over a revision's in the same round is above RATIO, as 1.10",
    )
    parser.add_argument("--quick", action="store_true", help="a single round of few steps, to see that it works")
    args = parser.parse_args()
    for name in ("work", "peers", "against"):
        setattr(args, name, list(dict.fromkeys(getattr(args, name))))
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: must be at least 1")
    if args.quick:
        args.rounds = 1
    if args.data_dir is not None and not args.data_dir.is_dir():
        parser.error(f"--data-dir {args.data_dir}: there is no such folder")
    if not args.json.parent.is_dir():
        parser.error(f"--json {args.json}: there is no folder {args.json.parent}")
    if args.json.exists() and not is_own(args.json):
        parser.error(f"--json {args.json}: exists and was not written by this benchmark; name another file")
    check_comparison(parser, args)
    return args


def check_comparison(parser: Parser, args: argparse.Namespace) -> None:
    """Look up the revisions to compare with, and refuse what would compare nothing."""
    limit = args.fail_above
    if limit is not None:
        if not args.against:
            parser.error(f"--fail-above {limit:g}: name what to compare with, by --against")
        if not 0 < limit < math.inf:
            parser.error(f"--fail-above {limit:g}: must be a positive ratio, as 1.10")
        if args.quick:
            parser.error(f"--fail-above {limit:g}: a --quick run is too short to be compared; leave out --quick")
    works = {work for peer in OWN_PEERS if peer in args.peers for work in PEERS[peer].works}
    if args.against and not works & set(args.work):
        parser.error("--against: none of the works and peers asked for has jaxfc in it; add --peers jaxfc")
    revisions = []
    for name in args.against:
        try:
            revisions.append(resolved(name))
        except ValueError as error:
            parser.error(f"--against {name}: {error}")
    args.against = revisions
