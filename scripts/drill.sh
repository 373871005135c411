#!/bin/bash
# Builds the bank with the steps and guards that drills need, and attacks it. Flags go to cmd/drill: --short, --seed …
set -eu -o pipefail
cd "$(dirname "$0")/.."
mkdir -p bin
go build -buildvcs=false -tags drill -o bin/bankforge-drill ./cmd/bankforge
go build -buildvcs=false -o bin/drill ./cmd/drill
exec bin/drill --bankforge bin/bankforge-drill --json bin/drill.json "$@"
