//! How a published score comes about: the row, the stored statistics and the rows around it, computed
//! once more.

use adbc_core::sync::Connection;
use uuid::Uuid;

use crate::commands::risk::explain_report::{
    ComponentInputs, ComputedScore, ExplainedComponent, ExplainedLine, RiskExplanation,
    StoredStatistics,
};
use crate::commands::verify::snapshot::in_snapshot;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::Observer;
use crate::load::risk::explained::{self, Line, OtherClaim, Rescore, State};
use crate::risk::settings::Risk;
use crate::risk::{
    COMPONENTS, Exactness, Inputs, Medians, Mismatch, NAMES, ProviderSums, RISK_MODEL, RiskModel,
    Statistics, Twin, is_weekend, ln_dollars, provider_sums, unpack,
};
use crate::totals::Cents;
use crate::warehouse::location::Warehouse;

/// Explains the scores of a claim's lines.
///
/// # Errors
/// `Config` when there is no such claim, `Warehouse` when the warehouse cannot be read.
pub(crate) fn risk_explain(
    settings: &Settings,
    token: Uuid,
    observer: &dyn Observer,
) -> Result<RiskExplanation> {
    let mut connection = Warehouse::open(settings, observer)?.connect()?;
    in_snapshot(&mut connection, |connection| {
        let lines = explained::lines(connection, token)?;
        if lines.is_empty() {
            return Err(Error::config(format!("no published claim has the token {token}"))
                .hint("`claims-etl token --domain claim` prints the token of a claim id"));
        }
        let rescore = explained::last_rescore(connection)?;
        let state = explained::state(connection)?;
        let statistics = match &state {
            Some(state) => explained::statistics(connection, &settings.risk, state)?,
            None => Statistics::default(),
        };
        let mut explained = Vec::with_capacity(lines.len());
        for line in lines {
            let parameters =
                line.parameters(rescore.as_ref())?.unwrap_or_else(|| settings.risk.clone());
            let around = match &state {
                Some(state) => {
                    Some(Around::read(connection, token, &line, state, &statistics, &parameters)?)
                }
                None => None,
            };
            explained.push(explain_line(line, rescore.as_ref(), parameters, around));
        }
        Ok(RiskExplanation {
            claim_token: token.to_string(),
            model: RISK_MODEL,
            statistics: state
                .map(|state| StoredStatistics { version: state.version, as_of: state.as_of }),
            lines: explained,
        })
    })
}

/// Everything that a line is compared with today.
struct Around {
    version: i64,
    exact: Exactness,
    model: RiskModel,
    /// The sums of the line's provider, be they enough to be compared or not.
    sums: Option<ProviderSums>,
    patients: u32,
    twins: Vec<OtherClaim>,
}

impl Around {
    fn read(
        connection: &mut impl Connection,
        token: Uuid,
        line: &Line,
        state: &State,
        statistics: &Statistics,
        parameters: &Risk,
    ) -> Result<Self> {
        let medians = Medians::fit(statistics, parameters);
        let specialty = line.canonical_specialty();
        let sums = provider_sums(explained::totals(connection, &specialty)?, &medians);
        let own = sums.iter().find(|sums| sums.provider == line.provider).cloned();
        let comparable = line.procedure.is_some() && state.exact.procedure && state.exact.day;
        Ok(Self {
            version: state.version,
            exact: state.exact,
            model: RiskModel::new(medians, sums),
            sums: own,
            patients: explained::day_patients(connection, line)?,
            twins: if comparable { explained::twins(connection, token, line)? } else { Vec::new() },
        })
    }

    fn twin(&self) -> Twin {
        match self.twins.first() {
            None => Twin::None,
            Some(other) if other.exact => Twin::Exact,
            Some(_) => Twin::Suspect,
        }
    }
}

/// A line as it is compared.
struct Subject<'a> {
    procedure: Option<&'a str>,
    specialty: &'a str,
    provider: &'a str,
    cents: i64,
    day: Option<i32>,
}

fn explain_line(
    line: Line,
    rescore: Option<&Rescore>,
    parameters: Risk,
    around: Option<Around>,
) -> ExplainedLine {
    let stored = ComputedScore::new(
        line.version(rescore),
        unpack(line.components),
        Cents::parse(&line.score).map(|hundredths| hundredths.0 / 10),
        &parameters,
    );
    let specialty = line.canonical_specialty();
    let mut inputs: [Detail; COMPONENTS] = std::array::from_fn(|_| Detail::default());
    let today = around.map(|around| {
        let subject = Subject {
            procedure: line.procedure.as_deref().filter(|_| around.exact.procedure),
            specialty: &specialty,
            provider: &line.provider,
            cents: line.cents,
            day: i32::try_from(line.day).ok().filter(|_| around.exact.day),
        };
        let components = around.model.components_of(&Inputs {
            procedure: subject.procedure,
            specialty: subject.specialty,
            provider: subject.provider,
            cents: subject.cents,
            day: subject.day,
            day_patients: subject.day.map(|_| around.patients),
            twin: around.twin(),
        });
        inputs = [
            amount(&subject, &around),
            duplicate(&subject, &around),
            provider(&subject, &around),
            volume(&subject, &around),
            mismatch(&subject, &around),
            weekend(&subject, &around),
        ];
        ComputedScore::new(around.version, components, None, &parameters)
    });
    let shown = today.as_ref().unwrap_or(&stored);
    let components = inputs.into_iter().enumerate().map(|(place, detail)| {
        let weight = parameters.weights()[place];
        let value = shown.components[place];
        let weightless = (weight <= 0.0).then(|| "its weight is 0".to_owned());
        ExplainedComponent {
            name: NAMES[place],
            weight,
            stored: stored.components[place],
            today: today.as_ref().and_then(|today| today.components[place]),
            contribution: 100.0 * weight * value.unwrap_or(0.0),
            inputs: detail.inputs,
            why_not: if value.is_some() { None } else { weightless.or(detail.why_not) },
        }
    });
    let components = components.collect();
    let differs = today.as_ref().is_some_and(|today| {
        today.thousandths != stored.thousandths || (today.score - stored.score).abs() > 0.01
    });
    ExplainedLine {
        line_number: line.line_number,
        amount: Cents(line.cents.into()),
        date_of_service: line.date,
        procedure_code: line.procedure,
        specialty: line.specialty,
        provider_id: line.provider,
        parameters,
        stored,
        today,
        differs,
        components,
    }
}

/// The inputs of a component, or why it has none.
#[derive(Default)]
struct Detail {
    inputs: Option<ComponentInputs>,
    why_not: Option<String>,
}

impl Detail {
    fn nothing(why_not: impl Into<String>) -> Self {
        Self { inputs: None, why_not: Some(why_not.into()) }
    }

    /// The inputs, and why they are not enough where they are not.
    fn with(inputs: ComponentInputs, why_not: Option<String>) -> Self {
        Self { inputs: Some(inputs), why_not }
    }
}

const NOT_PRICED: &str = "the amount is not above zero";
const NO_PROCEDURE: &str = "there is no procedure code to compare by";
const NO_SPECIALTY: &str = "there is no specialty to compare with";
const COARSE: &str = "the profile makes dates coarser than a day";

fn amount(subject: &Subject<'_>, around: &Around) -> Detail {
    if subject.cents <= 0 {
        return Detail::nothing(NOT_PRICED);
    }
    let Some(procedure) = subject.procedure else { return Detail::nothing(NO_PROCEDURE) };
    let medians = around.model.medians();
    let Some((peers, same_specialty)) = medians.peers(procedure, subject.specialty) else {
        let least = medians.settings().min_peers;
        return Detail::nothing(format!("the procedure has fewer than {least} priced claims"));
    };
    Detail::with(
        ComponentInputs::Amount {
            same_specialty,
            claims: peers.count,
            median: cents_of(i128::from(peers.expected_micros())),
            median_ln: peers.median_ln,
            sigma_ln: peers.sigma_ln,
            amount_ln: ln_dollars(subject.cents),
            z: peers.z(subject.cents),
        },
        None,
    )
}

/// Millionths of a dollar to the cent.
fn cents_of(micros: i128) -> Cents {
    Cents((micros + 5_000).div_euclid(10_000))
}

fn duplicate(subject: &Subject<'_>, around: &Around) -> Detail {
    match subject {
        Subject { cents: ..=0, .. } => Detail::nothing(NOT_PRICED),
        Subject { procedure: None, .. } => Detail::nothing(NO_PROCEDURE),
        Subject { day: None, .. } => Detail::nothing(COARSE),
        _ => Detail::with(ComponentInputs::Duplicate { others: around.twins.clone() }, None),
    }
}

fn provider(subject: &Subject<'_>, around: &Around) -> Detail {
    if subject.specialty.is_empty() {
        return Detail::nothing(NO_SPECIALTY);
    }
    let settings = around.model.medians().settings();
    let few = || {
        let least = settings.min_provider_claims;
        format!("fewer than {least} priced claims of the provider have peers")
    };
    let Some((sums, ratio)) = around.sums.as_ref().and_then(|sums| Some((sums, sums.ratio()?)))
    else {
        return Detail::nothing(few());
    };
    let fence = around.model.provider_fence(subject.specialty);
    let compared = around.model.provider(subject.provider, subject.specialty).is_some();
    let why_not = match (compared, fence) {
        (false, _) => Some(few()),
        (true, None) => {
            let least = settings.min_providers;
            Some(format!("fewer than {least} providers of the specialty can be compared"))
        }
        _ => None,
    };
    Detail::with(
        ComponentInputs::Provider {
            claims: sums.claims,
            observed: Cents(sums.cents),
            expected: cents_of(sums.expected_micros),
            ratio,
            fence: fence.map(Into::into),
        },
        why_not,
    )
}

fn volume(subject: &Subject<'_>, around: &Around) -> Detail {
    match subject {
        Subject { cents: ..=0, .. } => return Detail::nothing(NOT_PRICED),
        Subject { specialty: "", .. } => return Detail::nothing(NO_SPECIALTY),
        Subject { day: None, .. } => return Detail::nothing(COARSE),
        _ => {}
    }
    let medians = around.model.medians();
    let fence = medians.day_fence(subject.specialty);
    let least = medians.settings().min_provider_days;
    let few = || format!("the specialty has fewer than {least} provider-days");
    let why_not = fence.is_none().then(few);
    let fence = fence.map(Into::into);
    Detail::with(ComponentInputs::Volume { patients: around.patients, fence }, why_not)
}

fn mismatch(subject: &Subject<'_>, around: &Around) -> Detail {
    let Some(procedure) = subject.procedure else { return Detail::nothing(NO_PROCEDURE) };
    if subject.specialty.is_empty() {
        return Detail::nothing(NO_SPECIALTY);
    }
    let medians = around.model.medians();
    let Some(found) = medians.mismatch(procedure, subject.specialty).filter(|found| found.all > 0)
    else {
        return Detail::nothing("procedure or specialty has no priced claim");
    };
    let least = medians.settings().min_expected;
    let Mismatch { together, procedure, specialty, all } = found;
    let few = || format!("fewer than {least} would be expected by chance");
    Detail::with(
        ComponentInputs::Mismatch {
            together,
            procedure,
            specialty,
            all,
            expected: found.expected(),
            lift: found.lift(),
        },
        found.component(least).is_none().then(few),
    )
}

fn weekend(subject: &Subject<'_>, around: &Around) -> Detail {
    let Some(day) = subject.day else { return Detail::nothing(COARSE) };
    let medians = around.model.medians();
    let Some(habit) = medians.habit(subject.specialty).filter(|habit| habit.claims > 0) else {
        return Detail::nothing(NO_SPECIALTY);
    };
    let least = medians.settings().min_peers;
    let few = || format!("the specialty has fewer than {least} priced claims");
    #[expect(clippy::cast_precision_loss, reason = "a share to show")]
    let share = habit.on_weekends as f64 / habit.claims as f64;
    Detail::with(
        ComponentInputs::Weekend {
            weekend: is_weekend(day),
            claims: habit.claims,
            on_weekends: habit.on_weekends,
            share,
        },
        Some(few()).filter(|_| u64::try_from(habit.claims).unwrap_or(0) < least.max(1)),
    )
}
