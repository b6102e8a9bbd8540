//! Custom columnar functions as Polars expressions.
//!
//! A function's state (a key, a table of statistics) never appears in a plan.

use polars::prelude::{
    Column, DataType, Expr, Field, PolarsError, PolarsResult, Schema, Series, StringChunked,
};

/// An elementwise function of several columns: one output row per input row. `name` is shown by
/// `explain`.
pub(super) fn elementwise<F>(
    name: &'static str,
    inputs: &[Expr],
    output: DataType,
    function: F,
) -> Expr
where
    F: Fn(&[Series]) -> PolarsResult<Series> + Send + Sync + 'static,
{
    let call = move |columns: &mut [Column]| -> PolarsResult<Column> {
        let series: Vec<Series> =
            columns.iter().map(|column| column.as_materialized_series().rechunk()).collect();
        function(&series).map(Column::from)
    };
    let field = move |_: &Schema, fields: &[Field]| -> PolarsResult<Field> {
        let first = fields.first().ok_or_else(|| broken("an expression without input"))?;
        Ok(Field::new(first.name().clone(), output.clone()))
    };
    let (first, rest) = inputs.split_first().expect("every rule reads a column");
    let mut expression = first.clone().map_many(call, rest, field);
    if let Expr::AnonymousFunction { fmt_str, .. } = &mut expression {
        **fmt_str = name.into();
    }
    expression
}

/// A function of one text column.
pub(super) fn of_text<F>(name: &'static str, input: Expr, output: DataType, function: F) -> Expr
where
    F: Fn(&StringChunked) -> PolarsResult<Series> + Send + Sync + 'static,
{
    elementwise(name, &[input], output, move |series| function(series[0].str()?))
}

/// Error for a broken plan invariant; contains no cell values.
pub(super) fn broken(what: &'static str) -> PolarsError {
    PolarsError::ComputeError(what.into())
}
