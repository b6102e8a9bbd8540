//! The cancel handle: asks the server to stop what a connection is doing.
//!
//! A file of its own because it works from another thread, over a connection of its own, while the
//! session is locked by the operation that it stops.

use adbc_core::CancelHandle;
use adbc_core::error::Result;
use postgres::{CancelToken, NoTls};

use super::error;

/// Cancels whatever the connection runs at the time of the call; a no-op if it runs nothing.
pub(super) struct Cancel(CancelToken);

impl Cancel {
    /// A boxed handle, as the traits want it.
    pub(super) fn boxed(token: &CancelToken) -> Box<dyn CancelHandle> {
        Box::new(Self(token.clone()))
    }
}

impl CancelHandle for Cancel {
    fn try_cancel(&self) -> Result<()> {
        self.0.cancel_query(NoTls).map_err(|e| error::from_postgres("cancelling", &e))
    }
}
