-- +goose Up
-- Of the command: a replay of its refusal names it again. '' in what was remembered before.
ALTER TABLE customer_command ADD COLUMN correlation_id TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE customer_command DROP COLUMN correlation_id;
