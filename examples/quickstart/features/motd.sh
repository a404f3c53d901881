#!/bin/sh
set -eu
echo "container $(hostname), brought up by phoenix" >/etc/motd
cat /etc/motd
