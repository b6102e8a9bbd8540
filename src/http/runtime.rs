//! The tokio runtime of all network access. The rest of the program blocks.

use std::sync::{Once, OnceLock};

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

/// The runtime, started when it is first needed.
///
/// # Errors
/// `Internal` when the system refuses its threads.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    static SHARED: OnceLock<Result<Runtime>> = OnceLock::new();
    let start = || {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("network")
            .enable_all()
            .build()
            .map_err(|_| Error::internal("no runtime for network access could be started"))
    };
    SHARED.get_or_init(start).as_ref().map_err(Clone::clone)
}

/// Makes ring the TLS provider of this process, as for the warehouse; a provider that is already
/// installed is kept.
pub(crate) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
