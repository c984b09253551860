#!/usr/bin/env bash
# Every example of the library runs, ends by itself and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --quiet -p sockeye -p sockeye-stack --all-features --examples
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
for source in crates/net/examples/*.rs crates/stack/examples/*.rs; do
  name=$(basename "$source" .rs)
  # A step of its own, with optimization.
  [ "$name" = thousand ] && continue
  if timeout 60 "$target/debug/examples/$name" >"$target/example.txt" 2>&1 </dev/null; then
    echo "ok    $name: $(tail -n 1 "$target/example.txt")"
  else
    status=$?
    echo "FAILED $name, exit status $status:"
    cat "$target/example.txt"
    exit 1
  fi
done
