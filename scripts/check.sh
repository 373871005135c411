#!/bin/bash
# Compares what is committed with what would be generated, and says which command mends a difference.
set -eu -o pipefail
cd "$(dirname "$0")/.."
bad=0
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

wrong() {
    echo "check: $*" >&2
    bad=1
}

# shellcheck disable=SC2046 # names without spaces
unformatted=$(gofmt -s -l $(find . -name '*.go' -not -path './.tools/*' -not -path '*/node_modules/*'))
[ -z "$unformatted" ] || wrong "not formatted, run gofmt -s -w: $unformatted"

go mod tidy -diff || wrong "go.mod or go.sum differs: run go mod tidy"
go mod verify

scripts/generate.sh "$fresh"
for document in openapi.yaml asyncapi.yaml; do
    diff -u "api/$document" "$fresh/$document" || wrong "api/$document differs: run make generate"
done

# Files that are sourced use what those that source them have set, and set what they use.
shellcheck --shell=bash --severity=warning --exclude=SC2034,SC2154 scripts/*.sh scripts/servers/*.sh ||
    wrong "shellcheck finds fault with scripts"

npm run --silent --prefix console check || wrong "console/dist differs: run npm run build in console"

[ $bad -eq 0 ] && echo "check: what is committed is what is generated"
exit $bad
