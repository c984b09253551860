#!/usr/bin/env bash
# Named networks: programs from different terminals meet there. The whole as whoever calls it and, as root,
# as an ordinary user; each once more where a container's filter refuses pidfd_getfd.
. "$(dirname "$0")/lib.sh"

if [ "${1-}" != here ]; then
  # Where every user can read it.
  mkdir "$work/ci"; cp ci/lib.sh ci/without.py ci/networks.sh "$work/ci"; install -m 755 "$sockeye" "$work/sockeye"
  here() {
    local what=$1; shift
    "$@" env SOCKEYE="$work/sockeye" bash "$work/ci/networks.sh" here >"$work/out" || fail "$what"
    echo "$what: $(cat "$work/out")"
    passed=$((passed + $(sed 's/ .*//' "$work/out")))
  }
  both() { here "$1" "${@:2}"; here "$1, without pidfd_getfd" "${@:2}" python3 "$work/ci/without.py" pidfd_getfd; }
  both "as $(id -un)" env
  if [ "$(id -u)" = 0 ] && id "$user" >/dev/null 2>&1; then
    both "as an ordinary user" "${as_user[@]}"
  fi
  finish
  exit
fi

export XDG_RUNTIME_DIR=$work/run; mkdir -m 700 "$XDG_RUNTIME_DIR"
control=$XDG_RUNTIME_DIR/sockeye
end_all() {
  local file
  for file in "$control"/*.sock; do [ ! -e "$file" ] || "$sockeye" down "$(basename "$file" .sock)" || true; done
  [ -z "${made_run_sshd-}" ] || rmdir /run/sshd || true
  rm -rf "$work"
}
trap end_all EXIT

# on HOST WORDS…: a program on that host, of a terminal of its own.
on() { local host=$1; shift; timeout 30 setsid -w "$sockeye" run --net meet --host "$host" "$@"; }
# serve NAME HOST WORDS…: the same, in the background, until it is stopped; NAME has its output.
declare -A pids=()
serve() { local name=$1 host=$2; shift 2; setsid "$sockeye" run --net meet --host "$host" "$@" >"$work/$name.log" 2>&1 & pids[$name]=$!; }
stop() { kill -TERM "${pids[$1]}"; wait "${pids[$1]}" || true; unset "pids[$1]"; }
listens() { "$sockeye" ps meet 2>/dev/null | awk -v host="$1" -v port=":$2" '
  $1 == "host" { here = $2 == host }
  here && ($2 == "LISTEN" || $1 == "udp") && substr($3, length($3) - length(port) + 1) == port { found = 1 }
  END { exit !found }'; }
ready() { within 10 listens "$2" "$3" || fail "$1 doesn't come up: $(cat "$work/$1.log")"; }
gone() { [ -z "$(ls -A "$control" 2>/dev/null)" ]; }

mkdir "$work/www"
head -c 100000000 /dev/urandom >"$work/www/big"; echo hello >"$work/www/hello"
sum=$(sha256sum <"$work/www/big")

# --- nginx with several workers, curl -------------------------------------------------------------------
# nginx_conf NAME PORT: its configuration.
nginx_conf() {
  cat >"$work/$1.conf" <<CONF
worker_processes 3; pid $work/$1.pid; error_log $work/$1.err;
events { worker_connections 256; }
http {
  access_log off; sendfile on;
  client_body_temp_path $work/$1.1; proxy_temp_path $work/$1.2; fastcgi_temp_path $work/$1.3;
  uwsgi_temp_path $work/$1.4; scgi_temp_path $work/$1.5;
  server { listen $2; listen [::]:$2; root $work/www; }
}
CONF
}
nginx_conf web 80
serve web web -- nginx -c "$work/web.conf" -g "daemon off;"
ready web web 80
same "$(on me -- curl -4 -sS http://web/hello)" hello "curl -4"
same "$(on me -- curl -6 -sS http://web/hello)" hello "curl -6"
same "$(on me -- curl -sS http://10.77.0.2/hello)" hello "curl by address"
same "$(on me -- curl -sS 'http://[fd77::2]/hello')" hello "curl by IPv6 address"
same "$(on other -- curl -sS http://web/big | sha256sum)" "$sum" "100 MB"
same "$(on other -- sh -c 'for i in 1 2 3 4 5 6; do curl -sS http://web/hello & done; wait' | sort | uniq -c | tr -s ' ')" \
  " 6 hello" "six at once"
stop web

# --- sshd; ssh, scp, forwarding in both directions -------------------------------------------------------
ssh-keygen -q -t ed25519 -N "" -f "$work/host"; ssh-keygen -q -t ed25519 -N "" -f "$work/me"
cp "$work/me.pub" "$work/keys"
cat >"$work/sshd.conf" <<CONF
Port 2222
HostKey $work/host
AuthorizedKeysFile $work/keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
Subsystem sftp internal-sftp
CONF
if [ "$(id -u)" = 0 ] && [ ! -d /run/sshd ]; then mkdir -m 755 /run/sshd; made_run_sshd=yes; fi
serve sshd box -- "$(command -v sshd || echo /usr/sbin/sshd)" -D -e -f "$work/sshd.conf"
ready sshd box 2222
who=$(id -un)
options="-F none -i $work/me -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=$work/known -o LogLevel=ERROR"
same "$(on me -- ssh $options -p 2222 "$who@box" 'echo "$SSH_CONNECTION" | cut -d" " -f4; exit 3' 2>&1; echo $?)" \
  "2222
3" "ssh" || cat "$work/sshd.log"
head -c 20000000 "$work/www/big" >"$work/up"
on me -- scp -q $options -P 2222 "$work/up" "$who@box:$work/there" || fail "scp there: $(cat "$work/sshd.log")"
cmp "$work/up" "$work/there"; ok
on me -- scp -q $options -P 2222 "$who@box:$work/there" "$work/back" || fail "scp back"
cmp "$work/up" "$work/back"; ok
nginx_conf files 8000
serve files files -- nginx -c "$work/files.conf" -g "daemon off;"
ready files files 8000
# -L: a port of the client's host leads to what the server's host reaches.
serve forth me -- ssh $options -p 2222 -N -L 9000:files:8000 "$who@box"
ready forth me 9000
same "$(on me -- curl -sS http://127.0.0.1:9000/hello)" hello "ssh -L"
same "$(on me -- curl -sS http://localhost:9000/big | sha256sum)" "$sum" "ssh -L, 100 MB"
stop forth
# -R: a port of the server's host leads to what the client's host reaches.
serve back me -- ssh $options -p 2222 -N -R 9001:files:8000 "$who@box"
ready back box 9001
same "$(on box -- curl -sS http://127.0.0.1:9001/hello)" hello "ssh -R"
stop back; stop files; stop sshd

# --- dnsmasq and dig ------------------------------------------------------------------------------------------
for n in $(seq 60); do echo "198.51.100.$n many.example.test"; done >"$work/hosts"; echo "192.0.2.7 www.example.test" >>"$work/hosts"
chmod 644 "$work/hosts"
serve names names -- dnsmasq --keep-in-foreground --log-facility=- --conf-file=/dev/null --user= --port=53 --no-resolv --no-hosts \
  --addn-hosts="$work/hosts" --txt-record=text.example.test,"hello text"
ready names names 53
names=$("$sockeye" ps meet | awk '$1 == "host" && $2 == "names" { print $3 }')
same "$(on me -- dig +short +noedns "@$names" www.example.test A)" 192.0.2.7 "dig, UDP"
same "$(on me -- dig +short +noedns +tcp "@$names" www.example.test A)" 192.0.2.7 "dig, TCP"
same "$(on me -- dig +short "@$names" text.example.test TXT)" '"hello text"' "dig, TXT"
same "$(on me -- dig +short "@$names" -x 192.0.2.7)" www.example.test. "dig, reverse"
same "$(on me -- dig +short +noedns "@$names" many.example.test A | wc -l)" 60 "dig, cut and asked again by TCP"
# The network's own name server.
same "$(on me -- dig +short names A)" "$names" "dig, a host's name"
same "$(on me -- dig +short +tcp -x "$names")" names. "dig, a host's address"
stop names

# --- redis and a replica on another host ------------------------------------------------------------------
redis="redis-server --bind 0.0.0.0 :: --protected-mode no --daemonize no --save '' --appendonly no --repl-diskless-sync-delay 0 --dir $work"
serve redis one -- sh -c "exec $redis --port 6379"
ready redis one 6379
serve replica two -- sh -c "exec $redis --port 6380 --replicaof one 6379"
ready replica two 6380
same "$(on me -- redis-cli -h one set colour green)" OK "redis-cli set"
caught_up() { on me -- redis-cli -h two -p 6380 info replication | grep -q 'master_link_status:up'; }
within 10 caught_up || fail "the replica doesn't catch up: $(cat "$work/replica.log")"; ok
copied() { on me -- redis-cli -h two -p 6380 get colour | grep -qx green; }
within 10 copied || fail "the replica doesn't have what was set"; ok
stop replica; stop redis

# --- git daemon --------------------------------------------------------------------------------------------
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
git init -q --bare -b main "$work/repo.git"; touch "$work/repo.git/git-daemon-export-ok"
git init -q -b main "$work/first"; cp "$work/up" "$work/first/file"
in_first() { git -C "$work/first" -c user.name=ci -c user.email=ci@example.test "$@"; }
in_first add file; in_first commit -qm one
serve git forge -- git daemon --base-path="$work" --enable=receive-pack --reuseaddr
ready git forge 9418
on me -- git -C "$work/first" push -q git://forge/repo.git main || fail "git push: $(cat "$work/git.log")"; ok
on other -- git clone -q git://forge/repo.git "$work/second" || fail "git clone: $(cat "$work/git.log")"
cmp "$work/up" "$work/second/file"; ok
stop git

# --- one host's loopback ------------------------------------------------------------------------------------
serve local same -- python3 -m http.server 8000 --bind 127.0.0.1 --directory "$work/www"
ready local same 8000
same "$(on same -- curl -sS http://127.0.0.1:8000/hello)" hello "loopback, shared"
on other -- curl -sS --max-time 5 http://127.0.0.1:8000/hello 2>/dev/null && fail "another host's loopback"; ok
# What ps shows.
"$sockeye" ps >"$work/ps"
for line in 'network meet ' 'host same ' 'program [0-9]* *python3 -m http.server 8000' 'tcp *LISTEN *127.0.0.1:8000 '; do
  grep -q "$line" "$work/ps" || fail "ps has no '$line': $(cat "$work/ps")"; ok
done
stop local

# --- the network ends with its last program ---------------------------------------------------------------
within 10 gone || fail "control files stay: $(ls "$control"); $("$sockeye" ps)"; ok

# --- a daemon goes on ----------------------------------------------------------------------------------------
nginx_conf daemon 8080
before=$(date +%s%N)
on web -- nginx -c "$work/daemon.conf" || fail "a daemon: status $?: $(cat "$work/daemon.err")"
took=$((($(date +%s%N) - before) / 1000000)); [ "$took" -lt 2000 ] || fail "a daemon's start took $took ms"; ok
same "$(on me -- curl -sS http://web:8080/hello)" hello "a daemon"
"$sockeye" ps meet >"$work/ps"
grep -q 'LISTEN.*0.0.0.0:8080' "$work/ps" && grep -q 'program.*nginx' "$work/ps" || fail "ps of a daemon: $(cat "$work/ps")"; ok
daemon=$(cat "$work/daemon.pid"); kill -0 "$daemon"
network=$(awk '$1 == "network" { print $4 }' "$work/ps")
"$sockeye" down meet || fail "down"
within 5 gone || fail "control files stay after down"; ok
ended() { ! kill -0 "$1" 2>/dev/null; }
for process in "$daemon" "$network"; do within 5 ended "$process" || fail "a process outlived down"; ok; done
! pgrep -f "$work/daemon.conf" >/dev/null || fail "processes outlived down: $(pgrep -af "$work/daemon.conf")"; ok

# --- statuses, signals -----------------------------------------------------------------------------------------
for status in 0 1 42 255; do
  got=0; on me -- sh -c "exit $status" || got=$?
  same "$got" "$status" "exit status"
done
got=0; { "$sockeye" run --net meet -- sh -c 'kill -TERM $$'; } 2>/dev/null || got=$?; same "$got" 143 "death by SIGTERM"
got=0; { "$sockeye" run --net meet -- sh -c 'kill -KILL $$'; } 2>/dev/null || got=$?; same "$got" 137 "death by SIGKILL"
same "$(echo in | "$sockeye" run --net meet -- cat)" in "standard input"
got=0; "$sockeye" run --net meet -- no-such-program 2>/dev/null || got=$?; same "$got" 127 "a missing program"

# --- a kept network: addresses, links, captures, wrong words --------------------------------------------------
serve keep web --ip 10.77.3.7 --link "delay 50ms" -- python3 -m http.server 80 --directory "$work/www"
ready keep web 80
same "$(on me -- curl -sS http://10.77.3.7/hello)" hello "--ip"
took=$(on me -- curl -sS -o "$work/got" -w '%{time_connect} %{time_total}' http://10.77.3.7/hello)
echo "$took" | awk '{ exit !($1 > 0.095 && $1 < 0.5 && $2 > 0.19 && $2 < 1) }' || fail "--link delay 50ms: curl took $took"; ok
"$sockeye" ps meet | grep -q 'host web  10.77.3.7  .*link delay 50ms' || fail "ps has no link: $("$sockeye" ps meet)"; ok
on seen --pcap "$work/seen.pcapng" -- curl -sS -o "$work/got" http://web/hello; cmp "$work/www/hello" "$work/got"
if command -v tshark >/dev/null; then
  captured() { [ "$(tshark -r "$work/seen.pcapng" -Y 'http.request.uri == "/hello"' 2>/dev/null | wc -l)" = 1 ]; }
  within 5 captured || fail "--pcap: $(tshark -r "$work/seen.pcapng" 2>&1)"; ok
fi
run="$sockeye run --net"
expect 2 a/b $run a/b -- true
expect 2 10.0.0 $run meet --ip 10.0.0 -- true
expect 2 192.0.2.1 $run meet --host new --ip 192.0.2.1 -- true
expect 2 10.77.3.7 $run meet --host new --ip 10.77.3.7 -- true
expect 2 10.77.3.7 $run meet --host web --ip 10.77.9.9 -- true
expect 2 "no host" $run meet --host "no host" -- true
expect 2 dela $run meet --link "dela 4ms" -- true
expect 2 80:x $run meet -p 80:x -- true
expect 125 /no/such/file $run meet --pcap /no/such/file -- true
expect 125 "way out" $run meet --offline -- true
expect 125 "run this outside" "$sockeye" run -- $run meet -- true
expect 125 nowhere "$sockeye" ps nowhere
expect 125 nowhere "$sockeye" down nowhere

# --- closes are seen, and a killed program's ports are free -----------------------------------------------------
cat >"$work/closes.py" <<'CODE'
import socket, time
def refused():
    try: socket.create_connection(("127.0.0.1", 7001), timeout=5).close()
    except ConnectionRefusedError: return True
for turn in range(20):
    s = socket.create_server(("", 7001)); s.close()
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("", 7001)); u.close()
s = socket.create_server(("", 7001)); s.close()
for turn in range(60):
    if refused(): break
    time.sleep(0.05)
else: raise SystemExit("a closed listener still listens after 3 s")
CODE
on me -- python3 "$work/closes.py" || fail "closes"; ok
serve victim victim -- python3 -c 'import os, socket, time; s = socket.create_server(("", 7002)); time.sleep(60)'
ready victim victim 7002
kill -KILL "${pids[victim]}"; wait "${pids[victim]}" 2>/dev/null || true
on victim -- python3 -c 'import socket; socket.create_server(("", 7002))' || fail "a killed program's port"; ok
stop keep
within 10 gone || fail "control files stay: $("$sockeye" ps)"; ok
finish
