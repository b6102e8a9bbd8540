//! What the warehouse says of itself: a comment on everything, the data dictionary, and the queries of the SQL
//! cookbook.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::support::test_env::{TestEnv, succeeded};

const RELATIONS: &str = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('healthcare_analytics', 'claims_etl') AND c.relkind IN ('r', 'p', 'v', 'm')
      AND NOT c.relispartition";

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

fn loaded() -> TestEnv {
    let env =
        TestEnv::new().providers(&["V1,Ann,Cardiology,Boston", "V2,Bob,Oncology,Salem"]).claims(&[
            "C1,P1,V1,99213,10.00,2024-01-01",
            "C2,P1,V1,99213,10.00,2024-01-01",
            "C3,P2,V2,99214,-30.00,2024-02-03",
            "C4,P3,V9,99214,40.00,2024-02-29",
        ]);
    succeeded(&env.run());
    // Another version of a provider, so that both joins differ.
    let env = env
        .providers(&["V1,Ann,Cardiac Surgery,Boston", "V2,Bob,Oncology,Salem"])
        .claims(&["C5,P1,V1,99213,50.00,2024-03-01"]);
    succeeded(&env.run());
    env
}

#[test]
fn every_table_view_and_column_has_a_comment() {
    let env = loaded();
    let missing = format!(
        "SELECT c.oid::regclass::text {RELATIONS} AND obj_description(c.oid) IS NULL
         UNION ALL
         SELECT c.oid::regclass || '.' || a.attname
         FROM (SELECT c.oid {RELATIONS}) c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE col_description(c.oid, a.attnum) IS NULL
         ORDER BY 1"
    );
    assert_eq!(env.rows(&missing), [""; 0]);
}

/// The tables and views with their columns, as Markdown.
fn dictionary(env: &TestEnv) -> String {
    let mut text = String::from(
        "# Data dictionary\n\nThe tables and views of a warehouse under the profile `pseudonymized`, from the comments in \
         the database (`\\d+` in psql shows them). Analysts read the schema `healthcare_analytics`, above all \
         `v_claims`; `claims_etl` holds what the program itself needs.\n",
    );
    let mut client = env.database.connect();
    let relations = client
        .query(
            &format!(
                "SELECT c.oid, n.nspname::text, c.relname::text, obj_description(c.oid),
                        CASE WHEN c.relkind IN ('r', 'p') THEN 'table' ELSE 'view' END {RELATIONS}
                 ORDER BY n.nspname DESC, c.relkind NOT IN ('v', 'm'), c.relname"
            ),
            &[],
        )
        .expect("the relations");
    for relation in relations {
        let (oid, schema, name): (u32, String, String) =
            (relation.get(0), relation.get(1), relation.get(2));
        let (comment, kind): (String, String) = (relation.get(3), relation.get(4));
        let _ = write!(text, "\n## {schema}.{name} ({kind})\n\n{comment}\n\n");
        text += "| column | type | null | holds |\n|---|---|---|---|\n";
        let columns = client
            .query(
                "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull,
                        coalesce(col_description(attrelid, attnum), '')
                 FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped
                 ORDER BY attnum",
                &[&oid],
            )
            .expect("the columns");
        for column in columns {
            let (name, of, not_null): (String, String, bool) =
                (column.get(0), column.get(1), column.get(2));
            let null = if not_null || kind == "view" { "" } else { "yes" };
            let holds = column.get::<_, String>(3).replace('|', "\\|");
            let _ = writeln!(text, "| `{name}` | {of} | {null} | {holds} |");
        }
    }
    text
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of the test, not a setting of the program")]
fn the_data_dictionary_is_that_of_the_warehouse() {
    let (path, written) = (docs("data_dictionary.md"), dictionary(&loaded()));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &written).expect("written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == written,
        "`UPDATE_DOCS=1 just test the_data_dictionary` writes docs/data_dictionary.md"
    );
}

#[test]
fn every_query_of_the_cookbook_answers() {
    let env = loaded();
    let text = fs::read_to_string(docs("sql_cookbook.md")).expect("the cookbook");
    let queries: Vec<&str> = text
        .split("```sql\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```").map(|(query, _)| query))
        .collect();
    assert!(queries.len() >= 8, "{}", queries.len());
    let mut client = env.database.connect();
    for query in queries {
        let rows = client.query(query.trim().trim_end_matches(';'), &[]);
        let rows = rows.unwrap_or_else(|error| panic!("{error:?}\n{query}"));
        assert!(!rows.is_empty(), "{query}");
    }
    // As billed and as of today are not the same.
    let specialties = "SELECT string_agg(DISTINCT v.specialty || ' ' || d.specialty, ',' ORDER BY v.specialty || ' ' || d.specialty)
        FROM healthcare_analytics.v_claims v
        JOIN healthcare_analytics.providers_dim d ON d.provider_id = v.provider_id AND d.is_current
        WHERE v.provider_id = 'V1'";
    assert_eq!(
        env.rows(specialties),
        ["Cardiac Surgery Cardiac Surgery,Cardiology Cardiac Surgery"]
    );
}
