//! Specialties in canonical case.

/// A specialty without regard to case and inner white space; empty where there is none.
#[must_use]
pub fn canonical_specialty(specialty: &str) -> String {
    let words: Vec<String> = specialty.split_whitespace().map(str::to_uppercase).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_white_space_do_not_count() {
        assert_eq!(canonical_specialty(" General \t practice"), "GENERAL PRACTICE");
        assert_eq!(canonical_specialty("straße"), "STRASSE");
        assert_eq!(canonical_specialty(" \u{a0}"), "");
    }
}
