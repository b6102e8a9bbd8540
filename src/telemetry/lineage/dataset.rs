//! Dataset names by OpenLineage's naming rules.
//!
//! A name never contains a user, a password or a query.

use std::path::Path;

use super::event::Name;
use super::facets::DataSource;

/// The path of standard input in the result of an extract task.
const STANDARD_INPUT: &str = "standard input";

/// The address of a warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WarehouseAddress {
    /// The host, or the Unix socket directory.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
}

impl WarehouseAddress {
    /// `postgres://host:port`. A Unix socket directory is percent-encoded as in libpq addresses, so
    /// that each private server has its own name.
    fn namespace(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            crate::http::escape(&self.host)
        };
        format!("postgres://{host}:{}", self.port)
    }

    pub(crate) fn table(&self, schema: &str, table: &str) -> Name {
        Name { namespace: self.namespace(), name: format!("{}.{schema}.{table}", self.database) }
    }

    pub(crate) fn source(&self) -> DataSource {
        let name = self.namespace();
        let uri = format!("{name}/{}", crate::http::escape(&self.database));
        DataSource { name, uri }
    }
}

/// The name of a source: absolute path, object in a bucket, or web address.
pub(crate) fn of_file(path: &str) -> Name {
    let named = |namespace: String, name: &str| Name { namespace, name: name.to_owned() };
    if path == STANDARD_INPUT {
        return named("file".into(), "/dev/stdin");
    }
    let Some((scheme, rest)) = path.split_once("://") else {
        let absolute = std::path::absolute(Path::new(path));
        let absolute = absolute.map_or_else(|_| path.to_owned(), |path| path.display().to_string());
        return named("file".into(), &absolute);
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').filter(|_| !scheme.starts_with("abfs"));
    let host = host.map_or(rest.split('/').next().unwrap_or_default(), |(_, host)| host);
    match scheme {
        "http" | "https" => named(format!("{scheme}://{host}"), &format!("/{key}")),
        _ => named(format!("{scheme}://{host}"), key),
    }
}

/// The name of a database source with the path `postgres://host:port/database`: its table, or
/// `(query)` for a query.
pub(crate) fn of_query(path: &str, table: Option<&str>, dataset: &str) -> Name {
    let rest = path.split_once("://").map_or(path, |(_, rest)| rest);
    let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
    let host = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        host.to_owned()
    } else {
        format!("{host}:5432")
    };
    let what = match table {
        Some(table) if table.contains('.') => table.to_owned(),
        Some(table) => format!("public.{table}"),
        None => format!("(query).{dataset}"),
    };
    Name { namespace: format!("postgres://{host}"), name: format!("{database}.{what}") }
}

pub(crate) fn source(name: &Name) -> DataSource {
    let escaped: Vec<String> = name.name.split('/').map(crate::http::escape).collect();
    let path = escaped.join("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let namespace = if name.namespace == "file" { "file://" } else { name.namespace.as_str() };
    DataSource { name: name.namespace.clone(), uri: format!("{namespace}{slash}{path}") }
}

/// The common folder of all names, for inputs with very many files.
pub(crate) fn common_folder(names: &[Name]) -> Option<Name> {
    let first = names.first()?;
    if names.iter().any(|name| name.namespace != first.namespace) {
        return None;
    }
    let mut common: Vec<&str> = first.name.split('/').collect();
    common.pop();
    for name in names {
        let same = common.iter().zip(name.name.split('/')).take_while(|(a, b)| **a == *b).count();
        common.truncate(same);
    }
    let folder = common.join("/");
    let folder = if folder.is_empty() { "/".to_owned() } else { folder };
    Some(Name { namespace: first.namespace.clone(), name: folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &Name) -> (&str, &str) {
        (&name.namespace, &name.name)
    }

    #[test]
    fn names_are_those_of_the_specification() {
        for (path, namespace, name) in [
            ("/in/claims.csv", "file", "/in/claims.csv"),
            ("standard input", "file", "/dev/stdin"),
            ("s3://bucket/a/b.csv", "s3://bucket", "a/b.csv"),
            ("gs://bucket/a.csv.gz", "gs://bucket", "a.csv.gz"),
            ("abfss://box@acc.dfs.core.windows.net/a", "abfss://box@acc.dfs.core.windows.net", "a"),
            ("https://me:hunter2@h/x.csv?sig=hunter2", "https://h", "/x.csv"),
            ("https://h/x.csv?…", "https://h", "/x.csv"),
        ] {
            assert_eq!(pair(&of_file(path)), (namespace, name), "{path}");
        }
        let relative = of_file("in/claims.csv");
        assert!(relative.name.starts_with('/') && relative.name.ends_with("/in/claims.csv"));
    }

    #[test]
    fn tables_and_queries_have_names() {
        let table = of_query("postgres://h/db", Some("s.t"), "claims");
        assert_eq!(pair(&table), ("postgres://h:5432", "db.s.t"));
        let query = of_query("postgres://h:6000/db", None, "claims");
        assert_eq!(pair(&query), ("postgres://h:6000", "db.(query).claims"));
        let address =
            |host: &str| WarehouseAddress { host: host.into(), port: 5433, database: "db".into() };
        let fact = address("db.example.org").table("s", "t");
        assert_eq!(pair(&fact), ("postgres://db.example.org:5433", "db.s.t"));
        let private = address("/data/warehouse").source();
        assert_eq!(private.uri, "postgres://%2Fdata%2Fwarehouse:5433/db");
        assert_eq!(address("::1").source().name, "postgres://[::1]:5433");
    }

    #[test]
    fn a_source_is_an_address() {
        assert_eq!(source(&of_file("/in/a b.csv")).uri, "file:///in/a%20b.csv");
        assert_eq!(source(&of_file("s3://bucket/a/b.csv")).uri, "s3://bucket/a/b.csv");
    }

    #[test]
    fn many_files_have_a_folder() {
        let names = |paths: &[&str]| -> Vec<Name> { paths.iter().map(|p| of_file(p)).collect() };
        let folder = |paths: &[&str]| common_folder(&names(paths)).map(|name| name.name);
        assert_eq!(folder(&["/a/b/1.csv", "/a/b/2.csv"]).as_deref(), Some("/a/b"));
        assert_eq!(folder(&["/a/b/1.csv", "/a/bc/2.csv"]).as_deref(), Some("/a"));
        assert_eq!(folder(&["/a/1.csv", "/b/2.csv"]).as_deref(), Some("/"));
        assert_eq!(folder(&["/a/1.csv", "s3://a/1.csv"]), None);
    }
}
