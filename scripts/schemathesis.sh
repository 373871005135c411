#!/bin/bash
# Asks schemathesis whether the API does what its OpenAPI document says: with each role that may do
# something of its own, valid and invalid requests, and no findings. Arguments are passed on to it.
set -eu -o pipefail
cd "$(dirname "$0")/.."
. scripts/server.sh
start_server --rate-limit 0

checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
checks+=,response_headers_conformance,negative_data_rejection,unsupported_method,missing_required_header

for role in teller fraud auditor; do
    echo "schemathesis as $role"
    # Event streams do not end; the browser tests and the tests of ports cover them.
    timeout 180 .tools/venv/bin/schemathesis run "$url/openapi.json" \
        --header "Authorization: Bearer $("$bankforge" token --data "$data" --role $role --subject schemathesis)" \
        --checks $checks --exclude-path-regex '/live$' \
        --max-examples 20 --seed 1 --request-timeout 10 --workers 2 --no-color --warnings off \
        --generation-database none "$@"
done
