#!/usr/bin/env bash
# The C library: its header is up to date, it installs, and the examples of each sequence of calls are built against what
# was installed, shared and static, as C and as C++, and run.
. "$(dirname "$0")/lib.sh"

cargo xtask header --check
cargo xtask install-c --prefix "$work/usr" >"$work/out" 2>&1 || fail "install-c: $(cat "$work/out")"
export PKG_CONFIG_PATH=$work/usr/lib/pkgconfig
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
same "$(pkg-config --modversion sockeye)" "$version" "the version that pkg-config tells"
same "$(objdump -p "$work/usr/lib/libsockeye.so" | awk '$1 == "SONAME" { print $2 }')" "libsockeye.so.${version%.*}" "the soname"
strange=$(nm -D --defined-only "$work/usr/lib/libsockeye.so" | awk '$2 == "T" && $3 !~ /^sockeye_/ { print $3 }')
same "$strange" "" "other symbols that it exports"

read -ra flags <<<"$(pkg-config --cflags sockeye)"
read -ra shared <<<"$(pkg-config --libs sockeye)"
# The library itself in the program, and what it needs of the system.
read -ra static <<<"$(pkg-config --static --libs sockeye | sed 's/-lsockeye/-l:libsockeye.a/')"
strict=(-Wall -Wextra -Werror -pedantic)
cc -std=c99 "${strict[@]}" -fsyntax-only -x c "$work/usr/include/sockeye.h"

declare -A last=(
  [tcp]="client: HELLO FROM USER SPACE"
  [udp]="three by one call"
  [poll]="40 clients had 3550 bytes sent back"
  [connect]="port 80: connected; port 81: Connection refused; the dead host: Connection timed out"
  [control]="to 10.77.0.53, TTL 9"
  [ping]="3: answered after 30 ms"
  [errors]="nobody: Name or service not known"
  [lossy]="a million bytes and an outage, all of them there"
)
# runs NAME PROGRAM [COMMAND…]: the program, under the command, ends well with its line.
runs() {
  local name=$1 program=$2; shift 2
  timeout 60 "$@" "$program" >"$work/out" 2>"$work/err" || fail "$program: $(cat "$work/err")"
  same "$(tail -n 1 "$work/out")" "${last[$name]}" "$program"
}
found=(crates/capi/examples/*.c)
same "${#found[@]}" "${#last[@]}" "examples"
for name in "${!last[@]}"; do
  source=crates/capi/examples/$name.c
  cc -std=gnu11 -O1 "${strict[@]}" "${flags[@]}" "$source" -o "$work/$name" -pthread "${shared[@]}"
  LD_LIBRARY_PATH=$work/usr/lib runs "$name" "$work/$name"
  cc -std=gnu11 -O1 "${strict[@]}" "${flags[@]}" "$source" -o "$work/$name-static" -pthread "${static[@]}"
  runs "$name" "$work/$name-static"
done
c++ -std=c++17 "${strict[@]}" "${flags[@]}" -x c++ crates/capi/examples/tcp.c -o "$work/tcp-c++" -pthread "${shared[@]}"
LD_LIBRARY_PATH=$work/usr/lib runs tcp "$work/tcp-c++"
# No byte is read that nobody wrote, none is lost and none is freed twice.
if command -v valgrind >/dev/null; then
  for name in control poll; do
    LD_LIBRARY_PATH=$work/usr/lib runs "$name" "$work/$name" \
      valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite
  done
fi
finish
