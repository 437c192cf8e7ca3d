#!/bin/sh
# Serve what the trainer released; until there is a release, answer that there is none.
set -eu
released=${RELEASES:-/artifact}/current/release.json
[ -e "$released" ] || python -IS /app/deploy/images/wait.py "$released"
exec python -m service
