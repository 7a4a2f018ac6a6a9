#!/usr/bin/env bash
# Provides Modal's JavaScript SDK as test/modaljs/package-lock.json has it, in a cache outside the work tree. Prints the folder
# that has node_modules.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../test/modaljs" && pwd)
lock=$(sha256sum "$project/package-lock.json" | cut -c1-16)
dir=${ASSETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modal-runner-controller}/modaljs-$lock
if [ ! -f "$dir/done" ]; then
	mkdir -p "$dir"
	exec 9>"$dir/.lock"
	flock 9
fi
if [ ! -f "$dir/done" ]; then
	echo "installing Modal's JavaScript SDK into $dir" >&2
	cp "$project/package.json" "$project/package-lock.json" "$dir"
	npm ci --prefix "$dir" --loglevel error --ignore-scripts --no-audit --no-fund --omit-lockfile-registry-resolved >&2
	touch "$dir/done"
fi
echo "$dir"
