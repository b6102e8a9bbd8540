//! Files over HTTP and HTTPS.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};

use super::super::address::Address;
use super::super::spool::Writing;
use super::transfer::{CONNECT, SILENCE, broken_off, unless_cancelled, unreachable};
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::schema::Dataset;

/// How often a request is made, in all.
const TRIES: u32 = 3;
/// The wait before the second try; it doubles.
const DELAY: Duration = Duration::from_millis(500);
/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// Reads a file into the spool.
pub(super) async fn fetch(
    dataset: Dataset,
    address: &Address,
    writing: &mut Writing,
    cancel: &Cancellation,
) -> Result<()> {
    let client = client(dataset, address)?;
    let mut response = request(dataset, address, &client, cancel).await?;
    loop {
        match unless_cancelled(cancel, response.chunk()).await? {
            Ok(Some(piece)) => writing.append(&piece)?,
            Ok(None) => return Ok(()),
            Err(_) => return Err(broken_off(dataset, address, writing.bytes())),
        }
        cancel.check()?;
    }
}

/// The answer that has the file; requests to busy and failing servers are retried.
async fn request(
    dataset: Dataset,
    address: &Address,
    client: &Client,
    cancel: &Cancellation,
) -> Result<Response> {
    let mut attempt = 1;
    loop {
        let answer = unless_cancelled(cancel, client.get(address.expose()).send()).await?;
        let error = match answer {
            Ok(response) if response.status().is_success() => return Ok(response),
            Ok(response) => refusal(dataset, address, response.status()),
            Err(error) => failure(dataset, address, &error),
        };
        let (error, again) = error;
        if !again || attempt == TRIES {
            return Err(error);
        }
        unless_cancelled(cancel, tokio::time::sleep(DELAY * 2_u32.pow(attempt - 1))).await?;
        attempt += 1;
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
            attempt.error("a redirect out of HTTPS")
        }
    });
    Client::builder()
        .user_agent(concat!("claims-etl/", env!("CARGO_PKG_VERSION")))
        // It would show this server's query to the next one.
        .referer(false)
        .redirect(redirects)
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .build()
        .map_err(|_| {
            Error::config(format!("{dataset}: {address}: this machine cannot make web requests"))
                .hint("are its certificate authorities (ca-certificates) installed?")
        })
}

/// What an answer without the file means, and whether to ask again.
fn refusal(dataset: Dataset, address: &Address, status: StatusCode) -> (Error, bool) {
    let code = status.as_u16();
    let again = code == 429 || status.is_server_error();
    let error = |what: &str| Error::source(format!("{dataset}: {address} {what} (HTTP {code})"));
    let error = match code {
        404 | 410 => error("is not there").hint("check the address"),
        401 | 403 => error("may not be read")
            .hint("check user and password, or whether a signed address has run out"),
        _ if again => error("failed on the server").hint("try again later"),
        _ => error("was refused").hint("check the address"),
    };
    (error, again)
}

/// What a request without an answer means, and whether to ask again.
fn failure(dataset: Dataset, address: &Address, error: &reqwest::Error) -> (Error, bool) {
    if error.is_redirect() {
        let error =
            Error::source(format!("{dataset}: {address} redirects without end or into the clear"))
                .hint(format!(
                    "at most {REDIRECTS} redirects are followed, and none from https to http"
                ));
        return (error, false);
    }
    if error.is_builder() {
        let error = Error::config(format!("{dataset}: {address} is no web address"));
        return (error.hint("for example https://host/claims.csv"), false);
    }
    (unreachable(dataset, address), true)
}
