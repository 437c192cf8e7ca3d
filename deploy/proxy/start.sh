#!/bin/sh
# Start nginx as the proxy in front of the API. docs/how-to/proxy.md describes the variables.
set -eu
here=$(dirname "$0")
folder=${FOLDER:-/tmp/nginx}  # for the filled-in nginx.conf and for temporary files
certificates=${CERTIFICATES:-/certificates}
prefix=${PATH_PREFIX:-}
prefix=${prefix%/}
pause=${PAUSE:-2}  # seconds between two looks at the replicas, and around a reload
fail() { echo "error: $1" >&2; exit 1; }

echo "$prefix" | grep -Eqx '(/[A-Za-z0-9._~-]+)*' ||
    fail "PATH_PREFIX is $prefix; expected a path such as /models/flights, of letters, digits and ._~-"

if [ ! -e "$certificates/tls.crt" ] && [ ! -e "$certificates/tls.key" ]; then
    (umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
        -subj "/CN=localhost" -addext "subjectAltName=DNS:localhost,DNS:proxy,IP:127.0.0.1,IP:::1" \
        -keyout "$certificates/new.key" -out "$certificates/new.crt" 2>/dev/null) ||
        fail "$certificates has no tls.crt and tls.key, and the proxy cannot write a certificate there"
    mv "$certificates/new.key" "$certificates/tls.key"
    mv "$certificates/new.crt" "$certificates/tls.crt"
    echo "made a self-signed certificate for localhost; to use your own, set CERTIFICATES to a folder with tls.crt and tls.key"
fi

# Trusted proxies in front of this one.
trusted=
for each in $(printf %s "${FORWARDED_ALLOW_IPS:-}" | tr , ' ' | sed 's|^\*$|0.0.0.0/0 ::/0|'); do
    trusted="$trusted set_real_ip_from $each;"
done

mkdir -p "$folder"
sed -e "s|@HTTPS@|${LISTEN_HTTPS:-8443}|" -e "s|@HTTP@|${LISTEN_HTTP:-8080}|" \
    -e "s|@HTTPS_PORT@|${HTTPS_PORT:-8443}|" -e "s|@PREFIX@|$prefix|" -e "s|@CERTIFICATES@|$certificates|" \
    -e "s|@MAX_BODY_BYTES@|${MAX_BODY_BYTES:-33554432}|" -e "s|@CONNECTIONS@|${CONNECTIONS_PER_ADDRESS:-128}|" \
    -e "s|@HEADER_TIMEOUT@|${HEADER_TIMEOUT:-10s}|" -e "s|@BODY_TIMEOUT@|${BODY_TIMEOUT:-10s}|" \
    -e "s|@SEND_TIMEOUT@|${SEND_TIMEOUT:-60s}|" -e "s|@TRUSTED@|$trusted|" \
    -e "s|@FOLDER@|$folder|" \
    "$here/nginx.conf" >"$folder/nginx.conf"

# DNS has one address for each replica of the API; API may also list several hosts, separated by commas. When they
# change, nginx reloads; running requests continue. drain.sh lists the replicas that are about to stop.
apis=$(printf %s "${API:-api:8000}" | tr , ' ')
: >"$folder/drained"
find_replicas() {
    for api in $apis; do
        getent ahostsv4 "${api%:*}" | awk -v port="${api##*:}" '$2 == "STREAM" {print "server " $1 ":" port " fail_timeout=2s;"}'
    done | sort | grep -vFf "$folder/drained" >"$folder/found.conf"
    [ -s "$folder/found.conf" ] && ! cmp -s "$folder/found.conf" "$folder/replicas.conf"
}
# When nginx reloads, it closes idle connections, and a request that is just arriving on one is lost. So while the file
# `reloading` is there, each answer tells its client to use a new connection.
reload() {
    touch "$folder/reloading"
    sleep "$pause"
    mv "$folder/found.conf" "$folder/replicas.conf"
    kill -HUP $$
    sleep "$pause"
    rm "$folder/reloading"
}
echo "server 127.0.0.1:1;" >"$folder/replicas.conf"  # until the first replica is there: 502
! find_replicas || mv "$folder/found.conf" "$folder/replicas.conf"
rm -f "$folder/reloading"
while sleep "$pause" && kill -0 $$; do
    ! find_replicas || reload
done 2>/dev/null &
exec nginx -e stderr -p "$folder" -c "$folder/nginx.conf"
