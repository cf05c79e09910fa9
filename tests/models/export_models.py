"""Export networks with seeded random weights as ONNX, by both of PyTorch's exporters.

Needs torch, torchvision, timm and transformers; no network. NAME.onnx is from the older exporter
(tracing), NAME_dynamo.onnx from the newer one. Models that are there already are kept.

usage: export_models.py FOLDER [NAME ...] [--only old|dynamo] [--here]
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
import pathlib
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

import torch  # noqa: E402
import zoo  # noqa: E402
from torch import nn  # noqa: E402

OPSET = 18


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model: how to make it, its example inputs, and which of their dims are dynamic."""

    make: Callable[[], nn.Module]
    inputs: Callable[[], dict[str, torch.Tensor]]
    dynamic: dict[str, dict[int, str]] = dataclasses.field(default_factory=dict)
    outputs: tuple[str, ...] = ("output",)


class Part(nn.Module):
    """A transformers model as a function of tensors."""

    def __init__(self, inner: nn.Module, names: tuple[str, ...], pick: str) -> None:
        super().__init__()
        self.inner, self.names, self.pick = inner, names, pick

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        result = self.inner(**dict(zip(self.names, values)), return_dict=True)
        return getattr(result, self.pick)


def vision(name: str, **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision

        return torchvision.models.get_model(name, weights=None, **options)

    return make


def timm_model(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False)

    return make


class OnlyOut(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.inner(image)["out"]


def lraspp() -> nn.Module:
    import torchvision

    return OnlyOut(
        torchvision.models.segmentation.lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None
        )
    )


TOKENS = ("input_ids", "attention_mask")


def language(model: str, config: str, names: tuple[str, ...], **options: Any):
    def make() -> nn.Module:
        import transformers

        settings = getattr(transformers, config)(**options)
        settings._attn_implementation = "eager"
        if hasattr(settings, "use_cache"):
            settings.use_cache = False
        pick = "logits" if model.endswith("LMHeadModel") else "last_hidden_state"
        return Part(getattr(transformers, model)(settings), names, pick)

    return make


def image(size: int = 224, batch: int = 1) -> Callable[[], dict[str, torch.Tensor]]:
    return lambda: {"image": torch.randn(batch, 3, size, size)}


def tokens(
    names: tuple[str, ...] = TOKENS, n_words: int = 1000
) -> Callable[[], dict[str, torch.Tensor]]:
    def make() -> dict[str, torch.Tensor]:
        values = {n: torch.ones(2, 16, dtype=torch.int64) for n in names}
        values[names[0]] = torch.randint(0, n_words, (2, 16))
        return values

    return make


def dynamic_text(names: tuple[str, ...]) -> dict[str, dict[int, str]]:
    return {n: {0: "batch", 1: "sequence"} for n in names}


def picture(make: Callable[[], nn.Module], size: int = 224, batch: str = "") -> Entry:
    return Entry(make, image(size, 2 if batch else 1), {"image": {0: batch}} if batch else {})


def text(make: Callable[[], nn.Module], names: tuple[str, ...] = TOKENS) -> Entry:
    return Entry(make, tokens(names), dynamic_text(names))


BERT = ("input_ids", "attention_mask", "token_type_ids")
#: of a text model that is to be quick
SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 1000,
}

MODELS: dict[str, Entry] = {
    "mobilenet_v2": picture(vision("mobilenet_v2")),
    "resnet50": picture(vision("resnet50")),
    "bert_base": text(language("BertModel", "BertConfig", BERT), BERT),
    "unet": picture(zoo.UNet, 256),
    "efficientnet_b0": picture(vision("efficientnet_b0")),
    "mobilenet_v3_large": picture(vision("mobilenet_v3_large"), batch="batch"),
    "squeezenet1_1": picture(vision("squeezenet1_1")),
    "shufflenet_v2": picture(vision("shufflenet_v2_x1_0")),
    "googlenet": picture(vision("googlenet", aux_logits=False, init_weights=False)),
    "mnasnet1_0": picture(vision("mnasnet1_0")),
    "regnet_y_400mf": picture(vision("regnet_y_400mf")),
    "densenet121": picture(vision("densenet121")),
    "lraspp_mobilenet_v3": picture(lraspp, 256),
    "detector": Entry(zoo.Detector, image(256), {}, ("boxes", "scores", "labels")),
    "bilstm": Entry(
        zoo.BiLstm,
        lambda: {"tokens": torch.randint(0, 1000, (2, 20))},
        {"tokens": {0: "batch", 1: "length"}},
    ),
    "wave_stack": Entry(
        zoo.WaveStack, lambda: {"sound": torch.randn(1, 1, 8000)}, {"sound": {2: "samples"}}
    ),
    "convnext_tiny": picture(timm_model("convnext_tiny")),
    "swin_t": picture(vision("swin_t")),
    "vit_b_16": picture(vision("vit_b_16")),
    "distilbert": text(language("DistilBertModel", "DistilBertConfig", TOKENS)),
    "gpt2": text(language("GPT2LMHeadModel", "GPT2Config", TOKENS)),
    "t5_encoder": text(language("T5EncoderModel", "T5Config", TOKENS)),
    # Quick ones, of many kinds of blocks.
    "resnet18": picture(vision("resnet18")),
    "mobilenet_v3_small": picture(vision("mobilenet_v3_small")),
    **{
        name: picture(timm_model(name))
        for name in (
            "deit_tiny_patch16_224",
            "edgenext_xx_small",
            "ghostnet_100",
            "lcnet_050",
            "mixer_s32_224",
            "mobilenetv4_conv_small",
            "mobilevit_xxs",
            "poolformer_s12",
            "repvgg_a0",
            "resnet10t",
        )
    },
    "albert": text(language("AlbertModel", "AlbertConfig", TOKENS, **SMALL)),
    "electra": text(language("ElectraModel", "ElectraConfig", TOKENS, **SMALL)),
    "roberta": text(language("RobertaModel", "RobertaConfig", TOKENS, **SMALL)),
}


def settle(model: nn.Module, inputs: dict[str, torch.Tensor]) -> None:
    """Give a fresh model what training would, so that its outputs say something.

    Batch norms take the statistics of noise, which keeps signals from vanishing, and random scales;
    layers that start at zero become random.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for module in model.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.02)
    if norms:
        for norm in norms:
            norm.momentum = 1.0
            nn.init.uniform_(norm.weight, 0.8, 1.2)
            nn.init.uniform_(norm.bias, -0.1, 0.1)
        model.train()
        model(*(torch.randn(4, *x.shape[1:]) for x in inputs.values()))
    model.eval()


def export(name: str, is_dynamo: bool, path: pathlib.Path) -> None:
    entry = MODELS[name]
    torch.manual_seed(7)
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operator has no ONNX form
    model = entry.make()
    inputs = entry.inputs()
    with torch.no_grad():
        settle(model, inputs)
    options: dict[str, Any] = {
        "input_names": list(inputs),
        "output_names": list(entry.outputs),
        "opset_version": OPSET,
        "dynamo": is_dynamo,
    }
    if is_dynamo:
        options.update(external_data=False, verbose=False)
        if entry.dynamic:
            dims = {n: torch.export.Dim.DYNAMIC for d in entry.dynamic.values() for n in d.values()}
            shapes = tuple(
                {i: dims[n] for i, n in entry.dynamic.get(key, {}).items()} for key in inputs
            )
            # Part takes its inputs as *values: one argument, which is a tuple.
            options["dynamic_shapes"] = (shapes,) if isinstance(model, Part) else shapes
    else:
        options["dynamic_axes"] = entry.dynamic
    part = path.with_suffix(".part")
    with torch.no_grad():
        torch.onnx.export(model, tuple(inputs.values()), str(part), **options)
    part.rename(path)
    gc.collect()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--only", choices=("old", "dynamo"))
    parser.add_argument(
        "--here", action="store_true", help="all in this process: quicker, and their memory adds up"
    )
    args = parser.parse_intermixed_args()
    unknown = set(args.names) - set(MODELS)
    if unknown:
        parser.error(f"unknown models: {', '.join(sorted(unknown))}; known: {', '.join(MODELS)}")
    args.folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for kind in [args.only] if args.only else ["old", "dynamo"]:
        for name in args.names or MODELS:
            path = args.folder / f"{name}{'_dynamo' if kind == 'dynamo' else ''}.onnx"
            if path.exists():
                continue
            if args.here:
                export(name, kind == "dynamo", path)
                continue
            # A process for each, so that memory goes back to the system between them.
            command = [sys.executable, __file__, str(args.folder), name, "--only", kind, "--here"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            last = (done.stderr.strip().splitlines() or [""])[-1]
            print(f"{path.name}: {'ok' if path.exists() else 'failed: ' + last}", flush=True)
            if not path.exists():
                failed.append(path.name)
    if failed:
        print(f"not exported: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
