#!/bin/bash
# Annotate files with a job array of Slurm, without a Prefect server. Task N of M annotates every Mth file; the last job
# annotates the remaining files and publishes. It fails unless every record is accounted for.
#
#   array=$(sbatch --parsable --array=0-99 slurm.sh /data/home /data/dumps/*.xml.gz)
#   sbatch --dependency=afterany:"$array" slurm.sh /data/home /data/dumps/*.xml.gz
#
# All nodes share the home and the files. You can repeat both commands at any time: finished files are skipped.
#SBATCH --job-name=e2emern
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=1-00:00:00
#SBATCH --requeue
set -euo pipefail

[ $# -ge 2 ] || { echo "usage: sbatch [--array=0-99] slurm.sh HOME FILE..." >&2; exit 2; }
home=$1 files=("${@:2}") options=(--processes auto)

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    options+=(--no-publish) mine=()
    for number in "${!files[@]}"; do
        if ((number % SLURM_ARRAY_TASK_COUNT == SLURM_ARRAY_TASK_ID % SLURM_ARRAY_TASK_COUNT)); then
            mine+=("${files[number]}")
        fi
    done
    files=("${mine[@]}")
    [ ${#files[@]} -gt 0 ] || { echo "more tasks than files: nothing to do"; exit 0; }
fi
exec "${E2EMERN:-/opt/e2emern/.venv/bin/e2emern}" annotate "${files[@]}" --home "$home" "${options[@]}"
