#!/usr/bin/env bash
# Every verb of the program on small models, wrong input and exit statuses.
# usage: test_cli.sh PROGRAM DATA_FOLDER
set -u
hone=$1
data=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
model=$data/tiny_conv.onnx
failures=0
export NO_COLOR=1

# expect STATUS WORD ARGUMENT...: the exit status, and an extended regular expression in the output.
expect() {
    local status=$1 word=$2
    shift 2
    "$hone" "$@" >"$tmp/out" 2>"$tmp/err"
    local got=$?
    if [ "$got" != "$status" ] || ! cat "$tmp/out" "$tmp/err" | grep -qE -- "$word"; then
        failures=$((failures + 1))
        echo "FAILED: hone $* (status $got, expected $status and '$word')"
        head -5 "$tmp/out" "$tmp/err"
    fi
}

# holds WHAT COMMAND...: a command that must succeed.
holds() {
    local what=$1
    shift
    if ! "$@"; then
        failures=$((failures + 1))
        echo "FAILED: $what"
    fi
}

is_json() {
    command -v python3 >/dev/null || return 0
    python3 -m json.tool "$1" >/dev/null
}

# Help, misuse.
expect 2 "usage: hone VERB"
expect 0 "usage: hone VERB" help
expect 2 "no verb" frobnicate
expect 2 "no verb" help frobnicate
for verb in inspect check optimize build run bench profile peak diff convert version; do
    expect 0 "examples:" help $verb
    expect 0 "usage: hone $verb" $verb --help
    expect 2 "no option" $verb --frobnicate
done
for verb in inspect check optimize build run bench profile diff convert; do
    expect 2 "is missing" $verb
done
expect 2 "needs an argument" run "$model" --threads
expect 2 "not possible" run "$model" --threads many
expect 2 "one argument too many" inspect "$model" "$model"
expect 0 "^.TH HONE 1" help --man
holds "every verb in the manual" test "$(grep -c '^\.SS' "$tmp/out")" -ge 9
if command -v man >/dev/null && command -v groff >/dev/null; then
    holds "a manual page without warnings" test -z "$(groff -man -ww -Tutf8 "$tmp/out" 2>&1 >/dev/null)"
fi
expect 0 "complete -o default -F _hone hone" help --completion
holds "completion of options" bash -c "source '$tmp/out'; COMP_WORDS=(hone build --exp); COMP_CWORD=2
    _hone; test \"\${COMPREPLY[*]}\" = --explain"
expect 0 "^hone [0-9]+\." version
expect 0 '"isa"' version --json
expect 0 "read +[0-9]" peak --threads 1
expect 0 '"fp32_gflops": [0-9]' peak --threads 1 --json
holds "peak --json" is_json "$tmp/out"

# Verbs of the Python package: listed, and a cure where Python or the package is missing.
expect 0 "compare +measure" help
expect 0 "export +models of PyTorch" help
HONE_PYTHON=$tmp/absent expect 1 "cannot be run.*HONE_PYTHON" compare
printf '#!/bin/sh\necho "asked: $*"\n' >"$tmp/python" && chmod +x "$tmp/python"
HONE_PYTHON=$tmp/python expect 0 "asked: -c" compare a b
HONE_PYTHON=$tmp/python expect 0 "compare --help" help compare

# inspect
expect 0 "image: float32\[batch,3,16,16\]" inspect "$model"
expect 0 "counted at image=4x3x16x16" inspect "$model" --shape image=4x3x16x16
expect 0 '"macs": 129184' inspect "$model" --json --graph "$tmp/g.svg"
holds "inspect --json" is_json "$tmp/out"
holds "a picture" grep -q "</svg>" "$tmp/g.svg"
expect 0 "14 nodes" inspect "$model" --graph "$tmp/g.dot"
holds "a dot file" grep -q "^digraph" "$tmp/g.dot"
expect 1 "ends in .dot or .svg" inspect "$model" --graph "$tmp/g.png"
expect 1 "no input" inspect "$model" --shape nothing=1
expect 1 "has rank" inspect "$model" --shape image=1x3
expect 1 "cannot open" inspect "$tmp/absent.onnx"
expect 1 "next: hone check" inspect "$data/bad_names.onnx"

# Names from a file must not reach the terminal as they are.
LC_ALL=C sed -e 's#a/BatchNorm#\x1b[31mNorm\x07x#g' -e 's#image#\x1b[2JX#g' "$model" >"$tmp/names.onnx"
for verb in "inspect $tmp/names.onnx" "check $tmp/names.onnx" "run $tmp/names.onnx" \
    "run $tmp/names.onnx --input random" "profile $tmp/names.onnx --runs 1" \
    "diff $tmp/names.onnx --level-a 0 --all" "build $tmp/names.onnx -o $tmp/names.hone --explain" \
    "build $tmp/names.onnx -o $tmp/names.hone --max-ram 1" "inspect $tmp/names.hone" \
    "inspect $tmp/names.onnx --json" "inspect $tmp/names.onnx --graph $tmp/names.dot"; do
    # shellcheck disable=SC2086
    "$hone" $verb >"$tmp/out" 2>"$tmp/err"
    holds "no escape sequences: hone $verb" test -z "$(cat "$tmp/out" "$tmp/err" | grep -al $'[\x1b\x07]')"
done
holds "no escape sequences in pictures" test -z "$(grep -al $'[\x1b\x07]' "$tmp/names.dot")"
expect 0 'x1b\[2JX: float32' inspect "$tmp/names.onnx"

# check
expect 0 "0 errors" check "$model"
expect 1 "4 errors, 1 warnings" check "$data/bad_nodes.onnx"
for reason in shape-conflict type-conflict unsupported-operator unsupported-type stale-shape \
    dynamic-shape; do
    holds "reason $reason" grep -q "\[$reason\]" "$tmp/out"
done
expect 1 '"reason": "unsupported-type"' check "$data/bad_nodes.onnx" --json
holds "check --json" is_json "$tmp/out"
expect 1 "3 errors" check "$data/bad_names.onnx"
head -c 3000 "$model" >"$tmp/cut.onnx"
expect 1 "\[malformed\]" check "$tmp/cut.onnx"

# optimize
expect 0 "verified on random inputs" optimize "$model" -o "$tmp/small.onnx"
expect 0 "0 errors" check "$tmp/small.onnx"
expect 0 "fold_constants" optimize --list-passes
expect 0 "throughput|runs per second" bench "$data/tokens.onnx" --seconds 0.01 # indices fit the table
expect 0 "verified on random inputs" optimize "$data/root.onnx" -o "$tmp/root.onnx" # NaN is NaN
expect 0 '"verified": true' optimize "$model" -o "$tmp/small.onnx" --passes remove_dead --json
holds "optimize --json" is_json "$tmp/out"
expect 0 "not verified" optimize "$model" -o "$tmp/none.onnx" --stop-at 0 --no-verify
expect 1 "no pass is called" optimize "$model" -o "$tmp/x.onnx" --passes frobnicate
expect 2 "-o OUT.onnx" optimize "$model"
expect 1 "cannot|No such" optimize "$model" -o "$tmp/absent/x.onnx"

shared=${HONE_SHARED:-$data/../../../shared}/models
if [ -f "$shared/silero_vad.onnx" ]; then
    expect 0 "made-up shape: input is float32.1,[0-9]+" optimize "$shared/silero_vad.onnx" -o "$tmp/vad.onnx"
    expect 1 "to squeeze is empty|must have rank 3" optimize "$shared/silero_vad.onnx" -o "$tmp/x.onnx" \
        --shape input=1x64 --shape state=2x1x128
    expect 0 "have defaults" optimize "$shared/ultraface_rfb_320.onnx" -o "$tmp/face.onnx"
    expect 0 "fold_batchnorm" optimize "$shared/ultraface_rfb_320.onnx" -o "$tmp/face.onnx" --fix-defaults
fi

# build, and engines as input
expect 0 "activations need" build "$model" -o "$tmp/tiny.hone" --shape image=1x3x16x16:2x3x16x16:4x3x16x16
expect 0 "a/BatchNorm +Conv" build "$model" -o "$tmp/fixed.hone" --shape image=2x3x16x16 --explain
expect 0 "alternatives" build "$model" -o "$tmp/fixed.hone" --shape image=2x3x16x16 --explain
holds "what a refusal is for" grep -qE "(kernel is not 3x3|no optimised kernel)" "$tmp/out"
holds "times" grep -q "times are the least of" "$tmp/out"
expect 0 '"arena_bytes"' build "$model" -o "$tmp/fixed.hone" --json --explain
holds "build --json" is_json "$tmp/out"
holds "explain --json" grep -q '"refused": "' "$tmp/out"
expect 1 "over the limit" build "$model" -o "$tmp/x.hone" --max-ram 1k
expect 1 "not of the form" build "$model" -o "$tmp/x.hone" --shape image=1xx3
export XDG_CACHE_HOME=$tmp/cache
expect 0 "nodes" build "$model" -o "$tmp/a.hone" --tune full --tune-cache off
holds "no tuning cache when it is off" test ! -e "$tmp/cache"
digits=$data/../../examples/digits/digits.onnx
expect 0 "nodes" build "$digits" -o "$tmp/a.hone" --tune full --threads 1
expect 0 "nodes" build "$digits" -o "$tmp/b.hone" --tune full --threads 1
holds "the tuning cache decides" cmp -s "$tmp/a.hone" "$tmp/b.hone"
echo rubbish >"$tmp/rubbish"
expect 0 "rubbish is ignored" build "$digits" -o "$tmp/b.hone" --tune quick --tune-cache "$tmp/rubbish"
expect 1 "off, quick or full" build "$model" -o "$tmp/x.hone" --tune hard
expect 2 "not possible" build "$model" -o "$tmp/x.hone" --max-ram lots
expect 0 "an engine" inspect "$tmp/tiny.hone"
holds "inspect shows the profile" grep -q "image: 1x3x16x16 : 2x3x16x16 : 4x3x16x16" "$tmp/out"
holds "inspect shows the memory plan" grep -q "memory plan  .* buffers" "$tmp/out"
expect 0 "softmax +Softmax" inspect "$tmp/tiny.hone" --all --graph "$tmp/engine.svg"
holds "a picture of an engine" grep -q "</svg>" "$tmp/engine.svg"
expect 0 '"kernel": "softmax' inspect "$tmp/tiny.hone" --json
holds "inspect --json of an engine" is_json "$tmp/out"
expect 0 "0 errors" check "$tmp/tiny.hone"
cp "$tmp/tiny.hone" "$tmp/bad.hone"
printf 'x' | dd of="$tmp/bad.hone" bs=1 seek=$(($(stat -c %s "$tmp/bad.hone") - 100)) conv=notrunc 2>/dev/null
expect 1 "\[malformed\] the checksum of the engine's weights" check "$tmp/bad.hone"
expect 1 '"reason": "malformed"' check "$tmp/bad.hone" --json
expect 0 "for ref, built" build "$model" -o "$tmp/ref.hone" --isa ref
expect 1 "no instruction set 'mmx'" build "$model" -o "$tmp/x.hone" --isa mmx
HONE_MAX_ISA=ref expect 0 "scores" run "$tmp/ref.hone" --input random
HONE_MAX_ISA=ref expect 1 "this CPU has ref and cannot build" build "$model" -o "$tmp/x.hone" --isa avx2
if "$hone" build "$model" -o "$tmp/avx2.hone" --isa avx2 >/dev/null 2>&1; then
    expect 0 "scores" run "$tmp/avx2.hone" --input random
    HONE_MAX_ISA=ref expect 1 "packed for avx2, this CPU has ref" run "$tmp/avx2.hone" --input random
    HONE_MAX_ISA=ref expect 0 "an engine" inspect "$tmp/avx2.hone"
fi
expect 1 "is an engine" optimize "$tmp/tiny.hone" -o "$tmp/x.onnx"
expect 1 "outside the engine's profile" run "$tmp/tiny.hone" --input random --shape image=5x3x16x16

# run
expect 0 "scores: float32\[3,10\]" run "$model" --input image=random --shape image=3x3x16x16 \
    --output-dir "$tmp/out1"
holds "one file an output" test -s "$tmp/out1/scores.npy"
holds "no folders from names" test -s "$tmp/out1/scores_raw.npy"
expect 0 "scores" run "$tmp/tiny.hone" --input image=random --shape image=3x3x16x16 \
    --output-dir "$tmp/out2"
holds "the engine file computes the same" cmp -s "$tmp/out1/scores.npy" "$tmp/out2/scores.npy"
expect 0 '"run_ms"' run "$model" --input zeros --json
holds "run --json" is_json "$tmp/out"
expect 1 "input image is missing" run "$model"
expect 1 "with one of the inputs: image" run "$model" --input picture=random
expect 1 "cannot open" run "$model" --input image="$tmp/absent.npy"
expect 1 "the model wants" run "$model" --input image="$tmp/out1/scores.npy"
expect 1 "input image" run "$model" --input image="$model"

# Values through files: what one run writes another reads.
expect 0 "y" optimize "$model" -o "$tmp/same.onnx"
if command -v python3 >/dev/null && python3 -c "import numpy" 2>/dev/null; then
    python3 -c "
import numpy as np
x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
np.save('$tmp/x.npy', x)
np.savez_compressed('$tmp/x.npz', image=x)"
    expect 0 "float32\[2,10\]" run "$model" --input image="$tmp/x.npy" --output-dir "$tmp/a"
    expect 0 "float32\[2,10\]" run "$model" --input "$tmp/x.npz" --output-dir "$tmp/b"
    holds "npy and npz give the same" cmp -s "$tmp/a/scores.npy" "$tmp/b/scores.npy"
fi

# bench, profile
expect 0 "runs per second" bench "$model" --seconds 0.05 --threads 1
expect 0 '"throughput_per_s"' bench "$model" --seconds 0.05 --level 0 --json
holds "bench --json" is_json "$tmp/out"
for key in p50_ms p90_ms p99_ms mean_ms min_ms load_ms first_run_ms peak_rss_bytes arena_bytes \
    threads precision; do
    holds "bench: $key" grep -q "\"$key\"" "$tmp/out"
done
expect 1 "level 7" bench "$model" --level 7
expect 0 "of peak" profile "$model" --runs 2 --trace "$tmp/trace.json"
holds "a trace" is_json "$tmp/trace.json"
holds "trace events" grep -q '"traceEvents"' "$tmp/trace.json"
expect 0 '"peak_gflops"' profile "$tmp/tiny.hone" --runs 2 --json
holds "profile --json" is_json "$tmp/out"

# Whether a choice is slower than another depends on what else the machine does: either answer will do.
dispatch() {
    "$hone" bench "$@" --assert-dispatch --threads 1 >"$tmp/out" 2>"$tmp/err"
    test $? -le 1
}
holds "bench --assert-dispatch" dispatch "$digits"
holds "the problems" grep -q "slower than the fastest" "$tmp/out"
holds "bench --assert-dispatch --json" dispatch "$digits" --json
holds "the problems as JSON" is_json "$tmp/out"
holds "the list of problems" grep -q '"problems"' "$tmp/out"
# A tuning cache that makes the build take the other kernels.
if command -v python3 >/dev/null && [ -s "$tmp/cache/hone/tuning" ]; then
    python3 - "$tmp/cache/hone/tuning" "$tmp/forged" <<'END'
import re, sys, zlib
body = open(sys.argv[1], "rb").read().split(b"\n", 1)[1]
body = re.sub(rb"(\w+=)[0-9.]+ (\w+=)[0-9.]+", rb"\g<1>9.0 \g<2>1.0", body)
open(sys.argv[2], "wb").write(b"hone tuning cache 1 %08x\n" % zlib.crc32(body) + body)
END
    expect 0 "nodes" build "$digits" -o "$tmp/slow.hone" --tune full --threads 1 --tune-cache "$tmp/forged"
    expect 0 "Conv .*igemm +2" inspect "$tmp/slow.hone"
    holds "dispatch of an engine" dispatch "$tmp/slow.hone"
fi

# diff
expect 0 "0 beyond tolerance" diff "$model" --level-a 0 --level-b 2
expect 0 "a/relu" diff "$model" "$tmp/same.onnx" --all
expect 0 '"compared"' diff "$model" --level-a 0 --json
holds "diff --json" is_json "$tmp/out"
expect 2 "needs two levels" diff "$model"
expect 1 "first beyond tolerance: b/relu" diff "$model" "$data/tiny_conv_changed.onnx"
expect 0 "0 beyond tolerance" diff "$model" "$data/tiny_conv_changed.onnx" --rtol 10 --atol 10
expect 1 "an input 'x' that" diff "$model" "$data/../fuzz/corpus/onnx/old_ops.onnx"

# A quantised model to TensorFlow Lite, to ONNX and back: the integers of both files are the same.
expect 0 "before a softmax, differ by [0-2] steps" convert "$data/tiny_quantised.onnx" -o "$tmp/q.tflite"
expect 0 '"quantised": true' convert "$tmp/q.tflite" -o "$tmp/q.onnx" --json
expect 0 "steps at most" convert "$tmp/q.onnx" -o "$tmp/q2.tflite"
expect 0 "y .output. .* 0 of 5" diff "$tmp/q.tflite" "$tmp/q2.tflite" --rtol 0 --atol 0
expect 0 "QConv +ai.hone +1" inspect "$tmp/q.tflite"

# A float model on integers.
expect 0 "on integers, 0 on floats" convert "$model" -o "$tmp/i.tflite" --int8 --calibrate random
expect 0 '"sqnr_db"' convert "$model" -o "$tmp/i.tflite" --int8 --int8-io --calibrate random --json
holds "convert --int8 --json" is_json "$tmp/out"
expect 2 "needs samples" convert "$model" -o "$tmp/i.tflite" --int8

if [ $failures != 0 ]; then
    echo "$failures checks failed"
    exit 1
fi
echo "all checks passed"
