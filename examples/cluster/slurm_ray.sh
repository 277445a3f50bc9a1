#!/bin/bash
# One run over an archive on several nodes of Slurm: sbatch slurm_ray.sh
# Run again after a time limit: what is done stays done.
#SBATCH --job-name=changedet-batch
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail
source /shared/changedet/bin/activate

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address="$head:6379"

# The head's node computes as well.
srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --port=6379 --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 20
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) \
        --exclude="$head" \
        ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
fi
sleep 20

# The batch shell runs on the first node, which is the head's.
changedet batch /shared/archive/pairs.csv --model /shared/models/model.onnx \
    --out /shared/archive/changes --engine ray --address auto --num-cpus 4 --progress lines &
run=$!
# Two minutes before the end of its time, the run stops and writes down what is done.
trap 'kill -INT "$run"' TERM
wait "$run" || wait "$run"
