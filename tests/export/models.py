"""The models of docs/exports.md: how to make each, its inputs, and which dims are dynamic.

Weights are random and seeded; nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "models"))


@dataclasses.dataclass(frozen=True)
class Model:
    """A row: its make gives a module (PyTorch) or a Keras model."""

    kind: str  #: what it does
    make: Callable[[], Any]
    shape: tuple[int, ...] = (2, 3, 64, 64)
    dynamic: str = "input:0=batch"
    dtype: str = "float32"
    top: int = 1000


def _vision(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        import torchvision

        return torchvision.models.get_model(name, weights=None, **options)

    return make


def _segment(name: str) -> Callable[[], Any]:
    return _vision(name, weights_backbone=None, num_classes=5)


def _timm(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        import timm

        return timm.create_model(name, pretrained=False, **options)

    return make


def _zoo(name: str) -> Callable[[], Any]:
    def make() -> Any:
        import zoo

        return getattr(zoo, name)()

    return make


#: small sizes, under every name that configurations use
_SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 1000,
}


def _transformers(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        import transformers

        kind = getattr(transformers, name)
        config = kind.config_class(**options)
        config._attn_implementation = "eager"
        return kind(config)

    return make


def _bert_like(name: str, **options: Any) -> Callable[[], Any]:
    return _transformers(name, **{**_SMALL, **options})


def _keras(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        import keras

        keras.utils.set_random_seed(0)
        return getattr(keras.applications, name)(weights=None, **options)

    return make


_SIZES = "input:0=batch,input:2=height%32,input:3=width%32"
_VISION = ("image classification", (2, 3, 64, 64), "input:0=batch")
_FREE = ("image classification", (2, 3, 64, 96), _SIZES)


def _image(make: Callable[[], Any], is_free: bool = True, size: int = 64) -> Model:
    if is_free:
        return Model(_FREE[0], make, (2, 3, size, size + 32), _SIZES)
    return Model(_VISION[0], make, (2, 3, size, size))


TORCH: dict[str, Model] = {
    "torchvision/squeezenet1_1": _image(_vision("squeezenet1_1")),
    "torchvision/mobilenet_v2": _image(_vision("mobilenet_v2")),
    "torchvision/mobilenet_v3_small": _image(_vision("mobilenet_v3_small")),
    "torchvision/resnet18": _image(_vision("resnet18")),
    # At 64 pixels the last layers see six, whose statistics amplify rounding: ONNX Runtime's result
    # is 1.4e-4 away from PyTorch's.
    "torchvision/resnet50": _image(_vision("resnet50"), size=128),
    "torchvision/efficientnet_b0": _image(_vision("efficientnet_b0")),
    "torchvision/shufflenet_v2_x0_5": _image(_vision("shufflenet_v2_x0_5")),
    "torchvision/mnasnet0_5": _image(_vision("mnasnet0_5")),
    "torchvision/regnet_y_400mf": _image(_vision("regnet_y_400mf")),
    "torchvision/densenet121": _image(_vision("densenet121")),
    "torchvision/googlenet": _image(_vision("googlenet", aux_logits=False, init_weights=False)),
    "torchvision/alexnet": _image(_vision("alexnet"), False, 96),
    "torchvision/convnext_tiny": _image(_vision("convnext_tiny")),
    "torchvision/vit_b_32": _image(_vision("vit_b_32", image_size=64), False),
    "torchvision/swin_t": _image(_vision("swin_t"), False),
    "torchvision/lraspp_mobilenet_v3_large": Model(
        "segmentation", _segment("lraspp_mobilenet_v3_large"), (2, 3, 64, 96), _SIZES
    ),
    "torchvision/fcn_resnet50": Model(
        "segmentation", _segment("fcn_resnet50"), (2, 3, 64, 96), _SIZES
    ),
    "torchvision/deeplabv3_mobilenet_v3_large": Model(
        "segmentation", _segment("deeplabv3_mobilenet_v3_large"), (2, 3, 64, 96), _SIZES
    ),
    "unet": Model("segmentation", _zoo("UNet"), (2, 3, 64, 96), _SIZES),
    "detector with NMS": Model("detection with NMS", _zoo("Detector"), (1, 3, 128, 128), ""),
    "detector with NMS, batches": Model(
        "detection with NMS", _zoo("BatchDetector"), (2, 3, 128, 128)
    ),
    "bilstm": Model("recurrent", _zoo("BiLstm"), (2, 20), "input:0=batch,input:1=length", "int64"),
    "wave_stack": Model(
        "speech", _zoo("WaveStack"), (2, 1, 4000), "input:0=batch,input:2=samples%1000"
    ),
    "timm/resnet10t": _image(_timm("resnet10t")),
    "timm/mobilenetv4_conv_small": _image(_timm("mobilenetv4_conv_small")),
    "timm/ghostnet_100": _image(_timm("ghostnet_100")),
    "timm/edgenext_xx_small": _image(_timm("edgenext_xx_small"), False),
    "timm/repvgg_a0": _image(_timm("repvgg_a0")),
    "timm/deit_tiny_patch16_224": _image(_timm("deit_tiny_patch16_224", img_size=64), False),
    "timm/mixer_s32_224": _image(_timm("mixer_s32_224", img_size=64), False),
    "timm/poolformer_s12": _image(_timm("poolformer_s12")),
    "timm/mobilevit_xxs": _image(_timm("mobilevit_xxs"), False),
    "timm/lcnet_050": _image(_timm("lcnet_050")),
}

#: made from configurations; their inputs too
TRANSFORMERS: dict[str, Model] = {
    "transformers/BertForSequenceClassification": Model(
        "text", _bert_like("BertForSequenceClassification")
    ),
    "transformers/DistilBertModel": Model(
        "text",
        _transformers(
            "DistilBertModel", dim=64, n_layers=2, n_heads=4, hidden_dim=128, vocab_size=1000
        ),
    ),
    "transformers/RobertaForTokenClassification": Model(
        "text", _bert_like("RobertaForTokenClassification")
    ),
    "transformers/ElectraModel": Model("text", _bert_like("ElectraModel", embedding_size=64)),
    "transformers/AlbertModel": Model("text", _bert_like("AlbertModel", embedding_size=32)),
    "transformers/GPT2LMHeadModel": Model(
        "text generation",
        _transformers("GPT2LMHeadModel", n_embd=64, n_layer=2, n_head=4, vocab_size=1000),
    ),
    "transformers/LlamaForCausalLM": Model(
        "text generation", _bert_like("LlamaForCausalLM", num_key_value_heads=2)
    ),
    "transformers/Qwen2ForCausalLM": Model(
        "text generation", _bert_like("Qwen2ForCausalLM", num_key_value_heads=2)
    ),
    "transformers/T5ForConditionalGeneration": Model(
        "translation",
        _transformers(
            "T5ForConditionalGeneration",
            d_model=64,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            vocab_size=1000,
        ),
    ),
    "transformers/ViTForImageClassification": Model(
        "image classification",
        _bert_like("ViTForImageClassification", image_size=64, patch_size=16),
    ),
    "transformers/SegformerForSemanticSegmentation": Model(
        "segmentation", _transformers("SegformerForSemanticSegmentation", image_size=64)
    ),
    "transformers/Wav2Vec2ForCTC": Model(
        "speech",
        _bert_like(
            "Wav2Vec2ForCTC",
            conv_dim=(32,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
            vocab_size=32,
        ),
    ),
    "transformers/WhisperForConditionalGeneration": Model(
        "speech",
        _transformers(
            "WhisperForConditionalGeneration",
            d_model=64,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=128,
            decoder_ffn_dim=128,
            max_source_positions=100,
            vocab_size=1000,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        ),
    ),
}

KERAS: dict[str, Model] = {
    "keras/MobileNetV2": Model(
        "image classification", _keras("MobileNetV2", input_shape=(96, 96, 3))
    ),
    "keras/MobileNetV3Small": Model(
        "image classification", _keras("MobileNetV3Small", input_shape=(96, 96, 3))
    ),
    "keras/ResNet50": Model(  # its softmax on random weights gives zeros and a one
        "image classification",
        _keras("ResNet50", classifier_activation=None, input_shape=(64, 64, 3)),
    ),
    # The same; and at 64 pixels, as with torchvision's resnet50, ONNX Runtime is 2.8e-4 away from Keras.
    "keras/EfficientNetB0": Model(
        "image classification",
        _keras("EfficientNetB0", classifier_activation=None, input_shape=(128, 128, 3)),
    ),
    "keras/DenseNet121": Model(
        "image classification", _keras("DenseNet121", input_shape=(64, 64, 3))
    ),
    "keras/NASNetMobile": Model(
        "image classification", _keras("NASNetMobile", input_shape=(64, 64, 3))
    ),
}
