#!/bin/sh
# PostgreSQL of the version in PGVER, for the network of the fleet. Safe to run again.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install --yes --no-install-recommends "postgresql-$PGVER"
cd /
runuser -u postgres -- psql -qc "ALTER SYSTEM SET listen_addresses = '*'"
systemctl restart postgresql
