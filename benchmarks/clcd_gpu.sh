#!/usr/bin/env bash
# The runs on CLCD that need a GPU: the seed's table on ResNet-50, the large recipe, the ingredients.
#
#   benchmarks/clcd_gpu.sh CLCD WEIGHTS OUT [EPOCHS] [SEEDS]
#
# WEIGHTS is a file with ImageNet weights of a ResNet-50. It can be stopped and started again: what
# is finished is kept. A part that fails keeps no other from running. EPOCHS is the length of every
# run of both tables (default 60, at most that of the faithful recipes' learning-rate table; the row
# of 45 epochs then equals the full one, and its claim is not run); the large recipe keeps its own.
# Where CLCD has its test split, the tables report on it, too: change no recipe by those figures.
# Needs the extras lite0 and lite2.
set -euo pipefail
part=${CLCD_PART:-all}
data=$1 weights=$2 out=$3 epochs=${4:-60} seeds=${5:-0}
mkdir -p "$out"

# An ablation that was begun goes on; its finished runs are kept.
resume() { if [ -e "$1/$2" ]; then echo --resume; fi; }

# The large recipe once for each seed, and the mean of them where there are several.
large() {
  local seed run start members=() weights_of=$out/large_mean.safetensors
  for seed in ${seeds//,/ }; do
    run=$out/large_$seed
    if [ -e "$run/checkpoints/last.safetensors" ]; then
      changedet train --out "$run" --resume
    else
      # A run that was killed before its first checkpoint begins anew.
      start=()
      if [ -e "$run" ]; then start=(--overwrite); fi
      changedet train pyramid_large --data "$data" --out "$run" "${start[@]}" \
        --set model.encoder_weights="$weights" --set training.seed="$seed"
    fi
    members+=("$run/best.safetensors")
  done
  if [ "${#members[@]}" -gt 1 ]; then
    changedet ensemble "${members[@]}" --out "$weights_of" --overwrite
  else
    weights_of=${members[0]}
  fi
  changedet calibrate "$weights_of" "$out/large.safetensors" --data "$data" --split val \
    --overwrite
  changedet benchmark accuracy "${members[@]}" "$out/large.safetensors" --data "$data" --split val \
    --threshold-split val --out "$out/accuracy" --overwrite
}

# shellcheck disable=SC2046 # no option where there is nothing to resume
seed() {
  changedet ablate seed --data "$data" --out "$out/seed" --epochs "$epochs" --seeds "$seeds" \
    --set model.encoder_weights="$weights" --set data.cache=memory $(resume "$out/seed" ablation.json)
}

# shellcheck disable=SC2046
pyramid() {
  changedet ablate pyramid --data "$data" --out "$out/pyramid" --epochs "$epochs" --seeds "$seeds" \
    $(resume "$out/pyramid" ablation.json)
}

if [ "$part" != all ]; then
  "$part"
  exit
fi
failed=0
for part in large seed pyramid; do
  # In a shell of its own, where the first command that fails ends the part.
  CLCD_PART=$part bash "$0" "$@" || {
    failed=$?
    # Ctrl-C, or a signal, is meant for all of it.
    if [ "$failed" -ge 128 ]; then exit "$failed"; fi
  }
done
if [ "$failed" -ne 0 ]; then exit 1; fi
