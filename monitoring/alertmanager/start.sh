#!/bin/sh
# Write Alertmanager's configuration from environment variables, which Alertmanager can't read itself, and start it.
# Arguments go to Alertmanager. `start.sh --print` prints the configuration instead.
#
#   ALERT_EMAIL_TO            addresses, separated by commas; needs SMTP_SMARTHOST (host:port) and SMTP_FROM, and if the
#                             server wants a login SMTP_USERNAME and SMTP_PASSWORD_FILE; SMTP_REQUIRE_TLS is true by default
#   ALERT_SLACK_URL_FILE      a file with the URL of a Slack webhook; also ALERT_SLACK_CHANNEL
#   ALERT_WEBHOOK_URL         Alertmanager posts its JSON to this URL; ALERT_WEBHOOK_TOKEN_FILE is a file with a bearer token
#   ALERT_CRITICAL_TO         which of "email slack webhook" get critical alerts; by default all that you set up
#   ALERT_WARNING_TO          the same for warnings
#   ALERT_GROUP_WAIT          how long to collect alerts of a group before the first message (30s)
#   ALERT_GROUP_INTERVAL      how long to wait before a message about new alerts of a group (5m)
#
# Secrets are in files that Alertmanager reads itself. If you set nothing, alerts appear only on Alertmanager's web page.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${ALERTMANAGER_CONFIG:=${TMPDIR:-/tmp}/alertmanager.yml}" "${ALERT_GROUP_WAIT:=30s}" "${ALERT_GROUP_INTERVAL:=5m}"

fail() { echo "start.sh: $1" >&2; exit 1; }
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }
line() { [ -z "$3" ] || printf '%s%s: %s\n' "$1" "$2" "$(quoted "$3")"; }
readable() { [ -r "$2" ] || fail "$1: cannot read $2"; }

email() {
  [ -n "${ALERT_EMAIL_TO:-}" ] || return 0
  [ -n "${SMTP_SMARTHOST:-}" ] && [ -n "${SMTP_FROM:-}" ] || fail "ALERT_EMAIL_TO needs SMTP_SMARTHOST and SMTP_FROM"
  echo "    email_configs:"
  echo "      - to: $(quoted "$ALERT_EMAIL_TO")"
  line "        " from "$SMTP_FROM"
  line "        " smarthost "$SMTP_SMARTHOST"
  line "        " auth_username "${SMTP_USERNAME:-}"
  if [ -n "${SMTP_PASSWORD_FILE:-}" ]; then readable SMTP_PASSWORD_FILE "$SMTP_PASSWORD_FILE"; fi
  line "        " auth_password_file "${SMTP_PASSWORD_FILE:-}"
  echo "        require_tls: ${SMTP_REQUIRE_TLS:-true}"
  echo "        send_resolved: true"
  echo "        headers: {Subject: '{{ template \"alert.title\" . }}'}"
  echo "        html: ''"
  echo "        text: '{{ template \"alert.text\" . }}'"
}

slack() {
  [ -n "${ALERT_SLACK_URL_FILE:-}" ] || return 0
  readable ALERT_SLACK_URL_FILE "$ALERT_SLACK_URL_FILE"
  echo "    slack_configs:"
  echo "      - api_url_file: $(quoted "$ALERT_SLACK_URL_FILE")"
  line "        " channel "${ALERT_SLACK_CHANNEL:-}"
  echo "        send_resolved: true"
  echo "        title: '{{ template \"alert.title\" . }}'"
  echo "        text: '{{ template \"alert.text\" . }}'"
}

webhook() {
  [ -n "${ALERT_WEBHOOK_URL:-}" ] || return 0
  echo "    webhook_configs:"
  echo "      - url: $(quoted "$ALERT_WEBHOOK_URL")"
  echo "        send_resolved: true"
  [ -n "${ALERT_WEBHOOK_TOKEN_FILE:-}" ] || return 0
  readable ALERT_WEBHOOK_TOKEN_FILE "$ALERT_WEBHOOK_TOKEN_FILE"
  echo "        http_config: {authorization: {credentials_file: $(quoted "$ALERT_WEBHOOK_TOKEN_FILE")}}"
}

receiver() {
  echo "  - name: $1"
  for kind in $2; do
    case $kind in email|slack|webhook) $kind ;; *) fail "$kind is no receiver; there are email, slack and webhook" ;; esac
  done
}

config() {
  sed -e "s/GROUP_WAIT/$ALERT_GROUP_WAIT/; s/GROUP_INTERVAL/$ALERT_GROUP_INTERVAL/" "$here/routes.yml"
  echo
  echo "templates: [$(quoted "$here/message.tmpl")]"
  echo
  echo "receivers:"
  receiver critical "${ALERT_CRITICAL_TO:-email slack webhook}"
  receiver warning "${ALERT_WARNING_TO:-email slack webhook}"
}

umask 077
text=$(config)
if [ "${1:-}" = --print ]; then printf '%s\n' "$text"; exit 0; fi
printf '%s\n' "$text" > "$ALERTMANAGER_CONFIG"
exec "${ALERTMANAGER:-alertmanager}" --config.file="$ALERTMANAGER_CONFIG" "$@"
