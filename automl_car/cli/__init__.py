"""The command line: parse, call one journey, print. The only place that decides exit codes.

0 done · 1 a bug (with its traceback) · 2 a mistake in the input · 130 interrupted, with everything kept.
Nothing heavy is imported at the top: `automl-car --help` and `automl-car plugins` must start in a blink.
"""

from __future__ import annotations

import os
import sys

from automl_car.cli.app import app
from automl_car.errors import AutomlCarError

# Each adds its commands; this is the order of `--help`.
# isort: off
from automl_car.cli import searching  # noqa: F401
from automl_car.cli import checking  # noqa: F401
from automl_car.cli import refitting  # noqa: F401
from automl_car.cli import reporting  # noqa: F401
from automl_car.cli import using  # noqa: F401
from automl_car.cli import judging  # noqa: F401
from automl_car.cli import combining  # noqa: F401
from automl_car.cli import plugins  # noqa: F401
from automl_car.cli import looking  # noqa: F401
from automl_car.cli import beginning  # noqa: F401
from automl_car.cli import configuring  # noqa: F401
# isort: on


def main() -> None:
    """Run the command line and turn errors into text and exit codes."""
    code = _run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `automl-car studies | head`: Python would print a traceback on its way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _run() -> int:
    try:
        app(prog_name="automl-car")  # exits by itself, with 2 where the options are wrong and 130 after Ctrl-C
    except AutomlCarError as error:
        _complain(error)
        return 2
    except SystemExit as end:
        if end.code == 130:
            print("stopped; run the same command again to go on from here", file=sys.stderr)
        return end.code if isinstance(end.code, int) else 0
    return 0


def _complain(error: AutomlCarError) -> None:
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
