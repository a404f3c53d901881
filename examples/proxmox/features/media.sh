#!/bin/sh
# The user that owns the shared directory, with access to the render node. Safe to run again.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install --yes --no-install-recommends ffmpeg vainfo
getent group media >/dev/null || groupadd --gid 1000 media
getent passwd media >/dev/null || useradd --uid 1000 --gid 1000 --create-home media
# The group that `devices` gives the node to, whatever the distribution calls it.
group=$(getent group 104 | cut -d: -f1)
usermod --append --groups "${group:?no group has the number 104}" media
