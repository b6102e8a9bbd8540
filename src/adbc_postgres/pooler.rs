//! Whether a connection is a session of the server.
//!
//! A pooler in transaction mode hands each transaction of a client to whichever of its own connections to
//! the server is free. Locks, settings and prepared statements of a session are then lost, or somebody
//! else's: what rests on them goes wrong without an error.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{process, thread};

use adbc_core::error::{Error, Result, Status};
use postgres::{Client, SimpleQueryMessage};

use super::error;

/// How often both connections are queried in turn: the pooler of a busy server may give the first one the
/// same session twice by chance.
const ROUNDS: u32 = 3;

/// What the server keeps for a session as long as it lasts.
#[derive(Debug, PartialEq, Eq)]
struct Backend {
    pid: String,
    mark: String,
}

/// Refuses a connection that is not one session. A mark left in the session must still be there at every
/// query, and must never be visible to a second connection, which `connect` opens. Where no second
/// connection is available, only the first is queried.
///
/// # Errors
/// `InvalidArguments` behind a pooler in transaction mode, `IO` when the connection breaks.
pub(super) fn refuse(client: &mut Client, connect: impl FnOnce() -> Option<Client>) -> Result<()> {
    let mark = mark();
    ask(
        client,
        &format!("SELECT pg_catalog.set_config('adbc_postgres.session', '{mark}', false)"),
    )?;
    let mine = look(client)?;
    let mut other = connect();
    let mut its_pid = None;
    for _ in 0..ROUNDS {
        if let Some(other) = &mut other {
            let seen = look(other)?;
            if seen.mark == mark || seen.pid == mine.pid {
                return Err(pooled());
            }
            if its_pid.get_or_insert_with(|| seen.pid.clone()) != &seen.pid {
                return Err(pooled());
            }
        }
        if mine.mark != mark || look(client)? != mine {
            return Err(pooled());
        }
    }
    if let Some((other, pid)) = other.zip(its_pid) {
        // A role with few connections needs this one for something else.
        let _ = other.close();
        wait_for_the_end_of(client, &pid)?;
    }
    Ok(())
}

/// A text that no other session has.
fn mark() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{}", process::id(), now.as_nanos())
}

fn look(client: &mut Client) -> Result<Backend> {
    let answer = ask(
        client,
        "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('adbc_postgres.session', true)",
    )?;
    let [pid, mark] = answer.unwrap_or_default();
    Ok(Backend { pid, mark })
}

/// The first two columns of the answer, by the simple protocol: a prepared statement would be one more
/// thing that a pooler loses.
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

/// Gives the server a moment to end a session.
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
