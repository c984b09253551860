#!/usr/bin/env bash
# The formats, the packets and the stack build for targets without an operating system, where rustup can fetch them.
set -euo pipefail
cd "$(dirname "$0")/.."

for target in x86_64-unknown-none thumbv7em-none-eabihf riscv32imac-unknown-none-elf; do
  if ! ls -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" >/dev/null 2>&1 && ! rustup --quiet target add "$target"; then
    echo "skipped: no core library for $target, and rustup can't fetch it"
    continue
  fi
  cargo build --quiet --target "$target" -p sockeye-wire -p sockeye-packet -p sockeye-stack
  echo "ok    $target"
done
