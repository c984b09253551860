#!/usr/bin/env bash
# Local sockets for long: peers that are killed at random moments, and one that scribbles on the shared memory.
# usage: ci/local.sh [KILLS] [SECONDS] [SEED]
set -euo pipefail
kills=${1:-1000} seconds=${2:-600} seed=${3:-$RANDOM}
echo "seed $seed"
export SOCKEYE_LOCAL_SEED=$seed SOCKEYE_LOCAL_LIMIT=${SOCKEYE_LOCAL_LIMIT:-100}
SOCKEYE_LOCAL_KILLS=$kills cargo test --release -p sockeye-local --test killed -- --nocapture
SOCKEYE_LOCAL_FUZZ=$seconds cargo test --release -p sockeye-local --lib -- --nocapture scribbling
# Nothing of theirs is left on the machine.
! ls -l /proc/[0-9]*/fd 2> /dev/null | grep sockeye-local
! grep -l sockeye-local /proc/[0-9]*/maps 2> /dev/null
