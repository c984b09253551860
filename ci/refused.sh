#!/usr/bin/env bash
# Machines, containers and users that lack something: programs run all the same where they can, and
# `sockeye doctor` names what is missing. As root, also for an ordinary user.
. "$(dirname "$0")/lib.sh"

# Where an ordinary user can read it.
cp "$sockeye" ci/without.py "$work"
sockeye=$work/sockeye
# An executable that may be run and not read.
cp /usr/bin/python3 "$work/unreadable"; chmod 711 "$work/unreadable"
cat >"$work/talk.py" <<'END'
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_DUMPABLE = 4
assert libc.prctl(PR_SET_DUMPABLE, 0) == 0
with socket.create_server(("127.0.0.1", 0)) as listener:
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    client.sendall(b"hello")
    print(server.recv(5).decode())
END

cat >"$work/closes.py" <<'END'
# A closed socket's port is free at once, and nobody listens there any more after a moment; one is left open.
import socket, time
for turn in range(10):
    socket.create_server(("127.0.0.1", 7001)).close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams: datagrams.bind(("127.0.0.1", 7001))
for turn in range(60):
    try: socket.create_connection(("127.0.0.1", 7001)).close()
    except ConnectionRefusedError: break
    time.sleep(0.05)
else: raise SystemExit("a closed listener still listens")
left_open = socket.create_server(("127.0.0.1", 7001))
END

# without CALLS COMMAND…: as where these calls are refused.
without() { "${as[@]}" python3 "$work/without.py" "$@"; }
# doctor STATUS MARK ROW [CALLS]: it exits so, and has this row.
doctor() {
  local got=0
  if [ $# = 4 ]; then without "$4" "$sockeye" doctor; else "${as[@]}" "$sockeye" doctor; fi >"$work/out" || got=$?
  [ "$got" = "$1" ] || fail "doctor ${4-}: exit status $got, expected $1: $(cat "$work/out")"
  grep -q "^$2  *$3 " "$work/out" || fail "doctor ${4-}: no row '$2 $3': $(cat "$work/out")"
  ! grep -q '.\{101\}' "$work/out" || fail "doctor: a line of more than 100 columns"
  ok
}
all() {
  doctor 0 ok "seccomp notification"
  doctor 0 ok "programs' memory"
  doctor 0 limited "programs' descriptors" pidfd_getfd
  doctor 0 limited "Landlock" landlock_create_ruleset
  doctor 1 missing "programs' memory" process_vm_readv
  doctor 1 missing "seccomp notification" seccomp
  doctor 1 missing "seccomp notification" seccomp=EINVAL
  got=0; "${as[@]}" "$sockeye" run -- "$sockeye" doctor >"$work/out" || got=$?
  [ "$got" = 1 ] && grep -q "^missing  no other supervisor" "$work/out" || fail "doctor, supervised: $(cat "$work/out")"; ok

  without pidfd_getfd "$sockeye" run -- true || fail "doesn't start without pidfd_getfd"; ok
  before=$(date +%s%N)
  without pidfd_getfd "$sockeye" run -- python3 "$work/closes.py" || fail "closes, without pidfd_getfd"; ok
  took=$((($(date +%s%N) - before) / 1000000)); [ "$took" -lt 6000 ] || fail "sockets left open keep a run for $took ms"; ok
  # The program has asked not to be debugged, and is answered.
  [ "$("${as[@]}" "$sockeye" run -- python3 "$work/talk.py")" = hello ] || fail "a program that isn't dumpable"; ok
  [ "$(without landlock_create_ruleset "$sockeye" run -- python3 "$work/talk.py")" = hello ] || fail "without Landlock"; ok
}

as=(env)
all
# Root as containers have it.
if [ "$(id -u)" = 0 ]; then
  as=(setpriv --bounding-set -sys_admin,-sys_ptrace --inh-caps -sys_admin,-sys_ptrace)
  doctor 0 limited "programs' users"
  [ "$("${as[@]}" "$sockeye" run -- python3 "$work/talk.py")" = hello ] || fail "root with few capabilities"; ok
fi
if [ "$(id -u)" = 0 ] && id "$user" >/dev/null 2>&1; then
  as=("${as_user[@]}")
  all
  # Every call on a descriptor fails, and one line says why.
  try='import socket
for _ in range(3):
    try: socket.socket().bind(("127.0.0.1", 0))
    except PermissionError: print("EPERM")'
  "${as[@]}" "$sockeye" run -- "$work/unreadable" -c "$try" >"$work/out" 2>"$work/err" || fail "unreadable: $(cat "$work/err")"
  [ "$(sort "$work/out" | uniq -c | tr -s ' ')" = " 3 EPERM" ] || fail "unreadable: $(cat "$work/out")"; ok
  [ "$(wc -l <"$work/err")" = 1 ] && grep -q unreadable "$work/err" || fail "unreadable: $(cat "$work/err")"; ok
fi
finish
