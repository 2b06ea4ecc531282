#!/usr/bin/env bash
# Proof on the network that a forbidden region gets nothing: each region's provider lives in a network namespace of its
# own. While the permitted ones break in every way, the packet counters of the others must stay at 0, and their names
# must never be asked for. Then a request that may go anywhere shows that the counters do count.
#
# usage: tests/residency/run.sh [SECONDS]     STELLWERK_BIN names the binary
# Needs root and `ip` (Debian's iproute2); says so and passes where namespaces can't be made.
set -euo pipefail
cd "$(dirname "$0")"
: "${STELLWERK_BIN:?names the binary}"
seconds=${1:-20}

skip() {
    echo "residency on the network: skipped, $1"
    exit 0
}
[ "$(id -u)" -eq 0 ] || skip "it needs root"
command -v ip >/dev/null || skip "there is no ip command (Debian's iproute2)"
tag=sw$$
possible() {
    ip netns add "$tag-probe" && ip -n "$tag-probe" link add one type veth peer name two && ip netns exec "$tag-probe" true
}
possible 2>/dev/null && probed=1 || probed=
ip netns del "$tag-probe" 2>/dev/null || true
[ -n "$probed" ] || skip "network namespaces can't be made here"

dir=$(mktemp -d)
gateway=
doubles=()
finish() {
    [ -z "$gateway" ] || { kill "$gateway" && wait "$gateway"; } 2>/dev/null || true
    for pid in "${doubles[@]}"; do kill "$pid" 2>/dev/null || true; done
    for space in $(ip netns list | cut -d ' ' -f 1 | grep "^$tag-" || true); do ip netns del "$space"; done
    rm -rf "$dir"
}
trap finish EXIT

# space NAME: a namespace in which nothing speaks unasked (IPv6 would, when a link comes up).
space() {
    ip netns add "$tag-$1"
    ip netns exec "$tag-$1" sh -c '
        for of in all default; do
            file=/proc/sys/net/ipv6/conf/$of/disable_ipv6
            [ ! -e "$file" ] || echo 1 >"$file"
        done'
    ip -n "$tag-$1" link set lo up
}

# connect NAME NUMBER: a cable from the gateway to the namespace. Both ends know each other's hardware address, since
# asking for it would be a packet.
connect() {
    local here="to-$1" net="10.77.$2" near far
    ip -n "$tag-gw" link add "$here" type veth peer name link0 netns "$tag-$1"
    ip -n "$tag-gw" addr add "$net.1/30" dev "$here"
    ip -n "$tag-$1" addr add "$net.2/30" dev link0
    near=$(ip -n "$tag-gw" -br link show "$here" | awk '{print $3}')
    far=$(ip -n "$tag-$1" -br link show link0 | awk '{print $3}')
    ip -n "$tag-$1" link set link0 up
    ip -n "$tag-gw" link set "$here" up
    ip -n "$tag-gw" neigh replace "$net.2" lladdr "$far" nud permanent dev "$here"
    ip -n "$tag-$1" neigh replace "$net.1" lladdr "$near" nud permanent dev link0
}

packets() { ip netns exec "$tag-$1" cat /sys/class/net/link0/statistics/rx_packets; }

# provider NAME PLACE PRICE: the forbidden ones are the cheapest, so that every wish but the requirement wants them.
provider() {
    # What is not stated is unknown.
    local place="processing = [\"$2\"]" operator="operator = \"$2\""$'\n'"parent = \"$2\""
    [ "$2" != unknown ] || place='' operator=''
    cat >"$dir/providers/$1.toml" <<EOF
name = "$1"
title = "$1"
dialect = "openai-chat"
auth = { scheme = "bearer" }
keys = [{ env = "RESIDENCY_KEY" }]
$operator
docs = "https://example.invalid"

[[endpoint]]
name = "main"
base_url = "http://$1.residency.test:8000/v1"
allow_http = true
$place
guarantee = "contract"
retention_days = 0
training = "no"
cancel_stops_billing = true
source = "https://example.invalid"
checked = 2026-01-01
expires = 2099-01-01

[[model]]
id = "m"
family = "m"
tier = "standard"
context = 100000
max_output = 4096
supports = ["stream", "tools", "json"]

  [[model.price]]
  from = 2020-01-01
  input = "$3"
  output = "$3"
  source = "https://example.invalid"
  checked = 2026-01-01

[[model]]
id = "e"
family = "e"
tier = "standard"
context = 100000
supports = ["embeddings"]

  [[model.price]]
  from = 2020-01-01
  input = "$3"
  source = "https://example.invalid"
  checked = 2026-01-01
EOF
}

permitted="de fr"
forbidden="us cn nowhere"
space gw
hosts=()
number=0
mkdir "$dir/providers" "$dir/policies"
for name in names $permitted $forbidden; do
    number=$((number + 1))
    space "$name"
    connect "$name" "$number"
    [ "$name" = names ] || hosts+=("$name.residency.test=10.77.$number.2")
done
provider de DE 5
provider fr FR 6
provider us US 1
provider cn CN 0.5
provider nowhere unknown 0.1

cat >"$dir/policies/default.toml" <<'EOF'
[[route]]
name = "eu"
match = { model = ["eu"] }
targets = ["nowhere/m", "cn/m", "us/m", "de/m", "fr/m"]
require = { processing = ["EU"] }
attempts = { max = 5, timeout = { connect = "2s", first_token = "1s", idle = "2s", total = "6s" } }

[[route]]
name = "cached"
match = { model = ["cached"] }
targets = ["nowhere/m", "cn/m", "us/m", "de/m", "fr/m"]
require = { processing = ["EU"] }
cache = "1s"
attempts = { max = 5, timeout = { connect = "2s", first_token = "1s", idle = "2s", total = "6s" } }

[[route]]
name = "embeddings"
match = { model = ["eu-embed"], operation = ["embeddings"] }
targets = ["nowhere/e", "cn/e", "us/e", "de/e", "fr/e"]
require = { processing = ["EU"] }
attempts = { max = 5, timeout = { connect = "2s", first_token = "1s", idle = "2s", total = "6s" } }

[[route]]
name = "any"
match = { model = ["any"] }
targets = ["us/m", "cn/m", "nowhere/m", "de/m", "fr/m"]
prefer = { order = "listed" }
attempts = { max = 5, timeout = { connect = "2s", first_token = "1s", idle = "2s", total = "6s" } }
EOF
cat >"$dir/stellwerk.toml" <<'EOF'
[server]
listen = "127.0.0.1:8080"
[admin]
listen = "127.0.0.1:8081"
[data]
dir = "data"
[catalogue]
dir = "providers"
[policies]
dir = "policies"
EOF

ip netns exec "$tag-names" python3 names.py "$dir/asked" "${hosts[@]}" &
doubles+=($!)
seed=0
for name in $permitted; do
    seed=$((seed + 1))
    ip netns exec "$tag-$name" python3 double.py "$seed" &
    doubles+=($!)
done
for name in $forbidden; do
    ip netns exec "$tag-$name" python3 double.py 0 &
    doubles+=($!)
done
echo "nameserver 10.77.1.2" >"$dir/resolv.conf"
# The name server is this namespace's only one.
RESIDENCY_KEY=nobody ip netns exec "$tag-gw" sh -c '
    mount --bind "$1/resolv.conf" /etc/resolv.conf && exec "$2" serve --config "$1/stellwerk.toml"
' sh "$dir" "$STELLWERK_BIN" >"$dir/log" 2>&1 &
gateway=$!
for _ in $(seq 300); do
    ! ip netns exec "$tag-gw" curl -sf --max-time 2 http://127.0.0.1:8081/readyz >/dev/null || break
    kill -0 "$gateway" 2>/dev/null || { cat "$dir/log"; echo "the gateway did not start"; exit 1; }
    sleep 0.1
done

drive() { ip netns exec "$tag-gw" python3 drive.py http://127.0.0.1:8080 "$(cat "$dir/data/first-key")" "$@"; }
echo "bound to the EU: $(drive "$seconds" eu)"
failed=
for name in $permitted; do
    echo "  $name: $(packets "$name") packets in"
    [ "$(packets "$name")" -gt 0 ] || { echo "  $name was never asked: this proves nothing"; failed=1; }
done
for name in $forbidden; do
    echo "  $name (forbidden): $(packets "$name") packets in, $(grep -c "^$name\." "$dir/asked" || true) name queries"
    [ "$(packets "$name")" -eq 0 ] || failed=1
    ! grep -q "^$name\." "$dir/asked" || failed=1
done
echo "bound to nothing: $(drive 1 any)"
echo "  us: $(packets us) packets in, $(grep -c '^us\.' "$dir/asked" || true) name queries"
[ "$(packets us)" -gt 0 ] && grep -q '^us\.' "$dir/asked" || { echo "  the counters do not count"; failed=1; }
[ -z "$failed" ] || { tail -n 20 "$dir/log"; exit 1; }
echo "residency on the network: not a packet and not a name query to a forbidden region"
