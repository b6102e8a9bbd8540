//! Date templates in source names: the data interval in any format.

use crate::config::Interval;
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// Default date format of a placeholder.
const DEFAULT_FORMAT: &str = "%Y-%m-%d";

/// Replaces placeholders in `text` with dates of the interval; `{{` and `}}` are literal braces.
/// Error messages do not quote addresses, which may contain secrets.
///
/// # Errors
/// `Config` for an unknown placeholder, an invalid format, or a missing interval.
pub(super) fn expand(dataset: Dataset, text: &str, interval: &Interval) -> Result<String> {
    let is_address = text.contains("://");
    let shown = |placeholder: &str| {
        if is_address { String::new() } else { format!(" {{{placeholder}}}") }
    };
    let forms = "the placeholders are {interval_start:%Y-%m-%d} and {interval_end:%Y-%m-%d}; \
                 a brace itself is written twice";
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        expanded.push_str(&rest[..at]);
        let (brace, after) = (&rest[at..=at], &rest[at + 1..]);
        if let Some(after) = after.strip_prefix(brace) {
            expanded.push_str(brace);
            rest = after;
            continue;
        }
        let Some((placeholder, after)) = after.split_once('}').filter(|_| brace == "{") else {
            return Err(Error::config(format!(
                "{dataset}: a brace in the name of a source has no partner"
            ))
            .hint(forms));
        };
        let (name, format) = placeholder.split_once(':').unwrap_or((placeholder, DEFAULT_FORMAT));
        let (moment, option) = match name.trim() {
            "interval_start" => (&interval.start, "--interval-start"),
            "interval_end" => (&interval.end, "--interval-end"),
            _ => {
                return Err(Error::config(format!(
                    "{dataset}: a source has the unknown placeholder{}",
                    shown(placeholder)
                ))
                .hint(forms));
            }
        };
        let Some(moment) = moment else {
            return Err(Error::config(format!(
                "{dataset}: a source is named by the data interval, but {} is not given",
                name.trim()
            ))
            .hint(format!("pass {option} YYYY-MM-DD, or set run.{}", name.trim())));
        };
        let text = moment.format(format).ok_or_else(|| {
            Error::config(format!(
                "{dataset}: the placeholder{} has no valid format",
                shown(placeholder)
            ))
            .hint(forms)
        })?;
        expanded.push_str(&text);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn of_january(text: &str) -> Result<String> {
        let moment = |text: &str| text.parse().ok();
        let interval = Interval { start: moment("2024-01-31"), end: moment("2024-02-01") };
        expand(Dataset::Claims, text, &interval)
    }

    #[test]
    fn placeholders_take_any_form() {
        for (text, expanded) in [
            ("claims.csv", "claims.csv"),
            ("in/{interval_start}.csv", "in/2024-01-31.csv"),
            ("{interval_start:%Y/%m/%d}/{interval_end:%Y%m%d}*.csv", "2024/01/31/20240201*.csv"),
            ("s3://b/dt={interval_start:%d.%m.%y %H:%M}/", "s3://b/dt=31.01.24 00:00/"),
            ("{{x}}-{ interval_end }", "{x}-2024-02-01"),
        ] {
            assert_eq!(of_january(text).expect(text), expanded);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, message) in [
            ("{day}.csv", "claims: a source has the unknown placeholder {day}"),
            (
                "{interval_start:%Q}",
                "claims: the placeholder {interval_start:%Q} has no valid format",
            ),
            ("a{b", "claims: a brace in the name of a source has no partner"),
            ("a}b", "claims: a brace in the name of a source has no partner"),
            ("https://h/?sig={secret}", "claims: a source has the unknown placeholder"),
        ] {
            let error = of_january(text).expect_err(text);
            assert_eq!((error.kind(), error.message()), (ErrorKind::Config, message));
            assert!(error.way_out().is_some_and(|hint| hint.contains("interval_end")), "{error}");
        }
    }

    #[test]
    fn without_an_interval_it_says_what_to_pass() {
        let none = Interval::default();
        let error = expand(Dataset::Claims, "{interval_end}.csv", &none).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "claims: a source is named by the data interval, but interval_end is not given\n  \
             hint: pass --interval-end YYYY-MM-DD, or set run.interval_end"
        );
    }
}
