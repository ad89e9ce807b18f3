#!/bin/sh
# Installs or upgrades the service from this folder on a Linux with systemd that takes no .deb files. As root.
set -eu
umask 022
cd "$(dirname "$0")"
[ "$(id -u)" -eq 0 ] || { echo "install.sh: run it as root" >&2; exit 1; }

# A program that runs can be replaced, not written to.
install -d /usr/bin
install -m 0755 usr/bin/accesstoken /usr/bin/.accesstoken.new
mv /usr/bin/.accesstoken.new /usr/bin/accesstoken
cp -R usr/lib usr/share /usr/
install -d /etc/accesstoken
if [ -e /etc/accesstoken/env ]; then is_upgrade=yes; else is_upgrade=; cp etc/accesstoken/env /etc/accesstoken/env; fi
sh ./postinst configure $is_upgrade
