#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_copy.sh COPY - the file copy example: whole, empty, onto a longer file, and its errors.
set -eu
copy=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
	echo "test_copy: $*" >&2
	exit 1
}

copies() {
	"$copy" "$1" "$2" || fail "$1: exit code $?"
	cmp "$1" "$2" || fail "$1: the copy differs"
}

head -c 3000001 /dev/urandom >"$dir/odd"
head -c 1048576 /dev/urandom >"$dir/even"
: >"$dir/empty"
"$copy" "$dir/even" "$dir/probe" 2>"$dir/err" || {
	grep -Eq 'not implemented|not permitted' "$dir/err" || fail "$(cat "$dir/err")"
	echo "skipped: io_uring is refused here" >&2
	exit 77
}
copies "$dir/odd" "$dir/to"
copies "$dir/even" "$dir/to"
copies "$dir/empty" "$dir/to"
chmod 600 "$dir/odd"
rm "$dir/to"
copies "$dir/odd" "$dir/to"
[ "$(stat -c %a "$dir/to")" = 600 ] || fail "the copy has another mode"

if "$copy" "$dir/none" "$dir/to2" 2>"$dir/err"; then fail "copied what is not there"; fi
grep -q "$dir/none.*No such file" "$dir/err" || fail "the error does not name the file"
status=0
"$copy" 2>"$dir/err" || status=$?
[ $status = 2 ] || fail "without arguments: exit code $status"
