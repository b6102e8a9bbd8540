//! Inspects unknown sources: format, content, and what a run would do with them.
//!
//! Runs the pipeline without warehouse and key; an error in one source becomes part of its report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate};
use polars::prelude::{Column, DataFrame, DataType, IntoLazy};

use crate::commands::inspect::assumed_mapping::{assumed, columns, with_sources};
use crate::commands::inspect::report::{
    InspectionReport, ProfileReport, Repeats, RuleCount, Shape,
};
use crate::commands::inspect::sampling::{Counts, EXAMPLES, Survey};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::extract::{self, Blocks, Extracted, Preview, likely_line_columns};
use crate::key::MasterKey;
use crate::pipeline::quality_gates::too_many_conflicts;
use crate::pipeline::query_plan::collect;
use crate::pipeline::reject_advice::{Refusal, Rejects, refusal};
use crate::pipeline::run_rules::{checks, severities};
use crate::pipeline::transform_stage::memory;
use crate::privacy::settings::Privacy;
use crate::risk::Kept;
use crate::rule::{OnDuplicate, Rule, Severity};
use crate::schema::{
    DAMAGE, Dataset, ID_DAMAGE, ORIGIN, RAW, SOURCE_LINE, origin_file, origin_record,
};
use crate::shuffle::Shuffle;
use crate::totals::Example;
use crate::transform::{Claims, DateFormats, Directory, Release, RuleSet, provider_rows};

/// Minimum coverage of the contract to treat a file as an input.
const MIN_COVERAGE: f64 = 0.3;
/// With fewer rows, a sum or a range nearly reveals a value. CMS suppresses patient counts below
/// this number.
const FEW_ROWS: u64 = 11;
/// Inspects sources one by one. Provider sources among them become the directory of the claims.
///
/// # Errors
/// `Config` when the settings are wrong. Errors in a source are in its report.
pub(crate) fn inspect(
    settings: &Settings,
    sources: &[String],
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Vec<InspectionReport>> {
    let subjects: Vec<Subject> =
        sources.iter().map(|source| Subject::of(settings, source)).collect();
    let among = subjects.iter().any(|subject| subject.dataset == Some(Dataset::Providers));
    let mut inspector = Inspector::new(settings, observer, cancel)?;
    inspector.named |= among;
    inspector.directory = inspector.directory(&subjects);
    subjects.into_iter().map(|subject| inspector.report(subject)).collect()
}

/// Reads the claims of a run without loading them: which rows it would load, reject and drop.
///
/// # Errors
/// `Source` when a file cannot be read, `Quality` when a run would be rejected.
pub(crate) fn inspect_rows(
    settings: &Settings,
    claims: &Extracted,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<InspectionReport> {
    let mut inspector = Inspector::new(settings, observer, cancel)?;
    inspector.directory = inspector.directory(&[]);
    let mut report = InspectionReport::new("claims".into(), settings.quality.max_reject_ratio);
    let (rejects, end) = inspector.survey("check claims", claims, &mut report);
    end?;
    inspector.check_run(claims, &rejects, &mut report)?;
    Ok(report)
}

/// A source and its preview.
struct Subject {
    source: String,
    dataset: Option<Dataset>,
    preview: Preview,
}

impl Subject {
    fn of(settings: &Settings, source: &str) -> Self {
        let path = Path::new(source);
        let claims = extract::preview(Dataset::Claims, &settings.claims, path);
        let providers = extract::preview(Dataset::Providers, &settings.providers, path);
        let (dataset, preview) = if providers.likeness > claims.likeness {
            (Dataset::Providers, providers)
        } else {
            (Dataset::Claims, claims)
        };
        // Remote and unreadable sources are assumed to be claims.
        let unlike = (preview.fields > 0 || preview.headless) && preview.likeness < MIN_COVERAGE;
        Self { source: source.to_owned(), dataset: (!unlike).then_some(dataset), preview }
    }
}

/// Rejected rows by rule: count and first origins.
type RejectsByRule = BTreeMap<Rule, (u64, Vec<i64>)>;

struct Inspector<'a> {
    settings: &'a Settings,
    formats: Arc<DateFormats>,
    checks: Arc<RuleSet>,
    release: Arc<Release>,
    observer: &'a dyn Observer,
    cancel: &'a Cancellation,
    /// Whether provider sources are given, readable or not.
    named: bool,
    directory: Option<Directory>,
}

impl<'a> Inspector<'a> {
    /// An inspector without a directory.
    fn new(
        settings: &'a Settings,
        observer: &'a dyn Observer,
        cancel: &'a Cancellation,
    ) -> Result<Self> {
        Ok(Self {
            named: !settings.providers.sources.is_empty(),
            settings,
            formats: Arc::new(DateFormats::of(settings)?),
            checks: Arc::new(checks(settings, RunId::now())?),
            // The report describes the source, not its de-identified form.
            release: Arc::new(Release::new(&Privacy::default(), &MasterKey::ephemeral()?)?),
            observer,
            cancel,
            directory: None,
        })
    }

    /// The directory: providers among the subjects, else the configured ones.
    fn directory(&self, subjects: &[Subject]) -> Option<Directory> {
        let providers = subjects.iter().filter(|s| s.dataset == Some(Dataset::Providers));
        let among: Vec<String> = providers.map(|subject| subject.source.clone()).collect();
        let sources =
            if among.is_empty() { self.settings.providers.sources.clone() } else { among };
        if sources.is_empty() {
            return None;
        }
        let settings = with_sources(self.settings, Dataset::Providers, sources);
        let extracted = extract::extract(Dataset::Providers, &settings, self.cancel).ok()?;
        let rows =
            collect(provider_rows(extract::scan(&extracted).all().ok()?, &self.checks)).ok()?;
        self.unique(&rows).ok()
    }

    fn unique(&self, rows: &DataFrame) -> Result<Directory> {
        Directory::new(rows, self.settings.warehouse.on_provider_conflict, &self.release)
    }

    fn report(&self, subject: Subject) -> Result<InspectionReport> {
        let Subject { source, dataset, preview } = subject;
        let shown = shown(&source);
        let task = format!("check {shown}");
        self.observer.observe(&RunEvent::TaskStarted { task: task.clone(), attempt: 1 });
        let started = std::time::Instant::now();
        let taken_for = dataset.unwrap_or(Dataset::Claims);
        let settings = with_sources(self.settings, taken_for, vec![source]);
        let mut report = InspectionReport {
            dataset,
            shape: Shape::of(&preview),
            columns: columns(taken_for, &settings, &preview),
            ..InspectionReport::new(shown, self.settings.quality.max_reject_ratio)
        };
        let (extracted, unfit) = match extract::extract(taken_for, &settings, self.cancel) {
            Ok(extracted) => (Some(extracted), None),
            Err(error) => {
                // Uses the most likely mapping, so that the figures are useful.
                let assumed = dataset.and_then(|dataset| assumed(dataset, &settings, &preview));
                let extracted = assumed.and_then(|(settings, what)| {
                    let extracted = extract::extract(taken_for, &settings, self.cancel).ok()?;
                    report.assumed = Some(what);
                    Some(extracted)
                });
                (extracted, Some(error))
            }
        };
        let note = extracted.as_ref().and_then(|extracted| extracted.left_out.note());
        if let Some(note) = note {
            self.observer.observe(&RunEvent::Note(format!("{}: {note}", report.source)));
        }
        let mut end = Ok(());
        if let Some(extracted) = extracted.filter(|_| dataset.is_some()) {
            let (rejects, surveyed) = self.survey(&task, &extracted, &mut report);
            // With an assumed mapping, unknown names may be data.
            report.ignored.retain(|name| report.assumed.is_none() || preview.header.contains(name));
            end = surveyed.and_then(|()| self.check_run(&extracted, &rejects, &mut report));
        }
        if let Err(error) = unfit.map_or(end, Err) {
            report.exit_code = error.kind().exit_code();
            report.error = Some((&error).into());
        }
        self.cancel.check()?;
        let state = if report.error.is_none() { "success" } else { "failed" };
        let elapsed = started.elapsed();
        self.observer.observe(&RunEvent::TaskFinished {
            task,
            state,
            elapsed,
            result: None,
            error: None,
        });
        Ok(report)
    }

    /// Reads the rows as far as possible; returns the rejects by rule.
    fn survey(
        &self,
        task: &str,
        extracted: &Extracted,
        report: &mut InspectionReport,
    ) -> (RejectsByRule, Result<()>) {
        let dataset = extracted.dataset;
        let none;
        let directory = if let Some(directory) = &self.directory {
            directory
        } else {
            match no_directory(&self.checks, &self.release) {
                Ok(directory) => none = directory,
                Err(error) => return (RejectsByRule::new(), Err(error)),
            }
            &none
        };
        let plan = Claims::new(directory, &self.formats, &self.checks, &self.release);
        let severities = severities(self.settings, &self.checks);
        let (memory, nothing) = (memory(self.settings), Kept::default());
        let shuffle = Shuffle::new(&spill_dir(self.settings), memory, &severities, nothing);
        let blocks = extract::scan(extracted);
        let survey = Survey {
            dataset,
            checks: &self.checks,
            blocks: &blocks,
            claims: (dataset == Dataset::Claims).then_some((&plan, &shuffle)),
            cancel: self.cancel,
            progress: &|rows| {
                let task = task.to_owned();
                self.observer.observe(&RunEvent::Progress { task, rows, total: None });
            },
        };
        let (mut counts, mut end) = survey.run();
        if dataset == Dataset::Claims && end.is_ok() {
            let policy = self.settings.warehouse.duplicate_policy();
            let shuffle = shuffle.compared(self.cancel);
            match shuffle.and_then(|shuffle| shuffle.resolve(policy, self.cancel)) {
                Ok(resolved) => {
                    report.repeats = Some(Repeats {
                        duplicates: resolved.duplicates,
                        conflicts: resolved.conflicts,
                        reversals: resolved.reversals.lines,
                        line_columns: Vec::new(),
                    });
                    counts.resolve(&resolved);
                }
                Err(error) => end = Err(error),
            }
        }
        self.fill(extracted, &blocks, &counts, report);
        let end = end.and_then(|()| match dataset {
            Dataset::Claims => Ok(()),
            Dataset::Providers => self.providers(extracted, report),
        });
        (counts.rejects, end)
    }

    /// Checks for errors that would stop a run, and suggests line number columns.
    fn check_run(
        &self,
        extracted: &Extracted,
        rejects: &RejectsByRule,
        report: &mut InspectionReport,
    ) -> Result<()> {
        if extracted.dataset == Dataset::Providers {
            return Ok(());
        }
        let (claims, reversals) = report.counts();
        let lines = report.columns.iter_mut().find(|column| column.column == "line_number");
        let has_any = |repeats: &&mut Repeats| repeats.conflicts + repeats.duplicates > 0;
        if let Some(repeats) = report.repeats.as_mut().filter(has_any) {
            repeats.line_columns = likely_line_columns(extracted);
        }
        let columns = report.repeats.as_ref().map_or(&[][..], |repeats| &repeats.line_columns);
        if let Some(column) = lines.filter(|column| column.from.is_none() && !columns.is_empty()) {
            column.proposals = columns.to_vec();
        }
        let reasons = rejects.iter().map(|(&rule, (rows, _))| (rule, *rows)).collect();
        let marked = rejects.get(&Rule::AmountDecimalMark).map_or(&[][..], |(_, first)| first);
        let rejects = Rejects { rows: claims.rejected, reasons: &reasons, marked };
        if let Some(Refusal { error, advice }) =
            refusal(self.settings, extracted, claims.read, &rejects)?
        {
            return Err(match advice {
                Some(advice) => error.hint(advice),
                None => error,
            });
        }
        too_many_conflicts(self.settings, &claims, &reversals, extracted).map_or(Ok(()), Err)
    }

    fn fill(
        &self,
        extracted: &Extracted,
        blocks: &Blocks<'_>,
        counts: &Counts,
        report: &mut InspectionReport,
    ) {
        let files = &extracted.files;
        report.ignored.clone_from(&extracted.ignored_columns);
        report.line_column.clone_from(&extracted.line_column);
        report.shape.files = files.len();
        report.shape.bytes = Some(files.iter().map(|file| file.bytes).sum());
        report.shape.count_lines(&blocks.census());
        if let Some(file) = files.first() {
            report.shape.format = Some(file.format);
            report.shape.compression = Some(file.compression);
            report.shape.header_columns = file.header.len();
            for column in &mut report.columns {
                column.from = file.columns.get(column.column).map(ToString::to_string);
                if extracted.line_column.is_some() && column.column == "line_number" {
                    // Name and content have settled it.
                    column.proposals.clear();
                }
            }
        }
        for column in &mut report.columns {
            let profile = counts.columns.get(column.column).filter(|_| column.from.is_some());
            column.damaged =
                counts.damaged.get(column.column).copied().filter(|_| column.from.is_some());
            column.profile = profile.map(|profile| ProfileReport {
                rows: profile.rows(),
                filled: profile.filled(),
                kinds: profile.kinds(),
                shortest: profile.lengths().map(|(shortest, _)| shortest),
                longest: profile.lengths().map(|(_, longest)| longest),
            });
        }
        report.read = Some(counts.rows);
        report.filtered = blocks.filtered();
        if extracted.dataset == Dataset::Providers {
            return;
        }
        report.rejected = counts.rejects.values().map(|(rows, _)| rows).sum();
        if counts.rows >= FEW_ROWS {
            report.amount = Some(counts.amount);
            report.dates = counts.days.and_then(|(first, last)| Some((date(first)?, date(last)?)));
        }
        report.codes = counts.codes.codes();
        report.code_systems = counts.codes.counts();
        let rejects = counts.rejects.iter().map(|(&rule, (rows, origins))| {
            let examples = origins.iter().map(|&origin| example(extracted, origin)).collect();
            rule_count(rule, Severity::Reject, *rows, examples)
        });
        let of_directory = |rule: Rule| rule == Rule::ProviderNotInDirectory;
        let known = self.directory.is_some();
        let severities = self.checks.severities();
        let flags = counts.flags.iter().filter(|(rule, _)| known || !of_directory(**rule));
        let flags =
            flags.map(|(&rule, &rows)| rule_count(rule, severities.of(rule), rows, Vec::new()));
        report.rules = rejects.chain(flags).collect();
        report.rules.sort_by_key(|count| (order(&count.severity), std::cmp::Reverse(count.rows)));
        if !known {
            let why = if self.named { "cannot be read" } else { "are not named" };
            report.left_out.push(format!("the directory (providers {why})"));
        }
    }

    /// Counts the records of a directory.
    fn providers(&self, extracted: &Extracted, report: &mut InspectionReport) -> Result<()> {
        let rows = collect(provider_rows(extract::scan(extracted).all()?, &self.checks))?;
        let directory = self.unique(&rows)?;
        let counts = directory.counts();
        report.rejected = counts.rejected;
        report.rules = directory_rules(extracted, &directory);
        report.providers = Some(counts);
        Ok(())
    }
}

/// Rejects of a directory by rule.
fn directory_rules(extracted: &Extracted, directory: &Directory) -> Vec<RuleCount> {
    let mut rules: BTreeMap<Rule, (u64, Vec<Example>)> = BTreeMap::new();
    for refused in directory.rejects() {
        let (rows, examples) = rules.entry(refused.rule).or_default();
        *rows += 1;
        if examples.len() < EXAMPLES {
            examples.push(example(extracted, refused.origin));
        }
    }
    let counts = rules.into_iter();
    counts
        .map(|(rule, (rows, examples))| rule_count(rule, Severity::Reject, rows, examples))
        .collect()
}

/// Location of a row.
fn example(extracted: &Extracted, origin: i64) -> Example {
    let file = usize::try_from(origin_file(origin)).ok();
    let file = file.and_then(|file| extracted.files.get(file));
    Example {
        source: file.map_or_else(String::new, |file| file.path.display().to_string()),
        record: u64::try_from(origin_record(origin)).unwrap_or(0),
    }
}

fn rule_count(rule: Rule, severity: Severity, rows: u64, examples: Vec<Example>) -> RuleCount {
    RuleCount {
        severity: severity.name().to_owned(),
        rule: rule.id(),
        name: rule.name(),
        description: rule.description(),
        rows,
        examples,
    }
}

fn order(severity: &str) -> usize {
    ["reject", "flag", "count"].iter().position(|known| *known == severity).unwrap_or(3)
}

/// A source for display: the query string of an address can contain a signature.
fn shown(source: &str) -> String {
    match source.split_once('?') {
        Some((address, _)) if address.contains("://") => format!("{address}?…"),
        _ => source.to_owned(),
    }
}

fn date(days: i32) -> Option<NaiveDate> {
    Some(DateTime::from_timestamp(i64::from(days) * 86_400, 0)?.date_naive())
}

/// An empty directory, for claims without providers.
fn no_directory(checks: &RuleSet, release: &Release) -> Result<Directory> {
    let none = |name: &str, of: &DataType| Column::new_empty(name.into(), of);
    let mut columns: Vec<Column> =
        Dataset::Providers.columns().map(|column| none(column, &DataType::String)).collect();
    columns.extend([ORIGIN, SOURCE_LINE].map(|name| none(name, &DataType::Int64)));
    columns.extend([DAMAGE, ID_DAMAGE].map(|name| none(name, &DataType::Int32)));
    columns.push(none(RAW, &DataType::String));
    let frame = DataFrame::new(0, columns)
        .map_err(|_| Error::internal("an empty directory is no frame"))?;
    Directory::new(&collect(provider_rows(frame.lazy(), checks))?, OnDuplicate::Last, release)
}

/// The spill directory if it exists, else the temporary one: an inspection creates no directories.
fn spill_dir(settings: &Settings) -> PathBuf {
    let folder = settings.spill_dir();
    if folder.exists() { folder } else { std::env::temp_dir() }
}
