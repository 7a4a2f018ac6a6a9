#!/usr/bin/env bash
# Provides axe-core, which checks pages for accessibility, from its npm package, in a cache outside the work tree. Prints the
# path of its script.
set -euo pipefail
version=4.14.1
dir=${ASSETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modal-runner-controller}/axe-core-$version
if [ ! -f "$dir/done" ]; then
	mkdir -p "$dir"
	exec 9>"$dir/.lock"
	flock 9
fi
if [ ! -f "$dir/done" ]; then
	echo "fetching axe-core $version into $dir" >&2
	cd "$dir"
	npm pack --silent "axe-core@$version" >&2
	tar -xzf "axe-core-$version.tgz" package/axe.min.js
	rm -f ./*.tgz
	touch done
fi
echo "$dir/package/axe.min.js"
