#!/usr/bin/env python3
"""Write the standard list of models that `make bench` compares frameworks on.

For each NAME: NAME.onnx; NAME.pt2, the same module as an exported PyTorch program (for torch and
torch-compile); NAME.inputs.json, which says what valid inputs are. Weights are random (seeded),
with batch norms calibrated as tests/models/export_models.py does, so that nothing vanishes,
overflows or becomes denormal. Batch is a dynamic dim wherever the network allows one. Two models
are not random: silero-vad and UltraFace, from the folder of shared models (HONE_SHARED, by default
../shared). With --convert, NAME.tflite is made by hone where it can be. What is there already is kept.

usage: export_standard.py FOLDER [NAME ...] [--int8] [--convert build/hone] | --list
needs: requirements-models.txt; no network
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "models"))

import torch  # noqa: E402
import zoo  # noqa: E402
from export_models import (  # noqa: E402
    BERT,
    OPSET,
    TOKENS,
    language,
    lraspp,
    settle,
    timm_model,
    vision,
)
from torch import nn  # noqa: E402

SHARED = pathlib.Path(os.environ.get("HONE_SHARED", ROOT.parent / "shared"))

#: An input: element type, dims ("batch" is dynamic), and which values are valid.
Spec = dict[str, Any]
NOISE = {"values": "normal"}


def image(side: int = 224) -> dict[str, Spec]:
    return {"image": {"dtype": "float32", "shape": ["batch", 3, side, side], **NOISE}}


def words(length: int, n_words: int, names: tuple[str, ...] = TOKENS) -> dict[str, Spec]:
    values: dict[str, Spec] = {
        "input_ids": {"values": "integers", "low": 0, "high": n_words},
        "attention_mask": {"values": "fill", "fill": 1},
        "token_type_ids": {"values": "integers", "low": 0, "high": 2},
    }
    return {n: {"dtype": "int64", "shape": ["batch", length], **values[n]} for n in names}


class ConvSilu(nn.Module):
    def __init__(self, n_in: int, n_out: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.silu(self.norm(self.conv(x)))


class Split(nn.Module):
    """A cross-stage partial block: half of the channels pass n bottlenecks, half go by."""

    def __init__(self, n_in: int, n_out: int, n: int, has_skip: bool = True) -> None:
        super().__init__()
        half = n_out // 2
        self.a, self.b = ConvSilu(n_in, half), ConvSilu(n_in, half)
        self.inner = nn.ModuleList(
            nn.Sequential(ConvSilu(half, half), ConvSilu(half, half, 3)) for _ in range(n)
        )
        self.merge, self.has_skip = ConvSilu(n_out, n_out), has_skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        for block in self.inner:
            y = y + block(y) if self.has_skip else block(y)
        return self.merge(torch.cat([y, self.b(x)], 1))


class YoloLike(nn.Module):
    """Backbone, a path down and one up over three scales, boxes and scores decoded: no NMS."""

    def __init__(self, width: int = 16, n_classes: int = 80) -> None:
        super().__init__()
        w = [width << i for i in range(5)]
        self.n_out, self.grids = 5 + n_classes, (80, 40, 20)
        self.stem = nn.Sequential(
            ConvSilu(3, w[0], 3, 2), ConvSilu(w[0], w[1], 3, 2), Split(w[1], w[1], 1)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(ConvSilu(a, b, 3, 2), Split(b, b, n))
            for (a, b), n in zip(itertools.pairwise(w[1:]), (2, 3, 1))
        )
        self.squeeze, self.spread = ConvSilu(w[4], w[3]), ConvSilu(4 * w[3], w[4])
        self.pool, self.up = nn.MaxPool2d(5, 1, 2), nn.Upsample(scale_factor=2)
        self.lateral = nn.ModuleList([ConvSilu(w[4], w[3]), ConvSilu(w[3], w[2])])
        self.down = nn.ModuleList(
            [Split(2 * w[3], w[3], 1, False), Split(2 * w[2], w[2], 1, False)]
        )
        self.stride = nn.ModuleList([ConvSilu(w[2], w[2], 3, 2), ConvSilu(w[3], w[3], 3, 2)])
        self.rise = nn.ModuleList(
            [Split(2 * w[2], w[3], 1, False), Split(2 * w[3], w[4], 1, False)]
        )
        self.heads = nn.ModuleList(nn.Conv2d(c, 3 * self.n_out, 1) for c in w[2:])

    def decode(self, head: torch.Tensor, side: int) -> torch.Tensor:
        y = head.reshape(-1, 3, self.n_out, side * side).permute(0, 1, 3, 2).sigmoid()
        cell = torch.arange(side * side)
        corner = torch.stack([cell % side, cell // side], 1).float()
        step = 640 / side
        xy = (y[..., :2] * 2 - 0.5 + corner) * step
        boxes = torch.cat([xy, (y[..., 2:4] * 2) ** 2 * 4 * step, y[..., 4:]], 3)
        return boxes.reshape(-1, 3 * side * side, self.n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scales = [self.stem(x)]
        for stage in self.stages:
            scales.append(stage(scales[-1]))
        _, c3, c4, c5 = scales
        pools = [self.squeeze(c5)]
        for _ in range(3):
            pools.append(self.pool(pools[-1]))
        top = self.lateral[0](self.spread(torch.cat(pools, 1)))
        middle = self.lateral[1](self.down[0](torch.cat([self.up(top), c4], 1)))
        p3 = self.down[1](torch.cat([self.up(middle), c3], 1))
        p4 = self.rise[0](torch.cat([self.stride[0](p3), middle], 1))
        p5 = self.rise[1](torch.cat([self.stride[1](p4), top], 1))
        heads = (head(p) for head, p in zip(self.heads, (p3, p4, p5)))
        return torch.cat([self.decode(h, side) for h, side in zip(heads, self.grids)], 1)


class BiLstm(nn.Module):
    """Two bidirectional LSTM layers of 256 over word vectors, and a tag for each word."""

    def __init__(self, n_words: int = 10000) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_words, 128)
        self.lstm = nn.LSTM(128, 256, num_layers=2, bidirectional=True, batch_first=True)
        self.tag = nn.Linear(512, 16)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.tag(self.lstm(self.embed(input_ids))[0])


@dataclasses.dataclass(frozen=True)
class Model:
    title: str
    inputs: dict[str, Spec]
    make: Callable[[], nn.Module] | None = None
    shared: str = ""  #: file in the folder of shared models, for a model that is not made


def picture(title: str, make: Callable[[], nn.Module], side: int = 224) -> Model:
    return Model(title, image(side), make)


MODELS = {
    "resnet50": picture("ResNet-50", vision("resnet50")),
    "mobilenet_v2": picture("MobileNetV2", vision("mobilenet_v2")),
    "mobilenet_v3_large": picture("MobileNetV3-Large", vision("mobilenet_v3_large")),
    "efficientnet_b0": picture("EfficientNet-B0", vision("efficientnet_b0")),
    "squeezenet1_1": picture("SqueezeNet 1.1", vision("squeezenet1_1")),
    "shufflenet_v2": picture("ShuffleNetV2", vision("shufflenet_v2_x1_0")),
    "densenet121": picture("DenseNet-121", vision("densenet121")),
    "convnext_tiny": picture("ConvNeXt-Tiny", timm_model("convnext_tiny")),
    "vit_b_16": picture("ViT-B/16", vision("vit_b_16")),
    "swin_t": picture("Swin-T", vision("swin_t")),
    "unet": picture("U-Net 256x256", zoo.UNet, 256),
    "yolo_like": picture("YOLO-like 640x640", YoloLike, 640),
    "lraspp_mobilenet_v3": picture("LR-ASPP MobileNetV3 520x520", lraspp, 520),
    "bert_base": Model(
        "BERT-base, 128 tokens",
        words(128, 30522, BERT),
        language("BertModel", "BertConfig", BERT),
    ),
    "distilbert": Model(
        "DistilBERT, 128 tokens",
        words(128, 30522),
        language("DistilBertModel", "DistilBertConfig", TOKENS),
    ),
    "gpt2": Model(
        "GPT-2, 64 tokens", words(64, 50257), language("GPT2LMHeadModel", "GPT2Config", TOKENS)
    ),
    "bilstm": Model("Bidirectional LSTM, 64 tokens", words(64, 10000, ("input_ids",)), BiLstm),
    "silero_vad": Model(
        "silero-vad",
        {
            "input": {"dtype": "float32", "shape": ["batch", 576], **NOISE},
            "state": {"dtype": "float32", "shape": [2, "batch", 128], **NOISE},
            "sr": {"dtype": "int64", "shape": [], "values": "fill", "fill": 16000},
        },
        shared="silero_vad.onnx",
    ),
    "ultraface": Model(
        "UltraFace RFB-320",
        {"input": {"dtype": "float32", "shape": [1, 3, 240, 320], **NOISE}},
        shared="ultraface_rfb_320_raw.onnx",
    ),
}


def example(inputs: dict[str, Spec], batch: int) -> tuple[torch.Tensor, ...]:
    values = []
    for spec in inputs.values():
        shape = [batch if d == "batch" else d for d in spec["shape"]]
        if spec["values"] == "normal":
            values.append(torch.randn(shape))
        else:
            low = spec.get("low", spec.get("fill"))
            values.append(torch.randint(low, spec.get("high", low + 1), shape))
    return tuple(values)


def batch_axes(inputs: dict[str, Spec]) -> dict[str, int]:
    return {n: s["shape"].index("batch") for n, s in inputs.items() if "batch" in s["shape"]}


def export(model: Model, onnx_path: pathlib.Path, program_path: pathlib.Path) -> None:
    assert model.make is not None
    torch.manual_seed(7)
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operator has no ONNX form
    module = model.make()
    axes = batch_axes(model.inputs)
    with torch.no_grad():
        settle(module, dict(zip(model.inputs, example(model.inputs, 2))))
        torch.onnx.export(
            module,
            example(model.inputs, 2),
            str(onnx_path),
            input_names=list(model.inputs),
            output_names=["output"],
            dynamic_axes={name: {axis: "batch"} for name, axis in axes.items()},
            opset_version=OPSET,
            dynamo=False,
        )
        dim = torch.export.Dim("batch", min=1, max=64)
        shapes: Any = tuple({axes[name]: dim} for name in model.inputs)
        values = example(model.inputs, 2)
        # A transformers model takes its inputs as *values: one argument, which is a tuple.
        wrapped = (shapes,) if hasattr(module, "names") else shapes
        torch.export.save(
            torch.export.export(module, values, dynamic_shapes=wrapped), str(program_path)
        )
        verify(module, model, onnx_path)


def verify(module: nn.Module, model: Model, path: pathlib.Path) -> None:
    """Tracing may keep the size of a batch as a constant: compare with PyTorch at two sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        values = example(model.inputs, batch)
        want = module(*values).numpy()
        feeds = {name: value.numpy() for name, value in zip(model.inputs, values)}
        got = session.run(None, feeds)[0]
        if got.shape != want.shape or abs(got - want).max() > 1e-3 * abs(want).max():
            raise ValueError(f"the exported model differs from PyTorch's at batch {batch}")


def write_int8(path: pathlib.Path, inputs: dict[str, Spec]) -> None:
    """NAME.int8.onnx: quantised by ONNX Runtime's tool, in QDQ form, calibrated on noise."""
    from onnxruntime import quantization as q

    batches = [{n: v.numpy() for n, v in zip(inputs, example(inputs, 1))} for _ in range(4)]

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Any:
            return batches.pop() if batches else None

    prepared = path.with_suffix(".prepared.onnx")
    q.shape_inference.quant_pre_process(str(path), str(prepared))
    q.quantize_static(
        str(prepared),
        str(path.with_suffix(".int8.onnx")),
        Reader(),
        quant_format=q.QuantFormat.QDQ,
        per_channel=True,
        activation_type=q.QuantType.QUInt8,
        weight_type=q.QuantType.QInt8,
    )
    prepared.unlink()


def convert(program: pathlib.Path, path: pathlib.Path, inputs: dict[str, Spec]) -> None:
    """NAME.tflite for a batch of one. What cannot be written is told, and left out."""
    command = [str(program), "convert", str(path), "-o", str(path.with_suffix(".tflite"))]
    for name, spec in inputs.items():
        dims = [1 if d == "batch" else d for d in spec["shape"]]
        command += ["--shape", f"{name}={'x'.join(map(str, dims))}"] if dims else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{path.stem}: no .tflite: {done.stderr.splitlines()[0]}", flush=True)


def write(name: str, folder: pathlib.Path, with_int8: bool) -> str:
    """Write one model. Returns what kept it from being written, or ""."""
    model = MODELS[name]
    path = folder / f"{name}.onnx"
    if not path.exists() and model.shared:
        source = SHARED / "models" / model.shared
        if not source.exists():
            return f"{source} is missing (set HONE_SHARED)"
        shutil.copy(source, path)
        program = source.with_suffix(".tflite")
        if program.exists():
            shutil.copy(program, path.with_suffix(".tflite"))
    elif not path.exists():
        parts = [path.with_suffix(".part" + ending) for ending in (".onnx", ".pt2")]
        export(model, *parts)
        for part in parts:
            part.rename(path.with_suffix(part.suffix))
    facts = {"title": model.title, "inputs": model.inputs}
    path.with_suffix(".inputs.json").write_text(json.dumps(facts, indent=2) + "\n")
    if with_int8 and not path.with_suffix(".int8.onnx").exists():
        write_int8(path, model.inputs)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--int8", action="store_true", help="write NAME.int8.onnx too")
    parser.add_argument("--convert", type=pathlib.Path, metavar="HONE", help="write NAME.tflite too")
    parser.add_argument("--list", action="store_true", help="write nothing; print the files")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_intermixed_args()
    unknown = set(args.names) - set(MODELS)
    if unknown:
        parser.error(f"unknown models: {', '.join(sorted(unknown))}; known: {', '.join(MODELS)}")
    if args.list:
        paths = [args.folder / f"{name}.onnx" for name in args.names or MODELS]
        print("\n".join(str(path) for path in paths if path.exists()))
        return 0
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.one:
        problem = write(args.names[0], args.folder, args.int8)
        print(problem, file=sys.stderr)
        return int(bool(problem))
    failed = []
    for name in args.names or MODELS:
        # A process for each, so that memory goes back to the system between them.
        command = [sys.executable, __file__, str(args.folder), name, "--one"]
        done = subprocess.run(
            command + ["--int8"] * args.int8, capture_output=True, text=True, check=False
        )
        last = (done.stderr.strip().splitlines() or [""])[-1]
        print(f"{name}: {'failed: ' + last if done.returncode else 'ok'}", flush=True)
        failed += [name] if done.returncode else []
        path = args.folder / f"{name}.onnx"
        if args.convert and path.exists() and not path.with_suffix(".tflite").exists():
            convert(args.convert, path, MODELS[name].inputs)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
