-- What may be shown of providers and months.

CREATE TABLE claims_etl.provider_month_hidden (
    provider_id    text NOT NULL,
    service_month  date NOT NULL,
    PRIMARY KEY (provider_id, service_month)
);
COMMENT ON TABLE claims_etl.provider_month_hidden IS
    'Cells of mv_provider_month that v_provider_month_public hides lest a cell of fewer than 11 patients could be computed from the totals of provider-years and months. Written with every refresh of mv_provider_month, in its transaction.';
