#!/usr/bin/env bash
# Local sockets for long: peers that are killed at random moments, and one that scribbles on the shared memory.
# usage: ci/local.sh [KILLS] [SECONDS] [SEED]; PROFILE=dev: as the tests are built
set -euo pipefail
kills=${1:-1000} seconds=${2:-600} seed=${3:-$RANDOM}
echo "seed $seed"
export SOCKEYE_LOCAL_SEED=$seed SOCKEYE_LOCAL_LIMIT=${SOCKEYE_LOCAL_LIMIT:-100}
build=(--profile "${PROFILE:-release}" -p sockeye-local --all-features)
SOCKEYE_LOCAL_KILLS=$kills cargo test "${build[@]}" --test killed -- --nocapture
SOCKEYE_LOCAL_FUZZ=$seconds cargo test "${build[@]}" --lib -- --nocapture scribbling
# Nothing of theirs is left on the machine.
if ls -l /proc/[0-9]*/fd 2> /dev/null | grep sockeye-local; then echo "descriptors are left"; exit 1; fi
if grep -l sockeye-local /proc/[0-9]*/maps 2> /dev/null; then echo "mappings are left"; exit 1; fi
