#!/usr/bin/env bash
# Stellwerk as a peer of the shared benchmark harness: key check, policy, ledger and metrics are on, as in any deployment.
# Verbs: `meta` prints what the harness must know, `run` serves on $PORT from the empty directory $WORK.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${STELLWERK_BIN:-$here/../../target/release/stellwerk}
case "${1:-}" in
  meta)
    version=$("$bin" --version)
    features="key check, policy, ledger row per request (SQLite), metrics, full usage accounting"
    printf '{"base":"/v1","key_file":"%s/var/first-key","model":"gpt-4o-mini","headers":{},' "$WORK"
    printf '"anthropic":{"model":"claude","headers":{}},"cpus":"gw","features":"%s","version":"%s"}\n' "$features" "$version"
    ;;
  run)
    mkdir -p "$WORK/providers" "$WORK/policies"
    for file in openai anthropic; do
      sed "s|@MOCK@|${MOCK}|" "$here/$file.toml" > "$WORK/providers/bench-$file.toml"
    done
    cp "$here/policy.toml" "$WORK/policies/default.toml"
    cat > "$WORK/stellwerk.toml" <<CONFIG
[server]
listen = "127.0.0.1:$PORT"
[admin]
listen = "127.0.0.1:$((PORT + 1000))"
[data]
dir = "var"
[catalogue]
dir = "providers"
[policies]
dir = "policies"
CONFIG
    export BENCH_KEY=sk-bench RUST_LOG=error
    exec ${WRAP:-} "$bin" serve --config "$WORK/stellwerk.toml"
    ;;
  *) echo "verbs: meta, run" >&2; exit 2 ;;
esac
