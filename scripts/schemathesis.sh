#!/bin/bash
# Asks schemathesis whether the API does what its OpenAPI document says: with each role that may do
# something of its own, valid and invalid requests, and no findings. Arguments are passed on to it.
set -eu -o pipefail
cd "$(dirname "$0")/.."
. scripts/server.sh
start_server --rate-limit 0

checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
checks+=,response_headers_conformance,negative_data_rejection,unsupported_method,missing_required_header

token() { "$bankforge" token --data "$data" --role "$1" --subject schemathesis; }

post() { # post PATH BODY: the id of what it made
    curl --silent --show-error --fail-with-body "$url$1" --header "Authorization: Bearer $teller" \
        --header 'Content-Type: application/json' --header "Idempotency-Key: seed-$((seeds += 1))-$RANDOM" \
        --data "$2" | jq --raw-output .id
}

# Something to ask about.
teller=$(token teller)
seeds=0
eur='{"amount":"1000000","currency":"EUR"}'
some='{"amount":"1000","currency":"EUR"}'
for _ in $(seq 12); do
    customers+=("$(post /v1/customers '{"name":"Ada Lovelace"}')")
    accounts+=("$(post /v1/accounts '{"currency":"EUR","customer_id":"'"${customers[-1]}"'"}')")
    transactions+=("$(post /v1/deposits '{"account_id":"'"${accounts[-1]}"'","amount":'"$eur"'}')")
    holds+=("$(post /v1/holds '{"account_id":"'"${accounts[-1]}"'","amount":'"$some"'}')")
done
ids() { printf '%s\n' "$@" | jq --raw-input . | jq --slurp .; }
export BANKFORGE_KNOWN_IDS=$data/known.json
jq --null-input --argjson customers "$(ids "${customers[@]}")" --argjson accounts "$(ids "${accounts[@]}")" \
    --argjson transactions "$(ids "${transactions[@]}")" --argjson holds "$(ids "${holds[@]}")" \
    '{$customers, $accounts, $transactions, $holds}' >"$BANKFORGE_KNOWN_IDS"

export HYPOTHESIS_STORAGE_DIRECTORY=$PWD/.tools/hypothesis PYTHONDONTWRITEBYTECODE=1
for role in teller fraud auditor; do
    echo "schemathesis as $role"
    # Event streams do not end; the tests of ports and of the browser cover them. One worker, because
    # Python 3.11 fails now and then when two threads parse Python.
    PYTHONPATH=scripts/python SCHEMATHESIS_HOOKS=known_ids timeout 240 \
        .tools/venv/bin/schemathesis run "$url/openapi.json" \
        --header "Authorization: Bearer $(token $role)" \
        --checks $checks --exclude-path-regex '/live$' \
        --max-examples 15 --seed 1 --request-timeout 10 --workers 1 --no-color --warnings off \
        --generation-database none "$@"
done
