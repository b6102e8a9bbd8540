//! The contract: the columns of the two inputs and of the two tables, with their Arrow and
//! Postgres types.
//!
//! The SQL of the migrations creates the same columns; an integration test compares the two.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The two inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dataset {
    /// One row per claim line.
    Claims,
    /// One row per provider.
    Providers,
}

impl Dataset {
    /// The name in the configuration, in messages and in the ledger.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::Providers => "providers",
        }
    }

    /// Columns that a source must have, in the contract's order.
    #[must_use]
    pub(crate) fn required(self) -> &'static [&'static str] {
        match self {
            Self::Claims => &[
                "claim_id",
                "patient_id",
                "provider_id",
                "procedure_code",
                "amount",
                "date_of_service",
            ],
            Self::Providers => &["provider_id", "provider_name", "specialty", "location"],
        }
    }

    /// Columns that a source may have.
    #[must_use]
    pub(crate) fn optional(self) -> &'static [&'static str] {
        match self {
            Self::Claims => &["line_number"],
            Self::Providers => &[],
        }
    }

    /// Required and optional columns, in the contract's order.
    pub(crate) fn columns(self) -> impl Iterator<Item = &'static str> {
        self.required().iter().chain(self.optional()).copied()
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Schema of the tables that dashboards read.
pub(crate) const PUBLISHED: &str = "healthcare_analytics";
/// Schema of the ledger and of staging.
pub(crate) const INTERNAL: &str = "claims_etl";
/// The fact table, one row per claim line.
pub(crate) const CLAIMS_FACT: &str = "claims_fact";
/// The provider dimension.
pub(crate) const PROVIDERS_DIM: &str = "providers_dim";

/// The id of the unknown provider, which claims without a provider point at.
pub(crate) const UNKNOWN_PROVIDER: &str = "(unknown)";
/// Its key.
pub(crate) const UNKNOWN_PROVIDER_KEY: i32 = 0;

/// A range of claim tokens: what one partition of the fact holds. An end that is none is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenRange {
    /// The lowest token.
    pub(crate) from: Option<Uuid>,
    /// The first token beyond.
    pub(crate) to: Option<Uuid>,
}

impl TokenRange {
    /// What holds of a column within the range, as SQL; true where both ends are open.
    #[must_use]
    pub(crate) fn condition(&self, column: &str) -> String {
        let ends = [(">=", self.from), ("<", self.to)];
        let conditions: Vec<String> = ends
            .into_iter()
            .filter_map(|(operator, end)| Some(format!("{column} {operator} '{}'", end?)))
            .collect();
        if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") }
    }

    /// The partition's bounds, as SQL.
    #[must_use]
    pub(crate) fn bounds(&self) -> String {
        let end = |token: Option<Uuid>, open: &str| {
            token.map_or_else(|| open.to_owned(), |token| format!("'{token}'"))
        };
        format!("FROM ({}) TO ({})", end(self.from, "MINVALUE"), end(self.to, "MAXVALUE"))
    }
}

/// The columns of claims with identifiers or codes, of which the directory has `provider_id` too.
pub(crate) const IDENTIFIERS: [&str; 4] =
    ["claim_id", "patient_id", "provider_id", "procedure_code"];

/// Position of a row in its source: file number (from 0) in the upper bits, record number (from 1,
/// header not counted) in the lower 40. Orders rows as they arrived.
pub(crate) const ORIGIN: &str = "origin";
/// Bits of [`ORIGIN`] that hold the record number.
pub(crate) const ORIGIN_RECORD_BITS: u32 = 40;
/// The file number of an [`ORIGIN`], from 0.
#[must_use]
pub(crate) fn origin_file(origin: i64) -> i64 {
    origin >> ORIGIN_RECORD_BITS
}

/// The record number of an [`ORIGIN`], from 1.
#[must_use]
pub(crate) fn origin_record(origin: i64) -> i64 {
    origin & ((1 << ORIGIN_RECORD_BITS) - 1)
}

/// The structural rule that a record breaks, by [`crate::rule::Rule::code`]; null of a record whose
/// fields could be separated. A damaged record's fields are null.
pub(crate) const DAMAGE: &str = "damage";
/// The text of a damaged record, lossy; null of any other. Its fingerprint is made of it, and it
/// ends in the first pass.
pub(crate) const RAW: &str = "raw_record";
/// The line, from 1, on which a record begins in its unpacked file; null where there are no lines.
pub(crate) const SOURCE_LINE: &str = "source_line";

/// What was taken off the parts of identifiers that templates have put together, by
/// [`crate::identifier::Damage::bits`]. Other identifiers are still as they came.
pub(crate) const ID_DAMAGE: &str = "identifier_damage";

/// The nullable reject code of a row, see [`crate::rule::Rule`].
pub const REJECT: &str = "reject";
/// The keyed fingerprint of a rejected row's raw fields; null for accepted rows.
pub(crate) const ROW_FINGERPRINT: &str = "row_fingerprint";

/// The amount of a row between the two passes, in cents.
pub(crate) const CENTS: &str = "cents";
/// What was taken of a row's amount before it was released, in cents: raw − released. Only where
/// amounts are made coarser.
pub(crate) const GENERALIZED: &str = "generalized";
/// Place of the row's provider in the directory; null where the directory has none such.
pub(crate) const PROVIDER_ROW: &str = "provider_row";
/// A check of the claim's identifier under a seed of the run, between the two passes: two identifiers
/// with one token have different ones.
pub(crate) const CLAIM_CHECK: &str = "claim_check";
/// The same of the patient's identifier.
pub(crate) const PATIENT_CHECK: &str = "patient_check";
/// Whether another claim has the same content as the row, in the second pass.
pub const TWIN: &str = "twin";

/// Cells of fewer patients than this are not shown, but for empty ones: the cell-size policy of CMS.
pub(crate) const SMALLEST_CELL: u32 = 11;

/// Digits of `amount`: numeric(12,2).
pub const AMOUNT_PRECISION: u8 = 12;
/// Decimal places of `amount`.
pub const AMOUNT_SCALE: i8 = 2;
/// The largest amount in cents that numeric(12,2) holds: 9,999,999,999.99.
pub(crate) const AMOUNT_MAX_CENTS: i64 = 999_999_999_999;

/// The columns that a privacy profile can take out of the tables.
const DROPPABLE: [&str; 4] = ["provider_name", "specialty", "location", "procedure_code"];

/// Which of the columns that can be taken out the tables have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// A bit for each of [`DROPPABLE`] that is not there.
    dropped: u8,
}

impl Shape {
    /// The tables with all columns.
    pub const WHOLE: Self = Self { dropped: 0 };

    /// The tables without some columns. Names that cannot be taken out are not looked at.
    pub(crate) fn without<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        let bit = |column: &str| DROPPABLE.iter().position(|&known| known == column);
        let bits = columns.into_iter().filter_map(bit).map(|place| 1 << place);
        Self { dropped: bits.fold(0, |all, bit: u8| all | bit) }
    }

    /// Whether a column is there.
    #[must_use]
    pub fn has(self, column: &str) -> bool {
        !self.dropped().any(|dropped| dropped == column)
    }

    /// The columns that are not there.
    pub fn dropped(self) -> impl Iterator<Item = &'static str> {
        let places = DROPPABLE.into_iter().enumerate();
        places.filter(move |(place, _)| self.dropped & 1 << place != 0).map(|(_, column)| column)
    }
}

/// One column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    /// The name in Postgres and in Arrow.
    pub name: &'static str,
    /// The type in Arrow.
    pub(crate) arrow: DataType,
    /// The type in Postgres, as `format_type` prints it.
    pub postgres: &'static str,
    /// Whether the column may be null.
    pub nullable: bool,
}

const fn column(
    name: &'static str,
    arrow: DataType,
    postgres: &'static str,
    nullable: bool,
) -> Column {
    Column { name, arrow, postgres, nullable }
}

/// The columns of `claims_fact` that the plan produces, in COPY order. `run_no` is not among them:
/// it is the same for all rows of a run, so staging fills it by a default.
#[must_use]
pub fn fact_columns(shape: Shape) -> Vec<Column> {
    let amount = DataType::Decimal128(AMOUNT_PRECISION, AMOUNT_SCALE);
    let mut columns = vec![
        column("claim_token", DataType::FixedSizeBinary(16), "uuid", false),
        column("patient_token", DataType::FixedSizeBinary(16), "uuid", false),
        column("risk_components", DataType::Int64, "bigint", false),
        column("provider_key", DataType::Int32, "integer", false),
        column("date_of_service", DataType::Date32, "date", false),
        column("risk_score", DataType::Float32, "real", false),
        column("dq_flags", DataType::Int32, "integer", false),
        column("line_number", DataType::Int16, "smallint", false),
        column("amount", amount, "numeric(12,2)", false),
        column("procedure_code", DataType::Utf8View, "text", true),
    ];
    columns.retain(|column| shape.has(column.name));
    columns
}

/// The fact's columns with the provider's id in place of its key, which only the warehouse knows.
#[must_use]
pub(crate) fn keyless_columns(shape: Shape) -> Vec<Column> {
    let mut columns = fact_columns(shape);
    for column in &mut columns {
        if column.name == "provider_key" {
            *column = self::column("provider_id", DataType::Utf8View, "text", false);
        }
    }
    columns
}

/// The Arrow schema of [`keyless_columns`].
#[must_use]
pub(crate) fn keyless_schema(shape: Shape) -> SchemaRef {
    schema_of(keyless_columns(shape))
}

/// The Arrow schema of a batch on its way to staging: the fact's columns.
#[must_use]
pub fn staged_schema(shape: Shape) -> SchemaRef {
    schema_of(fact_columns(shape))
}

/// The columns of `providers_dim` that a directory provides, in COPY order.
#[must_use]
pub fn provider_columns(shape: Shape) -> Vec<Column> {
    let mut columns = vec![
        column("provider_id", DataType::Utf8View, "text", false),
        column("provider_name", DataType::Utf8View, "text", true),
        column("specialty", DataType::Utf8View, "text", true),
        column("location", DataType::Utf8View, "text", true),
    ];
    columns.retain(|column| shape.has(column.name));
    columns
}

/// The Arrow schema of a directory: the columns of `providers_dim` that it provides.
#[must_use]
pub(crate) fn provider_schema(shape: Shape) -> SchemaRef {
    schema_of(provider_columns(shape))
}

fn schema_of(columns: Vec<Column>) -> SchemaRef {
    let fields: Vec<Field> = columns
        .into_iter()
        .map(|column| Field::new(column.name, column.arrow, column.nullable))
        .collect();
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_column_is_absent() {
        let shape = Shape::without(["location", "amount"]);
        assert_eq!(shape.dropped().collect::<Vec<_>>(), ["location"]);
        assert_eq!(provider_columns(shape).len() + 1, provider_columns(Shape::WHOLE).len());
        assert!(provider_columns(shape).iter().all(|column| column.name != "location"));
    }

    #[test]
    fn a_range_is_a_condition_and_a_partitions_bounds() {
        let half = Some(Uuid::from_u128(1 << 127));
        let of = |from, to| {
            let range = TokenRange { from, to };
            (range.condition("t"), range.bounds())
        };
        let token = "'80000000-0000-0000-0000-000000000000'";
        assert_eq!(of(None, None), ("true".into(), "FROM (MINVALUE) TO (MAXVALUE)".into()));
        assert_eq!(
            of(None, half),
            (format!("t < {token}"), format!("FROM (MINVALUE) TO ({token})"))
        );
        let both =
            (format!("t >= {token} AND t < {token}"), format!("FROM ({token}) TO ({token})"));
        assert_eq!(of(half, half), both);
    }
}
