#!/bin/sh
# Makes what deploy/secrets lacks, and replaces nothing. The directory is its owner's alone; the files in it are mounted
# one by one into containers, whose users are others and must be able to read them.
# Usage: deploy/make-secrets.sh [HOST]: the host name of the certificate, which is self-signed: put your own in its place.
set -eu
host="${1:-localhost}"
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
cd secrets

umask 022
word() { openssl rand -base64 33 | tr '+/' '-_' | tr -d '\n'; }
keep() { if [ -s "$1" ]; then cat > /dev/null; else cat > "$1.new" && mv "$1.new" "$1" && echo "made deploy/secrets/$1"; fi; }

word | keep postgres_password
printf 'postgres://corral:%s@postgres:5432/corral' "$(cat postgres_password)" | keep database_url
openssl rand -base64 32 | keep secret_key
printf 'crl_live_%s' "$(word)" | keep bootstrap_key
[ -e runner_key ] || : > runner_key
if [ ! -s tls_key ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj "/CN=$host" -addext "subjectAltName=DNS:$host" \
        -keyout tls_key -out tls_certificate 2> /dev/null
    chmod 644 tls_key
    echo "made deploy/secrets/tls_key and tls_certificate for $host, self-signed"
fi
