-- +goose Up
-- Each account at its newest version. Amounts are minor units, times microseconds since 1970, days count from
-- 1970-01-01; a limit of -1 is none. Ids are compared byte by byte. Rows are written anew with every movement of money, and
-- there is room for that on their pages.
CREATE TABLE account (
    id                text     COLLATE "C" PRIMARY KEY,
    version           bigint   NOT NULL,
    customer          text     COLLATE "C" NOT NULL, -- '': nobody's
    currency          text     COLLATE "C" NOT NULL,
    type              smallint NOT NULL,
    status            smallint NOT NULL,
    balance           bigint   NOT NULL,
    held              bigint   NOT NULL,
    overdraft_limit   bigint   NOT NULL,
    daily_debit_limit bigint   NOT NULL,
    review_above      bigint   NOT NULL,
    day               int      NOT NULL, -- that debited_today counts
    debited_today     bigint   NOT NULL,
    details_version   bigint   NOT NULL,
    opened_at         bigint   NOT NULL,
    updated_at        bigint   NOT NULL
) WITH (fillfactor = 50);

-- Lists are in the order of (time, id). No index has a column that changes when money moves. Nearly all accounts are
-- active, so that those need no index of their own.
CREATE INDEX account_opened   ON account (opened_at, id);
CREATE INDEX account_customer ON account (customer, opened_at, id) WHERE customer <> '';
CREATE INDEX account_currency ON account (currency, opened_at, id);
CREATE INDEX account_inactive ON account (status, opened_at, id) WHERE status <> 1;

-- What users write about an account; no row: nothing.
CREATE TABLE account_details (
    account     text COLLATE "C" PRIMARY KEY,
    label       text NOT NULL,
    external_id text COLLATE "C" NOT NULL,
    metadata    text NOT NULL -- a JSON object, or ''
);

CREATE INDEX account_external ON account_details (external_id) WHERE external_id <> '';

-- +goose Down
DROP TABLE account_details;
DROP TABLE account;
