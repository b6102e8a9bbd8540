-- Which keys have made the tokens, without anything that would help to find one; and how the tokens
-- of one key become those of another.

CREATE TABLE claims_etl.keys (
    key_id        text PRIMARY KEY,
    check_value   uuid NOT NULL,
    first_used    timestamptz NOT NULL DEFAULT now(),
    installed_at  timestamptz,
    retired_at    timestamptz,
    replaced_by   text REFERENCES claims_etl.keys
);
CREATE UNIQUE INDEX keys_installed ON claims_etl.keys ((true))
    WHERE installed_at IS NOT NULL AND retired_at IS NULL;
COMMENT ON TABLE claims_etl.keys IS
    'The keys that this warehouse has met. check_value is a one-way value of the key; it tells it from any other key and says nothing about it.';
COMMENT ON COLUMN claims_etl.keys.installed_at IS
    'When a rotation made it the key of all published tokens. Where no key was installed, the key is that of the last published run.';
COMMENT ON COLUMN claims_etl.keys.retired_at IS 'When a rotation ended its use; none of its tokens is published since.';

CREATE TABLE claims_etl.key_rotation (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    old_key         text NOT NULL REFERENCES claims_etl.keys,
    new_key         text NOT NULL REFERENCES claims_etl.keys,
    method          text NOT NULL CHECK (method IN ('files', 'chain', 'reload')),
    has_providers   boolean NOT NULL,
    phase           text NOT NULL DEFAULT 'open' CHECK (phase IN ('open', 'built', 'attached')),
    built_from      text,
    begun_at        timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE claims_etl.key_rotation IS
    'The rotation at work, if there is one. open: tokens are mapped; built: new partitions are made; attached: the tables have the new tokens, the rest is to be cleared away.';
COMMENT ON COLUMN claims_etl.key_rotation.built_from IS
    'What was published when the new partitions were begun; they are made anew when that has changed.';

CREATE TABLE claims_etl.token_map (
    domain  text NOT NULL CHECK (domain IN ('claim', 'patient', 'provider')),
    old     uuid NOT NULL,
    new     uuid,
    PRIMARY KEY (domain, old)
) WITH (fillfactor = 70);
COMMENT ON TABLE claims_etl.token_map IS
    'During a rotation: each token of the old key and that of the new one; new is null as long as it is not known. It joins what is released under the two keys: grant it to nobody who may not see both.';

CREATE TABLE claims_etl.rotation_parts (
    place       integer PRIMARY KEY,
    table_name  text NOT NULL,
    rows        bigint NOT NULL
);
COMMENT ON TABLE claims_etl.rotation_parts IS
    'The partitions with new tokens that are complete, before all of them are attached.';
