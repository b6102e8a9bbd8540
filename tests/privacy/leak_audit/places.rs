//! The places that are searched: files, folders, tables, the server's own files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use claims_etl::event::RunId;
use claims_etl::quarantine;
use postgres::{Client, Error};

use super::report::Report;
use super::search::{Hit, Search};
use super::server::Server;

/// Searches places and reports what is there.
pub(super) struct Places {
    pub(super) search: Search,
    pub(super) report: Mutex<Report>,
}

impl Places {
    pub(super) fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn into_report(self) -> Report {
        self.report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Searches bytes.
    pub(super) fn bytes(&self, place: &'static str, at: &str, bytes: &[u8]) {
        let hits = self.search.bytes(bytes);
        self.report().searched(place, at, bytes.len() as u64, &hits);
    }

    /// Searches a file; one that is gone by now is left out.
    pub(super) fn file(&self, place: &'static str, at: &str, path: &Path) {
        let Ok(file) = File::open(path) else { return };
        let (bytes, hits) = self.search.reader(file).expect("read");
        self.report().searched(place, at, bytes, &hits);
    }

    /// Searches all files of a folder, which are named from there.
    pub(super) fn folder(&self, place: &'static str, folder: &Path) {
        for path in files(folder) {
            self.file(place, &relative(folder, &path), &path);
        }
    }

    /// Searches the rows of all quarantines in a data directory: as files they are compressed.
    pub(super) fn quarantine(&self, data: &Path) {
        let folder = data.join("quarantine");
        for path in files(&folder) {
            let run = path.file_stem().and_then(|stem| RunId::parse(stem.to_str()?).ok());
            let Some(run) = run else { continue };
            let rejects = quarantine::read(&folder, run).expect("a quarantine");
            self.bytes(
                "quarantine rows",
                &relative(data, &path),
                format!("{rejects:?}").as_bytes(),
            );
        }
    }

    /// Searches all rows of all tables and views of a database, and the texts of the catalogue.
    pub(super) fn tables(&self, name: &str, client: &mut Client) {
        for row in client.query(RELATIONS, &[]).expect("the catalogue") {
            let (relation, columns): (String, Vec<String>) = (row.get(0), row.get(1));
            let place = if relation.contains("pg_stat_activity") { "sessions" } else { "tables" };
            // A view can be broken on purpose, by a column that was dropped.
            let Ok((bytes, hits)) = self.rows(client, &relation, "t") else { continue };
            if hits.is_empty() {
                self.report().searched(place, "", bytes, &[]);
                continue;
            }
            for column in columns {
                if let Ok((bytes, hits)) = self.rows(client, &relation, &format!("t.{column}")) {
                    let at = format!("{name}: {relation}.{column}");
                    self.report().searched(place, &at, bytes, &hits);
                }
            }
        }
    }

    /// Searches one expression of all rows of a relation.
    fn rows(
        &self,
        client: &mut Client,
        relation: &str,
        expression: &str,
    ) -> Result<(u64, Vec<Hit>), Error> {
        let query = format!("SELECT {expression}::text FROM {relation} t");
        let mut text = String::new();
        for row in client.query(&query, &[])? {
            text += row.get::<_, Option<&str>>(0).unwrap_or_default();
            text.push('\n');
        }
        let mut hits = self.search.bytes(text.as_bytes());
        if hits.is_empty() {
            // Without hyphens too: a uuid could be made of an identifier's bytes.
            hits = self.search.bytes(text.replace('-', "").as_bytes());
        }
        Ok((text.len() as u64, hits))
    }

    /// Searches what `pg_dump` writes of a database, where it is installed.
    pub(super) fn dump(&self, server: &Server, database: &str) {
        let Some(program) = server.program("pg_dump") else {
            self.report().not_tried("pg_dump is not installed: no dump was searched");
            return;
        };
        let mut child = Command::new(program)
            .env_clear()
            .args(["--dbname", &server.url(Some(database))])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("pg_dump starts");
        let (bytes, hits) = self.search.reader(child.stdout.take().expect("piped")).expect("read");
        self.report().searched("dump", database, bytes, &hits);
        assert!(child.wait().is_ok_and(|status| status.success()), "{database}: pg_dump fails");
    }

    /// Searches all files of the server, which has been stopped.
    pub(super) fn cluster(&self, server: &Server) {
        let all = files(&server.data);
        let search = |paths: &[PathBuf]| {
            for path in paths {
                let at = relative(&server.data, path);
                let place = match at.split('/').next() {
                    Some("base" | "global" | "pg_tblspc") => "heap and index files",
                    Some("pg_wal") => "write-ahead log",
                    _ => "other server files",
                };
                self.file(place, &at, path);
            }
        };
        // In two halves, for two cores.
        let (some, others) = all.split_at(all.len() / 2);
        thread::scope(|scope| {
            scope.spawn(|| search(some));
            search(others);
        });
        self.file("server log", "server.log", &server.log());
    }
}

/// Everything with rows, and its columns; partitions are searched with their table.
const RELATIONS: &str = "SELECT format('%I.%I', nspname, relname) AS relation,
        (SELECT array_agg(quote_ident(attname) ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND NOT relispartition
        AND nspname !~ '^pg_toast' AND nspname <> 'information_schema'
        AND (nspname <> 'pg_catalog' OR relname IN
             ('pg_attrdef', 'pg_class', 'pg_constraint', 'pg_description', 'pg_prepared_statements',
              'pg_shdescription', 'pg_stat_activity', 'pg_statistic'))
    ORDER BY 1";

/// All files below a folder, in order.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn relative(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}
