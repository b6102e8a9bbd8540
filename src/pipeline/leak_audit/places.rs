//! Where is looked: files, folders, tables, the server's own files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::report::Tally;
use super::search::Search;
use super::server::{CONTEXT, Server};
use crate::adbc_postgres::PostgresConnection;
use crate::error::Result;
use crate::event::RunId;
use crate::quarantine;
use crate::warehouse::sql;

/// Looks into places and notes what is there.
pub(super) struct Eyes {
    pub(super) search: Search,
    pub(super) tally: Tally,
}

impl Eyes {
    /// Looks through bytes.
    pub(super) fn bytes(&self, place: &'static str, at: &str, bytes: &[u8]) {
        let hits = self.search.bytes(bytes);
        self.tally.looked(place, at, (0, bytes.len() as u64), &hits);
    }

    /// Looks through a file; one that is gone by now holds nothing.
    pub(super) fn file(&self, place: &'static str, at: &str, path: &Path) {
        let Ok(file) = File::open(path) else { return };
        match self.search.reader(file) {
            Ok((bytes, hits)) => self.tally.looked(place, at, (0, bytes), &hits),
            Err(error) => self.tally.not_tried(format!("{at} cannot be read: {}", error.kind())),
        }
    }

    /// Looks through all files of a folder, which are named from there.
    pub(super) fn folder(&self, place: &'static str, folder: &Path) {
        for path in files(folder) {
            self.file(place, &relative(folder, &path), &path);
        }
    }

    /// Looks through the rows of all quarantines in a data directory: as files they are packed.
    pub(super) fn quarantine(&self, data: &Path) {
        let folder = data.join("quarantine");
        for path in files(&folder) {
            let run = path.file_stem().and_then(|stem| RunId::parse(stem.to_str()?).ok());
            let Some(run) = run else { continue };
            let at = relative(data, &path);
            match quarantine::read(&folder, run) {
                Ok(rejects) => {
                    let text = format!("{rejects:?}");
                    let size = (rejects.iter().count() as u64, text.len() as u64);
                    let hits = self.search.bytes(text.as_bytes());
                    self.tally.looked("quarantine rows", &at, size, &hits);
                }
                Err(error) => self.tally.not_tried(format!("{at}: {}", error.message())),
            }
        }
    }

    /// Looks through all rows of all tables and views of a database, and what the catalogue says of
    /// them in words.
    pub(super) fn tables(&self, name: &str, connection: &mut PostgresConnection) -> Result<()> {
        let relations = sql::query(connection, CONTEXT, RELATIONS)?;
        for row in 0..relations.num_rows() {
            let text = |column: &str| sql::text(&relations, column, row).unwrap_or_default();
            let (relation, columns) = (text("relation"), text("columns"));
            let place = if relation.contains("pg_stat_activity") { "sessions" } else { "tables" };
            let Ok(rows) = self.rows(connection, &relation, "t", place) else {
                // It can be broken on purpose: a view of a column that was dropped.
                continue;
            };
            if rows.is_clean {
                self.tally.looked(place, "", (rows.rows, rows.bytes), &[]);
                continue;
            }
            for column in columns.split('\n') {
                let at = format!("{name}: {relation}.{column}");
                let _ = self.rows(connection, &relation, &format!("t.{column}"), &at);
            }
        }
        Ok(())
    }

    /// Looks through one expression of all rows of a relation, and notes what is found.
    fn rows(
        &self,
        connection: &mut PostgresConnection,
        relation: &str,
        expression: &str,
        at: &str,
    ) -> Result<Seen> {
        let query = format!("SELECT {expression}::text AS row FROM {relation} t");
        let found = sql::query(connection, CONTEXT, &query)?;
        let mut text = String::new();
        for row in 0..found.num_rows() {
            text += &sql::text(&found, "row", row).unwrap_or_default();
            text.push('\n');
        }
        // Without hyphens too: a uuid could be made of an identifier's bytes.
        let plain = text.replace('-', "");
        let mut hits = self.search.bytes(text.as_bytes());
        if hits.is_empty() {
            hits = self.search.bytes(plain.as_bytes());
        }
        let (rows, bytes) = (found.num_rows() as u64, text.len() as u64);
        if !hits.is_empty() && at != "tables" && at != "sessions" {
            self.tally.looked("tables", at, (rows, bytes), &hits);
        }
        Ok(Seen { rows, bytes, is_clean: hits.is_empty() })
    }

    /// Looks through what `pg_dump` writes of a database, where it is installed.
    pub(super) fn dump(&self, server: &Server, database: &str) {
        let Some(program) = server.program("pg_dump") else {
            self.tally.not_tried("pg_dump is not installed: no dump was looked through".into());
            return;
        };
        let dump = Command::new(program)
            .env_clear()
            .args(["--dbname", &server.url(Some(database))])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = dump else {
            self.tally.not_tried("pg_dump does not start".into());
            return;
        };
        let looked = child.stdout.take().map(|out| self.search.reader(out));
        if let Some(Ok((bytes, hits))) = looked {
            self.tally.looked("dump", database, (0, bytes), &hits);
        }
        if !child.wait().is_ok_and(|status| status.success()) {
            self.tally.unexpected(format!("{database}: pg_dump did not succeed"));
        }
    }

    /// Looks through all files of the server, which has been stopped.
    pub(super) fn cluster(&self, server: &Server) {
        let all = files(&server.data);
        let look = |paths: &[PathBuf]| {
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
            scope.spawn(|| look(some));
            look(others);
        });
        self.file("server log", "server.log", &server.log());
    }
}

struct Seen {
    rows: u64,
    bytes: u64,
    is_clean: bool,
}

/// Everything with rows, and its columns; partitions are seen with their table.
const RELATIONS: &str = "SELECT format('%I.%I', nspname, relname) AS relation,
        (SELECT string_agg(quote_ident(attname), E'\\n' ORDER BY attnum) FROM pg_attribute
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
