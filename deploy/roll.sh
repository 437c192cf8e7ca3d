#!/bin/sh
# Replace the API's containers one by one, so that no request fails: each new one is healthy before an old one gets no
# more requests, answers those that it has, and stops. `make roll` runs this; docs/how-to/proxy.md describes it.
set -eu
fail() { echo "error: $1" >&2; exit 1; }
running() { docker compose ps --quiet api | sort; }

docker compose build --quiet api
old=$(running)
[ -n "$old" ] || fail "no API is running; start everything with make up"
count=$(echo "$old" | wc -l)
for container in $old; do
    before=$(running)
    docker compose up --detach --no-deps --no-recreate --wait --scale "api=$((count + 1))" api || {
        running | grep -vxF "$before" | xargs -r docker logs --tail 20
        running | grep -vxF "$before" | xargs -r docker rm --force >/dev/null
        fail "the new container doesn't become healthy, see above; the old ones still serve"
    }
    # The container's addresses in all its networks; the proxy knows one of them.
    addresses=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}:8000 {{end}}' "$container")
    # shellcheck disable=SC2086  # one argument for each address
    docker compose exec -T proxy sh /app/drain.sh $addresses
    docker stop "$container" >/dev/null
    docker rm "$container" >/dev/null
    docker compose exec -T proxy sh /app/drain.sh  # a new container may get the address
done
echo "replaced $count of $count"
