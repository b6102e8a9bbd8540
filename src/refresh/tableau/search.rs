//! Searches the site's job list.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, TimeDelta, Timelike, Utc};

use super::answer::Reply;
use super::background_job::{BackgroundJob, Finish, listed};
use crate::refresh::outcome::Failure;

/// Maximum jobs read per search.
const MAX_JOBS: usize = 50;

/// Reads a path of the site.
pub(super) type Read<'a> = dyn FnMut(&str) -> Result<Reply, Failure> + 'a;

/// A search for one object's job.
pub(super) struct Search {
    object: String,
    others: BTreeSet<String>,
}

impl Search {
    /// Searches for jobs of the data source or workbook with this id.
    pub(super) fn new(object: &str) -> Self {
        Self { object: object.to_owned(), others: BTreeSet::new() }
    }

    /// The job created at or after this second of server time.
    ///
    /// # Errors
    /// Where the list cannot be read.
    pub(super) fn since(
        &mut self,
        read: &mut Read<'_>,
        since: DateTime<Utc>,
    ) -> Result<Option<BackgroundJob>, Failure> {
        let since = since.with_nanosecond(0).unwrap_or(since);
        let before = (since - TimeDelta::seconds(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
        let filter = format!("createdAt:gt:{before}");
        self.find(read, &filter, false, &|job| job.created.is_some_and(|at| at >= since))
    }

    /// The running or queued job.
    ///
    /// # Errors
    /// Where the list cannot be read.
    pub(super) fn running(
        &mut self,
        read: &mut Read<'_>,
    ) -> Result<Option<BackgroundJob>, Failure> {
        for status in ["InProgress", "Pending"] {
            let found = self.find(read, &format!("status:eq:{status}"), true, &|job| {
                job.finish == Finish::Pending
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn find(
        &mut self,
        read: &mut Read<'_>,
        filter: &str,
        is_running: bool,
        fits: &dyn Fn(&BackgroundJob) -> bool,
    ) -> Result<Option<BackgroundJob>, Failure> {
        let reply = read(&format!("jobs?filter={filter}&pageSize=1000"))?;
        let Some(jobs) = reply.document().and_then(listed) else {
            return Err(reply.failure("the list of jobs"));
        };
        let jobs = jobs.into_iter().filter(|job| job.refreshes && !(is_running && job.ended));
        let new: Vec<_> =
            jobs.filter(|job| !self.others.contains(&job.id)).take(MAX_JOBS).collect();
        for listed in new {
            let reply = read(&format!("jobs/{}", listed.id))?;
            match reply.document().and_then(BackgroundJob::read) {
                Some(job) if job.object.as_deref() == Some(&self.object) && fits(&job) => {
                    return Ok(Some(job));
                }
                Some(_) => {
                    self.others.insert(listed.id);
                }
                // It may appear later.
                None => {}
            }
        }
        Ok(None)
    }
}
