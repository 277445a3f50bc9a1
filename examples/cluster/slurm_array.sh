#!/bin/bash
# An archive without Ray: each task of a job array does its own part of the catalogue.
#   changedet runs on one node; parts have a folder of their own.
#   split -n l/64 -d -a 2 rows.csv part_    # rows without the names of the columns
#   sbatch --array=0-63%16 slurm_array.sh
#SBATCH --job-name=changedet-part
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
set -euo pipefail
source /shared/changedet/bin/activate

part=$(printf "%02d" "$SLURM_ARRAY_TASK_ID")
folder=/shared/archive
# Relative paths start from the folder of the catalogue.
catalogue="$folder/catalogue_$part.csv"
{ head -n 1 "$folder/pairs.csv"; cat "$folder/part_$part"; } > "$catalogue"
changedet batch "$catalogue" --model /shared/models/model.onnx --out "$folder/changes_$part" \
    --workers $((SLURM_CPUS_PER_TASK / 4)) --threads 4 --progress lines
