//! Generates synthetic claims in blocks.
//!
//! Formats rows directly into bytes: `format!` per field would take longer than drawing the values.

use super::catalogue::{self, DAYS, Day, FAVOURITES, PROCEDURES, Procedure};
use super::dirt::Dirt;
use super::provider::{Provider, provider_id};
use super::random::Random;

/// Claims per block.
pub(super) const BLOCK: u64 = 100_000;
/// Claims per patient, on average.
const PER_PATIENT: u64 = 12;
/// Number of earlier rows a duplicate may repeat.
const MAX_REMEMBERED: usize = 256;
const UNPARSEABLE: [&str; 5] = ["abc", "12.3.4", "1e5", "NaN", "--15.00"];
const BAD_DATES: [&str; 4] = ["2024-13-45", "not a date", "2023-02-30", "31.12.2023"];

/// Shared by all blocks.
pub(super) struct Generator<'a> {
    pub(super) seed: u64,
    pub(super) claims: u64,
    /// Dirty rows per million.
    pub(super) dirty: u64,
    pub(super) providers: &'a [Provider],
    procedures: Vec<Procedure>,
    calendar: Vec<Day>,
}

impl<'a> Generator<'a> {
    pub(super) fn new(seed: u64, claims: u64, dirty: u64, providers: &'a [Provider]) -> Self {
        let procedures = (0..PROCEDURES).map(catalogue::procedure).collect();
        Self { seed, claims, dirty, providers, procedures, calendar: catalogue::calendar() }
    }
}

pub(super) struct Block {
    /// The rows.
    pub(super) bytes: Vec<u8>,
    /// Dirty rows by kind, indexed as [`Dirt::ALL`].
    pub(super) dirty: [u64; Dirt::ALL.len()],
    /// Sum of all readable amounts in range.
    pub(super) cents: i128,
}

/// Notation of an amount.
#[derive(Clone, Copy)]
enum Amount {
    /// `12.30`
    Cents(i64),
    /// `12.3`, for cents that end in zero.
    Tenths(i64),
    /// `12`, for whole dollars.
    Whole(i64),
}

impl Amount {
    fn cents(self) -> i64 {
        let (Self::Cents(cents) | Self::Tenths(cents) | Self::Whole(cents)) = self;
        cents
    }
}

/// A clean row.
#[derive(Clone, Copy)]
struct Claim {
    number: u64,
    patient: u64,
    provider: [u8; 10],
    procedure: [u8; 5],
    amount: Amount,
    day: Day,
}

/// Generates block number `number`.
pub(super) fn block(generator: &Generator<'_>, number: u64) -> Block {
    let mut random = Random::new(generator.seed, number);
    let first = number * BLOCK;
    let last = (first + BLOCK).min(generator.claims);
    let mut block = Block {
        bytes: Vec::with_capacity(usize::try_from(last - first).unwrap_or(0) * 72),
        dirty: [0; Dirt::ALL.len()],
        cents: 0,
    };
    let mut remembered: Vec<Claim> = Vec::with_capacity(MAX_REMEMBERED);
    for index in first..last {
        let claim = draw(generator, index + 1, &mut random);
        // The first row of a block has no earlier row and stays clean.
        if remembered.is_empty() || !random.chance(generator.dirty) {
            block.cents += i128::from(claim.amount.cents());
            write_clean(&claim, &mut block.bytes);
            if remembered.len() < MAX_REMEMBERED {
                remembered.push(claim);
            } else {
                let slot = random.index(MAX_REMEMBERED);
                remembered[slot] = claim;
            }
            continue;
        }
        let kind = random.index(Dirt::ALL.len());
        block.dirty[kind] += 1;
        let earlier = *random.pick(&remembered);
        block.cents +=
            write_dirty(generator, Dirt::ALL[kind], &claim, earlier, &mut random, &mut block.bytes);
    }
    block
}

fn draw(generator: &Generator<'_>, number: u64, random: &mut Random) -> Claim {
    // The minimum of two draws: some providers are busier than others.
    let busy = random.index(generator.providers.len()).min(random.index(generator.providers.len()));
    let provider = &generator.providers[busy];
    let procedure = if random.chance(850_000) {
        // The minimum of three draws: a specialty's top procedures dominate, so that even small
        // samples have procedures with enough claims to compare.
        let rank = (0..3).map(|_| random.index(FAVOURITES)).min().unwrap_or(0);
        catalogue::favourite(provider.specialty, rank)
    } else {
        random.index(PROCEDURES)
    };
    let procedure = &generator.procedures[procedure];
    let mut cents = (procedure.median * random.spread() / 1000).max(100);
    let amount = match random.below(1000) {
        0..5 => {
            cents *= 8 + random.below(13);
            Amount::Cents(signed(cents))
        }
        5..10 => Amount::Cents(-signed(cents)),
        10..20 => Amount::Cents(0),
        20..70 => Amount::Tenths(signed(cents - cents % 10)),
        70..100 => Amount::Whole(signed(cents - cents % 100)),
        _ => Amount::Cents(signed(cents)),
    };
    Claim {
        number,
        patient: random.below((generator.claims / PER_PATIENT).max(1)),
        provider: provider.id,
        procedure: procedure.code,
        amount,
        day: generator.calendar[draw_day(random)],
    }
}

/// A random day; one in twenty is at a weekend.
fn draw_day(random: &mut Random) -> usize {
    loop {
        let weekday =
            if random.chance(50_000) { *random.pick(&[0, 6]) } else { 1 + random.index(5) };
        // Day 0 is a Sunday; the last week is incomplete.
        let day = random.index(DAYS.div_ceil(7)) * 7 + weekday;
        if day < DAYS {
            return day;
        }
    }
}

fn signed(cents: u64) -> i64 {
    i64::try_from(cents).unwrap_or(i64::MAX)
}

fn write_clean(claim: &Claim, out: &mut Vec<u8>) {
    write_ids(claim, out);
    write_amount(claim.amount, out);
    out.push(b',');
    write_iso(claim.day, out);
    out.push(b'\n');
}

/// Writes the columns before the amount.
fn write_ids(claim: &Claim, out: &mut Vec<u8>) {
    write_claim_id(claim, out);
    out.push(b',');
    write_patient(claim, out);
    out.push(b',');
    out.extend_from_slice(&claim.provider);
    out.push(b',');
    out.extend_from_slice(&claim.procedure);
    out.push(b',');
}

fn write_claim_id(claim: &Claim, out: &mut Vec<u8>) {
    out.extend_from_slice(b"CLM");
    digits(claim.number, 12, out);
}

/// Writes a ten-digit patient id, unique per patient; every tenth begins with zero.
fn write_patient(claim: &Claim, out: &mut Vec<u8>) {
    const RANGE: u64 = 10_000_000_000;
    let scrambled = u128::from(claim.patient) * 3_678_794_411 + 271_828_183;
    digits(u64::try_from(scrambled % u128::from(RANGE)).unwrap_or(0), 10, out);
}

/// Writes a dirty row; returns its readable cents.
fn write_dirty(
    generator: &Generator<'_>,
    kind: Dirt,
    claim: &Claim,
    earlier: Claim,
    random: &mut Random,
    out: &mut Vec<u8>,
) -> i128 {
    let mut read = i128::from(claim.amount.cents());
    let start = out.len();
    match kind {
        Dirt::ExactDuplicate => {
            write_clean(&earlier, out);
            return i128::from(earlier.amount.cents());
        }
        Dirt::ConflictingDuplicate => {
            let amount = Amount::Cents(earlier.amount.cents() + 1 + signed(random.below(5_000)));
            write_clean(&Claim { amount, ..earlier }, out);
            return i128::from(amount.cents());
        }
        Dirt::MissingClaimId => {
            write_ids(claim, out);
            out.drain(start..start + "CLM".len() + 12);
        }
        Dirt::MissingPatientId => {
            write_claim_id(claim, out);
            out.extend_from_slice(b",,");
            out.extend_from_slice(&claim.provider);
            out.push(b',');
            out.extend_from_slice(&claim.procedure);
            out.push(b',');
        }
        Dirt::MissingProviderId | Dirt::MissingProcedureCode => {
            let none = kind == Dirt::MissingProviderId;
            write_claim_id(claim, out);
            out.push(b',');
            write_patient(claim, out);
            out.push(b',');
            out.extend_from_slice(if none { &[] } else { &claim.provider });
            out.push(b',');
            out.extend_from_slice(if none { &claim.procedure } else { &[] });
            out.push(b',');
        }
        Dirt::UnknownProvider => {
            let count = generator.providers.len() as u64;
            let provider = provider_id(generator.seed, count + random.below(count / 20 + 1));
            write_ids(&Claim { provider, ..*claim }, out);
        }
        _ => write_ids(claim, out),
    }
    match kind {
        Dirt::MissingAmount => read = 0,
        Dirt::UnparseableAmount => {
            out.extend_from_slice(random.pick(&UNPARSEABLE).as_bytes());
            read = 0;
        }
        Dirt::AmountOutOfRange => {
            digits(10_000_000_000 + random.below(1_000_000_000), 11, out);
            out.extend_from_slice(b".00");
            read = 0;
        }
        Dirt::ThreeDecimals => {
            let third = 1 + random.below(9);
            write_amount(Amount::Cents(claim.amount.cents()), out);
            out.push(b"0123456789"[usize::try_from(third).unwrap_or(0)]);
            // Rounded half to even, away from zero above the half.
            let cents = claim.amount.cents();
            let up = third > 5 || (third == 5 && cents % 2 != 0);
            // "0.00" has no sign and counts as positive.
            read += match (up, cents < 0) {
                (false, _) => 0,
                (true, true) => -1,
                (true, false) => 1,
            };
        }
        Dirt::AmountNotation => read = write_notation(claim.amount.cents(), random, out),
        _ => write_amount(claim.amount, out),
    }
    out.push(b',');
    match kind {
        Dirt::MissingDate => {}
        Dirt::BadDate => out.extend_from_slice(random.pick(&BAD_DATES).as_bytes()),
        Dirt::OtherDateFormat => write_other_date(claim.day, random, out),
        _ => write_iso(claim.day, out),
    }
    out.push(b'\n');
    read
}

fn write_amount(amount: Amount, out: &mut Vec<u8>) {
    let cents = amount.cents();
    if cents < 0 {
        out.push(b'-');
    }
    let cents = cents.unsigned_abs();
    digits(cents / 100, 1, out);
    match amount {
        Amount::Cents(_) => {
            out.push(b'.');
            digits(cents % 100, 2, out);
        }
        Amount::Tenths(_) => {
            out.push(b'.');
            digits(cents / 10 % 10, 1, out);
        }
        Amount::Whole(_) => {}
    }
}

/// Writes `"$1,234.56"`, `"1,234.56"` or `"(1,234.56)"`; returns the cents, negative for the last.
fn write_notation(cents: i64, random: &mut Random, out: &mut Vec<u8>) -> i128 {
    let cents = cents.unsigned_abs();
    let form = random.below(3);
    out.extend_from_slice([&b"\"$"[..], b"\"", b"\"("][usize::try_from(form).unwrap_or(0)]);
    let dollars = cents / 100;
    if dollars >= 1_000_000 {
        digits(dollars / 1_000_000, 1, out);
        out.push(b',');
        digits(dollars / 1000 % 1000, 3, out);
        out.push(b',');
        digits(dollars % 1000, 3, out);
    } else if dollars >= 1000 {
        digits(dollars / 1000, 1, out);
        out.push(b',');
        digits(dollars % 1000, 3, out);
    } else {
        digits(dollars, 1, out);
    }
    out.push(b'.');
    digits(cents % 100, 2, out);
    out.extend_from_slice(if form == 2 { b")\"" } else { b"\"" });
    if form == 2 { -i128::from(cents) } else { i128::from(cents) }
}

fn write_iso(day: Day, out: &mut Vec<u8>) {
    digits(u64::from(day.year), 4, out);
    out.push(b'-');
    digits(u64::from(day.month), 2, out);
    out.push(b'-');
    digits(u64::from(day.day), 2, out);
}

fn write_other_date(day: Day, random: &mut Random, out: &mut Vec<u8>) {
    match random.below(3) {
        0 => {
            digits(u64::from(day.year), 4, out);
            digits(u64::from(day.month), 2, out);
            digits(u64::from(day.day), 2, out);
        }
        1 => {
            digits(u64::from(day.month), 2, out);
            out.push(b'/');
            digits(u64::from(day.day), 2, out);
            out.push(b'/');
            digits(u64::from(day.year), 4, out);
        }
        _ => {
            write_iso(day, out);
            out.extend_from_slice(b"T09:30:00Z");
        }
    }
}

/// Writes `number` in decimal, zero-padded to `width`.
fn digits(number: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = [b'0'; 20];
    let mut slot = buffer.len();
    let mut rest = number;
    while rest > 0 {
        slot -= 1;
        buffer[slot] = b"0123456789"[usize::try_from(rest % 10).unwrap_or(0)];
        rest /= 10;
    }
    out.extend_from_slice(&buffer[slot.min(buffer.len() - width)..]);
}
