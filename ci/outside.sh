#!/usr/bin/env bash
# The way out and the way in: servers of the machine and of another network, by address and name; errors as
# the kernel tells them; a lot of bytes, a lot of flows; published ports. As whoever calls it and, as root, as
# an ordinary user. Root's part has a machine of its own, made of namespaces: all that runs there ends with it.
. "$(dirname "$0")/lib.sh"

if [ "${1-}" = "" ]; then
  mkdir "$work/ci"; cp ci/lib.sh ci/outside.sh "$work/ci"; install -m 755 "$sockeye" "$work/sockeye"
  export SOCKEYE=$work/sockeye PROGRAMS=$work/ci
cat >"$work/ci/server.py" <<'CODE'
"""server.py BULK ECHO ADDRESS…: TCP on port BULK sends (on D) or receives (on U) 1 GiB, on ECHO it echoes; so does UDP."""
import hashlib, selectors, socket, sys, threading
GIB = 1 << 30
block = hashlib.shake_256(b"sockeye").digest(1 << 20)
def listener(address, port, kind):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, port))
    if kind == socket.SOCK_STREAM: s.listen(4096)
    return s
def bulk(c):
    with c:
        if c.recv(1) == b"D":
            for _ in range(GIB // len(block)): c.sendall(block)
            return
        sum, left = hashlib.sha256(), GIB
        while left > 0 and (piece := c.recv(min(left, 1 << 20))):
            sum.update(piece); left -= len(piece)
        c.sendall(sum.hexdigest().encode())
def serve_bulk(s):
    while True: threading.Thread(target=bulk, args=(s.accept()[0],), daemon=True).start()
selector = selectors.DefaultSelector()
for address in sys.argv[3:]:
    threading.Thread(target=serve_bulk, args=(listener(address, int(sys.argv[1]), socket.SOCK_STREAM),), daemon=True).start()
    selector.register(listener(address, int(sys.argv[2]), socket.SOCK_STREAM), selectors.EVENT_READ, "accept")
    selector.register(listener(address, int(sys.argv[2]), socket.SOCK_DGRAM), selectors.EVENT_READ, "datagram")
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        s = key.fileobj
        if key.data == "accept": selector.register(s.accept()[0], selectors.EVENT_READ, "echo")
        elif key.data == "datagram":
            data, peer = s.recvfrom(65536); s.sendto(data, peer)
        else:
            try: data = s.recv(65536)
            except ConnectionResetError: data = b""
            if data: s.sendall(data)
            else: selector.unregister(s); s.close()
CODE
cat >"$work/ci/bulk.py" <<'CODE'
"""bulk.py HOST PORT FAMILY D|U: 1 GiB from or to there; prints its checksum."""
import hashlib, socket, sys
family = socket.AF_INET6 if sys.argv[3] == "6" else socket.AF_INET
s = socket.socket(family)
s.connect(socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), family, socket.SOCK_STREAM)[0][4])
s.sendall(sys.argv[4].encode())
if sys.argv[4] == "D":
    sum = hashlib.sha256()
    while piece := s.recv(1 << 20): sum.update(piece)
    print(sum.hexdigest())
else:
    block = hashlib.shake_256(b"sockeye").digest(1 << 20)
    for _ in range(1024): s.sendall(block)
    print(s.recv(64, socket.MSG_WAITALL).decode())
CODE
cat >"$work/ci/flows.py" <<'CODE'
"""flows.py HOST PORT N: N connections at once; each carries its own bytes there and back."""
import resource, selectors, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
count, open_ones, done = int(sys.argv[3]), 0, 0
family, _, _, _, address = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), 0, socket.SOCK_STREAM)[0]
selector, flows = selectors.DefaultSelector(), []
for number in range(count):
    s = socket.socket(family); s.setblocking(False); s.connect_ex(address)
    selector.register(s, selectors.EVENT_WRITE, number); flows.append(s)
connected, got = set(), {}
while len(connected) < count:
    for key, _ in selector.select(30) or sys.exit(f"{len(connected)} connected, the others not"):
        if error := key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR): sys.exit(f"flow {key.data}: errno {error}")
        connected.add(key.data); selector.modify(key.fileobj, selectors.EVENT_READ, key.data)
message = {number: (b"%08d" % number) * 128 for number in range(count)}
for number, s in enumerate(flows): s.send(message[number])
while len(got) < count or any(len(got[n]) < len(message[n]) for n in got):
    for key, _ in selector.select(30) or sys.exit(f"{len(got)} answered, the others not"):
        got[key.data] = got.get(key.data, b"") + key.fileobj.recv(65536)
print(sum(got[number] == message[number] for number in range(count)))
CODE
cat >"$work/ci/datagrams.py" <<'CODE'
"""datagrams.py HOST PORT: echoes of several sizes, over every family that HOST has."""
import socket, sys
for family, _, _, _, address in socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), 0, socket.SOCK_DGRAM):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5)
    for size in (1, 1200, 8000, 0, 1):
        s.sendto(b"x" * size, address)
        data, peer = s.recvfrom(65536)
        assert len(data) == size and peer[:2] == address[:2], (size, len(data), peer)
    print("IPv6" if family == socket.AF_INET6 else "IPv4")
CODE
cat >"$work/ci/probe.py" <<'CODE'
"""probe.py ADDRESS/PORT[/udp|/twice]…: what a client is told there, all at once; after at most two SYNs (twice)."""
import errno, socket, sys, threading, time
answers = {}
def probe(target):
    address, port, *rest = target.split("/")
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM if rest == ["udp"] else socket.SOCK_STREAM)
    start = time.monotonic()
    try:
        if rest == ["udp"]:
            s.settimeout(5); s.connect((address, int(port))); s.send(b"x"); s.recvfrom(1)
        else:
            if rest == ["twice"]: s.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
            s.connect((address, int(port)))
        answer = "connected"
    except OSError as error: answer = errno.errorcode.get(error.errno, str(error))
    took = time.monotonic() - start
    answers[target] = answer + (" at once" if took < 0.9 else "")
threads = [threading.Thread(target=probe, args=(target,)) for target in sys.argv[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
for target in sys.argv[1:]: print(target, answers[target])
CODE
  here() {
    local what=$1; shift
    "$@" >"$work/out" || fail "$what"
    echo "$what: $(cat "$work/out")"
    passed=$((passed + $(sed -n 's/ passed.*//p' "$work/out")))
  }
  rest=(bash "$work/ci/outside.sh" here)
  machine=(unshare --net --mount --pid --fork --kill-child --mount-proc bash "$work/ci/outside.sh" far)
  if [ "$(id -u)" = 0 ]; then
    here "as root" "${machine[@]}" "${rest[@]}"
    id "$user" >/dev/null 2>&1 && here "as an ordinary user" "${machine[@]}" "${as_user[@]}" "${rest[@]}"
  else
    here "as $(id -un)" "${rest[@]}"
  fi
  finish
  exit
fi

if [ "$1" = far ]; then
  # This shell's namespaces are the machine; another one's is the network beyond it. Then the rest follows.
  shift
  ip link set lo up
  unshare --net sleep 300 & far=$!
  until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
  there() { nsenter --net=/proc/$far/ns/net "$@"; }
  ip link add near type veth peer name far netns $far
  ip addr add 198.51.100.1/24 dev near; ip addr add fd55::1/64 dev near nodad; ip link set near up
  there ip link set lo up; there ip addr add 198.51.100.2/24 dev far; there ip addr add fd55::2/64 dev far nodad
  there ip link set far up; there sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
  sysctl -qw net.ipv4.tcp_syn_retries=2
  # Routes that fail here, and others that fail there.
  ip route add unreachable 198.51.101.0/24; ip -6 route add unreachable fd56:1::/64
  ip route add 198.51.102.0/24 via 198.51.100.2; ip -6 route add fd56:2::/64 via fd55::2
  there ip route add unreachable 198.51.102.0/24; there ip -6 route add unreachable fd56:2::/64
  ip route add 198.51.103.0/24 via 198.51.100.2; ip -6 route add fd56:3::/64 via fd55::2
  there ip route add blackhole 198.51.103.0/24; there ip -6 route add blackhole fd56:3::/64
  # The machine's name server. Only this namespace's resolv.conf names it.
  echo "nameserver 127.0.0.77" >"$work/resolv.conf"; mount --bind "$work/resolv.conf" /etc/resolv.conf
  words=$(printf '"%s",' $(seq 1000 1300))
  dnsmasq --keep-in-foreground --conf-file=/dev/null --listen-address=127.0.0.77 --bind-interfaces --no-resolv --no-hosts \
    --pid-file= --user=root --log-facility=- --host-record=far.example.test,198.51.100.2,fd55::2 \
    --cname=alias.example.test,far.example.test "--txt-record=long.example.test,${words%,}" 2>"$work/dnsmasq" &
  mkdir "$work/www"; chmod 755 "$work/www"; echo far >"$work/www/hello"
  there python3 "$PROGRAMS/server.py" 7000 7001 0.0.0.0 :: >"$work/server" &
  there python3 -m http.server 8000 --bind :: --directory "$work/www" >"$work/http" 2>&1 &
  FAR=far.example.test "$@"
  exit # and with this first process all others
fi

export XDG_RUNTIME_DIR=$work/run; mkdir -m 700 "$XDG_RUNTIME_DIR"
servers=()
end_all() {
  "$sockeye" down pub 2>/dev/null || true
  [ "${#servers[@]}" = 0 ] || kill "${servers[@]}" 2>/dev/null || true
  rm -rf "$work"
}
trap end_all EXIT
run=(timeout 60 "$sockeye" run)
net=(timeout 60 "$sockeye" run --net pub)

# --- the machine's own servers ------------------------------------------------------------------------------
mkdir "$work/www"; echo near >"$work/www/hello"
python3 "$PROGRAMS/server.py" 27000 27001 127.0.0.1 ::1 >"$work/server" & servers+=($!)
python3 -m http.server 28000 --bind 127.0.0.1 --directory "$work/www" >"$work/http4" 2>&1 & servers+=($!)
python3 -m http.server 28000 --bind ::1 --directory "$work/www" >"$work/http6" 2>&1 & servers+=($!)
within 10 grep -q ready "$work/server" || fail "the server doesn't come up"
for url in http://127.0.0.1:28000/ 'http://[::1]:28000/'; do within 10 curl -sS -o /dev/null "$url" 2>/dev/null || fail "no $url"; done
same "$("${run[@]}" -- curl -4 -sS http://host.sockeye:28000/hello)" near "host.sockeye, IPv4"
same "$("${run[@]}" -- curl -6 -sS http://host.sockeye:28000/hello)" near "host.sockeye, IPv6"
same "$("${net[@]}" -- curl -sS http://host.sockeye:28000/hello)" near "host.sockeye from a named network"
same "$("${run[@]}" -- python3 "$PROGRAMS/datagrams.py" host.sockeye 27001 | sort | tr '\n' ' ')" "IPv4 IPv6 " "UDP to the machine"
# The network's own loopback is not the machine's.
"${run[@]}" -- curl -sS --max-time 5 http://127.0.0.1:28000/hello >/dev/null 2>&1 && fail "127.0.0.1 is the machine's"; ok
"${run[@]}" -- curl -sS --max-time 5 'http://[::ffff:127.0.0.1]:28000/hello' >/dev/null 2>&1 && fail "::ffff:127.0.0.1 is the machine's"; ok

# --- another network's servers, by address and by name ----------------------------------------------------------
target=${FAR:-host.sockeye} bulk=27000 echo=27001
if [ -n "${FAR-}" ]; then
  bulk=7000 echo=7001
  within 10 curl -sS -o /dev/null http://198.51.100.2:8000/ 2>/dev/null || fail "no server beyond the machine"
  for url in http://198.51.100.2:8000/ 'http://[fd55::2]:8000/' http://far.example.test:8000/ http://alias.example.test:8000/; do
    same "$("${run[@]}" -- curl -sS "${url}hello")" far "$url"
  done
  same "$("${run[@]}" -- curl -4 -sS http://far.example.test:8000/hello)" far "by name, IPv4"
  same "$("${run[@]}" -- curl -6 -sS http://far.example.test:8000/hello)" far "by name, IPv6"
  same "$("${net[@]}" -- curl -sS http://far.example.test:8000/hello)" far "by name from a named network"
  same "$("${run[@]}" -- python3 "$PROGRAMS/datagrams.py" far.example.test 7001 | sort | tr '\n' ' ')" "IPv4 IPv6 " "UDP"
  # An answer of 1,500 bytes and more is cut over UDP, and asked for over TCP.
  same "$("${run[@]}" -- dig +short +bufsize=512 long.example.test TXT | wc -w)" 301 "a long answer"
  "${run[@]}" -- dig +bufsize=512 +ignore long.example.test TXT | grep -q '^;; flags:.* tc' || fail "a long answer over UDP isn't cut"; ok
  "${run[@]}" -- dig missing.example.test | grep -q 'status: \(NXDOMAIN\|REFUSED\)' || fail "a missing name"; ok
  probes=(198.51.100.2/8000 fd55::2/8000 198.51.100.2/1 fd55::2/1 198.51.100.2/1/udp fd55::2/1/udp
    203.0.113.9/1 fd57::9/1 198.51.101.9/1 fd56:1::9/1 198.51.102.9/1 fd56:2::9/1 198.51.103.9/1/twice fd56:3::9/1/twice
    198.51.100.99/1 fd55::99/1)
  python3 "$PROGRAMS/probe.py" "${probes[@]}" >"$work/native" & native=$!
  "${run[@]}" -- python3 "$PROGRAMS/probe.py" "${probes[@]}" >"$work/probed" || fail "probes"
  wait "$native"
  diff <(sed 's/ at once//' "$work/native") <(sed 's/ at once//' "$work/probed") >"$work/differences" || fail "errors differ from the kernel's (<): $(cat "$work/differences")"
  passed=$((passed + ${#probes[@]}))
  for word in "ECONNREFUSED at once" "ENETUNREACH at once" "EHOSTUNREACH" "ETIMEDOUT$"; do
    grep -q "$word" "$work/probed" || fail "no probe shows $word: $(cat "$work/probed")"
  done
else
  echo "skipped: servers of another network (needs root)"
  for family in 4 6; do
    got=0; "${run[@]}" -- curl -$family -sS http://host.sockeye:1/ 2>/dev/null || got=$?; same "$got" 7 "a refusal, IPv$family"
  done
fi

# --- a lot of bytes, a lot of flows --------------------------------------------------------------------------------
sum=$(python3 -c 'import hashlib; s = hashlib.sha256(); b = hashlib.shake_256(b"sockeye").digest(1 << 20); [s.update(b) for _ in range(1024)]; print(s.hexdigest())')
same "$("${run[@]}" -- python3 "$PROGRAMS/bulk.py" "$target" $bulk 4 D)" "$sum" "1 GiB from outside"
same "$("${run[@]}" -- python3 "$PROGRAMS/bulk.py" "$target" $bulk 6 U)" "$sum" "1 GiB to outside"
same "$("${net[@]}" -- python3 "$PROGRAMS/flows.py" "$target" $echo 2000)" 2000 "2,000 flows at once"

# --- offline -----------------------------------------------------------------------------------------------------------
for name in host.sockeye ${FAR-}; do
  got=0; "${run[@]}" --offline -- curl -sS --max-time 10 "http://$name:28000/hello" >"$work/out" 2>&1 || got=$?
  [ "$got" = 6 ] || [ "$got" = 7 ] || fail "--offline: curl to $name ended with $got: $(cat "$work/out")"; ok
done

# --- published ports ---------------------------------------------------------------------------------------------------
cat >"$work/web.py" <<'CODE'
import http.server, socket, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"port {self.server.server_port}\n".encode()
        self.send_response(200); self.send_header("Content-Length", len(body)); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
for port in (80, 81, 82):
    threading.Thread(target=http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever, daemon=True).start()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("0.0.0.0", 53))
print("up", flush=True)
while True:
    data, peer = u.recvfrom(65536); u.sendto(data, peer)
CODE
setsid "$sockeye" run --net pub --host web -p 28080:80 -p 28090-28092:80-82 -p '[::1]:28080:80' -p 28053:53/udp -- \
  python3 "$work/web.py" >"$work/web" 2>&1 & web=$!
within 10 grep -q up "$work/web" || fail "-p: $(cat "$work/web")"
same "$(curl -sS http://127.0.0.1:28080/)" "port 80" "a published port"
same "$(curl -sS 'http://[::1]:28080/')" "port 80" "a published port, IPv6"
for n in 0 1 2; do same "$(curl -sS http://127.0.0.1:2809$n/)" "port 8$n" "a published range"; done
same "$(python3 "$PROGRAMS/datagrams.py" 127.0.0.1 28053)" IPv4 "a published UDP port"
shown=$("$sockeye" ps pub | grep -c published); same "$shown" 6 "ps, published ports"
"$sockeye" publish pub --host web 28083:81 || fail "publish"
same "$(curl -sS http://127.0.0.1:28083/)" "port 81" "published while running"
"$sockeye" unpublish pub --host web 28083:81 || fail "unpublish"
curl -sS --max-time 5 http://127.0.0.1:28083/ >/dev/null 2>&1 && fail "unpublish leaves the port open"; ok
expect 125 28000 "$sockeye" publish pub --host web 28000:80
expect 125 28083 "$sockeye" unpublish pub --host web 28083:81
expect 2 28083:x "$sockeye" publish pub --host web 28083:x
expect 125 28000 "$sockeye" run --net pub --host new -p 28084:80 -p 28000:80 -- true
curl -sS --max-time 5 http://127.0.0.1:28084/ >/dev/null 2>&1 && fail "a refused run left a port open"; ok
expect 125 28000 "$sockeye" run -p 28000:80 -- true
# A private network's.
setsid "$sockeye" run -p 28085:80 -- python3 "$work/web.py" >"$work/private" 2>&1 & private=$!
within 10 grep -q up "$work/private" || fail "-p: $(cat "$work/private")"
same "$(curl -sS http://127.0.0.1:28085/)" "port 80" "a private network's published port"
kill -TERM "$private" "$web"; wait "$private" "$web" 2>/dev/null || true
within 10 test ! -e "$XDG_RUNTIME_DIR/sockeye/pub.sock" || fail "the network stays"; ok
curl -sS --max-time 5 http://127.0.0.1:28080/ >/dev/null 2>&1 && fail "a published port outlives its network"; ok
finish
