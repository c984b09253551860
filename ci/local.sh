#!/usr/bin/env bash
# Local sockets for long: peers that are killed at random moments, and one that scribbles on the shared memory.
# usage: ci/local.sh [KILLS] [SECONDS] [SEED]; with 0 seconds no scribbling; AS_TESTS=1: built as the workspace's tests are
set -euo pipefail
kills=${1:-1000} seconds=${2:-600} seed=${3:-$RANDOM}
echo "seed $seed"
export SOCKEYE_LOCAL_SEED=$seed SOCKEYE_LOCAL_LIMIT=${SOCKEYE_LOCAL_LIMIT:-100}
build=(--release -p sockeye-local)
if [ -n "${AS_TESTS:-}" ]; then build=(--quiet --workspace --all-features); fi
SOCKEYE_LOCAL_KILLS=$kills cargo test "${build[@]}" --test killed --test datagram_forked -- --nocapture
if [ "$seconds" != 0 ]; then
  SOCKEYE_LOCAL_FUZZ=$seconds cargo test --release -p sockeye-local --lib -- --nocapture scribbling
fi
# Nothing of theirs is left on the machine. (Both commands fail where processes end meanwhile: what they print counts.)
left=$(ls -l /proc/[0-9]*/fd 2> /dev/null | grep sockeye-local; grep -l sockeye-local /proc/[0-9]*/maps 2> /dev/null) || true
if [ -n "$left" ]; then echo "left behind: $left"; exit 1; fi
