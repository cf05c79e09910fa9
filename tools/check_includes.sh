#!/usr/bin/env bash
# Nothing includes upward: for each folder of src, the folders it may include.
set -euo pipefail
cd "$(dirname "$0")/.."
declare -A allowed=(
    [base]="hone base"
    [ir]="hone base ir"
    [ops]="hone base ir ops"
    [onnx]="hone base ir ops onnx"
    [passes]="hone base ir ops passes"
    [quant]="hone base ir ops passes quant"
    [tflite]="hone base ir ops passes quant tflite"
    [kernels]="hone base kernels"
    [backend]="hone base ir ops kernels backend"
    [engine]="hone base ir ops onnx tflite passes quant kernels backend engine"
    [cli]="hone base ir ops onnx tflite passes quant kernels backend engine cli"
)
failed=0
for folder in "${!allowed[@]}"; do
    while IFS=: read -r file line text; do
        target=$(sed -E 's/.*"([^"\/]+)\/.*/\1/' <<<"$text")
        case " ${allowed[$folder]} " in
        *" $target "*) ;;
        *)
            echo "$file:$line: src/$folder may not include $target/"
            failed=1
            ;;
        esac
    done < <(grep -rnE '^#include "[^"]+/' "src/$folder" --include='*.c' --include='*.h' --include='*.def' || true)
done
[ $failed = 0 ] && echo "include directions: ok"
exit $failed
