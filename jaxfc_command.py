"""The `jaxfc` command's door.

Apart from the package, because to import that is to import JAX: a Ctrl-C during this first second must end the
command with a line, and not with a traceback from somewhere inside it.
"""

import os
import signal


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # and not told to ignore it
        signal.signal(signal.SIGINT, _quit)
    from jaxfc import cli, console

    with console.ended_by_signals():
        cli.main()


def _quit(*_: object) -> None:
    os.write(2, b"jaxfc: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
