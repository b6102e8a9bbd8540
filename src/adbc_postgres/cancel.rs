//! The cancel handle: has the server cancel what a connection is doing.
//!
//! That connection is protected as the session is.

use std::time::Duration;

use adbc_core::CancelHandle;
use adbc_core::error::Result;
use postgres::CancelToken;

use super::bounded::within;
use super::error;
use super::tls::Tls;

/// How long a cancel request may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Cancels whatever the connection runs at the time of the call; a no-op if it runs nothing.
#[derive(Clone)]
pub(super) struct Cancel {
    token: CancelToken,
    tls: Tls,
}

impl Cancel {
    /// The handle of a connection that was made with `tls`.
    pub(super) fn new(token: CancelToken, tls: Tls) -> Self {
        Self { token, tls }
    }

    /// A boxed handle, as the traits want it.
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
