"""The command line of hone export."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import report
from .inputs import make_value, parse_dynamic, parse_input
from .result import Export, ExportError
from .users import ModelError, make_module


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-o", "--output", required=True, metavar="M.onnx")
    common.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=SHAPE[:DTYPE][<TOP]",
        help="an input, as in x=1x3x224x224 or ids=1x16:int64<1000; integers are below TOP",
    )
    common.add_argument(
        "--dynamic", default="", metavar="INPUT:AXIS=NAME[%%STEP],...", help="dims that may change"
    )
    common.add_argument("--no-optimize", action="store_true", help="leave hone's passes out")
    common.add_argument("--no-report", action="store_true", help="write no M.md and M.html")
    common.add_argument("--seconds", type=float, default=0.5, help="how long to time each runtime")
    common.add_argument("--explain", action="store_true", help="say why an exporter failed, where")
    parser = argparse.ArgumentParser(
        prog="hone export", description="export a model as ONNX and prove that it is the same"
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    torch = kinds.add_parser("torch", parents=[common], help="a PyTorch module")
    torch.add_argument("factory", metavar="MODULE:FACTORY", help="what makes it, without arguments")
    torch.add_argument("--exporter", choices=("auto", "dynamo", "torchscript"), default="auto")
    hf = kinds.add_parser("hf", parents=[common], help="a Hugging Face model in a folder")
    hf.add_argument("folder", help="with config.json, and weights unless --random-weights")
    hf.add_argument("--random-weights", action="store_true")
    hf.add_argument("--exporter", choices=("auto", "dynamo", "torchscript"), default="auto")
    tf = kinds.add_parser("tf", parents=[common], help="a Keras file or a SavedModel folder")
    tf.add_argument("model", metavar="SAVEDMODEL|KERAS_FILE")
    tf.add_argument("--channels-first", action="append", default=[], metavar="INPUT")
    tf.add_argument("--exporter", choices=("auto", "keras", "tf2onnx"), default="auto")
    return parser.parse_args(arguments)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "dynamic": parse_dynamic(args.dynamic),
        "exporter": args.exporter,
        "optimize": not args.no_optimize,
        "seconds": args.seconds,
        "report": not args.no_report,
    }


def _torch(args: argparse.Namespace) -> Export:
    import torch

    from .torch_model import export_torch

    specs = [parse_input(text) for text in args.input]
    if not specs:
        raise ValueError("--input is missing: one for each argument of forward, in its order")
    rng = np.random.default_rng(0)
    values = [torch.from_numpy(make_value(spec, rng)) for spec in specs]
    names = [spec.name for spec in specs]
    model = make_module(args.factory)
    return export_torch(model, values, args.output, input_names=names, **_options(args))


def _hf(args: argparse.Namespace) -> Export:
    from .huggingface import export_hf

    options = _options(args)
    options["dynamic"] = options["dynamic"] or None
    return export_hf(args.folder, args.output, random_weights=args.random_weights, **options)


def _tf(args: argparse.Namespace) -> Export:
    from .tf_model import export_tf

    specs = [parse_input(text) for text in args.input] or None
    first = args.channels_first
    return export_tf(args.model, args.output, inputs=specs, channels_first=first, **_options(args))


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    try:
        result = {"torch": _torch, "hf": _hf, "tf": _tf}[args.kind](args)
    except ExportError as error:
        print("hone: no exporter could export the model", file=sys.stderr)
        for d in error.diagnoses:
            text = d.text() if args.explain else f"{d.exporter}: {d.what}"
            print(text, file=sys.stderr)
        if not args.explain:
            print("  next: the same with --explain", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"hone: export needs a package that is missing: {error}", file=sys.stderr)
        return 1
    except ModelError as error:
        print(f"hone: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"hone: {error}", file=sys.stderr)
        return 2
    print(f"{result.path}:")
    print("\n".join(f"  {line}" for line in report.facts(result)))
    for m in result.measures:
        print(f"  {m.runtime}: {m.latency_ms:.3f} ms")
    if args.explain:
        print("\n".join(d.text() for d in result.diagnoses))
    print("".join(f"  report: {path}\n" for path in result.reports), end="")
    return 0 if result.is_proved else 1
