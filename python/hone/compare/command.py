"""The command line of hone compare."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hone compare", description="measure models beside other frameworks"
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    print(f"hone: nothing can measure {args.models[0]} yet", file=sys.stderr)
    return 1
