#!/bin/sh
# Serves what the trainer published; until there is something, waits for it.
set -eu
lock=${LOCK_PATH:-/app/dvc.lock}
if [ ! -e "$lock" ]; then
    echo "no artifact yet: waiting for $lock, which the trainer publishes" >&2
    until [ -e "$lock" ]; do sleep 0.5; done
fi
exec python -m service
