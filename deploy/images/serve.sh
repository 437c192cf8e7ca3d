#!/bin/sh
# Serve the current release; until there is one, answer 503.
set -eu
released=${RELEASES:-/artifact}/current/release.json
[ -e "$released" ] || python -IS /app/deploy/images/wait.py "$released"
exec python -m service
