//! A job at work in Tableau, as its answers tell of it.

use std::fmt;

use chrono::{DateTime, Utc};

use super::answer::word;
use super::xml::Element;

/// Characters of an id in a report.
const SHORT: usize = 8;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// It has not ended.
    Pending,
    /// It did what it was to do; Tableau has two codes for that.
    Success,
    /// It failed.
    Error,
    /// Somebody cancelled it.
    Cancelled,
    /// It has ended, and nobody says how.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BackgroundJob {
    /// Its id; safe to be shown and sent.
    pub(super) id: String,
    /// When it was created.
    pub(super) created: Option<DateTime<Utc>>,
    /// When it ended.
    completed: Option<DateTime<Utc>>,
    /// How it ended.
    pub(super) finish: Finish,
    /// The id of the data source or workbook that it refreshes.
    pub(super) object: Option<String>,
}

impl BackgroundJob {
    /// The job that a document tells of.
    pub(super) fn read(root: &Element) -> Option<Self> {
        let job = root.child("job")?;
        let object =
            job.all().find_map(|child| child.child("datasource").or(child.child("workbook")));
        let ended = job.attribute("completedAt").is_some_and(|at| !at.is_empty());
        let finish = match job.attribute("finishCode") {
            _ if !ended => Finish::Pending,
            Some("0" | "3") => Finish::Success,
            Some("1") => Finish::Error,
            Some("2") => Finish::Cancelled,
            _ => Finish::Unknown,
        };
        Some(Self {
            id: word(job.attribute("id")?)?,
            created: moment(job.attribute("createdAt")),
            completed: moment(job.attribute("completedAt")),
            finish,
            object: object.and_then(|object| word(object.attribute("id")?)),
        })
    }

    /// How long it took, waits for its turn included.
    pub(super) fn seconds(&self) -> Option<i64> {
        let seconds = (self.completed? - self.created?).num_seconds();
        Some(seconds).filter(|seconds| *seconds >= 0)
    }
}

/// It prints as the part of its id that fits into a line.
impl fmt::Display for BackgroundJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id.get(..SHORT).unwrap_or(&self.id))
    }
}

/// A job in the list of all jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: String,
    /// Whether it refreshes an extract, as far as its type tells.
    pub(super) refreshes: bool,
    /// Whether it has ended.
    pub(super) ended: bool,
}

/// The jobs that a document lists; none where it is no list.
pub(super) fn listed(root: &Element) -> Option<Vec<Listed>> {
    let jobs = root.child("backgroundJobs")?.children("backgroundJob");
    let jobs = jobs.filter_map(|job| {
        let kind = job.attribute("jobType").unwrap_or_default().to_ascii_lowercase();
        Some(Listed {
            id: word(job.attribute("id")?)?,
            refreshes: kind.contains("extract"),
            ended: job.attribute("endedAt").is_some_and(|at| !at.is_empty()),
        })
    });
    Some(jobs.collect())
}

fn moment(text: Option<&str>) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text?).ok()?.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::super::xml::parse;
    use super::*;

    fn job(attributes: &str, inside: &str) -> BackgroundJob {
        let text =
            format!("<tsResponse><job id='2eef4225-aa0c' {attributes}>{inside}</job></tsResponse>");
        BackgroundJob::read(&parse(text.as_bytes()).expect("XML")).expect("a job")
    }

    #[test]
    fn only_the_end_and_its_code_count() {
        let of = |attributes| job(attributes, "").finish;
        assert_eq!(of("progress='100' finishCode='0'"), Finish::Pending);
        assert_eq!(of("completedAt='' finishCode='1'"), Finish::Pending);
        assert_eq!(of("completedAt='2020-05-13T20:25:18Z' finishCode='0'"), Finish::Success);
        assert_eq!(of("completedAt='2020-05-13T20:25:18Z' finishCode='3'"), Finish::Success);
        assert_eq!(of("completedAt='x' progress='100' finishCode='1'"), Finish::Error);
        assert_eq!(of("completedAt='x' finishCode='2'"), Finish::Cancelled);
        assert_eq!(of("completedAt='x' finishCode='7'"), Finish::Unknown);
        assert_eq!(of("completedAt='x'"), Finish::Unknown);
    }

    #[test]
    fn every_child_may_be_missing() {
        let bare = job("", "");
        assert_eq!(
            (bare.to_string().as_str(), bare.seconds(), bare.object),
            ("2eef4225", None, None)
        );
        let inside = "<extractRefreshJob><notes>a row</notes><workbook id='w1' name='n'/></extractRefreshJob>";
        let times = "createdAt='2020-05-13T20:25:04Z' completedAt='2020-05-13T20:25:18Z'";
        let full = job(times, inside);
        assert_eq!((full.seconds(), full.object.as_deref()), (Some(14), Some("w1")));
        assert_eq!(job("", "<x><datasource id='d1'/></x>").object.as_deref(), Some("d1"));
    }

    #[test]
    fn an_id_that_could_break_an_address_is_none() {
        let text = "<tsResponse><job id='../../auth/signout'/></tsResponse>";
        assert_eq!(BackgroundJob::read(&parse(text.as_bytes()).expect("XML")), None);
    }
}
