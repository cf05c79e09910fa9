"""The command line of hone compare."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import pathlib
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence

from .._native import HoneError, find_library
from . import accuracy, machine, markdown, page, profile, results, terminal
from .adapters import FRAMEWORKS
from .agreement import Outputs
from .cases import Case, open_case
from .measure import Effort, Setting, compare
from .peer import ISA_LIMITS
from .results import OURS, Document, Result
from .tables import number

PRECISIONS = ("fp32", "bf16", "int8")
QUICK = Effort(rounds=3, seconds=0.15, least=2, loads=1)

EXAMPLES = """examples:
  hone compare model.onnx --with ort,openvino --threads 1,2
  hone compare *.onnx --precision fp32,bf16 --html compare.html --json compare.json --resume
  hone compare model.onnx --isa avx2 --batch 1,8 --quick

Beside NAME.onnx may lie NAME.inputs.json (shapes and valid values of inputs), NAME.int8.onnx,
NAME.tflite (LiteRT) and NAME.pt2 (torch, torch-compile). A framework that is not installed, or
lacks its file, is listed as absent."""


def _list(kinds: Sequence[str]):  # type: ignore[no-untyped-def]
    def parse(text: str) -> list[str]:
        words = [w for w in text.split(",") if w]
        for word in words:
            if word not in kinds:
                raise argparse.ArgumentTypeError(f"'{word}' is none of {', '.join(kinds)}")
        return list(dict.fromkeys(words))

    return parse


def _numbers(text: str) -> list[int]:
    try:
        values = [int(word) for word in text.split(",")]
    except ValueError:
        values = [0]
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of positive numbers")
    return list(dict.fromkeys(values))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    peers = [name for name in FRAMEWORKS if name != OURS]
    parser = argparse.ArgumentParser(
        prog="hone compare",
        description="Measure models beside other frameworks: the same inputs to all, outputs"
        " checked first, rounds by turns.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("models", nargs="+", type=pathlib.Path, metavar="MODEL", help="an ONNX file")
    add(
        "--with",
        dest="peers",
        type=_list(peers),
        default=peers,
        metavar="NAME,...",
        help=f"whom to compare with (default: {','.join(peers)})",
    )
    add("--threads", type=_numbers, default=[1], metavar="N,...", help="default 1")
    add("--batch", type=_numbers, default=[1], metavar="N,...", help="default 1")
    add(
        "--precision",
        type=_list(PRECISIONS),
        default=["fp32"],
        metavar="P,...",
        help="fp32, bf16, int8 (default fp32)",
    )
    add("--rounds", type=int, default=Effort.rounds, help=f"default {Effort.rounds}")
    add(
        "--seconds",
        type=float,
        default=Effort.seconds,
        metavar="S",
        help=f"of each framework in a round (default {Effort.seconds:g})",
    )
    add("--quick", action="store_true", help="fewer and shorter rounds: a look, no result")
    add("--dim", action="append", default=[], metavar="NAME=SIZE", help="size of an open dim")
    add(
        "--isa",
        choices=sorted(ISA_LIMITS),
        default="",
        help="limit all frameworks that can be limited to this instruction set",
    )
    add(
        "--tune",
        choices=("off", "quick", "full"),
        default="full",
        help="how long hone's builder looks for kernels (default full)",
    )
    add("--accuracy", action="store_true", help="errors against the model in FP64, too (slow)")
    add("--json", type=pathlib.Path, metavar="FILE", help="write all that was measured")
    add("--markdown", type=pathlib.Path, metavar="FILE", help="write the tables")
    add("--html", type=pathlib.Path, metavar="FILE", help="write a page with charts")
    add(
        "--resume",
        action="store_true",
        help="keep what the --json file has already, and measure the rest",
    )
    add(
        "--work",
        type=pathlib.Path,
        metavar="DIR",
        help="keep engines and inputs here (default: a temporary folder)",
    )
    args = parser.parse_args(arguments)
    if args.resume and not args.json:
        parser.error("--resume needs --json FILE")
    if args.rounds < 1 or args.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    return args


def _sizes(words: Sequence[str]) -> dict[str, int]:
    sizes = {}
    for word in words:
        name, _, size = word.partition("=")
        if not size.isdigit():
            raise HoneError(f"--dim {word}: NAME=SIZE is wanted")
        sizes[name] = int(size)
    return sizes


def _effort(args: argparse.Namespace) -> Effort:
    return QUICK if args.quick else Effort(rounds=args.rounds, seconds=args.seconds)


def _open_document(args: argparse.Namespace) -> Document:
    effort = _effort(args)
    settings = {**dataclasses.asdict(effort), "tune": args.tune, "isa": args.isa}
    settings["library"] = hashlib.sha256(find_library().read_bytes()).hexdigest()[:16]
    if args.resume and args.json.exists():
        document = results.read(args.json)
        if document.settings != settings:
            raise HoneError(
                f"{args.json} was measured with other options or another build of hone: leave out"
                " --resume, or delete it"
            )
        return document
    return Document(machine.describe(args.threads, args.isa), settings)


def _settings(args: argparse.Namespace, case: Case, work: pathlib.Path) -> Iterator[Setting]:
    """The configurations of a model. FP32 comes first: the others are compared with it."""
    for batch in args.batch if case.has_batch else [1]:
        for precision in sorted(args.precision, key=PRECISIONS.index):
            for threads in args.threads:
                yield Setting(case, precision, threads, batch, args.tune, args.isa, work)


def summary(result: Result) -> str:
    times = [
        f"{name} {number(o.latency.median) + ' ms' if o.latency else o.status}"
        for name, o in result.outcomes.items()
        if o.status != "absent"
    ]
    ratio = f"; ratio {number(result.ratio.median)}" if result.ratio else ""
    return ", ".join(times) + ratio


class Comparison:
    """One model after the other; the document is written after each configuration."""

    def __init__(self, args: argparse.Namespace, document: Document, work: pathlib.Path) -> None:
        self.args, self.document, self.work = args, document, work
        self.effort = _effort(args)
        self.frameworks = [OURS, *args.peers]

    def is_known(self, setting: Setting) -> bool:
        key = (setting.case.name, setting.precision, setting.threads, setting.batch)
        known = self.document.find(key)
        return known is not None and set(self.frameworks) <= set(known.outcomes)

    def run(self, cases: Sequence[Case]) -> None:
        plan = [s for case in cases for s in _settings(self.args, case, self.work)]
        todo = [s for s in plan if not self.is_known(s)]
        progress = terminal.Progress(len(todo))
        try:
            for case in cases:
                self._run_model([s for s in todo if s.case is case], progress)
        finally:
            progress.clear()

    def _run_model(self, settings: Sequence[Setting], progress: terminal.Progress) -> None:
        anchors: dict[int, tuple[str, Outputs]] = {}
        exact: Outputs | None = None
        for setting in settings:
            case, batch = setting.case, setting.batch
            progress.begin(f"{case.name} {setting.label}")
            if self.args.accuracy and batch == self.args.batch[0] and exact is None:
                progress.show(0, "computing in FP64")
                exact = accuracy.reference_outputs(case, batch, self.work)
                if exact is not None:
                    anchors[batch] = ("FP64", exact)
            # A quantised model is another model: its frameworks are compared with each other.
            anchor = None if setting.precision == "int8" else anchors.get(batch)
            result, versions, outputs = compare(
                setting, self.frameworks, self.effort, progress.show, anchor
            )
            if setting.precision == "fp32" and result.anchor in outputs:
                anchors.setdefault(batch, (f"{result.anchor} in FP32", outputs[result.anchor]))
            is_first = setting.threads == self.args.threads[0]
            if exact is not None and batch == self.args.batch[0] and is_first:
                accuracy.record(self.document, case, setting.precision, outputs, exact)
            if self.args.html and is_first and batch == self.args.batch[0]:
                profile.record(self.document, setting)
            self.document.versions.update(versions)
            self.document.put(result)
            if self.args.json:
                self.document.write(self.args.json)
            progress.finish(summary(result))


def _write_reports(args: argparse.Namespace, document: Document, command: str) -> None:
    if args.json:
        document.write(args.json)
    if args.markdown:
        args.markdown.write_text(markdown.render(document, command))
    if args.html:
        args.html.write_text(page.render(document, command))


@contextlib.contextmanager
def _work_folder(wanted: pathlib.Path | None) -> Iterator[pathlib.Path]:
    if wanted:
        wanted.mkdir(parents=True, exist_ok=True)
        yield wanted.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="hone-compare-") as folder:
        yield pathlib.Path(folder)


def _command_text(args: argparse.Namespace, arguments: Sequence[str]) -> str:
    """How the reports were made; of many models only how many."""
    models = {str(path) for path in args.models}
    options = [word for word in arguments if word not in models]
    named = sorted(path.name for path in args.models) if len(models) <= 3 else ["MODEL", "..."]
    return "hone compare " + shlex.join([*named, *options])


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    try:
        cases = [open_case(path, _sizes(args.dim)) for path in args.models]
        document = _open_document(args)
        with _work_folder(args.work) as work:
            Comparison(args, document, work).run(cases)
    except (HoneError, ValueError, OSError) as error:
        print(f"hone: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("hone: stopped; --resume goes on from the --json file", file=sys.stderr)
        return 130
    _write_reports(args, document, _command_text(args, arguments))
    print(terminal.render(document))
    ours = (r.outcomes.get(OURS) for r in document.results)
    return int(any(o is not None and o.status in ("wrong", "failed") for o in ours))
