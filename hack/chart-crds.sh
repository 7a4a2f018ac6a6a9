#!/usr/bin/env bash
# Copies the generated CRDs and rules into the chart, which renders them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
files=charts/modal-runner-controller/files
mkdir -p "$files/crds"
rm -f "$files"/crds/*.yaml
cp config/crd/bases/*.yaml "$files/crds/"
cp config/rbac/role.yaml "$files/role.yaml"
cp config/components/separate-webhook/role.yaml "$files/webhook-role.yaml"
