//! Compares the refreshed model's claim count with the warehouse.
//!
//! See "Datasets - Execute Queries In Group".

use serde_json::{Value, json};

use super::model::{Model, TRIES};
use crate::http::Request;
use crate::refresh::job::Job;
use crate::refresh::outcome::Failure;
use crate::warehouse::sql;

const CLAIMS: &str = "SELECT count(*) AS claims FROM healthcare_analytics.claims_fact";
const WHAT: &str = "the query of verify_query";

/// Compares the number returned by `query` with the warehouse's claim count; describes the match.
pub(super) fn verify(job: &mut Job<'_>, model: &Model, query: &str) -> Result<String, Failure> {
    let question = json!({
        "queries": [{ "query": query }],
        "serializerSettings": { "includeNulls": true },
    });
    // Read-only, so it may be retried.
    let request = Request::post(model.at("/executeQueries")).json(&question);
    let shown = number(&model.json(job, &request, WHAT, TRIES)?).ok_or_else(|| {
        Failure::failed(format!(
            "{WHAT} must return one row with one whole number, for example EVALUATE ROW(\"n\", \
             COUNTROWS(claims_fact))"
        ))
    })?;
    let batch = job.query("claims in the warehouse", CLAIMS)?;
    let claims = sql::int(&batch, "claims", 0).unwrap_or(0);
    if shown == claims {
        return Ok(format!("shows {shown} rows, as the warehouse has"));
    }
    Err(Failure::failed(format!(
        "refreshed, but shows {shown} rows, the warehouse has {claims}; does the model read this \
         warehouse, and all of claims_fact?"
    )))
}

/// The single value of the single row, if it is an integer.
fn number(answer: &Value) -> Option<i64> {
    let [result] = answer["results"].as_array()?.as_slice() else { return None };
    let [table] = result["tables"].as_array()?.as_slice() else { return None };
    let [row] = table["rows"].as_array()?.as_slice() else { return None };
    let row = row.as_object()?;
    let value = row.values().next().filter(|_| row.len() == 1)?;
    // The service sends 3000 or 3000.0.
    value.as_i64().or_else(|| value.to_string().strip_suffix(".0")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_with_one_whole_number() {
        let answer = |rows: Value| json!({ "results": [{ "tables": [{ "rows": rows }] }] });
        assert_eq!(number(&answer(json!([{ "[n]": 3000 }]))), Some(3000));
        assert_eq!(number(&answer(json!([{ "[n]": 3000.0 }]))), Some(3000));
        for wrong in [
            json!([]),
            json!([{}]),
            json!([{ "[n]": null }]),
            json!([{ "[n]": 1.5 }]),
            json!([{ "[n]": "3000" }]),
            json!([{ "[n]": 1, "[m]": 2 }]),
            json!([{ "[n]": 1 }, { "[n]": 2 }]),
        ] {
            assert_eq!(number(&answer(wrong.clone())), None, "{wrong}");
        }
        assert_eq!(number(&json!({ "error": { "code": "DatasetExecuteQueriesError" } })), None);
    }
}
