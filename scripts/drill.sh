#!/bin/bash
# Builds the bank with the steps and guards that drills need, and attacks it. PROFILE says which: embedded, or with many
# processes on servers of its own: postgres, kafka. Flags go to cmd/drill: --short, --seed …
set -eu -o pipefail
PROFILE=${PROFILE:-embedded}
cd "$(dirname "$0")/.."
mkdir -p bin
go build -buildvcs=false -tags drill -o bin/bankforge-drill ./cmd/bankforge
go build -buildvcs=false -o bin/drill ./cmd/drill
json=bin/drill.json
[ "$PROFILE" = embedded ] || json=bin/drill-$PROFILE.json
exec bin/drill --profile "$PROFILE" --bankforge bin/bankforge-drill --json "$json" "$@"
