#!/usr/bin/env bash
# Measures the gateway beside nginx and HAProxy with the shared harness (../shared/bench): CPU a request, a streamed chunk
# and a large body, in interleaved rounds of one run. Ratios to nginx are what to quote.
# ROUNDS and SECS set how long; arguments go to bench.py as they are (--scenarios ns_c32,big1m).
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$top/scripts/lib.sh"
harness=${BENCH_HOME:-$top/../shared/bench}
if [ ! -f "$harness/bench.py" ]; then
    say "The shared harness is not at $harness (BENCH_HOME): nothing is measured beside other gateways."
    exit 0
fi
for tool in nginx haproxy; do
    have "$tool" && continue
    say "Installing $tool, to compare with"
    as_root apt-get install -y --no-install-recommends "$tool" >/dev/null || die "$tool could not be installed"
done

target=${CARGO_TARGET_DIR:-$top/target}
# What is deployed is measured; STELLWERK_BIN measures another binary.
bin=${STELLWERK_BIN:-$("$top/scripts/dist.sh" --no-default-features)}
# The harness may be read-only: it is built in a copy.
work=$target/bench-beside
mkdir -p "$work"
cp -R "$harness/." "$work/"
for part in mock load; do
    cargo build --quiet --release --manifest-path "$work/$part/Cargo.toml" --target-dir "$work/$part/target"
done
STELLWERK_BIN=$bin python3 "$work/bench.py" \
    --peer-dir "$top/benches/beside" --peer nginx --peer haproxy --peer stellwerk \
    --rounds "${ROUNDS:-3}" --secs "${SECS:-3}" --out "$work/last.json" "$@"
