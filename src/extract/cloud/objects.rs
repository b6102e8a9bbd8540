//! S3, Google Cloud Storage and Azure Blob Storage.
//!
//! Credentials come from each provider's standard environment variables, never from an address.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use glob::{MatchOptions, Pattern};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use tokio::task::consume_budget;

use super::super::address::Address;
use super::super::folder;
use super::super::left_out::{self, LeftOut, TABLE_LOGS};
use super::super::spool::Writing;
use super::transfer::{CONNECT_TIMEOUT, IDLE_TIMEOUT, RemoteObjects, broken_off, unreachable};
use crate::config::Interval;
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// Glob metacharacters.
const GLOB_CHARS: [char; 3] = ['*', '?', '['];

/// Lists the objects of an address, sorted by key.
pub(super) async fn expand(
    dataset: Dataset,
    address: Address,
    interval: &Interval,
) -> Result<RemoteObjects> {
    let (bucket, key) = address.parts();
    let wild = key.find(GLOB_CHARS);
    if wild.is_none() && !key.is_empty() && !key.ends_with('/') {
        return Ok(RemoteObjects::one(address));
    }
    let store = store(dataset, &address)?;
    let literal = &key[..wild.unwrap_or(key.len())];
    let folder = literal.rsplit_once('/').map_or("", |(folder, _)| folder);
    let pattern = match wild {
        None => None,
        Some(_) => Some(Pattern::new(key).map_err(|error| {
            Error::config(format!("{dataset}: {address} is not a valid glob: {}", error.msg))
        })?),
    };
    let prefix = (!folder.is_empty()).then(|| path(dataset, &address, folder)).transpose()?;
    let mut objects = store.list(prefix.as_ref());
    let mut listing = Listing::default();
    while let Some(object) = objects.next().await {
        let object = object.map_err(|error| failure(dataset, &address, &error))?;
        listing.add(&object, folder, pattern.as_ref(), interval);
        // Yields, so that a signal can interrupt a long listing.
        consume_budget().await;
    }
    let Listing { mut keys, left_out, any, other_days, tables } = listing;
    for (table, format) in tables {
        if keys.iter().any(|key| key.starts_with(&table)) {
            let table_address = format!("{}://{bucket}/{table}", address.scheme());
            return Err(folder::no_plain_folder(
                dataset,
                table_address.trim_end_matches('/'),
                format,
            ));
        }
    }
    if !any && pattern.is_some() {
        return Err(Error::source(format!("{dataset}: no object matches {address}"))
            .hint("a * does not reach over a /; ** does"));
    }
    if keys.is_empty() {
        return Err(folder::nothing(
            dataset,
            &address.to_string(),
            other_days,
            &left_out,
            interval,
        ));
    }
    keys.sort_unstable();
    let scheme = address.scheme();
    let addresses = keys.iter().map(|key| Address::new(format!("{scheme}://{bucket}/{key}")));
    Ok(RemoteObjects { addresses: addresses.collect(), parts: true, left_out })
}

/// Accumulated result of an object listing.
#[derive(Default)]
struct Listing {
    keys: Vec<String>,
    left_out: LeftOut,
    /// Whether any object matches, including those left out.
    any: bool,
    /// Whether some objects belong to days outside the interval.
    other_days: bool,
    /// Prefixes with a table log (Delta Lake, Hudi) → table format.
    tables: BTreeMap<String, &'static str>,
}

impl Listing {
    fn add(
        &mut self,
        object: &ObjectMeta,
        folder: &str,
        pattern: Option<&Pattern>,
        interval: &Interval,
    ) {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        let key = object.location.as_ref();
        let below = key.strip_prefix(folder).unwrap_or(key).trim_start_matches('/');
        let log = TABLE_LOGS.iter().find_map(|(log, format)| {
            let at = key.find(&format!("{log}/"))?;
            (at == 0 || key[..at].ends_with('/')).then(|| (key[..at].to_owned(), *format))
        });
        self.tables.extend(log);
        let matches = match pattern {
            Some(pattern) => pattern.matches_with(key, options),
            None => !below.is_empty(),
        };
        if !matches {
            return;
        }
        self.any = true;
        let (folders, name) = below.rsplit_once('/').unwrap_or(("", below));
        let glob = pattern.map_or("", Pattern::as_str);
        if folders.split('/').any(|name| folder::is_outside(name, interval)) {
            self.other_days = true;
        } else if left_out::by_glob(glob, if glob.is_empty() { below } else { key }) {
            self.left_out.count(name);
        } else if object.size == 0 {
            self.left_out.empty += 1;
        } else {
            self.keys.push(key.to_owned());
        }
    }
}

pub(super) async fn fetch(
    dataset: Dataset,
    address: &Address,
    writing: &mut Writing,
) -> Result<()> {
    let store = store(dataset, address)?;
    let location = path(dataset, address, address.parts().1)?;
    let found = store.get(&location).await.map_err(|error| failure(dataset, address, &error))?;
    let size = found.meta.size;
    let mut chunks = found.into_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| broken_off(dataset, address, writing.bytes()))?;
        writing.append(&chunk)?;
        // Yields, so that a signal is noticed when the store is faster than the spool.
        consume_budget().await;
    }
    if writing.bytes() != size {
        return Err(broken_off(dataset, address, writing.bytes()));
    }
    Ok(())
}

/// Opens the bucket of an address.
fn store(dataset: Dataset, address: &Address) -> Result<Arc<dyn ObjectStore>> {
    let (bucket, _) = address.parts();
    if bucket.is_empty() || bucket.contains(['@', ':']) {
        return Err(Error::config(format!(
            "{dataset}: an address of {}:// must name a bucket and a key, and no credentials",
            address.scheme()
        ))
        .hint(format!(
            "{}://bucket/folder/claims.csv; {}",
            address.scheme(),
            credentials(address)
        )));
    }
    let retry = RetryConfig {
        max_retries: 3,
        retry_timeout: Duration::from_mins(1),
        ..RetryConfig::default()
    };
    // No limit on total time for large objects, but a stalled transfer fails.
    let limits = [
        (ClientConfigKey::Timeout, "7 days".to_owned()),
        (ClientConfigKey::ConnectTimeout, format!("{} s", CONNECT_TIMEOUT.as_secs())),
        (ClientConfigKey::ReadTimeout, format!("{} s", IDLE_TIMEOUT.as_secs())),
    ];
    let built: object_store::Result<Arc<dyn ObjectStore>> = match address.scheme() {
        "s3" => {
            let mut builder =
                AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
            for (key, value) in limits {
                builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
            }
            builder.build().map(|store| Arc::new(store) as _)
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::from_env();
            let mut builder = builder.with_bucket_name(bucket).with_retry(retry);
            for (key, value) in limits {
                builder = builder.with_config(GoogleConfigKey::Client(key), value);
            }
            builder.build().map(|store| Arc::new(store) as _)
        }
        _ => {
            let builder = MicrosoftAzureBuilder::from_env();
            let mut builder = builder.with_container_name(bucket).with_retry(retry);
            for (key, value) in limits {
                builder = builder.with_config(AzureConfigKey::Client(key), value);
            }
            builder.build().map(|store| Arc::new(store) as _)
        }
    };
    // The original error can quote the environment.
    built.map_err(|_| {
        Error::config(format!("{dataset}: the environment has no settings to reach {address}"))
            .hint(credentials(address))
    })
}

/// Where this provider's credentials come from, for messages.
fn credentials(address: &Address) -> &'static str {
    match address.scheme() {
        "s3" => {
            "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the region from \
             AWS_REGION, another server from AWS_ENDPOINT_URL (http:// with AWS_ALLOW_HTTP=true)"
        }
        "gs" => "credentials come from GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS",
        _ => "credentials come from AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    }
}

fn path(dataset: Dataset, address: &Address, key: &str) -> Result<Path> {
    Path::parse(key).map_err(|_| {
        Error::config(format!("{dataset}: {address} is not a valid object key"))
            .hint("parts of a key must not be empty, `.` or `..`")
    })
}

/// Reduces a store error to its kind: its text can quote requests.
fn failure(dataset: Dataset, address: &Address, error: &object_store::Error) -> Error {
    use object_store::Error as Failure;
    let gone = matches!(error, Failure::NotFound { .. }) || answered(error, &[404]);
    let refused = matches!(error, Failure::PermissionDenied { .. })
        || matches!(error, Failure::Unauthenticated { .. })
        || answered(error, &[401, 403]);
    let failed = |what: &str| Error::source(format!("{dataset}: {address} {what}"));
    let credentials = credentials(address);
    if gone {
        failed("is not there").hint("check bucket and key")
    } else if refused {
        failed("may not be read").hint(credentials)
    } else if is_unreachable(error) {
        unreachable(dataset, address)
    } else {
        let hint = format!("check the network, the endpoint and the region; {credentials}");
        failed("cannot be read").hint(hint)
    }
}

/// The error and its chain of causes.
fn causes<'a>(error: &'a object_store::Error) -> Vec<&'a (dyn StdError + 'static)> {
    let mut causes: Vec<&'a (dyn StdError + 'static)> = Vec::new();
    let mut next: Option<&'a (dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        causes.push(cause);
        next = cause.source();
    }
    causes
}

/// Whether the store answered with one of these statuses; listing errors show it only in their
/// text.
fn answered(error: &object_store::Error, statuses: &[u16]) -> bool {
    let shown = |status: &u16| format!("status code: {status}");
    let statuses: Vec<String> = statuses.iter().map(shown).collect();
    causes(error).iter().any(|cause| {
        let text = cause.to_string();
        statuses.iter().any(|status| text.contains(status))
    })
}

/// Whether the store did not answer.
fn is_unreachable(error: &object_store::Error) -> bool {
    causes(error)
        .iter()
        .filter_map(|cause| cause.downcast_ref::<HttpError>())
        .any(|error| matches!(error.kind(), HttpErrorKind::Connect | HttpErrorKind::Timeout))
}
