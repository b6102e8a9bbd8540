//! Every rule of a row, through the real plan: which record breaks it, and what each severity makes
//! of that; then once through a whole run, to the names that the warehouse gives the bits.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use claims_etl::config::{Rules, Settings};
use claims_etl::event::Cancellation;
use claims_etl::extract;
use claims_etl::key::MasterKey;
use claims_etl::privacy::settings::Privacy;
use claims_etl::rule::{CodeSystem, Rule, Severity};
use claims_etl::schema::{Dataset, REJECT};
use claims_etl::transform::{Claims, DateFormats, Directory, Release, RuleSet, provider_rows};
use polars::prelude::{Column, DataFrame};

use crate::support::program::Program;
use crate::support::test_env::{RUN_DATE, TestEnv, succeeded};

const HEADER: &str =
    "claim_id,line_number,patient_id,provider_id,procedure_code,amount,date_of_service";
const GOOD: [&str; 7] = ["C1", "1", "P1", "1234567893", "99213", "10.00", "2024-06-01"];
const PROVIDERS: &str = "provider_id,provider_name,specialty,location\n\
    1234567893,Ann,Cardiology,Boston\n1234567890,Ben,Cardiology,Boston\n";

/// What became of one record: the rule that rejects it, and its findings.
#[derive(Debug, PartialEq)]
struct Fate {
    rejected: Option<Rule>,
    flags: i32,
}

fn rules() -> Rules {
    Rules { run_date: Some(RUN_DATE.into()), ..Rules::default() }
}

fn formats() -> Vec<String> {
    ["%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%Y%m%d", "rfc3339"].map(Into::into).to_vec()
}

fn scan(
    dataset: Dataset,
    text: &str,
    plan: impl Fn(polars::prelude::LazyFrame) -> polars::prelude::LazyFrame,
) -> DataFrame {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("input.csv");
    fs::write(&path, text).expect("written");
    let mut settings = Settings::default();
    let source = match dataset {
        Dataset::Claims => &mut settings.claims,
        Dataset::Providers => &mut settings.providers,
    };
    source.sources = vec![path.display().to_string()];
    let found = extract::extract(dataset, &settings, &Cancellation::default()).expect("found");
    plan(extract::scan(&found).all().expect("reads")).collect().expect("runs")
}

/// Puts records through the first pass.
fn fates(rules: &Rules, records: &[[&str; 7]]) -> Vec<Fate> {
    let mut text = HEADER.to_owned();
    for record in records {
        write!(
            text,
            "\n{}",
            record.map(|field| format!("\"{}\"", field.replace('"', "\"\""))).join(",")
        )
        .expect("text");
    }
    let checks = Arc::new(RuleSet::new(rules, 0).expect("rules"));
    let directory = scan(Dataset::Providers, PROVIDERS, |rows| provider_rows(rows, &checks));
    let policy = claims_etl::rule::OnDuplicate::Last;
    let key = MasterKey::ephemeral().expect("a key");
    let release = Arc::new(Release::new(&Privacy::default(), &key).expect("a release"));
    let directory = Directory::new(&directory, policy, &release).expect("a directory");
    let mut settings = Settings { rules: rules.clone(), ..Settings::default() };
    settings.claims.date_formats = formats();
    let formats = Arc::new(DateFormats::of(&settings).expect("formats"));
    let claims = Claims::new(&directory, &formats, &checks, &release);
    let rows = scan(Dataset::Claims, &(text + "\n"), |records| claims.rows(records));
    assert_eq!(rows.height(), records.len(), "no record is lost");
    let numbers = |name: &str| rows.column(name).and_then(Column::i32).expect("numbers").clone();
    let (reject, flags) = (numbers(REJECT), numbers("dq_flags"));
    let fate = |row| Fate {
        rejected: reject.get(row).map(|code| Rule::from_code(code).expect("a rule")),
        flags: flags.get(row).expect("never null"),
    };
    (0..records.len()).map(fate).collect()
}

fn fate(rules: &Rules, record: [&str; 7]) -> Fate {
    fates(rules, &[record]).remove(0)
}

/// The good record with another text in one field.
fn with(field: usize, text: &'static str) -> [&'static str; 7] {
    let mut record = GOOD;
    record[field] = text;
    record
}

fn system(code_system: CodeSystem) -> Rules {
    Rules { code_system, ..rules() }
}

/// Each configurable rule of the first pass, with a record that breaks it and nothing else.
fn breaking() -> Vec<(Rule, Rules, [&'static str; 7])> {
    vec![
        (Rule::PatientIdPlaceholder, rules(), with(2, " Unknown ")),
        (Rule::PatientIdPlaceholder, rules(), with(2, "#REF!")),
        (Rule::IdentifierScientific, rules(), with(0, "9.87E+11")),
        (Rule::IdentifierScientific, rules(), with(2, "1e5")),
        (Rule::IdentifierDecimal, rules(), with(0, "5001.0")),
        (Rule::IdentifierDecimal, rules(), with(3, "1234567893.0")),
        (Rule::IdentifierDecimal, rules(), with(4, "99213.00")),
        (Rule::IdentifierInvisible, rules(), with(2, "P\u{ad}1\u{a0}")),
        (Rule::IdentifierInvisible, rules(), with(3, "\u{200b}1234567893")),
        (Rule::IdentifierWrapped, rules(), with(4, "=\"99213\"")),
        (Rule::ProviderMissing, rules(), with(3, " ")),
        (Rule::ProviderMissing, rules(), with(3, "<NA>")),
        (Rule::ProviderMissing, rules(), with(3, "(unknown)")),
        (Rule::ProviderNotInDirectory, rules(), with(3, "1245319599")),
        (Rule::NpiInvalid, rules(), with(3, "1234567890")),
        (Rule::ProcedureNotHcpcs, system(CodeSystem::Hcpcs), with(4, "W1234")),
        (Rule::ProcedureNormalized, system(CodeSystem::Hcpcs), with(4, "CPT99213-25")),
        (Rule::ProcedureNotInSystem, system(CodeSystem::Icd9), with(4, "W1234")),
        (Rule::ProcedureNotInSystem, system(CodeSystem::Icd10pcs), with(4, "0DTI4ZZ")),
        (Rule::ProcedureNotInSystem, system(CodeSystem::Snomed), with(4, "43019")),
        (Rule::ProcedureMissing, rules(), with(4, "")),
        (Rule::ProcedureMissing, rules(), with(4, "\\N")),
        (Rule::AmountRounded, rules(), with(5, "10.005")),
        (Rule::AmountNegative, rules(), with(5, "(10.00)")),
        (Rule::AmountZero, rules(), with(5, "0.00")),
        (Rule::AmountOverLimit, rules(), with(5, "1000000.01")),
        (Rule::DateInFuture, rules(), with(6, "2025-01-01")),
    ]
}

#[test]
fn a_good_record_has_no_finding() {
    let good = Fate { rejected: None, flags: 0 };
    assert_eq!(fate(&rules(), GOOD), good);
    assert_eq!(fate(&system(CodeSystem::Hcpcs), GOOD), good);
    // An identifier with an E and a code with a point are what they are, and plain blanks are nothing.
    for (field, text) in [(0, "100571169204E347"), (4, "38.00"), (4, "3E03317"), (2, " P1 ")] {
        assert_eq!(fate(&rules(), with(field, text)), good, "{text}");
    }
    // Nobody looks into codes of any system.
    assert_eq!(fate(&rules(), with(4, "any thing")), good);
}

#[test]
fn each_severity_of_each_rule_does_what_it_says() {
    for (rule, rules, record) in breaking() {
        let name = rule.name();
        for severity in rule.allowed() {
            let mut rules = rules.clone();
            rules.severity.insert(name.into(), severity.name().into());
            let checks = RuleSet::new(&rules, 0).expect("rules");
            let fate = fate(&rules, record);
            let (rejected, found) = match severity {
                Severity::Reject => (Some(rule), true),
                Severity::Flag | Severity::Count => (None, true),
                Severity::Off | Severity::Stop => (None, false),
            };
            // A code that stays wrapped is no HCPCS code.
            let wrapped = rule == Rule::ProcedureNormalized;
            let instead = if wrapped { Rule::ProcedureNotHcpcs.mask() } else { 0 };
            let expected = if found { rule.mask() } else { instead };
            assert_eq!(fate, Fate { rejected, flags: expected }, "{name} {severity}");
            let stored = fate.flags & rule.mask() & checks.severities().mask(Severity::Flag);
            assert_eq!(stored != 0, *severity == Severity::Flag, "{name} {severity}");
        }
        // What the table says where nothing is configured.
        let rejected = (rule.default_severity() == Severity::Reject).then_some(rule);
        assert_eq!(fate(&rules, record).rejected, rejected, "{name}");
    }
}

#[test]
fn old_dates_are_distinguished_from_very_old_ones() {
    let [old, unfiled] = [Rule::DateTooOld, Rule::DateOutsideFilingWindow].map(Rule::mask);
    for (date, flags) in [
        ("2023-12-31", unfiled),
        ("2024-01-01", 0),
        ("2014-12-31", unfiled),
        ("2014-12-30", unfiled | old),
    ] {
        assert_eq!(fate(&rules(), with(6, date)), Fate { rejected: None, flags }, "{date}");
    }
    for (name, date) in
        [("date_too_old", "1968-01-01"), ("date_outside_filing_window", "2023-01-01")]
    {
        let mut rules = rules();
        rules.severity.insert(name.into(), "reject".into());
        assert_eq!(fate(&rules, with(6, date)).rejected, Rule::from_name(name));
        rules.severity.insert(name.into(), "off".into());
        let mask = Rule::from_name(name).map_or(0, Rule::mask);
        assert_eq!(fate(&rules, with(6, date)).flags & mask, 0);
    }
}

#[test]
fn each_rule_without_a_choice_rejects() {
    let overlong = "V".repeat(201);
    let mut long = GOOD;
    long[3] = &overlong;
    for (rule, record) in [
        (Rule::ProviderIdInvalid, with(3, "V\n1")),
        (Rule::ProviderIdInvalid, long),
        (Rule::ProcedureCodeInvalid, with(4, "9\t9")),
        (Rule::ClaimIdMissing, with(0, " \u{a0}")),
        (Rule::ClaimIdPlaceholder, with(0, " nan ")),
        (Rule::ClaimIdPlaceholder, with(0, "=\"#N/A\"")),
        (Rule::LineNumberInvalid, with(1, "-1")),
        (Rule::LineNumberInvalid, with(1, "32768")),
        (Rule::PatientIdMissing, with(2, "")),
        (Rule::AmountMissing, with(5, " ")),
        (Rule::AmountUnparseable, with(5, "1e5")),
        (Rule::AmountOutOfRange, with(5, "10000000000.00")),
        (Rule::DateMissing, with(6, "")),
        (Rule::DateUnparseable, with(6, "2024-02-30")),
        (Rule::DateAmbiguous, with(6, "03/04/2024")),
        (Rule::DateUnparseable, with(6, "1/31/24")),
        (Rule::DateUnparseable, with(6, "01/31/+2024")),
        (Rule::DateBeforeEarliest, with(6, "1899-12-31")),
        (Rule::DateBeforeEarliest, with(6, "00010101")),
    ] {
        assert_eq!(fate(&rules(), record).rejected, Some(rule), "{}", rule.name());
    }
    assert_eq!(fate(&rules(), with(6, "13/04/2024")).rejected, None, "only one format fits");
}

#[test]
fn the_first_broken_rule_that_rejects_counts() {
    let mut rules = rules();
    // From the last to the first, each one beside all before it.
    let broken = ["", "-1", "", "V\n1", "", "", ""];
    let order = [
        (3, Rule::ProviderIdInvalid),
        (0, Rule::ClaimIdMissing),
        (1, Rule::LineNumberInvalid),
        (2, Rule::PatientIdMissing),
        (5, Rule::AmountMissing),
        (6, Rule::DateMissing),
    ];
    let mut record = broken;
    for (field, rule) in order {
        assert_eq!(fate(&rules, record).rejected, Some(rule));
        record[field] = GOOD[field];
    }
    assert_eq!(fate(&rules, record).rejected, None);
    // Configurable rules have their place in the same order.
    rules.severity.insert("procedure_missing".into(), "reject".into());
    rules.severity.insert("date_too_old".into(), "reject".into());
    record[5] = "x";
    record[6] = "1990-01-01";
    assert_eq!(fate(&rules, record).rejected, Some(Rule::ProcedureMissing));
    record[4] = GOOD[4];
    assert_eq!(fate(&rules, record).rejected, Some(Rule::AmountUnparseable));
    record[5] = GOOD[5];
    assert_eq!(fate(&rules, record).rejected, Some(Rule::DateTooOld));
}

#[test]
fn thresholds_hold_at_their_ends() {
    let over = Rule::AmountOverLimit.mask();
    for (amount, flags) in
        [("1000000.00", 0), ("1000000.01", over), ("-1000000.00", 8), ("-1000000.01", 8 | over)]
    {
        assert_eq!(fate(&rules(), with(5, amount)).flags, flags, "{amount}");
    }
    let tight = Rules {
        amount_limit: "9.99".into(),
        future_days: 1,
        filing_days: 30,
        max_age_years: 0,
        ..rules()
    };
    assert_eq!(fate(&tight, with(5, "9.99")).flags & over, 0);
    assert_eq!(fate(&tight, GOOD).flags & over, over);
    assert_eq!(fate(&tight, with(6, "2025-01-01")).rejected, None);
    assert_eq!(fate(&tight, with(6, "2025-01-02")).rejected, Some(Rule::DateInFuture));
    let unfiled = Rule::DateOutsideFilingWindow.mask();
    assert_eq!(fate(&tight, with(6, "2024-12-01")).flags & unfiled, 0);
    assert_eq!(fate(&tight, with(6, "2024-11-30")).flags & unfiled, unfiled);
    assert_eq!(
        fate(&tight, with(6, "2024-12-30")).flags & Rule::DateTooOld.mask(),
        Rule::DateTooOld.mask()
    );
    let none = Rules { patient_placeholders: Vec::new(), ..rules() };
    assert_eq!(fate(&none, with(2, "000")).rejected, None);
    assert_eq!(fate(&none, with(2, "UNKNOWN")).rejected, Some(Rule::PatientIdPlaceholder));
    let none = Rules { placeholders: Vec::new(), ..none };
    assert_eq!(fate(&none, with(2, "UNKNOWN")).rejected, None);
}

#[test]
fn one_bad_record_does_not_touch_its_neighbours() {
    let mut records = vec![GOOD; 100];
    records[3] = with(5, "x");
    records[50] = with(2, "UNKNOWN");
    records[51] = with(3, "");
    records[99] = with(6, "");
    for (row, fate) in fates(&rules(), &records).into_iter().enumerate() {
        let expected = match row {
            3 => Some(Rule::AmountUnparseable),
            50 => Some(Rule::PatientIdPlaceholder),
            99 => Some(Rule::DateMissing),
            _ => None,
        };
        assert_eq!(fate.rejected, expected, "{row}");
        if expected.is_none() {
            assert_eq!(fate.flags, i32::from(row == 51), "{row}");
        }
    }
}

#[test]
fn the_warehouse_names_the_bits() {
    let mut env = TestEnv::new()
        .claims(&[
            "A,P1,1234567890,CPT99213-25,-2000000.00,2024-06-01",
            "B,P2,1234567893,99213,0.00,2023-06-01",
            "C,P3,1234567893,99213,10.00,2024-06-01",
            "D,UNK,1234567893,99213,10.00,2024-06-02",
            "E,P4,1234567893,99213,10.00,2025-06-02",
        ])
        .providers(&["1234567890,Ann,Cardiology,Boston", ",Ben,Cardiology,Boston"]);
    env.settings.rules.code_system = CodeSystem::Hcpcs;
    env.settings.rules.severity.insert("provider_not_in_directory".into(), "count".into());
    let report = env.run();
    succeeded(&report);
    let named = "SELECT array_to_string(healthcare_analytics.dq_flag_names(dq_flags), ' ')
        FROM healthcare_analytics.claims_fact ORDER BY amount";
    let four = "amount_negative npi_invalid procedure_normalized amount_over_limit";
    assert_eq!(env.rows(named), [four, "", ""]);
    let flags = "SELECT concat_ws(' ', rule_id, flag, run_no)
        FROM healthcare_analytics.v_claim_flags ORDER BY 1";
    let expected = [
        "A2 amount_negative 1",
        "A4 amount_over_limit 1",
        "K2 procedure_normalized 1",
        "V2 npi_invalid 1",
    ];
    assert_eq!(env.rows(flags), expected);
    let codes = "SELECT DISTINCT procedure_code FROM healthcare_analytics.v_claims
        WHERE procedure_normalized AND npi_invalid AND NOT date_too_old";
    assert_eq!(env.rows(codes), ["99213"]);
    // What is only counted is in the account and in no row; providers are made up all the same.
    let counted = |name: &str| report.flags.get(name).copied();
    assert_eq!(counted("amount_zero"), Some(1));
    assert_eq!(counted("provider_not_in_directory"), Some(2));
    assert_eq!(counted("date_outside_filing_window"), Some(1));
    assert_eq!(report.providers.inferred, 1);
    let example = |name: &str| {
        let examples = report.reject_examples.get(name).expect("examples");
        examples.iter().map(|example| example.record).collect::<Vec<_>>()
    };
    assert_eq!(example("patient_id_placeholder"), [4]);
    assert_eq!(example("date_in_future"), [5]);
    assert_eq!(report.providers.reject_reasons.get("directory_id_missing"), Some(&1));
    let ledger = "SELECT concat_ws(' ', flags ->> 'amount_zero', provider_reject_reasons,
            reject_examples -> 'date_in_future' -> 0 ->> 'record') FROM claims_etl.runs";
    assert_eq!(env.rows(ledger), ["1 {\"directory_id_missing\": 1} 5"]);

    let table = "SELECT concat_ws('|', bit, id, name, severity, description)
        FROM healthcare_analytics.dq_rules ORDER BY bit";
    let rules = Rule::FLAGS.map(|rule| {
        let severity = rule.default_severity();
        let says = rule.description().replace('`', "");
        format!("{}|{}|{}|{severity}|{says}", rule.mask(), rule.id(), rule.name())
    });
    assert_eq!(env.rows(table), rules);
    let comment = "SELECT col_description('healthcare_analytics.claims_fact'::regclass, attnum)
        FROM pg_attribute WHERE attrelid = 'healthcare_analytics.claims_fact'::regclass
            AND attname = 'dq_flags'";
    let bits = Rule::FLAGS.map(|rule| format!("{} {}", rule.mask(), rule.name()));
    let comment = env.rows(comment).remove(0);
    assert!(comment.ends_with(&format!(": {}.", bits.join(", "))), "{comment}");
    let columns = "SELECT count(*) FROM information_schema.columns
        WHERE table_schema = 'healthcare_analytics' AND table_name = 'v_claims'
            AND column_name IN (SELECT name FROM healthcare_analytics.dq_rules)";
    assert_eq!(env.rows(columns), [Rule::FLAGS.len().to_string()]);
}

#[test]
fn the_documentation_is_what_the_program_says() {
    let printed = Program::new().call("rules --format markdown").done();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules.md");
    let written = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        printed, written,
        "`claims-etl rules --format markdown > docs/rules.md` rewrites it"
    );
}

#[test]
fn the_list_shows_what_is_configured() {
    let program = Program::new();
    program.write(
        "claims-etl.toml",
        "[rules]\namount_limit = \"5.00\"\n[rules.severity]\nnpi_invalid = \"off\"\n\
         [warehouse]\non_duplicate = \"reject\"\n",
    );
    let listed = program.call("rules --format json").json();
    let of = |name: &str| {
        let rules = listed.as_array().expect("a list");
        rules.iter().find(|rule| rule["name"] == name).expect("a rule").clone()
    };
    assert_eq!(
        (of("npi_invalid")["severity"].clone(), of("npi_invalid")["default_severity"].clone()),
        ("off".into(), "flag".into())
    );
    assert_eq!(of("amount_over_limit")["value"], "5.00");
    assert_eq!(of("duplicate_conflict")["severity"], "reject");
    assert_eq!(listed.as_array().map(Vec::len), Some(Rule::ALL.len()));
    let text = program.call("rules").done();
    assert!(text.contains("off (default: flag)"), "{text}");
    program.write("claims-etl.toml", "[rules.severity]\nnpi_invald = \"off\"\n");
    let (code, message) = program.call("rules").refused();
    assert_eq!(code, 2);
    assert!(message.contains("rules.severity.npi_invald: there is no such rule"), "{message}");
    assert!(message.contains("these can be set: "), "{message}");
}
