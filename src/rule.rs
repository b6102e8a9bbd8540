//! The data-quality vocabulary: why a row is rejected, and what a loaded row is flagged for.
//!
//! A file of its own because the plan assigns these codes, the quarantine and the ledger name
//! them, and the dashboard counts them; the numbers are stored and must never change.

/// Why a row was rejected. The number is the code in the plan; the name is the reason code that
/// people read. Rules of the same row are tried in this order and the first one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum RejectReason {
    /// C1: no claim id.
    ClaimIdMissing = 1,
    /// P1: no patient id.
    PatientIdMissing = 2,
    /// The line number is no whole number from 0 to 32767.
    LineNumberInvalid = 3,
    /// A1: no amount.
    AmountMissing = 4,
    /// A1: the amount is no decimal number.
    AmountUnparseable = 5,
    /// A4: the amount does not fit numeric(12,2).
    AmountOutOfRange = 6,
    /// D1: no date of service.
    DateMissing = 7,
    /// D1: the date of service matches none of the configured formats.
    DateUnparseable = 8,
    /// S2: the provider id is no code, see [`is_code`].
    ProviderIdInvalid = 9,
    /// S2: the procedure code is no code, see [`is_code`].
    ProcedureCodeInvalid = 10,
    /// C2: the same claim id and line number came with other content, under the policy `reject`.
    DuplicateConflict = 11,
}

/// The longest code, in bytes: codes are keys, and an index entry of Postgres has a limit.
pub const MAX_CODE_BYTES: usize = 200;

/// Whether a kept text can be a code: not overlong and without control characters. Postgres cannot
/// store NUL, and a line break inside a code is a neighbouring record that a stray quote has
/// swallowed, identifiers and all.
#[must_use]
pub fn is_code(text: &str) -> bool {
    text.len() <= MAX_CODE_BYTES && !text.chars().any(char::is_control)
}

impl RejectReason {
    /// All reasons, in the order they are tried.
    pub const ALL: [Self; 11] = [
        Self::ClaimIdMissing,
        Self::PatientIdMissing,
        Self::LineNumberInvalid,
        Self::AmountMissing,
        Self::AmountUnparseable,
        Self::AmountOutOfRange,
        Self::DateMissing,
        Self::DateUnparseable,
        Self::ProviderIdInvalid,
        Self::ProcedureCodeInvalid,
        Self::DuplicateConflict,
    ];

    /// The code in the plan.
    #[must_use]
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The reason of a code.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The reason code that people read.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClaimIdMissing => "claim_id_missing",
            Self::PatientIdMissing => "patient_id_missing",
            Self::LineNumberInvalid => "line_number_invalid",
            Self::AmountMissing => "amount_missing",
            Self::AmountUnparseable => "amount_unparseable",
            Self::AmountOutOfRange => "amount_out_of_range",
            Self::DateMissing => "date_missing",
            Self::DateUnparseable => "date_unparseable",
            Self::ProviderIdInvalid => "provider_id_invalid",
            Self::ProcedureCodeInvalid => "procedure_code_invalid",
            Self::DuplicateConflict => "duplicate_conflict",
        }
    }

    /// The contract column that broke the rule.
    #[must_use]
    pub fn column(self) -> &'static str {
        match self {
            Self::ClaimIdMissing | Self::DuplicateConflict => "claim_id",
            Self::PatientIdMissing => "patient_id",
            Self::LineNumberInvalid => "line_number",
            Self::AmountMissing | Self::AmountUnparseable | Self::AmountOutOfRange => "amount",
            Self::DateMissing | Self::DateUnparseable => "date_of_service",
            Self::ProviderIdInvalid => "provider_id",
            Self::ProcedureCodeInvalid => "procedure_code",
        }
    }
}

/// What a loaded row is flagged for: one bit of `dq_flags` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// V1: the claim names no provider; it points at the unknown member.
    ProviderMissing,
    /// V1: the provider is not in the directory; it points at an inferred member.
    ProviderNotInDirectory,
    /// K4: no procedure code.
    ProcedureMissing,
    /// A2: the amount is negative (a reversal).
    AmountNegative,
    /// A3: the amount is zero.
    AmountZero,
    /// A1: the amount had more than two decimals and was rounded half to even.
    AmountRounded,
}

impl Flag {
    /// All flags, lowest bit first.
    pub const ALL: [Self; 6] = [
        Self::ProviderMissing,
        Self::ProviderNotInDirectory,
        Self::ProcedureMissing,
        Self::AmountNegative,
        Self::AmountZero,
        Self::AmountRounded,
    ];

    /// The flag's value in `dq_flags`, a power of two.
    #[must_use]
    pub fn bit(self) -> i32 {
        match self {
            Self::ProviderMissing => 1,
            Self::ProviderNotInDirectory => 1 << 1,
            Self::ProcedureMissing => 1 << 2,
            Self::AmountNegative => 1 << 3,
            Self::AmountZero => 1 << 4,
            Self::AmountRounded => 1 << 5,
        }
    }

    /// The name in views and on the dashboard.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ProviderMissing => "provider_missing",
            Self::ProviderNotInDirectory => "provider_not_in_directory",
            Self::ProcedureMissing => "procedure_missing",
            Self::AmountNegative => "amount_negative",
            Self::AmountZero => "amount_zero",
            Self::AmountRounded => "amount_rounded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_read_back() {
        for (position, reason) in RejectReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.code(), i32::try_from(position).expect("small") + 1);
            assert_eq!(RejectReason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(RejectReason::from_code(0), None);
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

    #[test]
    fn each_flag_has_a_bit_of_its_own() {
        for (position, flag) in Flag::ALL.into_iter().enumerate() {
            assert_eq!(flag.bit(), 1 << position);
        }
    }
}
