#!/usr/bin/env bash
# The clients that people have, unchanged, against the gateway. STELLWERK_BIN names the binary.
#
# usage: tests/clients/run.sh [PART...]     all parts without arguments
#   embedded    the official Python clients on the embedded model
#   wire        HTTP itself: old versions, upgrades, codings, paths, browsers
#   new, old    the official Python clients, newest and one major older, against a double of every provider dialect
#   frameworks  what is built on them: LangChain, pydantic-ai, litellm, llm; LlamaIndex, instructor
#   node        the official Node clients of both majors, Vercel's AI SDK, Codex
#   corpus      translated requests and answers of the recorded traffic against the types of the official Python clients;
#               from the files that STELLWERK_DUMP=var/clients/dump makes the test of that traffic write
#
# Packages are installed into var/clients once, and again when a list of versions changes.
set -euo pipefail
cd "$(dirname "$0")"
: "${STELLWERK_BIN:?names the release binary}"
export STELLWERK_BIN
home=$(cd ../.. && pwd)/var/clients
mkdir -p "$home"
parts=${*:-embedded wire new old frameworks node corpus}
wants() { [[ " $parts " == *" $1 "* ]]; }

# The clients' own minimum. Where the machine's Node is older, the binary comes from the registry too.
node_major=22
node_version=24.20.0

# place NAME FILE...: the directory for what these files list; older ones of the name go.
place() {
    local name=$1 sum
    shift
    sum=$(cat "$@" | sha256sum | cut -c 1-16)
    find "$home" -maxdepth 1 -name "$name-*" ! -name "$name-$sum" -exec rm -rf {} +
    echo "$home/$name-$sum"
}

# venv NAME: a Python environment with exactly the packages of requirements/NAME.txt.
venv() {
    local dir
    dir=$(place "$1" "requirements/$1.txt")
    [ ! -e "$dir/ready" ] || return 0
    rm -rf "$dir"
    python3 -m venv "$dir"
    "$dir/bin/pip" --quiet --disable-pip-version-check install --no-compile --no-deps -r "requirements/$1.txt"
    touch "$dir/ready"
}

python() { echo "$(place "$1" "requirements/$1.txt")/bin/python"; }

# modules: node/node_modules with exactly the packages of the lock file, and a Node that is new enough.
modules() {
    local dir machine
    dir=$(place modules node/package-lock.json)
    if [ ! -e "$dir/ready" ]; then
        rm -rf "$dir"
        mkdir -p "$dir"
        cp node/package.json node/package-lock.json "$dir"
        npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel error >&2
        touch "$dir/ready"
    fi
    ln -sfn "$dir/node_modules" node/node_modules
    if [ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -lt "$node_major" ]; then
        machine=$(node -p '`${process.platform}-${process.arch}`')
        dir=$home/node-$node_version
        [ -x "$dir/node_modules/node-$machine/bin/node" ] \
            || npm install --prefix "$dir" --no-save --no-audit --no-fund --loglevel error "node-$machine@$node_version" >&2
        ln -sfn "$dir/node_modules/node-$machine/bin/node" "$home/node"
    else
        ln -sfn "$(command -v node)" "$home/node"
    fi
}

# All at once; each is mostly waiting for a registry.
waiting=()
if wants embedded || wants wire || wants new || wants frameworks || wants corpus; then venv new & waiting+=($!); fi
if wants old || wants frameworks; then venv old & waiting+=($!); fi
if wants node; then modules & waiting+=($!); fi
for one in "${waiting[@]}"; do wait "$one"; done

failed=
# run WHAT COMMAND...: goes on after a failure, so that one run shows all of them.
run() {
    echo "== $1" >&2
    shift
    "$@" || failed=1
}

if wants embedded; then run "embedded model, newest Python clients" "$(python new)" -m pytest embedded; fi
if wants wire; then run "HTTP" "$(python new)" -m pytest wire; fi
if wants new; then run "newest Python clients" "$(python new)" -m pytest sdk; fi
if wants old; then run "older Python clients" "$(python old)" -m pytest sdk; fi
if wants frameworks; then
    run "frameworks on the newest clients" "$(python new)" -m pytest frameworks/test_new.py
    run "frameworks on the older clients" "$(python old)" -m pytest frameworks/test_old.py
fi
if wants node; then
    run "Node clients, AI SDK, Codex" "${PYTHON:-python3}" -m double.stand "$home/node" --test --test-reporter=./node/brief.mjs node/*.test.mjs
fi
if wants corpus; then
    if [ -e "$home/dump/answers.jsonl" ] && [ -e "$home/dump/requests.jsonl" ]; then
        run "recorded traffic, types of the Python clients" "$(python new)" corpus/accept.py "$home/dump"
    else
        echo "== recorded traffic: there is none here, so the types of the clients are not held against it" >&2
    fi
fi
[ -z "$failed" ]
