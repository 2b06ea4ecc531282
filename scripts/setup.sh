#!/usr/bin/env bash
# Installs what the build needs and the machine lacks. Does nothing, silently and without network, when all is there.
#
# usage: scripts/setup.sh [--no-local] [--lint] [--clients]
#   --no-local  the build without the embedded runtime: no C++ compiler, cmake, libclang or Python
#   --lint      rustfmt and clippy too
#   --clients   Node.js, npm and ip too, for the tests with clients and network namespaces
#
# Made for Debian 12. Elsewhere it names what is missing and leaves the installing to you.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

local_runtime=1
lint=
clients=
for arg in "$@"; do
    case $arg in
        --no-local) local_runtime= ;;
        --lint) lint=1 ;;
        --clients) clients=1 ;;
        *) die "unknown argument $arg" ;;
    esac
done

log=var/setup.log
min_rust=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' Cargo.toml)
[ -n "$min_rust" ] || die "Cargo.toml names no rust-version"

lists_are_fresh=
# apt_update: refreshes the package lists, once a run.
apt_update() {
    [ -z "$lists_are_fresh" ] || return 0
    mkdir -p var
    as_root apt-get update -q >>"$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get update failed"; }
    lists_are_fresh=1
}

apt_install() {
    mkdir -p var
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >>"$log" 2>&1 \
        || { tail -n 20 "$log" >&2; die "apt-get could not install: $*"; }
}

# ---- packages of the system -------------------------------------------------------------------------------------------

# bindgen loads libclang at build time, from the places that clang-sys searches. libclang-cpp is another library, which
# a machine may have without it.
has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    { ldconfig -p 2>/dev/null; compgen -G '/usr/lib/llvm-*/lib/libclang*' || true; } \
        | grep -E 'libclang(-[0-9.]+)?\.so' >/dev/null
}

missing=()
need() { # need PACKAGE COMMAND...: the package is missing if the command fails
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
need curl have curl
need gcc have cc
need libc6-dev test -e /usr/include/stdio.h
need make have make
if [ -n "$local_runtime" ]; then
    need g++ have c++
    need cmake have cmake
    need libclang-dev has_libclang
    need python3 have python3
    # The package is also missing where python3 is: then both are installed.
    need python3-venv python3 -c 'import ensurepip, venv'
fi

if [ -n "$clients" ]; then
    need nodejs have node
    need npm have npm
    need iproute2 have ip
fi

if [ ${#missing[@]} -gt 0 ]; then
    have apt-get || die "please install (Debian's names): ${missing[*]}"
    say "Installing ${missing[*]} (log: $log)"
    apt_update
    apt_install "${missing[@]}"
fi

# ---- Rust -------------------------------------------------------------------------------------------------------------

# rust_is_enough: is there a cargo, with a compiler that is new enough?
rust_is_enough() {
    local version
    have cargo || return 1
    version=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) && [ -n "$version" ] && at_least "$version" "$min_rust"
}

# candidate PACKAGE: the version that apt would install, nothing if there is none.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: *\([0-9][0-9.]*\).*/\1/p'; }

# Debian's newest compiler lives in rustc-web, kept up to date for the browsers, even where rustc is old.
install_rust_from_debian() {
    have apt-get || return 1
    apt_update
    local version
    version=$(candidate rustc-web)
    [ -n "$version" ] && at_least "$version" "$min_rust" || return 1
    say "Installing Rust $version from Debian (log: $log)"
    apt_install rustc-web cargo-web
    hash -r
    rust_is_enough
}

install_rust_from_rustup() {
    local root=${RUSTUP_UPDATE_ROOT:-https://static.rust-lang.org/rustup} triple dir
    triple=$(uname -m)-unknown-linux-gnu
    if ! have rustup; then
        say "Installing rustup and Rust into ${CARGO_HOME:-$HOME/.cargo} (log: $log)"
        dir=$(mktemp -d)
        curl --proto '=https' --fail --silent --show-error --location --connect-timeout 20 --retry 2 \
            --output "$dir/rustup-init" "$root/dist/$triple/rustup-init" \
            && curl --proto '=https' --fail --silent --show-error --location --connect-timeout 20 --retry 2 \
            --output "$dir/sum" "$root/dist/$triple/rustup-init.sha256" \
            || die "Rust $min_rust or newer is needed, and rustup cannot be fetched"
        sha256_is "$dir/rustup-init" "$(cut -c 1-64 "$dir/sum")" || die "rustup-init does not match its checksum"
        chmod +x "$dir/rustup-init"
        "$dir/rustup-init" -y --quiet --profile minimal --no-modify-path >>"$log" 2>&1 \
            || { tail -n 20 "$log" >&2; die "rustup failed"; }
        rm -r "$dir"
        hash -r
    fi
    rust_is_enough && return 0
    # A rustup with an older default toolchain: the new one is chosen for this directory only.
    say "Installing the stable Rust toolchain for this directory (log: $log)"
    rustup toolchain install stable --profile minimal >>"$log" 2>&1 && rustup override set stable >>"$log" 2>&1 \
        || { tail -n 20 "$log" >&2; die "rustup could not install the stable toolchain"; }
    rust_is_enough
}

if ! rust_is_enough; then
    mkdir -p var
    if have rustup; then
        install_rust_from_rustup || die "Rust $min_rust or newer is needed; $(rustc --version 2>&1) was found"
    else
        install_rust_from_debian || install_rust_from_rustup || die "Rust $min_rust or newer could not be installed"
    fi
fi

# ---- formatting and lints ---------------------------------------------------------------------------------------------

if [ -n "$lint" ] && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
    say "Installing rustfmt and clippy (log: $log)"
    mkdir -p var
    if have rustup; then
        rustup component add rustfmt clippy >>"$log" 2>&1 || { tail -n 20 "$log" >&2; die "rustup could not add them"; }
    else
        apt_update
        # Debian's clippy is part of its cargo/rustc source and follows the same version.
        apt_install rustfmt-web rust-clippy-web
    fi
fi
