//! Tells an address how the run and all other targets have ended: one signed message, sent again
//! only where that can help.
//!
//! A message may be sent again after a lost answer, unlike a refresh: all its deliveries have one
//! id, by which receivers drop repeats (Standard Webhooks 1.0.0).

mod payload;
mod signature;

use std::time::Duration;

use chrono::Utc;
use payload::Notice;
use signature::Signer;

use super::outcome::{Done, Failure, Outcome};
use super::{Job, Target, Wave};
use crate::config::{Settings, Webhook};
use crate::http::{Answer, Request, SendError};
use crate::refresh::target_info::{About, off};

/// The targets that the settings name.
pub(super) fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let refresh = &settings.refresh;
    refresh
        .webhook
        .iter()
        .map(|(name, hook)| {
            Box::new(Hook {
                about: About {
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

/// One address.
struct Hook {
    about: About,
    settings: Webhook,
}

impl Target for Hook {
    fn about(&self) -> &About {
        &self.about
    }

    fn wave(&self) -> Wave {
        Wave::Last
    }

    /// A delivery cannot be proven without one. The host's root is asked, not the address itself:
    /// some receivers take any request there for an event.
    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        let secrets = self.signer()?.len();
        job.send_within(&Request::get(root(&self.settings.url)), self.timeout()).map_err(
            |lost| Failure { message: format!("the host does not answer: {lost}"), ..lost.into() },
        )?;
        let plural = if secrets == 1 { "secret is" } else { "secrets are" };
        Ok(format!(
            "{secrets} {plural} well-formed and the host answers; nothing was delivered, so \
             whether the receiver accepts it is not proven"
        ))
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let signer = self.signer()?;
        let Some(notice) = Notice::new(&self.about.name, job.occasion, job.earlier) else {
            let detail = "nothing has been published yet, so there is nothing to tell".to_owned();
            return Ok(Done { outcome: Outcome::Skipped, detail });
        };
        job.note_remote_id(&notice.id);
        self.deliver(job, &notice, &signer)
    }
}

impl Hook {
    fn signer(&self) -> Result<Signer, Failure> {
        Ok(Signer::read(&format!("refresh.{}.secrets", self.about.name), &self.settings)?)
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.settings.timeout_secs)
    }

    /// Sends the notice until it is taken, refused for good, or the tries are used up.
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
            let trouble = match job.send_within(&request, self.timeout()) {
                Ok(answer) => match verdict(&answer)? {
                    Verdict::Taken => return Ok(Done::succeeded(taken(&answer, job))),
                    Verdict::Later(trouble) => trouble,
                },
                Err(lost @ SendError::Cancelled(_)) => return Err(lost.into()),
                Err(lost) => Trouble { what: lost.to_string(), again_in: None },
            };
            job.check()?;
            let tries = match job.noted().1 {
                1 => "1 try".to_owned(),
                tries => format!("{tries} tries"),
            };
            let failed = format!("{}; {tries}", trouble.what);
            let asked = trouble.again_in.unwrap_or_default();
            // Somebody who is to be left alone for longer than there is time is not asked again.
            if trouble.again_in.is_some() && asked >= job.left() {
                return Err(Failure::rate_limited(failed, asked));
            }
            let Some(wait) = waits.next() else {
                return Err(match trouble.again_in {
                    Some(again_in) => Failure::rate_limited(failed, again_in),
                    None => Failure::failed(failed),
                });
            };
            let wait = wait.max(asked);
            if wait >= job.left() {
                return Err(Failure::failed(format!("{failed}, and no time for another")));
            }
            job.pause(wait)?;
        }
    }

    /// A delivery: the same id and the same bytes each time, stamped and signed for this attempt.
    fn request(&self, notice: &Notice, signer: &Signer) -> Request {
        let request =
            Request::post(&self.settings.url).body("application/json", notice.body.as_bytes());
        let headers = signer.headers(&notice.id, Utc::now().timestamp(), notice.body.as_bytes());
        headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
    }
}

/// What an answer means.
enum Verdict {
    Taken,
    Later(Trouble),
}

/// Why it is worth another try.
struct Trouble {
    what: String,
    again_in: Option<Duration>,
}

/// Sorts an answer by its status alone: nothing of its body is looked at or repeated.
fn verdict(answer: &Answer) -> Result<Verdict, Failure> {
    let status = answer.status();
    let refused = match status {
        200..=299 => return Ok(Verdict::Taken),
        408 | 425 | 429 | 500..=599 => {
            let what = format!("the receiver answered {status}");
            return Ok(Verdict::Later(Trouble { what, again_in: answer.retry_after() }));
        }
        410 => {
            return Err(Failure::new(
                Outcome::Disabled,
                "the receiver has switched this webhook off (410): set enabled = false, or ask for \
                 a new address",
            ));
        }
        300..=399 => "it points to another address, and redirects are not followed",
        401 | 403 => "is the secret the one that the receiver has?",
        404 | 405 => "is the address right?",
        413 => "the message is too large for it",
        _ => "it does not take the message",
    };
    Err(Failure::failed(format!("the receiver answered {status}: {refused}")))
}

fn taken(answer: &Answer, job: &Job<'_>) -> String {
    match job.noted().1 {
        1 => format!("delivered ({})", answer.status()),
        tries => format!("delivered ({}) at try {tries}", answer.status()),
    }
}

/// `scheme://host:port/` of an address.
fn root(url: &str) -> String {
    let start = url.find("://").map_or(0, |place| place + 3);
    let end = url[start..].find('/').map_or(url.len(), |place| start + place);
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
