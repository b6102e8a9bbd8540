//! The privacy report: published columns, re-identification risk, and decisions left to people.
//!
//! Reads only the warehouse, in one snapshot; needs neither sources nor key.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::safe_harbor::{PublishedColumn, judge, source};
use crate::adbc_postgres::PostgresConnection;
use crate::commands::privacy::exposure;
use crate::commands::privacy::exposure::{Anonymity, PublicCells, Quasi, Released, Size};
use crate::commands::privacy::quasi_identifiers::QuasiSet;
use crate::commands::verify::snapshot::in_snapshot;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Observer;
use crate::privacy::settings::{Action, Privacy, Profile};
use crate::schema::{SMALLEST_CELL, Shape};
use crate::totals::grouped;
use crate::warehouse::location::Warehouse;

/// Parameters of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivacyQuestion {
    /// Quasi-identifiers; empty for the defaults.
    pub sets: Vec<QuasiSet>,
    /// Groups with fewer patients are counted; at least 2.
    pub k: u32,
    /// Minimum group size required of every set.
    pub require_k: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeasuredSet {
    /// Column names, dates with their granularity.
    pub columns: Vec<String>,
    /// Distinct combinations of values; null counts as a value.
    pub groups: u64,
    /// Patients in the smallest group: the k of k-anonymity.
    pub smallest_k: u64,
    /// Rows in groups of one patient.
    pub rows_below_2: u64,
    /// Rows in groups of fewer than k patients.
    pub rows_below_k: u64,
    /// Rows with a unique combination.
    pub unique_rows: u64,
}

/// A set that was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnmeasuredSet {
    /// Column names, dates with their granularity.
    pub(crate) columns: Vec<String>,
    pub(crate) why: String,
}

/// Provider-month cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct SmallCells {
    /// Minimum number of patients of a shown cell.
    pub(crate) threshold: u32,
    /// Provider-months with at least one claim.
    pub(crate) provider_months: u64,
    /// Provider-months with fewer patients.
    pub(crate) small: u64,
    /// Cells of the public view when last refreshed; null if never.
    pub(crate) cells: Option<u64>,
    /// Shown cells.
    pub(crate) shown: Option<u64>,
    /// Suppressed cells: those with few patients.
    pub(crate) suppressed: Option<u64>,
}

/// A decision left to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ForAHuman {
    pub(crate) about: &'static str,
    /// What to decide.
    pub(crate) text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrivacyReport {
    /// The last published run.
    pub(crate) run_id: String,
    /// Id of the key that created the tokens.
    pub(crate) key_id: String,
    pub(crate) profile: String,
    /// Column → action.
    pub(crate) actions: BTreeMap<String, Value>,
    /// Rows of the fact table.
    pub rows: u64,
    /// Distinct patients.
    pub patients: u64,
    /// Published columns.
    pub columns: Vec<PublishedColumn>,
    /// Contract columns that are not published.
    pub(crate) dropped: Vec<String>,
    /// Groups with fewer patients are counted.
    pub(crate) k: u32,
    pub sets: Vec<MeasuredSet>,
    /// Sets not measured, and why.
    pub left_out: Vec<UnmeasuredSet>,
    /// Provider-month cells.
    pub(crate) small_cells: SmallCells,
    /// Decisions left to people.
    pub(crate) to_decide: Vec<ForAHuman>,
    /// Required minimum group size of every set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) required_k: Option<u32>,
    /// Process exit code.
    #[serde(skip)]
    pub exit_code: u8,
}

/// Builds the privacy report.
///
/// # Errors
/// `Config` if nothing is published, or if a set must have a k but cannot be measured; `Warehouse`
/// when the tables cannot be read. A k that is too small sets the exit code and is not an error.
pub fn privacy_report(
    settings: &Settings,
    question: &PrivacyQuestion,
    observer: &dyn Observer,
) -> Result<PrivacyReport> {
    let mut connection = Warehouse::open(settings, observer)?.connect()?;
    let nothing = || {
        Error::config("nothing is published: there is nothing to report on")
            .hint("`claims-etl run` loads claims")
    };
    // Queried before the snapshot, which requires existing tables.
    exposure::released(&mut connection)?.ok_or_else(nothing)?;
    in_snapshot(&mut connection, |connection| {
        let released = exposure::released(connection)?.ok_or_else(nothing)?;
        report(connection, released, question)
    })
}

fn report(
    connection: &mut PostgresConnection,
    released: Released,
    question: &PrivacyQuestion,
) -> Result<PrivacyReport> {
    let privacy = privacy(&released)?;
    let columns = exposure::columns(connection)?;
    let shape = shape(&columns);
    let sets = if question.sets.is_empty() { QuasiSet::defaults() } else { question.sets.clone() };
    let dates = privacy.action("date_of_service");
    let (mut measurable, mut left_out) = (Vec::new(), Vec::new());
    for set in sets {
        match set.measurable(shape, &dates) {
            Ok(by) => measurable.push((set.names(), by)),
            Err(why) => left_out.push(UnmeasuredSet { columns: set.names(), why }),
        }
    }
    let named = !question.sets.is_empty();
    if let (Some(_), Some(first)) = (question.require_k, left_out.first())
        && (named || measurable.is_empty())
    {
        let set = first.columns.join(",");
        return Err(Error::config(format!(
            "{set} must have a k, but cannot be measured: {}",
            first.why
        ))
        .hint("name sets of what is released, with --quasi"));
    }
    let size = exposure::size(connection)?;
    let mut sets = Vec::new();
    for (columns, by) in measurable {
        sets.push(measured(columns, exposure::anonymity(connection, &by, question.k)?));
    }
    let too_small = |set: &MeasuredSet| {
        question.require_k.is_some_and(|k| set.groups > 0 && set.smallest_k < u64::from(k))
    };
    let exit_code = if sets.iter().any(too_small) { ErrorKind::Quality.exit_code() } else { 0 };
    let (provider_months, small) = exposure::provider_months(connection)?;
    let cells = exposure::public_cells(connection)?;
    let to_decide = to_decide(connection, &privacy, shape, size)?;
    Ok(PrivacyReport {
        run_id: released.run_id,
        key_id: released.key_id,
        profile: released.profile,
        actions: privacy
            .actions()
            .map(|(column, action)| (column.into(), written(&action)))
            .collect(),
        rows: size.rows,
        patients: size.patients,
        columns: columns
            .iter()
            .map(|(table, column)| {
                let action = source(table, column).map(|source| privacy.action(source));
                judge(table, column, action.as_ref())
            })
            .collect(),
        dropped: shape.dropped().map(ToOwned::to_owned).collect(),
        k: question.k,
        sets,
        left_out,
        small_cells: small_cells(provider_months, small, cells),
        to_decide,
        required_k: question.require_k,
        exit_code,
    })
}

/// The recorded actions as settings. An unreadable action is an error: an incorrect report would be
/// worse than none.
fn privacy(released: &Released) -> Result<Privacy> {
    let unreadable = |what: &str| {
        Error::config(format!("the warehouse has {what} that this program does not know"))
            .hint("a later version of claims-etl has loaded it: report with that version")
    };
    let profile: Profile = serde_json::from_value(Value::String(released.profile.clone()))
        .map_err(|_| unreadable("of a privacy profile"))?;
    let read = |(column, action): (&String, &Value)| {
        let action = serde_json::from_value(action.clone())
            .map_err(|_| unreadable("of an action on a column"))?;
        Ok((column.clone(), action))
    };
    let columns = released.actions.iter().flatten().map(read).collect::<Result<_>>()?;
    Ok(Privacy { profile, columns, ..Privacy::default() })
}

fn written(action: &Action) -> Value {
    serde_json::to_value(action).unwrap_or_else(|_| Value::from(action.name()))
}

/// The actual columns of the tables.
fn shape(columns: &[(String, String)]) -> Shape {
    let is_there = |name: &&str| columns.iter().any(|(_, column)| column == name);
    let optional = ["provider_name", "specialty", "location", "procedure_code"];
    Shape::without(optional.into_iter().filter(|name| !is_there(name)))
}

fn measured(columns: Vec<String>, hiding: Anonymity) -> MeasuredSet {
    MeasuredSet {
        columns,
        groups: hiding.groups,
        smallest_k: hiding.smallest,
        rows_below_2: hiding.rows_below_2,
        rows_below_k: hiding.rows_below_k,
        unique_rows: hiding.unique_rows,
    }
}

fn small_cells(provider_months: u64, small: u64, cells: Option<PublicCells>) -> SmallCells {
    SmallCells {
        threshold: SMALLEST_CELL,
        provider_months,
        small,
        cells: cells.map(|cells| cells.cells),
        shown: cells.map(|cells| cells.shown),
        suppressed: cells.map(|cells| cells.cells - cells.shown),
    }
}

/// Decisions left to people, with supporting figures.
fn to_decide(
    connection: &mut PostgresConnection,
    privacy: &Privacy,
    shape: Shape,
    size: Size,
) -> Result<Vec<ForAHuman>> {
    let mut list = Vec::new();
    let mut add = |about, text: String| list.push(ForAHuman { about, text });
    let figure = |number: u64| grouped(&number.to_string());
    add(
        "actual knowledge",
        "Safe Harbor also needs that you know of no way in which what remains could identify a \
         person, alone or with other information (45 CFR 164.514(b)(2)(ii)). No program can know that."
            .into(),
    );
    add(
        "tokens",
        "Tokens are made from identifiers by a keyed hash. A code under 164.514(c) must not be derived \
         from information about the person, so rows with tokens are not de-identified by Safe Harbor: \
         an expert determines that the risk is very small (164.514(b)(1)), or they stay protected \
         health information."
            .into(),
    );
    if privacy.profile == Profile::LimitedDataSet {
        add(
            "data use agreement",
            "A limited data set is protected health information: every recipient needs a data use \
             agreement (164.514(e)(4))."
                .into(),
        );
    }
    if let Action::DateShift(_) = privacy.action("date_of_service") {
        add(
            "shifted dates",
            "Shifted dates are still elements of dates: Safe Harbor allows the year alone, and a known \
             date of one claim gives away all dates of its patient."
                .into(),
        );
    }
    let names = privacy.action("provider_name");
    if shape.has("provider_name") && !matches!(names, Action::Redact(_) | Action::Token) {
        add(
            "provider names",
            "Names are free text: check them for content that does not belong there. A \
             practice of one physician is a person, and its patients are few."
                .into(),
        );
    }
    if shape.has("procedure_code") {
        let codes = Quasi { column: "procedure_code", level: None };
        let codes = exposure::anonymity(connection, &[codes], SMALLEST_CELL)?;
        add(
            "rare procedures",
            format!(
                "A code reveals a condition: {} of {} codes have fewer than {SMALLEST_CELL} \
                 patients. Rows with such a code: {}.",
                figure(codes.groups_below_k),
                figure(codes.groups),
                figure(codes.rows_below_k)
            ),
        );
    }
    let amounts = exposure::anonymity(connection, &[Quasi { column: "amount", level: None }], 2)?;
    add(
        "amounts",
        format!(
            "An amount on a bill identifies its row: {} of {} rows have one that only one \
             patient has.",
            figure(amounts.rows_below_2),
            figure(size.rows)
        ),
    );
    add(
        "frequency of tokens",
        format!(
            "A token hides the person, not the number of rows: one patient has {} of the rows.",
            figure(size.most_rows_of_a_patient)
        ),
    );
    Ok(list)
}
