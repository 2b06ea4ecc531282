# Shared by the scripts in this directory; sourced, never run. Needs bash.
# Messages go to stderr, so that a script's stdout holds its result and nothing else.

say()  { printf '%s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die()  { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: runs it as root, through sudo where needed.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo -- "$@"
    else
        die "this needs root: install sudo, or run as root: $*"
    fi
}

# at_least HAVE WANT: is version HAVE the same as WANT or newer?
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# sha256_is FILE HEX: does the file have this checksum?
sha256_is() { printf '%s  %s\n' "$2" "$1" | sha256sum --check --status 2>/dev/null; }

# The toolchain that rustup put into the home directory wins over the one of the system, as rustup's own shell setup has it.
PATH="${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH"
export PATH
