#!/bin/sh
# Serves what the trainer published; until there is something, says that it waits.
set -eu
lock=${LOCK_PATH:-/app/dvc.lock}
[ -e "$lock" ] || python -IS /app/deploy/images/wait.py "$lock"
exec python -m service
