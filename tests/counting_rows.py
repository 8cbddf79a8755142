"""The command `jaxfc`, which also writes down the training rows that this process reads."""

import json
import sys
from pathlib import Path

import jaxfc_command
from jaxfc.training import streaming

whole, rows_read = streaming.divided_batches, []


def counting(take, *where):
    def read(rows):
        rows_read.extend(rows.tolist())
        return take(rows)

    return whole(read, *where)


if __name__ == "__main__":
    streaming.divided_batches = counting
    try:
        code = jaxfc_command.main()
    finally:
        number = sys.argv[sys.argv.index("--process-id") + 1]
        Path(f"rows-{number}.json").write_text(json.dumps(rows_read))
    sys.exit(code)
