#!/usr/bin/env bash
# Provides GitHub's published OpenAPI description and example webhook payloads, from their npm packages, in a cache outside
# the work tree. Prints the folder.
set -euo pipefail
openapi=23.0.2
examples=7.6.1
dir=${ASSETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modal-runner-controller}/octokit-$openapi-$examples
if [ ! -f "$dir/done" ]; then
	mkdir -p "$dir"
	exec 9>"$dir/.lock"
	flock 9
fi
if [ ! -f "$dir/done" ]; then
	echo "fetching @octokit/openapi $openapi and @octokit/webhooks-examples $examples into $dir" >&2
	cd "$dir"
	npm pack --silent "@octokit/openapi@$openapi" "@octokit/webhooks-examples@$examples" >&2
	tar -xzf "octokit-openapi-$openapi.tgz" && rm -rf openapi && mv package openapi
	tar -xzf "octokit-webhooks-examples-$examples.tgz" && rm -rf examples && mv package examples
	rm -f ./*.tgz
	touch done
fi
echo "$dir"
