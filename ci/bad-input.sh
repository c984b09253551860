#!/usr/bin/env bash
# Wrong input gets one line on standard error that names it, and the exit status that is documented.
. "$(dirname "$0")/lib.sh"

lab() { printf '%s\n' "$1" >"$work/lab.toml"; }

expect 2 dela "$sockeye" run --link "dela 4ms" -- true
expect 2 101 "$sockeye" run --link "loss 101%" -- true
expect 2 10.0.0 "$sockeye" run --ip 10.0.0 -- true
expect 2 192.0.2.1 "$sockeye" run --ip 192.0.2.1 -- true
expect 2 gateway "$sockeye" run --net bad --host gateway -- true
expect 2 "option --bogus" "$sockeye" run --bogus true
expect 2 "whole number" "$sockeye" run --seed x -- true
expect 2 "such as 10s" "$sockeye" run --linger abc -- true
expect 2 /dev/stdout "$sockeye" run --pcap - -- true
expect 2 "no port" "$sockeye" run -p18080:x true
expect 2 PROGRAM "$sockeye" run
expect 2 fly "$sockeye" fly
expect 127 no-such-program "$sockeye" run -- no-such-program
expect 127 /no/such "$sockeye" run -- /no/such
expect 127 "sh -c" "$sockeye" run "ls | wc -l"
expect 126 folder "$sockeye" run -- "$work"
echo data >"$work/data"; expect 126 "$work/data" "$sockeye" run -- "$work/data"
expect 125 /no/such/file "$sockeye" run --pcap /no/such/file -- true
expect 125 inside "$sockeye" run -- "$sockeye" run -- true
expect 2 no-such.toml "$sockeye" lab "$work/no-such.toml"
lab '[host.web]
colour = "red"'
expect 2 colour "$sockeye" lab "$work/lab.toml"
lab '[host.web]
link = "jitter 5ms"
[[program]]
host = "web"
run = "true"'
expect 2 jitter "$sockeye" lab "$work/lab.toml"
lab '[host.web]
[[program]]
host = "db"
run = "true"'
expect 2 db "$sockeye" lab "$work/lab.toml"
# What a network won't do, and whom it doesn't speak to.
net=bad-input-$$
"$sockeye" run --net "$net" --host web --seed 5 -p28095:80 -- sh -c "echo; exec sleep 60" >"$work/started" 2>/dev/null &
for _ in $(seq 100); do [ -s "$work/started" ] && break; sleep 0.1; done
expect 125 "seed 5, not 6" "$sockeye" run --net "$net" --host web --seed 6 -- true
expect 125 "for host web of this network" "$sockeye" publish "$net" 28095:81
expect 125 "network has web" "$sockeye" publish "$net" --host wbe 28096:80
expect 2 "can't unpublish" "$sockeye" unpublish "$net" 28o95
expect 125 "28096/tcp is not published" "$sockeye" unpublish "$net" 28095-28096
for command in ps "ps $net" "down $net"; do
  # shellcheck disable=SC2086 # words of their own
  expect 125 "run this outside" "$sockeye" run -- "$sockeye" $command
done
"$sockeye" unpublish "$net" 28095 || fail "unpublish by the machine's port"; ok
expect 125 "28095/tcp is not published" "$sockeye" unpublish "$net" 28095
"$sockeye" down "$net" || fail "down"; wait

# Kernels and containers that refuse what programs can't run without, played by a filter around sockeye.
python3 ci/without.py seccomp=EINVAL true || fail "the filter of ci/without.py doesn't work"
expect 125 notification python3 ci/without.py seccomp=EINVAL "$sockeye" run -- true
expect 125 process_vm_readv python3 ci/without.py process_vm_readv "$sockeye" run -- true

# The program's exit status and death by signal pass through.
for status in 0 1 42 255; do
  got=0; "$sockeye" run -- sh -c "exit $status" || got=$?
  [ "$got" = "$status" ] || fail "exit status $got, expected $status"; ok
done
got=0; { "$sockeye" run -- sh -c 'kill -TERM $$'; } 2>/dev/null || got=$?
[ "$got" = 143 ] || fail "death by SIGTERM: status $got, expected 143"; ok
[ "$(echo in | "$sockeye" run -- cat)" = in ] || fail "standard input doesn't pass through"; ok
finish
