#!/usr/bin/env bash
# Captures open in tshark without a malformed packet or a bad checksum, and show handshake, SACK and close.
. "$(dirname "$0")/lib.sh"

cat >"$work/lab.toml" <<END
[network]
seed = 3
pcap = "$work/lab.pcapng"
[host.web]
link = "delay 20ms loss 2%"
[host.client]
[[program]]
host = "web"
run = ["sh", "-c", "head -c 2000000 /dev/urandom > $work/data; exec python3 -u -m http.server 8000 --bind :: --directory $work"]
[[program]]
host = "client"
after = "web:8000"
run = "curl -4 -sS -o $work/copy4 http://web:8000/data"
expect.exit = 0
[[program]]
host = "client"
after = "web:8000"
run = "curl -6 -sS -o $work/copy6 http://web:8000/data"
expect.exit = 0
[[program]]
host = "client"
run = ["python3", "-c", "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('web', 9))"]
expect.exit = 0
END
"$sockeye" lab --quiet "$work/lab.toml" >"$work/log" 2>&1 || fail "the lab: $(cat "$work/log")"
cmp "$work/data" "$work/copy4"; cmp "$work/data" "$work/copy6"; ok
"$sockeye" run --pcap "$work/run.pcapng" -- sh -c "
  python3 -u -m http.server 8000 --directory $work >$work/served 2>&1 &
  for _ in \$(seq 200); do grep -q Serving $work/served && break; sleep 0.05; done
  curl -sS -o $work/copy http://127.0.0.1:8000/data; kill \$!" || fail "run --pcap"
cmp "$work/data" "$work/copy"; ok
"$sockeye" run --pcap "$work/killed.pcapng" -- python3 -c "
import socket
listener = socket.create_server(('127.0.0.1', 0))
while True:
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    client.sendall(b'x' * 1000); client.close(); server.recv(1000); server.close()" 2>>"$work/log" &
begun() { [ "$(stat -c %s "$work/killed.pcapng" 2>>"$work/log" || echo 0)" -gt 2000 ]; }
within 20 begun || fail "no packets in the capture of a run that goes on"
sleep 1.5; kill -KILL $!; wait $! 2>>"$work/log" || true
status=0; "$sockeye" run --pcap /dev/full -- sh -c "exit 7" 2>"$work/full" || status=$?
[ $status = 7 ] && grep -q "/dev/full is not complete" "$work/full" || fail "a full disk: $status $(cat "$work/full")"; ok

# Segments are judged one by one: tshark calls a packet malformed when a segment that was sent again overlaps what it
# has put together for HTTP.
checked="-o tcp.check_checksum:TRUE -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE -o tcp.desegment_tcp_streams:FALSE"
count() { tshark -r "$1" $checked -Y "$2" 2>>"$work/tshark" | wc -l; }
for capture in "$work/lab.pcapng" "$work/run.pcapng" "$work/killed.pcapng"; do
  # What tshark takes random data for, by a port that happens to be some protocol's, counts for nothing.
  for bad in '_ws.malformed && !(frame.protocols matches "tcp:[a-z]")' tcp.checksum.status==0 ip.checksum.status==0 udp.checksum.status==0; do
    [ "$(count "$capture" "$bad")" = 0 ] || fail "$capture: packets with $bad"; ok
  done
done
for shown in 'tcp.flags.syn==1 && tcp.flags.ack==0' 'tcp.flags.syn==1 && tcp.flags.ack==1' tcp.options.sack_le 'tcp.flags.fin==1' ipv6 udp icmp; do
  [ "$(count "$work/lab.pcapng" "$shown")" -gt 0 ] || fail "no packet with $shown"; ok
done
# A file that is being written, and one that a refused run names, stay as they are. A run's end frees its file.
export XDG_RUNTIME_DIR=$work/runtime; mkdir -m 700 "$XDG_RUNTIME_DIR"
"$sockeye" run --net one --host a --offline --pcap "$work/one.pcapng" -- sleep 60 & first=$!
for _ in $(seq 100); do [ -s "$work/one.pcapng" ] && break; sleep 0.05; done
sum=$(sha256sum "$work/one.pcapng")
for second in "--net one --host a" "--net one --host b" "--net two" ""; do
  status=0; "$sockeye" run $second --pcap "$work/one.pcapng" -- true 2>"$work/second" || status=$?
  grep -q "captur" "$work/second" && [ "$status" -ge 2 ] || fail "a second capture ($second): $status $(cat "$work/second")"; ok
done
[ "$sum" = "$(sha256sum "$work/one.pcapng")" ] || fail "the first capture was changed"; ok
"$sockeye" down one; wait "$first" 2>/dev/null || true
for _ in $(seq 10); do "$sockeye" run --net one --pcap "$work/one.pcapng" -- true || fail "its file isn't free at a run's end"; ok; done
echo precious >"$work/kept"
"$sockeye" run --net one --host a --ip 10.77.0.9 -- sleep 60 & first=$!
for _ in $(seq 100); do "$sockeye" ps | grep -q 10.77.0.9 && break; sleep 0.05; done
"$sockeye" run --net one --host a --ip 10.77.0.8 --pcap "$work/kept" -- true 2>/dev/null && fail "--ip was not refused"
[ "$(cat "$work/kept")" = precious ] || fail "a refused run emptied a file"; ok
"$sockeye" down one; wait "$first" 2>/dev/null || true
# A host's packets to itself: what came for one request, byte for byte, from handshake to close.
[ "$(count "$work/run.pcapng" 'frame.interface_name != "me:lo"')" = 0 ] || fail "packets that left the only host"; ok
for shown in 'tcp.flags.syn==1 && tcp.flags.ack==0' 'tcp.flags.syn==1 && tcp.flags.ack==1' \
  'tcp.flags.fin==1 && tcp.dstport==8000' 'tcp.flags.fin==1 && tcp.srcport==8000' 'http.request.uri == "/data"'; do
  [ "$(count "$work/run.pcapng" "$shown")" = 1 ] || fail "run: not one packet with $shown"; ok
done
carried=$(tshark -r "$work/run.pcapng" -Y "tcp.srcport==8000" -T fields -e tcp.len | awk '{ sum += $1 } END { print sum }')
[ "$carried" -gt 2000000 ] || fail "the answer has 2,000,000 bytes, captured were $carried"; ok
# Killed a second and a half after its first packets, it had written all but the last tenth of a second.
span=$(tshark -r "$work/killed.pcapng" -T fields -e frame.time_relative 2>>"$work/tshark" | tail -1)
awk -v span="$span" 'BEGIN { exit !(span > 0.5) }' || fail "killed: the capture has $span s"; ok
finish
