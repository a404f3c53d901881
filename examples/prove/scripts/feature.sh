#!/bin/sh
# A rehearsal only needs its text.
echo "feature applied"
