//! What a letter says: a subject and a few lines of plain text.

use std::fmt::Write as _;
use std::time::Duration;

/// The longest error that is repeated.
const LONGEST: usize = 2000;

/// A subject and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    /// One line of ASCII.
    pub(crate) subject: String,
    /// Lines, each ended by `\n`.
    pub(crate) text: String,
}

impl Letter {
    /// A task is tried again.
    pub(crate) fn retry(run: &str, task: &str, attempt: u32, error: &str, delay: Duration) -> Self {
        let seconds = delay.as_secs();
        Self::new(
            &format!("trying again: {}", word(task)),
            &format!("Try {attempt} of a task failed; the next one begins in {seconds} s."),
            &[("run", run), ("task", task), ("error", error)],
        )
    }

    /// A run failed.
    pub(crate) fn failure(run: &str, kind: &str, message: &str, hint: Option<&str>) -> Self {
        let what = task(message).unwrap_or(kind);
        let mut facts = vec![("run", run), ("kind", kind), ("error", message)];
        facts.extend(hint.map(|hint| ("hint", hint)));
        Self::new(&format!("run failed: {}", word(what)), "The run failed.", &facts)
    }

    fn new(subject: &str, first: &str, facts: &[(&str, &str)]) -> Self {
        let mut text = format!("{first}\n\n");
        for (name, fact) in facts {
            let _ = writeln!(text, "{name:<6} {}", plain(fact));
        }
        let version = env!("CARGO_PKG_VERSION");
        let _ = write!(
            text,
            "\n`claims-etl runs` tells more, where the run's ledger can be reached.\n\n\
             -- \nclaims-etl {version}; this mail was written by a program\n"
        );
        Self { subject: format!("[claims-etl] {subject}"), text }
    }
}

/// The task that an error's message begins with, as in `load.load_warehouse: …`.
fn task(message: &str) -> Option<&str> {
    let (first, _) = message.split_once(": ")?;
    let fits = |c: char| c.is_ascii_lowercase() || matches!(c, '.' | '_');
    (first.contains('_') && first.chars().all(fits)).then_some(first)
}

/// A name for the subject: nothing but letters, digits and `._-`.
fn word(name: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.chars().filter(fits).take(100).collect()
}

/// An error on lines of its own, without control characters; cut where it is very long.
fn plain(text: &str) -> String {
    let mut lines = String::new();
    for c in text.chars().take(LONGEST) {
        match c {
            '\n' => lines.push_str("\n       "),
            c if c.is_control() => lines.push(' '),
            c => lines.push(c),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        lines.push('…');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_names_the_task_or_the_kind() {
        let subject = |message| Letter::failure("r", "warehouse", message, None).subject;
        assert_eq!(
            subject("load.load_warehouse: the connection was lost"),
            "[claims-etl] run failed: load.load_warehouse"
        );
        assert_eq!(subject("transform_join: 1: 2"), "[claims-etl] run failed: transform_join");
        assert_eq!(subject("no such host: db"), "[claims-etl] run failed: warehouse");
        assert_eq!(subject("nothing"), "[claims-etl] run failed: warehouse");
        let delay = Duration::from_mins(5);
        let retry = Letter::retry("r", "load.load_warehouse", 1, "lost", delay);
        assert_eq!(retry.subject, "[claims-etl] trying again: load.load_warehouse");
        assert!(retry.text.starts_with("Try 1 of a task failed; the next one begins in 300 s.\n"));
    }

    #[test]
    fn no_error_breaks_out_of_its_line() {
        let bad = "a\r\nBcc: x@y\r\n\r\n.\r\nsecond\u{7}";
        let letter = Letter::failure("r", bad, bad, Some(bad));
        assert!(!letter.subject.contains(['\r', '\n']), "{:?}", letter.subject);
        assert!(letter.text.lines().all(|line| !line.starts_with(['.', 'B'])), "{}", letter.text);
        assert!(!letter.text.contains(['\r', '\u{7}']));
        let long = Letter::failure("r", "k", &"x".repeat(100_000), None);
        assert!(long.text.len() < 3000);
        assert!(long.text.contains("x…\n"));
    }
}
