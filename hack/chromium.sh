#!/usr/bin/env bash
# Finds Chromium, or installs it from the distribution's packages, and prints its path. CHROMIUM names another one.
set -euo pipefail

find_it() {
	local name
	for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome google-chrome-stable \
		"/Applications/Chromium.app/Contents/MacOS/Chromium" "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
		if command -v "$name"; then
			return 0
		fi
	done
	return 1
}

find_it && exit
command -v apt-get >/dev/null || {
	echo "Chromium is needed: install it, or set CHROMIUM to its path" >&2
	exit 1
}
echo "installing Chromium with apt-get" >&2
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)
lock=${TMPDIR:-/tmp}/modal-runner-controller-chromium.lock
exec 9>"$lock"
flock 9
if ! find_it; then
	"${as_root[@]}" apt-get update -qq >&2
	DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium fonts-inter fonts-liberation >&2
	find_it
fi
