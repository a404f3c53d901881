#!/bin/sh
# PostgreSQL of the version in PGVER. Safe to run again.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install --yes --no-install-recommends "postgresql-$PGVER"
