#!/bin/bash
# Installs what the tests need beside Go, Node 20, Python 3.11 and apt; with the argument "bench", only what
# measuring needs. Says what it does; does nothing when all is there. Everything but Debian's packages stays in
# .tools and console/node_modules.
set -eu -o pipefail
cd "$(dirname "$0")/.."

golangci_lint=v2.15.0
tools=$PWD/.tools
log=$tools/install.log
mkdir -p "$tools/bin"
: >"$log"

. scripts/tools.sh

python() {
    local want=scripts/python have=$tools/venv/installed
    if same <(cat $want/*.txt) "$have"; then return; fi
    say "Python packages in .tools/venv: $(grep -v '^#' $want/requirements.txt)"
    quietly python3 -m venv "$tools/venv"
    quietly "$tools/venv/bin/pip" install --disable-pip-version-check \
        -r $want/requirements.txt -c $want/constraints.txt
    cat $want/*.txt >"$have"
}

linter() {
    if "$tools/bin/golangci-lint" version 2>/dev/null | grep -q "version ${golangci_lint#v} "; then return; fi
    say "golangci-lint $golangci_lint, built from source (some minutes, once)"
    GOBIN=$tools/bin quietly go install \
        "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$golangci_lint"
}

node_modules() {
    [ -f console/package-lock.json ] || return 0
    local have=console/node_modules/installed
    if same console/package-lock.json "$have"; then return; fi
    say "Node packages in console/node_modules"
    quietly npm ci --prefix console --no-audit --no-fund
    cp console/package-lock.json "$have"
}

bench=(wrk=wrk strace=strace)
if [ "${1:-}" = bench ]; then
    need go "see https://go.dev/dl for the version in go.mod"
    debian "${bench[@]}"
    exit
fi
need go "see https://go.dev/dl for the version in go.mod"
need node "Node 20 or later"
need npm "it comes with Node"
need python3 "Python 3.11 or later"
debian chromium=chromium jq=jq curl=curl gcc=build-essential nginx=nginx kcat=kcat shellcheck=shellcheck \
    "${bench[@]}"
python3 -c 'import ensurepip' 2>/dev/null || { # Debian keeps this module in a package of its own
    say "Debian package: python3-venv"
    if [ "$(id -u)" -eq 0 ]; then root=(); else root=(sudo); fi
    quietly "${root[@]}" apt-get install -y --no-install-recommends python3-venv
}
python
linter
node_modules
scripts/services.sh install
say "all is there: $(go version | cut -d' ' -f3), node $(node --version), $(python3 --version), \
golangci-lint $golangci_lint, $("$tools/venv/bin/schemathesis" --version), $(chromium --version 2>/dev/null || echo chromium)"
