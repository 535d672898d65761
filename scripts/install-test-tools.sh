#!/usr/bin/env bash
# Installs the Debian packages named as arguments, those that are missing; silent if none is.
# Exit codes: 0 all are installed; 2 no package named; 3 some cannot be installed (one line says which and why).
set -uo pipefail

if [ $# -eq 0 ]; then
  echo "usage: $0 PACKAGE..." >&2
  exit 2
fi

missing=()
for package in "$@"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

give_up() {
  echo "cannot install ${missing[*]}: $1" >&2
  exit 3
}

command -v apt-get >/dev/null || give_up "this system has no apt-get; install them by hand"
elevate=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null && sudo -n true 2>/dev/null || give_up "run this as root: apt-get install ${missing[*]}"
  elevate=(sudo -n)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  "${elevate[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes -o DPkg::Lock::Timeout=120 "$@" >>"$log" 2>&1
}

echo "installing ${missing[*]} ..." >&2
apt update
apt install --no-install-recommends "${missing[@]}" || give_up "$(grep -m1 '^E:' "$log" || tail -n 1 "$log")"
