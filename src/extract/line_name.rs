//! Recognises line number columns by name: `SVC_LN`, `Line #`, `CLM_LINE_NBR`, `lineSeq`.
//!
//! Spellings vary, but the vocabulary is small: a name qualifies if it consists only of these
//! words.

use super::name::plain;

/// How strongly a name suggests a line number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    /// Numbers something else: a sequence, an item, a segment.
    Weak,
    /// Contains the word "line".
    Strong,
}

const LINES: [&str; 6] = ["line", "ln", "lne", "lin", "lx", "lx01"];
const PARTS: [&str; 8] = ["seq", "sequence", "item", "itm", "segment", "seg", "detail", "dtl"];
/// Words for "number".
const NUMBERS: [&str; 11] =
    ["number", "num", "nbr", "nmbr", "no", "nr", "id", "idx", "index", "ord", "ordinal"];
/// Qualifiers. A name cannot end with one: a line's charge is an amount.
const QUALIFIERS: [&str; 39] = [
    "claim",
    "clm",
    "service",
    "services",
    "svc",
    "srv",
    "srvc",
    "serv",
    "sv",
    "sv1",
    "sv2",
    "charge",
    "chrg",
    "chg",
    "bill",
    "billing",
    "billed",
    "inv",
    "invoice",
    "procedure",
    "proc",
    "medical",
    "med",
    "prof",
    "professional",
    "inst",
    "institutional",
    "ub",
    "hcfa",
    "encounter",
    "enc",
    "icn",
    "dcn",
    "tcn",
    "cur",
    "current",
    "revenue",
    "rev",
    "assigned",
];

/// Likeness of a name to a line number; `None` when unlike.
pub(super) fn likeness(name: &str) -> Option<Likeness> {
    let plain = plain(name);
    if plain.len() > 64 || !plain.is_ascii() {
        return None;
    }
    if is_made_of(&plain, &LINES) {
        Some(Likeness::Strong)
    } else if is_made_of(&plain, &PARTS) {
        Some(Likeness::Weak)
    } else {
        None
    }
}

/// Whether a text consists of known words, at least one from `heads`.
fn is_made_of(text: &str, heads: &[&str]) -> bool {
    let ends = || LINES.iter().chain(&PARTS).chain(&NUMBERS);
    // For each end offset: reachable without a head, reachable with one.
    let mut reached = vec![(false, false); text.len() + 1];
    reached[0].0 = true;
    for end in 0..text.len() {
        let (without, with) = reached[end];
        if !without && !with {
            continue;
        }
        let rest = &text[end..];
        let whose = QUALIFIERS.iter().filter(|word| word.len() < rest.len());
        for word in ends().chain(whose).filter(|word| rest.starts_with(**word)) {
            let next = &mut reached[end + word.len()];
            let head = heads.contains(word);
            next.0 |= without && !head;
            next.1 |= with || (without && head);
        }
    }
    reached[text.len()].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_line_numbers_are_known_however_they_are_written() {
        for name in [
            "SVC_LN",
            "Line #",
            "CLM_LINE_NO",
            "CLM_LINE_NUM",
            "ServiceLine",
            "claim_line_number",
            "LINE_NBR",
            "service_line_number",
            "line_no",
            "sv_line",
            "LINE_NUM",
            "Line",
            "LN",
            "lineNo",
            "LineNbr",
            "ClaimLineID",
            "claim line",
            "Line-Number",
            "LINE.NUMBER",
            "SRVC_LINE_NBR",
            "Svc Ln Nbr",
            "CHG_LN",
            "LINE_ITEM",
            "Line Item No.",
            "DTL_LINE_NBR",
            "lx01",
            "LX",
            "lineSeq",
            "CLAIM_LN_SEQ_NUM",
            "svcLineId",
            "encounter_line",
            "ICN_LINE",
            "line_index",
            "\u{feff}line",
        ] {
            assert_eq!(likeness(name), Some(Likeness::Strong), "{name}");
        }
        for name in
            ["seq", "SEQ_NO", "Sequence Number", "claim_seq", "segment", "ITEM_NO", "DTL_NBR"]
        {
            assert_eq!(likeness(name), Some(Likeness::Weak), "{name}");
        }
        for name in [
            "",
            "claim_id",
            "clm_no",
            "service_id",
            "LINE_AMT",
            "line_status",
            "line_count",
            "lines",
            "number_of_lines",
            "address_line_1",
            "line1",
            "line_of_business",
            "LINE_1ST_EXPNS_DT",
            "lineage",
            "original_line",
            "row_number",
            "record_no",
            "units",
            "line_pmt",
            "online",
            "deadline",
            "ligne",
            "procedure_code",
            "provider_id",
            "invoice_no",
            "item_price",
            "line_\u{e9}",
        ] {
            assert_eq!(likeness(name), None, "{name}");
        }
    }
}
