#!/bin/bash
# Measures speed and memory against their targets, as docs/performance.md explains. Arguments are passed on to
# `bankforge bench --suite`: --only burst,hot · --short · --runs 5 · --dir DIR · --big DIR · --output markdown. With
# PROFILE=kafka it measures the bank on servers, which it starts for itself and stops at the end.
# The report with all runs is in bin/bench.json (bench-short.json, bench-kafka.json …); status 1: a target was missed.
set -eu -o pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-embedded}
pids=
report=bin/bench
[ "$profile" = embedded ] || report+=-$profile
dir=${TMPDIR:-/tmp}
previous=
for arg in "$@"; do
    [ "$arg" != --short ] || report+=-short
    [ "$previous" != --dir ] || dir=$arg
    previous=$arg
done

scripts/install.sh bench
go build -o bin/bankforge ./cmd/bankforge
if [ "$profile" = kafka ]; then
    servers=$(mktemp -d "$dir/bankforge-servers-XXXXXX")
    # shellcheck disable=SC2317 # the trap calls it
    end() {
        scripts/services.sh --dir "$servers" down || true
        rm -rf "$servers"
    }
    trap end EXIT
    addresses=$(scripts/services.sh --dir "$servers" up postgres kafka redis mongo)
    eval "$addresses"
    # Of PostgreSQL only the first of its processes could be weighed, which has nothing.
    for name in kafka redis mongo; do
        pid=$(scripts/services.sh --dir "$servers" pid "$name") && pids+="$name=$pid;"
    done
    [ -z "$pids" ] || set -- "$@" --pids "${pids%;}"
fi
status=0
bin/bankforge bench --suite --profile "$profile" --json "$report.json" "$@" || status=$?
exit $status
