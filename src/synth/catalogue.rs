//! The catalogue of synthetic claims: specialties, places, names, procedures, days.
//!
//! All invented or generic; procedure codes look like HCPCS codes without a meaning.

/// Specialties in directory spelling.
pub(super) const SPECIALTIES: [&str; 25] = [
    "Allergy and Immunology",
    "Anesthesiology",
    "Cardiology",
    "Dermatology",
    "Emergency Medicine",
    "Endocrinology",
    "Family Medicine",
    "Gastroenterology",
    "General Surgery",
    "Geriatric Medicine",
    "Hematology",
    "Infectious Disease",
    "Internal Medicine",
    "Nephrology",
    "Neurology",
    "Obstetrics & Gynecology",
    "Oncology",
    "Ophthalmology",
    "Orthopedic Surgery",
    "Pediatrics",
    "Physical Therapy",
    "Psychiatry",
    "Pulmonology",
    "Radiology",
    "Urology",
];

/// City, state and first ZIP code; some ZIP codes begin with zero.
pub(super) const PLACES: [(&str, &str, u32); 24] = [
    ("Attleboro", "MA", 2703),
    ("Springfield", "MA", 1103),
    ("Providence", "RI", 2903),
    ("Nashua", "NH", 3060),
    ("Portland", "ME", 4101),
    ("Burlington", "VT", 5401),
    ("Hartford", "CT", 6103),
    ("Newark", "NJ", 7102),
    ("Trenton", "NJ", 8608),
    ("Albany", "NY", 12207),
    ("Erie", "PA", 16501),
    ("Richmond", "VA", 23219),
    ("Raleigh", "NC", 27601),
    ("Savannah", "GA", 31401),
    ("Tampa", "FL", 33602),
    ("Mobile", "AL", 36602),
    ("Dayton", "OH", 45402),
    ("Fargo", "ND", 58102),
    ("Peoria", "IL", 61602),
    ("Cañon City", "CO", 81212),
    ("El Paso", "TX", 79901),
    ("Boise", "ID", 83702),
    ("Española", "NM", 87532),
    ("Tacoma", "WA", 98402),
];

/// Family names, some not ASCII.
pub(super) const FAMILY_NAMES: [&str; 32] = [
    "Abbott",
    "Alvarez",
    "Bauer",
    "Brandão",
    "Castillo",
    "Chen",
    "Dvořák",
    "Ellison",
    "Fischer",
    "García",
    "Hakimi",
    "Hughes",
    "Ibrahim",
    "Jensen",
    "Kowalski",
    "Larsen",
    "Łukasik",
    "Müller",
    "Nguyen",
    "Núñez",
    "O'Brien",
    "Okafor",
    "Patel",
    "Quinn",
    "Rossi",
    "Sørensen",
    "Stevens",
    "Tanaka",
    "Underwood",
    "Varga",
    "Whitfield",
    "Zhang",
];

/// Given names, some not ASCII.
pub(super) const GIVEN_NAMES: [&str; 24] = [
    "Amara", "Beatriz", "Carl", "Chloé", "Daniel", "Elena", "Farid", "Grace", "Hugo", "Ines",
    "Jamal", "José", "Kirsten", "Liam", "Maya", "Noah", "Olga", "Priya", "René", "Sofia", "Tomás",
    "Uma", "Victor", "Wen",
];

/// Number of procedure codes.
pub(super) const PROCEDURES: usize = 150;
/// Number of procedures a specialty bills most.
pub(super) const FAVOURITES: usize = 12;

/// Typical amounts in cents.
const MEDIANS: [u64; 10] =
    [2_500, 4_500, 8_000, 11_500, 14_000, 19_500, 28_000, 46_000, 95_000, 240_000];

/// A procedure: code and median amount.
#[derive(Debug, Clone, Copy)]
pub(super) struct Procedure {
    pub(super) code: [u8; 5],
    /// In cents.
    pub(super) median: u64,
}

/// Procedure number `index`: every tenth code begins with zero, every seventh with a letter.
pub(super) fn procedure(index: usize) -> Procedure {
    let number = match index {
        i if i % 10 == 3 => 100 + i * 47,
        i if i % 7 == 2 => 100 + i * 53,
        i => 10_021 + i * 587,
    };
    let mut code = [b'0'; 5];
    let mut rest = number;
    for place in code.iter_mut().rev() {
        *place = b"0123456789"[rest % 10];
        rest /= 10;
    }
    if index % 10 != 3 && index % 7 == 2 {
        code[0] = b"GJAQ"[index % 4];
    }
    Procedure { code, median: MEDIANS[(index * 7) % MEDIANS.len()] + (index as u64) * 37 }
}

/// The procedure ranked `rank` among those a specialty bills most. Neighbouring specialties share
/// half of theirs.
pub(super) fn favourite(specialty: usize, rank: usize) -> usize {
    (specialty * FAVOURITES / 2 + rank) % PROCEDURES
}

/// Days from 2023-01-01, a Sunday, to 2024-12-31.
pub(super) const DAYS: usize = 731;

/// A calendar day.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "a day has a day")]
pub(super) struct Day {
    pub(super) year: u16,
    pub(super) month: u8,
    pub(super) day: u8,
}

/// All days of the two years.
pub(super) fn calendar() -> Vec<Day> {
    let mut days = Vec::with_capacity(DAYS);
    for year in [2023_u16, 2024] {
        let february = if year == 2024 { 29 } else { 28 };
        let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in (1_u8..).zip(months) {
            days.extend((1..=length).map(|day| Day { year, month, day }));
        }
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_some_begin_with_zero() {
        let mut codes: Vec<[u8; 5]> = (0..PROCEDURES).map(|i| procedure(i).code).collect();
        assert!(codes.iter().filter(|code| code[0] == b'0').count() >= 10);
        assert!(codes.iter().filter(|code| code[0].is_ascii_alphabetic()).count() >= 10);
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), PROCEDURES);
    }

    #[test]
    fn the_calendar_covers_both_years() {
        let days = calendar();
        assert_eq!(days.len(), DAYS);
        assert_eq!((days[59].month, days[59].day), (3, 1));
        assert_eq!((days[730].year, days[730].month, days[730].day), (2024, 12, 31));
    }
}
