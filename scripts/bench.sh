#!/bin/bash
# Measures speed and memory against their targets, as docs/performance.md explains. Arguments are passed on to
# `bankforge bench --suite`: --only burst,hot · --short · --runs 5 · --dir DIR · --big DIR · --output markdown.
# The report with all runs is in bin/bench.json (of the short form: bin/bench-short.json); status 1 when a target was missed.
set -eu -o pipefail
cd "$(dirname "$0")/.."

scripts/install.sh bench
go build -o bin/bankforge ./cmd/bankforge
report=bin/bench.json
case " $* " in *" --short "*) report=bin/bench-short.json ;; esac
exec bin/bankforge bench --suite --json $report "$@"
