#!/usr/bin/env bash
# Reproduce HEAD in a second clone, under another folder name, hash seed, home and number of cores,
# and compare dvc.lock byte for byte. Called by `make verify`; exits 1 and names what differs.
set -euo pipefail
root=$(git rev-parse --show-toplevel)
[ -z "$(git -C "$root" status --porcelain)" ] || echo "verify: uncommitted changes are not verified, HEAD is" >&2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git clone --quiet "$root" "$folder/another name"
cd "$folder/another name"
export HOME="$folder/home" DVC_SITE_CACHE_DIR="$folder/site" PYTHONHASHSEED=4242 DVC_NO_ANALYTICS=true
unset MLFLOW_TRACKING_URI DVC_ROOT DVC_EXP_NAME
mkdir -p "$HOME"
cores=(); if command -v taskset >/dev/null; then cores=(taskset -c 0); fi
"${cores[@]}" dvc repro --force --no-run-cache
if git diff --quiet -- dvc.lock; then
  echo "verify: dvc.lock is the same, byte for byte"
else
  echo "verify: dvc.lock differs; the first output that does:" >&2
  git diff --unified=3 -- dvc.lock | grep -m1 -B3 -A1 '^-' >&2 || git diff -- dvc.lock >&2
  exit 1
fi
