#!/bin/bash
# Runs everything that a change must pass, goes on after a failure, and sums up at the end.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit

logs=$PWD/.tools/logs
mkdir -p "$logs"
rm -f "$logs"/*.log
summary=()
failed=0

step() { # step NAME COMMAND...
    local name=$1 began=$SECONDS verdict=ok
    shift
    echo "=== $name: $*"
    # The log has all; who watches does not need to know when parallel tests take turns.
    "$@" 2>&1 | tee "$logs/$name.log" | sed -E '/^ *=== (PAUSE|CONT) /d' || { verdict=FAILED; failed=1; }
    summary+=("$(printf '%-8s %-6s %4d s' "$name" "$verdict" $((SECONDS - began)))")
    echo "--- $name: $verdict"
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
step go with_servers go test -v -race -timeout 15m ./...
# Watermill's suites need a Kafka that is not kept waiting, and do not stand the race detector.
step kafka with_servers go test -v -count=1 -timeout 15m -run 'Suite|OutlivesRestarts' ./adapters/kafka
step browser scripts/browser.sh
step schema scripts/schemathesis.sh
step drill scripts/drill.sh --short
step many env PROFILE=kafka scripts/drill.sh --short
step bench scripts/bench.sh --short
step bench-kafka env PROFILE=kafka scripts/bench.sh --short

echo
echo "=== summary"
printf '%s\n' "${summary[@]}"
count() { cat "$logs/go.log" "$logs/kafka.log" | grep -cE "^ *--- $1: "; }
echo "Go tests: $(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"
grep -hE '^ *--- FAIL: |^FAIL|^panic: |DATA RACE' "$logs/go.log" "$logs/kafka.log"
if [ $failed -eq 0 ]; then echo "all passed in $SECONDS s"; else echo "FAILED after $SECONDS s; the logs are in .tools/logs"; fi
exit $failed
