//! What is done to each column, through whole runs whose tables keep all columns: what is published,
//! what the account says of it, that a verification agrees, that the same again is loaded already,
//! and that a merge of it finds nothing changed.

use std::collections::BTreeSet;

use claims_etl::config::{Mode, Settings};
use claims_etl::event::Cancellation;
use claims_etl::extract;
use claims_etl::key::{Domain, MasterKey};
use claims_etl::pipeline::{RunOptions, RunReport, Status};
use claims_etl::privacy::settings::{Action, Level, Privacy};
use claims_etl::rule::OnDuplicate;
use claims_etl::schema::Dataset;
use claims_etl::secret::value::Secret;
use claims_etl::totals::Cents;
use claims_etl::transform::{Directory, Release, RuleSet, provider_rows};
use polars::prelude::Column;

use crate::extract::real_data::data;
use crate::load::verification::equal;
use crate::support::test_env::{TestEnv, succeeded};

/// Two providers of the directory, one that only claims name, none at all; a reversal, a repeat, a
/// record that is rejected with its amount and one without.
const CLAIMS: [&str; 10] = [
    "A,P1,V1,99213,1.25,2024-01-01",
    "B,P2,V1,99213,250.50,2024-05-17",
    "C,P3,V2,J1100,12345.67,2024-02-29",
    "D,P1,V9,99214,-4.51,2024-12-30",
    "E,P5,,99214,0,2024-01-05",
    "F,P6,V2,,99.99,2024-10-06",
    "B,P2,V1,99213,250.50,2024-05-17",
    "G,P7,V1,99213,much,2024-01-07",
    "H,P8,V1,99213,7.77,soon",
    "I,P1,V2,99213,1000.00,2024-01-15",
];
const PROVIDERS: [&str; 3] = [
    "V1,V\u{ed}ctor Noriega,Cardiology,\"ATTLEBORO, MA, 02703\"",
    "V2,\"Ann, Ben and Partners\",general  practice,\"Keene, NH, 3699.0\"",
    "V3,,,SSA-STATE-39",
];
const FACT: &str = "healthcare_analytics.claims_fact";
const DIMENSION: &str = "healthcare_analytics.providers_dim";
const KEY: &str = "5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c0ffee5";

/// An environment with a table `[privacy]`.
fn env(privacy: &str) -> TestEnv {
    let mut env = TestEnv::new().claims(&CLAIMS).providers(&PROVIDERS);
    env.settings.refresh.dashboard.enabled = false;
    env.settings.privacy = toml::from_str::<Privacy>(privacy).expect("settings");
    env.settings.privacy.key = Some(Secret::new(KEY));
    env
}

/// Loads, verifies, loads again in vain, and merges the same again: nothing has changed by it.
fn released(privacy: &str) -> (TestEnv, RunReport) {
    let env = env(privacy);
    let report = env.run();
    succeeded(&report);
    let claims = report.claims;
    assert_eq!((claims.read, claims.loaded, claims.rejected, claims.duplicates), (10, 7, 2, 1));
    // Raw cents: what is rejected is never made coarser.
    assert_eq!(report.amount.rejected, Cents(777));
    assert_eq!(report.amount.unparsed_rows, 1);
    let published = env.rows(&format!("SELECT sum(amount) FROM {FACT}"));
    assert_eq!(published, [report.amount.loaded.to_string()]);
    equal(&env, "last");
    assert_eq!(env.run().status, Status::AlreadyLoaded);
    let again = env.run_with(&RunOptions { force: true, ..RunOptions::default() });
    succeeded(&again);
    assert_eq!((again.claims.unchanged, again.claims.updated, again.claims.inserted), (7, 0, 0));
    assert_eq!(again.amount, report.amount);
    equal(&env, "last");
    (env, report)
}

/// A column of the fact by the token of the claim's id.
fn by_claim(env: &TestEnv, column: &str) -> Vec<String> {
    let key =
        MasterKey::resolve(&env.settings.key_source()).expect("the key").tokenizer(Domain::Claim);
    let value = |id: &str| {
        let token = uuid::Uuid::from_bytes(key.token(id).expect("a token"));
        env.rows(&format!(
            "SELECT {column} FROM healthcare_analytics.v_claims WHERE claim_token = '{token}'"
        ))
        .remove(0)
    };
    ["A", "B", "C", "D", "E", "F", "I"].map(value).to_vec()
}

fn by_provider(env: &TestEnv, column: &str) -> Vec<String> {
    env.rows(&format!(
        "SELECT {column} FROM {DIMENSION} WHERE provider_id ~ '^V' ORDER BY provider_id"
    ))
}

fn token(env: &TestEnv, domain: Domain, text: &str) -> String {
    let key = MasterKey::resolve(&env.settings.key_source()).expect("the key");
    uuid::Uuid::from_bytes(key.tokenizer(domain).token(text).expect("a token")).to_string()
}

#[test]
fn the_default_keeps_what_is_no_identifier() {
    let (env, report) = released("");
    assert_eq!(report.amount.generalized, Cents(0));
    assert_eq!(by_claim(&env, "amount")[..3], ["1.25", "250.50", "12345.67"]);
    assert_eq!(by_claim(&env, "date_of_service")[1], "2024-05-17");
    assert_eq!(by_provider(&env, "location")[0], "ATTLEBORO, MA, 02703");
}

#[test]
fn dates_become_first_days() {
    for (level, days) in [
        ("week", ["2024-01-01", "2024-05-13", "2024-02-26", "2024-12-30"]),
        ("month", ["2024-01-01", "2024-05-01", "2024-02-01", "2024-12-01"]),
        ("quarter", ["2024-01-01", "2024-04-01", "2024-01-01", "2024-10-01"]),
        ("year", ["2024-01-01"; 4]),
    ] {
        let (env, _) = released(&format!("columns.date_of_service = {{ generalize = '{level}' }}"));
        assert_eq!(by_claim(&env, "date_of_service")[..4], days, "{level}");
    }
}

#[test]
fn a_patients_dates_move_together_and_never_beyond_the_run_date() {
    let (env, _) = released("columns.date_of_service = { date_shift = 364 }");
    let moved = |raw: [&str; 7]| {
        let released = by_claim(&env, "date_of_service");
        let days = released.iter().zip(raw).map(|(released, raw)| {
            env.rows(&format!("SELECT date '{released}' - date '{raw}'"))[0].parse().expect("days")
        });
        days.collect::<Vec<i32>>()
    };
    let raw = [
        "2024-01-01",
        "2024-05-17",
        "2024-02-29",
        "2024-12-30",
        "2024-01-05",
        "2024-10-06",
        "2024-01-15",
    ];
    let moved = moved(raw);
    assert!(moved.iter().all(|days| days % 7 == 0 && days.abs() <= 364), "{moved:?}");
    // A, D and I are of one patient; D lies so near the run date that it only moves back.
    assert_eq!(moved[0], moved[6]);
    assert_eq!(moved[3], -moved[0].abs());
    let patients: BTreeSet<i32> = [moved[0], moved[1], moved[2], moved[4], moved[5]].into();
    assert!(patients.len() > 1, "patients move by days of their own: {moved:?}");
    let beyond = format!("SELECT count(*) FROM {FACT} WHERE date_of_service > '2024-12-31'");
    assert_eq!(env.rows(&beyond), ["0"]);
}

#[test]
fn amounts_become_coarser_and_the_totals_show_by_how_much() {
    for (action, amounts, generalized) in [
        (
            "round = '1.00'",
            ["1.00", "250.00", "12346.00", "-5.00", "0.00", "100.00", "1000.00"],
            125 + 2 * 25_050 + 1_234_567 - 451 + 9_999 + 100_000
                - (100 + 2 * 25_000 + 1_234_600 - 500 + 10_000 + 100_000),
        ),
        (
            "bucket = ['0.00', '100.00', '1000.00']",
            ["0.00", "100.00", "1000.00", "0.00", "0.00", "0.00", "1000.00"],
            125 + 2 * 25_050 + 1_234_567 - 451 + 9_999 + 100_000 - (2 * 10_000 + 100_000 + 100_000),
        ),
        (
            "top_code = '200.00'",
            ["1.25", "200.00", "200.00", "-4.51", "0.00", "99.99", "200.00"],
            2 * 5_050 + 1_214_567 + 80_000,
        ),
    ] {
        let (env, report) = released(&format!("columns.amount = {{ {action} }}"));
        assert_eq!(by_claim(&env, "amount"), amounts, "{action}");
        assert_eq!(report.amount.generalized, Cents(generalized), "{action}");
        let ledger = "SELECT amount_generalized FROM claims_etl.runs ORDER BY run_no LIMIT 1";
        assert_eq!(env.rows(ledger), [Cents(generalized).to_string()]);
        let reversals = by_claim(&env, "is_reversal = (amount < 0)");
        assert!(reversals.iter().all(|same| same == "true"), "{action}");
    }
}

#[test]
fn procedure_codes_are_redacted_masked_and_cut() {
    for (action, codes) in [
        ("redact = 'withheld'", ["withheld", "withheld", "null"]),
        ("mask = { first = 2 }", ["99***", "J1***", "null"]),
        ("truncate = 3", ["992", "J11", "null"]),
    ] {
        let (env, _) = released(&format!("columns.procedure_code = {{ {action} }}"));
        let of = by_claim(&env, "procedure_code");
        assert_eq!([&of[0], &of[2], &of[5]], codes, "{action}");
    }
}

#[test]
fn provider_ids_become_tokens_in_both_tables() {
    let (env, report) = released("columns.provider_id = 'token'");
    assert_eq!(report.providers.inferred, 1);
    let tokens = ["V1", "V2", "V9"].map(|id| token(&env, Domain::Provider, id));
    let of = by_claim(&env, "provider_id");
    assert_eq!([&of[0], &of[2], &of[3]], [&tokens[0], &tokens[1], &tokens[2]]);
    assert_eq!(of[4], "(unknown)");
    let raw = format!("SELECT count(*) FROM {DIMENSION} WHERE provider_id LIKE 'V%'");
    assert_eq!(env.rows(&raw), ["0"]);
    let known =
        format!("SELECT is_placeholder FROM {DIMENSION} WHERE provider_id = '{}'", tokens[0]);
    assert_eq!(env.rows(&known), ["false"]);
    let inferred =
        format!("SELECT is_placeholder FROM {DIMENSION} WHERE provider_id = '{}'", tokens[2]);
    assert_eq!(env.rows(&inferred), ["true"]);
    // The claim still knows what the directory says of its provider.
    assert_eq!(by_claim(&env, "specialty")[0], "Cardiology");
}

#[test]
fn names_and_specialties_are_released_as_documented() {
    for (columns, name, specialty) in [
        (
            "provider_name = { mask = { first = 1, last = 2 } }\nspecialty = { truncate = 4 }",
            "V***********ga",
            "Card",
        ),
        (
            "provider_name = { redact = '(withheld)' }\nspecialty = { redact = 'any' }",
            "(withheld)",
            "any",
        ),
        ("provider_name = { truncate = 2 }\nspecialty = { mask = {} }", "V\u{ed}", "**********"),
    ] {
        let (env, _) = released(&format!("[columns]\n{columns}"));
        let names = by_provider(&env, "provider_name");
        assert_eq!((names[0].as_str(), names[2].as_str()), (name, "null"));
        assert_eq!(by_provider(&env, "specialty")[0], specialty);
        assert_eq!(by_claim(&env, "specialty")[0], specialty);
    }
    let (env, _) = released("[columns]\nprovider_name = 'token'\nspecialty = 'token'");
    let name = token(&env, Domain::ProviderName, "V\u{ed}ctor Noriega");
    assert_eq!(by_provider(&env, "provider_name")[0], name);
    let specialty = token(&env, Domain::Specialty, "GENERAL PRACTICE");
    assert_eq!(by_provider(&env, "specialty")[1], specialty);
    assert_eq!(by_claim(&env, "specialty")[2], specialty);
}

#[test]
fn locations_become_states_or_three_digits() {
    let (env, _) = released("columns.location = { generalize = 'state' }");
    assert_eq!(by_provider(&env, "location")[..3], ["MA", "NH", "SSA-STATE-39"]);
    assert_eq!(by_claim(&env, "location")[0], "MA");
    let (env, _) = released("columns.location = { generalize = 'zip3' }");
    assert_eq!(by_provider(&env, "location")[..3], ["027", "000", "null"]);
    let (env, _) = released("columns.location = 'token'");
    assert_eq!(by_provider(&env, "location")[2], token(&env, Domain::Location, "SSA-STATE-39"));
    let list = env.write("restricted.txt", "# none but this", &["027"]);
    let privacy =
        format!("zip3_restricted = '{list}'\ncolumns.location = {{ generalize = 'zip3' }}");
    let (env, _) = released(&privacy);
    assert_eq!(by_provider(&env, "location")[..3], ["000", "036", "null"]);
}

#[test]
fn all_actions_at_once_balance_and_a_changed_claim_is_found() {
    let privacy = "[columns]
        provider_id = 'token'
        provider_name = { mask = { first = 1 } }
        specialty = 'token'
        location = { generalize = 'state' }
        procedure_code = { truncate = 3 }
        amount = { round = '10.00' }
        date_of_service = { generalize = 'month' }";
    let (env, _) = released(privacy);
    // A cent more is the same after rounding, another month is not.
    let mut claims = CLAIMS.map(ToOwned::to_owned);
    claims[0] = "A,P1,V1,99213,1.26,2024-01-31".into();
    claims[2] = "C,P3,V2,J1100,12345.67,2024-03-01".into();
    let claims: Vec<&str> = claims.iter().map(String::as_str).collect();
    let mut env = env.claims(&claims);
    env.settings.warehouse.mode = Mode::Merge;
    let report = env.run();
    succeeded(&report);
    assert_eq!((report.claims.updated, report.claims.unchanged), (1, 6));
    equal(&env, "last");
}

#[test]
fn repeated_contents_are_not_looked_for_where_contents_are_not_exact() {
    let twice = ["A,P1,V1,99213,1.25,2024-01-01", "B,P1,V1,99213,1.25,2024-01-01"];
    let twins = |privacy: &str| {
        let env = env(privacy).claims(&twice);
        let report = env.run();
        succeeded(&report);
        report.flags.get("content_repeated").copied()
    };
    let exact = twins("");
    assert!(exact.is_some(), "else the test says nothing");
    assert_eq!(twins("columns.date_of_service = { date_shift = 30 }"), exact);
    for coarse in [
        "columns.date_of_service = { generalize = 'week' }",
        "columns.amount = { round = '1.00' }",
        "columns.procedure_code = { truncate = 4 }",
    ] {
        assert_eq!(twins(coarse), None, "{coarse}");
    }
}

/// Raw and released locations of a real directory, when it is there.
fn locations(name: &str, level: Level) -> Option<Vec<(String, Option<String>)>> {
    let mut settings = Settings::default();
    settings.providers.sources = vec![data(name)?.join("providers.csv").display().to_string()];
    let found = extract::extract(Dataset::Providers, &settings, &Cancellation::default());
    let checks = RuleSet::new(&settings.rules, 0).expect("rules");
    let rows = extract::scan(&found.expect("found")).all().expect("reads");
    let rows = provider_rows(rows, &checks);
    let rows = rows.collect().expect("runs");
    let of = |action: Action| {
        let privacy =
            Privacy { columns: [("location".to_owned(), action)].into(), ..Privacy::default() };
        let release = Release::new(&privacy, &MasterKey::ephemeral().expect("a key"));
        let release = release.expect("a release");
        let directory = Directory::new(&rows, OnDuplicate::Last, &release).expect("a directory");
        let texts = directory.frame().column("location").and_then(Column::str).expect("texts");
        texts.iter().map(|text| text.map(ToOwned::to_owned)).collect::<Vec<_>>()
    };
    let raw = of(Action::Keep).into_iter().map(|text| text.expect("each has one"));
    Some(raw.zip(of(Action::Generalize(level))).collect())
}

#[test]
fn every_real_location_has_a_state() {
    for (name, providers, states) in
        [("synthea", 166, 1), ("surakanti", 100, 42), ("desynpuf", 2_764, 55)]
    {
        let Some(locations) = locations(name, Level::State) else { continue };
        assert_eq!(locations.len(), providers, "{name}");
        let of: BTreeSet<&str> =
            locations.iter().map(|(raw, state)| state.as_deref().expect(raw)).collect();
        assert_eq!(of.len(), states, "{name}: {of:?}");
        let known = |state: &&str| state.len() == 2 || state.starts_with("SSA-STATE-");
        assert!(of.iter().all(known), "{name}: {of:?}");
    }
}

#[test]
fn every_real_zip_code_gives_its_prefix() {
    let Some(synthea) = locations("synthea", Level::Zip3) else { return };
    // Massachusetts has 010 to 027, none of them restricted.
    for (raw, zip3) in &synthea {
        let zip3 = zip3.as_deref().expect(raw);
        assert!(("010"..="027").contains(&zip3), "{raw}: {zip3}");
    }
    let last = |raw: &str| raw.rsplit(", ").next().unwrap_or_default().to_owned();
    let mut damaged: Vec<(String, &str)> = synthea
        .iter()
        .map(|(raw, zip3)| (last(raw), zip3.as_deref().unwrap_or_default()))
        .filter(|(zip, _)| zip.len() == 4)
        .collect();
    damaged.sort_unstable();
    let expected = [
        ("1060", "010"),
        ("1301", "013"),
        ("1605", "016"),
        ("1850", "018"),
        ("2150", "021"),
        ("2155", "021"),
        ("2184", "021"),
        ("2301", "023"),
        ("2453", "024"),
        ("2645", "026"),
        ("2760", "027"),
        ("2767", "027"),
    ];
    assert_eq!(damaged, expected.map(|(zip, zip3)| (zip.to_owned(), zip3)));
    let Some(surakanti) = locations("surakanti", Level::Zip3) else { return };
    assert!(surakanti.iter().all(|(_, zip3)| zip3.is_some()));
    // 036, 556 and 753 are among them.
    let restricted = surakanti.iter().filter(|(_, zip3)| zip3.as_deref() == Some("000"));
    assert_eq!(restricted.count(), 3);
    let Some(desynpuf) = locations("desynpuf", Level::Zip3) else { return };
    assert!(desynpuf.iter().all(|(_, zip3)| zip3.is_none()), "there are no ZIP codes");
}
