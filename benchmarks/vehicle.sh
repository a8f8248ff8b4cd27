#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a vehicle's computer gives, into one folder: engines and the network on its GPU; decode head and node on its processor.
#
#     benchmarks/vehicle.sh [FOLDER]
#
# Set by variables: PYTHON (default python3), CHECKPOINTS to build engines for ("tiny"), PRESETS ("tiny eva02_clip_b
# eva02_clip_l"), BACKENDS ("eager compile tensorrt"), PRECISIONS ("fp16"), SIZES, CAMERAS, CLASSES. What fails is named at
# the end and does not stop the rest; each step's output lies beside its results as NAME.log.
set -u
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:-benchmark_results}")
python=${PYTHON:-python3}
presets=${PRESETS:-tiny eva02_clip_b eva02_clip_l}
backends=${BACKENDS:-eager compile tensorrt}
precisions=${PRECISIONS:-fp16}
sizes=${SIZES:-1024x1024 512x512 640x360 1280x720 1920x1080}
cameras=${CAMERAS:-1 2 6}
classes=${CLASSES:-19 60 150}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$folder"
failed=()

step() {
    local name=$1
    shift
    echo "== $name: $*"
    "$@" 2>&1 | tee "$folder/$name.log"
    [ "${PIPESTATUS[0]}" -eq 0 ] || failed+=("$name")
}

{ date -u +%F; nvidia-smi 2>/dev/null || echo "no nvidia-smi"; git rev-parse HEAD 2>/dev/null; } > "$folder/machine.txt"
for checkpoint in ${CHECKPOINTS:-tiny}; do
    for size in $sizes; do
        step "build_${checkpoint##*/}_$size" "$python" -m vltseg_ros.cli build-engine "$checkpoint" --size "$size"
    done
done
# word splitting is meant below: each variable is a list
# shellcheck disable=SC2086
step network "$python" benchmarks/network.py --presets $presets --backends $backends --precisions $precisions --sizes $sizes \
    --cameras $cameras --classes $classes --plot "$folder" --output "$folder/network.json"
step decode_head "$python" benchmarks/decode_head.py
step node_overhead "$python" benchmarks/node_overhead.py --output "$folder/node_overhead.json"

echo "results in $folder"
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
