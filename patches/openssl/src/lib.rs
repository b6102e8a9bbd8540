//! Stands in for the crate `openssl`, and saves building OpenSSL. connectorx names these types in a
//! TLS connector of its own, which claims-etl never asks for: it hands over one of rustls. Whoever
//! asked for that of connectorx would get an error from [`ssl::SslConnector::builder`].

pub mod error {
    use std::fmt;

    /// The only error there is: that this is not OpenSSL.
    #[derive(Debug, Clone)]
    pub struct ErrorStack;

    impl fmt::Display for ErrorStack {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("this program is built without OpenSSL")
        }
    }

    impl std::error::Error for ErrorStack {}
}

pub mod ssl {
    use std::path::Path;

    use crate::error::ErrorStack;

    /// Cannot be had: [`SslConnector::builder`] fails.
    #[derive(Debug, Clone)]
    pub struct SslConnector(Never);

    #[derive(Debug, Clone)]
    enum Never {}

    impl SslConnector {
        /// # Errors
        /// Always.
        pub fn builder(_method: SslMethod) -> Result<SslConnectorBuilder, ErrorStack> {
            Err(ErrorStack)
        }
    }

    /// Cannot be had either.
    #[derive(Debug)]
    pub struct SslConnectorBuilder(Never);

    impl SslConnectorBuilder {
        /// # Errors
        /// None: it is never called.
        pub fn set_certificate_file(
            &mut self,
            _file: impl AsRef<Path>,
            _type: SslFiletype,
        ) -> Result<(), ErrorStack> {
            match self.0 {}
        }

        /// # Errors
        /// None: it is never called.
        pub fn set_private_key_file(
            &mut self,
            _file: impl AsRef<Path>,
            _type: SslFiletype,
        ) -> Result<(), ErrorStack> {
            match self.0 {}
        }

        /// # Errors
        /// None: it is never called.
        pub fn set_ca_file(&mut self, _file: impl AsRef<Path>) -> Result<(), ErrorStack> {
            match self.0 {}
        }

        pub fn set_verify(&mut self, _mode: SslVerifyMode) {
            match self.0 {}
        }

        pub fn build(self) -> SslConnector {
            match self.0 {}
        }
    }

    #[derive(Debug, Clone, Copy)]
    pub struct SslMethod;

    impl SslMethod {
        pub fn tls_client() -> Self {
            Self
        }
    }

    #[derive(Debug, Clone, Copy)]
    pub struct SslFiletype;

    impl SslFiletype {
        pub const PEM: Self = Self;
    }

    #[derive(Debug, Clone, Copy)]
    pub struct SslVerifyMode;

    impl SslVerifyMode {
        pub const NONE: Self = Self;
    }

    /// What a connection is configured by.
    #[derive(Debug)]
    pub struct ConnectConfiguration(Never);

    impl ConnectConfiguration {
        pub fn set_verify_hostname(&mut self, _verify: bool) {
            match self.0 {}
        }
    }
}
