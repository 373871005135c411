#!/bin/bash
# Asks schemathesis whether the API does what its OpenAPI document says, as staff and as a customer: with valid
# and invalid requests, and no findings. Arguments are passed on to it.
set -eu -o pipefail
cd "$(dirname "$0")/.."
. scripts/server.sh
start_server --rate-limit 0

checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
checks+=,response_headers_conformance,negative_data_rejection,unsupported_method,missing_required_header

token() { "$bankforge" token --data "$data" --subject schemathesis "$@"; }

seeds=0
post() { # post PATH BODY: the id of what it made, or changed
    curl --silent --show-error --fail-with-body "$url$1" --header "Authorization: Bearer $staff" \
        --header 'Content-Type: application/json' --header "Idempotency-Key: seed-$BASHPID-$((seeds += 1))" \
        --data "$2" | jq --raw-output .id
}

# Something to ask about: accounts with money, holds and transfers, some of which wait for review.
staff=$(token --role teller,service,fraud,auditor)
eur() { echo "{\"amount\":\"$1\",\"currency\":\"EUR\"}"; }
for i in $(seq 12); do
    customers+=("$(post /v1/customers '{"name":"Ada Lovelace"}')")
    accounts+=("$(post /v1/accounts "{\"currency\":\"EUR\",\"customer_id\":\"${customers[-1]}\"}")")
    transactions+=("$(post /v1/deposits "{\"account_id\":\"${accounts[-1]}\",\"amount\":$(eur 1000000)}")")
    holds+=("$(post /v1/holds "{\"account_id\":\"${accounts[-1]}\",\"amount\":$(eur 1000)}")")
    if [ "$i" -gt 1 ]; then
        post "/v1/accounts/${accounts[-1]}/review" "{\"above\":$(eur $((i * 100))),\"reason\":\"seed\"}" >/dev/null
        transactions+=("$(post /v1/transfers "{\"from_account_id\":\"${accounts[-1]}\",
            \"to_account_id\":\"${accounts[0]}\",\"amount\":$(eur 500)}")")
    fi
done
ids() { printf '%s\n' "$@" | jq --raw-input . | jq --slurp .; }
export BANKFORGE_KNOWN_IDS=$data/known.json
jq --null-input --argjson customers "$(ids "${customers[@]}")" --argjson accounts "$(ids "${accounts[@]}")" \
    --argjson transactions "$(ids "${transactions[@]}")" --argjson holds "$(ids "${holds[@]}")" \
    '{$customers, $accounts, $transactions, $holds}' >"$BANKFORGE_KNOWN_IDS"

export PYTHONPATH=$PWD/scripts/python SCHEMATHESIS_HOOKS=known_ids PYTHONDONTWRITEBYTECODE=1
cd .tools # what it leaves behind is not part of the tree
check() { # check WHO TOKEN EXAMPLES PATHS NOT ARGUMENTS
    echo "schemathesis as $1"
    # Event streams do not end; the tests of ports and of the browser cover them. One worker, because
    # Python 3.11 fails now and then when two threads parse Python.
    timeout 300 venv/bin/schemathesis run "$url/openapi.json" --header "Authorization: Bearer $2" \
        --checks $checks --exclude-path-regex "$5" \
        --max-examples "$3" --seed 1 --request-timeout 10 --workers 1 --no-color --warnings off \
        --generation-database none --include-path-regex "$4" "${@:6}"
}
check staff "$staff" 25 '^/' '/live$|^/ops/' "$@"
# A server without the flag has no door for demonstrations at all, not even one that asks for a token.
check customer "$(token --role customer --customer "${customers[0]}")" 10 '^/' '/live$|/demo-failures$' "$@"
# Last, something for operators, who also may pause what the others read from: what one handler does with holds
# fails, so that keys of it wait.
python3 - "$data/views.db" <<'PYTHON'
import sqlite3
import sys

views = sqlite3.connect(sys.argv[1], timeout=10)
views.execute("CREATE TRIGGER broken BEFORE INSERT ON hold BEGIN SELECT RAISE(ABORT, 'broken for a test'); END")
views.commit()
PYTHON
accounts=()
for _ in $(seq 6); do
    accounts+=("$(post /v1/accounts '{"currency":"EUR"}')")
    post /v1/deposits "{\"account_id\":\"${accounts[-1]}\",\"amount\":$(eur 1000)}" >/dev/null
    post /v1/holds "{\"account_id\":\"${accounts[-1]}\",\"amount\":$(eur 10)}" >/dev/null
done
operator=$(token --role operator,admin)
parked() { curl --silent --show-error --fail-with-body "$url/ops/v1/$1" --header "Authorization: Bearer $operator"; }
until [ "$(parked 'failures?status=parked' | jq '.data | length')" -ge 6 ]; do sleep 0.2; done
jq --argjson accounts "$(ids "${accounts[@]}")" --argjson failures "$(parked failures | jq '[.data[].id]')" \
    --argjson groups "$(parked failure-groups | jq '[.data[].fingerprint]')" \
    --argjson handlers "$(parked handlers | jq '[.data[].name]')" \
    '. + {$accounts, $failures, $groups, $handlers}' "$BANKFORGE_KNOWN_IDS" >"$data/more.json"
export BANKFORGE_KNOWN_IDS=$data/more.json
check operator "$operator" 15 '^/ops/' '/demo-failures$' "$@"
echo "what it was answered:"
grep --only-matching 'status=[0-9]*' "$data/log" | sort | uniq --count
