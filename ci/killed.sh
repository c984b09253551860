#!/usr/bin/env bash
# A killed program's peers see an end or a reset; a killed sockeye leaves no process and no file.
. "$(dirname "$0")/lib.sh"

files() { find /tmp "${XDG_RUNTIME_DIR:-/tmp}" -maxdepth 2 -name '*sockeye*' -not -path "$work*" 2>/dev/null | sort; }
gone() { ! pgrep -f "$1" >/dev/null; }
before=$(files)

# The server is killed while the client waits for it: recv ends, one way or the other.
cat >"$work/server.py" <<'END'
import os, socket, sys
s = socket.create_server(("0.0.0.0", 7000)); c, _ = s.accept(); c.send(b"x"); print("connected", flush=True)
c.recv(1); os.kill(os.getpid(), 9)
END
cat >"$work/client.py" <<'END'
import socket
s = socket.create_connection(("server", 7000)); s.recv(1); s.send(b"x"); s.settimeout(5)
try: print("end of file" if s.recv(1) == b"" else "data")
except ConnectionResetError: print("reset")
END
cat >"$work/lab.toml" <<END
[host.server]
[host.client]
[[program]]
host = "server"
run = "python3 -u $work/server.py"
[[program]]
host = "client"
after = "server:7000"
run = "python3 -u $work/client.py"
expect.stdout = "end of file|reset"
END
"$sockeye" lab --quiet "$work/lab.toml" >"$work/log" 2>&1 || fail "peer of a killed program: $(cat "$work/log")"; ok

# sockeye is killed while a server and a client are connected: both end, nothing stays.
cat >"$work/both.sh" <<END
python3 -c "
import socket
s = socket.create_server(('127.0.0.1', 7000)); c, _ = s.accept(); c.recv(1)
# kill-mark-server
" &
sleep 0.5
python3 -c "
import socket
s = socket.create_connection(('127.0.0.1', 7000)); open('$work/up', 'w').close(); s.recv(1)
# kill-mark-client
"
END
"$sockeye" run -- sh "$work/both.sh" 2>/dev/null & supervisor=$!
within 10 test -e "$work/up" || fail "the connection never came up"
kill -KILL "$supervisor"; wait "$supervisor" 2>/dev/null || true
within 5 gone kill-mark || fail "programs outlived sockeye: $(pgrep -af kill-mark)"; ok

# sockeye is killed while it starts its program, at many moments: no child of it stays.
python3 -c '
import subprocess, sys, time
for moment in range(400):
    supervisor = subprocess.Popen([sys.argv[1], "run", "--", "sleep", "98765"])
    time.sleep(moment * 25e-6)
    supervisor.kill(); supervisor.wait()
' "$sockeye"
within 2 gone "sleep 98765" || fail "children outlived sockeye: $(pgrep -af 98765)"; ok

# What a program leaves running ends with it, also what left its session and heeds no SIGTERM.
status=0
"$sockeye" run -- sh -c '
  python3 -m http.server 8000 >/dev/null 2>&1 &
  setsid sh -c "trap \"\" TERM; while :; do sleep 1; done; # kill-mark-daemon" &
  sleep 0.3; exit 5' || status=$?
[ "$status" = 5 ] || fail "exit status $status with descendants left, expected 5"; ok
within 1 gone kill-mark || fail "descendants outlived their network: $(pgrep -af kill-mark)"; ok
[ "$(files)" = "$before" ] || fail "files stayed: $(files)"; ok
finish
