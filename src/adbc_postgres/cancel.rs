//! The cancel handle: asks the server to cancel the current operation of a connection.
//!
//! The cancel connection has the same TLS protection as the session.

use std::time::Duration;

use adbc_core::CancelHandle;
use adbc_core::error::Result;
use postgres::CancelToken;

use super::bounded::within;
use super::error;
use super::tls::Tls;

/// Timeout of a cancel request.
const LIMIT: Duration = Duration::from_secs(5);

/// Cancels whatever the connection is running; a no-op if idle.
#[derive(Clone)]
pub(super) struct Cancel {
    token: CancelToken,
    tls: Tls,
}

impl Cancel {
    /// The handle of a connection made with `tls`.
    pub(super) fn new(token: CancelToken, tls: Tls) -> Self {
        Self { token, tls }
    }

    pub(super) fn boxed(&self) -> Box<dyn CancelHandle> {
        Box::new(self.clone())
    }
}

impl CancelHandle for Cancel {
    fn try_cancel(&self) -> Result<()> {
        let Self { token, tls } = self.clone();
        within(LIMIT, "cancelling", move || tls.cancel(&token))?
            .map_err(|e| error::from_postgres("cancelling", &e))
    }
}
