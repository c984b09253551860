# Shared by the checks of this folder: the command under test, and how to say what went wrong.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
sockeye=${SOCKEYE:-$PWD/target/release/sockeye}
work=$(mktemp -d); chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
passed=0
fail() { echo "FAIL: $*" >&2; exit 1; }
ok() { passed=$((passed + 1)); }
finish() { echo "$passed passed, 0 failed"; }
