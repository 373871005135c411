#!/bin/bash
# Runs everything that a change must pass, goes on after a failure, and sums up at the end.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit

logs=$PWD/.tools/logs
mkdir -p "$logs"
rm -f "$logs"/*.log
summary=()
broken=() # the steps that failed

step() { # step NAME COMMAND...
    local name=$1 began=$SECONDS verdict=ok
    shift
    echo "=== $name: $*"
    # The log has all; who watches does not need to know when parallel tests take turns.
    "$@" 2>&1 | tee "$logs/$name.log" | sed -E '/^ *=== (PAUSE|CONT) /d' || verdict=FAILED
    ended "$name" "$verdict" "$began"
}

beside() { # beside NAME COMMAND...: a step that runs beside the next ones, until it is awaited
    aside=$1 aside_began=$SECONDS
    shift
    echo "=== $aside, beside what follows: $*"
    set -m # a group of its own, which can be ended as a whole
    "$@" >"$logs/$aside.log" 2>&1 &
    aside_pid=$!
    set +m
    trap 'kill -- "-$aside_pid"; exit 130' INT TERM
}

awaited() {
    local verdict=ok
    wait "$aside_pid" || verdict=FAILED
    trap - INT TERM
    sed -E '/^ *=== (PAUSE|CONT) /d' "$logs/$aside.log"
    ended "$aside" "$verdict" "$aside_began"
}

ended() { # ended NAME VERDICT BEGAN
    [ "$2" = ok ] || broken+=("$1")
    summary+=("$(printf '%-11s %-6s %4d s' "$1" "$2" $((SECONDS - $3)))")
    echo "--- $1: $2"
}

# with_servers runs a command with a new set of servers, which ends with it.
with_servers() (
    servers=$(mktemp -d)
    trap 'scripts/services.sh --dir "$servers" down; rm -rf "$servers"' EXIT
    lines=$(scripts/services.sh --dir "$servers" up) || exit
    eval "$lines"
    "$@"
)

step check scripts/check.sh
step vet go vet ./...
step lint golangci-lint run ./...
# SQLite here is C that was translated to Go. What the race detector would watch in it is nobody's of ours, and costs six
# times its time; the driver, and what calls it, is watched. go vet has run.
c="-race=false -d=checkptr=0"
export GORACE=atexit_sleep_ms=10 # of each program that ends; 1 s by itself
step go with_servers go test -v -race -vet=off -timeout 15m -ldflags=-w \
    "-gcflags=modernc.org/sqlite/lib=$c" "-gcflags=modernc.org/libc=$c" ./...
# Watermill's suites mostly wait. They need a Kafka that is not kept waiting, and do not stand the race detector.
beside kafka with_servers go test -v -count=1 -vet=off -timeout 15m -run 'Suite|OutlivesRestarts' ./adapters/kafka
step browser scripts/browser.sh
step schema scripts/schemathesis.sh
step bench scripts/bench.sh --short
step drill scripts/drill.sh --short
awaited
beside many env PROFILE=kafka scripts/drill.sh --short
step bench-kafka env PROFILE=kafka scripts/bench.sh --short
awaited

echo
echo "=== summary"
printf '%s\n' "${summary[@]}"
count() { cat "$logs/go.log" "$logs/kafka.log" | grep -cE "^ *--- $1: "; }
echo "Go tests: $(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"
awk -f scripts/failures.awk "$logs/go.log" "$logs/kafka.log"
for name in "${broken[@]}"; do
    lines=25
    case $name in go | kafka) lines=5 ;; esac # the rest stands above
    echo "=== the end of $name.log"
    tail -n $lines "$logs/$name.log"
done
if [ ${#broken[@]} -eq 0 ]; then echo "all passed in $SECONDS s"; else echo "FAILED after $SECONDS s; the logs are in .tools/logs"; fi
[ ${#broken[@]} -eq 0 ]
