#!/usr/bin/env bash
# What ordinary programs do that is hard for who runs them: daemons, job control, descriptors closed, passed and
# raced for, forks in the middle of a call, setuid helpers, stopped processes, thousands of short-lived ones.
# As root, also for an ordinary user.
. "$(dirname "$0")/lib.sh"

cp "$sockeye" ci/hard-cases.py ci/programs.py "$work"
# A helper with rights that its caller has not.
if [ "$(id -u)" = 0 ]; then install -m 4755 "$(command -v id)" "$work/setuid-id"; fi
# run SHORT-LIVED COMMAND…: all cases, with so many short-lived processes.
run() {
  local many=$1; shift
  MANY=$many "$@" /usr/bin/python3 "$work/hard-cases.py" "$work/sockeye" || fail "hard cases: $*"; ok
}
if [ "$(id -u)" = 0 ] && id "$user" >/dev/null 2>&1; then
  run 10000 "${as_user[@]}"
  run 1000 env
else
  run 10000 env
fi
finish
