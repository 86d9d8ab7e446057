#!/usr/bin/env bash
# The Debian package in a Debian of its own, under a systemd of its own: installed, set up with the commands of
# README's section "As a service" as they stand there, used, restarted under load, removed and purged.
#
#     tests/package.sh target/debian/restante_0.2.0-1_amd64.deb
#
# As root. Needs debootstrap and systemd-nspawn; a bare system is kept in $RESTANTE_DEBIAN, if that is set.
set -euo pipefail

skip() {
    echo "SKIPPED package-test: $1" >&2
    exit 0
}
[ "$(id -u)" = 0 ] || skip "only root can make another Debian"
for program in debootstrap systemd-nspawn; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
here=$(cd "$(dirname "$0")/.." && pwd)
deb=$(realpath "$1")

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bare=${RESTANTE_DEBIAN:-$scratch/bare}
if [ ! -e "$bare/etc/debian_version" ]; then
    echo "a bare Debian: debootstrap"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,openssl,curl,python3-minimal \
        bookworm "$bare" >"$scratch/debootstrap.log" 2>&1 || {
        tail -n 5 "$scratch/debootstrap.log"
        skip "debootstrap can't get a Debian here"
    }
fi
root=$scratch/root
cp -a --reflink=auto "$bare" "$root"
cp "$deb" "$root/restante.deb"
cp "$here/tests/package/inside.sh" "$root/inside.sh"

# The commands of README, without those that build the package: a new user types them in this order.
sed -n '/^## As a service/,/^## /{/^```sh/,/^```/{/^```/d;p}}' "$here/README.md" >"$root/commands"
[ -s "$root/commands" ] || { echo "README has no section 'As a service'" >&2; exit 1; }
commands=$(grep -cv '^ *#' "$root/commands")
[ "$commands" -le 10 ] || { echo "$commands commands in README: ten at most" >&2; exit 1; }

cat >"$root/etc/systemd/system/package-test.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /inside.sh
StandardOutput=file:/result
StandardError=file:/result
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=default.target
UNIT
ln -s ../package-test.service "$root/etc/systemd/system/package-test.service" 2>/dev/null || true
mkdir -p "$root/etc/systemd/system/graphical.target.wants"
ln -sf ../package-test.service "$root/etc/systemd/system/graphical.target.wants/package-test.service"
echo restantebox >"$root/etc/hostname"

SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout 600 systemd-nspawn --quiet --register=no --keep-unit --boot \
    --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" \
    --private-network --machine="restante-$$" --directory="$root" </dev/null >"$scratch/boot" 2>&1 || true
if [ ! -s "$root/result" ]; then
    tail -n 20 "$scratch/boot" >&2
    skip "systemd does not boot here"
fi
cat "$root/result"
tail -n 1 "$root/result" | grep -qx "package: 1 passed, 0 failed"
