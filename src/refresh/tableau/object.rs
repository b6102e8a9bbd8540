//! A refreshable object: data source, workbook, or extract refresh task.

use super::answer::{Reply, word};
use super::document::Response;
use super::version::{INCREMENTAL, Version};
use crate::config::TableauTarget;
use crate::http::escape;
use crate::refresh::outcome::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    DataSource,
    Workbook,
    Task,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    kind: Kind,
    pub(super) id: String,
}

impl Object {
    /// The object in a target's settings.
    pub(super) fn of(target: &TableauTarget) -> Self {
        let named = [
            (Kind::DataSource, &target.datasource),
            (Kind::Workbook, &target.workbook),
            (Kind::Task, &target.task),
        ];
        let named = named.into_iter().find_map(|(kind, id)| Some((kind, id.clone()?)));
        let (kind, id) = named.unwrap_or((Kind::DataSource, String::new()));
        Self { kind, id }
    }

    /// Name in messages.
    pub(super) fn noun(&self) -> &'static str {
        match self.kind {
            Kind::DataSource => "the data source",
            Kind::Workbook => "the workbook",
            Kind::Task => "the task",
        }
    }

    /// Path for reading it.
    pub(super) fn path(&self) -> String {
        let folder = match self.kind {
            Kind::DataSource => "datasources",
            Kind::Workbook => "workbooks",
            Kind::Task => "tasks/extractRefreshes",
        };
        format!("{folder}/{}", escape(&self.id))
    }

    /// Path for starting its refresh.
    pub(super) fn start_path(&self) -> String {
        let verb = if self.kind == Kind::Task { "runNow" } else { "refresh" };
        format!("{}/{verb}", self.path())
    }

    /// Body of the request that starts its refresh. Tasks have their own incremental setting.
    ///
    /// # Errors
    /// If this version cannot refresh incrementally.
    pub(super) fn start_body(
        &self,
        incremental: bool,
        version: Version,
    ) -> Result<&'static str, Failure> {
        Ok(match (self.kind, incremental) {
            (Kind::Task, _) => "<tsRequest></tsRequest>",
            (_, true) if version < INCREMENTAL => {
                return Err(Failure::failed(format!(
                    "incremental refreshes need API {INCREMENTAL}; this is {version}: leave \
                     `incremental` out"
                )));
            }
            (_, true) => "<tsRequest><extractRefresh incremental=\"true\"/></tsRequest>",
            (_, false) if version >= INCREMENTAL => "<tsRequest><extractRefresh/></tsRequest>",
            (_, false) => "<tsRequest></tsRequest>",
        })
    }

    pub(super) fn is_task(&self) -> bool {
        self.kind == Kind::Task
    }

    /// The data source or workbook that a task refreshes, from its document, which may list several
    /// tasks.
    pub(super) fn refreshed(&self, root: &Response) -> Option<Self> {
        let tasks = match (self.kind, &root.tasks) {
            (Kind::DataSource, _) => return root.datasource.as_ref().map(|_| self.clone()),
            (Kind::Workbook, _) => return root.workbook.as_ref().map(|_| self.clone()),
            (Kind::Task, Some(list)) => &list.task,
            (Kind::Task, None) => &root.task,
        };
        let mut refreshes = tasks.iter().filter_map(|task| task.extract_refresh.as_ref());
        let refresh = refreshes.find(|refresh| refresh.id.as_ref() == Some(&self.id))?;
        let kinds = [(Kind::DataSource, &refresh.datasource), (Kind::Workbook, &refresh.workbook)];
        kinds.into_iter().find_map(|(kind, content)| {
            Some(Self { kind, id: word(content.as_ref()?.id.as_deref()?)? })
        })
    }

    /// The refreshed data source or workbook, from a response.
    ///
    /// # Errors
    /// If the response is an error or lacks it.
    pub(super) fn found(&self, reply: &Reply) -> Result<Self, Failure> {
        let noun = self.noun();
        let root = reply.document().ok_or_else(|| reply.failure(noun))?;
        let missing = || Failure::failed(format!("Tableau's answer does not show {noun}"));
        self.refreshed(root).ok_or_else(missing)
    }

    /// Time of the last data update.
    pub(super) fn updated(&self, root: &Response) -> Option<String> {
        let content = match self.kind {
            Kind::DataSource => root.datasource.as_ref(),
            Kind::Workbook => root.workbook.as_ref(),
            Kind::Task => None,
        };
        content?.updated_at.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(target: &TableauTarget, version: Version) -> &'static str {
        let body = Object::of(target).start_body(target.incremental, version);
        body.expect("a body")
    }

    #[test]
    fn a_request_says_no_more_than_its_version_knows() {
        let (old, new) = (Version(3, 24), Version(3, 25));
        let mut target = TableauTarget { datasource: Some("d 1".into()), ..Default::default() };
        assert_eq!(Object::of(&target).start_path(), "datasources/d%201/refresh");
        assert_eq!(body(&target, old), "<tsRequest></tsRequest>");
        assert_eq!(body(&target, new), "<tsRequest><extractRefresh/></tsRequest>");
        target.incremental = true;
        let incremental = "<tsRequest><extractRefresh incremental=\"true\"/></tsRequest>";
        assert_eq!(body(&target, new), incremental);
        let refused = Object::of(&target).start_body(true, old).expect_err("too old");
        assert!(refused.message.contains("need API 3.25; this is 3.24"), "{}", refused.message);
        let task = TableauTarget { task: Some("t1".into()), ..Default::default() };
        assert_eq!(Object::of(&task).start_path(), "tasks/extractRefreshes/t1/runNow");
        assert_eq!(body(&task, new), "<tsRequest></tsRequest>");
    }
}
