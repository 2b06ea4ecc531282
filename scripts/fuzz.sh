#!/usr/bin/env bash
# Runs every fuzz target for so many seconds, from the kept inputs. What is found stays in var/fuzz; a failure is printed
# with its input. Without cargo-fuzz it says so and does nothing: the kept inputs are replayed by the ordinary tests.
#
# usage: scripts/fuzz.sh SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzzing skipped: there is no cargo-fuzz here (cargo install cargo-fuzz)" >&2
    exit 0
fi
# The sanitizers want a compiler with unstable options; a stable one has them behind this switch.
export RUSTC_BOOTSTRAP=1
for target in request answer error stream; do
    mkdir -p "var/fuzz/$target"
    cargo fuzz run "$target" "var/fuzz/$target" "fuzz/corpus/$target" -- -max_total_time="${1:-60}" -max_len=4096 -timeout=10
done
