#!/usr/bin/env bash
# Who may speak to a named network: processes of its user that run outside of it, and nobody else.
. "$(dirname "$0")/lib.sh"

cp "$sockeye" ci/intruder.py "$work"
sockeye=$work/sockeye
python=/usr/bin/python3
# A runtime folder of this user's alone.
as() { if [ "$who" = root ]; then "$@"; else setpriv --reuid "$who" --regid "$who" --init-groups env HOME=/tmp "$@"; fi; }
runtime() { local folder; folder=$(as mktemp -d /tmp/sockeye-control-XXXXXX); echo "$folder"; }
trap 'rm -rf "$work" /tmp/sockeye-control-*' EXIT

# started: the network has a member that serves.
started() {
  as env XDG_RUNTIME_DIR="$folder" "$sockeye" run --net demo --host web --offline -- "$python" -u -c "
import socket
s = socket.create_server(('127.0.0.1', 7000)); print('up')
while True: s.accept()[0].close()" >"$work/up" 2>&1 & member=$!
  for _ in $(seq 100); do grep -q up "$work/up" && return; sleep 0.05; done
  fail "no member as $who: $(cat "$work/up")"
}
serves() {
  as env XDG_RUNTIME_DIR="$folder" "$sockeye" run --net demo --host web -- "$python" -c "
import socket; assert socket.create_connection(('127.0.0.1', 7000), 5).recv(1) == b''" || fail "$1: the network doesn't serve"; ok
}

# A program under sockeye, on a network of its own and on the very network: refused, however it tries.
supervised() {
  for place in "" "--net demo --host web"; do
    # shellcheck disable=SC2086
    as env XDG_RUNTIME_DIR="$folder" "$sockeye" run $place -- "$python" "$work/intruder.py" "$folder/sockeye/demo.sock" "$sockeye" >"$work/out" 2>&1 ||
      fail "supervised, as $who, '$place': $(cat "$work/out")"
    [ "$(tail -1 "$work/out")" = "refused" ] || fail "supervised: $(cat "$work/out")"; ok
  done
  serves "after supervised intruders"
}

if [ "$(id -u)" = 0 ]; then users="root $user"; else users=$(id -un); as() { "$@"; }; fi
for who in $users; do
  folder=$(runtime)
  started
  supervised
  # Another user: the folder's mode stops it; without that, the network refuses.
  if [ "$(id -u)" = 0 ] && [ "$who" != root ]; then
    other() { setpriv --reuid nobody --regid nogroup --clear-groups "$python" "$work/intruder.py" "$folder/sockeye/demo.sock" >"$work/out" 2>&1; }
    ! other || fail "another user came in: $(cat "$work/out")"
    grep -q PermissionError "$work/out" || fail "another user: $(cat "$work/out")"; ok
    chmod 755 "$folder" "$folder/sockeye"; chmod 777 "$folder/sockeye/demo.sock"
    other || fail "another user, folder open: $(cat "$work/out")"
    [ "$(tail -1 "$work/out")" = refused ] && grep -q "belongs to user" "$work/out" || fail "another user: $(cat "$work/out")"; ok
    # Nor does it use a folder of somebody else's, or one that others may enter.
    if setpriv --reuid nobody --regid nogroup --clear-groups env XDG_RUNTIME_DIR="$folder" HOME=/tmp "$sockeye" ps demo >"$work/out" 2>&1; then
      fail "another user lists: $(cat "$work/out")"
    fi; ok
    chmod 700 "$folder" "$folder/sockeye"
    serves "after another user"
  fi
  as env XDG_RUNTIME_DIR="$folder" "$sockeye" down demo || fail "down"; ok
  wait "$member" 2>/dev/null || true
  [ -z "$(ls "$folder/sockeye")" ] || fail "files are left: $(ls "$folder/sockeye")"; ok
  rm -rf "$folder"
done
rm -rf /tmp/sockeye-"$(id -u nobody)"
finish
