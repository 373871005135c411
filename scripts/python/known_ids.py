"""Lets schemathesis ask for things that exist, and for money that is there.

Ids are opaque, so what it makes up by itself never exists, and nearly every answer would be "there is no such
thing". In three cases of four this puts an id of the running bank where any text may stand, the accounts' currency in
place of another one, and a small amount in place of another one. What is no text, no code of a currency or no amount
stays as it is: it is there to be refused.
"""

import json
import os
import re
import zlib

import schemathesis

with open(os.environ["BANKFORGE_KNOWN_IDS"], encoding="utf-8") as known:
    # {"customers": [...], "accounts": [...], "transactions": [...], "holds": [...], and for operators "failures": [...],
    # "groups": [...], "handlers": [...]}
    KNOWN = json.load(known)

FIELDS = {
    "account_id": "accounts",
    "from_account_id": "accounts",
    "to_account_id": "accounts",
    "customer_id": "customers",
    "hold_id": "holds",
}

STEPS = {"handler": "handlers", "name": "handlers", "key": "accounts", "fingerprint": "groups"}


def pick(made_up, known):
    """The same made-up text always gives the same, so that what was found can be found again."""
    choice = zlib.crc32(made_up.encode("utf-8", "surrogatepass"))
    return made_up if choice % 4 == 0 else known[choice // 4 % len(known)]


def with_known(value, name=""):
    if isinstance(value, list):
        return [with_known(v) for v in value]
    if isinstance(value, dict):
        return {k: with_known(v, k) for k, v in value.items()}
    if not isinstance(value, str):
        return value
    if name in FIELDS:
        return pick(value, KNOWN[FIELDS[name]])
    if name == "currency" and re.fullmatch("[A-Z]{3}", value):
        return pick(value, ["EUR"])
    if name == "amount" and re.fullmatch("[1-9][0-9]{0,17}", value):
        return pick(value, ["1", "20", "300"])
    return value


@schemathesis.hook
def map_body(context, body):
    return with_known(body)


@schemathesis.hook
def map_query(context, query):
    return with_known(query)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    steps = context.operation.path.split("/")
    for name, known in STEPS.items():
        if path_parameters and known in KNOWN and isinstance(path_parameters.get(name), str):
            path_parameters = {**path_parameters, name: pick(path_parameters[name], KNOWN[known])}
    kind = steps[steps.index("v1") + 1] if "v1" in steps else ""
    if path_parameters and kind in KNOWN and isinstance(path_parameters.get("id"), str):
        return {**path_parameters, "id": pick(path_parameters["id"], KNOWN[kind])}
    return path_parameters
