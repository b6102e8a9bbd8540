//! The synthetic provider directory.

use super::catalogue::{FAMILY_NAMES, GIVEN_NAMES, PLACES, SPECIALTIES};
use super::random::Random;

/// Random stream of the directory; claim blocks use lower numbers.
const STREAM: u64 = u64::MAX - 1;
/// Providers per repeated entry of each kind.
const PER_REPEAT: usize = 500;

#[derive(Debug, Clone, Copy)]
pub(super) struct Provider {
    /// Ten digits with a valid check digit.
    pub(super) id: [u8; 10],
    /// Index into [`SPECIALTIES`].
    pub(super) specialty: usize,
}

/// The directory and its file.
pub(super) struct Directory {
    /// By provider number.
    pub(super) providers: Vec<Provider>,
    /// The CSV file.
    pub(super) bytes: Vec<u8>,
    /// Number of exact repeats.
    pub(super) repeated: u64,
    /// Number of repeats with another specialty.
    pub(super) conflicting: u64,
}

/// Generates a directory of `count` providers, with repeats if `dirty`.
pub(super) fn directory(seed: u64, count: u32, dirty: bool) -> Directory {
    let mut random = Random::new(seed, STREAM);
    let mut bytes = b"provider_id,provider_name,specialty,location\n".to_vec();
    let mut providers = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    for number in 0..u64::from(count) {
        let entry = Entry::draw(seed, number, &mut random);
        entry.write(&mut bytes);
        providers.push(entry.provider);
        entries.push(entry);
    }
    let repeats =
        if dirty && !entries.is_empty() { (entries.len() / PER_REPEAT).max(1) } else { 0 };
    for _ in 0..repeats {
        random.pick(&entries).write(&mut bytes);
        let mut other = random.pick(&entries).clone();
        other.provider.specialty = (other.provider.specialty + 1) % SPECIALTIES.len();
        other.write(&mut bytes);
    }
    Directory { providers, bytes, repeated: repeats as u64, conflicting: repeats as u64 }
}

/// One line of the directory.
#[derive(Clone)]
struct Entry {
    provider: Provider,
    name: String,
    location: String,
}

impl Entry {
    fn draw(seed: u64, number: u64, random: &mut Random) -> Self {
        let specialty = random.index(SPECIALTIES.len());
        let (family, given) = (*random.pick(&FAMILY_NAMES), *random.pick(&GIVEN_NAMES));
        let name = match random.below(10) {
            0..=5 => format!("\"{family}, {given}, MD\""),
            6 | 7 => format!("{family} Medical Group"),
            8 => format!("\"{family}, {} and Partners\"", random.pick(&FAMILY_NAMES)),
            _ => format!("Clínica {family}"),
        };
        let (city, state, zip) = random.pick(&PLACES);
        let zip = u64::from(*zip) + random.below(9);
        let location = format!("\"{city}, {state} {zip:05}\"");
        Self { provider: Provider { id: provider_id(seed, number), specialty }, name, location }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.provider.id);
        for field in [&*self.name, SPECIALTIES[self.provider.specialty], &*self.location] {
            out.push(b',');
            out.extend_from_slice(field.as_bytes());
        }
        out.push(b'\n');
    }
}

/// The id of provider `number`: unique up to 100 million, with the check digit of a National
/// Provider Identifier (Luhn over 80840 and the first nine digits).
pub(super) fn provider_id(seed: u64, number: u64) -> [u8; 10] {
    let scrambled = (number * 37_199_177 + seed % 100_000_000) % 100_000_000;
    let mut id = [b'1'; 10];
    let mut rest = scrambled;
    for place in id[1..9].iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    // The prefix 80840 contributes 24; every second digit from the right is doubled.
    let sum: u32 = id[..9]
        .iter()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
        })
        .sum::<u32>()
        + 24;
    id[9] = b'0' + u8::try_from((10 - sum % 10) % 10).unwrap_or(0);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Standard Luhn check over 80840 and all ten digits.
    fn passes_luhn(id: &[u8]) -> bool {
        let digits: Vec<u32> =
            b"80840".iter().chain(id).map(|digit| u32::from(digit - b'0')).collect();
        let sum: u32 = digits
            .iter()
            .rev()
            .enumerate()
            .map(|(place, digit)| match (place % 2, digit * 2) {
                (0, _) => *digit,
                (_, double) if double > 9 => double - 9,
                (_, double) => double,
            })
            .sum();
        sum.is_multiple_of(10)
    }

    #[test]
    fn ids_are_unique_and_pass_the_check() {
        assert!(passes_luhn(b"1234567893"), "the standard's example");
        let mut ids: Vec<[u8; 10]> = (0..20_000).map(|number| provider_id(42, number)).collect();
        assert!(ids.iter().all(|id| passes_luhn(id)));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 20_000);
    }

    #[test]
    fn names_contain_commas_and_letters_beyond_ascii() {
        let directory = directory(1, 1_000, true);
        let text = String::from_utf8(directory.bytes).expect("UTF-8");
        assert_eq!(text.lines().count(), 1_005);
        assert!(text.contains("\"García, ") && text.contains(", MA 0"));
        assert!(text.lines().all(|line| !line.ends_with(',')));
    }
}
