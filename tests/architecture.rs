//! The architecture as a test: who may import whom, which file may name which external crate,
//! where `unsafe` may stand.
//!
//! A change of these tables is a change of the design: say why in the commit.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{import_graph, scanner};

/// The rooms, lowest first: a room may import those that stand above it in this table, and no other.
const LAYERS: [(&str, &[&str]); 31] = [
    // Vocabulary.
    ("error", &[]),
    ("worker", &["error"]),
    ("event", &["error", "worker"]),
    ("failpoint", &["error"]),
    ("identifier", &[]),
    ("rule", &[]),
    ("totals", &[]),
    ("schema", &[]),
    ("atomic_file", &[]),
    ("secret", &["error"]),
    // Domains: types and pure functions; they know no settings of the program.
    ("privacy", &["error", "totals", "rule", "schema", "secret"]),
    ("risk", &["error", "privacy"]),
    ("key", &["error", "identifier", "secret"]),
    (
        "config",
        &["error", "totals", "identifier", "rule", "schema", "secret", "privacy", "risk", "key"],
    ),
    // Mechanisms.
    ("interchange", &["error", "schema"]),
    ("adbc_postgres", &[]),
    ("synth", &["error", "event", "worker", "schema", "atomic_file"]),
    ("http", &["error", "event"]),
    ("warehouse", EVERYTHING_ABOVE),
    // The stages of a run, which never import one another.
    ("extract", STAGE),
    ("transform", STAGE),
    ("shuffle", STAGE),
    ("quarantine", STAGE),
    ("load", LOAD),
    ("refresh", STAGE),
    ("telemetry", STAGE),
    // The program.
    ("pipeline", EVERYTHING_ABOVE),
    ("commands", EVERYTHING_ABOVE),
    ("schedule", SCHEDULE),
    ("cli", EVERYTHING_ABOVE),
    ("main", EVERYTHING_ABOVE),
];

/// The rooms below the stages that every stage may import, and further ones.
macro_rules! below_the_stages {
    ($further:literal) => {
        &[
            "error",
            "worker",
            "event",
            "failpoint",
            "identifier",
            "rule",
            "totals",
            "schema",
            "atomic_file",
            "secret",
            "privacy",
            "risk",
            "config",
            "key",
            "interchange",
            "adbc_postgres",
            "warehouse",
            $further,
        ]
    };
}

const STAGE: &[&str] = below_the_stages!("http");

/// The load takes the shuffled rows.
const LOAD: &[&str] = below_the_stages!("shuffle");

/// A schedule starts runs; it knows no other command.
const SCHEDULE: &[&str] = &[
    "error",
    "worker",
    "event",
    "failpoint",
    "config",
    "adbc_postgres",
    "warehouse",
    "telemetry",
    "pipeline",
];

/// Stands for every module that comes before in the table.
const EVERYTHING_ABOVE: &[&str] = &["*"];

/// Each external crate that belongs to somebody, and the modules or files that may name it.
const OWNERS: [(&str, &[&str]); 51] = [
    ("polars", &["interchange", "extract", "transform", "shuffle", "load", "pipeline", "commands"]),
    ("polars_arrow", &["interchange"]),
    ("polars_buffer", &["interchange"]),
    (
        "arrow",
        &[
            "schema",
            "interchange",
            "adbc_postgres",
            "warehouse",
            "extract",
            "shuffle",
            "quarantine",
            "load",
            "refresh",
            "commands/verify",
        ],
    ),
    ("parquet", &["extract", "quarantine"]),
    (
        "adbc_core",
        &[
            "adbc_postgres",
            "warehouse",
            "extract/database",
            "load",
            "refresh",
            "pipeline",
            "commands",
        ],
    ),
    ("postgres", &["adbc_postgres", "extract/database", "warehouse/private_server/tests"]),
    ("tokio_postgres_rustls", &["adbc_postgres"]),
    ("rustls", &["adbc_postgres/tls", "http"]),
    ("rustls_native_certs", &["adbc_postgres/tls"]),
    ("connectorx", &["extract/database"]),
    ("object_store", &["extract/cloud/objects"]),
    ("reqwest", &["extract/cloud/web", "http"]),
    ("tokio", &["extract/cloud", "http", "refresh", "telemetry"]),
    ("tokio_util", &["event"]),
    ("backon", &["extract/cloud", "http", "telemetry", "pipeline"]),
    ("futures_util", &["extract/cloud", "refresh"]),
    ("bytes", &["adbc_postgres", "extract"]),
    ("memchr", &["extract"]),
    ("strsim", &["extract"]),
    ("encoding_rs", &["extract"]),
    ("glob", &["extract"]),
    ("zstd", &["extract"]),
    ("flate2", &["extract"]),
    ("csv", &["extract", "synth", "cli/quarantine"]),
    ("quick_xml", &["refresh/tableau"]),
    ("maud", &["refresh/dashboard"]),
    ("base64", &["refresh/power_bi", "refresh/webhook"]),
    ("ring", &["adbc_postgres/tls", "http", "refresh/power_bi", "refresh/webhook"]),
    ("hyper", &["telemetry/metrics"]),
    ("hyper_util", &["telemetry/metrics"]),
    ("prometheus_client", &["telemetry/metrics"]),
    ("lettre", &["telemetry/mail"]),
    ("croner", &["config/schedule", "schedule"]),
    ("chrono_tz", &["config/schedule", "schedule", "extract"]),
    ("secrecy", &["secret", "config", "key"]),
    ("getrandom", &["key"]),
    ("unicode_normalization", &["identifier", "extract/name"]),
    ("fail", &["failpoint"]),
    ("clap", &["cli", "config", "rule"]),
    ("clap_complete", &["cli"]),
    ("indicatif", &["cli"]),
    ("console", &["cli"]),
    ("signal_hook", &["cli"]),
    ("tracing_subscriber", &["cli"]),
    ("toml", &["secret", "privacy", "config", "cli"]),
    ("rand", &["synth"]),
    ("rand_pcg", &["synth"]),
    // Nobody names these: they are there for their features.
    ("arrayvec", &[]),
    ("ahash", &[]),
    ("subtle", &[]),
];

/// External crates that any file may name.
const FOR_ALL: [&str; 9] =
    ["blake3", "chrono", "nix", "serde", "serde_json", "tempfile", "thiserror", "tracing", "uuid"];

/// The only module with `unsafe` code.
const UNSAFE: &str = "interchange";

#[test]
fn imports_point_downwards() {
    let violations: Vec<String> =
        sources().iter().flat_map(|source| forbidden_imports(&source.name, &source.text)).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn no_files_import_one_another_in_a_circle() {
    let circles = import_graph::circles(&import_graph::graph(&sources()));
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn a_circle_of_imports_is_found() {
    let file = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
    let circles = |files: &[Source]| import_graph::circles(&import_graph::graph(files)).len();
    let facade = file("a/mod", "mod b; mod c; pub use b::B; pub use c::C;");
    let one_way = [
        facade,
        file("a/b", "use super::C; use crate::d; fn f() { d::g() }"),
        file("a/c", "pub struct C; #[cfg(test)] mod tests { use super::super::B; }"),
        file("d", "pub fn g() {} // crate::a::B"),
    ];
    assert_eq!(circles(&one_way), 0);
    let [facade, b, _, d] = one_way;
    let circle = [facade, b, file("a/c", "fn f() -> crate::a::B { todo() } pub struct C;"), d];
    assert_eq!(circles(&circle), 2);
    let parent = [
        file("a/mod", "mod b; pub struct A; fn f() { b::g() }"),
        file("a/b", "use super::A; pub fn g(_: A) {}"),
    ];
    assert_eq!(circles(&parent), 2);
}

#[test]
fn external_crates_stay_with_their_owners() {
    let violations: Vec<String> =
        sources().iter().flat_map(|source| strayed_crates(&source.name, &source.text)).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn unsafe_code_has_one_home() {
    for source in sources() {
        if source.module() != UNSAFE {
            let found = scanner::tokens(&source.text).iter().any(|token| token == "unsafe");
            assert!(!found, "{}: unsafe code", source.name);
        }
    }
}

#[test]
fn files_say_what_they_are() {
    for source in sources() {
        assert!(source.text.starts_with("//!"), "{}: no `//!` at the top", source.name);
    }
}

#[test]
fn the_tables_are_complete_and_without_circles() {
    let modules: BTreeSet<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
    for source in sources() {
        assert!(
            source.name == "lib" || modules.contains(source.module()),
            "{}: which layer?",
            source.name
        );
    }
    for (position, (module, imports)) in LAYERS.iter().enumerate() {
        for import in imports.iter().filter(|import| **import != "*") {
            assert!(
                LAYERS[..position].iter().any(|(below, _)| below == import),
                "{module} → {import} does not point downwards"
            );
        }
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    for name in manifest["dependencies"].as_table().expect("a table").keys() {
        let name = name.replace('-', "_");
        let owned = OWNERS.iter().any(|(owned, _)| *owned == name);
        assert!(owned != FOR_ALL.contains(&name.as_str()), "{name}: owned, for all, or neither?");
    }
}

#[test]
fn the_scanner_sees_every_form_of_import() {
    let imports = forbidden_imports;
    assert_eq!(imports("extract/scan", "use crate::load::publish;").len(), 1);
    assert_eq!(imports("extract/scan", "use crate::{error::Error, load::{self, x}};").len(), 1);
    assert_eq!(imports("extract/scan", "use crate::{error::{Error, Result}, cli};").len(), 1);
    assert_eq!(imports("extract/scan", "fn f() { crate::transform::plan() }").len(), 1);
    assert_eq!(imports("extract/scan", "use super::super::load;").len(), 1);
    assert_eq!(imports("event", "use super::config::Settings;").len(), 1);
    assert_eq!(imports("extract/mod", "use super::load::publish;").len(), 1);
    assert_eq!(imports("pipeline/mod", "use crate::cli::Args;").len(), 1);

    let fine = "
        //! crate::load
        /* use crate::load; /* nested */ crate::cli */
        use crate::error::{Error, load};
        use crate::extract::database;
        const TEXT: &str = \"crate::load \\\" crate::cli\";
        const RAW: &str = r#\"crate::load \" crate::cli\"#;
        const QUOTE: char = '\"'; // crate::cli
        fn f<'a>(text: &'a str) -> char { '\\'' }
        use super::fingerprint;
    ";
    assert_eq!(imports("extract/scan", fine), Vec::<String>::new());
}

#[test]
fn the_scanner_sees_a_strayed_crate() {
    let crates = strayed_crates;
    assert_eq!(crates("transform/join", "let x = rustls::hash(b);").len(), 1);
    assert_eq!(crates("transform/join", "use arrow::array::ArrayRef;").len(), 1);
    assert_eq!(crates("transform/join", "use {polars::prelude::col, ::arrow::array};").len(), 1);
    assert_eq!(crates("transform/join", "let x: Vec<::arrow::array::ArrayRef>;").len(), 1);
    assert_eq!(crates("refresh/job", "use polars::prelude::LazyFrame;").len(), 1);
    assert_eq!(crates("cli/mod", "#[derive(clap::Parser)] struct A; use rand;").len(), 1);
    assert_eq!(crates("error", "pub extern crate toml;").len(), 1);

    let fine = "
        use polars::prelude::{col, arrow::array};
        use polars::{arrow::bitmap, prelude};
        let x = polars::arrow::array::f();
        // rustls::hash, arrow::array
        let arrow = 1; arrow.max(2);
        let text = \"rustls::hash\";
    ";
    assert_eq!(crates("transform/join", fine), Vec::<String>::new());
    assert_eq!(crates("interchange/columns", "use polars_arrow::ffi;"), Vec::<String>::new());
    assert_eq!(crates("transform/join", "use polars_arrow::ffi;").len(), 1);
    assert_eq!(crates("load/staging", "use polars::prelude::IR;"), Vec::<String>::new());
}

/// A file of `src`: its path there without `.rs`, and its text.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    fn module(&self) -> &str {
        module(&self.name)
    }
}

/// The top-level module that a file belongs to.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap_or(file)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of `src`.
pub(crate) fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut folders: Vec<PathBuf> = vec![src.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of src") {
            let path = entry.expect("an entry of src").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&src).expect("below src").with_extension("");
                let text = fs::read_to_string(&path).expect("a source file");
                sources.push(Source { name: name.to_str().expect("UTF-8").to_owned(), text });
            }
        }
    }
    assert!(sources.len() > 5, "the walk found the sources");
    sources
}

/// Imports that the table of layers does not allow to `file`.
fn forbidden_imports(file: &str, text: &str) -> Vec<String> {
    let Some(position) = LAYERS.iter().position(|(name, _)| *name == module(file)) else {
        return Vec::new();
    };
    let (own, allowed) = LAYERS[position];
    let paths = scanner::paths(text);
    let depth = file.trim_end_matches("/mod").split('/').count();
    let mut imports: BTreeSet<&str> = BTreeSet::new();
    for path in &paths {
        // Climbing by `super` counts where it arrives at the name of another module.
        let climbs = path.iter().take_while(|segment| *segment == "super").count();
        let target = match path.first().map(String::as_str) {
            Some("crate") => path.get(1),
            Some("super") if climbs >= depth => path.get(climbs),
            _ => None,
        };
        if let Some(target) = target {
            imports.insert(target);
        }
    }
    LAYERS
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| imports.contains(name) && *name != own)
        .filter(|(index, (name, _))| {
            let above = allowed == EVERYTHING_ABOVE && *index < position;
            !above && !allowed.contains(name)
        })
        .map(|(_, (name, _))| format!("src/{file}.rs imports {name}, which {own} may not"))
        .collect()
}

/// External crates that the table of owners does not allow to `file`.
fn strayed_crates(file: &str, text: &str) -> Vec<String> {
    let paths = scanner::paths(text);
    OWNERS
        .iter()
        .filter(|(name, _)| paths.iter().any(|path| path.len() > 1 && path[0] == *name))
        .filter(|(_, owners)| {
            !owners.iter().any(|owner| {
                file.strip_prefix(owner)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        })
        .map(|(name, owners)| {
            format!("src/{file}.rs names {name}, which belongs to {}", owners.join(", "))
        })
        .collect()
}
