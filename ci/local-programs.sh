#!/usr/bin/env bash
# Local sockets and ordinary programs: the clients and the servers of postgres, redis and X11, with a relay of the library
# in between, which listens for the ones and connects to the others; each of its connections is the kernel's, and
# they can't tell. As root all of it runs as an ordinary user, as whom postgres insists on running.
. "$(dirname "$0")/lib.sh"

relay=${RELAY:-}
if [ -z "$relay" ]; then
  # With the features of the workspace's tests, which have built it.
  cargo build --quiet --workspace --all-features --example relay
  target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  relay=$target/debug/examples/relay
fi
if [ "$(id -u)" = 0 ]; then
  mkdir "$work/ci"; cp ci/lib.sh ci/local-programs.sh "$work/ci"
  install -m 755 "$relay" "$work/relay"; install -m 755 "$sockeye" "$work/sockeye"
  RELAY=$work/relay SOCKEYE=$work/sockeye "${as_user[@]}" bash "$work/ci/local-programs.sh"
  exit
fi

# What runs until the end, and the name of a screen.
servers=() screen=
trap 'kill "${servers[@]}" 2>/dev/null || true; wait "${servers[@]}" 2>/dev/null || true; rm -rf "$work" ${screen:+"$screen"}' EXIT
# behind HERE THERE: a relay from a path to another.
behind() {
  "$relay" "$1" "$2" >"$work/relay" 2>&1 &
  servers+=($!)
  within 5 grep -q ready "$work/relay" || fail "the relay: $(cat "$work/relay")"
}
# sockets PATH: connections of who listens there.
sockets() { awk -v path="$1" '$8 == path && $6 == "03" { count++ } END { print count + 0 }' /proc/net/unix; }
quiet() { [ "$(sockets "$1")" = "${2-0}" ]; }

echo "-- redis"
redis-server --port 0 --unixsocket "$work/redis" --save '' --daemonize no >"$work/out" 2>&1 &
servers+=($!)
within 10 test -S "$work/redis" || fail "redis: $(cat "$work/out")"
behind "$work/redis-here" "$work/redis"
cli=(redis-cli -s "$work/redis-here")
same "$("${cli[@]}" ping)" PONG "redis answers"
# Requests without waiting for answers, and a value longer than all buffers together.
seq 1 20000 | awk '{ print "SET key" $1 " " $1 * 7 }' | "${cli[@]}" --pipe >"$work/out" || fail "redis --pipe: $(cat "$work/out")"
same "$("${cli[@]}" get key19999)" 139993 "a key of many"
head -c 9000000 /dev/urandom | base64 -w 0 >"$work/value"
"${cli[@]}" -x set long <"$work/value" >/dev/null
same "$("${cli[@]}" --raw get long | tr -d '\n' | sha256sum)" "$(sha256sum <"$work/value")" "a long value"
redis-benchmark -s "$work/redis-here" -q -n 10000 -c 100 -P 8 -t set,get >"$work/out" 2>&1 || fail "redis-benchmark: $(cat "$work/out")"
same "$(tr '\r' '\n' <"$work/out" | grep -c 'requests per second')" 2 "redis-benchmark of 100 clients"
# The server says something first.
"${cli[@]}" subscribe news >"$work/news" &
subscriber=$!
within 5 grep -q subscribe "$work/news"
same "$("${cli[@]}" publish news extra)" 1 "subscribers"
within 5 grep -q extra "$work/news" || fail "nothing was heard of the news"; ok
# A client that is killed is gone for the server too.
disown "$subscriber"; kill -KILL "$subscriber"
within 5 quiet "$work/redis" || fail "redis has $(sockets "$work/redis") connections"; ok
within 5 quiet "$work/redis-here" || fail "the relay has $(sockets "$work/redis-here") connections"; ok
# The command as the client.
same "$(printf 'PING\r\nQUIT\r\n' | timeout 10 "$sockeye" local connect "$work/redis" | tr -d '\r' | tr '\n' ' ')" "+PONG +OK " "sockeye local connect"

echo "-- postgres"
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
"$bin/initdb" -D "$work/data" -A peer -N --no-instructions --locale C >"$work/out" 2>&1 || fail "initdb: $(cat "$work/out")"
mkdir "$work/there" "$work/here"
"$bin/postgres" -D "$work/data" -k "$work/there" -c listen_addresses= -c fsync=off >"$work/postgres" 2>&1 &
servers+=($!)
there=$work/there/.s.PGSQL.5432 here=$work/here/.s.PGSQL.5432
within 20 "$bin/pg_isready" -q -h "$work/there" || fail "postgres: $(cat "$work/postgres")"
behind "$here" "$there"
export PGHOST=$work/here PGDATABASE=postgres
# Who it is, postgres asks the kernel (`peer`): the relay, whose user is the same.
same "$(psql -XAtc 'select current_user')" "$(id -un)" "psql is who it is"
"$bin/pgbench" -i -q -s 1 >"$work/out" 2>&1 || fail "pgbench -i: $(cat "$work/out")"
"$bin/pgbench" -c 20 -j 2 -t 50 -n -M prepared >"$work/out" 2>&1 || fail "pgbench: $(cat "$work/out")"
same "$(sed -n 's/.*transactions actually processed: //p' "$work/out")" 1000/1000 "pgbench of 20 clients"
# Much in both directions.
psql -XAtc "copy (select n, md5(n::text) from generate_series(1, 300000) n) to stdout" >"$work/table"
psql -Xqc "create table copied (n int, text text)" -c "\\copy copied from '$work/table'"
same "$(psql -XAtc 'copy copied to stdout' | sha256sum)" "$(sha256sum <"$work/table")" "a table there and back"
# What is cancelled is by a connection of its own; one that is killed is gone.
asleep() { [ "$(psql -XAtc "select count(*) from pg_stat_activity where wait_event = 'PgSleep'")" = "$1" ]; }
psql -Xc 'select pg_sleep(60)' >"$work/out" 2>&1 &
sleeper=$!
within 5 asleep 1 || fail "nobody sleeps"
kill -INT "$sleeper"; wait "$sleeper" || true
grep -q 'canceling statement due to user request' "$work/out" || fail "nothing was cancelled: $(cat "$work/out")"; ok
psql -Xc 'select pg_sleep(60)' >/dev/null 2>&1 &
sleeper=$!
within 5 asleep 1 || fail "nobody sleeps"
psql -XAtc "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'" >/dev/null
wait "$sleeper" && fail "a client whose server ended succeeded"; ok
within 5 quiet "$there" || fail "postgres has $(sockets "$there") connections"; ok
within 5 quiet "$here" || fail "the relay has $(sockets "$here") connections"; ok

echo "-- X11"
Xvfb -displayfd 3 -screen 0 640x480x24 -nolisten tcp -noreset -ac 3>"$work/display" >"$work/out" 2>&1 &
servers+=($!)
within 20 test -s "$work/display" || fail "Xvfb: $(cat "$work/out")"
number=$(cat "$work/display")
# Clients know displays by their numbers only.
mine=$((number + 1000)) screen=/tmp/.X11-unix/X$((number + 1000))
behind "$screen" "/tmp/.X11-unix/X$number"
same "$(DISPLAY=:$mine xdpyinfo | sed -n 's/ *dimensions: *\([^ ]*\) .*/\1/p')" 640x480 "the screen"
# All it says of itself, but for its name and the client's number.
described() { DISPLAY=$1 xdpyinfo -queryExtensions | grep -v -e '^name of display' -e 'focus:'; }
same "$(described ":$mine" | sha256sum)" "$(described ":$number" | sha256sum)" "what the screen is"
DISPLAY=:$mine xprop -root -f WORDS 8s -set WORDS "$(seq -s ' ' 20000)"
same "$(DISPLAY=:$number xprop -root -notype WORDS | sed 's/WORDS = "\(.*\)"/\1/' | sha256sum)" "$(seq -s ' ' 20000 | sha256sum)" "a long property"
# Memory that both map: one descriptor goes there, another comes back.
cat >"$work/shared.py" <<'CODE'
import mmap, os, socket, struct, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(10)
def whole(count):
    data = b""
    while len(data) < count: data += s.recv(count - len(data)) or sys.exit("hung up on")
    return data
s.sendall(struct.pack("<BxHHHHxx", 0x6c, 11, 0, 0, 0))
setup = whole(8); setup += whole(4 * struct.unpack_from("<H", setup, 6)[0])
assert setup[0] == 1, setup
base, = struct.unpack_from("<I", setup, 12)
vendor, = struct.unpack_from("<H", setup, 24)
root, = struct.unpack_from("<I", setup, 40 + (vendor + 3 & ~3) + 8 * setup[29])
s.sendall(struct.pack("<BxHHxx8s", 98, 4, 7, b"MIT-SHM"))
shm = whole(32)[9]
size = 64 * 64 * 4
mine = os.memfd_create("picture"); os.truncate(mine, size)
socket.send_fds(s, [struct.pack("<BBHIBxxx", shm, 6, 3, base, 0)], [mine])
s.sendall(struct.pack("<BBHIIBxxx", shm, 7, 4, base + 1, size, 0))
reply, fds, _, _ = socket.recv_fds(s, 32, 4)
assert reply[0] == 1 and reply[1] == 1 and len(fds) == 1, (reply, fds)
for segment, fd in [(base, mine), (base + 1, fds[0])]:
    memory = mmap.mmap(fd, size); memory[:] = b"\xaa" * size
    s.sendall(struct.pack("<BBHIhhHHIBxxxII", shm, 4, 8, root, 0, 0, 64, 64, 0xffffffff, 2, segment, 0))
    reply = whole(32)
    assert reply[0] == 1 and memory[:] != b"\xaa" * size, reply
print("seen")
CODE
same "$(python3 "$work/shared.py" "$screen")" seen "a picture in memory that was passed"
# A program with a window, as others see it: what happens to it is said to it.
DISPLAY=:$mine xmessage -name greeting -buttons yes:7 -default yes hello >"$work/out" 2>&1 &
window=$!
is_shown() { DISPLAY=:$mine xwininfo -name greeting 2>/dev/null | grep -q 'Map State: IsViewable'; }
within 10 is_shown || fail "no window: $(cat "$work/out")"; ok
DISPLAY=:$mine xkill -id "$(DISPLAY=:$mine xwininfo -name greeting | sed -n 's/.*Window id: \(0x[0-9a-f]*\).*/\1/p')" >/dev/null
wait "$window" && fail "a client that was thrown out succeeded"; ok
within 5 quiet "$screen" || fail "the relay has $(sockets "$screen") connections"; ok
finish
