//! Rejected records in their original form.

use std::io::Write;

use serde_json::json;

use super::super::output::Stopped;
use crate::cli::format::count;
use crate::commands::quarantine::records::{OriginalRecord, Originals};
use crate::error::{Error, Result};
use crate::quarantine::reader::Rejects;

/// Maximum records shown on a screen.
pub(super) const SCREEN: usize = 18;

/// Each record after its reason; control characters are escaped to protect the terminal.
pub(super) fn text(
    originals: &Originals,
    rejects: &Rejects,
    limit: usize,
    out: &mut dyn Write,
) -> Result<(), Stopped> {
    let width = rejects.iter().take(limit).map(|reject| reject.why.reason.len()).max().unwrap_or(0);
    let mut shown = 0;
    each(originals, rejects, limit, &mut |found| {
        let reason = if let Some(reject) = &found.reject {
            shown += 1;
            reject.why.reason.as_str()
        } else {
            writeln!(out, "{} ({})", found.source.path, found.source.dataset)?;
            "reason"
        };
        let text = String::from_utf8_lossy(found.bytes);
        let spelt = text.chars().map(|sign| match sign {
            '\t' => "\t".to_owned(),
            sign if sign.is_control() => sign.escape_default().to_string(),
            sign => sign.to_string(),
        });
        writeln!(out, "{reason:width$}  {}", spelt.collect::<String>())?;
        Ok(())
    })?;
    if rejects.len() > shown {
        let more = count((rejects.len() - shown) as u64);
        writeln!(out, "… and {more} more: --limit N, or --format csv --output FILE")?;
    }
    Ok(())
}

/// A JSON array with each record's text.
pub(super) fn json(
    originals: &Originals,
    rejects: &Rejects,
    limit: usize,
    out: &mut dyn Write,
) -> Result<(), Stopped> {
    let mut first = true;
    out.write_all(b"[")?;
    each(originals, rejects, limit, &mut |found| {
        if let Some(reject) = &found.reject {
            if !std::mem::take(&mut first) {
                out.write_all(b",")?;
            }
            let record = json!({
                "source": reject.source,
                "dataset": reject.dataset,
                "record": reject.record,
                "line": Some(found.line).filter(|line| *line > 0),
                "reason": reject.why.reason,
                "text": String::from_utf8_lossy(found.bytes),
            });
            serde_json::to_writer(&mut *out, &record).map_err(std::io::Error::from)?;
        }
        Ok(())
    })?;
    Ok(out.write_all(b"]\n")?)
}

/// Header and records byte for byte, to be corrected and loaded again.
pub(super) fn csv(
    originals: &Originals,
    rejects: &Rejects,
    limit: usize,
    with_reasons: bool,
    out: &mut dyn Write,
) -> Result<(), Stopped> {
    let mut header: Option<Vec<u8>> = None;
    each(originals, rejects, limit, &mut |found| {
        let separator = found.separator;
        match (&found.reject, &header) {
            (None, None) => {
                header = Some(found.bytes.to_vec());
                out.write_all(found.bytes)?;
                if with_reasons {
                    for name in ["_reason", "_source", "_record", "_line"] {
                        write!(out, "{separator}{name}")?;
                    }
                }
            }
            (None, Some(header)) if header == found.bytes => return Ok(()),
            (None, Some(_)) => {
                return Err(Error::config(format!(
                    "{} has another header than the files before it: their records do not fit into one file",
                    found.source.path
                ))
                .hint("write one file for each: --only PATH")
                .into());
            }
            (Some(reject), _) => {
                out.write_all(found.bytes)?;
                if with_reasons {
                    let line = Some(found.line).filter(|line| *line > 0);
                    let line = line.map_or_else(String::new, |line| line.to_string());
                    let record = reject.record.to_string();
                    for value in [reject.why.reason.as_str(), reject.source, &record, &line] {
                        write!(out, "{separator}{}", quoted(value, separator))?;
                    }
                }
            }
        }
        Ok(out.write_all(b"\n")?)
    })
}

/// Quotes a field if needed.
fn quoted(value: &str, separator: char) -> String {
    if value.contains([separator, '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

/// Calls `write` with each header and the first records.
fn each(
    originals: &Originals,
    rejects: &Rejects,
    limit: usize,
    write: &mut dyn FnMut(OriginalRecord<'_>) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    let (mut left, mut stopped) = (limit, None);
    let read = originals.read(rejects, &mut |found| {
        if found.reject.is_some() {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
        }
        write(found).map_err(|why| {
            stopped = Some(why);
            Error::internal("the records were not written")
        })
    });
    match (stopped, read) {
        (Some(stopped), _) => Err(stopped),
        (None, read) => Ok(read?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_column_is_quoted_where_it_must_be() {
        assert_eq!(quoted("a.csv", ','), "a.csv");
        assert_eq!(quoted("a,\"b\".csv", ','), "\"a,\"\"b\"\".csv\"");
        assert_eq!(quoted("a,b.csv", '|'), "a,b.csv");
    }
}
