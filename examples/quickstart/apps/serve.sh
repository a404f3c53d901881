#!/bin/sh
set -eu
# A service that outlives this script; it belongs to the container.
httpd -p 127.0.0.1:8080 -h /srv/www
wget -q -O - http://127.0.0.1:8080/
