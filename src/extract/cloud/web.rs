//! Files over HTTP and HTTPS.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use tokio::task::consume_budget;

use super::super::address::Address;
use super::super::spool::Writing;
use super::transfer::{CONNECT_TIMEOUT, IDLE_TIMEOUT, broken_off, unreachable};
use crate::error::{Error, Result};
use crate::schema::Dataset;

const RETRIES: usize = 2;
/// Delay before the first retry; doubles with each retry.
const DELAY: Duration = Duration::from_millis(500);
/// Maximum number of redirects followed.
const REDIRECTS: usize = 5;

/// Downloads a file into the spool.
pub(super) async fn fetch(
    dataset: Dataset,
    address: &Address,
    writing: &mut Writing,
) -> Result<()> {
    let client = client(dataset, address)?;
    let backoff = ExponentialBuilder::new().with_min_delay(DELAY).with_max_times(RETRIES);
    let mut response = (|| request(dataset, address, &client))
        .retry(backoff)
        .when(|refused| refused.is_transient)
        .await
        .map_err(|refused| refused.error)?;
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => writing.append(&piece)?,
            Ok(None) => return Ok(()),
            Err(_) => return Err(broken_off(dataset, address, writing.bytes())),
        }
        // Yields, so that a signal is noticed when the server is faster than the spool.
        consume_budget().await;
    }
}

/// Why a response has no file.
struct Refused {
    error: Error,
    is_transient: bool,
}

async fn request(
    dataset: Dataset,
    address: &Address,
    client: &Client,
) -> Result<Response, Refused> {
    match client.get(address.expose()).send().await {
        Ok(response) if response.status().is_success() => Ok(response),
        Ok(response) => Err(refusal(dataset, address, response.status())),
        Err(error) => Err(failure(dataset, address, &error)),
    }
}

fn client(dataset: Dataset, address: &Address) -> Result<Client> {
    let redirects = Policy::custom(|attempt| {
        let from = attempt.previous().last().map(|url| url.scheme().to_owned());
        let to = attempt.url().scheme().to_owned();
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if to == "https" || Some(to) == from {
            attempt.follow()
        } else {
            attempt.error("a redirect to plain http")
        }
    });
    Client::builder()
        .user_agent(concat!("claims-etl/", env!("CARGO_PKG_VERSION")))
        // A referer would show this server's query to the next one.
        .referer(false)
        .redirect(redirects)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(IDLE_TIMEOUT)
        .build()
        .map_err(|_| {
            Error::config(format!("{dataset}: {address}: this machine cannot make web requests"))
                .hint("are its certificate authorities (ca-certificates) installed?")
        })
}

fn refusal(dataset: Dataset, address: &Address, status: StatusCode) -> Refused {
    let code = status.as_u16();
    let is_transient = code == 429 || status.is_server_error();
    let error = |what: &str| Error::source(format!("{dataset}: {address} {what} (HTTP {code})"));
    let error = match code {
        404 | 410 => error("is not there").hint("check the address"),
        401 | 403 => error("may not be read")
            .hint("check user and password, or whether a signed address has run out"),
        _ if is_transient => error("failed on the server").hint("try again later"),
        _ => error("was refused").hint("check the address"),
    };
    Refused { error, is_transient }
}

fn failure(dataset: Dataset, address: &Address, error: &reqwest::Error) -> Refused {
    if error.is_redirect() {
        let error =
            Error::source(format!("{dataset}: {address} redirects too often or to plain http"))
                .hint(format!(
                    "at most {REDIRECTS} redirects are followed, and none from https to http"
                ));
        return Refused { error, is_transient: false };
    }
    if error.is_builder() {
        let error = Error::config(format!("{dataset}: {address} is not a web address"))
            .hint("for example https://host/claims.csv");
        return Refused { error, is_transient: false };
    }
    Refused { error: unreachable(dataset, address), is_transient: true }
}
