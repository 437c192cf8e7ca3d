#!/bin/sh
# Send no new requests to the replicas with these addresses (HOST:PORT), and wait until nginx has taken note of it.
# Without an argument, send requests to all replicas again. deploy/roll.sh runs this in the proxy's container.
set -eu
folder=${FOLDER:-/tmp/nginx}
for each in "$@"; do echo "server $each "; done >"$folder/drained.new"
mv "$folder/drained.new" "$folder/drained"
[ $# -gt 0 ] || exit 0
for _ in $(seq 150); do
    sleep 0.1
    [ -e "$folder/reloading" ] || grep -qFf "$folder/drained" "$folder/replicas.conf" || exit 0
done
echo "error: the proxy still sends requests to $*; there may be no other replica" >&2
exit 1
