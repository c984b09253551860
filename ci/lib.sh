# Shared by the checks of this folder: the command under test, and how to say what went wrong.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
sockeye=${SOCKEYE:-$PWD/target/release/sockeye}
work=$(mktemp -d); chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
passed=0
# An ordinary user, whom `.ci/run` makes, and the command that runs another one as that user.
user=sockeye-ci
as_user=(setpriv --reuid "$user" --regid "$user" --init-groups env HOME=/tmp PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
fail() { echo "FAIL: $*" >&2; exit 1; }
ok() { passed=$((passed + 1)); }
finish() { echo "$passed passed, 0 failed"; }
# same FOUND EXPECTED WHAT
same() { [ "$1" = "$2" ] || fail "$3: '$1', expected '$2'"; ok; }
# within SECONDS COMMAND…: the command comes true in time.
within() { local tries=$(($1 * 20)); shift; while [ "$tries" -gt 0 ]; do "$@" && return 0; tries=$((tries - 1)); sleep 0.05; done; return 1; }
# expect STATUS WORD COMMAND…: the command exits so and says one line that holds WORD.
expect() {
  local status=$1 word=$2 got=0; shift 2
  "$@" >"$work/out" 2>"$work/err" </dev/null || got=$?
  [ "$got" = "$status" ] || fail "$*: exit status $got, expected $status: $(cat "$work/err")"
  [ "$(wc -l <"$work/err")" = 1 ] || fail "$*: not one line: $(cat "$work/err")"
  grep -qF -- "$word" "$work/err" || fail "$*: doesn't name '$word': $(cat "$work/err")"
  ok
}
