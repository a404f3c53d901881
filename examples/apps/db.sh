#!/bin/sh
# Makes the database that the web server uses, unless it is there.
set -eu
cd /
if ! runuser -u postgres -- psql -tAc "SELECT 1 FROM pg_database WHERE datname = 'app'" | grep -q 1; then
    runuser -u postgres -- createdb app
fi
