#!/usr/bin/env bash
# A sweep on SLURM: a Ray cluster for the length of the job, and the driver on its head.
#
#     sbatch scripts/cluster/slurm_sweep.sh experiments/lr_by_lambda.py --out runs/x
#
# The same command again goes on where the last job ended, also when that one ran out of
# time: what has ended in runs/x/ledger.sqlite is not run again. Keep --out on a disk of
# the head node or on one driver's share of a network disk; workers never open it.
#
#SBATCH --job-name=jaxwd-sweep
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=12:00:00
# SIGINT two minutes before the end: the driver ends the workers and says how to go on.
#SBATCH --signal=B:INT@120
set -euo pipefail

# One installation for all nodes: a virtual environment on a shared disk, or a container
# image. Workers with other versions or other files are refused.
VENV="${JAXWD_VENV:-$PWD/.venv}"
export PATH="$VENV/bin:$PATH"
# Compiled programs on a disk that the nodes share: each structure is compiled once.
export JAXWD_CACHE="${JAXWD_CACHE:-$PWD/.cache}"
export RAY_USAGE_STATS_ENABLED=0
# Ray runs whatever reaches its ports. A token keeps other users of the nodes out; TLS is
# RAY_USE_TLS=1 with RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY and RAY_TLS_CA_CERT.
export RAY_AUTH_MODE=token
if [[ -z "${RAY_AUTH_TOKEN:-}" ]]; then
  RAY_AUTH_TOKEN="$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')"
  export RAY_AUTH_TOKEN
fi

# Since SLURM 22.05 srun does not take this over from sbatch by itself.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"

GPUS="${SLURM_GPUS_ON_NODE:-0}"
CPUS="${SLURM_CPUS_PER_TASK:-1}"
mapfile -t NODES < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
HEAD="${NODES[0]}"
ADDRESS="$(srun --nodes=1 --ntasks=1 --nodelist="$HEAD" hostname --ip-address | awk '{print $1}')"
# A port of this job's own, so that two jobs on one node do not meet.
PORT=$((20000 + SLURM_JOB_ID % 20000))

# --block: each stays in the foreground, and ends with the job.
srun --nodes=1 --ntasks=1 --nodelist="$HEAD" --overlap \
  ray start --head --node-ip-address="$ADDRESS" --port="$PORT" \
  --num-cpus="$CPUS" --num-gpus="$GPUS" --include-dashboard=false \
  --disable-usage-stats --block &
HEAD_STEP=$!
# The others knock until the head is there.
for node in "${NODES[@]:1}"; do
  srun --nodes=1 --ntasks=1 --nodelist="$node" --overlap \
    bash -c "until ray start --address=$ADDRESS:$PORT --num-cpus=$CPUS \
      --num-gpus=$GPUS --disable-usage-stats --block; do sleep 5; done" &
done

# The driver waits for the head itself, and takes nodes in as they come.
until ray status --address="$ADDRESS:$PORT" > /dev/null 2>&1; do
  kill -0 "$HEAD_STEP" 2> /dev/null || { echo "the head of Ray ended" >&2; exit 1; }
  sleep 2
done
PER_WORKER_GPUS=$((GPUS > 0 ? 1 : 0))
PER_WORKER_CPUS=$((GPUS > 0 ? CPUS / GPUS : 1))
trap 'kill -INT "$DRIVER" 2>/dev/null || true' INT
# Without job control a shell starts what stands behind `&` deaf to SIGINT.
set -m
jaxwd sweep "$@" --engine ray --address "$ADDRESS:$PORT" \
  --worker-cpus "$PER_WORKER_CPUS" --worker-gpus "$PER_WORKER_GPUS" &
DRIVER=$!
set +m
# `wait` returns early where a signal comes, so it waits again for the exit code.
CODE=0
wait "$DRIVER" || CODE=$?
if kill -0 "$DRIVER" 2> /dev/null; then
  CODE=0
  wait "$DRIVER" || CODE=$?
fi
trap - INT
jobs -p | xargs --no-run-if-empty kill 2> /dev/null || true
exit "$CODE"
