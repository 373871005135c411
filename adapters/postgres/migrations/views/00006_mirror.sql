-- +goose Up
-- Which messages were shown to those who watch for dead letters in the broker. What has ended by now never is.
ALTER TABLE parked_message ADD COLUMN mirrored boolean NOT NULL DEFAULT false;
UPDATE parked_message SET mirrored = true WHERE ended_at IS NOT NULL;
CREATE INDEX parked_unmirrored ON parked_message (id) WHERE NOT mirrored;

-- +goose Down
DROP INDEX parked_unmirrored;
ALTER TABLE parked_message DROP COLUMN mirrored;
