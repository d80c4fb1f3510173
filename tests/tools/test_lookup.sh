#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_lookup.sh LOOKUP - the example of map, retry, hedge and memo: each name has its answer, and
# was looked up once.
set -eu
lookup=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

printf '%s\n' 'weir: 4' 'lock: 4' 'sluice: 6' 'weir: 4' 'lock: 4' 'ford: 4' 'weir: 4' \
	'7 asked for, 4 looked up' >"$dir/expected"
"$lookup" >"$dir/got" || {
	echo "test_lookup: exit code $?" >&2
	exit 1
}
diff "$dir/expected" "$dir/got"
