//! Accounting as a property: whatever a file holds, every record and cent of it is in exactly one
//! class, and the fact table holds exactly the rows that an independent reading of the rules says.
//!
//! Only the canonical form of identifiers is the program's own; it has properties of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use claims_etl::config::{Mode, Settings};
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::identifier::{self, Damage, Kind};
use claims_etl::key::{Domain, MasterKey, Tokenizer};
use claims_etl::pipeline::{self, RunOptions, RunReport};
use claims_etl::rule::OnDuplicate;
use claims_etl::secret::value::Secret;
use claims_etl::totals::{Cents, Reversals};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

use crate::support::process::KEY;
use crate::support::test_env::{RUN_DATE, TestEnv, succeeded};

/// What an amount's text stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Money {
    Missing,
    Unparseable,
    OutOfRange,
    Cents { cents: i128, rounded: bool },
}

/// A record: texts, and beside them what they stand for.
#[derive(Debug, Clone)]
struct Row {
    claim: String,
    patient: String,
    provider: String,
    procedure: String,
    line: (String, Option<i16>),
    amount: (String, Money),
    date: (String, Option<String>),
}

/// A loaded row apart from its key: patient, provider, procedure, cents, date, rounded, whether
/// another claim says the same, and the flags of what was mended of its identifiers.
type Content = (String, Option<String>, Option<String>, i128, String, bool, bool, i32);
type Loaded = BTreeMap<(String, i16), Content>;

/// What must become of a file.
#[derive(Debug, Default, PartialEq)]
struct Books {
    reasons: BTreeMap<String, u64>,
    rejected: i128,
    unparsed: u64,
    duplicates: (u64, i128),
    conflicts: (u64, i128),
    reversals: Reversals,
    loaded: Loaded,
}

/// Texts that CSV, Unicode and Postgres have trouble with.
fn nasty() -> impl Strategy<Value = String> {
    let trouble = "\",\n\r\0\t \u{a0}\u{feff}\u{301}e'\\;|\u{ed}$#-";
    let character = prop_oneof![
        3 => prop::char::range(' ', '~'),
        3 => select(trouble.chars().collect::<Vec<_>>()),
        1 => any::<char>(),
    ];
    vec(character, 0..12).prop_map(|characters| characters.into_iter().collect())
}

/// A few ids that come again in several spellings, blanks, and anything else.
fn id(known: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(known).prop_map(str::to_owned),
        1 => select(vec!["", " ", "\t\u{a0}"]).prop_map(str::to_owned),
        3 => nasty(),
    ]
}

fn junk() -> impl Strategy<Value = String> {
    nasty().prop_map(|text| format!("x{text}"))
}

fn amount() -> impl Strategy<Value = (String, Money)> {
    let spelt = (0_i128..=999_999_999_999, 0..=9_i128, any::<bool>(), 0..6).prop_map(
        |(size, third, negative, notation)| {
            // Small amounts too: every second one.
            let size = if size % 2 == 0 { size / 10_000_000 } else { size };
            let (dollars, rest) = (size / 100, size % 100);
            let sign = if negative { "-" } else { "" };
            let signed = |cents: i128| if negative { -cents } else { cents };
            let exact = Money::Cents { cents: signed(size), rounded: false };
            match notation {
                0 => (format!("{sign}{dollars}.{rest:02}"), exact),
                1 => (format!(" {sign}{dollars}.{rest:02}00\t"), exact),
                2 => (format!("{sign}${}.{rest:02}", grouped(dollars)), exact),
                3 if negative => (format!("({dollars}.{rest:02})"), exact),
                4 => (
                    format!("{sign}{dollars}"),
                    Money::Cents { cents: signed(dollars * 100), rounded: false },
                ),
                // Half to even; the largest amount stays in range by one digit less.
                _ => {
                    let (dollars, size) = (dollars / 10, dollars / 10 * 100 + rest);
                    let up = third > 5 || (third == 5 && size % 2 == 1);
                    let cents = signed(size + i128::from(up));
                    (
                        format!("{sign}{dollars}.{rest:02}{third}"),
                        Money::Cents { cents, rounded: third != 0 },
                    )
                }
            }
        },
    );
    prop_oneof![
        10 => spelt,
        1 => select(vec!["", " "]).prop_map(|text| (text.to_owned(), Money::Missing)),
        1 => junk().prop_map(|text| (text, Money::Unparseable)),
        1 => select(vec!["1e5", "NaN", "1,2,3", "--1", "\u{661}", "1\0", "."])
            .prop_map(|text| (text.to_owned(), Money::Unparseable)),
        1 => (10_000_000_000_i128..i128::MAX).prop_map(|n| (n.to_string(), Money::OutOfRange)),
    ]
}

fn grouped(dollars: i128) -> String {
    let digits = dollars.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn date() -> impl Strategy<Value = (String, Option<String>)> {
    let spelt = (1900..2100_i32, 1..=12, 1..=28, 0..5).prop_map(|(y, m, d, format)| {
        let iso = format!("{y:04}-{m:02}-{d:02}");
        let text = match format {
            0 => format!("{y:04}{m:02}{d:02}"),
            1 => format!("{m:02}/{d:02}/{y:04}"),
            2 => format!("{iso}T23:59:59.5-11:00"),
            3 => format!("  {iso} 00:00:00 "),
            _ => iso.clone(),
        };
        (text, Some(iso))
    });
    let wrong = select(vec!["", " ", "2023-02-29", "13/01/2024", "2024-1-1", "0000-01-01"]);
    prop_oneof![
        10 => spelt,
        1 => wrong.prop_map(|text| (text.to_owned(), None)),
        1 => junk().prop_map(|text| (text, None)),
    ]
}

fn line() -> impl Strategy<Value = (String, Option<i16>)> {
    prop_oneof![
        6 => Just((String::new(), Some(1))),
        1 => Just(("1.0".to_owned(), Some(1))),
        3 => (0..4_i16).prop_map(|n| (format!(" 0{n}"), Some(n))),
        1 => select(vec!["-1", "1.5", ".0", "32768", "+1", "1 2"]).prop_map(|t| (t.to_owned(), None)),
        1 => Just(("2.0".to_owned(), Some(2))),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    let ids = (
        id(&[
            "A",
            " A",
            "A\u{ad}",
            "=\"A\"",
            "B",
            "C",
            "00",
            "0",
            "0.0",
            "nan",
            "1e5",
            "Vi\u{301}ctor",
            "V\u{ed}ctor",
        ]),
        id(&["P", "Q", " Q ", "\u{feff}Q", "unk", " N/A", "<NA>", "7", "7.0"]),
        id(&["V1", "V9", "V1 ", "'V1", "NULL", "(unknown)"]),
        id(&["99213", "99213.0", "0010", "J1100", "\\N", "38.00"]),
    );
    (ids, line(), amount(), date()).prop_map(|(ids, line, amount, date)| {
        let (claim, patient, provider, procedure) = ids;
        Row { claim, patient, provider, procedure, line, amount, date }
    })
}

/// In canonical form, blank is none.
fn canonical(text: &str) -> Option<String> {
    of_kind(text, Kind::Id)
}

fn of_kind(text: &str, kind: Kind) -> Option<String> {
    Some(identifier::examine(text, kind).text.into_owned()).filter(|text| !text.is_empty())
}

/// A provider or a code: none too where it is a placeholder.
fn optional(text: &str, kind: Kind) -> Option<String> {
    of_kind(text, kind).filter(|text| !is_placeholder(text))
}

/// Whether a text, once canonical, cannot be a key: overlong, or with a control character.
fn is_no_code(text: Option<String>) -> bool {
    text.is_some_and(|code| code.len() > 200 || code.chars().any(char::is_control))
}

/// Whether an identifier, once canonical, has a control character.
fn is_torn(id: &str) -> bool {
    canonical(id).is_some_and(|id| id.chars().any(|c| c.is_ascii_control()))
}

/// What was done to the identifiers of a row.
fn damages(row: &Row) -> [Damage; 4] {
    let Row { claim, patient, provider, procedure, .. } = row;
    [(claim, Kind::Id), (patient, Kind::Id), (provider, Kind::Id), (procedure, Kind::Code)]
        .map(|(text, kind)| identifier::examine(text, kind).damage)
}

fn are_damaged(row: &Row, damage: Damage) -> bool {
    damages(row).into_iter().any(|one| one.has(damage))
}

/// Whether any field has what Postgres cannot hold.
fn has_nul(row: &Row) -> bool {
    let Row { claim, patient, provider, procedure, line, amount, date } = row;
    let fields = [claim, patient, provider, procedure, &line.0, &amount.0, &date.0];
    fields.iter().any(|field| field.contains('\0'))
}

/// Whether an identifier in canonical form stands for nothing.
fn is_placeholder(id: &str) -> bool {
    let placeholders = Settings::default().rules.placeholders;
    id.eq_ignore_ascii_case("(unknown)")
        || placeholders.iter().any(|placeholder| placeholder.eq_ignore_ascii_case(id))
}

/// Whether a patient's id stands for nobody.
fn is_nobody(id: &str) -> bool {
    let placeholders = Settings::default().rules.patient_placeholders;
    is_placeholder(id)
        || placeholders.iter().any(|placeholder| placeholder.eq_ignore_ascii_case(id))
}

/// The first rule that a record breaks.
fn reason(row: &Row) -> Option<&'static str> {
    match (&row.amount.1, &row.date.1) {
        _ if has_nul(row) => Some("nul_character"),
        _ if is_no_code(optional(&row.provider, Kind::Id)) => Some("provider_id_invalid"),
        _ if is_no_code(optional(&row.procedure, Kind::Code)) => Some("procedure_code_invalid"),
        _ if is_torn(&row.claim) => Some("claim_id_invalid"),
        _ if is_torn(&row.patient) => Some("patient_id_invalid"),
        _ if are_damaged(row, Damage::SCIENTIFIC) => Some("identifier_scientific"),
        _ if canonical(&row.claim).is_none() => Some("claim_id_missing"),
        _ if canonical(&row.claim).is_some_and(|id| is_placeholder(&id)) => {
            Some("claim_id_placeholder")
        }
        _ if row.line.1.is_none() => Some("line_number_invalid"),
        _ if canonical(&row.patient).is_none() => Some("patient_id_missing"),
        _ if canonical(&row.patient).is_some_and(|id| is_nobody(&id)) => {
            Some("patient_id_placeholder")
        }
        (Money::Missing, _) => Some("amount_missing"),
        (Money::Unparseable, _) => Some("amount_unparseable"),
        (Money::OutOfRange, _) => Some("amount_out_of_range"),
        (_, None) if row.date.0.trim().is_empty() => Some("date_missing"),
        (_, None) => Some("date_unparseable"),
        (_, Some(date)) if date.as_str() > RUN_DATE => Some("date_in_future"),
        _ => None,
    }
}

/// Reads a file by the rules.
fn books(rows: &[Row], policy: OnDuplicate) -> Books {
    let mut books = Books::default();
    let mut by_key: BTreeMap<(String, i16), Vec<Content>> = BTreeMap::new();
    for row in rows {
        let money = match row.amount.1 {
            // The fields of a damaged record are not read.
            Money::Cents { cents, rounded } if !has_nul(row) => Some((cents, rounded)),
            _ => None,
        };
        if let Some(reason) = reason(row) {
            *books.reasons.entry(reason.to_owned()).or_default() += 1;
            books.rejected += money.map_or(0, |money| money.0);
            books.unparsed += u64::from(money.is_none());
            continue;
        }
        let (Some(claim), Some(patient), Some(line), Some((cents, rounded)), Some(date)) =
            (canonical(&row.claim), canonical(&row.patient), row.line.1, money, &row.date.1)
        else {
            unreachable!("a row without a reason has all of them")
        };
        let provider = optional(&row.provider, Kind::Id);
        let procedure = optional(&row.procedure, Kind::Code);
        let mended = [(Damage::DECIMAL, 1 << 20), (Damage::INVISIBLE, 1 << 21)]
            .into_iter()
            .filter(|(damage, _)| are_damaged(row, *damage))
            .fold(0, |flags, (_, flag)| flags | flag);
        let content = (patient, provider, procedure, cents, date.clone(), rounded, false, mended);
        by_key.entry((claim, line)).or_default().push(content);
    }
    let (claims, patients) = claims_and_patients(&by_key);
    for (key, mut rows) in by_key {
        if patients[&key.0].len() > 1 {
            *books.reasons.entry("claim_with_two_patients".into()).or_default() +=
                rows.len() as u64;
            books.rejected += rows.iter().map(|row| row.3).sum::<i128>();
            continue;
        }
        if policy == OnDuplicate::Last {
            rows.reverse();
        }
        // How an amount was spelled is no content.
        let differs = |row: &&Content| what(row) != what(&rows[0]);
        let sum = |rows: &[&Content]| rows.iter().map(|row| row.3).sum::<i128>();
        let (others, same): (Vec<&Content>, Vec<&Content>) = rows[1..].iter().partition(differs);
        if policy == OnDuplicate::Reject && !others.is_empty() {
            *books.reasons.entry("duplicate_conflict".into()).or_default() += rows.len() as u64;
            books.rejected += rows.iter().map(|row| row.3).sum::<i128>();
            continue;
        }
        books.duplicates.0 += same.len() as u64;
        books.duplicates.1 += sum(&same);
        books.conflicts.0 += others.len() as u64;
        books.conflicts.1 += sum(&others);
        let cancelled = |row: &Content| row.3 != 0 && rows.iter().any(|other| other.3 == -row.3);
        if rows.iter().any(cancelled) {
            books.reversals.lines += 1;
            books.reversals.dropped += rows.len() as u64 - 1;
            books.reversals.dropped_amount += Cents(sum(&same) + sum(&others));
            books.reversals.kept_amount += Cents(rows[0].3);
        }
        let mut row = rows.swap_remove(0);
        row.6 = row.3 != 0 && claims[&what(&row)].len() > 1;
        books.loaded.insert(key, row);
    }
    books
}

/// What is done and billed.
type What = (String, Option<String>, Option<String>, i128, String);

fn what(row: &Content) -> What {
    (row.0.clone(), row.1.clone(), row.2.clone(), row.3, row.4.clone())
}

type By<K> = BTreeMap<K, BTreeSet<String>>;

/// The claims with the same content, and the patients of each claim.
fn claims_and_patients(by_key: &BTreeMap<(String, i16), Vec<Content>>) -> (By<What>, By<String>) {
    let (mut claims, mut patients): (By<What>, By<String>) = Default::default();
    for ((claim, _), rows) in by_key {
        for row in rows {
            claims.entry(what(row)).or_default().insert(claim.clone());
            patients.entry(claim.clone()).or_default().insert(row.0.clone());
        }
    }
    (claims, patients)
}

/// The fact table as it must be, a line a row.
fn lines(loaded: &Loaded, known: &BTreeSet<String>) -> Vec<String> {
    let mut settings = Settings::default();
    settings.privacy.key = Some(Secret::new(KEY));
    let key = MasterKey::resolve(&settings.key_source()).expect("a key");
    let (claims, patients) = (key.tokenizer(Domain::Claim), key.tokenizer(Domain::Patient));
    let token = |tokenizer: &Tokenizer, id: &str| {
        uuid::Uuid::from_bytes(tokenizer.token(id).expect("not blank")).to_string()
    };
    let mut lines: Vec<String> = loaded
        .iter()
        .map(|((claim, line), content)| {
            let (patient, provider, procedure, cents, date, rounded, repeated, mended) = content;
            let flags = [
                (1, provider.is_none()),
                (2, provider.as_ref().is_some_and(|id| !known.contains(id))),
                (4, procedure.is_none()),
                (8, *cents < 0),
                (32, *rounded),
                (1 << 17, *repeated),
                (1024, cents.abs() > 100_000_000),
                // Ten years before the run date.
                (32768, date.as_str() < "2014-12-31"),
                (1 << 17, *repeated),
            ];
            let flags: i32 = flags.iter().filter(|flag| flag.1).map(|flag| flag.0).sum();
            let flags = flags | mended;
            let (claim, patient) = (token(&claims, claim), token(&patients, patient));
            let provider = provider.as_deref().unwrap_or("(unknown)");
            let procedure = procedure.as_deref().unwrap_or("(none)");
            let amount = Cents(*cents);
            format!("{claim}|{line}|{patient}|{provider}|{procedure}|{amount}|{date}|{flags}")
        })
        .collect();
    lines.sort_unstable();
    lines
}

fn fact(env: &TestEnv) -> Vec<String> {
    let mut lines = env.rows(
        "SELECT concat_ws('|', claim_token, line_number, patient_token, provider_id,
             coalesce(procedure_code, '(none)'), amount, date_of_service, dq_flags)
         FROM healthcare_analytics.claims_fact
         JOIN healthcare_analytics.providers_dim USING (provider_key)",
    );
    lines.sort_unstable();
    lines
}

fn write(path: &Path, records: impl IntoIterator<Item = Vec<String>>) {
    let mut writer = csv::Writer::from_path(path).expect("a file");
    for record in records {
        writer.write_record(&record).expect("written");
    }
    writer.flush().expect("written");
}

/// Loads `rows` and compares the report with the books.
fn load(env: &TestEnv, rows: &[Row], books: &Books) -> Result<RunReport, TestCaseError> {
    let header =
        "claim_id,patient_id,provider_id,procedure_code,line_number,amount,date_of_service";
    let header = header.split(',').map(str::to_owned).collect();
    let records = rows.iter().map(|row| {
        let ids = [&row.claim, &row.patient, &row.provider, &row.procedure];
        let typed = [&row.line.0, &row.amount.0, &row.date.0];
        ids.into_iter().chain(typed).cloned().collect()
    });
    write(&env.path("claims.csv"), std::iter::once(header).chain(records));
    let options = RunOptions { force: true, dry_run: false };
    let report = pipeline::run(&env.settings, &options, &NullObserver, &Cancellation::default());
    succeeded(&report);
    prop_assert_eq!(report.claims.read, rows.len() as u64);
    prop_assert_eq!(&report.reject_reasons, &books.reasons);
    prop_assert_eq!(report.claims.rejected, books.reasons.values().sum::<u64>());
    prop_assert_eq!(report.claims.loaded, books.loaded.len() as u64);
    let conflicts = (report.claims.conflicts, report.amount.conflicts);
    prop_assert_eq!(conflicts, (books.conflicts.0, Cents(books.conflicts.1)));
    let found = report.reversals;
    let overwritten = (found.overwritten, found.overwritten_amount);
    let (overwritten, overwritten_amount) = overwritten;
    prop_assert_eq!(found, Reversals { overwritten, overwritten_amount, ..books.reversals });
    let duplicates = (report.claims.duplicates, report.amount.duplicates);
    prop_assert_eq!(duplicates, (books.duplicates.0, Cents(books.duplicates.1)));
    prop_assert_eq!(report.amount.rejected, Cents(books.rejected));
    prop_assert_eq!(report.amount.unparsed_rows, books.unparsed);
    let loaded = books.loaded.values().map(|content| content.3).sum();
    prop_assert_eq!(report.amount.loaded, Cents(loaded));
    Ok(report)
}

/// Replaces the table by one file, then merges another one into it.
fn replace_then_merge(
    env: &mut TestEnv,
    policy: OnDuplicate,
    directory: &[Vec<String>],
    files: [&[Row]; 2],
) -> TestCaseResult {
    let header = ["provider_id", "provider_name", "specialty", "location"].map(str::to_owned);
    write(
        &env.path("providers.csv"),
        std::iter::once(header.to_vec()).chain(directory.iter().cloned()),
    );
    let storable = |record: &&Vec<String>| {
        !is_no_code(canonical(&record[0]))
            && optional(&record[0], Kind::Id).is_some()
            && !identifier::examine(&record[0], Kind::Id).damage.has(Damage::SCIENTIFIC)
            && !is_no_code(Some(record[2].trim().to_owned()))
            && ![1, 3].iter().any(|&field| record[field].contains('\0'))
    };
    let known: BTreeSet<String> =
        directory.iter().filter(storable).filter_map(|record| canonical(&record[0])).collect();

    env.settings.warehouse.on_duplicate = Some(policy);
    env.settings.warehouse.mode = Mode::Replace;
    let first = books(files[0], policy);
    let report = load(env, files[0], &first)?;
    let providers = report.providers;
    prop_assert_eq!(providers.read, directory.len() as u64);
    prop_assert_eq!(providers.loaded, known.len() as u64);
    prop_assert_eq!(
        providers.read,
        providers.loaded + providers.rejected + providers.duplicates + providers.conflicts
    );
    prop_assert_eq!(fact(env), lines(&first.loaded, &known));

    env.settings.warehouse.mode = Mode::Merge;
    let second = books(files[1], policy);
    let report = load(env, files[1], &second)?;
    let mut merged = first.loaded.clone();
    let (mut updated, mut unchanged, mut opposite) = (0, 0, (0, Cents(0)));
    for (key, content) in second.loaded {
        match merged.insert(key.clone(), content) {
            Some(before) if before == merged[&key] => unchanged += 1,
            Some(before) => {
                updated += 1;
                if before.3 != 0 && before.3 == -merged[&key].3 {
                    opposite.0 += 1;
                    opposite.1 += Cents(before.3);
                }
            }
            None => {}
        }
    }
    let found = report.reversals;
    prop_assert_eq!((found.overwritten, found.overwritten_amount), opposite);
    prop_assert_eq!((report.claims.updated, report.claims.unchanged), (updated, unchanged));
    prop_assert_eq!(fact(env), lines(&merged, &known));
    let totals = "SELECT count(*) || ' ' || coalesce(sum(amount), 0.00) FROM healthcare_analytics.claims_fact";
    let sum = Cents(merged.values().map(|content| content.3).sum());
    prop_assert_eq!(env.rows(totals), [format!("{} {sum}", merged.len())]);
    Ok(())
}

#[test]
fn every_record_and_cent_of_any_file_is_accounted_for() {
    let mut env = TestEnv::new();
    env.settings.privacy.key = Some(Secret::new(KEY));
    env.settings.refresh.dashboard.enabled = false;
    env.settings.refresh.provider_month.enabled = false;
    let directory = vec(vec(nasty(), 4), 0..5).prop_map(|mut records| {
        records.push(["V1", "Ann", "Cardiology", "Boston"].map(str::to_owned).to_vec());
        records
    });
    let policy = select(vec![OnDuplicate::Last, OnDuplicate::First, OnDuplicate::Reject]);
    let cases = (policy, directory, vec(row(), 0..60), vec(row(), 0..30));
    // The same cases in every run; a failure names the smallest file that shows it.
    let config =
        Config { cases: 24, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let env = std::cell::RefCell::new(env);
    let outcome =
        TestRunner::new_with_rng(config, rng).run(&cases, |(policy, directory, one, two)| {
            replace_then_merge(&mut env.borrow_mut(), policy, &directory, [&one, &two])
        });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
