//! The shuffle against a naive reading of the rules: all rows in maps, nothing sorted, nothing
//! hashed.

mod sample;
mod score;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use self::sample::{Content, PLAIN, Sample, codes, frame, rows_of};
use super::*;
use crate::error::ErrorKind;
use crate::event::Cancellation;
use crate::risk::{Codes, Exactness, Kept, Twin};
use crate::rule::{OnDuplicate, Rule, Severities, Severity};
use crate::schema::TokenRange;
use crate::shuffle::store::Store;
use crate::totals::Cents;

#[test]
fn a_bound_is_the_lowest_token_of_its_bucket() {
    assert_eq!(token_range(&(0..BUCKETS)), TokenRange { from: None, to: None });
    let TokenRange { from, to } = token_range(&(BUCKETS / 2..BUCKETS));
    let half = from.map(|bound| bound.to_string());
    assert_eq!(half.as_deref(), Some("80000000-0000-0000-0000-000000000000"));
    assert_eq!(to, None);
}

/// What the score needs of a shuffle: all or nothing.
const ALL: Kept =
    Kept { amounts: true, weekends: true, provider_totals: true, provider_days: true, twins: true };

/// The rules as they are written: what leaves, and what became of the rest.
fn naive(
    rows: &[Sample],
    policy: OnDuplicate,
    severities: &Severities,
    kept_for_score: Kept,
) -> (Vec<String>, Resolved) {
    let (leaving, resolved) = naive_rows(rows, policy, severities);
    let twin = |row: &Sample| {
        let others = || leaving.iter().filter(|(other, _)| other.claim != row.claim);
        if !kept_for_score.twins {
            Twin::Unknown
        } else if others().any(|(other, _)| {
            other.content_and_cents().0 == row.content_and_cents().0 && other.cents > 0
        }) {
            Twin::Exact
        } else if others().any(|(other, _)| other.case() == row.case()) {
            Twin::Suspect
        } else {
            Twin::None
        }
    };
    let lines = leaving.iter().map(|(row, flags)| row.leaves(*flags, twin(row))).collect();
    (lines, resolved)
}

/// The same, as rows with what they break.
fn naive_rows(
    rows: &[Sample],
    policy: OnDuplicate,
    severities: &Severities,
) -> (Vec<(Sample, i32)>, Resolved) {
    let mut resolved = Resolved::default();
    let count = |counts: &mut [u64; Rule::FLAGS.len()], bits: i32| {
        for (place, count) in counts.iter_mut().enumerate() {
            *count += u64::from(bits >> place & 1 == 1);
        }
    };
    let mut patients: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
    let mut contents: BTreeMap<Content, BTreeSet<(u8, bool)>> = BTreeMap::new();
    for row in rows {
        patients.entry(row.claim).or_default().insert(row.patient);
        if row.cents != 0 {
            let sayings = contents.entry(row.content()).or_default();
            sayings.insert((row.claim, row.cents > 0));
        }
    }
    let two_patients = |row: &Sample| patients[&row.claim].len() > 1;
    let mut keys: BTreeMap<(u128, i16), Vec<&Sample>> = BTreeMap::new();
    for row in rows {
        if two_patients(row) && severities.of(Rule::ClaimWithTwoPatients) == Severity::Reject {
            resolved.rejected.push((row.origin, Rule::ClaimWithTwoPatients));
            resolved.rejected_amount += Cents(row.cents.into());
            count(&mut resolved.removed, row.flags);
        } else {
            keys.entry((row.token(), row.line)).or_default().push(row);
        }
    }
    let mut kept: Vec<&Sample> = Vec::new();
    for (_, mut rows) in keys {
        rows.sort_by_key(|row| row.origin);
        if policy == OnDuplicate::Last {
            rows.reverse();
        }
        let said = rows[0].content_and_cents();
        let refused =
            policy == OnDuplicate::Reject && rows.iter().any(|row| row.content_and_cents() != said);
        let cancel = rows
            .iter()
            .any(|row| row.cents != 0 && rows.iter().any(|other| other.cents == -row.cents));
        if cancel && !refused {
            resolved.reversals.lines += 1;
            resolved.reversals.kept_amount += Cents(rows[0].cents.into());
        }
        for (place, row) in rows.into_iter().enumerate() {
            let amount = Cents(row.cents.into());
            if refused {
                resolved.rejected.push((row.origin, Rule::DuplicateConflict));
                resolved.rejected_amount += amount;
            } else if place > 0 {
                if row.content_and_cents() == said {
                    resolved.duplicates += 1;
                    resolved.duplicates_amount += amount;
                } else {
                    resolved.conflicts += 1;
                    resolved.conflicts_amount += amount;
                }
                if cancel {
                    resolved.reversals.dropped += 1;
                    resolved.reversals.dropped_amount += amount;
                }
            } else {
                kept.push(row);
                continue;
            }
            count(&mut resolved.removed, row.flags);
        }
    }
    resolved.rejected.sort_unstable();
    let claims = patients.len() as u64;
    resolved.claims = Distinct { ids: claims, tokens: claims };
    let mut leaving = Vec::new();
    for row in &kept {
        let lines: Vec<&&Sample> = kept.iter().filter(|other| other.claim == row.claim).collect();
        let mut broken = Vec::new();
        if two_patients(row) {
            broken.push(Rule::ClaimWithTwoPatients);
        }
        if lines.len() > 1 && row.cents != 0 && lines.iter().all(|line| line.cents == row.cents) {
            broken.push(Rule::AmountSameOnAllLines);
        }
        if row.cents != 0 {
            let sayings = &contents[&row.content()];
            let positive = row.cents > 0;
            if sayings.iter().any(|&(claim, sign)| claim != row.claim && sign == positive) {
                broken.push(Rule::ContentRepeated);
            }
            if sayings.iter().any(|&(_, sign)| sign != positive) {
                broken.push(Rule::ReversalPair);
            }
        }
        let mut flags = row.flags;
        for rule in broken {
            if severities.of(rule) != Severity::Off {
                count(&mut resolved.found, rule.mask());
                flags |= rule.mask();
            }
        }
        leaving.push(((*row).clone(), flags));
    }
    (leaving, resolved)
}

/// How a shuffle is used, of which nothing may depend.
#[derive(Debug, Clone)]
struct Way {
    memory: usize,
    writers: usize,
    readers: usize,
    batch: usize,
    kept: Kept,
}

/// A shuffle into which rows were written.
fn written(folder: &Path, rows: &[Sample], severities: &Severities, way: &Way) -> Shuffle {
    let shuffle = Shuffle::new(folder, way.memory, severities, way.kept);
    let share = rows.len().div_ceil(way.writers).max(1);
    thread::scope(|scope| {
        for rows in rows.chunks(share) {
            let mut writer = shuffle.writer();
            scope.spawn(move || {
                for rows in rows.chunks(3) {
                    writer.push(&frame(rows), &codes(rows)).expect("written");
                }
                writer.finish().expect("finished");
            });
        }
    });
    shuffle
}

/// What a shuffle makes of rows.
fn shuffled(
    rows: &[Sample],
    policy: OnDuplicate,
    severities: &Severities,
    way: &Way,
) -> (Vec<String>, Resolved) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shuffle = written(folder.path(), rows, severities, way);
    let counted = Counted {
        kept: way.kept,
        exact: Exactness::WHOLE,
        codes: &Codes::default(),
        specialties: &[],
        names: &[],
    };
    let cancel = Cancellation::default();
    shuffle.settle(&counted, policy, &cancel).expect("settled");
    let shuffle = shuffle.compared(&cancel).expect("compared");
    assert_eq!(folder.path().read_dir().expect("listed").count(), 0, "no file has a name");
    let (mut leaving, mut resolved) = (Vec::new(), Resolved::default());
    for part in 0..way.readers {
        let mut buckets = part * BUCKETS / way.readers..(part + 1) * BUCKETS / way.readers;
        loop {
            let mut of_batch = Resolved::default();
            let next = shuffle.next_rows(&mut buckets, way.batch, policy, &mut of_batch);
            resolved.merge(of_batch);
            let Some(frame) = next.expect("read") else { break };
            leaving.extend(rows_of(&frame));
        }
    }
    resolved.rejected.sort_unstable();
    (leaving, resolved)
}

/// Few values of each kind, so that everything happens.
fn sample() -> impl Strategy<Value = Sample> {
    let ids = (0_u8..6, 1_i16..4, select(vec![1_u8, 1, 1, 2]));
    let provider = select(vec![Ok(0), Ok(0), Ok(1), Err(Some("V9")), Err(None)]);
    let code = select(vec![Some("99213"), Some("99213"), Some("4 and more than 8"), None]);
    let amount = select(vec![500_i64, 500, -500, 0, 700]);
    (ids, provider, code, amount, select(vec![5, 5, 6]), select(vec![0, 0, 1 << 5])).prop_map(
        |((claim, line, patient), provider, code, cents, day, flags)| Sample {
            claim,
            line,
            patient,
            provider,
            code,
            cents,
            day,
            flags,
            origin: 0,
        },
    )
}

fn severities() -> impl Strategy<Value = Severities> {
    let of = |rule: Rule| select(rule.allowed().to_vec()).prop_map(move |chosen| (rule, chosen));
    let chosen = (
        of(Rule::ClaimWithTwoPatients),
        of(Rule::AmountSameOnAllLines),
        of(Rule::ContentRepeated),
        of(Rule::ReversalPair),
    );
    chosen.prop_map(|(a, b, c, d)| {
        let mut severities = Severities::default();
        for (rule, severity) in [a, b, c, d] {
            severities.set(rule, severity);
        }
        severities
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_of_several_rows_are_those_of_a_naive_reading(
        rows in vec(sample(), 0..40),
        policy in select(vec![OnDuplicate::Last, OnDuplicate::First, OnDuplicate::Reject]),
        severities in severities(),
        kept in select(vec![ALL, Kept::default()]),
        (memory, writers, readers, batch) in
            (select(vec![0_usize, 700, 1 << 20]), 1_usize..5, 1_usize..4, select(vec![1_usize, 7, 1000])),
    ) {
        let mut rows = rows;
        for (place, row) in rows.iter_mut().enumerate() {
            row.origin = i64::try_from(place).expect("small");
        }
        let way = Way { memory, writers, readers, batch, kept };
        let (leaving, resolved) = shuffled(&rows, policy, &severities, &way);
        let (expected, expected_resolved) = naive(&rows, policy, &severities, kept);
        prop_assert_eq!(&leaving, &expected);
        prop_assert_eq!(&resolved, &expected_resolved);
        // Every row is in one class, and every cent.
        let rejected = resolved.rejected.len();
        prop_assert_eq!(leaving.len() + rejected, rows.len() - usize::try_from(resolved.dropped()).expect("few"));
    }
}

/// What becomes of rows, under the default severities, with these set.
fn of(rows: &[Sample], set: &[(Rule, Severity)]) -> (Vec<String>, Resolved) {
    let mut severities = Severities::default();
    for &(rule, severity) in set {
        severities.set(rule, severity);
    }
    let way = Way { memory: 0, writers: 1, readers: 1, batch: 10, kept: ALL };
    let done = shuffled(rows, OnDuplicate::Last, &severities, &way);
    assert_eq!(done, naive(rows, OnDuplicate::Last, &severities, ALL));
    done
}

/// How many of the rows that leave break a rule together with others.
fn found(resolved: &Resolved, rule: Rule) -> u64 {
    resolved.found[Rule::FLAGS.iter().position(|&flag| flag == rule).expect("a flag")]
}

#[test]
fn a_claim_with_two_patients_is_rejected_as_a_whole_repeats_too() {
    let other = Sample { patient: 2, line: 2, origin: 1, cents: -50, ..PLAIN };
    let repeat = Sample { origin: 2, ..PLAIN };
    let elsewhere = Sample { claim: 2, patient: 3, origin: 3, ..PLAIN };
    let rows = [PLAIN, other, repeat, elsewhere.clone()];
    let (leaving, resolved) = of(&rows, &[]);
    assert_eq!(leaving, [elsewhere.leaves(0, Twin::None)]);
    let rule = Rule::ClaimWithTwoPatients;
    assert_eq!(resolved.rejected, [(0, rule), (1, rule), (2, rule)]);
    assert_eq!((resolved.duplicates, resolved.rejected_amount), (0, Cents(24_050)));
    let (leaving, resolved) = of(&rows, &[(rule, Severity::Flag)]);
    assert_eq!((leaving.len(), resolved.duplicates, found(&resolved, rule)), (3, 1, 2));
    let (_, resolved) = of(&rows, &[(rule, Severity::Off)]);
    assert_eq!((resolved.duplicates, found(&resolved, rule)), (1, 0));
}

#[test]
fn one_amount_on_all_lines_needs_two_lines_and_an_amount() {
    let rule = Rule::AmountSameOnAllLines;
    let second = Sample { line: 2, code: None, ..PLAIN };
    let lines = |rows: &[Sample]| found(&of(rows, &[]).1, rule);
    assert_eq!(lines(&[PLAIN, second.clone()]), 2);
    assert_eq!(lines(&[PLAIN, PLAIN]), 0, "a repeat is no line");
    assert_eq!(lines(&[PLAIN, second.clone(), Sample { line: 3, cents: 1, ..PLAIN }]), 0);
    let free = |row: Sample| Sample { cents: 0, ..row };
    assert_eq!(lines(&[free(PLAIN), free(second.clone())]), 0);
    let claim = Sample { claim: 2, ..second };
    assert_eq!(lines(&[PLAIN, claim]), 0, "another claim");
}

#[test]
fn a_content_is_repeated_by_another_claim_and_cancelled_by_any() {
    let count = |row: Sample| {
        let (_, resolved) = of(&[PLAIN, Sample { origin: 1, ..row }], &[]);
        (found(&resolved, Rule::ContentRepeated), found(&resolved, Rule::ReversalPair))
    };
    let again = Sample { claim: 2, line: 5, flags: 1 << 5 | 1 << 16, ..PLAIN };
    assert_eq!(count(again.clone()), (2, 0));
    let (_, resolved) =
        of(&[Sample { code: None, ..PLAIN }, Sample { code: None, ..again.clone() }], &[]);
    assert_eq!(found(&resolved, Rule::ContentRepeated), 2, "flags are no content");
    assert_eq!(count(Sample { cents: -PLAIN.cents, ..again.clone() }), (0, 2));
    assert_eq!(count(Sample { line: 2, ..PLAIN }), (0, 0), "the same claim");
    assert_eq!(count(Sample { line: 2, cents: -PLAIN.cents, ..PLAIN }), (0, 2));
    let others = [
        Sample { patient: 2, ..again.clone() },
        Sample { provider: Ok(8), ..again.clone() },
        Sample { provider: Err(None), ..again.clone() },
        Sample { code: Some("99214"), ..again.clone() },
        Sample { code: None, ..again.clone() },
        Sample { day: 19_001, ..again.clone() },
        Sample { cents: 12_051, ..again },
    ];
    for other in others {
        assert_eq!(count(other.clone()), (0, 0), "{other:?}");
    }
}

#[test]
fn texts_that_read_alike_are_not_the_same_content() {
    let texts = |provider, code| Sample { provider: Err(provider), code, ..PLAIN };
    let rows = [
        texts(Some("AB"), Some("C")),
        texts(Some("A"), Some("BC")),
        texts(Some("ABC"), None),
        texts(None, Some("ABC")),
        texts(Some("ABC\0"), None),
        texts(None, Some("ABCD")),
        texts(None, Some("ABCDE")),
        texts(None, Some("ABXDE")),
        texts(None, Some("ABCDEFGH")),
        texts(None, Some("ABCDEFGHI")),
        texts(None, Some("XBCDEFGHI")),
        texts(None, Some("ABCDEFGHABCDEFGH")),
        texts(None, Some("ABCDEFGHABCDEFGHI")),
    ];
    let rows: Vec<Sample> = (1..).zip(rows).map(|(claim, row)| Sample { claim, ..row }).collect();
    let (_, resolved) = of(&rows, &[]);
    assert_eq!(found(&resolved, Rule::ContentRepeated), 0);
    let missing = texts(None, None);
    let rows = [Sample { claim: 2, ..missing.clone() }, missing];
    let (_, resolved) = of(&rows, &[]);
    assert_eq!(found(&resolved, Rule::ContentRepeated), 2, "missing values are values");
}

#[test]
fn contents_are_compared_only_where_somebody_asks() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut severities = Severities::default();
    severities.set(Rule::ContentRepeated, Severity::Off);
    let asked = Shuffle::new(folder.path(), 0, &severities, Kept::default());
    assert!(asked.contents.is_some(), "for reversals");
    severities.set(Rule::ReversalPair, Severity::Off);
    assert!(Shuffle::new(folder.path(), 0, &severities, Kept::default()).contents.is_none());
    assert!(Shuffle::new(folder.path(), 0, &severities, ALL).contents.is_some(), "for twins");
    let mut writer = asked.writer();
    writer.push(&frame(&[PLAIN]), &[]).and_then(|()| writer.finish()).expect("written");
    assert_eq!(asked.contents.as_ref().map(Store::bytes), Some(24));
    let cancel = Cancellation::default();
    cancel.cancel(15);
    let stopped = asked.compared(&cancel).err().map(|error| error.kind());
    assert_eq!(stopped, Some(ErrorKind::Interrupted(15)));
}
