#!/usr/bin/env bash
# Programs, supervisors, guards and networks killed at random moments under load. As root, some of the kills
# happen as an ordinary user. KILLS and SEED change how many and which.
. "$(dirname "$0")/lib.sh"

cp "$sockeye" ci/kills.py ci/programs.py "$work"
kills=${KILLS:-200} seed=${SEED:-$RANDOM}
run() { local count=$1; shift; "$@" /usr/bin/python3 "$work/kills.py" "$work/sockeye" "$count" "$seed" || fail "kills, seed $seed: $*"; ok; }
if [ "$(id -u)" = 0 ] && id "$user" >/dev/null 2>&1; then
  run "$((kills - kills / 4))" "${as_user[@]}"
  kills=$((kills / 4))
fi
run "$kills" env
finish
