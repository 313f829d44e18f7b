#!/bin/sh
# The hierarchy and the one configuration of three servers. What is each server's own (socket, audit file, what it remembers
# of ledger and database) goes to a place of its own beside; everything else they share.
set -eu
home=/var/lib/holdfast/ca
new=0
[ -e "$home/server.toml" ] || new=1
hierarchy.sh /etc/holdfast/cluster.toml
[ "$new" = 1 ] || exit 0
sed -i -E -e 's#^(admin|head|file) = "([a-z.]*)"$#\1 = "../own/\2"#' \
    -e 's#^url = "postgres.*#&\npassword = { credential = "db-password" }\nsynchronous = "required"#' "$home/server.toml"
