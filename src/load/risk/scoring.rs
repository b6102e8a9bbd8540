//! Rows of the warehouse are scored: read with what is around them, written as keys and scores.
//!
//! Both come to the same thousandths.

use std::sync::Arc;

use adbc_core::options::IngestMode;
use adbc_core::sync::Connection;
use arrow::array::{
    ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, RecordBatchIterator, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Date32Type, Field, Float32Type, Schema};

use super::Scope;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::load::risk::related_claims::{DAYS, TWINS};
use crate::risk::{Inputs, RiskModel, Twin, pack, score_of_tenths, score_tenths, tenths_of_score};
use crate::schema::INTERNAL;
use crate::warehouse::cursor::each_batch;
use crate::warehouse::sql;

const CONTEXT: &str = "scoring claims";

/// Rows of one table that are to be scored.
pub(super) struct Scoring<'a> {
    pub(super) scope: &'a Scope<'a>,
    pub(super) model: &'a RiskModel,
    /// The qualified name of the table.
    pub(super) from: String,
    /// The table of provider groups.
    pub(super) peers: String,
    /// The name of the table of scores that is made.
    pub(super) into: String,
    /// Whether the rows have a score, and only those are written whose score is another one.
    pub(super) scored: bool,
}

/// What became of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Rows that were looked at.
    pub(super) rows: u64,
    /// Rows that were written.
    pub(super) written: u64,
    /// The same by band, low to high: those that had it before, and those that have it now.
    pub(super) before: [u64; 3],
    pub(super) after: [u64; 3],
}

/// The key of a table of scores and what it holds.
fn columns() -> [(&'static str, DataType, &'static str); 4] {
    [
        ("claim_token", DataType::FixedSizeBinary(16), "uuid NOT NULL"),
        ("line_number", DataType::Int16, "smallint NOT NULL"),
        ("risk_score", DataType::Float32, "real NOT NULL"),
        ("risk_components", DataType::Int64, "bigint NOT NULL"),
    ]
}

impl Scoring<'_> {
    /// Scores the rows, in one transaction.
    ///
    /// # Errors
    /// `Warehouse` when a statement fails, `Interrupted` when cancelled.
    pub(super) fn run<C: Connection>(&self, connection: &mut C) -> Result<Counts> {
        let table = format!("{INTERNAL}.{}", self.into);
        let definitions =
            columns().map(|(name, _, postgres)| format!("{name} {postgres}")).join(", ");
        sql::in_transaction(connection, CONTEXT, |connection| {
            sql::execute(
                connection,
                CONTEXT,
                &format!(
                    "SET LOCAL jit = off; DROP TABLE IF EXISTS {table};
                     CREATE TABLE {table} ({definitions})"
                ),
            )?;
            let mut counts = Counts::default();
            each_batch(
                connection,
                CONTEXT,
                &self.query(),
                self.scope.cancel,
                |connection, rows| {
                    failpoint::hit("risk.batch")?;
                    let scores = self.score(rows, &mut counts)?;
                    counts.written += scores.num_rows() as u64;
                    let schema = scores.schema();
                    let reader = Box::new(RecordBatchIterator::new([Ok(scores)], schema));
                    let target = (INTERNAL, self.into.as_str());
                    sql::ingest(connection, target, IngestMode::Append, &[], reader).map(drop)
                },
            )?;
            sql::execute(
                connection,
                CONTEXT,
                &format!(
                    "ALTER TABLE {table} ADD PRIMARY KEY (claim_token, line_number);
                     ANALYZE {table}"
                ),
            )?;
            Ok(counts)
        })
    }

    /// The rows with the patients of their provider's day, and with their twins.
    fn query(&self) -> String {
        let kept = self.scope.kept();
        let mut joins = Vec::new();
        let (mut patients, mut is_exact) = ("NULL::integer", "NULL::boolean");
        if kept.provider_days {
            patients = "y.after";
            joins.push(format!(
                " LEFT JOIN {} y ON y.peer_key = p.peer_key
                      AND y.date_of_service = s.date_of_service AND y.specialty = p.specialty",
                self.scope.table(DAYS)
            ));
        }
        if kept.twins {
            is_exact = "t.is_exact";
            joins.push(format!(
                " LEFT JOIN {} t ON t.patient_token = s.patient_token
                      AND t.date_of_service = s.date_of_service
                      AND t.procedure_code = s.procedure_code
                      AND t.durable_key = p.durable_key AND t.amount = s.amount",
                self.scope.table(TWINS)
            ));
        }
        let stored = if self.scored { ", s.risk_score, s.risk_components" } else { "" };
        format!(
            "SELECT s.claim_token, s.line_number, p.peer_key, s.procedure_code, p.specialty,
                    (s.amount * 100)::bigint AS cents, s.date_of_service,
                    {patients} AS patients, {is_exact} AS is_exact {stored}
             FROM (SELECT claim_token, line_number, patient_token, provider_key, amount,
                          date_of_service, risk_score, risk_components, {}
                   FROM {}) s
             JOIN {} p ON p.provider_key = s.provider_key {}",
            self.scope.procedure(""),
            self.from,
            self.peers,
            joins.concat()
        )
    }

    /// The scores of the rows; those that have theirs already are left out.
    fn score(&self, rows: &RecordBatch, counts: &mut Counts) -> Result<RecordBatch> {
        let missing = || Error::internal("a row to be scored has no such column");
        let column = |name: &str| rows.column_by_name(name).ok_or_else(missing);
        let days = column("date_of_service")?.as_primitive_opt::<Date32Type>();
        let days = days.ok_or_else(missing)?;
        let stored =
            rows.column_by_name("risk_score").and_then(|c| c.as_primitive_opt::<Float32Type>());
        let kept = self.scope.kept();
        let weights = self.model.weights();
        let (mut chosen, mut scores) = (Vec::new(), Vec::new());
        for row in 0..rows.num_rows() {
            let procedure = sql::text(rows, "procedure_code", row);
            let specialty = sql::text(rows, "specialty", row).unwrap_or_default();
            let twin = match (kept.twins, sql::boolean(rows, "is_exact", row)) {
                (false, _) => Twin::Unknown,
                (true, None) => Twin::None,
                (true, Some(false)) => Twin::Suspect,
                (true, Some(true)) => Twin::Exact,
            };
            let peer_key = sql::int(rows, "peer_key", row).ok_or_else(missing)?;
            let patients = sql::int(rows, "patients", row);
            let components = self.model.components_of(&Inputs {
                procedure: procedure.as_deref(),
                specialty: &specialty,
                provider: &peer_key.to_string(),
                cents: sql::int(rows, "cents", row).ok_or_else(missing)?,
                day: self.scope.exact.day.then(|| days.value(row)),
                day_patients: patients.and_then(|patients| u32::try_from(patients).ok()),
                twin,
            });
            let tenths = score_tenths(&components, &weights);
            let packed = pack(&components, &weights);
            counts.rows += 1;
            counts.after[self.band(tenths)] += 1;
            if self.scored {
                let stored = tenths_of_score(stored.ok_or_else(missing)?.value(row));
                counts.before[self.band(stored)] += 1;
                if (stored, sql::int(rows, "risk_components", row)) == (tenths, Some(packed)) {
                    continue;
                }
            }
            chosen.push(u32::try_from(row).map_err(|_| missing())?);
            scores.push((tenths, packed));
        }
        let chosen = UInt32Array::from(chosen);
        let key = |name: &str| take(column(name)?, &chosen, None).map_err(|_| missing());
        let cells: [ArrayRef; 4] = [
            key("claim_token")?,
            key("line_number")?,
            Arc::new(Float32Array::from_iter_values(
                scores.iter().map(|score| score_of_tenths(score.0)),
            )),
            Arc::new(Int64Array::from_iter_values(scores.iter().map(|score| score.1))),
        ];
        let fields: Vec<Field> =
            columns().into_iter().map(|(name, of, _)| Field::new(name, of, false)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), cells.to_vec()).map_err(|_| missing())
    }

    /// The band of a score in tenths: 0 low, 1 medium, 2 high.
    #[expect(clippy::cast_precision_loss, reason = "scores are at most 1,000 tenths")]
    fn band(&self, tenths: i64) -> usize {
        let score = tenths as f64 / 10.0;
        let settings = self.scope.settings;
        usize::from(score >= settings.medium_from) + usize::from(score >= settings.high_from)
    }
}
