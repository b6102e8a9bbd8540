//! Stands in for the crate `redshift-iam` (GPL-3.0, and with it the AWS SDK). connectorx calls one
//! function of it, for addresses that claims-etl refuses before it connects.

use url::Url;

/// Signs nobody in: the address comes back as it is, and no Postgres client accepts its scheme.
///
/// # Panics
/// For a text that is not a URL; connectorx hands over one that it has parsed.
pub fn redshift_to_postgres(connection_uri: impl ToString) -> Url {
    Url::parse(&connection_uri.to_string()).expect("connectorx parsed it before")
}
