#!/bin/sh
# The main job on real input: the digit classifier, before and after. usage: demo.sh BUILD
set -eu
build=$1
echo "== the model"
"$build/hone" inspect examples/digits/digits.onnx
echo
echo "== what the optimiser does"
"$build/hone" optimize examples/digits/digits.onnx -o "$build/digits-optimized.onnx"
echo
echo "== the engine"
"$build/hone" build examples/digits/digits.onnx -o "$build/digits.hone"
echo
echo "== digits, before and after"
"$build/digits" examples/digits/digits.onnx
