//! The claim lines with the highest scores.

use adbc_core::sync::Connection;

use crate::error::Result;
use crate::schema::{CLAIMS_FACT, PUBLISHED};
use crate::warehouse::sql;

const CONTEXT: &str = "claim lines with the highest scores";

/// Lines that are stored.
const STORED: usize = 200;
/// Lines that the dashboard shows: with fewer than these the fact is scanned.
const SHOWN: usize = 10;

/// Ranks as in SQL: `ROW(risk_score, amount, claim_token, line_number)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ranked {
    pub(super) tenths: i64,
    pub(super) cents: i64,
    pub(super) token: [u8; 16],
    pub(super) line: i16,
}

/// The order of rank, highest first.
const BY_RANK: &str = "ORDER BY risk_score DESC, amount DESC, claim_token DESC, line_number DESC";

/// The highest of many lines.
#[derive(Debug, Clone, Default)]
pub(super) struct TopLines {
    lines: Vec<Ranked>,
    /// Whether a line was left out.
    truncated: bool,
}

impl TopLines {
    pub(super) fn add(&mut self, line: Ranked) {
        if self.truncated && self.lines.get(STORED - 1).is_some_and(|last| line < *last) {
            return;
        }
        self.lines.push(line);
        if self.lines.len() >= 2 * STORED {
            self.truncate();
        }
    }

    fn truncate(&mut self) {
        self.lines.sort_unstable_by(|one, other| other.cmp(one));
        self.truncated |= self.lines.len() > STORED;
        self.lines.truncate(STORED);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.lines.extend(other.lines);
        self.truncated |= other.truncated;
        self.truncate();
    }

    /// The highest lines in order, and whether these are all lines.
    pub(super) fn ranked(&mut self) -> (Vec<Ranked>, bool) {
        self.truncate();
        (self.lines.clone(), !self.truncated)
    }
}

/// Brings the stored lines up to date after a change. `touched` has the tokens of the changed claims, `after`
/// their lines as they are now.
pub(super) fn update(connection: &mut impl Connection, touched: &str, after: &str) -> Result<()> {
    let rank = "risk_score, amount, claim_token, line_number";
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "CREATE TEMPORARY TABLE last_top_line ON COMMIT DROP AS
             SELECT {rank} FROM claims_etl.top_lines
             ORDER BY risk_score, amount, claim_token, line_number LIMIT 1;
             DELETE FROM claims_etl.top_lines t USING {touched} c WHERE t.claim_token = c.claim_token;
             INSERT INTO claims_etl.top_lines (claim_token, line_number, risk_score, amount)
             SELECT claim_token, line_number, risk_score, amount FROM {after} l
             WHERE risk_score > 0
               AND ((SELECT is_complete FROM claims_etl.top_lines_state)
                    OR ROW(l.risk_score, l.amount, l.claim_token, l.line_number)
                       >= (SELECT {rank} FROM pg_temp.last_top_line))
             {BY_RANK} LIMIT {STORED};
             WITH beyond AS (
                 DELETE FROM claims_etl.top_lines WHERE (claim_token, line_number) IN (
                     SELECT claim_token, line_number FROM claims_etl.top_lines
                     {BY_RANK} OFFSET {STORED})
                 RETURNING 1)
             UPDATE claims_etl.top_lines_state SET is_complete = false WHERE EXISTS (SELECT FROM beyond)
                 OR (SELECT count(*) FROM {after} WHERE risk_score > 0) > {STORED};
             DROP TABLE pg_temp.last_top_line"
        ),
    )?;
    let short = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT NOT is_complete AND (SELECT count(*) FROM claims_etl.top_lines) < {SHOWN} AS short
             FROM claims_etl.top_lines_state"
        ),
    )?;
    if sql::boolean(&short, "short", 0) == Some(true) { rescan(connection) } else { Ok(()) }
}

/// Finds the lines in the fact.
pub(super) fn rescan(connection: &mut impl Connection) -> Result<()> {
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "DELETE FROM claims_etl.top_lines;
             INSERT INTO claims_etl.top_lines (claim_token, line_number, risk_score, amount)
             SELECT claim_token, line_number, risk_score, amount FROM {PUBLISHED}.{CLAIMS_FACT}
             WHERE risk_score > 0 {BY_RANK} LIMIT {STORED};
             UPDATE claims_etl.top_lines_state
             SET is_complete = (SELECT count(*) FROM claims_etl.top_lines) < {STORED}"
        ),
    )
    .map(drop)
}

/// Gives the stored lines the tokens of a key rotation, whose map is complete.
pub(in crate::load) fn rename_claims(connection: &mut impl Connection) -> Result<()> {
    sql::execute(
        connection,
        CONTEXT,
        "UPDATE claims_etl.top_lines t SET claim_token = m.new_token FROM claims_etl.token_map m
         WHERE m.domain = 'claim' AND m.old_token = t.claim_token",
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_lines_stay() {
        let line = |tenths: i64| Ranked { tenths, cents: 100, token: [7; 16], line: 1 };
        let (mut one, mut other) = (TopLines::default(), TopLines::default());
        for tenths in 0..1000 {
            let top = if tenths % 3 == 0 { &mut one } else { &mut other };
            top.add(line(tenths));
        }
        one.merge(other);
        let (lines, is_complete) = one.ranked();
        let highest: Vec<Ranked> = (0..1000).rev().take(STORED).map(line).collect();
        assert_eq!((lines, is_complete), (highest, false));
        let mut few = TopLines::default();
        few.add(line(5));
        few.merge(TopLines::default());
        assert_eq!(few.ranked(), (vec![line(5)], true));
    }
}
