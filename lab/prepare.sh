#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs what a make target needs, and only what is missing:
#   lab/prepare.sh system          Debian packages (as root): Open vSwitch, tayga, iproute2, Python
#   lab/prepare.sh tests           the same, and what only tests call: ping, ethtool, ps, sysctl,
#                                  a C compiler and cmake
#   lab/prepare.sh host            what tests/host boots a machine with: qemu, debootstrap, mke2fs
#   lab/prepare.sh venv EXTRAS     .venv with this package and its EXTRAS ("test", "test,doc", ...)
#
# PYTHON=/path/to/python3.12 chooses the interpreter; else the newest that works, 3.11 at least.
set -eu
cd "$(dirname "$0")/.."

say() { printf '  prepare  %s\n' "$*"; }
fail() { printf '  prepare  %s\n' "$*" >&2; exit 1; }
# Debian keeps daemons in sbin, which a user's PATH may lack.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
have() { command -v "$1" >/dev/null 2>&1; }

# A Python that is new enough and can make virtual environments. Run it: names alone may be empty shims.
works() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        works "$PYTHON" || fail "PYTHON=$PYTHON does not run, is older than 3.11, or lacks venv"
        echo "$PYTHON"
        return
    fi
    for candidate in python3.13 python3.12 python3.11 python3 /usr/bin/python3; do
        if works "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

install_packages() {
    [ "$(id -u)" = 0 ] || fail "missing: $*. Run this as root, or: apt-get install $*"
    have apt-get || fail "missing: $*. This is no Debian or Ubuntu: install them by hand"
    say "installing Debian packages: $*"
    output=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    if ! apt-get install -y -q --no-install-recommends "$@" >"$output" 2>&1; then
        apt-get update -q >>"$output" 2>&1 || true
        # Starting a service may fail where no init runs (containers): what counts is the check below.
        apt-get install -y -q --no-install-recommends "$@" >>"$output" 2>&1 || true
    fi
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || { tail -n 20 "$output" >&2; fail "$package was not installed"; }
    done
    rm -f "$output"
}

system() {
    missing=$1
    have ovs-vswitchd && have ovsdb-server && have ovs-vsctl || missing="$missing openvswitch-switch"
    have tayga || missing="$missing tayga"
    have ip || missing="$missing iproute2"
    have nsenter || missing="$missing util-linux"
    [ -n "$(find_python)" ] || missing="$missing python3 python3-venv"
    # shellcheck disable=SC2086
    [ -z "$missing" ] || install_packages $missing
    for program in ovs-vswitchd ovsdb-server ovs-vsctl ovs-ofctl tayga ip nsenter; do
        have "$program" || fail "$program is still missing after the installation"
    done
}

venv() {
    extras=$1
    if [ -z "$(find_python)" ] && [ "$(id -u)" = 0 ]; then
        install_packages python3 python3-venv
    fi
    python=$(find_python)
    [ -n "$python" ] || fail "no Python 3.11 or newer with venv found; install one, or name it: make PYTHON=..."
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" != "$version" ]
    then
        say "virtual environment .venv with Python $version"
        rm -rf .venv
        "$python" -m venv .venv
    fi
    say "installing fip64agent and its dependencies ($extras) into .venv"
    .venv/bin/python -m pip install -qq --disable-pip-version-check --root-user-action=ignore -e ".[$extras]"
}

tests() {
    missing=""
    have ping || missing="$missing iputils-ping"
    have ethtool || missing="$missing ethtool"
    have ps && have sysctl || missing="$missing procps"
    # The VPP plugin's core is C.
    have gcc || have clang || missing="$missing gcc libc6-dev"
    have cmake && have ctest || missing="$missing cmake"
    have make || have ninja || missing="$missing make"
    system "$missing"
}

host() {
    missing=""
    have qemu-system-x86_64 || missing="$missing qemu-system-x86"
    have debootstrap || missing="$missing debootstrap"
    have mke2fs || missing="$missing e2fsprogs"
    have setpriv || missing="$missing util-linux"
    # shellcheck disable=SC2086
    [ -z "$missing" ] || install_packages $missing
    for program in qemu-system-x86_64 debootstrap mke2fs setpriv; do
        have "$program" || fail "$program is still missing after the installation"
    done
}

case "${1:-}" in
    system) system "" ;;
    tests) tests ;;
    host) host ;;
    venv) venv "${2:-test}" ;;
    *) fail "usage: lab/prepare.sh system | tests | host | venv EXTRAS" ;;
esac
