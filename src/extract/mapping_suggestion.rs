//! Suggests which header names may be which contract columns.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use strsim::jaro_winkler;

use super::line_name::{self, Likeness};
use super::mapping;
use super::name::{plain, quoted, words};
use super::synonyms::SYNONYMS;
use crate::config::{Pattern, presets};
use crate::schema::Dataset;

/// Maximum number of names suggested per column.
const MAX_OFFERED: usize = 3;
/// Minimum score of a suggestion.
const MIN_SCORE: f64 = 0.78;
/// Score of the first synonym, and the decrement per position in the synonym list.
const SYNONYM_SCORE: (f64, f64) = (0.99, 0.002);
/// Score of a name that contains all words of a known name.
const CONTAINS_SCORE: f64 = 0.9;

/// Score of a name for a number of something other than lines.
const NUMBER_SCORE: f64 = 0.9;
/// Factor for a name of another date or another amount.
const OTHER_FACTOR: f64 = 0.1;
/// Factor for the end date of a service and for the amount of a whole claim.
const SECONDARY_FACTOR: f64 = 0.4;
/// Bonus for a name with the word "line".
const LINE_BONUS: f64 = 0.004;

/// The only column that date names are suggested for.
const DATE: &str = "date_of_service";
const AMOUNT: &str = "amount";
const LINE_NUMBER: &str = "line_number";

/// Words for dates that are not dates of service.
const OTHER_DATES: [&str; 10] = [
    "birth",
    "birthdate",
    "dob",
    "death",
    "dod",
    "deceased",
    "expiration",
    "expiry",
    "effective",
    "hire",
];
/// Words for end dates.
const END_WORDS: [&str; 10] =
    ["end", "thru", "through", "to", "last", "stop", "until", "finish", "discharge", "dschrg"];
/// Words for claim events before or after the service.
const EVENTS: [&str; 38] = [
    "paid",
    "payment",
    "pay",
    "pmt",
    "pd",
    "process",
    "processed",
    "processing",
    "received",
    "rcvd",
    "receipt",
    "submit",
    "submitted",
    "submission",
    "sbmt",
    "adjudicated",
    "adjudication",
    "adjustment",
    "adj",
    "posted",
    "posting",
    "check",
    "chk",
    "remit",
    "remittance",
    "created",
    "create",
    "updated",
    "update",
    "load",
    "loaded",
    "file",
    "filed",
    "entry",
    "entered",
    "billed",
    "admission",
    "admit",
];
/// Words for partial amounts.
const PARTS: [&str; 27] = [
    "copay",
    "copayment",
    "coinsurance",
    "coins",
    "deductible",
    "ded",
    "ddctbl",
    "tax",
    "discount",
    "adjustment",
    "adj",
    "writeoff",
    "balance",
    "liability",
    "responsibility",
    "cob",
    "interest",
    "withhold",
    "withheld",
    "primary",
    "prmry",
    "other",
    "oop",
    "noncovered",
    "disallowed",
    "denied",
    "coinsur",
];
/// Words for claim-level amounts.
const CLAIM: [&str; 8] = ["claim", "clm", "total", "tot", "header", "hdr", "sum", "ytd"];
/// Words for line-level columns.
const LINE: [&str; 9] = ["line", "ln", "lne", "service", "svc", "srvc", "sv", "detail", "dtl"];

/// Contract column and candidate names with scores, best first.
pub(crate) type Proposal = (&'static str, Vec<(String, f64)>);

/// For each contract column the candidate header names with scores from 0 to 1, best first. No name
/// is the first choice of two columns.
#[must_use]
pub(crate) fn propose(dataset: Dataset, header: &[String]) -> Vec<Proposal> {
    let columns: Vec<&'static str> = dataset.columns().collect();
    propose_for(&columns, header)
}

/// The preset whose names match a header.
#[must_use]
pub(crate) fn fitting_preset(dataset: Dataset, header: &[String]) -> Option<&'static str> {
    let fits = presets().iter().filter_map(|preset| {
        let source = preset.settings.source(dataset);
        if source.columns.is_empty() {
            return None;
        }
        let names = mapping::fit(dataset, source, header)?;
        // A single matching name is not enough.
        (names > 1).then_some((names, preset.name))
    });
    fits.max_by_key(|(names, _)| *names).map(|(_, name)| name)
}

/// Configuration line for the matching preset.
pub(crate) fn preset_line(dataset: Dataset, header: &[String]) -> Option<String> {
    let name = fitting_preset(dataset, header)?;
    Some(format!("\n  this looks like preset {name}: --preset {name}"))
}

/// TOML lines for these columns, with candidates from `free`.
pub(crate) fn lines(columns: &[&'static str], free: &[String]) -> String {
    let mut lines = String::new();
    for (column, names) in propose_for(columns, free) {
        let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        let first = names.first().map(|first| written(first)).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = match names.as_slice() {
            [] if column == LINE_NUMBER => continue,
            [] if free.is_empty() => write!(lines, "\n  {column} = \"…\""),
            [] => write!(lines, "\n  {column} = \"…\"   # no similar column found"),
            _ if column == LINE_NUMBER => {
                write!(lines, "\n  {column} = {first}   # if it numbers the lines of each claim")
            }
            [_] => write!(lines, "\n  {column} = {first}"),
            [best, others @ ..] => {
                write!(lines, "\n  {column} = {first}   # {}", instead(column, best, others))
            }
        };
    }
    lines
}

/// The name as written in the configuration.
fn written(name: &str) -> String {
    quoted(&Pattern::Name(name.to_owned()).to_string())
}

/// Reason for choosing the first of several names, if any, and the alternatives.
fn instead(column: &str, first: &str, others: &[&str]) -> String {
    let quoted: Vec<String> = others.iter().map(|other| written(other)).collect();
    let others_say = |is: fn(&[String]) -> bool| {
        !is(&words(first)) && others.iter().any(|other| is(&words(other)))
    };
    let why = match column {
        DATE if others_say(is_an_end) => "the start of service, not its end; ",
        AMOUNT if others_say(is_of_a_claim) => "the amount of the line, not of the claim; ",
        _ => "",
    };
    format!("{why}or {}", quoted.join(", "))
}

/// [`propose`] restricted to these columns.
pub(crate) fn propose_for(columns: &[&'static str], header: &[String]) -> Vec<Proposal> {
    let names: BTreeSet<&String> = header.iter().filter(|name| !name.is_empty()).collect();
    let mut pairs = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        for name in &names {
            let likeness = likeness(column, name);
            if likeness >= MIN_SCORE {
                pairs.push((likeness, index, name.as_str()));
            }
        }
    }
    // Best first; the certain choice of one column is not suggested for another.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(b.2)));
    let mut firsts: Vec<Option<&str>> = vec![None; columns.len()];
    for (_, index, name) in &pairs {
        if firsts[*index].is_none() && !firsts.contains(&Some(name)) {
            firsts[*index] = Some(name);
        }
    }
    let offered = |index: usize| {
        let is_free = |name: &str| firsts[index] == Some(name) || !firsts.contains(&Some(name));
        let mut offered: Vec<(String, f64)> = pairs
            .iter()
            .filter(|(_, of, name)| *of == index && is_free(name))
            .map(|(likeness, _, name)| ((*name).to_owned(), *likeness))
            .collect();
        offered.truncate(MAX_OFFERED);
        offered
    };
    columns.iter().enumerate().map(|(index, column)| (*column, offered(index))).collect()
}

/// Similarity of a name to a column, from 0 to 1.
fn likeness(column: &str, name: &str) -> f64 {
    let words = words(name);
    let is_date = words.iter().any(|word| matches!(word.as_str(), "date" | "dt" | "day"));
    if is_date && column != DATE {
        return 0.0;
    }
    if plain(name) == plain(column) {
        return 1.0;
    }
    match (column, line_name::likeness(name)) {
        (LINE_NUMBER, Some(Likeness::Strong)) => return SYNONYM_SCORE.0,
        (LINE_NUMBER, Some(Likeness::Weak)) => return NUMBER_SCORE,
        (LINE_NUMBER, None) | (_, Some(Likeness::Strong)) => return 0.0,
        _ => {}
    }
    let found = match column {
        DATE if has(&words, &OTHER_DATES) => return 0.0,
        DATE | AMOUNT => of_a_line(column, name, &words),
        _ => by_name(column, name),
    };
    // Still suggested, but after all others.
    let demoted =
        |left: f64| if found < MIN_SCORE { found } else { MIN_SCORE + (found - MIN_SCORE) * left };
    match column {
        DATE if has(&words, &EVENTS) => demoted(OTHER_FACTOR),
        DATE if is_an_end(&words) => demoted(SECONDARY_FACTOR),
        AMOUNT if has(&words, &PARTS) => demoted(OTHER_FACTOR),
        AMOUNT if is_of_a_claim(&words) => demoted(SECONDARY_FACTOR),
        _ => found,
    }
}

/// Similarity to a line-level column; ignores the word "line" in the name.
fn of_a_line(column: &str, name: &str, words: &[String]) -> f64 {
    let rest: Vec<&str> =
        words.iter().map(String::as_str).filter(|word| !LINE.contains(word)).collect();
    let found = by_name(column, name);
    if rest.len() == words.len() || rest.is_empty() {
        return found;
    }
    found.max((by_name(column, &rest.join("_")) + LINE_BONUS).min(SYNONYM_SCORE.0 + LINE_BONUS))
}

fn has(words: &[String], known: &[&str]) -> bool {
    words.iter().any(|word| known.contains(&word.as_str()))
}

/// Whether a date name means the end of a service; also `ENDDATE` as one word.
fn is_an_end(words: &[String]) -> bool {
    let ends = |word: &String| {
        let stem = word.strip_suffix("date").or_else(|| word.strip_suffix("dt")).unwrap_or(word);
        END_WORDS.contains(&stem)
    };
    words.iter().any(ends)
}

/// Whether an amount name means the whole claim.
fn is_of_a_claim(words: &[String]) -> bool {
    has(words, &CLAIM) && !has(words, &LINE[..3])
}

/// Similarity to the known names of a column.
fn by_name(column: &str, name: &str) -> f64 {
    let known = SYNONYMS.iter().find(|(known, _)| *known == column).map_or(&[][..], |(_, s)| s);
    let (plain, words) = (plain(name), words(name));
    if plain == self::plain(column) {
        return 1.0;
    }
    let mut best = jaro_winkler(&plain, &self::plain(column));
    if holds(&words, column) {
        best = best.max(CONTAINS_SCORE);
    }
    for (index, synonym) in known.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a place in a short table")]
        let exact = SYNONYM_SCORE.0 - SYNONYM_SCORE.1 * index as f64;
        if plain == self::plain(synonym) {
            return exact;
        }
        // A near match of a synonym scores below a near match of the column.
        best = best.max(0.95 * jaro_winkler(&plain, &self::plain(synonym)));
        if holds(&words, synonym) {
            best = best.max(CONTAINS_SCORE - SYNONYM_SCORE.0 + exact);
        }
    }
    best
}

/// Whether a name contains all words of a known name.
fn holds(words: &[String], known: &str) -> bool {
    known.len() > 2 && self::words(known).iter().all(|word| words.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &str) -> Vec<String> {
        names.split(',').map(ToOwned::to_owned).collect()
    }

    /// First candidate of each column.
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
    fn the_start_and_the_line_come_before_the_end_and_the_claim() {
        for (names, column, expected) in [
            ("SVC_END_DT,SVC_START_DT", DATE, "SVC_START_DT"),
            ("END_DATE,START_DATE", DATE, "START_DATE"),
            ("CLM_THRU_DT,CLM_FROM_DT", DATE, "CLM_FROM_DT"),
            (
                "claim_end_date,claim_start_date,claim_line_end_date,claim_line_start_date",
                DATE,
                "claim_line_start_date",
            ),
            ("CLM_THRU_DT,CLM_FROM_DT,CLM_LINE_THRU_DT,CLM_LINE_FROM_DT", DATE, "CLM_LINE_FROM_DT"),
            ("paid_date,admission_date,ServiceDateTo,ServiceDateFrom", DATE, "ServiceDateFrom"),
            ("birth_date,received_date,svc_dt", DATE, "svc_dt"),
            ("BIRTH_DT,CLM_THRU_DT", DATE, "CLM_THRU_DT"),
            ("claim_total_charge,line_charge", AMOUNT, "line_charge"),
            ("CLM_TOT_CHRG_AMT,LINE_CHRG_AMT,LINE_COINSRNC_AMT", AMOUNT, "LINE_CHRG_AMT"),
            ("total_paid_amount,line_paid_amount,paid_amount", AMOUNT, "line_paid_amount"),
            (
                "copayment_amount,deductible_amount,paid_amount,total_cost_amount",
                AMOUNT,
                "paid_amount",
            ),
            ("TOTAL_AMT", AMOUNT, "TOTAL_AMT"),
            ("CLM_PMT_AMT,CLM_LINE_CVRD_PD_AMT", AMOUNT, "CLM_LINE_CVRD_PD_AMT"),
            ("units,LINE_AMT,LINE_NUM", LINE_NUMBER, "LINE_NUM"),
            ("SEQ_NO,Svc Ln", LINE_NUMBER, "Svc Ln"),
            ("LINE_AMT,LINE_NUM", AMOUNT, "LINE_AMT"),
        ] {
            let found = firsts(Dataset::Claims, names);
            let first = found.into_iter().find(|(of, _)| *of == column).and_then(|(_, name)| name);
            assert_eq!(first.as_deref(), Some(expected), "{column} of {names}");
        }
        let birth = firsts(Dataset::Claims, "birth_date,dob,DATE_OF_DEATH");
        assert!(birth.iter().all(|(_, name)| name.is_none()), "{birth:?}");
        let lines = lines(&[DATE, AMOUNT], &header("SVC_END_DT,SVC_START_DT,TOT_CHRG,LN_CHRG"));
        for shown in [
            "date_of_service = \"SVC_START_DT\"   # the start of service, not its end; or \"SVC_END_DT\"",
            "amount = \"LN_CHRG\"   # the amount of the line, not of the claim; or \"TOT_CHRG\"",
        ] {
            assert!(lines.contains(shown), "{shown}: {lines}");
        }
    }

    #[test]
    fn the_columns_of_public_layouts_are_proposed() {
        let tuva = "claim_id,claim_line_number,claim_type,person_id,member_id,payer,plan,claim_start_date,\
            claim_end_date,claim_line_start_date,claim_line_end_date,admission_date,discharge_date,\
            place_of_service_code,bill_type_code,revenue_center_code,service_unit_quantity,hcpcs_code,\
            hcpcs_modifier_1,rendering_npi,billing_npi,facility_npi,paid_date,paid_amount,allowed_amount,\
            charge_amount,coinsurance_amount,copayment_amount,deductible_amount,total_cost_amount,data_source";
        let cclf = "CUR_CLM_UNIQ_ID,CLM_LINE_NUM,BENE_MBI_ID,CLM_TYPE_CD,CLM_FROM_DT,CLM_THRU_DT,\
            RNDRG_PRVDR_NPI_NUM,CLM_LINE_FROM_DT,CLM_LINE_THRU_DT,CLM_LINE_HCPCS_CD,CLM_LINE_CVRD_PD_AMT";
        for (names, expected) in [
            (
                tuva,
                [
                    "claim_id",
                    "member_id",
                    "rendering_npi",
                    "hcpcs_code",
                    "paid_amount",
                    "claim_line_start_date",
                    "claim_line_number",
                ],
            ),
            (
                cclf,
                [
                    "CUR_CLM_UNIQ_ID",
                    "BENE_MBI_ID",
                    "RNDRG_PRVDR_NPI_NUM",
                    "CLM_LINE_HCPCS_CD",
                    "CLM_LINE_CVRD_PD_AMT",
                    "CLM_LINE_FROM_DT",
                    "CLM_LINE_NUM",
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
