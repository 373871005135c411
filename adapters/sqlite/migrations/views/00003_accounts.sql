-- +goose Up
-- Each account at its newest version. Amounts are minor units, times microseconds since 1970, days count from
-- 1970-01-01; a limit of -1 is none. Rows are short, because every movement of money writes two of them.
CREATE TABLE account (
    id                TEXT    PRIMARY KEY,
    version           INTEGER NOT NULL,
    customer          TEXT    NOT NULL, -- '': nobody's
    currency          TEXT    NOT NULL,
    type              INTEGER NOT NULL,
    status            INTEGER NOT NULL,
    balance           INTEGER NOT NULL,
    held              INTEGER NOT NULL,
    overdraft_limit   INTEGER NOT NULL,
    daily_debit_limit INTEGER NOT NULL,
    review_above      INTEGER NOT NULL,
    day               INTEGER NOT NULL, -- that debited_today counts
    debited_today     INTEGER NOT NULL,
    details_version   INTEGER NOT NULL,
    opened_at         INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

-- Each index ends with the primary key, and so gives its rows in the order of lists. None of them has a column that
-- changes when money moves. Nearly all accounts are active, so that those need no index of their own.
CREATE INDEX account_opened   ON account (opened_at);
CREATE INDEX account_customer ON account (customer, opened_at) WHERE customer <> '';
CREATE INDEX account_currency ON account (currency, opened_at);
CREATE INDEX account_inactive ON account (status, opened_at) WHERE status <> 1;

-- What users write about an account; no row: nothing.
CREATE TABLE account_details (
    account     TEXT PRIMARY KEY,
    label       TEXT NOT NULL,
    external_id TEXT NOT NULL,
    metadata    TEXT NOT NULL -- a JSON object, or ''
) WITHOUT ROWID, STRICT;

CREATE INDEX account_external ON account_details (external_id) WHERE external_id <> '';

-- +goose Down
DROP TABLE account_details;
DROP TABLE account;
