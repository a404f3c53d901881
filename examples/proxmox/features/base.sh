#!/bin/sh
# What every container gets. Safe to run again: it may have been cut off half-way.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends ca-certificates curl
