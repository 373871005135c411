-- +goose Up
-- What rows of account are now that money has moved on many of them, in the order of the log: packed, newer than the rows,
-- and written there later.
CREATE TABLE account_note (n INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;

-- The same of entry_end.
CREATE TABLE entry_end_note (n INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;

-- +goose Down
DROP TABLE entry_end_note;
DROP TABLE account_note;
