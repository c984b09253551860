#!/usr/bin/env bash
# Every crate as it would be published, in order, each built from its package. From the project's folder.
set -euo pipefail

# Cargo takes what comes from a registry for unchanging, also what the dry run itself puts into one for a while: what
# an earlier run built of an earlier state would be used again.
target=${CARGO_TARGET_DIR:-target}
for unit in "$target"/debug/deps/*sockeye*.d; do
  if [ -e "$unit" ] && grep -q registry/src "$unit"; then
    hash=$(basename "$unit" .d)
    rm -rf "$target"/debug/.fingerprint/sockeye-*"-${hash##*-}"
  fi
done
rm -rf "$target/package" "${CARGO_HOME:-$HOME/.cargo}"/registry/src/-*/sockeye-*

cargo publish --workspace --dry-run --quiet
