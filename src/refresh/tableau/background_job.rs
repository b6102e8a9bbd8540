//! Tableau background jobs.

use std::fmt;

use chrono::{DateTime, Utc};

use super::answer::word;
use super::document::Response;

/// Length of an id in a report.
const SHORT: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Pending,
    /// Tableau has two codes for it.
    Success,
    Error,
    Cancelled,
    /// Ended with an unknown code.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BackgroundJob {
    /// Safe to show and send.
    pub(super) id: String,
    pub(super) created: Option<DateTime<Utc>>,
    completed: Option<DateTime<Utc>>,
    pub(super) finish: Finish,
    /// Id of the refreshed data source or workbook.
    pub(super) object: Option<String>,
}

impl BackgroundJob {
    /// The job in a response.
    pub(super) fn read(root: &Response) -> Option<Self> {
        let job = root.job.as_ref()?;
        let mut objects = job.children.iter();
        let object =
            objects.find_map(|child| child.datasource.as_ref().or(child.workbook.as_ref()));
        let ended = job.completed_at.as_ref().is_some_and(|at| !at.is_empty());
        let finish = match job.finish_code.as_deref() {
            _ if !ended => Finish::Pending,
            Some("0" | "3") => Finish::Success,
            Some("1") => Finish::Error,
            Some("2") => Finish::Cancelled,
            _ => Finish::Unknown,
        };
        Some(Self {
            id: word(job.id.as_deref()?)?,
            created: moment(job.created_at.as_deref()),
            completed: moment(job.completed_at.as_deref()),
            finish,
            object: object.and_then(|object| word(object.id.as_deref()?)),
        })
    }

    /// Duration including the time in the queue.
    pub(super) fn seconds(&self) -> Option<i64> {
        let seconds = (self.completed? - self.created?).num_seconds();
        Some(seconds).filter(|seconds| *seconds >= 0)
    }
}

/// Displays the start of its id.
impl fmt::Display for BackgroundJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id.get(..SHORT).unwrap_or(&self.id))
    }
}

/// An entry of the job list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: String,
    /// Whether its type is an extract refresh.
    pub(super) refreshes: bool,
    pub(super) ended: bool,
}

/// The jobs in a response; `None` if it is not a list.
pub(super) fn listed(root: &Response) -> Option<Vec<Listed>> {
    let jobs = root.background_jobs.as_ref()?.background_job.iter();
    let jobs = jobs.filter_map(|job| {
        let kind = job.job_type.as_deref().unwrap_or_default().to_ascii_lowercase();
        Some(Listed {
            id: word(job.id.as_deref()?)?,
            refreshes: kind.contains("extract"),
            ended: job.ended_at.as_ref().is_some_and(|at| !at.is_empty()),
        })
    });
    Some(jobs.collect())
}

fn moment(text: Option<&str>) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text?).ok()?.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::super::document::parse;
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
