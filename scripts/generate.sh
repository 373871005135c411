#!/bin/bash
# Writes the documents that the program makes of itself into the directory that is given.
set -eu -o pipefail
out=$(realpath "$1")
cd "$(dirname "$0")/.."
go build -buildvcs=false -o bin/bankforge ./cmd/bankforge
bin/bankforge openapi >"$out/openapi.yaml"
bin/bankforge asyncapi >"$out/asyncapi.yaml"
