-- +goose Up
-- The entries of accounts. A slot is the segment of the log (so that new rows come close together, whatever accounts they
-- are on), 21 bits of the account, and the place within the segment: so it has an account's entries in the order of versions.
CREATE TABLE entry (
    slot          INTEGER PRIMARY KEY,
    account       TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    posted_at     INTEGER NOT NULL, -- microseconds since 1970; never goes back
    data          BLOB    NOT NULL  -- the rest, packed
) STRICT;

-- Where the entries of each account end.
CREATE TABLE entry_end (
    account TEXT    PRIMARY KEY,
    seq     INTEGER NOT NULL, -- of the event that made the last one
    version INTEGER NOT NULL,
    balance INTEGER NOT NULL
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

-- Each transaction at its newest version, in the order of the log: so new ones stand at the end, and times ascend.
CREATE TABLE txn (
    seq             INTEGER PRIMARY KEY, -- of the event that posted it; while it is not posted, of the one that made it
    time            INTEGER NOT NULL,    -- posted_at, or created_at while it is not posted
    id              TEXT    NOT NULL UNIQUE,
    version         INTEGER NOT NULL,
    data            BLOB    NOT NULL     -- the rest, packed
) STRICT;

-- What transactions are looked for by: accounts, customers, keys and so on. What nearly all of them have in common (posted,
-- a transfer) is found in the table itself. A slot is the segment of the log (so that new rows come close together), 22 bits
-- of what is looked for, and the seq within the segment.
CREATE TABLE txn_index (slot INTEGER PRIMARY KEY) STRICT;

-- +goose Down
DROP TABLE txn_index;
DROP TABLE txn;
DROP TABLE hold;
DROP TABLE entry_end;
DROP TABLE entry;
