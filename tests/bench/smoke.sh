#!/bin/sh
# SPDX-License-Identifier: MIT
#
# smoke.sh LOAD URING_ECHO EPOLL_ECHO URING_HTTP - the yardsticks answer rightly, and the load
# notices those who do not. Short and unpinned: it measures nothing.
set -eu
load=$1 uring_echo=$2 epoll_echo=$3 uring_http=$4
dir=$(mktemp -d)
server=
trap 'stop; rm -rf "$dir"' EXIT

stop() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	[ -z "$server" ] || wait "$server" 2>/dev/null || true
	server=
}

fail() {
	echo "smoke: $*" >&2
	exit 1
}

start() {
	stop
	rm -f "$dir/port"
	"$@" --port-file "$dir/port" 2>"$dir/err" &
	server=$!
	until [ -s "$dir/port" ]; do
		if ! kill -0 "$server" 2>/dev/null; then
			grep -Eq 'not implemented|not permitted' "$dir/err" ||
				fail "$(cat "$dir/err")"
			echo "skipped: io_uring is refused here" >&2
			exit 77
		fi
		sleep 0.01
	done
}

# passes MODE OPTION...: the load is content, and says so of every connection. A machine that
# is busy elsewhere may let no request through in the short time: it is given more.
passes() {
	mode=$1
	shift
	for seconds in 0.1 1 5; do
		"$load" "$mode" "$(cat "$dir/port")" --pid "$server" --warm-up 0.05 \
			--seconds $seconds "$@" >"$dir/out" 2>"$dir/err" && break
		grep -q 'no request was answered' "$dir/err" || break
	done
	grep -q '"errors": 0}' "$dir/out" || fail "$mode $*: $(cat "$dir/err" "$dir/out")"
}

# refuses PATTERN MODE ADDRESS OPTION...: the load ends with 1 and says why.
refuses() {
	pattern=$1 mode=$2 address=$3 status=0
	shift 3
	"$load" "$mode" "$address" --seconds 0.1 "$@" >"$dir/out" 2>"$dir/err" ||
		status=$?
	[ $status = 1 ] || fail "$mode $*: exit code $status, not 1"
	grep -q "$pattern" "$dir/err" || fail "$mode $*: does not say '$pattern': $(cat "$dir/err")"
}

for server_command in "$uring_echo" "$uring_echo --bufs 8 --buf-size 64 --spin-us 20" "$epoll_echo"
do
	start $server_command
	passes echo --conns 20
	passes echo --conns 20 --depth 16
	passes echo --conns 2 --depth 16 --size 1000000
	passes echo --conns 200 --hold 0.1
	refuses "answered 'GET" http "$(cat "$dir/port")"
done

start "$uring_http" --bufs 8 --buf-size 64
printf 'Hello, World!' >"$dir/body"
printf 'Hello, world!' >"$dir/other"
passes http --conns 20 --expect "$dir/body"
passes http --conns 20 --depth 100 --buf-size 100
passes http --conns 10 --rate 2000
refuses 'other bytes than expected' http "$(cat "$dir/port")" --expect "$dir/other"
refuses 'more answers than requests' http "$(cat "$dir/port")" --method HEAD --conns 1
stop
refuses 'Connection refused' echo tcp://127.0.0.1:1
