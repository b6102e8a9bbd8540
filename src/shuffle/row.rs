//! One row between the passes, as bytes.
//!
//! The key comes first, then the origin and a check of the claim's identifier, then the content.

use std::ops::Range;

use polars::prelude::{
    ChunkedArray, Column, DataFrame, DataType, Int16Chunked, Int32Chunked, Int64Chunked,
    Int128Chunked, IntoColumn, IntoSeries, NewChunkedArray, PolarsError, PolarsNumericType,
    StringChunked, StringChunkedBuilder, UInt32Chunked,
};

use super::content::Content;
use super::providers::Visit;
use crate::error::{Error, Result};
use crate::key::Token;
use crate::risk::Twin;
use crate::schema::{CENTS, CLAIM_CHECK, ORIGIN, PATIENT_CHECK, PROVIDER_ROW, TWIN};

const TOKEN: Range<usize> = 0..16;
const LINE: Range<usize> = 16..18;
const ORIGIN_PLACE: Range<usize> = 18..26;
const CHECK: Range<usize> = 26..30;
const PATIENT: Range<usize> = 30..46;
const AMOUNT: Range<usize> = 46..54;
const DAY: Range<usize> = 54..58;
const FLAGS: Range<usize> = 58..62;
const PROVIDER: Range<usize> = 62..66;
const PROVIDER_LENGTH: usize = 66;
const CODE_LENGTH: usize = 67;
const FIXED: usize = 68;

/// The place of a provider that is not in the directory.
const NO_PLACE: u32 = u32::MAX;
/// The length of a text that is null. Codes are at most 200 bytes long.
const NULL: u8 = u8::MAX;

/// Accepted rows of the first pass, column by column.
pub(super) struct Rows<'a> {
    claims: &'a [i128],
    lines: &'a [i16],
    origins: &'a [i64],
    checks: &'a [u32],
    patient_checks: &'a [u32],
    patients: &'a [i128],
    cents: &'a [i64],
    days: Vec<i32>,
    flags: &'a [i32],
    places: Vec<u32>,
    providers: &'a StringChunked,
    codes: Vec<Option<&'a str>>,
}

/// A column of accepted rows, in which nothing is null.
fn whole<T: PolarsNumericType>(column: &ChunkedArray<T>) -> Result<&[T::Native]> {
    column.cont_slice().map_err(|_| Error::internal("a null in a column of accepted rows"))
}

impl<'a> Rows<'a> {
    /// The columns of a frame in one chunk each.
    pub(super) fn of(frame: &'a DataFrame) -> Result<Self> {
        let missing =
            |_: PolarsError| Error::internal("a column is missing from the rows of the first pass");
        let column = |name: &str| frame.column(name).map_err(missing);
        Ok(Self {
            claims: whole(column("claim_token")?.i128().map_err(missing)?)?,
            lines: whole(column("line_number")?.i16().map_err(missing)?)?,
            origins: whole(column(ORIGIN)?.i64().map_err(missing)?)?,
            checks: whole(column(CLAIM_CHECK)?.u32().map_err(missing)?)?,
            patient_checks: whole(column(PATIENT_CHECK)?.u32().map_err(missing)?)?,
            patients: whole(column("patient_token")?.i128().map_err(missing)?)?,
            cents: whole(column(CENTS)?.i64().map_err(missing)?)?,
            days: whole(column("date_of_service")?.to_physical_repr().i32().map_err(missing)?)?
                .to_vec(),
            flags: whole(column("dq_flags")?.i32().map_err(missing)?)?,
            places: column(PROVIDER_ROW)?
                .u32()
                .map_err(missing)?
                .iter()
                .map(|place| place.unwrap_or(NO_PLACE))
                .collect(),
            providers: column("provider_id")?.str().map_err(missing)?,
            codes: column("procedure_code")?.str().map_err(missing)?.iter().collect(),
        })
    }

    /// The claim's token.
    pub(super) fn token(&self, row: usize) -> Token {
        self.claims[row].to_ne_bytes()
    }

    /// The patient's token, and the check of the identifier that it was made of.
    pub(super) fn patient(&self, row: usize) -> (Token, u32) {
        (self.patients[row].to_ne_bytes(), self.patient_checks[row])
    }

    /// What a priced row leaves for its provider; `code` is the number of its procedure.
    pub(super) fn visit(&self, row: usize, code: u32) -> Visit {
        Visit {
            place: self.places[row],
            day: self.days[row],
            patient: half(self.patients[row].to_ne_bytes()),
            code,
            cents: self.cents[row],
        }
    }

    /// The provider's id, where it is not in the directory: else its place is enough.
    fn provider(&self, row: usize) -> Option<&'a str> {
        if self.places[row] == NO_PLACE { self.providers.get(row) } else { None }
    }

    /// Its content.
    pub(super) fn content(&self, row: usize) -> Content<'a> {
        Content {
            patient: self.patients[row].to_ne_bytes(),
            day: self.days[row],
            place: self.places[row],
            provider: self.provider(row).map(str::as_bytes),
            code: self.codes[row].map(str::as_bytes),
            cents: self.cents[row],
        }
    }

    /// Appends a row.
    pub(super) fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        let (provider, code) = (self.provider(row), self.codes[row]);
        let length =
            |text: Option<&str>| text.map_or(NULL, |text| u8::try_from(text.len()).unwrap_or(NULL));
        let mut fixed = [0; FIXED];
        fixed[TOKEN].copy_from_slice(&self.token(row));
        fixed[LINE].copy_from_slice(&self.lines[row].to_le_bytes());
        fixed[ORIGIN_PLACE].copy_from_slice(&self.origins[row].to_le_bytes());
        fixed[CHECK].copy_from_slice(&self.checks[row].to_le_bytes());
        fixed[PATIENT].copy_from_slice(&self.patients[row].to_ne_bytes());
        fixed[AMOUNT].copy_from_slice(&self.cents[row].to_le_bytes());
        fixed[DAY].copy_from_slice(&self.days[row].to_le_bytes());
        fixed[FLAGS].copy_from_slice(&self.flags[row].to_le_bytes());
        fixed[PROVIDER].copy_from_slice(&self.places[row].to_le_bytes());
        fixed[PROVIDER_LENGTH] = length(provider);
        fixed[CODE_LENGTH] = length(code);
        bytes.extend_from_slice(&fixed);
        bytes.extend_from_slice(provider.unwrap_or_default().as_bytes());
        bytes.extend_from_slice(code.unwrap_or_default().as_bytes());
    }
}

/// The first half of a token, as a number.
pub(super) fn half(token: Token) -> u64 {
    u64::from_le_bytes(array(&token, 0..8))
}

/// A row that was read back.
#[derive(Clone, Copy)]
pub(super) struct Row<'a>(&'a [u8]);

fn array<const N: usize>(bytes: &[u8], place: Range<usize>) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[place]);
    array
}

impl<'a> Row<'a> {
    /// The row that begins at `start`.
    pub(super) fn at(bytes: &'a [u8], start: usize) -> Self {
        let rest = &bytes[start..];
        let length = |place: usize| if rest[place] == NULL { 0 } else { usize::from(rest[place]) };
        Self(&rest[..FIXED + length(PROVIDER_LENGTH) + length(CODE_LENGTH)])
    }

    /// Bytes of the row.
    pub(super) fn length(self) -> usize {
        self.0.len()
    }

    /// The claim's token.
    pub(super) fn token(self) -> Token {
        array(self.0, TOKEN)
    }

    /// The check of the claim's identifier.
    pub(super) fn check(self) -> u32 {
        u32::from_le_bytes(array(self.0, CHECK))
    }

    /// The key: token in the order of Postgres' uuid, and line number.
    pub(super) fn key(self) -> (u128, i16) {
        (u128::from_be_bytes(array(self.0, TOKEN)), i16::from_le_bytes(array(self.0, LINE)))
    }

    pub(super) fn origin(self) -> i64 {
        i64::from_le_bytes(array(self.0, ORIGIN_PLACE))
    }

    pub(super) fn cents(self) -> i64 {
        i64::from_le_bytes(array(self.0, AMOUNT))
    }

    pub(super) fn flags(self) -> i32 {
        i32::from_le_bytes(array(self.0, FLAGS))
    }

    pub(super) fn patient(self) -> &'a [u8] {
        &self.0[PATIENT]
    }

    /// What two rows of one key are compared by: all but key, origin and flags, which depend on how a value
    /// was spelled.
    pub(super) fn content_bytes(self) -> (&'a [u8], &'a [u8]) {
        (&self.0[PATIENT.start..FLAGS.start], &self.0[FLAGS.end..])
    }

    /// Its content.
    pub(super) fn content(self) -> Content<'a> {
        let (provider, code) = self.texts();
        Content {
            patient: array(self.0, PATIENT),
            day: i32::from_le_bytes(array(self.0, DAY)),
            place: u32::from_le_bytes(array(self.0, PROVIDER)),
            provider,
            code,
            cents: self.cents(),
        }
    }

    /// The provider's id, where it is not in the directory, and the procedure code.
    fn texts(self) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        let split = FIXED
            + if self.0[PROVIDER_LENGTH] == NULL {
                0
            } else {
                usize::from(self.0[PROVIDER_LENGTH])
            };
        let provider = (self.0[PROVIDER_LENGTH] != NULL).then(|| &self.0[FIXED..split]);
        (provider, (self.0[CODE_LENGTH] != NULL).then(|| &self.0[split..]))
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Error::internal("a shuffled text is broken"))
}

/// The rows, each with all that it breaks and its twin, as a frame for the second pass, in their order. One loop over all
/// columns: rows come from all over a bucket, so each of them is fetched into the cache once.
pub(super) fn frame<'a>(
    rows: impl ExactSizeIterator<Item = (Row<'a>, i32, Twin)>,
) -> Result<DataFrame> {
    let count = rows.len();
    let mut claims = Vec::with_capacity(count);
    let mut lines = Vec::with_capacity(count);
    let mut patients = Vec::with_capacity(count);
    let mut places = Vec::with_capacity(count);
    let mut cents = Vec::with_capacity(count);
    let mut days = Vec::with_capacity(count);
    let mut flags = Vec::with_capacity(count);
    let mut twins = Vec::with_capacity(count);
    let mut providers = StringChunkedBuilder::new("provider_id".into(), count);
    let mut codes = StringChunkedBuilder::new("procedure_code".into(), count);
    for (row, bits, twin) in rows {
        claims.push(i128::from_ne_bytes(array(row.0, TOKEN)));
        lines.push(row.key().1);
        patients.push(i128::from_ne_bytes(array(row.0, PATIENT)));
        places.push(u32::from_le_bytes(array(row.0, PROVIDER)));
        cents.push(row.cents());
        days.push(i32::from_le_bytes(array(row.0, DAY)));
        flags.push(bits);
        twins.push(twin.code());
        let (provider, code) = row.texts();
        providers.append_option(provider.map(text).transpose()?);
        codes.append_option(code.map(text).transpose()?);
    }
    let known = |place: u32| (place != NO_PLACE).then_some(place);
    let places = if places.contains(&NO_PLACE) {
        UInt32Chunked::from_iter_options(PROVIDER_ROW.into(), places.into_iter().map(known))
    } else {
        UInt32Chunked::from_vec(PROVIDER_ROW.into(), places)
    };
    let days = Int32Chunked::from_vec("date_of_service".into(), days).into_series();
    let columns: Vec<Column> = vec![
        Int128Chunked::from_vec("claim_token".into(), claims).into_column(),
        Int16Chunked::from_vec("line_number".into(), lines).into_column(),
        Int128Chunked::from_vec("patient_token".into(), patients).into_column(),
        places.into_column(),
        providers.finish().into_column(),
        codes.finish().into_column(),
        Int64Chunked::from_vec(CENTS.into(), cents).into_column(),
        days.cast(&DataType::Date).map_err(|_| Error::internal("days are no dates"))?.into_column(),
        Int32Chunked::from_vec("dq_flags".into(), flags).into_column(),
        Int32Chunked::from_vec(TWIN.into(), twins).into_column(),
    ];
    DataFrame::new(count, columns).map_err(|_| Error::internal("shuffled columns differ in length"))
}

#[cfg(test)]
mod tests {
    use polars::prelude::AnyValue;

    use super::*;

    #[test]
    fn a_row_reads_back() {
        let days = Int32Chunked::from_vec("date_of_service".into(), vec![-1, 19_000]);
        let days = days.into_series().cast(&DataType::Date).expect("dates");
        let texts = |name: &str, texts: [Option<&str>; 2]| {
            StringChunked::from_iter_options(name.into(), texts.into_iter()).into_column()
        };
        let frame = DataFrame::new(
            2,
            vec![
                Int128Chunked::from_vec("claim_token".into(), vec![i128::MIN, 7]).into_column(),
                Int16Chunked::from_vec("line_number".into(), vec![1, -3]).into_column(),
                Int128Chunked::from_vec("patient_token".into(), vec![-1, 8]).into_column(),
                UInt32Chunked::from_iter_options(PROVIDER_ROW.into(), [Some(4), None].into_iter())
                    .into_column(),
                texts("provider_id", [Some("known"), Some("V\u{ed}ctor")]),
                texts("procedure_code", [None, Some("00100")]),
                Int64Chunked::from_vec(CENTS.into(), vec![-5, 999_999_999_999]).into_column(),
                days.into_column(),
                Int32Chunked::from_vec("dq_flags".into(), vec![0, 63]).into_column(),
                Int64Chunked::from_vec(ORIGIN.into(), vec![1, i64::MAX]).into_column(),
                UInt32Chunked::from_vec(CLAIM_CHECK.into(), vec![3, u32::MAX]).into_column(),
                UInt32Chunked::from_vec(PATIENT_CHECK.into(), vec![4, 5]).into_column(),
            ],
        )
        .expect("a frame");
        let rows = Rows::of(&frame).expect("rows");
        let mut bytes = Vec::new();
        rows.write(0, &mut bytes);
        let second = bytes.len();
        rows.write(1, &mut bytes);
        let read = [Row::at(&bytes, 0), Row::at(&bytes, second)];
        assert_eq!(read[0].length(), second);
        assert_eq!(
            (read[1].origin(), read[1].cents(), read[1].flags()),
            (i64::MAX, 999_999_999_999, 63)
        );
        assert_eq!((read[1].check(), rows.patient(1).1), (u32::MAX, 5));
        assert_eq!(read[1].key(), (u128::from_be_bytes(7_i128.to_ne_bytes()), -3));
        let back = super::frame(read.into_iter().map(|row| (row, row.flags(), Twin::Exact)))
            .expect("a frame");
        let back = back.drop(TWIN).expect("twins");
        for name in back.get_column_names_owned() {
            let (was, is) = (frame.column(&name).expect("was"), back.column(&name).expect("is"));
            for row in 0..2 {
                let is = is.get(row).expect("a value");
                // The directory knows the first one's id.
                let known = name == "provider_id" && row == 0;
                let was = if known { AnyValue::Null } else { was.get(row).expect("a value") };
                assert_eq!(was, is, "{name} {row}");
            }
        }
    }
}
