#!/usr/bin/env bash
# Build the ceremony flavour of ca-cli so that neither the folder, nor the user, nor the home of cargo is in it: whoever
# builds the same commit with the compiler of rust-toolchain.toml gets the same bytes. Prints the program's SHA-256.
# usage: scripts/ceremony-build.sh [dev|release]     (folder of the build: CARGO_TARGET_DIR, or target/ceremony)
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-release}
case $profile in
    dev) built=debug ;;
    release) built=release ;;
    *)
        echo "usage: $0 [dev|release]" >&2
        exit 2
        ;;
esac

home=${CARGO_HOME:-$HOME/.cargo}
target=${CARGO_TARGET_DIR:-$PWD/target/ceremony}
# What stands in the environment of one machine has no place in it.
unset RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CFLAGS CXXFLAGS LDFLAGS CARGO_PROFILE_RELEASE_DEBUG
for name in $(compgen -e | grep -E '^CARGO_(PROFILE|TARGET)_' | grep -vx CARGO_TARGET_DIR || true); do unset "$name"; done
# No other folder than these is seen by the compiler: the sources, the crates of others, and what building makes.
sep=$'\x1f'
export CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$PWD=/holdfast$sep--remap-path-prefix=$home=/cargo$sep--remap-path-prefix=$target=/target"
export CARGO_TARGET_DIR=$target CARGO_INCREMENTAL=0 SOURCE_DATE_EPOCH=0
cargo build -p ca-cli --no-default-features --profile "$profile" --locked --quiet
sha256sum "$target/$built/ca-cli"
