#!/usr/bin/env bash
# What a script has to run to learn that one declared key needs nothing: the steps of nixPKCS 1.3's, in its order. Two
# loads of the module by pkcs11-tool, one of them with a login, and openssl to read the certificate; about 35 forks.
# Prints the certificate; fails when there is something to do. $1 is the key's name.
set -euo pipefail

if [ -n "${NIXPKCS_LOCK_FILE:-}" ] && command -v flock >/dev/null; then
  lock=$NIXPKCS_LOCK_FILE
  unset NIXPKCS_LOCK_FILE
  exec flock -F "$lock" bash "$0" "$@"
fi

name=$1
log() {
  printf '[%s/%s] (%s) %s\n' "$(basename "$0")" "$1" "$name" "$2" >&2
}

mapfile -t spec < <(jq -r '.token, .id, .uri, .keyOptions.algorithm, .keyOptions.type, .certOptions.digest,
  .certOptions.subject, .certOptions.validityDays, .certOptions.renewalPeriod, .certOptions.pinFile' <<<"$NIXPKCS_KEY_SPEC")
mapfile -t usage < <(jq -r '.keyOptions.usage[]' <<<"$NIXPKCS_KEY_SPEC")
mapfile -t extensions < <(jq -r '.certOptions.extensions[]' <<<"$NIXPKCS_KEY_SPEC")
token=${spec[0]}
id=$(printf '%02x' "${spec[1]}")
digest=$(tr '[:upper:]' '[:lower:]' <<<"${spec[5]}")
renewal=${spec[8]}
openssl list -1 --digest-commands | grep -q "^$digest$"
pin=$(<"${spec[9]}")
grep -qE '^[0-9A-Za-z_-]+$' <<<"$pin"

run() {
  log debug "$(printf '%q ' "${@//$pin/REDACTED}")"
  "$@"
}

run pkcs11-tool --module "$MODULE" --list-slots >/dev/null
certificate=$(run pkcs11-tool --module "$MODULE" --token-label "$token" --login --pin "$pin" \
  --read-object --type cert --id "$id" --label "$name" | openssl x509 -inform DER -outform PEM)
log info "usage ${usage[*]}, extensions ${extensions[*]:-none}"
if [ "$renewal" -ge 0 ]; then
  end=$(openssl x509 -noout -enddate <<<"$certificate" | cut -d= -f2)
  log info "expires $(date -d "$end" +%F)"
  openssl x509 -noout -checkend "$((renewal * 86400))" <<<"$certificate" >/dev/null
fi
printf '%s\n' "$certificate"
