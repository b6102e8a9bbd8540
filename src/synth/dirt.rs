//! The kinds of dirty rows.

/// A defect or an unusual property of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dirt {
    /// Rejected: no claim id.
    MissingClaimId,
    /// Rejected: no patient id.
    MissingPatientId,
    /// Loaded with a flag: no provider id.
    MissingProviderId,
    /// Loaded with a flag: provider not in the directory.
    UnknownProvider,
    /// Loaded with a flag: no procedure code.
    MissingProcedureCode,
    /// Rejected: no amount.
    MissingAmount,
    /// Rejected: an amount that is not a decimal number.
    UnparseableAmount,
    /// Rejected: an amount of ten billion or more.
    AmountOutOfRange,
    /// Loaded with a flag: an amount with three decimals.
    ThreeDecimals,
    /// Loaded: an amount with dollar sign, thousands commas or parentheses (negative).
    AmountNotation,
    /// Rejected: no date.
    MissingDate,
    /// Rejected: an impossible day, or not a date.
    BadDate,
    /// Loaded: a date as 20240131, 01/31/2024 or RFC 3339.
    OtherDateFormat,
    /// Duplicate with equal content.
    ExactDuplicate,
    /// Duplicate claim with a different amount.
    ConflictingDuplicate,
}

impl Dirt {
    /// All kinds, equally frequent.
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

    /// Name in counts.
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
