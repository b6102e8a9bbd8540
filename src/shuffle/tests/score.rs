//! What a shuffle keeps for the score against the rows that leave, counted one by one.

use std::collections::{BTreeMap, BTreeSet};

use super::sample::{CODES, SPECIALTIES, codes, specialty};
use super::*;
use crate::risk::{NO_CODE, Statistics, is_weekend};
use crate::shuffle::token_collisions::Identities;

fn count<'r>(rows: impl Iterator<Item = &'r Sample>) -> Statistics {
    let mut statistics = Statistics::default();
    for row in rows {
        let name = ["", "GP"][specialty(row) as usize];
        statistics.claim(1, row.code, name, row.cents, Some(is_weekend(row.day)));
    }
    statistics
}

/// All counts, to be compared.
fn rows_of(statistics: &Statistics) -> Vec<String> {
    let amounts = statistics.amounts().map(|row| format!("{row:?}"));
    let weekends = statistics.weekends().map(|row| format!("{row:?}"));
    let days = statistics.provider_days().map(|row| format!("{row:?}"));
    amounts.chain(weekends).chain(days).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_score_knows_the_rows_that_leave_and_no_others(
        rows in vec(sample(), 0..60),
        patients in vec(0_u8..9, 60),
        policy in select(vec![OnDuplicate::Last, OnDuplicate::First, OnDuplicate::Reject]),
        memory in select(vec![0_usize, 700, 1 << 20]),
        writers in 1_usize..4,
    ) {
        let mut rows = rows;
        for ((place, row), patient) in rows.iter_mut().enumerate().zip(patients) {
            row.origin = i64::try_from(place).expect("small");
            // Most claims are single rows with patients of their own.
            if place % 3 > 0 {
                row.claim = 10 + u8::try_from(place).expect("small");
                row.patient = patient;
            }
        }
        let severities = Severities::default();
        let way = Way { memory, writers, readers: 1, batch: 10, kept: ALL };
        let folder = tempfile::tempdir().expect("a folder");
        let mut shuffle = written(folder.path(), &rows, &severities, &way);
        let (cancel, numbers) = (Cancellation::default(), Codes::default());
        for code in CODES {
            numbers.number(code);
        }
        let names = [String::new(), "GP".to_owned()];
        let counted = Counted {
            kept: ALL,
            exact: Exactness::WHOLE,
            codes: &numbers,
            specialties: &SPECIALTIES,
            names: &names,
        };
        let mut statistics = count(rows.iter());
        statistics.merge(&shuffle.settle(&counted, policy, &cancel).expect("settled"));

        let (leaving, _) = naive_rows(&rows, policy, &severities);
        let mut expected = count(leaving.iter().map(|(row, _)| row));
        let mut days: BTreeMap<(u32, i32), BTreeSet<u8>> = BTreeMap::new();
        let mut totals: BTreeMap<(u32, u32), (i64, i64)> = BTreeMap::new();
        let priced = leaving.iter().map(|(row, _)| row).filter(|row| row.cents > 0 && specialty(row) != 0);
        for row in priced {
            let place = row.provider.expect("a place");
            days.entry((place, row.day)).or_default().insert(row.patient);
            let code = codes(std::slice::from_ref(row))[0];
            if code != NO_CODE {
                let total = totals.entry((place, code)).or_default();
                *total = (total.0 + 1, total.1 + row.cents);
            }
        }
        for patients in days.values() {
            expected.provider_day(1, "GP", u32::try_from(patients.len()).expect("few"));
        }
        prop_assert_eq!(rows_of(&statistics), rows_of(&expected));

        let mut found = Vec::new();
        let mut part = 0;
        while let Some(of_part) = shuffle.provider_totals(part).expect("read") {
            found.extend(of_part.into_iter().map(|t| ((t.place, t.code), (t.claims, t.cents))));
            part += 1;
        }
        found.sort_unstable();
        prop_assert_eq!(&found, &totals.iter().map(|(key, total)| (*key, *total)).collect::<Vec<_>>());
        let sums = shuffle.provider_sums(&|_, code| (code == 0).then_some(3), &cancel).expect("read");
        let expected: Vec<_> = totals
            .iter()
            .filter(|((_, code), _)| *code == 0)
            .map(|((place, _), (claims, cents))| (*place, (*claims, i128::from(*cents), i128::from(3 * claims))))
            .collect();
        let mut sums: Vec<_> = sums
            .into_iter()
            .map(|(place, sums)| (place, (sums.claims, sums.cents, sums.expected_micros)))
            .collect();
        sums.sort_unstable();
        prop_assert_eq!(sums, expected);
        let mut busy = shuffle.busy_days(&|_, patients| patients > 3, &cancel).expect("read");
        busy.sort_unstable();
        let expected: Vec<_> = days
            .iter()
            .map(|(&(place, day), patients)| (place, day, u32::try_from(patients.len()).expect("few")))
            .filter(|day| day.2 > 3)
            .collect();
        prop_assert_eq!(busy, expected);
    }
}

#[test]
fn two_patients_with_one_token_are_seen_wherever_they_lie() {
    let folder = tempfile::tempdir().expect("a folder");
    let distinct = |checks: &[(u64, u32)]| {
        let identities = Identities::new(folder.path(), 0);
        for part in checks.chunks(2) {
            let mut pairs = identities.writer();
            for &(token, check) in part {
                let mut bytes = [7; 16];
                bytes[..8].copy_from_slice(&token.to_le_bytes());
                pairs.push(bytes, check).expect("taken");
            }
            pairs.finish().expect("finished");
        }
        let Distinct { ids, tokens } =
            identities.distinct(&Cancellation::default()).expect("counted");
        (ids, tokens)
    };
    assert_eq!(distinct(&[(0, 0), (0, 0), (1, 1), (u64::MAX, 1), (1, 1), (0, 0)]), (3, 3));
    assert_eq!(distinct(&[(0, 0), (1, 1), (5, 5), (0, 1)]), (4, 3));
    assert_eq!(distinct(&[]), (0, 0));
}

#[test]
fn two_claims_with_one_token_are_seen() {
    let claims = |rows: &[Sample], checks: [u32; 3]| {
        let folder = tempfile::tempdir().expect("a folder");
        let shuffle = Shuffle::new(folder.path(), 0, &Severities::default(), ALL);
        let mut writer = shuffle.writer();
        let mut frame = frame(rows);
        let checks =
            polars::prelude::UInt32Chunked::from_vec("claim_check".into(), checks.to_vec());
        frame.with_column(polars::prelude::IntoColumn::into_column(checks)).expect("as long");
        writer.push(&frame, &[]).and_then(|()| writer.finish()).expect("written");
        let mut resolved = Resolved::default();
        let mut buckets = Shuffle::buckets();
        shuffle.next_rows(&mut buckets, 10, OnDuplicate::Last, &mut resolved).expect("read");
        (resolved.claims.ids, resolved.claims.tokens)
    };
    let rows = [PLAIN, Sample { line: 2, ..PLAIN }, Sample { claim: 2, ..PLAIN }];
    assert_eq!(claims(&rows, [5, 5, 6]), (2, 2));
    assert_eq!(claims(&rows, [5, 9, 6]), (3, 2), "another identifier");
    assert_eq!(claims(&rows, [5, 5, 5]), (2, 2), "checks are of tokens");
}
