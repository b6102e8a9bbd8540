//! The fault tables of docs/reliability.md: each line names the tests that prove it.

use std::fs;
use std::path::Path;

/// The first line of each table.
const HEAD: &str = "| Fault |";

/// A line of a table: the fault, and the tests it names (`module::test`).
#[derive(Debug, PartialEq, Eq)]
struct Promise {
    fault: String,
    tests: Vec<(String, String)>,
}

/// The lines of all tables of the page.
fn promises(page: &str) -> Vec<Promise> {
    page.lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|-") && !line.starts_with(HEAD))
        .map(promise)
        .collect()
}

fn promise(line: &str) -> Promise {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    // The names between backticks in the last cell.
    let quoted = cells.last().into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let tests = quoted
        .map(|name| {
            let (module, test) = name.rsplit_once("::").unwrap_or(("", name));
            (module.to_owned(), test.to_owned())
        })
        .collect();
    Promise { fault: cells[0].to_owned(), tests }
}

/// Whether a source file holds a test of this name that is run.
fn is_proven(source: &str, test: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("\nfn {test}()")) else { return false };
    let attributes: Vec<&str> =
        before.lines().rev().take_while(|line| line.starts_with("#[")).collect();
    attributes.contains(&"#[test]") && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_line_of_the_fault_tables_is_proven() {
    let page = fs::read_to_string(root().join("docs/reliability.md")).expect("the page");
    let promises = promises(&page);
    assert!(promises.len() >= 90, "docs/reliability.md has {} faults", promises.len());
    let mut unproven = Vec::new();
    for Promise { fault, tests } in &promises {
        if tests.is_empty() {
            unproven.push(format!("{fault}: no test is named"));
        }
        for (module, test) in tests {
            let path = root().join("tests").join(module.replace("::", "/")).with_extension("rs");
            let source = fs::read_to_string(&path).unwrap_or_default();
            if !is_proven(&source, test) {
                unproven.push(format!("{fault}: {module}::{test} is no test that is run"));
            }
        }
    }
    assert!(unproven.is_empty(), "{}", unproven.join("\n"));
}

#[test]
fn a_promise_is_read_and_its_proof_looked_for() {
    let page = "# Title\n\ntext\n\n## One\n\n\
        | Fault | Outcome | Proven by |\n|---|---|---|\n\
        | killed | whole | `faults::kill_matrix::one`, `faults::kill_matrix::two` |\n\n\
        ## Two\n\n| Fault | Outcome | Proven by |\n|---|---|---|\n| cut | retried | |\n";
    let name = |test: &str| ("faults::kill_matrix".to_owned(), test.to_owned());
    let killed = Promise { fault: "killed".into(), tests: vec![name("one"), name("two")] };
    let cut = Promise { fault: "cut".into(), tests: Vec::new() };
    assert_eq!(promises(page), [killed, cut]);
    assert_eq!(promises("# nothing"), []);

    let source =
        "\n#[test]\nfn one() {}\n\n#[test]\n#[ignore = \"why\"]\nfn two() {}\nfn three() {}";
    assert!(is_proven(source, "one"));
    assert!(!is_proven(source, "two"), "ignored");
    assert!(!is_proven(source, "three"), "no test");
    assert!(!is_proven(source, "four"), "not there");
}
