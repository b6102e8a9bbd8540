//! Comments of the tables and columns: grain, units, and what was done to the values.

use crate::privacy::settings::{Action, Level, Privacy, Profile};
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM, PUBLISHED, fact_columns, provider_columns};
use crate::warehouse::layout::TableLayout;

/// The name under which the digest of the comments is kept, beside those of the views.
pub(crate) const NAME: &str = "(comments)";

/// The SQL that writes the comments of both tables and of those of their columns that actions can
/// be given for.
pub(crate) fn script(layout: &TableLayout) -> String {
    let place = |table: &str| format!("{PUBLISHED}.{table}");
    let (fact, dimension) = (place(CLAIMS_FACT), place(PROVIDERS_DIM));
    let profile = profile(layout);
    let mut script = vec![
        comment(
            "TABLE",
            &fact,
            &format!("Grain: one row per claim line, key (claim_token, line_number). {profile}"),
        ),
        comment(
            "TABLE",
            &dimension,
            &format!(
                "One row per version of a provider, one of them current. A directory that changes a provider closes its version and adds another; a claim line points at the version that was current when it was loaded. is_placeholder: known from claims only, completed when a directory names it. {profile}"
            ),
        ),
    ];
    let tables =
        [(&fact, fact_columns(layout.shape)), (&dimension, provider_columns(layout.shape))];
    for (table, columns) in tables {
        for column in columns {
            if let Some(text) = of_column(layout, column.name) {
                script.push(comment("COLUMN", &format!("{table}.{}", column.name), &text));
            }
        }
    }
    script.join(";\n")
}

fn comment(kind: &str, of: &str, text: &str) -> String {
    format!("COMMENT ON {kind} {of} IS '{}'", text.replace('\'', "''"))
}

/// The profile, what is true of data under it, and where actions are not its own.
fn profile(layout: &TableLayout) -> String {
    let known = [Profile::Pseudonymized, Profile::LimitedDataSet, Profile::SafeHarborAssist];
    let profile = known.into_iter().find(|known| known.name() == layout.profile);
    let meaning = match profile {
        Some(Profile::Pseudonymized) | None => {
            "claim and patient ids are keyed tokens, which is no anonymity; still protected health information"
        }
        Some(Profile::LimitedDataSet) => {
            "towards 45 CFR 164.514(e), which needs a data use agreement; still protected health information"
        }
        Some(Profile::SafeHarborAssist) => {
            "towards 45 CFR 164.514(b)(2); tokens are made from identifiers, so treat it as protected health information until an expert has determined otherwise"
        }
    };
    let mut sentences = vec![format!("Privacy profile: {} ({meaning}).", layout.profile)];
    let preset = Privacy { profile: profile.unwrap_or_default(), ..Privacy::default() };
    let differing: Vec<&str> = preset
        .actions()
        .filter(|(column, action)| layout.action(column).as_ref() != Some(action))
        .map(|(column, _)| column)
        .collect();
    if !differing.is_empty() {
        sentences.push(format!("Not as the profile has it: {}.", differing.join(", ")));
    }
    let dropped: Vec<&str> = layout.shape.dropped().collect();
    if !dropped.is_empty() {
        sentences.push(format!("Dropped: {}.", dropped.join(", ")));
    }
    sentences.join(" ")
}

/// What a column holds; none for columns that no action can be given for.
fn of_column(layout: &TableLayout, column: &str) -> Option<String> {
    Some(match column {
        "claim_token" => "Keyed BLAKE3 token of the claim id, 128 bits.".into(),
        "patient_token" => "Keyed BLAKE3 token of the patient id, 128 bits.".into(),
        "provider_id" => {
            let id = match layout.action(column)? {
                Action::Token => "Keyed BLAKE3 token of the provider id, 128 bits",
                _ => "The provider id",
            };
            format!("{id}; (unknown) where a claim names none.")
        }
        "amount" => amount(&layout.action(column)?),
        "date_of_service" => date(&layout.action(column)?),
        "provider_name" => text("provider's name", &layout.action(column)?),
        "specialty" => text("provider's specialty", &layout.action(column)?),
        "location" => text("provider's location", &layout.action(column)?),
        "procedure_code" => text("procedure code", &layout.action(column)?),
        _ => return None,
    })
}

fn amount(action: &Action) -> String {
    match action {
        Action::Bucket(edges) => {
            let edges: Vec<String> = edges.iter().map(ToString::to_string).collect();
            format!(
                "Dollars: the lower edge of the amount's bucket, of {} (generalized); negative for reversals.",
                edges.join(", ")
            )
        }
        Action::Round(step) => format!(
            "Dollars, rounded to a multiple of {step}, half to even (generalized); negative for reversals."
        ),
        Action::TopCode(most) => format!(
            "Dollars, exact to the cent up to {most} and {most} above (top-coded); negative for reversals."
        ),
        _ => "Dollars, exact to the cent; negative for reversals.".into(),
    }
}

fn date(action: &Action) -> String {
    match action {
        Action::Generalize(Level::Week) => "Monday of the week of service (generalized).".into(),
        Action::Generalize(Level::Month) => {
            "First day of the month of service (generalized).".into()
        }
        Action::Generalize(Level::Quarter) => {
            "First day of the quarter of service (generalized).".into()
        }
        Action::Generalize(Level::Year) => "First day of the year of service (generalized).".into(),
        Action::DateShift(days) => format!(
            "Day of service, moved by up to {days} days either way: all of a patient by the same multiple of 7 (shifted)."
        ),
        _ => "Day of service.".into(),
    }
}

fn text(what: &str, action: &Action) -> String {
    match action {
        Action::Token => format!("Keyed BLAKE3 token of the {what}, 128 bits."),
        Action::Redact(_) => format!("Stands in for the {what}: one text for all (redacted)."),
        Action::Mask(mask) => format!(
            "The {what}: the first {} and the last {} characters, the others masked.",
            mask.first, mask.last
        ),
        Action::Truncate(length) => format!("The first {length} characters of the {what}."),
        Action::Generalize(Level::State) => format!("The state of the {what} (generalized)."),
        Action::Generalize(Level::Zip3) => format!(
            "The first three digits of the ZIP code of the {what}, 000 where too few people live (generalized)."
        ),
        _ => format!("The {what}, as delivered."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::totals::Cents;

    #[test]
    fn the_tables_say_what_was_done_to_them() {
        let privacy = Privacy {
            profile: Profile::SafeHarborAssist,
            columns: [("amount".to_owned(), Action::Round(Cents(500)))].into(),
            ..Privacy::default()
        };
        let comments = script(&TableLayout::of(&privacy));
        for part in [
            "COMMENT ON COLUMN healthcare_analytics.claims_fact.date_of_service IS 'First day of the year of service (generalized).'",
            "Privacy profile: safe_harbor_assist (towards",
            "Not as the profile has it: amount.",
            "Dropped: provider_name.",
            "rounded to a multiple of 5.00",
            "providers_dim.location IS 'The state of the provider''s location (generalized).'",
        ] {
            assert!(comments.contains(part), "{part}\n{comments}");
        }
        assert!(!comments.contains("provider_name IS"));
        let comments = script(&TableLayout::of(&Privacy::default()));
        assert!(comments.contains("still protected health information"));
    }
}
