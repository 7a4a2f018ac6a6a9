#!/usr/bin/env bash
# Makes a release, or checks that one can be made:
#   release.sh check            everything but publishing: the configuration, the image twice, archives, SBOMs, checksums
#   release.sh version TAG      fail unless TAG is the version of the chart, and CHANGELOG.md has a section for it
#   release.sh notes TAG        that section
#   release.sh image TAG...     build the image for all platforms and push it to KO_DOCKER_REPO; prints its digest
#   release.sh publish TAG      archives, SBOMs, signed checksums and a draft release at GitHub
#   release.sh extras           (for goreleaser) the chart and the manifests, into out/release
#   release.sh sbom FILE OUT    (for goreleaser) the SBOM of a program
set -euo pipefail
# Not following links: arguments may be paths relative to where this was called.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
chart=$root/charts/modal-runner-controller

# tool NAME: the path of a tool, which Go builds the first time.
tool() { go -C "$root/hack/release" tool -n "$1"; }

# What is made depends on the commit alone.
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct)
export SOURCE_DATE_EPOCH

section() { # of CHANGELOG.md for the version $1
	awk -v heading="## $1" '$0 == heading || index($0, heading " ") == 1 {found = 1; next} /^## / {found = 0} found' "$root/CHANGELOG.md"
}

version() {
	local version=${1#v} wrong=0
	for key in version appVersion; do
		if ! grep -qx "$key: $version" "$chart/Chart.yaml"; then
			echo "$key in Chart.yaml is not $version" >&2
			wrong=1
		fi
	done
	if [ -z "$(section "$version")" ]; then
		echo "CHANGELOG.md has no section \"## $version\"" >&2
		wrong=1
	fi
	return $wrong
}

image() {
	cd "$root"
	local tags
	tags=$(IFS=,; echo "${*#v}")
	"$(tool ko)" build --bare --sbom=spdx --tags="$tags" \
		--image-label=org.opencontainers.image.source=https://github.com/modalrunner/modal-runner-controller,org.opencontainers.image.licenses=Apache-2.0,org.opencontainers.image.revision="$(git rev-parse HEAD)",org.opencontainers.image.version="${1#v}" \
		./cmd/manager
}

extras() {
	cd "$root"
	rm -rf out/release
	mkdir -p out/release
	# helm gives the files in a chart the time of the packing; they get that of the commit.
	local packed name
	packed=$(mktemp -d)
	"$(go -C hack/tools tool -n helm)" package "$chart" --destination "$packed" >/dev/null
	name=$(basename "$packed"/*.tgz)
	tar -xzmf "$packed/$name" -C "$packed"
	tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=ustar -C "$packed" -c modal-runner-controller | gzip -n >"out/release/$name"
	rm -rf "$packed"
	"$(hack/assets.sh)/kubectl" kustomize config/default >out/release/install.yaml
	cp config/crd/bases/*.yaml out/release/
}

sbom() {
	"$(tool cyclonedx-gomod)" bin -json -noserial -notimestamp -output "$2" "$1"
}

check() {
	cd "$root"
	"$(tool goreleaser)" check
	if version v0.0.0-none 2>/dev/null; then
		echo "release.sh version accepts a version that is not the chart's" >&2
		return 1
	fi
	go -C hack/release run ./check -root "$root"
}

case ${1:-} in
check) check ;;
version) version "$2" ;;
notes) section "${2#v}" ;;
image) shift && image "$@" ;;
publish)
	cd "$root"
	version "$2"
	"$(tool goreleaser)" release --clean --release-notes=<(section "${2#v}")
	;;
extras) extras ;;
sbom) sbom "$2" "$3" ;;
*)
	sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
	exit 2
	;;
esac
