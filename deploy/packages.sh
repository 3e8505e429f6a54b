#!/usr/bin/env bash
# Installs what building, testing and trying coffer needs on Debian 12, and nothing that is there
# already. The one list of packages of the tree; tests/run and deploy/quickstart call this file.
#   deploy/packages.sh           install what is missing (as root, or with sudo)
#   deploy/packages.sh --list    print the list
set -euo pipefail

PACKAGES=(
    build-essential meson ninja-build pkg-config git   # the build
    libssl-dev                                         # TLS, AES-GCM, hashes, certificates
    librocksdb-dev                                     # the store of a node
    libevent-dev                                       # the reactors
    libprotobuf-c-dev protobuf-c-compiler              # messages between nodes
    zlib1g-dev                                         # snapshots as gzip archives
    libzstd-dev libcrypt-dev libcurl4-openssl-dev      # compression, password hashes, calls out
    librnp-dev                                         # key shares encrypted for OpenPGP keys
    check                                              # unit tests
    gnupg                                              # tests: opens what was encrypted
    python3 python3-venv openssl ca-certificates curl  # cluster tests, clients, quickstart
    iproute2 nftables                                  # cluster tests: networks that fail
)

if [ "${1:-}" = "--list" ]; then
    printf '%s\n' "${PACKAGES[@]}"
    exit 0
fi

missing=()
for package in "${PACKAGES[@]}"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" != installed ]; then
        missing+=("$package")
    fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "These packages are missing: ${missing[*]}" >&2
        echo "Run this once as root, or install them yourself (apt-get install ...)." >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "Installing from Debian: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
       "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
           --no-install-recommends install "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "apt-get could not install: ${missing[*]}" >&2
    exit 1
fi
