-- +goose Up
-- The entries of accounts.
CREATE TABLE entry (
    account       text     COLLATE "C" NOT NULL,
    version       bigint   NOT NULL,
    posted_at     bigint   NOT NULL, -- microseconds since 1970; never goes back
    amount        bigint   NOT NULL, -- minor units: credit > 0, debit < 0
    balance_after bigint   NOT NULL,
    currency      text     COLLATE "C" NOT NULL,
    transaction   text     COLLATE "C" NOT NULL,
    kind          smallint NOT NULL,
    reference     text     NOT NULL,
    description   text     NOT NULL,
    value_date    int      NOT NULL,
    PRIMARY KEY (account, version)
);

-- The first version of an account with an entry at this time or later; NULL: there is none. Time never goes back from
-- version to version, so it is found by halving, and needs no index.
-- +goose StatementBegin
CREATE FUNCTION first_entry(of_account text, at_time bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low   bigint := 0;
    high  bigint;
    found record;
    best  bigint;
BEGIN
    SELECT version INTO high FROM entry WHERE account = of_account ORDER BY version DESC LIMIT 1;
    WHILE low <= high LOOP
        SELECT version, posted_at INTO found FROM entry
            WHERE account = of_account AND version >= low + (high - low) / 2 AND version <= high ORDER BY version LIMIT 1;
        IF found.version IS NULL THEN
            high := low + (high - low) / 2 - 1;
        ELSIF found.posted_at < at_time THEN
            low := found.version + 1;
        ELSE
            best := found.version;
            high := low + (high - low) / 2 - 1;
        END IF;
    END LOOP;
    RETURN best;
END
$$;
-- +goose StatementEnd

CREATE TABLE hold (
    id         text     COLLATE "C" PRIMARY KEY,
    version    bigint   NOT NULL,
    account    text     COLLATE "C" NOT NULL,
    customer   text     COLLATE "C" NOT NULL, -- '': nobody's
    currency   text     COLLATE "C" NOT NULL,
    amount     bigint   NOT NULL,
    captured   bigint   NOT NULL,
    remaining  bigint   NOT NULL,
    status     smallint NOT NULL,
    reference  text     NOT NULL,
    created_at bigint   NOT NULL,
    expires_at bigint   NOT NULL
);

CREATE INDEX hold_created  ON hold (created_at, id);
CREATE INDEX hold_account  ON hold (account, created_at, id);
CREATE INDEX hold_customer ON hold (customer, created_at, id) WHERE customer <> '';
CREATE INDEX hold_status   ON hold (status, created_at, id);

-- Each transaction at its newest version. payer is the account that is debited and payee the one that is credited, internal
-- ones too; while there are no entries the ones that would be, with version 0.
CREATE TABLE txn (
    id              text     COLLATE "C" PRIMARY KEY,
    version         bigint   NOT NULL,
    seq             bigint   NOT NULL, -- of the event that posted it; while it is not posted, of the one that made it
    time            bigint   NOT NULL, -- posted_at, or created_at while it is not posted
    kind            smallint NOT NULL,
    status          smallint NOT NULL,
    amount          bigint   NOT NULL,
    currency        text     COLLATE "C" NOT NULL,
    reversed        bigint   NOT NULL,
    payer           text     COLLATE "C" NOT NULL,
    payer_customer  text     COLLATE "C" NOT NULL,
    payer_balance   bigint   NOT NULL,
    payer_version   bigint   NOT NULL,
    payee           text     COLLATE "C" NOT NULL,
    payee_customer  text     COLLATE "C" NOT NULL,
    payee_balance   bigint   NOT NULL,
    payee_version   bigint   NOT NULL,
    reference       text     COLLATE "C" NOT NULL,
    description     text     NOT NULL,
    metadata        text     NOT NULL, -- a JSON object, or ''
    reverses        text     COLLATE "C" NOT NULL,
    hold            text     COLLATE "C" NOT NULL,
    correlation_id  text     COLLATE "C" NOT NULL,
    idempotency_key text     COLLATE "C" NOT NULL,
    value_date      int      NOT NULL,
    created_at      bigint   NOT NULL,
    posted_at       bigint   NOT NULL
);

-- What transactions are looked for by stands in these indexes as a hash, which makes them a third as large; each gives its
-- rows in the order of time. What nearly all have in common (posted, a transfer) is found in the list of all.
CREATE INDEX txn_time           ON txn (time);
CREATE INDEX txn_payer          ON txn (hashtextextended(payer, 0), time);
CREATE INDEX txn_payee          ON txn (hashtextextended(payee, 0), time);
CREATE INDEX txn_payer_customer ON txn (hashtextextended(payer_customer, 0), time) WHERE payer_customer <> '';
CREATE INDEX txn_payee_customer ON txn (hashtextextended(payee_customer, 0), time) WHERE payee_customer <> '';
CREATE INDEX txn_key            ON txn (hashtextextended(idempotency_key, 0), time) WHERE idempotency_key <> '';
CREATE INDEX txn_correlation    ON txn (hashtextextended(correlation_id, 0), time) WHERE correlation_id <> '';
CREATE INDEX txn_reference      ON txn (hashtextextended(reference, 0), time) WHERE reference <> '';
CREATE INDEX txn_hold           ON txn (hashtextextended(hold, 0), time) WHERE hold <> '';
CREATE INDEX txn_kind           ON txn (kind, time) WHERE kind <> 3;
CREATE INDEX txn_status         ON txn (status, time) WHERE status <> 1;

-- +goose Down
DROP TABLE txn;
DROP TABLE hold;
DROP FUNCTION first_entry;
DROP TABLE entry;
