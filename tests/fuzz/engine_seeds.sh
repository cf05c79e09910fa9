#!/bin/sh
# Engine files as seeds of fuzz_engine, made by the program itself, so that they are of the format
# that it reads.    usage: engine_seeds.sh HONE FOLDER
set -eu
hone=$1
out=$2
data="$(cd "$(dirname "$0")/.." && pwd)/data"
mkdir -p "$out"
rm -f "$out"/*.hone

seed() { # NAME MODEL OPTIONS...
    name=$1 model=$2
    shift 2
    "$hone" build "$data/$model" -o "$out/$name.hone" --threads 1 "$@" >/dev/null
    "$hone" inspect "$out/$name.hone" >/dev/null
}
seed conv tiny_conv.onnx
seed reference tiny_conv.onnx --isa ref
seed profile tiny_conv.onnx --shape image=1x3x16x16:2x3x16x16:4x3x16x16
seed bf16 tiny_conv.onnx --precision bf16
for model in "$data"/tflite/*.tflite; do
    seed "$(basename "$model" .tflite)" "tflite/$(basename "$model")"
done
