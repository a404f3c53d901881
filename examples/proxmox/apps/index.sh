#!/bin/sh
# A list of what lies in the shared directory, written by the user that owns it.
set -eu
runuser -u media -- sh -c 'find /srv/media -type f >/srv/media/index.new && mv /srv/media/index.new /srv/media/index'
