//! What is refreshed: a data source, a workbook, or a task that somebody has set up.

use super::answer::{Reply, word};
use super::version::{INCREMENTAL, Version};
use super::xml::Element;
use crate::config::TableauTarget;
use crate::error::Error;
use crate::http::escape;
use crate::refresh::Failure;

/// What kind of object it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    DataSource,
    Workbook,
    Task,
}

/// An object of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    kind: Kind,
    pub(super) id: String,
}

impl Object {
    /// The one that a target's settings name.
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

    /// What it is called in a message.
    pub(super) fn noun(&self) -> &'static str {
        match self.kind {
            Kind::DataSource => "the data source",
            Kind::Workbook => "the workbook",
            Kind::Task => "the task",
        }
    }

    /// What it is called in a document.
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::DataSource => "datasource",
            Kind::Workbook => "workbook",
            Kind::Task => "task",
        }
    }

    /// Where it is read.
    pub(super) fn path(&self) -> String {
        let folder = match self.kind {
            Kind::DataSource => "datasources",
            Kind::Workbook => "workbooks",
            Kind::Task => "tasks/extractRefreshes",
        };
        format!("{folder}/{}", escape(&self.id))
    }

    /// Where its refresh is started.
    pub(super) fn start_path(&self) -> String {
        let verb = if self.kind == Kind::Task { "runNow" } else { "refresh" };
        format!("{}/{verb}", self.path())
    }

    /// What starts its refresh. A task knows by itself whether it is incremental.
    ///
    /// # Errors
    /// Where this version cannot refresh incrementally.
    pub(super) fn start_body(
        &self,
        incremental: bool,
        version: Version,
    ) -> Result<Vec<u8>, Failure> {
        let request = Element::new("tsRequest");
        let request = match self.kind {
            Kind::Task => request,
            _ if incremental && version < INCREMENTAL => {
                return Err(Failure::failed(format!(
                    "incremental refreshes need API {INCREMENTAL}; this is {version}: leave \
                     `incremental` out"
                )));
            }
            _ if incremental => {
                request.and(Element::new("extractRefresh").with("incremental", "true"))
            }
            _ if version >= INCREMENTAL => request.and(Element::new("extractRefresh")),
            _ => request,
        };
        let unwritten = |_| Failure::from(Error::internal("a request could not be written"));
        request.document().map_err(unwritten)
    }

    /// Whether it is a task: what it refreshes has to be asked for.
    pub(super) fn is_task(&self) -> bool {
        self.kind == Kind::Task
    }

    /// What it refreshes itself, as its document tells; a document may hold other tasks, too.
    pub(super) fn shown(&self, root: &Element) -> Option<Self> {
        if !self.is_task() {
            return root.child(self.name()).map(|_| self.clone());
        }
        let many = root.child("tasks").unwrap_or(root);
        let mut refreshes = many.children("task").filter_map(|task| task.child("extractRefresh"));
        let refresh = refreshes.find(|refresh| refresh.attribute("id") == Some(&self.id))?;
        let kinds = [(Kind::DataSource, "datasource"), (Kind::Workbook, "workbook")];
        kinds.into_iter().find_map(|(kind, name)| {
            Some(Self { kind, id: word(refresh.child(name)?.attribute("id")?)? })
        })
    }

    /// What it refreshes itself, as an answer tells.
    ///
    /// # Errors
    /// Where the answer refuses to tell.
    pub(super) fn found(&self, reply: &Reply) -> Result<Self, Failure> {
        let noun = self.noun();
        let root = reply.document().ok_or_else(|| reply.failure(noun))?;
        let unnamed = || Failure::failed(format!("Tableau's answer does not tell of {noun}"));
        self.shown(root).ok_or_else(unnamed)
    }

    /// When its data changed last, as its document tells.
    pub(super) fn updated(&self, root: &Element) -> Option<String> {
        root.child(self.name())?.attribute("updatedAt").map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(target: &TableauTarget, version: Version) -> String {
        let body = Object::of(target).start_body(target.incremental, version);
        String::from_utf8(body.expect("a body")).expect("UTF-8")
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
