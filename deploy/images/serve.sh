#!/bin/sh
# Serves what the trainer released; until there is something, says that it waits.
set -eu
released=${RELEASES:-/artifact}/current/release.json
[ -e "$released" ] || python -IS /app/deploy/images/wait.py "$released"
exec python -m service
