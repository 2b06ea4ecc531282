#!/usr/bin/env bash
# Builds what is deployed: the whole program optimised at once (profile `dist`) and guided by a profile of itself at work
# (PGO). It is built with counters, does some thousand requests of all dialects against the double of the tests
# (benches/beside/work.py), and is built again by what was counted: a quarter less CPU a request than without.
#
# Without a `llvm-profdata` of the compiler's LLVM (rustup's component llvm-tools, or Debian's llvm-N) it says so and builds
# without the profile.
#
# usage: scripts/dist.sh [CARGO-OPTION...]     prints the path of the binary
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

rust() { rustc -vV | sed -n "s/^$1: //p"; }
host=$(rust host)
major=$(rust 'LLVM version' | cut -d . -f 1)
target=${CARGO_TARGET_DIR:-target}
# What counts runs elsewhere.
case $target in /*) ;; *) target=$PWD/$target ;; esac
export CARGO_TARGET_DIR=$target

# profdata: the tool that reads what was counted, of the compiler's own LLVM: others can't.
profdata() {
    local tool
    for tool in "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" "llvm-profdata-$major" llvm-profdata; do
        if have "$tool" && "$tool" --version 2>/dev/null | grep -q "LLVM version $major\."; then
            echo "$tool"
            return 0
        fi
    done
    return 1
}

if ! tool=$(profdata); then
    have rustup && timeout 120 rustup component add llvm-tools >/dev/null 2>&1 || true
    tool=$(profdata) || tool=
fi
if [ -z "$tool" ] || ! have python3; then
    warn "no llvm-profdata of LLVM $major (rustup component add llvm-tools), or no Python: built without a profile"
    cargo build --locked --profile dist --target "$host" "$@" >&2
    echo "$target/$host/dist/stellwerk"
    exit 0
fi

work=$target/profile
rm -rf "$work"
mkdir -p "$work"
# With --target the flags are the program's alone: build scripts and macros count nothing.
build() { RUSTFLAGS="${RUSTFLAGS:-} $1" cargo build --locked --profile dist --target "$host" "${@:2}" >&2; }

say "Building with counters"
build "-Cprofile-generate=$work" "$@"
cp "$target/$host/dist/stellwerk" "$work/counting"
say "Counting at work"
double=$PWD/tests/clients
(cd "$double" && STELLWERK_BIN=$work/counting python3 -m double.stand python3 "$OLDPWD/benches/beside/work.py") >&2
"$tool" merge -o "$work/merged.profdata" "$work"/*.profraw
say "Building by what was counted"
build "-Cprofile-use=$work/merged.profdata" "$@"
echo "$target/$host/dist/stellwerk"
