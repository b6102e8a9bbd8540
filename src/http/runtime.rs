//! The tokio runtime for network access; the rest of the program is blocking.

use std::sync::{Once, OnceLock};

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

/// The runtime, started on first use.
///
/// # Errors
/// `Internal` when its threads cannot be started.
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

/// Installs ring as the process' TLS provider, as for the warehouse; an existing provider is kept.
pub(crate) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
