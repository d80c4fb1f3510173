#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_grep.sh GREP - the example of a stream finds what grep(1) finds, stops where it was told to,
# and says what is wrong.
set -eu
grep_example=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

i=0
while [ $i -lt 2000 ]; do
	i=$((i + 1))
	echo "line $i of many, $((i * 7919 % 1000))"
done >"$dir/file"
grep -n '77' "$dir/file" | sed 's/:/: /' >"$dir/expected"
echo "$(grep -c '77' "$dir/file") lines" >>"$dir/expected"
"$grep_example" 77 "$dir/file" >"$dir/got"
diff "$dir/expected" "$dir/got"

"$grep_example" 77 "$dir/file" 3 >"$dir/got"
{ grep -n -m 3 '77' "$dir/file" | sed 's/:/: /'; echo '3 lines'; } | diff - "$dir/got"

code=0
"$grep_example" x "$dir/missing" 2>"$dir/error" || code=$?
[ $code = 1 ]
grep -q "^grep: $dir/missing: No such file" "$dir/error"
head -c 5000 /dev/zero | tr '\0' 'a' >"$dir/long"
code=0
"$grep_example" x "$dir/long" 2>"$dir/error" || code=$?
[ $code = 1 ]
grep -q 'Message too long' "$dir/error"
