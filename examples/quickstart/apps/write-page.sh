#!/bin/sh
set -eu
# The volume belongs to user 1000 of this container; root of this container may write there as well.
umask 022
echo "<h1>$1</h1>" >/srv/site/index.html.new
chown 1000:1000 /srv/site/index.html.new
mv /srv/site/index.html.new /srv/site/index.html
ls -ln /srv/site
