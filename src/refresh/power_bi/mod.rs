//! Refreshes Power BI's semantic models.
//!
//! See the Power BI REST reference and "Enhanced refresh with the Power BI REST API".

mod assertion;
mod errors;
mod model;
pub(crate) mod poll;
mod report;
pub(crate) mod request;
pub(crate) mod start;
mod token;
mod verify;

use std::sync::Arc;

use model::{Model, TRIES};
use token::Session;

use super::{Done, Failure, Job, Outcome, Target};
use crate::config::{PowerBiTarget, Settings};
use crate::http::Request;
use crate::refresh::power_bi::poll::Work;
use crate::refresh::target_info::{About, off};

/// One semantic model as a target.
struct PowerBi {
    about: About,
    settings: PowerBiTarget,
    model: Model,
}

/// The targets that the settings name.
pub(super) fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let (refresh, power_bi) = (&settings.refresh, &settings.refresh.power_bi);
    let session = Arc::new(Session::new(power_bi));
    let target = |(name, target): (&String, &PowerBiTarget)| -> Box<dyn Target> {
        Box::new(PowerBi {
            about: About {
                name: format!("power_bi.{name}"),
                provider: "power_bi",
                parallel: refresh.parallel(power_bi.parallel),
                required: target.required,
                deadline: refresh.deadline(target.deadline_secs),
                skipped: off(target.enabled, &format!("refresh.power_bi.targets.{name}")),
            },
            settings: target.clone(),
            model: Model::new(power_bi, target, Arc::clone(&session)),
        })
    };
    power_bi.targets.iter().map(target).collect()
}

impl Target for PowerBi {
    fn about(&self) -> &About {
        &self.about
    }

    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        let request = Request::get(self.model.at(""));
        let found = self.model.json(job, &request, "the model", TRIES)?;
        match found["isRefreshable"].as_bool() {
            Some(true) => Ok("a model that can be refreshed".into()),
            Some(false) => Err(Failure::failed(
                "the model: Power BI says that it cannot be refreshed; one that only holds live \
                 connections, or pushed rows, needs no refresh",
            )),
            None => Ok("a model; Power BI does not say whether it can be refreshed".into()),
        }
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let done = Work::new(&self.model, &self.settings).run(job)?;
        let query = self.settings.verify_query.as_ref();
        let Some(query) = query.filter(|_| done.outcome == Outcome::Succeeded) else {
            return Ok(done);
        };
        match verify::verify(job, &self.model, query) {
            Ok(shown) => Ok(Done::succeeded(format!("{}; {shown}", done.detail))),
            Err(failure) => {
                Err(Failure { message: format!("{}; {}", done.detail, failure.message), ..failure })
            }
        }
    }
}
