//! Which file imports which: paths are resolved to the file that defines a name, through re-exports.

use std::collections::{BTreeMap, BTreeSet};

use crate::architecture::Source;
use crate::support::scanner;

/// For each file, by its path in `src` without `.rs` and `/mod`, the files that it imports from, and
/// the names.
pub(crate) type Graph = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The imports between the files; tests are left out.
pub(crate) fn graph(sources: &[Source]) -> Graph {
    let files: BTreeMap<String, Vec<String>> = sources
        .iter()
        .filter(|source| source.name != "lib" && !is_test(&source.name))
        .map(|source| (name(&source.name), scanner::without_tests(&source.text)))
        .collect();
    let exports = files
        .iter()
        .map(|(file, tokens)| {
            let uses = scanner::uses(tokens).into_iter().filter(|import| import.public);
            (file.clone(), uses.map(|import| (import.binds, import.path)).collect())
        })
        .collect();
    let names = Names { files: files.keys().cloned().collect(), exports };
    files.iter().map(|(file, tokens)| (file.clone(), names.imports(file, tokens))).collect()
}

/// The files that import one another in a circle, each with the imports that are part of it.
pub(crate) fn circles(graph: &Graph) -> Vec<String> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|file| (file.as_str(), reached(graph, file))).collect();
    let mut circles = Vec::new();
    for (from, imports) in graph {
        let back = imports.iter().filter(|(to, _)| reached[to.as_str()].contains(from.as_str()));
        let back = back.map(|(to, names)| format!("{to} ({})", join(names)));
        let back: Vec<String> = back.collect();
        if !back.is_empty() {
            circles.push(format!("{from} imports {}", back.join(", ")));
        }
    }
    circles
}

/// All files that `file` imports, and those that they import.
fn reached<'a>(graph: &'a Graph, file: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = graph[file].keys().map(String::as_str).collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(graph[file].keys().map(String::as_str));
        }
    }
    reached
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<&str>>().join(", ")
}

fn is_test(file: &str) -> bool {
    file.split('/').any(|part| part == "tests" || part.ends_with("_tests"))
}

fn name(file: &str) -> String {
    file.trim_end_matches("/mod").to_owned()
}

struct Names {
    files: BTreeSet<String>,
    /// For each file the names that it re-exports, and what they stand for.
    exports: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Names {
    fn imports(&self, file: &str, tokens: &[String]) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut add = |path: &[String]| {
            let Some((owner, name)) = self.owner(file, path) else { return };
            let parent = name.is_none() && file.starts_with(&format!("{owner}/"));
            if owner != file && !parent {
                found.entry(owner).or_default().insert(name.unwrap_or_else(|| "*".into()));
            }
        };
        let uses = scanner::uses(tokens);
        let mut modules: BTreeMap<&str, &[String]> = BTreeMap::new();
        for import in uses.iter().filter(|import| !import.public) {
            match self.resolve(file, &import.path) {
                // A module: what matters is what is named of it.
                Some((_, rest)) if rest.is_empty() => {
                    modules.insert(&import.binds, &import.path);
                }
                _ => add(&import.path),
            }
        }
        for path in scanner::paths_of_code(tokens) {
            match modules.get(path[0].as_str()) {
                Some(module) => add(&[module, &path[1..]].concat()),
                None => add(&path),
            }
        }
        found
    }

    /// The file that a path leads into, and what is left of the path there.
    fn resolve(&self, file: &str, path: &[String]) -> Option<(String, Vec<String>)> {
        let own: Vec<&str> = file.split('/').collect();
        let climbs = path.iter().take_while(|part| *part == "super").count();
        let (mut at, mut rest): (Vec<&str>, &[String]) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (own, &path[1..]),
            "super" => (own[..own.len().checked_sub(climbs)?].to_vec(), &path[climbs..]),
            first if self.files.contains(&format!("{file}/{first}")) => (own, path),
            _ => return None,
        };
        while let Some(next) = rest.first() {
            let deeper = [&at[..], &[next.as_str()]].concat();
            if !self.files.contains(&deeper.join("/")) {
                break;
            }
            (at, rest) = (deeper, &rest[1..]);
        }
        (!at.is_empty()).then(|| (at.join("/"), rest.to_vec()))
    }

    /// The file that defines what a path names, and the name.
    fn owner(&self, file: &str, path: &[String]) -> Option<(String, Option<String>)> {
        let (mut at, mut rest) = self.resolve(file, path)?;
        for _ in 0..10 {
            let Some(export) = rest.first().and_then(|name| self.exports[&at].get(name)) else {
                break;
            };
            let Some((next, more)) = self.resolve(&at, export) else { break };
            (at, rest) = (next, [&more[..], &rest[1..]].concat());
        }
        Some((at, rest.into_iter().next()))
    }
}
