#!/usr/bin/env bash
# The official OpenAI client against the running gateway with the embedded model. STELLWERK_BIN names the binary.
set -euo pipefail
cd "$(dirname "$0")"
: "${STELLWERK_BIN:?names the release binary}"
venv=../../var/test-venv
stamp=$venv/$(sha256sum requirements.txt | cut -c 1-16)
if [ ! -e "$stamp" ]; then
    rm -rf "$venv"
    mkdir -p ../../var
    python3 -m venv "$venv"
    "$venv/bin/pip" --quiet --disable-pip-version-check install -r requirements.txt
    touch "$stamp"
fi
exec "$venv/bin/python" -m pytest -q -p no:cacheprovider .
