"""Lets schemathesis ask about things that exist.

Ids are opaque, so what it makes up by itself never does, and nearly every answer would be "there is no such
thing". In three cases of four this puts an id of the running bank where any text may stand. What is not text stays
as it is: it is there to be refused.
"""

import json
import os
import zlib

import schemathesis

with open(os.environ["BANKFORGE_KNOWN_IDS"], encoding="utf-8") as known:
    # {"customers": [...], "accounts": [...], "transactions": [...], "holds": [...]}
    KNOWN = json.load(known)

FIELDS = {
    "account_id": "accounts",
    "from_account_id": "accounts",
    "to_account_id": "accounts",
    "customer_id": "customers",
    "hold_id": "holds",
}


def real(kind, made_up):
    """The same made-up text always gives the same id, so that what was found can be found again."""
    choice = zlib.crc32(made_up.encode("utf-8", "surrogatepass"))
    return made_up if choice % 4 == 0 else KNOWN[kind][choice // 4 % len(KNOWN[kind])]


def with_known(value):
    if isinstance(value, list):
        return [with_known(v) for v in value]
    if not isinstance(value, dict):
        return value
    return {
        k: real(FIELDS[k], v) if k in FIELDS and isinstance(v, str) else with_known(v)
        for k, v in value.items()
    }


@schemathesis.hook
def map_body(context, body):
    return with_known(body)


@schemathesis.hook
def map_query(context, query):
    return with_known(query)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    kind = context.operation.path.split("/")[2] if context.operation.path.startswith("/v1/") else ""
    if path_parameters and kind in KNOWN and isinstance(path_parameters.get("id"), str):
        return {**path_parameters, "id": real(kind, path_parameters["id"])}
    return path_parameters
