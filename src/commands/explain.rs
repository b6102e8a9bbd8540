//! `explain`: the query plans of a run.

use std::sync::Arc;

use polars::prelude::{IntoLazy, LazyFrame};

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, RunId};
use crate::key::MasterKey;
use crate::pipeline::query_plan::collect;
use crate::pipeline::run_rules::checks;
use crate::risk::{Exactness, Medians, RiskModel, Statistics};
use crate::schema::Dataset;
use crate::transform::{self, Claims, DateFormats, Directory, Release, Scorer, provider_rows};
use crate::{extract, shuffle};

/// The query plans of both passes, as optimised by Polars: for a block of claims, and for its rows
/// after the shuffle. The score appears without its statistics.
///
/// # Errors
/// `Source` or `Config` when the sources cannot be opened.
pub(crate) fn explain(settings: &Settings, cancel: &Cancellation) -> Result<String> {
    let claims = extract::extract(Dataset::Claims, settings, cancel)?;
    let providers = extract::extract(Dataset::Providers, settings, cancel)?;
    let key = MasterKey::ephemeral()?;
    let formats = Arc::new(DateFormats::of(settings)?);
    let checks = Arc::new(checks(settings, RunId::now())?);
    let rows = collect(provider_rows(extract::scan(&providers).all()?, &checks))?;
    let release = Arc::new(Release::new(&settings.privacy, &key)?);
    let directory = Directory::new(&rows, settings.warehouse.on_provider_conflict, &release)?;
    let blocks = extract::scan(&claims);
    let block = match blocks.next_block()? {
        Some(block) => block.frame()?,
        None => blocks.all()?,
    };
    let first = Claims::new(&directory, &formats, &checks, &release).rows(block);
    let medians = Medians::fit(&Statistics::default(), &settings.risk);
    let (model, exact) = (RiskModel::new(medians, []), Exactness::of(&settings.privacy));
    let scorer = Scorer::new(model, exact, &directory, []);
    let second = transform::scored(
        shuffle::no_rows()?.lazy(),
        &directory,
        Some(&scorer),
        checks.severities(),
        None,
    );
    let explained = |plan: &LazyFrame| {
        plan.explain(true).map_err(|_| Error::internal("the query plan cannot be shown"))
    };
    Ok(format!(
        "First pass, block by block: validate, join, pseudonymise\n\n{}\n\n\
         Second pass, in the order of the tokens: score\n\n{}\n",
        explained(&first)?,
        explained(&second)?
    ))
}
