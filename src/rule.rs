//! Data rules: constraints on records, rows and runs, and their severities.
//!
//! Each rule is one line of the table below. Names and bits are stored in the warehouse and never
//! change.

mod policy;
mod severity;

pub use policy::{CodeSystem, OnDuplicate};
pub use severity::{Severities, Severity};

/// All severities of row-level rules.
const ANY: &[Severity] = &[Severity::Reject, Severity::Flag, Severity::Count, Severity::Off];
/// Severities of rules that never reject.
const LOADED: &[Severity] = &[Severity::Flag, Severity::Count, Severity::Off];
/// The severity cannot be configured.
const FIXED: &[Severity] = &[];

/// Properties of a rule.
struct Spec {
    id: &'static str,
    name: &'static str,
    column: &'static str,
    severity: Severity,
    allowed: &'static [Severity],
    bit: Option<u32>,
    option: Option<&'static str>,
    says: &'static str,
}

/// One line per rule: id, name, column, default severity, allowed severities, the bit in
/// `dq_flags`, the related setting. The doc comment is the user-visible description.
macro_rules! rules {
    ($(
        #[doc = $says:literal]
        $rule:ident: $id:ident $name:ident $column:literal $severity:ident $allowed:ident
            $(bit $bit:literal)? $(by $option:literal)?;
    )*) => {
        /// A rule. Row-level rules are tried in this order: the first broken rejecting rule counts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $says] $rule,)*
        }

        impl Rule {
            /// All rules in evaluation order.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$rule),*];
            pub(crate) const COUNT: usize = [$(stringify!($rule)),*].len();

            const fn spec(self) -> &'static Spec {
                const SPECS: [Spec; Rule::COUNT] = [$(Spec {
                    id: stringify!($id),
                    name: stringify!($name),
                    column: $column,
                    severity: Severity::$severity,
                    allowed: $allowed,
                    bit: first(&[$($bit)?]),
                    option: first(&[$($option)?]),
                    says: $says.trim_ascii(),
                }),*];
                &SPECS[self as usize]
            }
        }
    };
}

/// The first element, if any.
const fn first<T: Copy>(values: &[T]) -> Option<T> {
    match values {
        [] => None,
        [value, ..] => Some(*value),
    }
}

rules! {
    /// A required column is missing from the header.
    ColumnsMissing: S1 columns_missing "(header)" Stop FIXED;
    /// The record is the header again.
    HeaderRepeated: S1 header_repeated "(record)" Reject FIXED;
    /// The record has fewer fields than the header.
    TooFewFields: S2 too_few_fields "(record)" Reject FIXED;
    /// The record has more fields than the header.
    TooManyFields: S2 too_many_fields "(record)" Reject FIXED;
    /// A quoted field is not closed.
    QuoteUnclosed: S2 quote_unclosed "(record)" Reject FIXED;
    /// Text follows a closing quote.
    QuoteMalformed: S2 quote_malformed "(record)" Reject FIXED;
    /// The record is not valid text in the source's encoding.
    EncodingInvalid: S2 encoding_invalid "(record)" Reject FIXED;
    /// The record contains a NUL character.
    NulCharacter: S2 nul_character "(record)" Reject FIXED;
    /// The provider id contains control characters or is longer than 200 bytes.
    ProviderIdInvalid: S2 provider_id_invalid "provider_id" Reject FIXED;
    /// The procedure code contains control characters or is longer than 200 bytes.
    ProcedureCodeInvalid: S2 procedure_code_invalid "procedure_code" Reject FIXED;
    /// The claim id contains control characters; a stray quote may have included the end of a line.
    ClaimIdInvalid: S2 claim_id_invalid "claim_id" Reject FIXED;
    /// The patient id contains control characters.
    PatientIdInvalid: S2 patient_id_invalid "patient_id" Reject FIXED;
    /// An identifier or code is a number in scientific notation (9.87E+11), or has more digits before `.0` than a floating-point number can represent.
    IdentifierScientific: I1 identifier_scientific "(identifier)" Reject ANY bit 19;
    /// A `.0` was removed from an identifier or code: it had been stored as a floating-point number.
    IdentifierDecimal: I2 identifier_decimal "(identifier)" Flag ANY bit 20;
    /// Invisible characters or unusual spaces were removed from an identifier or code.
    IdentifierInvisible: I3 identifier_invisible "(identifier)" Flag ANY bit 21;
    /// The text markers of a spreadsheet (`="00456"`) were removed from an identifier or code.
    IdentifierWrapped: I4 identifier_wrapped "(identifier)" Count ANY bit 22;
    /// The record has no claim id.
    ClaimIdMissing: C1 claim_id_missing "claim_id" Reject FIXED;
    /// The claim id is a placeholder such as NULL or nan.
    ClaimIdPlaceholder: C1 claim_id_placeholder "claim_id" Reject FIXED by "rules.placeholders";
    /// The line number is not a whole number from 0 to 32767.
    LineNumberInvalid: C1 line_number_invalid "line_number" Reject FIXED;
    /// A claim line is repeated with the same content; the repeat is dropped.
    DuplicateIdentical: C2 duplicate_identical "claim_id" Count FIXED;
    /// A claim line is repeated with other content; the policy decides which one is kept.
    DuplicateConflict: C2 duplicate_conflict "claim_id" Count FIXED by "warehouse.on_duplicate";
    /// Lines of one claim name two patients.
    ClaimWithTwoPatients: C3 claim_with_two_patients "patient_id" Reject ANY bit 13;
    /// The record has no patient id.
    PatientIdMissing: P1 patient_id_missing "patient_id" Reject FIXED;
    /// The patient id is a placeholder: one of the list for patients, or one for all identifiers.
    PatientIdPlaceholder: P1 patient_id_placeholder "patient_id" Reject ANY bit 12
        by "rules.patient_placeholders";
    /// The record has no provider id, or a placeholder such as NULL; the claim points to the unknown provider.
    ProviderMissing: V1 provider_missing "provider_id" Flag ANY bit 0 by "rules.placeholders";
    /// The provider is not in the directory; the claim points to a placeholder provider.
    ProviderNotInDirectory: V1 provider_not_in_directory "provider_id" Flag ANY bit 1;
    /// The provider id has ten digits, but is not a valid NPI (must start with 1 or 2 and pass the Luhn check).
    NpiInvalid: V2 npi_invalid "provider_id" Flag ANY bit 6;
    /// A directory record has no provider id.
    DirectoryIdMissing: V3 directory_id_missing "provider_id" Reject FIXED;
    /// The provider id of a directory record is a placeholder such as NULL, or `(unknown)`, the provider of claims without one.
    DirectoryIdPlaceholder: V3 directory_id_placeholder "provider_id" Reject FIXED
        by "rules.placeholders";
    /// A text of the directory contains a NUL character, or a specialty is longer than 200 bytes.
    DirectoryTextInvalid: V3 directory_text_invalid "(record)" Reject FIXED;
    /// A directory record is repeated with the same content; the repeat is dropped.
    DirectoryRepeated: V3 directory_repeated "provider_id" Count FIXED;
    /// A directory record is repeated with other content; the policy decides which one is kept.
    DirectoryConflict: V3 directory_conflict "provider_id" Count FIXED
        by "warehouse.on_provider_conflict";
    /// The procedure code is not a HCPCS or CPT code; only if the code system is `hcpcs`.
    ProcedureNotHcpcs: K1 procedure_not_hcpcs "procedure_code" Flag ANY bit 7
        by "rules.code_system";
    /// Prefix, modifiers or case of the code were normalised; only if the code system is `hcpcs`.
    ProcedureNormalized: K2 procedure_normalized "procedure_code" Flag ANY bit 8
        by "rules.code_system";
    /// The procedure code is not in the code system `icd9`, `icd10pcs` or `snomed`.
    ProcedureNotInSystem: K3 procedure_not_in_system "procedure_code" Count ANY bit 9
        by "rules.code_system";
    /// The record has no procedure code, or a placeholder such as NULL.
    ProcedureMissing: K4 procedure_missing "procedure_code" Flag ANY bit 2
        by "rules.placeholders";
    /// The record has no amount.
    AmountMissing: A1 amount_missing "amount" Reject FIXED;
    /// The amount is not a decimal number.
    AmountUnparseable: A1 amount_unparseable "amount" Reject FIXED;
    /// The amount has another decimal mark than the configured one.
    AmountDecimalMark: A1 amount_decimal_mark "amount" Reject FIXED by "claims.decimal";
    /// The amount had more than two decimals and was rounded half to even.
    AmountRounded: A1 amount_rounded "amount" Flag ANY bit 5;
    /// The amount is negative: a reversal.
    AmountNegative: A2 amount_negative "amount" Flag ANY bit 3;
    /// The amount is zero.
    AmountZero: A3 amount_zero "amount" Count ANY bit 4;
    /// The absolute amount is above the limit.
    AmountOverLimit: A4 amount_over_limit "amount" Flag ANY bit 10 by "rules.amount_limit";
    /// The amount does not fit numeric(12,2).
    AmountOutOfRange: A4 amount_out_of_range "amount" Reject FIXED;
    /// All lines of a claim with two or more have the same amount, which is not zero.
    AmountSameOnAllLines: A5 amount_same_on_all_lines "amount" Count LOADED bit 11;
    /// The record has no date of service.
    DateMissing: D1 date_missing "date_of_service" Reject FIXED;
    /// The date matches none of the configured formats.
    DateUnparseable: D1 date_unparseable "date_of_service" Reject FIXED
        by "claims.date_formats";
    /// Two of the configured formats read two different dates.
    DateAmbiguous: D1 date_ambiguous "date_of_service" Reject FIXED by "claims.date_formats";
    /// The date is before the earliest date allowed.
    DateBeforeEarliest: D1 date_before_earliest "date_of_service" Reject FIXED
        by "rules.earliest_date";
    /// The date is more days after the run date than allowed.
    DateInFuture: D2 date_in_future "date_of_service" Reject ANY bit 14 by "rules.future_days";
    /// The date is more years before the run date than allowed.
    DateTooOld: D3 date_too_old "date_of_service" Flag ANY bit 15 by "rules.max_age_years";
    /// The date is older than the filing window (in days before the run date).
    DateOutsideFilingWindow: D4 date_outside_filing_window "date_of_service" Count ANY bit 16
        by "rules.filing_days";
    /// Another claim has the same patient, provider, procedure, date and amount, which is not zero.
    ContentRepeated: U1 content_repeated "(record)" Flag LOADED bit 17;
    /// Another claim line has the same patient, provider, procedure and date, and cancels the amount.
    ReversalPair: U2 reversal_pair "(record)" Count LOADED bit 18;
    /// A total changed more than allowed since the previous run.
    BatchOutOfLine: R1 batch_out_of_line "(run)" Stop FIXED by "quality";
    /// Rows or cents read do not equal those loaded, rejected and dropped.
    TotalsUnbalanced: R2 totals_unbalanced "(run)" Stop FIXED;
}

impl Rule {
    /// Rules with a bit, lowest bit first: the order of all flag counts.
    pub const FLAGS: [Self; 23] = [
        Self::ProviderMissing,
        Self::ProviderNotInDirectory,
        Self::ProcedureMissing,
        Self::AmountNegative,
        Self::AmountZero,
        Self::AmountRounded,
        Self::NpiInvalid,
        Self::ProcedureNotHcpcs,
        Self::ProcedureNormalized,
        Self::ProcedureNotInSystem,
        Self::AmountOverLimit,
        Self::AmountSameOnAllLines,
        Self::PatientIdPlaceholder,
        Self::ClaimWithTwoPatients,
        Self::DateInFuture,
        Self::DateTooOld,
        Self::DateOutsideFilingWindow,
        Self::ContentRepeated,
        Self::ReversalPair,
        Self::IdentifierScientific,
        Self::IdentifierDecimal,
        Self::IdentifierInvisible,
        Self::IdentifierWrapped,
    ];

    /// Bits of the identifier corrections.
    pub(crate) const MENDED: i32 = Self::IdentifierDecimal.mask()
        | Self::IdentifierInvisible.mask()
        | Self::IdentifierWrapped.mask();

    /// Code within a plan, from 1; never stored.
    #[must_use]
    pub(crate) const fn code(self) -> i32 {
        self as i32 + 1
    }

    /// The rule with a code.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.code() == code)
    }

    /// The rule with a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Id in the documentation; shared by related rules.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.spec().id
    }

    /// Name: reason code of a reject, or name of a flag.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.spec().name
    }

    /// The contract column checked; in parentheses if it is not a column.
    #[must_use]
    pub(crate) const fn column(self) -> &'static str {
        self.spec().column
    }

    #[must_use]
    pub const fn default_severity(self) -> Severity {
        self.spec().severity
    }

    /// The configurable severities; empty if fixed.
    #[must_use]
    pub const fn allowed(self) -> &'static [Severity] {
        self.spec().allowed
    }

    /// The bit in `dq_flags` (a power of two) of a rule that can flag a row.
    #[must_use]
    pub(crate) const fn bit(self) -> Option<i32> {
        match self.spec().bit {
            Some(bit) => Some(1 << bit),
            None => None,
        }
    }

    /// The bit in `dq_flags`; 0 for a rule that cannot flag a row.
    #[must_use]
    pub const fn mask(self) -> i32 {
        match self.bit() {
            Some(bit) => bit,
            None => 0,
        }
    }

    /// The setting with its threshold, list or policy.
    #[must_use]
    pub(crate) const fn option(self) -> Option<&'static str> {
        self.spec().option
    }

    /// One-sentence description of a violation.
    #[must_use]
    pub const fn description(self) -> &'static str {
        self.spec().says
    }
}

/// Whether a text has no control character: an identifier with a line break is a neighbouring
/// record absorbed by a stray quote.
#[must_use]
pub(crate) fn is_one_line(text: &str) -> bool {
    text.bytes().all(|byte| !byte.is_ascii_control())
}

/// Maximum length of a code in bytes: codes are keys, and Postgres limits index entries.
pub(crate) const MAX_CODE_BYTES: usize = 200;

/// Whether a text can be a code: not too long and without control characters. Postgres cannot store
/// NUL, and a line break in a code is a neighbouring record absorbed by a stray quote, with its
/// identifiers.
#[must_use]
pub(crate) fn is_code(text: &str) -> bool {
    text.len() <= MAX_CODE_BYTES
        && (text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
            || !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_read_back() {
        for (position, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule.code(), i32::try_from(position).expect("small") + 1);
            assert_eq!(Rule::from_code(rule.code()), Some(rule));
            assert_eq!(Rule::from_name(rule.name()), Some(rule));
        }
        assert_eq!((Rule::from_code(0), Rule::from_name("")), (None, None));
        let names: BTreeSet<&str> = Rule::ALL.into_iter().map(Rule::name).collect();
        assert_eq!(names.len(), Rule::ALL.len());
    }

    #[test]
    fn each_rule_says_something_in_one_sentence() {
        for rule in Rule::ALL {
            let says = rule.description();
            assert!(says.ends_with('.') && !says.starts_with(' ') && says.len() > 10, "{says}");
        }
    }

    #[test]
    fn each_flag_has_a_bit_of_its_own_and_nothing_else_has_one() {
        for (position, rule) in Rule::FLAGS.into_iter().enumerate() {
            assert_eq!(rule.bit(), Some(1 << position), "{}", rule.name());
        }
        let others = Rule::ALL.into_iter().filter(|rule| !Rule::FLAGS.contains(rule));
        for rule in others {
            assert_eq!((rule.bit(), rule.mask()), (None, 0), "{}", rule.name());
        }
    }

    #[test]
    fn a_default_is_allowed_and_only_flags_have_a_choice() {
        for rule in Rule::ALL {
            let allowed = rule.allowed();
            assert_eq!(allowed.is_empty(), rule.bit().is_none(), "{}", rule.name());
            assert!(allowed.is_empty() || allowed.contains(&rule.default_severity()));
            assert!(!allowed.contains(&Severity::Stop));
        }
    }

    #[test]
    fn a_code_is_short_and_of_one_line() {
        for good in ["0010", "99213-25", "Vi\u{e9}ctor 884", &"x".repeat(200)] {
            assert!(is_code(good), "{good}");
        }
        for bad in ["a\0", "a\nb", "a\u{85}b", &"x".repeat(201)] {
            assert!(!is_code(bad), "{bad:?}");
        }
    }
}
