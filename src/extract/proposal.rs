//! Proposals: which names of a header may be which columns of the contract.
//!
//! A file of its own because a first look at an unknown file is a question of likeness: of names to
//! the contract's own, to what the field calls these columns, and to the presets.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use strsim::jaro_winkler;

use super::mapping;
use super::synonyms::SYNONYMS;
use crate::config::presets;
use crate::schema::Dataset;

/// Names offered for a column, at most.
const OFFERED: usize = 3;
/// Less likeness than this is none.
const ENOUGH: f64 = 0.78;
/// A synonym's likeness, and what each further place in the table takes off.
const KNOWN: (f64, f64) = (0.99, 0.002);
/// The likeness of a name that holds all words of a known one.
const WITHIN: f64 = 0.9;

/// The column that names with a date in them are for, and no other.
const DATE: &str = "date_of_service";

/// A column of the contract, and the names that it may have, the most likely first.
pub type Proposal = (&'static str, Vec<(String, f64)>);

/// For each column of the contract the names of `header` that may be it, with their likeness from 0
/// to 1, the most likely first. No name is the first for two columns.
#[must_use]
pub fn propose(dataset: Dataset, header: &[String]) -> Vec<Proposal> {
    let columns: Vec<&'static str> = dataset.columns().collect();
    propose_for(&columns, header)
}

/// The preset whose names a header has.
#[must_use]
pub fn fitting_preset(dataset: Dataset, header: &[String]) -> Option<&'static str> {
    let fits = presets().iter().filter_map(|preset| {
        let source = match dataset {
            Dataset::Claims => &preset.settings.claims,
            Dataset::Providers => &preset.settings.providers,
        };
        let names = mapping::fit(dataset, source, header)?;
        // One name alone is no layout.
        (names > 1).then_some((names, preset.name))
    });
    fits.max_by_key(|(names, _)| *names).map(|(_, name)| name)
}

/// A line that names the preset that fits.
pub(super) fn preset_line(dataset: Dataset, header: &[String]) -> Option<String> {
    let name = fitting_preset(dataset, header)?;
    Some(format!("\n  this looks like preset {name}: --preset {name}"))
}

/// Lines of TOML for these columns, with the names of `free`; none where there are no names.
pub(super) fn lines(columns: &[&'static str], free: &[String]) -> Option<String> {
    let mut lines = String::new();
    for (column, names) in propose_for(columns, free) {
        let quoted: Vec<String> = names.iter().map(|(name, _)| format!("{name:?}")).collect();
        // Writing to a String cannot fail.
        let _ = match quoted.as_slice() {
            [] => write!(lines, "\n  {column} = \"…\"   # no name is like it"),
            [only] => write!(lines, "\n  {column} = {only}"),
            [first, others @ ..] => {
                write!(lines, "\n  {column} = {first}   # or {}", others.join(", "))
            }
        };
    }
    (!free.is_empty()).then_some(lines)
}

fn propose_for(columns: &[&'static str], header: &[String]) -> Vec<Proposal> {
    let names: BTreeSet<&String> = header.iter().filter(|name| !name.is_empty()).collect();
    let mut pairs = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        for name in &names {
            let likeness = likeness(column, name);
            if likeness >= ENOUGH {
                pairs.push((likeness, place, name.as_str()));
            }
        }
    }
    // Best first; a name that is surely one column is not offered for another.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(b.2)));
    let mut firsts: Vec<Option<&str>> = vec![None; columns.len()];
    for (_, place, name) in &pairs {
        if firsts[*place].is_none() && !firsts.contains(&Some(name)) {
            firsts[*place] = Some(name);
        }
    }
    let offered = |place: usize| {
        let is_free = |name: &str| firsts[place] == Some(name) || !firsts.contains(&Some(name));
        let mut offered: Vec<(String, f64)> = pairs
            .iter()
            .filter(|(_, of, name)| *of == place && is_free(name))
            .map(|(likeness, _, name)| ((*name).to_owned(), *likeness))
            .collect();
        offered.truncate(OFFERED);
        offered
    };
    columns.iter().enumerate().map(|(place, column)| (*column, offered(place))).collect()
}

/// How like a name is to a column, from 0 to 1.
fn likeness(column: &str, name: &str) -> f64 {
    let known = SYNONYMS.iter().find(|(known, _)| *known == column).map_or(&[][..], |(_, s)| s);
    let (plain, words) = (plain(name), words(name));
    let is_date = words.iter().any(|word| matches!(word.as_str(), "date" | "dt" | "day"));
    if is_date && column != DATE {
        return 0.0;
    }
    if plain == self::plain(column) {
        return 1.0;
    }
    let mut best = jaro_winkler(&plain, &self::plain(column));
    if holds(&words, column) {
        best = best.max(WITHIN);
    }
    for (place, synonym) in known.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a place in a short table")]
        let exact = KNOWN.0 - KNOWN.1 * place as f64;
        if plain == self::plain(synonym) {
            return exact;
        }
        // Not quite a synonym is less than quite the column.
        best = best.max(0.95 * jaro_winkler(&plain, &self::plain(synonym)));
        if holds(&words, synonym) {
            best = best.max(WITHIN - KNOWN.0 + exact);
        }
    }
    best
}

/// Whether all words of a known name are among those of another.
fn holds(words: &[String], known: &str) -> bool {
    known.len() > 2 && self::words(known).iter().all(|word| words.contains(word))
}

/// Letters and digits in lower case.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The words of a name: split at other signs, and where a small letter meets a capital one.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (was_small && c.is_uppercase()) {
            words.push(String::new());
        }
        was_small = c.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &str) -> Vec<String> {
        names.split(',').map(ToOwned::to_owned).collect()
    }

    /// The first name for each column.
    fn firsts(dataset: Dataset, names: &str) -> Vec<(&'static str, Option<String>)> {
        let proposals = propose(dataset, &header(names));
        proposals
            .into_iter()
            .map(|(column, names)| (column, names.into_iter().next().map(|(name, _)| name)))
            .collect()
    }

    #[test]
    fn the_names_of_the_field_are_known() {
        for (names, expected) in [
            (
                "claim_id,member_id,provider_id,procedure_id,diagnosis_id,service_date,\
                 submitted_date,billed_amount,allowed_amount,paid_amount,cpt_code",
                ["claim_id", "member_id", "provider_id", "cpt_code", "paid_amount", "service_date"],
            ),
            (
                "DESYNPUF_ID,CLM_ID,SEGMENT,CLM_FROM_DT,CLM_THRU_DT,PRVDR_NUM,CLM_PMT_AMT,\
                 NCH_PRMRY_PYR_CLM_PD_AMT,AT_PHYSN_NPI,ICD9_PRCDR_CD_1",
                [
                    "CLM_ID",
                    "DESYNPUF_ID",
                    "PRVDR_NUM",
                    "ICD9_PRCDR_CD_1",
                    "CLM_PMT_AMT",
                    "CLM_FROM_DT",
                ],
            ),
            (
                "ClaimNumber,MemberID,RenderingNPI,HcpcsCode,ChargeAmt,ServiceDate",
                [
                    "ClaimNumber",
                    "MemberID",
                    "RenderingNPI",
                    "HcpcsCode",
                    "ChargeAmt",
                    "ServiceDate",
                ],
            ),
            (
                "claim nbr,patient no,provider npi,proc,line charge amount,date of svc",
                [
                    "claim nbr",
                    "patient no",
                    "provider npi",
                    "proc",
                    "line charge amount",
                    "date of svc",
                ],
            ),
        ] {
            let found = firsts(Dataset::Claims, names);
            for ((column, name), expected) in found.iter().zip(expected) {
                assert_eq!(name.as_deref(), Some(expected), "{column} of {names}");
            }
        }
    }

    #[test]
    fn at_most_three_and_the_best_first() {
        let names = header("amount_a,amount_b,amount_c,amount_d,paid_amount,color");
        let proposals = propose(Dataset::Claims, &names);
        let (_, amounts) = &proposals[4];
        assert_eq!(amounts.len(), 3);
        assert_eq!(amounts[0].0, "paid_amount");
        assert!(amounts.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{amounts:?}");
        assert!(proposals.iter().all(|(_, names)| names.iter().all(|(name, _)| name != "color")));
    }

    #[test]
    fn presets_are_recognised_by_their_names() {
        let synthea = "ID,CLAIMID,CHARGEID,PATIENTID,TYPE,AMOUNT,FROMDATE,PROCEDURECODE,PROVIDERID";
        for (dataset, names, preset) in [
            (Dataset::Claims, synthea, Some("synthea")),
            (Dataset::Providers, "Id,ORGANIZATION,NAME,SPECIALITY,CITY,STATE,ZIP", Some("synthea")),
            (
                Dataset::Claims,
                "DESYNPUF_ID,CLM_ID,SEGMENT,CLM_FROM_DT,PRVDR_NUM,CLM_PMT_AMT,ICD9_PRCDR_CD_1",
                Some("desynpuf"),
            ),
            (
                Dataset::Claims,
                "BENE_ID,CLM_ID,LINE_NUM,PRF_PHYSN_NPI,LINE_1ST_EXPNS_DT,HCPCS_CD,LINE_NCH_PMT_AMT",
                Some("cms_lines"),
            ),
            (Dataset::Claims, "claim_id,member_id,amount", None),
            (Dataset::Providers, "PRVDR_NUM,x", None),
        ] {
            assert_eq!(fitting_preset(dataset, &header(names)), preset, "{names}");
        }
    }
}
