//! Checks that a connection is a server session.
//!
//! A pooler in transaction mode assigns each transaction to any of its server connections. Locks,
//! settings and prepared statements of a session are then lost or belong to another client, without
//! an error.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{process, thread};

use adbc_core::error::{Error, Result, Status};
use postgres::{Client, SimpleQueryMessage};

use super::error;

/// Number of rounds of queries on both connections: the pooler of a busy server may assign the same
/// session twice by chance.
const ROUNDS: u32 = 3;

/// Session properties reported by the server.
#[derive(Debug, PartialEq, Eq)]
struct Backend {
    pid: String,
    mark: String,
}

/// Rejects a connection that is not one server session. A marker set in the session must be visible
/// to every query, and never to a second connection, which `connect` opens. Without a second
/// connection, only the first is queried.
///
/// # Errors
/// `InvalidArguments` behind a pooler in transaction mode, `IO` when the connection breaks.
pub(super) fn refuse(client: &mut Client, connect: impl FnOnce() -> Option<Client>) -> Result<()> {
    let mark = mark();
    ask(
        client,
        &format!("SELECT pg_catalog.set_config('adbc_postgres.session', '{mark}', false)"),
    )?;
    let mine = backend(client)?;
    let mut other = connect();
    let mut its_pid = None;
    for _ in 0..ROUNDS {
        if let Some(other) = &mut other {
            let seen = backend(other)?;
            if seen.mark == mark || seen.pid == mine.pid {
                return Err(pooled());
            }
            if its_pid.get_or_insert_with(|| seen.pid.clone()) != &seen.pid {
                return Err(pooled());
            }
        }
        if mine.mark != mark || backend(client)? != mine {
            return Err(pooled());
        }
    }
    if let Some((other, pid)) = other.zip(its_pid) {
        // Needed elsewhere if the role has a low connection limit.
        let _ = other.close();
        wait_for_the_end_of(client, &pid)?;
    }
    Ok(())
}

/// A marker unique to this session.
fn mark() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{}", process::id(), now.as_nanos())
}

fn backend(client: &mut Client) -> Result<Backend> {
    let answer = ask(
        client,
        "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('adbc_postgres.session', true)",
    )?;
    let [pid, mark] = answer.unwrap_or_default();
    Ok(Backend { pid, mark })
}

/// The first two result columns, using the simple protocol: a pooler could lose a prepared
/// statement.
fn ask(client: &mut Client, sql: &str) -> Result<Option<[String; 2]>> {
    let messages = client.simple_query(sql).map_err(|e| error::from_postgres("connecting", &e))?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let cell = |at| row.try_get(at).ok().flatten().unwrap_or_default().to_owned();
            Some([cell(0), cell(1)])
        }
        _ => None,
    }))
}

/// Gives the server time to end a session.
fn wait_for_the_end_of(client: &mut Client, pid: &str) -> Result<()> {
    if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    let there = format!(
        "SELECT pid FROM pg_catalog.pg_stat_activity WHERE pid OPERATOR(pg_catalog.=) {pid}"
    );
    for _ in 0..20 {
        if ask(client, &there)?.is_none() {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn pooled() -> Error {
    error::with_hint(
        Error::with_message_and_status(
            "the address leads to a connection pooler in transaction mode, which keeps no session: \
             a run's lock would not hold",
            Status::InvalidArguments,
        ),
        "connect to the server itself, or to a pooler in session mode (in pgbouncer: pool_mode = session)",
    )
}
