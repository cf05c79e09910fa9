#!/bin/sh
# Export networks with both of PyTorch's exporters and compare hone with ONNX Runtime on them; convert
# these and others to TensorFlow Lite and compare LiteRT with ONNX Runtime.
# usage: run.sh PYTHON BUILD [NAME ...]     names as in export_models.py; a small choice by default
set -eu
python=$1
build=$2
shift 2
cd "$(dirname "$0")/../.."
converted="efficientnet_b0 mobilenet_v3_large googlenet mnasnet1_0 regnet_y_400mf densenet121
    lraspp_mobilenet_v3 wave_stack resnet18 mobilenet_v3_small deit_tiny_patch16_224 edgenext_xx_small
    ghostnet_100 lcnet_050 mixer_s32_224 mobilenetv4_conv_small mobilevit_xxs poolformer_s12 repvgg_a0
    resnet10t albert electra roberta"
"$python" -m pip install -q -r requirements-test.txt -r requirements-models.txt
export HONE_LIBRARY="$PWD/$build/libhone.so" PYTHONPATH="$PWD/python"
least=0
if [ $# = 0 ]; then
    set -- squeezenet1_1 mobilenet_v2 shufflenet_v2 unet bilstm distilbert
    least=25
fi
"$python" -W ignore tests/models/export_models.py "$build/models" "$@"
"$python" -W ignore tests/models/compare_ort.py "$build/models"
"$python" -W ignore tests/models/compare_ort.py "$build/models" --precision bf16
# shellcheck disable=SC2086  # a list of words
"$python" -W ignore tests/models/export_models.py "$build/models-converted" $converted --only old --here
"$python" -W ignore tests/models/compare_litert.py "$build/models" "$build/models-converted" --at-least $least
"$python" -W ignore -m pytest -q -p no:cacheprovider tests/export
