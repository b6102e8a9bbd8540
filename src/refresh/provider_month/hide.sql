-- Finds the cells of mv_provider_month that must be hidden besides those of few patients, so that
-- none of these can be computed from what is shown and the totals of provider-years and months.
--
-- A line is a provider-year or a month. It is short where it hides exactly one cell, or cells of
-- fewer than @least patients in all, and still shows one: then its total gives something away, and
-- its smallest shown cell is hidden too. A cell is bare where it stands on no rectangle of four
-- hidden cells (two providers, two months): then several totals together could give it away, along
-- a chain of lines, and the cheapest rectangle is hidden. Whatever is left stands on a rectangle,
-- around which claims can be moved without a change of any total, so no total tells it.
-- Lines that show nothing at all have no total that may be published; two of them in a month serve as a
-- rectangle's other side. Every round hides a cell or gives one up, so the rounds end.
DO $hide$
DECLARE
    added bigint;
BEGIN
    CREATE TEMPORARY TABLE cells ON COMMIT DROP AS
    SELECT m.provider_id AS provider, m.service_month AS month,
           extract(year FROM m.service_month)::integer AS year, m.patients,
           m.patients < @least AS hidden, false AS given_up,
           count(*) OVER (PARTITION BY m.provider_id, extract(year FROM m.service_month)) = 1 AS alone
    FROM healthcare_analytics.mv_provider_month m;
    CREATE UNIQUE INDEX cells_by_provider ON pg_temp.cells (provider, year, month);
    CREATE INDEX cells_by_month ON pg_temp.cells (month, patients);
    ANALYZE pg_temp.cells;

    LOOP
        WITH short_years AS (
            SELECT c.provider, c.year FROM pg_temp.cells c GROUP BY c.provider, c.year
            HAVING bool_or(c.hidden) AND NOT bool_and(c.hidden)
               AND (count(*) FILTER (WHERE c.hidden) = 1
                    OR sum(c.patients) FILTER (WHERE c.hidden) < @least)),
        short_months AS (
            SELECT c.month FROM pg_temp.cells c GROUP BY c.month
            HAVING bool_or(c.hidden) AND NOT bool_and(c.hidden)
               AND (count(*) FILTER (WHERE c.hidden) = 1
                    OR sum(c.patients) FILTER (WHERE c.hidden) < @least)),
        further AS (
            (SELECT DISTINCT ON (c.provider, c.year) c.provider, c.month
             FROM pg_temp.cells c JOIN short_years s USING (provider, year)
             WHERE NOT c.hidden ORDER BY c.provider, c.year, c.patients, c.month)
            UNION
            -- A cell that is all of its provider-year would take that total with it.
            (SELECT DISTINCT ON (c.month) c.provider, c.month
             FROM pg_temp.cells c JOIN short_months s USING (month)
             WHERE NOT c.hidden ORDER BY c.month, c.alone, c.patients, c.provider))
        UPDATE pg_temp.cells c SET hidden = true FROM further f
        WHERE c.provider = f.provider AND c.month = f.month;
        GET DIAGNOSTICS added = ROW_COUNT;
        CONTINUE WHEN added > 0;

        -- Lines without a total: all hidden, and short.
        WITH lines AS (
            SELECT c.provider, c.month, c.year, c.patients, c.given_up, c.alone,
                   count(*) OVER y = 1 OR sum(c.patients) OVER y < @least AS in_no_year,
                   count(*) OVER m = 1 OR sum(c.patients) OVER m < @least AS in_no_month
            FROM pg_temp.cells c WHERE c.hidden
            WINDOW y AS (PARTITION BY c.provider, c.year), m AS (PARTITION BY c.month)),
        pairs AS (
            SELECT a.month, b.month AS other FROM lines a
            JOIN lines b ON b.provider = a.provider AND b.year = a.year AND b.month <> a.month
            GROUP BY 1, 2 HAVING count(*) > 1),
        covered AS (
            SELECT DISTINCT l.provider, l.month FROM lines l
            JOIN lines o ON o.provider = l.provider AND o.year = l.year
            JOIN pairs p ON p.month = l.month AND p.other = o.month),
        ends AS (
            SELECT l.month FROM lines l WHERE l.in_no_year GROUP BY 1 HAVING count(*) > 1),
        bare AS (
            SELECT DISTINCT ON (l.month) l.provider, l.month, l.year, l.in_no_year
            FROM lines l
            WHERE NOT l.given_up AND NOT (l.in_no_year AND l.in_no_month)
              AND NOT EXISTS (SELECT FROM covered v
                              WHERE v.provider = l.provider AND v.month = l.month)
              AND NOT (l.in_no_year AND l.month IN (SELECT e.month FROM ends e))
            ORDER BY l.month, l.provider),
        rectangles AS (
            SELECT b.provider, b.month, best.q, best.other FROM bare b
            LEFT JOIN LATERAL (
                SELECT q.provider AS q, o.month AS other,
                       CASE WHEN q.hidden THEN 0 ELSE q.patients END
                       + CASE WHEN o.hidden THEN 0 ELSE o.patients END
                       + CASE WHEN qo.hidden THEN 0 ELSE qo.patients END AS cost
                FROM (SELECT * FROM pg_temp.cells c
                      WHERE c.month = b.month AND c.provider <> b.provider AND NOT c.alone
                      ORDER BY NOT c.hidden, c.patients, c.provider LIMIT 1000) q
                JOIN pg_temp.cells o
                  ON o.provider = b.provider AND o.year = b.year AND o.month <> b.month
                JOIN pg_temp.cells qo
                  ON qo.provider = q.provider AND qo.year = b.year AND qo.month = o.month
                UNION ALL
                SELECT q.provider, q.month, CASE WHEN q.hidden THEN 0 ELSE q.patients END
                FROM pg_temp.cells q
                WHERE b.in_no_year AND q.alone AND q.month = b.month AND q.provider <> b.provider
                ORDER BY cost, q, other LIMIT 1) best ON true),
        chosen AS (
            SELECT r.provider, r.month, r.q IS NULL AS give_up FROM rectangles r
            UNION ALL
            SELECT corner.provider, corner.month, false
            FROM rectangles r
            CROSS JOIN LATERAL (VALUES (r.provider, r.other), (r.q, r.month), (r.q, r.other))
                AS corner(provider, month)
            WHERE r.q IS NOT NULL)
        UPDATE pg_temp.cells c SET hidden = true, given_up = c.given_up OR f.give_up
        FROM (SELECT x.provider, x.month, bool_or(x.give_up) AS give_up FROM chosen x GROUP BY 1, 2) f
        WHERE c.provider = f.provider AND c.month = f.month
          AND (NOT c.hidden OR f.give_up);
        GET DIAGNOSTICS added = ROW_COUNT;
        EXIT WHEN added = 0;
    END LOOP;

    DELETE FROM claims_etl.suppressed_cells;
    INSERT INTO claims_etl.suppressed_cells (provider_id, service_month)
    SELECT c.provider, c.month FROM pg_temp.cells c
    WHERE c.hidden AND c.patients >= @least ORDER BY 1, 2;
    -- Before the end of the transaction: another refresh may follow on this connection.
    DROP TABLE pg_temp.cells;
END $hide$;
