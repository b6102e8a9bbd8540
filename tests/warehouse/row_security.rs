//! Row level security that hides rows from the loader: rows that are not seen must never be taken for rows
//! that are not there.

use crate::support::program::{Call, Program};
use crate::support::secure_server::{DATABASE, SecureServer};
use crate::warehouse::roles::{call, with_roles};

const TABLE: &str = "healthcare_analytics.claims_fact";

/// Rows and dollars that are published.
fn published(server: &SecureServer) -> String {
    let query = format!("SELECT concat_ws(' ', count(*), sum(amount)) FROM {TABLE}");
    server.administrator(DATABASE).query_one(&query, &[]).expect("rows").get(0)
}

fn hidden(policy: &str) -> (SecureServer, Program) {
    let server = with_roles();
    let program = Program::with_claims();
    call(&program, &server, "claims_loader", "run").done();
    assert_eq!(published(&server), "2 30.00");
    server.admin(
        DATABASE,
        &format!(
            "ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; {policy}"
        ),
    );
    let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
    program.write("claims.csv", &format!("{header}\nC3,P3,V1,99213,5.00,2024-01-03\n"));
    (server, program)
}

fn is_refused(call: &Call, what: &str) {
    let all = format!("{}{}", call.stdout, call.stderr);
    assert_eq!(call.code, Some(5), "{what}: {all}");
    assert!(all.contains("claims_fact"), "{what}: {all}");
    assert!(
        all.to_lowercase().contains("row level security") || all.contains("row-level security"),
        "{what}: {all}"
    );
    assert!(all.contains("NO FORCE ROW LEVEL SECURITY"), "{what}: {all}");
}

#[test]
fn rows_that_the_loader_does_not_see_are_not_dropped() {
    let mut screens = Vec::new();
    for policy in [
        // No policy for the loader: it sees nothing. One for everybody: it sees a part.
        format!("CREATE POLICY p ON {TABLE} FOR SELECT TO claims_analyst USING (true)"),
        format!("CREATE POLICY p ON {TABLE} USING (amount > 15)"),
    ] {
        let (server, program) = hidden(&policy);
        program.write("next.key", crate::support::process::OTHER_KEY).private("next.key");
        for arguments in [
            "run --retries 2 --retry-delay-secs 60",
            "run --mode append --retries 0",
            "run --mode replace --retries 0",
            "check",
            "verify last",
            "risk rescore",
            "privacy report",
            "key rotate begin --next-key-file next.key",
            "refresh",
            "warehouse migrate",
        ] {
            let call = call(&program, &server, "claims_loader", arguments);
            if arguments == "warehouse migrate" {
                screens.push(call.stderr.clone());
            }
            is_refused(&call, arguments);
            assert_eq!(published(&server), "2 30.00", "{arguments}");
        }
        // The ledger is not hidden.
        call(&program, &server, "claims_loader", "runs").done();

        // Both ways out.
        server.admin(DATABASE, "ALTER ROLE claims_loader BYPASSRLS");
        call(&program, &server, "claims_loader", "check").done();
        server.admin(DATABASE, &format!("ALTER ROLE claims_loader NOBYPASSRLS; ALTER TABLE {TABLE} NO FORCE ROW LEVEL SECURITY"));
        call(&program, &server, "claims_loader", "run").done();
        assert_eq!(published(&server), "3 35.00");
        call(&program, &server, "claims_loader", "verify last").done();
    }
    assert_eq!(screens[0], screens[1]);
    insta::assert_snapshot!(screens[0], @r"
error: row level security hides rows of healthcare_analytics.claims_fact from the role claims_loader; nothing was done
  hint: the role must see every row: `ALTER TABLE … NO FORCE ROW LEVEL SECURITY` lets the owner see all of them and keeps the policies of all others, or a superuser can give the role BYPASSRLS
");
}

#[test]
fn it_is_so_for_every_table_of_the_program() {
    let (server, program) = hidden("");
    server.admin(DATABASE, &format!("ALTER TABLE {TABLE} DISABLE ROW LEVEL SECURITY"));
    let tables = "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'p')
        AND c.relnamespace IN ('claims_etl'::regnamespace, 'healthcare_analytics'::regnamespace)";
    let rows = server.administrator(DATABASE).query(tables, &[]).expect("tables");
    assert!(rows.len() > 15, "{}", rows.len());
    for row in rows {
        let table: String = row.get(0);
        let force = |word| {
            format!(
                "ALTER TABLE {table} {word} ROW LEVEL SECURITY, {}FORCE ROW LEVEL SECURITY",
                if word == "ENABLE" { "" } else { "NO " }
            )
        };
        server.admin(DATABASE, &force("ENABLE"));
        let call = call(&program, &server, "claims_loader", "warehouse migrate");
        assert_eq!(call.code, Some(5), "{table}: {}", call.stderr);
        assert!(call.stderr.contains(&table), "{table}: {}", call.stderr);
        server.admin(DATABASE, &force("DISABLE"));
    }
    // A table that somebody else has put there is nobody's business.
    server.admin(
        DATABASE,
        "SET ROLE claims_loader; CREATE TABLE healthcare_analytics.mine (n integer);
         ALTER TABLE healthcare_analytics.mine ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    );
    call(&program, &server, "claims_loader", "run").done();
}
