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

-- What became of each command that had a key, in the order of their arrival. Keys are random: what finds them, and
-- the versions of accounts, transactions and holds, is the index beside this file.
CREATE TABLE outcome (
    id          INTEGER PRIMARY KEY,
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

-- +goose Down
DROP TABLE outcome;
DROP TABLE event;
DROP TABLE head;
