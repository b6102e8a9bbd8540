//! The kinds of dirty rows.

/// What is wrong, or merely unusual, about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dirt {
    /// Rejected: no claim id.
    MissingClaimId,
    /// Rejected: no patient id.
    MissingPatientId,
    /// Loads with a flag: no provider id.
    MissingProviderId,
    /// Loads with a flag: a provider that is not in the directory.
    UnknownProvider,
    /// Loads with a flag: no procedure code.
    MissingProcedureCode,
    /// Rejected: no amount.
    MissingAmount,
    /// Rejected: an amount that is not a decimal number.
    UnparseableAmount,
    /// Rejected: an amount of ten thousand million and more.
    AmountOutOfRange,
    /// Loads with a flag: an amount with three decimals.
    ThreeDecimals,
    /// Loads: an amount with a dollar sign, thousands commas or in parentheses (negative).
    AmountNotation,
    /// Rejected: no date.
    MissingDate,
    /// Rejected: an impossible day, or not a date.
    BadDate,
    /// Loads: a date as 20240131, 01/31/2024 or with a time (RFC 3339).
    OtherDateFormat,
    /// A duplicate: an earlier row once more.
    ExactDuplicate,
    /// A duplicate: an earlier claim once more with another amount.
    ConflictingDuplicate,
}

impl Dirt {
    /// All kinds; each is as frequent as the others.
    pub(super) const ALL: [Self; 15] = [
        Self::MissingClaimId,
        Self::MissingPatientId,
        Self::MissingProviderId,
        Self::UnknownProvider,
        Self::MissingProcedureCode,
        Self::MissingAmount,
        Self::UnparseableAmount,
        Self::AmountOutOfRange,
        Self::ThreeDecimals,
        Self::AmountNotation,
        Self::MissingDate,
        Self::BadDate,
        Self::OtherDateFormat,
        Self::ExactDuplicate,
        Self::ConflictingDuplicate,
    ];

    /// The name in counts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MissingClaimId => "missing_claim_id",
            Self::MissingPatientId => "missing_patient_id",
            Self::MissingProviderId => "missing_provider_id",
            Self::UnknownProvider => "unknown_provider",
            Self::MissingProcedureCode => "missing_procedure_code",
            Self::MissingAmount => "missing_amount",
            Self::UnparseableAmount => "unparseable_amount",
            Self::AmountOutOfRange => "amount_out_of_range",
            Self::ThreeDecimals => "three_decimals",
            Self::AmountNotation => "amount_notation",
            Self::MissingDate => "missing_date",
            Self::BadDate => "bad_date",
            Self::OtherDateFormat => "other_date_format",
            Self::ExactDuplicate => "exact_duplicate",
            Self::ConflictingDuplicate => "conflicting_duplicate",
        }
    }
}
