-- +goose Up
-- What this file belongs to: names and values, as 'incarnation'.
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;

-- +goose Down
DROP TABLE about;
