-- +goose Up
-- The one row that guards the ledger: an append moves it, and whoever finds it elsewhere than expected is fenced.
CREATE TABLE head (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation TEXT    NOT NULL,
    term        INTEGER NOT NULL,
    batch       INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    chain       BLOB    NOT NULL,
    owner       TEXT    NOT NULL
) STRICT;

-- One row an event, in app/codec's form.
CREATE TABLE event (
    seq   INTEGER PRIMARY KEY,
    data  BLOB NOT NULL,
    chain BLOB NOT NULL
) STRICT;

-- Which event made which version of an account, transaction or hold.
CREATE TABLE touch (
    subject TEXT    NOT NULL,
    version INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (subject, version)
) WITHOUT ROWID, STRICT;

-- What became of each command that had a key. Keys are random, so the rows stand in the order of
-- their arrival, and only a narrow index is spread.
CREATE TABLE outcome (
    key         BLOB    NOT NULL,
    fingerprint BLOB    NOT NULL,
    seq         INTEGER NOT NULL,
    events      INTEGER NOT NULL,
    code        TEXT    NOT NULL,
    reply       BLOB,
    subject     TEXT    NOT NULL,
    command     TEXT    NOT NULL,
    at          INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX outcome_key ON outcome (key);

-- +goose Down
DROP TABLE outcome;
DROP TABLE touch;
DROP TABLE event;
DROP TABLE head;
