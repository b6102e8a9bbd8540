//! Sign-in: API version, personal access token, redirect to another host.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use quick_xml::se::to_string;

use super::answer::{Reply, word};
use super::call::{TRIES, repeat};
use super::document::{AccessToken, SignIn, Site};
use super::version::{TOKENS, Version};
use crate::config::Tableau;
use crate::error::Error;
use crate::http::{Method, Request};
use crate::refresh::job::Job;
use crate::refresh::outcome::Failure;
use crate::secret::value::Secret;

/// Content type of requests and responses.
const XML: &str = "application/xml";

/// A session's base URL and credentials.
pub(super) struct Ticket {
    base: String,
    site: String,
    token: Secret,
    /// Offset of the server's clock from this machine's.
    ahead: TimeDelta,
    pub(super) version: Version,
    /// Sequence number of the sign-in.
    pub(super) number: u32,
    pub(super) since: Instant,
}

impl Ticket {
    /// Request to read a path of the site.
    pub(super) fn get(&self, path: &str) -> Request {
        self.request(Method::Get, &format!("sites/{}/{path}", self.site))
    }

    /// Request to post a document to a path of the site.
    pub(super) fn post(&self, path: &str, body: &str) -> Request {
        self.request(Method::Post, &format!("sites/{}/{path}", self.site)).body(XML, body)
    }

    /// Request to cancel a job of the site.
    pub(super) fn put(&self, path: &str) -> Request {
        self.request(Method::Put, &format!("sites/{}/{path}", self.site))
    }

    /// Request to sign out.
    pub(super) fn sign_out(&self) -> Request {
        self.request(Method::Post, "auth/signout")
    }

    /// Server time, rounded down.
    pub(super) fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.ahead
    }

    fn request(&self, method: Method, path: &str) -> Request {
        let url = format!("{}/api/{}/{path}", self.base, self.version);
        Request::new(method, url)
            .header("Accept", XML)
            .header("X-Tableau-Auth", self.token.expose())
    }
}

/// Signs in.
///
/// # Errors
/// Why the token is not accepted.
pub(super) fn sign_in(settings: &Tableau, job: &Job<'_>, number: u32) -> Result<Ticket, Failure> {
    let mut base = settings.server.trim_end_matches('/').to_owned();
    let version = version(settings, job, &mut base)?;
    if version < TOKENS {
        return Err(Failure::failed(format!(
            "this server has API {version}; personal access tokens need {TOKENS}: update it"
        )));
    }
    let token = settings.token.read("refresh.tableau.token")?;
    let credentials = AccessToken {
        name: &settings.token_name,
        secret: token.expose(),
        site: Site { content_url: &settings.site },
    };
    let body = to_string(&SignIn { credentials })
        .map_err(|_| Error::internal("the sign-in request could not be written"))?;
    let reply = follow_once(&mut base, "/auth/signin", |base| {
        let url = format!("{base}/api/{version}/auth/signin");
        let request = Request::post(url).header("Accept", XML).body(XML, body.clone());
        repeat(job, &request, TRIES)
    })?;
    let Some(root) = reply.document() else { return Err(reply.failure("the sign-in")) };
    let signed_in = root.credentials.as_ref().and_then(|credentials| {
        let site = credentials.site.as_ref()?.id.as_deref().and_then(word)?;
        Some((site, Secret::new(credentials.token.as_ref()?)))
    });
    let Some((site, token)) = signed_in else {
        return Err(Failure::failed("Tableau's answer to the sign-in has no session"));
    };
    let ahead = reply.date.map_or(TimeDelta::zero(), |date| date - Utc::now());
    Ok(Ticket { base, site, token, ahead, version, number, since: Instant::now() })
}

/// The configured version, or the server's.
fn version(settings: &Tableau, job: &Job<'_>, base: &mut String) -> Result<Version, Failure> {
    if settings.api_version != "auto" {
        return settings.api_version.parse().map_err(|()| {
            Failure::failed(
                "refresh.tableau.api_version must be \"auto\" or, for example, \"3.27\"",
            )
        });
    }
    let reply = follow_once(base, "/serverinfo", |base| {
        let url = format!("{base}/api/2.4/serverinfo");
        repeat(job, &Request::get(url).header("Accept", XML), TRIES)
    })?;
    if reply.is_missing() {
        return Err(Failure::failed(format!(
            "this server does not report its version ({}): it is too old, or refresh.tableau.server \
             is wrong",
            reply.status_and_code()
        )));
    }
    let Some(root) = reply.document() else { return Err(reply.failure("the server's version")) };
    let offered = root.server_info.as_ref().and_then(|info| info.rest_api_version.as_ref());
    offered.and_then(|version| version.parse().ok()).ok_or_else(|| {
        Failure::failed(
            "this server does not report its version; set refresh.tableau.api_version, for example \
             to \"3.27\"",
        )
    })
}

/// Sends a request, and once more after a permanent redirect, which also changes `base`.
fn follow_once(
    base: &mut String,
    end: &str,
    send: impl Fn(&str) -> Result<Reply, Failure>,
) -> Result<Reply, Failure> {
    let reply = send(base)?;
    if !reply.is_moved() {
        return Ok(reply);
    }
    let Some(moved) = reply.location.as_deref().and_then(|to| moved(base, to, end)) else {
        return Err(Failure::failed(format!(
            "Tableau redirects to an address that is not safe for a token ({}); is \
             refresh.tableau.server right?",
            reply.status_and_code()
        )));
    };
    *base = moved;
    send(base)
}

/// The base URL of a `Location`; `None` if a token must not be sent there: accepts only https, or
/// http between loopback addresses, and only the same path.
fn moved(base: &str, location: &str, end: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '?' | '#' | '\\');
    if !location.chars().all(plain) || !location.to_ascii_lowercase().ends_with(end) {
        return None;
    }
    let target = if location.starts_with('/') && !location.starts_with("//") {
        let after = base.find("://")? + 3;
        let host = base[after..].find('/').map_or(base, |slash| &base[..after + slash]);
        format!("{host}{location}")
    } else {
        location.to_owned()
    };
    let safe = match (host(base, "http://"), host(&target, "http://")) {
        (Some(from), Some(to)) => from == to && is_loopback(from),
        (_, None) => host(&target, "https://").is_some_and(|host| !host.is_empty()),
        (None, Some(_)) => false,
    };
    let api = target.rfind("/api/")?;
    safe.then(|| target[..api].to_owned())
}

/// Host of a URL with this scheme.
fn host<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let rest = url.strip_prefix(scheme)?.split('/').next()?;
    match rest.find(']') {
        Some(end) => Some(&rest[..=end]),
        None => rest.split(':').next(),
    }
}

fn is_loopback(host: &str) -> bool {
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || inner.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || inner.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_follows_a_move_only_where_it_is_as_safe() {
        let end = "/auth/signin";
        let at = |from: &str, to: &str| moved(from, to, end);
        let cloud = "https://online.tableau.com";
        let pod = "https://10ay.online.tableau.com/api/3.27/auth/signin";
        assert_eq!(at(cloud, pod).as_deref(), Some("https://10ay.online.tableau.com"));
        assert_eq!(
            at("http://tableau.lan", pod).as_deref(),
            Some("https://10ay.online.tableau.com")
        );
        let relative = "/tab/api/3.27/auth/signin";
        assert_eq!(
            at(&format!("{cloud}/x"), relative).as_deref(),
            Some("https://online.tableau.com/tab")
        );
        let here = "http://127.0.0.1:9/api/3.27/auth/signin";
        assert_eq!(at("http://127.0.0.1:8", here).as_deref(), Some("http://127.0.0.1:9"));
        assert_eq!(
            at("http://[::1]:8", "http://[::1]:9/api/3.27/auth/signin").as_deref(),
            Some("http://[::1]:9")
        );
        for (from, to) in [
            (cloud, "http://10ay.online.tableau.com/api/3.27/auth/signin"),
            (cloud, here),
            ("http://tableau.lan", "http://tableau.lan/api/3.27/auth/signin"),
            ("http://127.0.0.1:8", "http://127.0.0.2:8/api/3.27/auth/signin"),
            ("http://localhost:8", "http://localhost.evil/api/3.27/auth/signin"),
            (cloud, "https://sso.example.com/login"),
            (cloud, "https://a@evil.example/api/3.27/auth/signin"),
            (cloud, "https:///api/3.27/auth/signin"),
            (cloud, "//evil.example/auth/signin"),
            (cloud, "https://evil.example/auth/signin?next=/auth/signin"),
            (cloud, "https://evil.example/auth/signin"),
            (cloud, "ftp://evil.example/api/3.27/auth/signin"),
        ] {
            assert_eq!(at(from, to), None, "{to}");
        }
    }
}
