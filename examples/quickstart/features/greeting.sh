#!/bin/sh
set -eu
# The clone brought its source's files along, its own name not.
echo "hello from $WHO, $(hostname)" >>/etc/motd
cat /etc/motd
