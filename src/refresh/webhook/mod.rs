//! Announces the results of the run and of all other targets in one signed message.
//!
//! Unlike a refresh request, an unanswered message is resent: all deliveries have the same id,
//! which receivers use to drop duplicates (Standard Webhooks 1.0.0).

mod payload;
mod signature;

use std::time::Duration;

use chrono::Utc;
use payload::Notice;
use signature::Signer;

use super::job::Job;
use super::outcome::{Done, Failure, Outcome};
use super::target::{Target, Wave};
use super::target_info::{TargetInfo, off};
use crate::config::{Settings, Webhook};
use crate::http::{Answer, Request, SendError};

/// The configured targets.
pub(super) fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let refresh = &settings.refresh;
    refresh
        .webhook
        .iter()
        .map(|(name, hook)| {
            Box::new(Hook {
                info: TargetInfo {
                    name: format!("webhook.{name}"),
                    provider: "webhook",
                    parallel: refresh.parallel(None),
                    required: hook.required,
                    deadline: refresh.deadline(hook.deadline_secs),
                    skipped: off(hook.enabled, &format!("refresh.webhook.{name}")),
                },
                settings: hook.clone(),
            }) as Box<dyn Target>
        })
        .collect()
}

struct Hook {
    info: TargetInfo,
    settings: Webhook,
}

impl Target for Hook {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn wave(&self) -> Wave {
        Wave::Last
    }

    /// Requests the host's root instead of the URL, because some receivers treat any request as an
    /// event.
    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        let secrets = self.signer()?.len();
        job.send(&Request::get(root(&self.settings.url)), self.timeout()).map_err(|lost| {
            Failure { message: format!("the host does not answer: {lost}"), ..lost.into() }
        })?;
        let plural = if secrets == 1 { "secret is" } else { "secrets are" };
        Ok(format!(
            "{secrets} {plural} well-formed and the host answers; nothing was delivered, so \
             whether the receiver accepts it is not checked"
        ))
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let signer = self.signer()?;
        let Some(notice) = Notice::new(&self.info.name, job.published, job.earlier) else {
            let detail = "nothing has been published yet".to_owned();
            return Ok(Done { outcome: Outcome::Skipped, detail });
        };
        job.note_remote_id(&notice.id);
        self.deliver(job, &notice, &signer)
    }
}

impl Hook {
    fn signer(&self) -> Result<Signer, Failure> {
        Ok(Signer::read(&format!("refresh.{}.secrets", self.info.name), &self.settings)?)
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.settings.timeout_secs)
    }

    /// Sends the notice until it is accepted, permanently rejected, or out of retries.
    fn deliver(
        &self,
        job: &mut Job<'_>,
        notice: &Notice,
        signer: &Signer,
    ) -> Result<Done, Failure> {
        let mut waits = self.settings.retry_delays_secs.iter().copied().map(Duration::from_secs);
        loop {
            job.check()?;
            job.count_attempt();
            let request = self.request(notice, signer);
            let trouble = match job.send(&request, self.timeout()) {
                Ok(answer) => match verdict(&answer)? {
                    Verdict::Taken => return Ok(Done::succeeded(taken(&answer, job))),
                    Verdict::Later(trouble) => trouble,
                },
                Err(lost @ SendError::Cancelled) => return Err(lost.into()),
                Err(lost) => RetryableFailure { what: lost.to_string(), retry_after: None },
            };
            job.check()?;
            let tries = match job.noted().1 {
                1 => "1 try".to_owned(),
                tries => format!("{tries} tries"),
            };
            let failed = format!("{}; {tries}", trouble.what);
            let retry_after = trouble.retry_after.unwrap_or_default();
            if trouble.retry_after.is_some() && retry_after >= job.left() {
                return Err(Failure::rate_limited(failed, retry_after));
            }
            let Some(wait) = waits.next() else {
                return Err(match trouble.retry_after {
                    Some(wait) => Failure::rate_limited(failed, wait),
                    None => Failure::failed(failed),
                });
            };
            let wait = wait.max(retry_after);
            if wait >= job.left() {
                return Err(Failure::failed(format!("{failed}, and no time for another")));
            }
            job.pause(wait)?;
        }
    }

    /// A delivery: the same id and bytes each time, with the timestamp and signature of this
    /// attempt.
    fn request(&self, notice: &Notice, signer: &Signer) -> Request {
        let request =
            Request::post(&self.settings.url).body("application/json", notice.body.as_bytes());
        let headers = signer.headers(&notice.id, Utc::now().timestamp(), notice.body.as_bytes());
        headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
    }
}

enum Verdict {
    Taken,
    Later(RetryableFailure),
}

/// A retryable failure.
struct RetryableFailure {
    what: String,
    retry_after: Option<Duration>,
}

/// Classifies a response by its status; the body is not read.
fn verdict(answer: &Answer) -> Result<Verdict, Failure> {
    let status = answer.status();
    let refused = match status {
        200..=299 => return Ok(Verdict::Taken),
        408 | 425 | 429 | 500..=599 => {
            let what = format!("the receiver answered {status}");
            return Ok(Verdict::Later(RetryableFailure {
                what,
                retry_after: answer.retry_after(),
            }));
        }
        410 => {
            return Err(Failure::new(
                Outcome::Disabled,
                "the receiver has switched this webhook off (410): set enabled = false, or get a \
                 new address",
            ));
        }
        300..=399 => "it redirects to another address, and redirects are not followed",
        401 | 403 => "does the receiver have the same secret?",
        404 | 405 => "is the address right?",
        413 => "the message is too large for it",
        _ => "it does not accept the message",
    };
    Err(Failure::failed(format!("the receiver answered {status}: {refused}")))
}

fn taken(answer: &Answer, job: &Job<'_>) -> String {
    match job.noted().1 {
        1 => format!("delivered ({})", answer.status()),
        tries => format!("delivered ({}) at try {tries}", answer.status()),
    }
}

/// `scheme://host:port/` of a URL.
fn root(url: &str) -> String {
    let start = url.find("://").map_or(0, |offset| offset + 3);
    let end = url[start..].find('/').map_or(url.len(), |offset| start + offset);
    format!("{}/", &url[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_an_address_has_no_path() {
        for (url, wanted) in [
            ("https://h/a/b", "https://h/"),
            ("https://h", "https://h/"),
            ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/"),
            ("https://[::1]:8080/x", "https://[::1]:8080/"),
        ] {
            assert_eq!(root(url), wanted);
        }
    }
}
