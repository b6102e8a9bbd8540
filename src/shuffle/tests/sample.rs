//! Rows of the first pass for the tests, and how they read when they leave.

use polars::prelude::{
    Column, DataFrame, DataType, Int16Chunked, Int32Chunked, Int64Chunked, Int128Chunked,
    IntoColumn, IntoSeries, NewChunkedArray, StringChunked, UInt32Chunked,
};

use crate::risk::{NO_CODE, Twin, UNCOUNTED};
use crate::schema::{CENTS, CLAIM_CHECK, ORIGIN, PATIENT_CHECK, PROVIDER_ROW, TWIN};

/// An accepted row of the first pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) claim: u8,
    pub(crate) line: i16,
    pub(crate) patient: u8,
    /// A place in the directory, or an id that it lacks.
    pub(crate) provider: Result<u32, Option<&'static str>>,
    pub(crate) code: Option<&'static str>,
    pub(crate) cents: i64,
    pub(crate) day: i32,
    pub(crate) flags: i32,
    pub(crate) origin: i64,
}

pub(crate) const PLAIN: Sample = Sample {
    claim: 1,
    line: 1,
    patient: 1,
    provider: Ok(7),
    code: Some("99213"),
    cents: 12_050,
    day: 19_000,
    flags: 0,
    origin: 0,
};

pub(crate) type Content = (u8, Result<u32, Option<&'static str>>, Option<&'static str>, i32, u64);

impl Sample {
    /// The claim's token: anywhere among the buckets.
    pub(crate) fn token(&self) -> u128 {
        (u128::from(self.claim) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    /// What makes a repeat a conflict when it differs.
    pub(crate) fn content_and_cents(&self) -> (Content, i64) {
        (self.content(), self.cents)
    }

    pub(crate) fn content(&self) -> Content {
        (self.patient, self.provider, self.code, self.day, self.cents.unsigned_abs())
    }

    /// Which case it is of, if it is priced.
    pub(crate) fn case(&self) -> Option<(u8, Option<&'static str>, i32)> {
        (self.cents > 0).then_some((self.patient, self.code, self.day))
    }

    /// The row as it leaves; of rows without a price nobody knows twins.
    pub(crate) fn leaves(&self, flags: i32, twin: Twin) -> String {
        let Self { line, patient, provider, code, cents, day, .. } = self;
        let (place, id) = match provider {
            Ok(place) => (Some(*place), None),
            Err(id) => (None, *id),
        };
        let token = self.token();
        format!(
            "{token:032x} {line} {patient} {place:?} {id:?} {code:?} {cents} {day} {flags} {}",
            if *cents > 0 { twin.code() } else { -1 }
        )
    }
}

pub(crate) fn frame(rows: &[Sample]) -> DataFrame {
    let column = |name: &str, of: &dyn Fn(&Sample) -> i128| {
        let values: Vec<i128> = rows.iter().map(of).collect();
        Int128Chunked::from_vec(name.into(), values).into_column()
    };
    let text = |name: &str, of: &dyn Fn(&Sample) -> Option<&'static str>| -> Column {
        StringChunked::from_iter_options(name.into(), rows.iter().map(of)).into_column()
    };
    let days = rows.iter().map(|row| row.day).collect();
    let days = Int32Chunked::from_vec("date_of_service".into(), days).into_series();
    let lines = rows.iter().map(|row| row.line).collect();
    let cents = rows.iter().map(|row| row.cents).collect();
    let flags = rows.iter().map(|row| row.flags).collect();
    let origins = rows.iter().map(|row| row.origin).collect();
    let places = rows.iter().map(|row| row.provider.ok());
    let claims = rows.iter().map(|row| u32::from(row.claim)).collect();
    let patients = rows.iter().map(|row| u32::from(row.patient)).collect();
    let columns = vec![
        column("claim_token", &|row| i128::from_ne_bytes(row.token().to_be_bytes())),
        Int16Chunked::from_vec("line_number".into(), lines).into_column(),
        column("patient_token", &|row| i128::from(row.patient)),
        UInt32Chunked::from_iter_options(PROVIDER_ROW.into(), places).into_column(),
        text("provider_id", &|row| row.provider.err().flatten()),
        text("procedure_code", &|row| row.code),
        Int64Chunked::from_vec(CENTS.into(), cents).into_column(),
        days.cast(&DataType::Date).expect("dates").into_column(),
        Int32Chunked::from_vec("dq_flags".into(), flags).into_column(),
        Int64Chunked::from_vec(ORIGIN.into(), origins).into_column(),
        UInt32Chunked::from_vec(CLAIM_CHECK.into(), claims).into_column(),
        UInt32Chunked::from_vec(PATIENT_CHECK.into(), patients).into_column(),
    ];
    DataFrame::new(rows.len(), columns).expect("a frame")
}

/// The rows of a frame that [`crate::shuffle::Shuffle::next_rows`] gives, as [`Sample::leaves`] writes them.
pub(crate) fn rows_of(frame: &DataFrame) -> Vec<String> {
    let column = |name: &str| frame.column(name).expect("a column");
    let day = column("date_of_service").to_physical_repr();
    (0..frame.height())
        .map(|row| {
            let token = column("claim_token").i128().expect("tokens").get(row).expect("a token");
            let token = u128::from_be_bytes(token.to_ne_bytes());
            let cents = column(CENTS).i64().expect("cents").get(row).expect("an amount");
            let twin = column(TWIN).i32().expect("twins").get(row).expect("a twin");
            let patient = column("patient_token").i128().expect("tokens").get(row);
            format!(
                "{token:032x} {} {} {:?} {:?} {:?} {cents} {} {} {}",
                column("line_number").i16().expect("lines").get(row).expect("a line"),
                patient.expect("a token"),
                column(PROVIDER_ROW).u32().expect("places").get(row),
                column("provider_id").str().expect("ids").get(row),
                column("procedure_code").str().expect("codes").get(row),
                day.i32().expect("days").get(row).expect("a day"),
                column("dq_flags").i32().expect("flags").get(row).expect("flags"),
                if cents > 0 { twin } else { -1 },
            )
        })
        .collect()
}

/// Specialties by place: that of 0 is the first, 1 has none.
pub(crate) const SPECIALTIES: [u32; 2] = [1, 0];
pub(crate) const CODES: [&str; 2] = ["99213", "4 and more than 8"];

pub(crate) fn specialty(row: &Sample) -> u32 {
    row.provider.map_or(0, |place| SPECIALTIES.get(place as usize).copied().unwrap_or(0))
}

/// The numbers of rows' procedures, as the first pass gives them.
pub(crate) fn codes(rows: &[Sample]) -> Vec<u32> {
    let number = |row: &Sample| {
        if row.cents <= 0 || specialty(row) == 0 {
            return UNCOUNTED;
        }
        let place = row.code.and_then(|code| CODES.iter().position(|known| *known == code));
        place.map_or(NO_CODE, |place| u32::try_from(place).expect("small"))
    };
    rows.iter().map(number).collect()
}
