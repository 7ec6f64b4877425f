#!/bin/bash
# A search on several nodes of a Slurm cluster:  sbatch slurm.sh search.toml runs/NAME
# The same line again goes on from what was finished, after a time limit, a requeue or a dead node.
#SBATCH --job-name=arl
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=2G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# With GPUs: #SBATCH --gpus-per-task=2, and gpus=(--gpus-per-worker 0.25) below.
set -euo pipefail

config=$1 out=$2
gpus=()

# source "$HOME/venv/bin/activate"  # with autorobustloss[ray], on a disk that all nodes see
read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address="$first:$((20000 + SLURM_JOB_ID % 20000))" # two jobs on one node do not meet
export RAY_USAGE_STATS_ENABLED=0

# On every node `ray start`, on the first one the head and, once all have joined, the command; at its end all is stopped.
exec srun ray symmetric-run \
  --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$SLURM_CPUS_PER_TASK" -- \
  arl search --config "$config" --out "$out" --executor "ray://$address" "${gpus[@]}"
