#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_resolve.sh RESOLVE - the example of the thread pool: each name has its answer, in order, and
# one that is none says so.
set -eu
resolve=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$resolve" 127.0.0.1 ::1 'no such name' 10.1.2.3 >"$dir/got" || {
	echo "test_resolve: exit code $?" >&2
	exit 1
}
printf '%s\n' '127.0.0.1: 127.0.0.1' '::1: ::1' '10.1.2.3: 10.1.2.3' >"$dir/expected"
grep -v '^no such name: ' "$dir/got" | diff "$dir/expected" -
sed -n 3p "$dir/got" | grep -q '^no such name: [A-Z]'
code=0
"$resolve" 2>"$dir/usage" || code=$?
[ $code = 2 ] && grep -q '^usage: resolve NAME' "$dir/usage"
