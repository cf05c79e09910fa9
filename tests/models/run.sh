#!/bin/sh
# Export networks with both of PyTorch's exporters and compare hone with ONNX Runtime on them.
# usage: run.sh PYTHON BUILD [NAME ...]     names as in export_models.py; a small choice by default
set -eu
python=$1
build=$2
shift 2
cd "$(dirname "$0")/../.."
"$python" -m pip install -q -r requirements-test.txt -r requirements-models.txt
export HONE_LIBRARY="$PWD/$build/libhone.so" PYTHONPATH="$PWD/python"
[ $# -gt 0 ] || set -- squeezenet1_1 mobilenet_v2 shufflenet_v2 unet bilstm distilbert
"$python" -W ignore tests/models/export_models.py "$build/models" "$@"
"$python" -W ignore tests/models/compare_ort.py "$build/models"
"$python" -W ignore tests/models/compare_ort.py "$build/models" --precision bf16
"$python" -W ignore -m pytest -q -p no:cacheprovider tests/export
