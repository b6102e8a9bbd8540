//! The session: a client and its transaction state, shared by a connection and its statements.

use std::sync::{Arc, Mutex, MutexGuard};

use adbc_core::error::{Error, Result, Status};
use postgres::Client;

use super::error;

pub(super) struct Session {
    client: Client,
    autocommit: bool,
    /// Whether BEGIN has been sent; the first statement sends it.
    open: bool,
}

/// A session shared by a connection and its statements.
pub(super) type SharedSession = Arc<Mutex<Session>>;

/// Locks the session for one operation.
pub(super) fn lock(session: &SharedSession) -> Result<MutexGuard<'_, Session>> {
    session.lock().map_err(|_| {
        Error::with_message_and_status(
            "a panic left the connection in an unknown state; open a new one",
            Status::InvalidState,
        )
    })
}

impl Session {
    /// A session in autocommit mode.
    pub(super) fn shared(client: Client) -> SharedSession {
        Arc::new(Mutex::new(Self { client, autocommit: true, open: false }))
    }

    /// The client; begins a transaction if autocommit is off.
    pub(super) fn client(&mut self) -> Result<&mut Client> {
        if !self.autocommit && !self.open {
            self.send("beginning a transaction", "BEGIN")?;
            self.open = true;
        }
        Ok(&mut self.client)
    }

    /// Runs `work` atomically: in its own transaction, or in the open one, which a failure aborts.
    pub(super) fn atomically<T>(
        &mut self,
        work: impl FnOnce(&mut Client) -> Result<T>,
    ) -> Result<T> {
        if !self.autocommit {
            return work(self.client()?);
        }
        self.send("beginning a transaction", "BEGIN")?;
        let outcome = work(&mut self.client);
        match outcome {
            Ok(value) => self.send("committing", "COMMIT").map(|()| value),
            Err(error) => {
                // Report the first failure; a broken connection rolls back anyway.
                let _ = self.send("rolling back", "ROLLBACK");
                Err(error)
            }
        }
    }

    /// Whether every statement is its own transaction.
    pub(super) fn autocommit(&self) -> bool {
        self.autocommit
    }

    /// Sets the mode; as specified by ADBC, enabling autocommit commits the open transaction.
    pub(super) fn set_autocommit(&mut self, on: bool) -> Result<()> {
        if on && self.open {
            self.commit()?;
        }
        self.autocommit = on;
        Ok(())
    }

    /// Commits the open transaction. If a statement has failed, rolls back and fails; the server
    /// alone would answer COMMIT with a silent ROLLBACK.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.refuse_autocommit("commit")?;
        if !self.open {
            return Ok(());
        }
        // SELECT fails in an aborted transaction, so COMMIT is not reached.
        let outcome = self.send("committing", "SELECT 1; COMMIT");
        self.open = false;
        if outcome.is_err() {
            let _ = self.send("rolling back", "ROLLBACK");
        }
        outcome
    }

    /// Rolls back the open transaction.
    pub(super) fn rollback(&mut self) -> Result<()> {
        self.refuse_autocommit("rollback")?;
        if !self.open {
            return Ok(());
        }
        self.open = false;
        self.send("rolling back", "ROLLBACK")
    }

    fn refuse_autocommit(&self, function: &str) -> Result<()> {
        if self.autocommit {
            return Err(Error::with_message_and_status(
                format!("{function} needs autocommit to be off"),
                Status::InvalidState,
            ));
        }
        Ok(())
    }

    fn send(&mut self, action: &str, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).map_err(|e| error::from_postgres(action, &e))
    }
}
