"""The command line: parse, call one journey, print. The only place that decides exit codes.

0 done · 1 a bug (with its traceback) · 2 a mistake in the input, or what a person has to mend on the machine, such as
a full disk · 130 interrupted, with everything kept.
Nothing heavy is imported at the top: `automl-car --help` and `automl-car plugins` must start in a blink.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from automl_car.cli.app import app
from automl_car.cli.signals import INTERRUPTED, orderly_ends
from automl_car.console import log_only
from automl_car.errors import AutomlCarError, MachineError
from automl_car.system_errors import as_machine_error

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
    with orderly_ends():
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
    except OSError as error:
        refused = as_machine_error(error)
        if refused is None:
            raise
        _complain(refused)
        return 2
    except MemoryError:
        _complain(MachineError("The memory of this machine does not suffice.", hint="end other programs, and go on."))
        return 2
    except KeyboardInterrupt:  # while an error was told
        return INTERRUPTED
    except SystemExit as end:
        if end.code == INTERRUPTED:
            goes_on = sys.argv[1:2] in (["search"], ["refit"])
            more = "; what is finished is kept: run the same command again to go on from here" if goes_on else ""
            _say(f"stopped{more}")
        return end.code if isinstance(end.code, int) else 0
    return 0


def _complain(error: AutomlCarError) -> None:
    _say(f"error: {error.message}")
    if error.hint:
        _say(f"hint: {error.hint}")


def _say(text: str) -> None:
    """To the terminal, if it is still there, and to the log of this command, if it has one."""
    with suppress(OSError):
        print(text, file=sys.stderr)
    log_only(text)
