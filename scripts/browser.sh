#!/bin/bash
# Runs the tests of the page and of the live channel in Debian's Chromium.
set -eu -o pipefail
cd "$(dirname "$0")/.."
go build -buildvcs=false -o bin/bankforge ./cmd/bankforge
BANKFORGE_BINARY=$PWD/bin/bankforge npm run --silent --prefix console browser
