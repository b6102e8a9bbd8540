//! The page, rendered from hand-made values, and its file.

use std::os::unix::fs::PermissionsExt;

use super::released::{Dates, Levels, Released};
use super::snapshot::{Failure, Line, Month, Provider, Run, Snapshot, Specialty};
use super::{page, write};
use crate::schema::Shape;
use crate::totals::{Amounts, Cents, ClaimCounts, ControlTotals, ProviderCounts, Reversals};

fn run() -> Run {
    Run {
        id: "01990000-0000-7000-8000-000000000003".into(),
        published_at: "2026-11-16 20:40 UTC".into(),
        month: 2026 * 12 + 10,
        tool_version: "0.1.0".into(),
        mode: "merge".into(),
        key_id: "3fa91c07".into(),
        privacy_profile: "pseudonymized".into(),
        risk_model: Some("claim_anomaly_v1".into()),
        account: ControlTotals {
            claims: ClaimCounts {
                read: 1_300,
                loaded: 1_234,
                inserted: 1_000,
                updated: 34,
                unchanged: 200,
                rejected: 60,
                duplicates: 4,
                conflicts: 2,
                filtered: 0,
            },
            amount: Amounts {
                read: Cents(123_456_789),
                loaded: Cents(123_000_000),
                rejected: Cents(456_000),
                duplicates: Cents(589),
                conflicts: Cents(200),
                generalized: Cents(0),
                unparsed_rows: 3,
            },
            reversals: Reversals { lines: 2, ..Reversals::default() },
            providers: ProviderCounts { read: 40, loaded: 40, inferred: 2, ..Default::default() },
            reject_examples: [].into(),
            reject_reasons: [("date_unparseable".to_owned(), 60)].into(),
            flags: [("amount_zero".to_owned(), 12)].into(),
        },
    }
}

fn snapshot() -> Snapshot {
    let month = |number, lines, cents| Month { number, claims: 1, lines, amount: Cents(cents) };
    Snapshot {
        run: Some(run()),
        runs: 4,
        published_runs: 3,
        claims: 1_100,
        lines: 1_234,
        amount: Cents(123_000_000),
        dates: Some(("2026-01-02".into(), "2026-03-31".into())),
        mean_score: "5.4".into(),
        months: vec![month(2026 * 12, 600, 60_000_000), month(2026 * 12 + 2, 634, 63_000_000)],
        specialties: vec![
            Specialty {
                name: Some("Cardiology".into()),
                lines: 1_230,
                amount: Cents(122_000_000),
                high: 9,
            },
            Specialty { name: None, lines: 4, amount: Cents(1_000_000), high: 0 },
        ],
        bands: [900, 200, 100, 20, 4, 1, 5, 2, 1, 1, 0],
        medium: 25,
        high: 9,
        providers: vec![Provider {
            id: "1000007919".into(),
            name: Some("Harbor Clinic".into()),
            specialty: Some("Cardiology".into()),
            lines: 35,
            amount: Cents(481_806),
            mean_score: "21.2".into(),
            high: 4,
        }],
        top_lines: vec![Line {
            token: "56dbe9b3-bd17-59e8-2f87-4a660d2aa2f7".into(),
            line: 1,
            procedure: Some("99213".into()),
            provider: "1000007919".into(),
            amount: Cents(14_208),
            date: "2026-03-11".into(),
            score: "87.9".into(),
            reason: Some("duplicate".into()),
        }],
        directory: 42,
        placeholders: 2,
        ..Snapshot::default()
    }
}

#[test]
fn the_page_shows_exact_money_counts_and_a_balance() {
    let html = page::render(&snapshot());
    for text in [
        "$1,230,000.00",
        "<b>1,234</b> lines of <b>1,100</b> claims",
        "from 2\u{a0}Jan\u{a0}2026 to 31\u{a0}Mar\u{a0}2026",
        "every row and cent of the last load is accounted for",
        "$1,234,567.89",
        "Date unparseable",
        "Amount zero",
        "0.7% score 50 or more",
        "Billed more than once",
        "title=\"56dbe9b3-bd17-59e8-2f87-4a660d2aa2f7, line 1\">56dbe9b3-",
    ] {
        assert!(html.contains(text), "{text} is missing");
    }
    assert_eq!(html.matches("class=\"tick\"").count(), 3);
    assert_eq!(html.matches("class=\"cross\"").count(), 0);
}

#[test]
fn the_page_fetches_and_runs_nothing() {
    let html = page::render(&snapshot());
    assert!(html.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
    for forbidden in
        ["<script", "http://", "https://", "url(", "@import", "<link", "<img", "javascript:"]
    {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn a_provider_named_like_markup_stays_text() {
    let mut snapshot = snapshot();
    let evil = "<script>alert(\"x\")</script>";
    snapshot.providers[0].name = Some(evil.into());
    snapshot.providers[0].specialty = Some(evil.into());
    snapshot.specialties[0].name = Some(evil.into());
    snapshot.top_lines[0].procedure = Some(evil.into());
    snapshot.top_lines[0].provider = evil.into();
    snapshot.top_lines[0].reason = Some(evil.into());
    snapshot.failure = Some(Failure { message: Some(evil.into()), ..Failure::default() });
    if let Some(run) = &mut snapshot.run {
        run.account.reject_reasons = [(evil.to_owned(), 60)].into();
        run.mode = evil.into();
    }
    let html = page::render(&snapshot);
    assert!(!html.contains("<script"));
    assert!(html.matches("&lt;script&gt;").count() >= 8);
}

#[test]
fn one_missing_cent_is_reported() {
    let mut snapshot = snapshot();
    if let Some(run) = &mut snapshot.run {
        run.account.amount.loaded = Cents(122_999_999);
    }
    let html = page::render(&snapshot);
    assert!(html.contains("The last load does not balance"));
    assert!(html.contains("$0.01\u{a0}<span class=\"cross\""));
    assert!(html.contains("but the last load does not balance"));
    assert_eq!(html.matches("class=\"tick\"").count(), 2);
}

#[test]
fn an_empty_warehouse_is_a_page_too() {
    let html = page::render(&Snapshot::default());
    assert!(html.contains("Nothing has been published yet") && html.ends_with("</html>"));
    assert!(!html.contains("<section"));
    let html = page::render(&Snapshot { run: Some(run()), ..Snapshot::default() });
    assert!(
        html.contains("The warehouse holds no claims")
            && html.contains("The last load, to the cent")
    );
    assert!(!html.contains("<svg"));
}

#[test]
fn a_later_failure_comes_before_the_numbers() {
    let mut snapshot = snapshot();
    snapshot.failure = Some(Failure {
        kind: Some("quality".into()),
        message: Some("too many rejects".into()),
        ..Failure::default()
    });
    let html = page::render(&snapshot);
    let place = |text: &str| html.find(text).unwrap_or(usize::MAX);
    assert!(place("The latest run failed") < place("class=\"figures\""));
    assert!(place("too many rejects") < usize::MAX);
}

#[test]
fn only_36_months_are_drawn_gaps_included_and_the_rest_is_summed() {
    let mut snapshot = snapshot();
    let month = |number, lines| Month { number, claims: 1, lines, amount: Cents(100) };
    // Before the window, in it with a gap, and after the month of publication.
    let last = 2026 * 12 + 10;
    snapshot.months = vec![
        month(last - 40, 5),
        month(last - 36, 7),
        month(last - 1, 90),
        month(last, 80),
        month(last + 900, 3),
    ];
    let html = page::render(&snapshot);
    assert_eq!(html.matches("<circle").count(), 36);
    assert!(html.contains("Not drawn: 12 claim lines worth $2.00 before these months."));
    assert!(html.contains("Not drawn: 3 claim lines worth $1.00 after the month of publication."));
    assert!(html.contains("Jan 2026: 0 claim lines"));
}

#[test]
fn months_that_all_lie_after_the_publication_are_drawn() {
    let mut snapshot = snapshot();
    snapshot.months = vec![Month { number: 2100 * 12, claims: 5, lines: 5, amount: Cents(100) }];
    assert_eq!(page::render(&snapshot).matches("<circle").count(), 1);
}

#[test]
fn dropped_columns_are_left_out_with_the_reason_and_years_are_drawn_as_years() {
    let mut snapshot = snapshot();
    snapshot.released = Released {
        profile: "safe_harbor_assist".into(),
        shape: Shape::without(["specialty", "provider_name", "procedure_code"]),
        dates: Dates::Year,
        ..Released::default()
    };
    let month = |number, lines| Month { number, claims: 1, lines, amount: Cents(100) };
    snapshot.months = vec![month(2023 * 12, 600), month(2025 * 12, 634)];
    snapshot.dates = Some(("2023-01-01".into(), "2025-01-01".into()));
    (snapshot.providers[0].name, snapshot.providers[0].specialty) = (None, None);
    let html = page::render(&snapshot);
    for text in [
        "for services from 2023 to 2025",
        "Claims by year",
        "2024: 0 claim lines",
        "Dates are released as years.",
        "Amounts by specialty are not shown: the privacy profile safe_harbor_assist drops \
         <code>specialty</code>.",
    ] {
        assert!(html.contains(text), "{text} is missing");
    }
    assert_eq!(html.matches("<circle").count(), 3, "one a year");
    for text in ["Procedure</th>", "Not stated", "Jan 2023", "Jan\u{a0}2023"] {
        assert!(!html.contains(text), "{text}");
    }
}

#[test]
fn generalized_amounts_are_in_the_balance() {
    let mut snapshot = snapshot();
    if let Some(run) = &mut snapshot.run {
        run.account.amount.loaded = Cents(122_000_000);
        run.account.amount.generalized = Cents(1_000_000);
    }
    let html = page::render(&snapshot);
    assert!(html.contains("Generalized") && html.contains("$10,000.00"));
    assert_eq!(html.matches("class=\"cross\"").count(), 0);
}

#[test]
fn levels_begin_where_the_settings_put_them() {
    let mut snapshot = snapshot();
    snapshot.released.levels = Levels { medium: 5.0, high: 33.5 };
    let html = page::render(&snapshot);
    for text in ["score 33.5 or more", "below 5<", "5 to below 33.5"] {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn the_page_replaces_the_old_one_and_others_may_read_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("new folder/dashboard.html");
    write(&path, "old").expect("a first page");
    write(&path, "new").expect("a second page");
    assert_eq!(std::fs::read_to_string(&path).expect("the page"), "new");
    let mode = std::fs::metadata(&path).expect("the page").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let names = std::fs::read_dir(path.parent().expect("a folder")).expect("a folder");
    assert_eq!(names.count(), 1, "no temporary file is left");
}

#[test]
fn a_link_beside_the_page_is_not_followed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (other, path) = (folder.path().join("other"), folder.path().join("dashboard.html"));
    std::fs::write(&other, "kept").expect("written");
    let predictable = format!(".dashboard.html.{}", std::process::id());
    for link in [path.clone(), folder.path().join(predictable)] {
        std::os::unix::fs::symlink(&other, link).expect("a link");
    }
    write(&path, "page").expect("a page");
    assert_eq!(std::fs::read_to_string(&other).expect("text"), "kept");
    assert!(path.symlink_metadata().expect("there").is_file());
}

#[test]
fn a_page_that_cannot_be_written_is_a_refresh_failure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("dashboard.html");
    std::fs::create_dir(&path).expect("a folder in the way");
    let error = write(&path, "page").expect_err("a folder is in the way");
    assert_eq!(error.kind(), crate::error::ErrorKind::Refresh);
    let names = std::fs::read_dir(folder.path()).expect("a folder");
    assert_eq!(names.count(), 1, "no temporary file is left");
}
