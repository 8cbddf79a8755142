"""A process's standard error, without what JAX's runtime in C++ says there; and a last line for it, if it is ended.

Where another process of a run is lost, the runtime ends this one at once, with a page of text, and nothing of Python is
asked. So a small process of its own reads what is written: it passes on what is not the runtime's, and when the page
comes, one line in place of it. It is a file that is run, with nothing imported.
"""

import os
import re
import sys

LOST = b"Terminating process because the JAX distributed service detected fatal errors"
SAY = b"\0"  # begins a line that is not to be shown, but kept as the last one
RUNTIMES = re.compile(rb"[IWEF]\d{4} \d\d:\d\d:\d\d|\*\*\* Check failure stack trace|\s+@ +0x|\[Gloo\]|RPC: /|\Z")


def main() -> None:
    """Read until the other end is closed."""
    last, said, inside = b"", False, False
    for line in sys.stdin.buffer:
        if line.startswith(SAY):
            last = line[1:]
        elif LOST in line:
            said = True  # what follows is this page's
        elif said:
            continue
        elif RUNTIMES.match(line):
            inside = True
        elif inside and not line.startswith(b"jaxfc:"):  # what the runtime says may have several lines
            inside = bool(line.strip())
        else:
            inside = False
            os.write(2, line)
            last = b"" if line == last else last
    if said:
        os.write(2, last)


if __name__ == "__main__":
    main()
