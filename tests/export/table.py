"""Export every model of models.py with its proof, and write docs/exports.md from the results.

A process takes a share of the models; what is there already is kept. Keras models need an
interpreter that has TensorFlow.

usage: table.py FOLDER [NAME ...] [--share I/N] [--kind torch|keras] [--write docs/exports.md]
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import pathlib
import subprocess
import time
import traceback
from typing import Any

import models
import numpy as np

from hone.export import Export
from hone.export.inputs import InputSpec, make_value, parse_dynamic
from hone.export.report import cell
from hone.export.result import ExportError


def _settle(model: Any, value: Any) -> None:
    """Random statistics for batch norms and weights for zero heads, else signals vanish."""
    import torch

    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        model.train()
        with torch.no_grad():
            model(torch.cat([value, value]) if value.shape[0] > 1 else value)
    for layer in model.modules():  # heads that start at zero would make all outputs equal
        if isinstance(layer, torch.nn.Linear) and not layer.weight.any():
            torch.nn.init.normal_(layer.weight, std=0.02)
    model.eval()


def _torch(name: str, model: models.Model, path: pathlib.Path) -> Export:
    import torch

    from hone.export import export_torch
    from hone.export.huggingface import export_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = model.make()
    if name.startswith("transformers/"):
        module.eval()
        return export_model(module, path, seconds=0.3)
    spec = InputSpec("input", model.shape, model.dtype, model.top)
    value = torch.from_numpy(make_value(spec, np.random.default_rng(0)))
    _settle(module, value)
    dims = parse_dynamic(model.dynamic)
    return export_torch(module, value, path, dynamic=dims, seconds=0.3)


def _settle_keras(model: Any) -> None:
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    value = np.random.default_rng(0).uniform(0, 255, (4, *model.input_shape[1:]))
    model(value.astype(np.float32), training=True)


def _keras(model: models.Model, path: pathlib.Path) -> Export:
    from hone.export import export_tf

    made = model.make()
    _settle_keras(made)
    return export_tf(made, path, seconds=0.3)


def _file_name(name: str) -> str:
    return name.replace("/", "_").replace(" ", "_")


def _build() -> str:
    """The last commit that changed the engine."""
    root = pathlib.Path(__file__).parents[2]
    command = ["git", "log", "-1", "--format=%h", "--", "src", "include"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout.strip()


def _row(name: str, model: models.Model, folder: pathlib.Path) -> dict[str, Any]:
    path = folder / f"{_file_name(name)}.onnx"
    row: dict[str, Any] = {"name": name, "kind": model.kind, "build": _build()}
    begin = time.perf_counter()
    try:
        is_keras = name in models.KERAS
        result = _keras(model, path) if is_keras else _torch(name, model, path)
    except ExportError as error:
        return {**row, "failed": error.diagnoses[0].message if error.diagnoses else str(error)}
    except Exception as error:
        traceback.print_exc()
        return {**row, "failed": f"{type(error).__name__}: {error}"[:300]}
    assert result.proof is not None
    row.update(
        exporter=result.exporter,
        seconds=time.perf_counter() - begin,
        size=path.stat().st_size,
        nodes=result.n_nodes,
        cases=list(dict.fromkeys(r.case for r in result.proof.rows)),
        comparisons=len(result.proof.rows),
        greatest=min(result.proof.greatest, 1e9),
        problems=[f"{r.runtime}, {r.case}: {r.problem}" for r in result.proof.problems],
        first=result.proof.first,
        remarks=result.remarks,
        measures=[dataclasses.asdict(m) for m in result.measures],
    )
    path.unlink()
    return row


def _dims(cases: list[str]) -> str:
    """Sizes compared at, by dim: "batch 1-3, height 64-96"."""
    seen: dict[str, list[int]] = {}
    for case in cases:
        for part in filter(lambda p: "=" in p, case.split(", ")):
            dim, _, n = part.partition("=")
            seen.setdefault(dim, []).append(int(n))
    return ", ".join(f"{d} {min(n)}-{max(n)}" for d, n in seen.items()) or "fixed"


def _line(row: dict[str, Any]) -> str:
    if "failed" in row:
        what = f"{row['name']} | {row['kind']} | not exported: {cell(row['failed'])}"
        return f"| {what} | | | | | {row['build']} |"
    verdict = f"equal ({row['comparisons']})" if not row["problems"] else row["problems"][0]
    nodes = f"{row['nodes'][0]} to {row['nodes'][1]}"
    cells = [row["name"], row["kind"], row["exporter"], _dims(row["cases"]), verdict]
    cells += [f"{row['greatest']:.0e}", nodes, row["build"]]
    return f"| {' | '.join(map(cell, cells))} |"


_HEAD = """# Exported models

Written by `tests/export/table.py`; random weights, seeded. Each model is exported, run through
hone's passes, and run by its framework, ONNX Runtime and hone on the same inputs at every size
listed ("equal" and the number of comparisons: |a - b| <= 1e-4 max|b| + 1e-3 |b|).
Rows are added by running the script on a folder of results; it keeps what is there, so that the last
column, the commit of the engine, is not the same in all rows.

{summary}

| model | what it does | exporter | sizes compared | proof | greatest difference | nodes by hone's \
passes | engine |
|---|---|---|---|---|---|---|---|
"""


def write(folder: pathlib.Path, target: pathlib.Path) -> None:
    rows = [json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))]
    order = {n: i for i, n in enumerate([*models.TORCH, *models.TRANSFORMERS, *models.KERAS])}
    rows = sorted((r for r in rows if r["name"] in order), key=lambda r: order[r["name"]])
    equal = [r for r in rows if "failed" not in r and not r["problems"]]
    by_dim = [r for r in equal if _dims(r["cases"]) != "fixed"]
    summary = (
        f"{len(rows)} models: {len(equal)} exported and equal, {len(by_dim)} of them with dynamic"
        f" dims; {len(rows) - len(equal)} not."
    )
    text = _HEAD.format(summary=summary) + "\n".join(map(_line, rows)) + "\n"
    target.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--share", default="0/1")
    parser.add_argument("--kind", choices=("torch", "keras"), default="torch")
    parser.add_argument("--write", type=pathlib.Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.write:
        write(args.folder, args.write)
        return
    known = models.KERAS if args.kind == "keras" else {**models.TORCH, **models.TRANSFORMERS}
    part, of = map(int, args.share.split("/"))
    names = args.names or list(known)[part::of]
    for name in names:
        out = args.folder / f"{_file_name(name)}.json"
        if out.exists() and not args.names:
            continue
        row = _row(name, known[name], args.folder)
        out.write_text(json.dumps(row))
        verdict = row.get("failed") or row["problems"][:1] or "equal"
        print(f"{name}: {row.get('exporter')}, {verdict} {row.get('first', '')}", flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
