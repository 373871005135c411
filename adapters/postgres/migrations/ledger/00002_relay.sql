-- +goose Up
-- How far the relay has come, and who it is. It stands beside the log, so that both are restored together.
CREATE TABLE relay (
    ledger      text        PRIMARY KEY,
    term        bigint      NOT NULL, -- grows with each relay; a save of an earlier one is fenced
    owner       text        NOT NULL,
    lease_until timestamptz NOT NULL, -- by the clock of the database
    incarnation text        NOT NULL,
    seq         bigint      NOT NULL, -- the broker has acknowledged everything up to here
    last        jsonb       NOT NULL  -- topic → the offset (seq · 4096 + n) of the last message of each partition
) WITH (fillfactor = 10);

-- +goose Down
DROP TABLE relay;
