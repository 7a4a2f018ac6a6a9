#!/usr/bin/env bash
# Provides the control plane that tests and the local stack run on: etcd, kube-apiserver,
# kube-controller-manager and kubectl, in a cache outside the work tree. Prints the folder on stdout, progress on
# stderr.
#
# The release binaries are downloaded with setup-envtest where that is possible; what is not to be had that way
# (kube-controller-manager never is) is built from the Go module proxy, which takes some ten minutes on two cores, once.
#
#   ASSETS_BUILD=1   build everything, download nothing
#   ASSETS_CACHE=DIR the cache, default ${XDG_CACHE_HOME:-~/.cache}/modal-runner-controller
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

kubernetes=$(cd kubernetes && go list -m -f '{{.Version}}' k8s.io/kubernetes)
etcd=$(cd etcd && go list -m -f '{{.Version}}' go.etcd.io/etcd/server/v3)
# Any change to the two modules is another key, so that a stale binary is never used.
key=$(cat kubernetes/go.mod etcd/go.mod etcd/main.go | git hash-object --stdin | cut -c1-12)
dir=${ASSETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modal-runner-controller}/kubernetes-$kubernetes-$key
mkdir -p "$dir"

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }

# One builder at a time; a second caller waits for the first and then finds everything in place.
exec 9>"$dir/.lock"
if ! flock -n 9; then
	say "waiting for another build of the control plane in $dir"
	flock 9
fi

missing() {
	for tool in etcd kube-apiserver kube-controller-manager kubectl; do
		[ -x "$dir/$tool" ] || echo "$tool"
	done
}

download() {
	local from
	[ -z "${ASSETS_BUILD:-}" ] || return 0
	say "asking setup-envtest for Kubernetes ${kubernetes#v}"
	if from=$(timeout 300 go -C ../hack/tools tool setup-envtest use "${kubernetes#v}" --bin-dir "$dir/envtest" -p path 2>"$dir/setup-envtest.log"); then
		for tool in etcd kube-apiserver kubectl; do
			cp "$from/$tool" "$dir/$tool.partial" && mv "$dir/$tool.partial" "$dir/$tool"
		done
		say "downloaded etcd, kube-apiserver and kubectl"
	else
		say "no download to be had; building from source instead"
	fi
}

# build MODULE-FOLDER PACKAGE NAME: a build is moved into place whole, so that an interrupted one leaves nothing behind.
build() {
	local stamp ldflags
	say "building $3 (minutes the first time)"
	stamp=k8s.io/component-base/version
	ldflags="-s -w -X $stamp.gitVersion=$kubernetes -X $stamp.gitMajor=$(cut -d. -f1 <<<"${kubernetes#v}")"
	ldflags+=" -X $stamp.gitMinor=$(cut -d. -f2 <<<"$kubernetes") -X $stamp.gitTreeState=clean"
	CGO_ENABLED=0 go -C "$1" build -trimpath -ldflags "$ldflags" -o "$dir/$3.partial" "$2"
	mv "$dir/$3.partial" "$dir/$3"
	say "built $3"
}

if [ -n "$(missing)" ]; then
	say "providing the control plane: Kubernetes $kubernetes, etcd $etcd, in $dir"
	download
	for tool in $(missing); do
		case $tool in
		etcd) build etcd . etcd ;;
		*) build kubernetes "k8s.io/kubernetes/cmd/$tool" "$tool" ;;
		esac
	done
fi
echo "$dir"
