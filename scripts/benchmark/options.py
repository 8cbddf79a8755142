"""The command line."""

import argparse
from pathlib import Path

from peers import PEERS
from peers.work import WORKS

from benchmark.report import is_own
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
    parser.add_argument("--quick", action="store_true", help="a single round of few steps, to see that it works")
    args = parser.parse_args()
    for name in ("work", "peers"):
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
    return args
