//! Stands in for the crate `postgres-openssl`: the connector that connectorx would make for itself
//! and claims-etl never asks for.

use openssl::error::ErrorStack;
use openssl::ssl::{ConnectConfiguration, SslConnector};
use tokio_postgres::NoTls;
use tokio_postgres::tls::{MakeTlsConnect, NoTlsStream};

/// Cannot be had: there is no [`SslConnector`] to make it from.
#[derive(Debug, Clone)]
pub struct MakeTlsConnector;

impl MakeTlsConnector {
    pub fn new(_connector: SslConnector) -> Self {
        Self
    }

    pub fn set_callback<F>(&mut self, _callback: F)
    where
        F: Fn(&mut ConnectConfiguration, &str) -> Result<(), ErrorStack> + 'static + Sync + Send,
    {
    }
}

/// Fails: no connection is made that was to be encrypted.
impl<S> MakeTlsConnect<S> for MakeTlsConnector {
    type Stream = NoTlsStream;
    type TlsConnect = NoTls;
    type Error = ErrorStack;

    fn make_tls_connect(&mut self, _domain: &str) -> Result<NoTls, ErrorStack> {
        Err(ErrorStack)
    }
}
