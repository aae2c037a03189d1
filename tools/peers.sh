#!/usr/bin/env bash
# Installs the peers that the tests run against, and what the benchmarks run (jq, flock of util-linux), from Debian's packages: apt-get, as root.
set -euo pipefail
packages=(
  softhsm2 opensc openssl
  swtpm swtpm-tools libtpm2-pkcs11-1 libtss2-tcti-swtpm0
  libnss3 libnss3-tools libnss3-dev libp11-kit-dev p11-kit p11-kit-modules
  openssh-client openssh-server expect
  gnutls-bin libengine-pkcs11-openssl nginx curl default-jdk-headless
  gpg-agent gpgconf gpgsm gnupg-pkcs11-scd
  python3-minimal
  jq util-linux
)
export DEBIAN_FRONTEND=noninteractive
# The tests start servers of their own (nginx, sshd): Debian's are installed and not started. See invoke-rc.d(8).
if [ ! -e /usr/sbin/policy-rc.d ]; then
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  install -m 755 /dev/stdin /usr/sbin/policy-rc.d <<<$'#!/bin/sh\nexit 101'
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${packages[@]}"
