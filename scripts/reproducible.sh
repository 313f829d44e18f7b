#!/usr/bin/env bash
# Build the ceremony flavour of ca-cli twice, in folders and homes of cargo that have nothing in common, and compare the
# two programs byte for byte. Answers 0 when they are the same and 3 when they are not.
# usage: scripts/reproducible.sh [dev|release]
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
home=${CARGO_HOME:-$HOME/.cargo}

# What is under version control, as it is on disk now.
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -cf "$work/sources.tar"

# One after the other, so that the second cannot take anything from the first.
build() {
    local folder=$1
    mkdir -p "$folder/sources" "$folder/home"
    tar -C "$folder/sources" -xf "$work/sources.tar"
    # The same crates, by another path.
    for part in registry git; do
        if [ -e "$home/$part" ]; then ln -s "$home/$part" "$folder/home/$part"; fi
    done
    for part in config.toml config; do
        if [ -e "$home/$part" ]; then cp "$home/$part" "$folder/home/$part"; fi
    done
    (cd "$folder/sources" && CARGO_HOME=$folder/home CARGO_TARGET_DIR=$folder/built scripts/ceremony-build.sh "$profile")
    cp "$folder"/built/*/ca-cli "$folder.program"
    rm -rf "$folder"
}

cargo fetch --locked --quiet
build "$work/one"
build "$work/another-folder/of a stranger"

if cmp "$work/one.program" "$work/another-folder/of a stranger.program"; then
    echo "the same bytes, twice: $(sha256sum <"$work/one.program" | cut -d' ' -f1)"
else
    echo "reproducible: the two programs differ" >&2
    exit 3
fi
