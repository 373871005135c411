-- +goose Up
-- What has changed lately, for those who tell it on. tried_at: when the head has failed last; 0: not since it is the head.
ALTER TABLE parked_sequence ADD COLUMN tried_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX sequence_tried ON parked_sequence (tried_at) WHERE tried_at > 0;
CREATE INDEX parked_ended   ON parked_message (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX act_seq        ON act (seq);
CREATE INDEX act_ended      ON act (ended_at);

-- +goose Down
DROP INDEX act_ended;
DROP INDEX act_seq;
DROP INDEX parked_ended;
DROP INDEX sequence_tried;
ALTER TABLE parked_sequence DROP COLUMN tried_at;
