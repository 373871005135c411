-- +goose Up
-- The entries of each account, in the order of its versions.
CREATE TABLE entry (
    account       TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    currency      TEXT    NOT NULL,
    amount        INTEGER NOT NULL, -- minor units: credit > 0, debit < 0
    balance_after INTEGER NOT NULL,
    posted_at     INTEGER NOT NULL, -- microseconds since 1970; never goes back
    txn           TEXT    NOT NULL,
    kind          INTEGER NOT NULL,
    reference     TEXT    NOT NULL,
    description   TEXT    NOT NULL,
    value_date    INTEGER NOT NULL, -- days since 1970-01-01
    PRIMARY KEY (account, version)
) WITHOUT ROWID, STRICT;

CREATE TABLE hold (
    id         TEXT    PRIMARY KEY,
    version    INTEGER NOT NULL,
    account    TEXT    NOT NULL,
    customer   TEXT    NOT NULL, -- '': nobody's
    currency   TEXT    NOT NULL,
    amount     INTEGER NOT NULL,
    captured   INTEGER NOT NULL,
    remaining  INTEGER NOT NULL,
    status     INTEGER NOT NULL,
    reference  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

-- Each index ends with the primary key, and so gives its rows in the order of lists.
CREATE INDEX hold_created  ON hold (created_at);
CREATE INDEX hold_account  ON hold (account, created_at);
CREATE INDEX hold_customer ON hold (customer, created_at) WHERE customer <> '';
CREATE INDEX hold_status   ON hold (status, created_at);

-- Each transaction at its newest version, in the order of lists: so new ones stand at the end.
CREATE TABLE txn (
    time            INTEGER NOT NULL, -- posted_at, or created_at while it is not posted
    id              TEXT    NOT NULL UNIQUE,
    version         INTEGER NOT NULL,
    kind            INTEGER NOT NULL,
    status          INTEGER NOT NULL,
    currency        TEXT    NOT NULL,
    amount          INTEGER NOT NULL,
    reversed        INTEGER NOT NULL,
    -- The account that is debited and the one that is credited, internal ones too; while there are
    -- no entries the ones that would be, with version 0.
    payer           TEXT    NOT NULL,
    payer_customer  TEXT    NOT NULL, -- '': nobody's
    payer_balance   INTEGER NOT NULL,
    payer_version   INTEGER NOT NULL,
    payee           TEXT    NOT NULL,
    payee_customer  TEXT    NOT NULL, -- '': nobody's, or not yet
    payee_balance   INTEGER NOT NULL,
    payee_version   INTEGER NOT NULL,
    reference       TEXT    NOT NULL,
    description     TEXT    NOT NULL,
    metadata        TEXT    NOT NULL, -- a JSON object, or ''
    reverses        TEXT    NOT NULL,
    hold            TEXT    NOT NULL,
    value_date      INTEGER NOT NULL,
    correlation_id  TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    posted_at       INTEGER NOT NULL, -- 0: not posted
    seq             INTEGER NOT NULL,
    PRIMARY KEY (time, id)
) WITHOUT ROWID, STRICT;

-- Each index ends with the primary key. What nearly all rows have in common (posted, a transfer) is found in the
-- table itself, and needs no index.
CREATE INDEX txn_payer          ON txn (payer);
CREATE INDEX txn_payee          ON txn (payee);
CREATE INDEX txn_payer_customer ON txn (payer_customer) WHERE payer_customer <> '';
CREATE INDEX txn_payee_customer ON txn (payee_customer) WHERE payee_customer <> '';
CREATE INDEX txn_correlation    ON txn (correlation_id) WHERE correlation_id <> '';
CREATE INDEX txn_key            ON txn (idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX txn_reference      ON txn (reference) WHERE reference <> '';
CREATE INDEX txn_hold           ON txn (hold) WHERE hold <> '';
CREATE INDEX txn_kind           ON txn (kind) WHERE kind <> 3;
CREATE INDEX txn_status         ON txn (status) WHERE status <> 1;

-- +goose Down
DROP TABLE txn;
DROP TABLE hold;
DROP TABLE entry;
