#!/bin/bash
# A training on several nodes with GPUs: sbatch slurm_train.sh
# After its time limit, the same script goes on from the last checkpoint.
#SBATCH --job-name=changedet-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail
source /shared/changedet/bin/activate

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=4
start() {
    srun torchrun --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node=4 \
        --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$head:29500" \
        --max-restarts=3 -m changedet "$@"
}
run=/shared/runs/levir
if [ -d "$run" ]; then
    start train --out "$run" --resume
else
    start train pyramid_small --data /shared/data/levir --out "$run"
fi
