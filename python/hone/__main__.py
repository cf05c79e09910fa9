"""``python -m hone VERB``: verbs written in Python; all others are the program's.

A verb is a module with ``main(arguments) -> exit status`` (0 done, 1 failed, 2 misused). It is
imported only when asked for. The program `hone` sends its users here for these verbs
(``src/cli/python.c`` lists them for its help).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from . import _program

#: verb: the module, below this package
VERBS = {
    "compare": ".compare.command",
    "convert": "._convert",
    "export": ".export.command",
}


def main(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in VERBS:
        try:
            module = importlib.import_module(VERBS[arguments[0]], __package__)
        except ModuleNotFoundError as error:
            sys.exit(
                f"hone: 'hone {arguments[0]}' needs the Python package {error.name}, which"
                f" {sys.executable} lacks\n  next: {sys.executable} -m pip install {error.name},"
                " or set HONE_PYTHON to the interpreter that has it"
            )
        status: int = module.main(arguments[1:])
        return status
    sys.argv[1:] = arguments
    _program.main()
    return 0  # not reached: the program takes this process over


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
