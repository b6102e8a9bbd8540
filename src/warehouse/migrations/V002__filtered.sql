-- Records of a source that are no claims, such as the payments among the transactions of a claim.

ALTER TABLE claims_etl.runs ADD COLUMN claims_filtered bigint;
COMMENT ON COLUMN claims_etl.runs.claims_filtered IS
    'Records of the claims'' sources that claims.where says are no claims; in no other count. Null: the run is of an earlier version.';
