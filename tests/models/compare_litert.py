"""Convert every model of some folders to TensorFlow Lite and compare LiteRT with ONNX Runtime on it.

`hone convert --verify litert` writes the file: hone's own check and LiteRT's against hone come with that.
Then LiteRT's interpreter, as it is (with XNNPACK), and ONNX Runtime run the same seeded inputs; an output
passes when |litert - ort| <= ATOL * max|ort| + RTOL * |ort| everywhere. Open dims are fixed. A model
that the writer refuses gets a line with the reasons, by code and how often. The models of HONE_SHARED
(default ../shared) are in the list too.

usage: compare_litert.py [FOLDER|FILE ...] [--at-least N] [--markdown FILE]
Exits with 1 when an output differs, or when fewer than N networks were converted (NAME and NAME_dynamo,
from two exporters, are one).
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import gc
import pathlib
import sys
import tempfile
import time
import zlib

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from compare_ort import SHARED, cases, difference, ort_session

import hone
from hone._convert import ConvertError

RTOL, ATOL = 1e-4, 5e-5


@dataclasses.dataclass
class Row:
    """What is said of a model; `error` is relative to the largest element of the output."""

    name: str
    status: str = "ok"
    dims: str = ""
    operators: int = 0
    seconds: float = 0.0
    error: float = 0.0
    reasons: str = ""


def name_of(path: pathlib.Path) -> str:
    """With its folder's name, as models of several folders have the same."""
    folder = "shared" if path.parent == SHARED / "models" else path.parent.name
    return f"{folder}/{path.stem}"


def run_litert(path: pathlib.Path, feed: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """Outputs by name, and how many operators the file has."""
    peer = Interpreter(str(path), num_threads=2)
    names = [op["op_name"] for op in peer._get_ops_details()]
    return peer.get_signature_runner()(**feed), len(names)


def describe(error: ConvertError) -> str:
    """Each reason, the operators that it is given for, and how often."""
    found = collections.Counter((f["reason"], f["op"]) for f in error.findings)
    times = {key: f" {n} times" if n > 1 else "" for key, n in found.items()}
    return ", ".join(f"{key[0]} ({key[1]}{times[key]})" for key in sorted(found))


def compare(path: pathlib.Path, folder: pathlib.Path) -> Row:
    row = Row(name_of(path))
    peer = ort_session(path)
    names = [o.name for o in peer.get_outputs()]
    feed = cases(peer, zlib.crc32(path.stem.encode()))[0]
    open_dims = {i.name for i in peer.get_inputs() if any(not isinstance(d, int) for d in i.shape)}
    shapes = {name: value.shape for name, value in feed.items() if name in open_dims}
    row.dims = ", ".join(f"{n}={'x'.join(map(str, s))}" for n, s in shapes.items())
    want = dict(zip(names, peer.run(None, feed)))
    del peer
    made = folder / "m.tflite"
    start = time.perf_counter()
    try:
        hone.convert(path, made, shapes=shapes, verify="litert")
    except ConvertError as error:
        row.status = "refused" if error.findings else "FAILED"
        row.reasons = describe(error) or str(error).splitlines()[0]
        return row
    row.seconds = time.perf_counter() - start
    got, row.operators = run_litert(made, feed)
    for name, value in want.items():
        _, _, _, is_near = difference(got[name], value, RTOL, ATOL)
        top = max(float(np.abs(value).max()), 1e-30)
        row.error = max(row.error, float(np.abs(got[name].astype(np.float64) - value).max()) / top)
        row.status = row.status if is_near else "DIFFERS"
    return row


def attempt(path: pathlib.Path) -> Row:
    """Compare; what goes wrong is told in the row."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return compare(path, pathlib.Path(folder))
        except Exception as error:  # those of ONNX Runtime and LiteRT share no base class
            return Row(name_of(path), "FAILED", reasons=(str(error).splitlines() or [repr(error)])[0])


COLUMNS = ("model", "LiteRT", "operators", "error", "seconds", "fixed dims, or reasons")


def cells(row: Row) -> tuple[str, ...]:
    made = row.operators > 0
    figures = (f"{row.operators}", f"{row.error:.1e}", f"{row.seconds:.1f}") if made else ("", "", "")
    return (row.name, row.status, *figures, row.reasons or row.dims)


def text_line(words: tuple[str, ...]) -> str:
    return "{:40} {:8} {:>9} {:>9} {:>7}  {}".format(*words)


def networks(rows: list[Row]) -> set[str]:
    return {pathlib.Path(row.name).name.removesuffix("_dynamo") for row in rows if row.status == "ok"}


def summary(rows: list[Row]) -> str:
    n = collections.Counter(row.status for row in rows)
    return (
        f"{len(rows)} files: {n['ok']} converted and equal ({len(networks(rows))} networks), "
        f"{n['refused']} refused, {n['DIFFERS']} differ, {n['FAILED']} failed"
    )


HEAD = """# Models converted to TensorFlow Lite

Written by `python tests/models/compare_litert.py FOLDER ... --markdown docs/conversion-models.md`, for the
models of `tests/models/export_models.py` (by both of PyTorch's exporters), those of
`bench/export_standard.py`, and the shared ones. Each was converted by `hone convert --verify litert`, and
LiteRT's outputs on seeded inputs were compared with ONNX Runtime's on the .onnx: |a - b| <= {atol:g} max|b| +
{rtol:g} |b|. The error is the greatest difference of an output relative to its largest element. The seconds
are those of the conversion with both checks. The last column has the dims that were fixed, or the reason
codes for which the model was refused (`docs/tflite.md`).

{summary}.

"""


def markdown(rows: list[Row]) -> str:
    head = HEAD.format(rtol=RTOL, atol=ATOL, summary=summary(rows))
    lines = [COLUMNS, ("---", "---", "--:", "--:", "--:", "---"), *map(cells, rows)]
    return head + "".join(f"| {' | '.join(words)} |\n" for words in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("places", nargs="*", type=pathlib.Path)
    parser.add_argument("--at-least", type=int, default=0)
    parser.add_argument("--markdown", type=pathlib.Path, metavar="FILE", help="write the table there too")
    args = parser.parse_args()
    paths = []
    for place in [*args.places, SHARED / "models"]:
        paths += [place] if place.is_file() else sorted(place.glob("*.onnx"))
    print(text_line(COLUMNS))
    rows = []
    for path in paths:
        rows.append(attempt(path))
        print(text_line(cells(rows[-1])), flush=True)
        gc.collect()
    print(summary(rows))
    if args.markdown:
        args.markdown.write_text(markdown(rows))
    n = len(networks(rows))
    if n < args.at_least:
        print(f"only {n} networks, not {args.at_least}, were converted")
    return int(n < args.at_least or any(row.status in ("DIFFERS", "FAILED") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
