//! Refreshes Power BI semantic models.
//!
//! See the Power BI REST reference and "Enhanced refresh with the Power BI REST API".

mod assertion;
mod errors;
mod model;
mod poll;
mod report;
mod request;
mod start;
mod token;
mod verify;

use std::sync::Arc;

use model::{Model, TRIES};
use poll::Refresh;
use token::Session;

use super::job::Job;
use super::outcome::{Done, Failure, Outcome};
use super::target::Target;
use super::target_info::{TargetInfo, off};
use crate::config::{PowerBiTarget, Settings};
use crate::http::Request;

struct PowerBi {
    info: TargetInfo,
    settings: PowerBiTarget,
    model: Model,
}

/// The configured targets.
pub(super) fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let (refresh, power_bi) = (&settings.refresh, &settings.refresh.power_bi);
    let session = Arc::new(Session::new(power_bi));
    let target = |(name, target): (&String, &PowerBiTarget)| -> Box<dyn Target> {
        Box::new(PowerBi {
            info: TargetInfo {
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
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        let request = Request::get(self.model.at(""));
        let found = self.model.json(job, &request, "the model", TRIES)?;
        match found["isRefreshable"].as_bool() {
            Some(true) => Ok("a model that can be refreshed".into()),
            Some(false) => Err(Failure::failed(
                "the model: Power BI reports that it cannot be refreshed; a model of live connections or \
                 pushed rows only needs no refresh",
            )),
            None => Ok("a model; Power BI does not report whether it can be refreshed".into()),
        }
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let done = Refresh::new(&self.model, &self.settings).run(job)?;
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
