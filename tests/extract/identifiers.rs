//! Identifiers as exports damage them, through a whole run: one person stays one, and what names nobody becomes nobody.

use claims_etl::commands::verify::recompute;
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::key::{Domain, MasterKey};
use claims_etl::pipeline::{RunSelector, VerifyOptions};

use crate::support::program::{Call, KEY, Program};
use crate::support::test_env::{TestEnv, succeeded};

const PROVIDERS: [&str; 2] = ["1234567893,Ann,Cardiology,Boston", "PRV-01,Lake,Cardiology,Mobile"];

/// What exports make of `5001`.
const DAMAGED: [&str; 9] = [
    "5001",
    " 5001\t",
    "5001.0",
    "5001.000",
    "\"=\"\"5001\"\"\"",
    "'5001",
    "\u{feff}5001",
    "50\u{ad}01\u{200e}",
    "\u{a0}5001\u{3000}",
];

#[test]
fn one_patient_and_one_claim_stay_one_however_they_are_written() {
    let by_patient = DAMAGED.iter().enumerate();
    let mut rows: Vec<String> = by_patient
        .map(|(row, id)| format!("A{row},{id},PRV-01,99213,1.00,2024-01-{:02}", row + 1))
        .collect();
    rows.extend(DAMAGED.iter().map(|id| format!("{id},P1,PRV-01,99213,2.00,2024-02-01")));
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let env = TestEnv::new().claims(&rows).providers(&PROVIDERS);
    let report = env.run();
    succeeded(&report);
    assert_eq!((report.claims.loaded, report.claims.duplicates), (10, 8));
    assert_eq!(report.claims.conflicts, 0, "what was mended is no other content");
    let tokens = "SELECT count(DISTINCT patient_token) || ' ' || count(DISTINCT claim_token)
        FROM healthcare_analytics.claims_fact";
    assert_eq!(env.rows(tokens), ["2 10"]);
    // Whoever makes tokens elsewhere finds the patient and the claim.
    let key = MasterKey::resolve(&env.settings.key_source()).expect("a key");
    for (domain, column, rows) in
        [(Domain::Patient, "patient_token", "9"), (Domain::Claim, "claim_token", "1")]
    {
        let token = key.tokenizer(domain).token("5001").map(uuid::Uuid::from_bytes);
        let found = format!(
            "SELECT count(*) FROM healthcare_analytics.claims_fact WHERE {column} = '{}'",
            token.expect("a token")
        );
        assert_eq!(env.rows(&found), [rows]);
    }
    let flags = "SELECT concat_ws(' ', date_of_service, identifier_decimal, identifier_invisible)
        FROM healthcare_analytics.v_claims WHERE identifier_decimal OR identifier_invisible ORDER BY 1";
    let expected = [
        "2024-01-03 t f",
        "2024-01-04 t f",
        "2024-01-07 f t",
        "2024-01-08 f t",
        "2024-01-09 f t",
        "2024-02-01 f t",
    ];
    assert_eq!(env.rows(flags), expected);
    assert_eq!(report.flags.get("identifier_wrapped"), Some(&2));
    let never = Cancellation::default();
    let verified = recompute::verify(
        &env.settings,
        VerifyOptions::default(),
        RunSelector::Last,
        &NullObserver,
        &never,
    );
    assert!(verified.expect("verified").equal);
}

#[test]
fn an_identifier_from_a_template_is_judged_by_its_parts() {
    let columns =
        "claim,adjustment,patient_id,network,provider,procedure_code,amount,date_of_service";
    let toml = "[claims.columns]\nclaim_id = \"{claim}-{adjustment}\"\n\
                provider_id = \"{network}-{provider}\"\n\
                [providers.columns]\nprovider_id = \"{network}-{provider}\"\n";
    let configured: claims_etl::config::Settings = toml::from_str(toml).expect("a configuration");
    let mut env = TestEnv::new();
    let claims = [
        "5001,1,P1,N,1,99213,1.00,2024-01-01",
        "5001.0,1,P1,N,1.0,99213,1.00,2024-01-01",
        "5001.0,2,P1,N,1,99213,1.00,2024-01-02",
        "NULL,1,P1,N,1,99213,1.00,2024-01-03",
        "5001,#N/A,P1,N,1,99213,1.00,2024-01-04",
        "5.001E+3,1,P1,N,1,99213,1.00,2024-01-05",
        "5002,1,P1,N,nan,99213,1.00,2024-01-06",
    ];
    env.settings.claims.sources = vec![env.write("lines.csv", columns, &claims)];
    let directory = "network,provider,provider_name,specialty,location";
    let providers = ["N,1.0,Ann,Cardiology,Boston", "N,nan,Lake,Cardiology,Mobile", "N,2E+9,Roe,,"];
    env.settings.providers.sources = vec![env.write("names.csv", directory, &providers)];
    env.settings.claims.columns = configured.claims.columns;
    env.settings.providers.columns = configured.providers.columns;
    let report = env.run();
    succeeded(&report);
    assert_eq!(
        (report.claims.loaded, report.claims.duplicates, report.claims.conflicts),
        (3, 1, 0)
    );
    let reasons = &report.reject_reasons;
    let of = |rule: &str| reasons.get(rule).copied().unwrap_or_default();
    assert_eq!(of("claim_id_missing"), 2, "{reasons:?}");
    assert_eq!(of("identifier_scientific"), 1, "{reasons:?}");
    assert_eq!((report.providers.loaded, report.providers.rejected), (1, 2));
    let rows = "SELECT concat_ws(' ', date_of_service, provider_id, identifier_decimal)
        FROM healthcare_analytics.v_claims ORDER BY 1";
    let expected = ["2024-01-01 N-1 t", "2024-01-02 N-1 t", "2024-01-06 (unknown) f"];
    assert_eq!(env.rows(rows), expected);
    // Whoever makes tokens elsewhere finds the claim.
    let key = MasterKey::resolve(&env.settings.key_source()).expect("a key");
    let token = key.tokenizer(Domain::Claim).token("5001-2").map(uuid::Uuid::from_bytes);
    let found = format!(
        "SELECT count(*) FROM healthcare_analytics.claims_fact WHERE claim_token = '{}'",
        token.expect("a token")
    );
    assert_eq!(env.rows(&found), ["1"]);
}

#[test]
fn identifiers_with_lost_digits_are_rejected_and_others_with_an_e_are_not() {
    let env = TestEnv::new()
        .claims(&[
            "9.87E+11,P1,PRV-01,99213,1.00,2024-01-01",
            "A2,1e5,PRV-01,99213,1.00,2024-01-01",
            "A3,P1,1.234567893E9,99213,1.00,2024-01-01",
            "A4,P1,PRV-01,9.9213E+04,1.00,2024-01-01",
            "A5,900000000000000001.0,PRV-01,99213,1.00,2024-01-01",
            "100571169204E347,100571169204E347,PRV-01,3E03317,1.00,2024-01-01",
        ])
        .providers(&PROVIDERS);
    let report = env.run();
    succeeded(&report);
    assert_eq!(report.reject_reasons.get("identifier_scientific"), Some(&5));
    assert_eq!((report.claims.loaded, report.claims.rejected), (1, 5));
    let codes = "SELECT procedure_code FROM healthcare_analytics.claims_fact";
    assert_eq!(env.rows(codes), ["3E03317"]);
}

#[test]
fn a_placeholder_is_no_patient_no_claim_no_provider_and_no_code() {
    let words = ["NULL", "\\N", "nan", "None", "<NA>", "#N/A", "(null)", ".", "#REF!", "-", "NaT"];
    let groups: [fn(&str, usize) -> String; 4] = [
        |word, row| format!("A{row},P{row},\"{word}\",99213,1.00,2024-01-05"),
        |word, row| format!("B{row},\"{word}\",PRV-01,99213,1.00,2024-01-05"),
        |word, row| format!("C{row},P{row},PRV-01,\"{word}\",1.00,2024-01-06"),
        |word, row| format!("\"{word}\",P{row},PRV-01,99213,1.00,2024-01-05"),
    ];
    let rows = groups
        .iter()
        .flat_map(|group| words.iter().enumerate().map(|(row, word)| group(word, row)));
    let rows: Vec<String> = rows.collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let env = TestEnv::new().claims(&rows).providers(&PROVIDERS);
    let report = env.run();
    succeeded(&report);
    let count = words.len() as u64;
    assert_eq!(report.claims.loaded, 2 * count);
    assert_eq!(
        report.reject_reasons,
        [("claim_id_placeholder".into(), count), ("patient_id_placeholder".into(), count)].into()
    );
    assert_eq!(report.flags.get("provider_missing"), Some(&count));
    assert_eq!(report.flags.get("procedure_missing"), Some(&count));
    assert_eq!(report.providers.inferred, 0);
    let providers = "SELECT provider_id FROM healthcare_analytics.providers_dim ORDER BY 1";
    assert_eq!(env.rows(providers), ["(unknown)", "1234567893", "PRV-01"]);
    let codes = "SELECT DISTINCT procedure_code FROM healthcare_analytics.claims_fact ORDER BY 1";
    assert_eq!(env.rows(codes), ["99213", "null"]);
}

#[test]
fn the_ids_of_a_directory_are_treated_as_those_of_claims() {
    let env = TestEnv::new()
        .claims(&[
            "A1,P1,1234567893,99213,1.00,2024-01-01",
            "A2,P2,1234567893.0,99213,1.00,2024-01-02",
            "A3,P3,\"=\"\"PRV-01\"\"\",99213,1.00,2024-01-03",
            "A4,P4,\u{200b}PRV-01,99213,1.00,2024-01-04",
        ])
        .providers(&[
            "1234567893.0,Ann,Cardiology,Boston",
            "\u{feff}PRV-01\u{a0},Lake,Cardiology,Mobile",
            "nan,Nobody,Cardiology,Mobile",
            "#N/A,Nobody,Cardiology,Mobile",
            "1.2E+09,Lost,Cardiology,Mobile",
        ]);
    let report = env.run();
    succeeded(&report);
    assert_eq!(
        report.providers.reject_reasons,
        [("directory_id_placeholder".into(), 2), ("identifier_scientific".into(), 1)].into()
    );
    assert_eq!((report.providers.loaded, report.providers.inferred), (2, 0));
    let joined = "SELECT concat_ws(' ', provider_id, provider_name, count(*))
        FROM healthcare_analytics.v_claims GROUP BY provider_id, provider_name ORDER BY 1";
    assert_eq!(env.rows(joined), ["1234567893 Ann 2", "PRV-01 Lake 2"]);
}

#[test]
fn nobody_can_name_the_unknown_provider() {
    let env = TestEnv::new()
        .claims(&[
            "A1,P1,(unknown),99213,1.00,2024-01-01",
            "A2,P2,,99213,1.00,2024-01-02",
            "A3,P3,(UNKNOWN),99213,1.00,2024-01-03",
        ])
        .providers(&["(unknown),Mallory,Cardiology,Boston", "PRV-01,Lake,Cardiology,Mobile"]);
    let report = env.run();
    succeeded(&report);
    assert_eq!(report.providers.reject_reasons, [("directory_id_placeholder".into(), 1)].into());
    assert_eq!(report.flags.get("provider_missing"), Some(&3));
    let providers = "SELECT concat_ws('|', provider_id, provider_name)
        FROM healthcare_analytics.providers_dim ORDER BY 1";
    assert_eq!(env.rows(providers), ["(unknown)|Unknown provider", "PRV-01|Lake"]);
    let claims = "SELECT concat_ws(' ', provider_id, count(*), bool_and(provider_missing))
        FROM healthcare_analytics.v_claims GROUP BY provider_id";
    assert_eq!(env.rows(claims), ["(unknown) 3 t"]);
}

#[test]
fn a_flag_that_a_run_does_not_store_is_null_and_not_false() {
    let rows = [
        "A1,P1,PRV-01,99213,0.00,2023-01-01",
        "A2,P2,PRV-01,99213,1.00,2024-06-01",
        "A3,P3,,99213,1.00,2024-06-02",
    ];
    let mut env = TestEnv::new().claims(&rows).providers(&PROVIDERS);
    let report = env.run();
    succeeded(&report);
    assert_eq!(report.flags.get("amount_zero"), Some(&1));
    let flags = "SELECT concat_ws(' ', date_of_service, coalesce(amount_zero::text, '?'),
            coalesce(date_outside_filing_window::text, '?'), coalesce(reversal_pair::text, '?'),
            coalesce(provider_missing::text, '?'), coalesce(amount_negative::text, '?'))
        FROM healthcare_analytics.v_claims ORDER BY 1";
    let expected = [
        "2023-01-01 ? ? ? false false",
        "2024-06-01 ? ? ? false false",
        "2024-06-02 ? ? ? true false",
    ];
    assert_eq!(env.rows(flags), expected);
    // A run that flags answers for the rows that it has written, and for no others.
    for (rule, severity) in [("amount_zero", "flag"), ("provider_missing", "off")] {
        env.settings.rules.severity.insert(rule.into(), severity.into());
    }
    let env =
        env.claims(&[rows[0], "A4,P4,,99213,0.00,2024-06-03", "A5,P5,PRV-01,1,2.00,2024-06-04"]);
    succeeded(&env.run());
    let expected = [
        "2023-01-01 true ? ? ? false",
        "2024-06-01 ? ? ? false false",
        "2024-06-02 ? ? ? true false",
        "2024-06-03 true ? ? ? false",
        "2024-06-04 false ? ? ? false",
    ];
    assert_eq!(env.rows(flags), expected);
    let comment = "SELECT obj_description('healthcare_analytics.v_claims'::regclass)";
    assert!(env.rows(comment)[0].contains("A flag is null where the run"));
}

#[test]
fn check_names_damaged_identifiers_with_counts_and_without_a_value() {
    let program = Program::new();
    program.write(
        "claims.csv",
        "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service\n\
         C1,nan,4711.0,99213,10.00,2024-01-01\nC2,NULL,NULL,99213,10.00,2024-01-02\n\
         C3,4712.0,4711,\"=\"\"99213\"\"\",10.00,2024-01-03\nC4,4.7E+11,\u{200b}4711,99213,10.00,2024-01-04\n",
    );
    let call = program.call("inspect claims.csv --max-reject-ratio 1");
    let screen = call.done();
    for line in [
        "damaged: patient_id 2 placeholders, 1 in scientific form, 1 with .0;",
        "patient_id_placeholder",
        "identifier_scientific",
    ] {
        assert!(screen.contains(line), "{line}\n{screen}");
    }
    assert!(!screen.contains("471") && !screen.contains("NULL"), "{screen}");
    let json = program.call("inspect claims.csv --max-reject-ratio 1 --format json").json();
    let of = |column: &str| {
        let columns = json[0]["columns"].as_array().expect("columns");
        columns.iter().find(|one| one["column"] == column).expect("a column")["damaged"].clone()
    };
    let damaged = |placeholders, scientific, decimal, invisible, wrapped| {
        serde_json::json!({
            "placeholders": placeholders, "scientific": scientific, "decimal": decimal,
            "invisible": invisible, "wrapped": wrapped,
        })
    };
    assert_eq!(of("claim_id"), serde_json::Value::Null);
    assert_eq!(of("patient_id"), damaged(2, 1, 1, 0, 0));
    assert_eq!(of("provider_id"), damaged(1, 0, 1, 1, 0));
    assert_eq!(of("procedure_code"), damaged(0, 0, 0, 0, 1));
}

#[test]
fn the_command_token_takes_identifiers_as_a_run_does() {
    let program = Program::new();
    program.write("k", KEY).private("k");
    program.write("ids.txt", "5001\n=\"5001\"\n5001.0\n\u{feff}5001\u{a0}\n\nnan\n9.87E+11\n000\n");
    let token = |domain: &str| {
        let mut command = program.command(&format!("token --domain {domain} --key-file k"));
        command.pipe_stdin(program.path().join("ids.txt")).expect("a file");
        let call = Call::of(&mut command);
        let warned = call.stderr.clone();
        let lines: Vec<String> = call.done().lines().map(ToOwned::to_owned).collect();
        (lines, warned)
    };
    let (claims, warned) = token("claim");
    assert_eq!(claims.len(), 8);
    assert!(!claims[0].is_empty() && claims[..4].iter().all(|token| *token == claims[0]));
    assert_eq!(claims[4..7], ["", "", ""]);
    assert!(!claims[7].is_empty(), "zeros may be a claim");
    assert!(warned.contains("2 identifiers have no token"), "{warned}");
    assert!(!warned.contains("nan") && !warned.contains("9.87"), "{warned}");
    assert_eq!(token("patient").0[7], "", "zeros are no patient");
}
