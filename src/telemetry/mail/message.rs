//! Text of a mail: a subject and a few lines of plain text.

use std::fmt::Write as _;
use std::time::Duration;

/// Maximum length of an error text, in characters.
const MAX_LENGTH: usize = 2000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// One line of ASCII.
    pub(super) subject: String,
    /// Lines, each ended by `\n`.
    pub(super) text: String,
}

impl Message {
    pub(super) fn retry(run: &str, task: &str, attempt: u32, error: &str, delay: Duration) -> Self {
        let seconds = delay.as_secs();
        Self::new(
            &format!("retrying: {}", word(task)),
            &format!("Attempt {attempt} of a task failed; the next attempt starts in {seconds} s."),
            &[("run", run), ("task", task), ("error", error)],
        )
    }

    pub(super) fn failure(run: &str, kind: &str, message: &str, hint: Option<&str>) -> Self {
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
            "\nFor details, run `claims-etl runs` where the warehouse can be reached.\n\n\
             -- \nclaims-etl {version}; sent automatically\n"
        );
        Self { subject: format!("[claims-etl] {subject}"), text }
    }
}

/// The task at the start of an error message such as `load.load_warehouse: …`.
fn task(message: &str) -> Option<&str> {
    let (first, _) = message.split_once(": ")?;
    let fits = |c: char| c.is_ascii_lowercase() || matches!(c, '.' | '_');
    (first.contains('_') && first.chars().all(fits)).then_some(first)
}

/// A name for the subject, reduced to letters, digits and `._-`.
fn word(name: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.chars().filter(fits).take(100).collect()
}

/// A text without control characters, indented, truncated to [`MAX_LENGTH`].
fn plain(text: &str) -> String {
    let mut lines = String::new();
    for c in text.chars().take(MAX_LENGTH) {
        match c {
            '\n' => lines.push_str("\n       "),
            c if c.is_control() => lines.push(' '),
            c => lines.push(c),
        }
    }
    if text.chars().nth(MAX_LENGTH).is_some() {
        lines.push('…');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_names_the_task_or_the_kind() {
        let subject = |message| Message::failure("r", "warehouse", message, None).subject;
        assert_eq!(
            subject("load.load_warehouse: the connection was lost"),
            "[claims-etl] run failed: load.load_warehouse"
        );
        assert_eq!(subject("transform_join: 1: 2"), "[claims-etl] run failed: transform_join");
        assert_eq!(subject("no such host: db"), "[claims-etl] run failed: warehouse");
        assert_eq!(subject("nothing"), "[claims-etl] run failed: warehouse");
        let delay = Duration::from_mins(5);
        let retry = Message::retry("r", "load.load_warehouse", 1, "lost", delay);
        assert_eq!(retry.subject, "[claims-etl] retrying: load.load_warehouse");
        assert!(
            retry
                .text
                .starts_with("Attempt 1 of a task failed; the next attempt starts in 300 s.\n")
        );
    }

    #[test]
    fn no_error_breaks_out_of_its_line() {
        let bad = "a\r\nBcc: x@y\r\n\r\n.\r\nsecond\u{7}";
        let mail = Message::failure("r", bad, bad, Some(bad));
        assert!(!mail.subject.contains(['\r', '\n']), "{:?}", mail.subject);
        assert!(mail.text.lines().all(|line| !line.starts_with(['.', 'B'])), "{}", mail.text);
        assert!(!mail.text.contains(['\r', '\u{7}']));
        let long = Message::failure("r", "k", &"x".repeat(100_000), None);
        assert!(long.text.len() < 3000);
        assert!(long.text.contains("x…\n"));
    }
}
