#!/usr/bin/env bash
# One training spread over the GPUs of several nodes, one process a node.
#
#     sbatch scripts/cluster/slurm_train.sh --model resnet18 --out runs/x
#
# The processes find each other by SLURM's variables (jax.distributed); each reads its
# share of the data and process 0 writes. When a node is lost the job ends; SLURM starts
# it again (--requeue) and it goes on from the last checkpoint.
#
#SBATCH --job-name=jaxwd-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=12:00:00
#SBATCH --requeue
# SIGTERM to all processes two minutes before the end: a checkpoint, and exit 143.
#SBATCH --signal=TERM@120
set -euo pipefail

VENV="${JAXWD_VENV:-$PWD/.venv}"
export PATH="$VENV/bin:$PATH"
export JAXWD_CACHE="${JAXWD_CACHE:-$PWD/.cache}"
# Since SLURM 22.05 srun does not take this over from sbatch by itself.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"
# One process a GPU instead: --ntasks-per-node=4 --gpus-per-task=1.

# --kill-on-bad-exit: one process that is gone ends the others, which would wait for it.
exec srun --kill-on-bad-exit=1 \
  jaxwd train --layout sharded "$@"
