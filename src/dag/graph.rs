//! The graph: tasks and what comes before them, put in order before anything runs.

use std::collections::BTreeSet;

use super::task::{Outcome, TaskContext};
use crate::error::{Error, Result};

/// What a task does.
pub(super) type Work<'a> = Box<dyn Fn(&TaskContext<'_>) -> Result<Outcome> + Send + Sync + 'a>;

/// Tasks as they are declared.
#[derive(Default)]
pub struct Graph<'a> {
    tasks: Vec<Declared<'a>>,
}

struct Declared<'a> {
    id: String,
    upstream: Vec<String>,
    work: Work<'a>,
}

/// A graph that can run: its tasks in topological order, declaration order among equals.
pub struct Plan<'a> {
    pub(super) nodes: Vec<Node<'a>>,
}

/// One task of a plan.
pub(super) struct Node<'a> {
    pub(super) id: String,
    /// Places in the plan of the tasks directly before this one.
    pub(super) upstream: Vec<usize>,
    /// Places of all tasks before this one.
    pub(super) ancestors: BTreeSet<usize>,
    pub(super) work: Work<'a>,
}

impl Node<'_> {
    /// `extract` of `extract.extract_claims`.
    pub(super) fn group(&self) -> Option<String> {
        self.id.split_once('.').map(|(group, _)| group.to_owned())
    }
}

impl<'a> Graph<'a> {
    /// A graph without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the task `id`, which runs after all of `upstream` have succeeded. A group is written
    /// before a dot: `extract.extract_claims`.
    #[must_use]
    pub fn task(
        mut self,
        id: &str,
        upstream: &[&str],
        work: impl Fn(&TaskContext<'_>) -> Result<Outcome> + Send + Sync + 'a,
    ) -> Self {
        self.tasks.push(Declared {
            id: id.to_owned(),
            upstream: upstream.iter().map(|&id| id.to_owned()).collect(),
            work: Box::new(work),
        });
        self
    }

    /// Puts the tasks in order.
    ///
    /// # Errors
    /// `Internal` for a repeated id, an unknown upstream task or a cycle, which it names.
    pub fn build(self) -> Result<Plan<'a>> {
        let upstream = self.upstream_places()?;
        let order = self.order(&upstream)?;
        let mut place_of = vec![0; order.len()];
        for (place, &task) in order.iter().enumerate() {
            place_of[task] = place;
        }
        let mut tasks: Vec<_> = self.tasks.into_iter().zip(upstream).zip(&place_of).collect();
        tasks.sort_by_key(|(_, place)| **place);
        let mut nodes: Vec<Node<'a>> = Vec::with_capacity(tasks.len());
        for ((task, upstream), _) in tasks {
            let upstream: Vec<usize> =
                upstream.into_iter().map(|before| place_of[before]).collect();
            let ancestors = upstream
                .iter()
                .flat_map(|&place| nodes[place].ancestors.iter().copied().chain([place]))
                .collect();
            nodes.push(Node { id: task.id, upstream, ancestors, work: task.work });
        }
        Ok(Plan { nodes })
    }

    /// The declaration numbers of each task's upstream tasks.
    fn upstream_places(&self) -> Result<Vec<Vec<usize>>> {
        let find = |id: &str| self.tasks.iter().position(|task| task.id == id);
        let mut places = Vec::with_capacity(self.tasks.len());
        for (number, task) in self.tasks.iter().enumerate() {
            let id = &task.id;
            if find(id) != Some(number) {
                return Err(Error::internal(format!("task graph: {id} is declared twice")));
            }
            let upstream: Result<Vec<usize>> = task
                .upstream
                .iter()
                .map(|before| {
                    find(before).ok_or_else(|| {
                        Error::internal(format!(
                            "task graph: {id} comes after {before}, which is no task"
                        ))
                    })
                })
                .collect();
            places.push(upstream?);
        }
        Ok(places)
    }

    /// Declaration numbers in topological order: always the first task whose upstream is done.
    fn order(&self, upstream: &[Vec<usize>]) -> Result<Vec<usize>> {
        let mut order = Vec::with_capacity(upstream.len());
        let mut placed = vec![false; upstream.len()];
        while order.len() < upstream.len() {
            let next = (0..upstream.len())
                .find(|&task| !placed[task] && upstream[task].iter().all(|&before| placed[before]));
            let Some(task) = next else {
                return Err(self.cycle(upstream, &placed));
            };
            placed[task] = true;
            order.push(task);
        }
        Ok(order)
    }

    /// Names one cycle among the tasks that found no place.
    fn cycle(&self, upstream: &[Vec<usize>], placed: &[bool]) -> Error {
        let mut path: Vec<usize> = Vec::new();
        let mut next = placed.iter().position(|placed| !placed);
        while let Some(task) = next {
            if let Some(start) = path.iter().position(|&seen| seen == task) {
                path.drain(..start);
                path.push(task);
                break;
            }
            path.push(task);
            // A task without a place has an upstream task without one.
            next = upstream[task].iter().copied().find(|&before| !placed[before]);
        }
        let names: Vec<&str> =
            path.iter().rev().map(|&task| self.tasks[task].id.as_str()).collect();
        Error::internal(format!("task graph: a cycle: {}", names.join(" -> ")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "a task's signature")]
    fn nothing(_: &TaskContext<'_>) -> Result<Outcome> {
        Ok(Outcome::Done(Value::Null))
    }

    fn ids(plan: &Plan<'_>) -> Vec<String> {
        plan.nodes.iter().map(|node| node.id.clone()).collect()
    }

    fn refusal(graph: Graph<'_>) -> String {
        graph.build().err().expect("must be refused").to_string()
    }

    #[test]
    fn order_is_topological_and_else_as_declared() {
        let plan = Graph::new()
            .task("load", &["join"], nothing)
            .task("b", &[], nothing)
            .task("a", &[], nothing)
            .task("join", &["a", "b"], nothing)
            .build()
            .expect("no cycle");
        assert_eq!(ids(&plan), ["b", "a", "join", "load"]);
        assert_eq!(plan.nodes[3].ancestors.len(), 3, "not only the task directly before");
    }

    #[test]
    fn groups_stand_before_the_dot() {
        let plan = Graph::new()
            .task("extract.extract_claims", &[], nothing)
            .task("transform_join", &[], nothing)
            .build()
            .expect("no cycle");
        assert_eq!(plan.nodes[0].group().as_deref(), Some("extract"));
        assert_eq!(plan.nodes[1].group(), None);
    }

    #[test]
    fn a_cycle_is_refused_and_named() {
        let graph = Graph::new()
            .task("first", &[], nothing)
            .task("a", &["first", "c"], nothing)
            .task("b", &["a"], nothing)
            .task("c", &["b"], nothing)
            .task("after", &["c"], nothing);
        assert_eq!(refusal(graph), "task graph: a cycle: a -> b -> c -> a");
        let alone = Graph::new().task("a", &["a"], nothing);
        assert_eq!(refusal(alone), "task graph: a cycle: a -> a");
    }

    #[test]
    fn repeated_ids_and_unknown_upstreams_are_refused() {
        let twice = Graph::new().task("a", &[], nothing).task("a", &[], nothing);
        assert_eq!(refusal(twice), "task graph: a is declared twice");
        let unknown = Graph::new().task("a", &["b"], nothing);
        assert_eq!(refusal(unknown), "task graph: a comes after b, which is no task");
    }
}
