//! The canaries: identifiers that are nowhere else, and every spelling by which one would be known.

/// Random signs at the beginning of every canary.
const MARKER: usize = 12;

/// Signs that a marker is made of: letters of both cases and digits, 64 with two twice.
const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AZ";

/// The sources of one audit: canaries of each kind, and a key that must not get out either.
#[derive(Debug)]
pub(super) struct Canaries {
    marker: String,
    key: [u8; 32],
}

/// What a canary stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Claim,
    Patient,
    Provider,
    ProviderName,
    Key,
    /// A marker of which no more is there.
    Some,
}

impl Kind {
    /// The kinds that canaries are made of.
    const MADE: [Self; 4] = [Self::Claim, Self::Patient, Self::Provider, Self::ProviderName];

    /// As a finding names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim id",
            Self::Patient => "patient id",
            Self::Provider => "provider id",
            Self::ProviderName => "provider name",
            Self::Key => "key",
            Self::Some => "identifier of some kind",
        }
    }

    /// They differ in the first letter, so that one is enough.
    fn code(self) -> &'static str {
        match self {
            Self::Claim => "Clm",
            Self::Patient => "Pat",
            Self::Provider => "Vnd",
            Self::ProviderName => "Nam",
            Self::Key | Self::Some => "",
        }
    }
}

/// A text that must not be found.
#[derive(Debug)]
pub(super) struct Needle {
    /// What it is a spelling of.
    pub(super) kind: Kind,
    /// Which spelling it is.
    pub(super) form: String,
    pub(super) bytes: Vec<u8>,
    /// The longer texts that identify the kind, where the bytes are those of all kinds.
    pub(super) kinds: Vec<(Kind, Vec<u8>)>,
}

impl Canaries {
    /// New ones, from the operating system's random numbers.
    pub(super) fn random() -> Self {
        let (mut signs, mut key) = ([0_u8; MARKER], [0_u8; 32]);
        for bytes in [signs.as_mut_slice(), key.as_mut_slice()] {
            getrandom::fill(bytes).expect("random numbers");
        }
        let marker = signs.iter().map(|byte| char::from(SIGNS[usize::from(byte & 63)])).collect();
        Self { marker, key }
    }

    /// A canary.
    pub(super) fn id(&self, kind: Kind, number: u32) -> String {
        format!("{}{}{number:03}", self.marker, kind.code())
    }

    /// A canary as an SQL expression that does not hold it: a statement is seen by many.
    pub(super) fn sql(&self, kind: Kind, number: &str) -> String {
        let (one, other) = self.marker.split_at(MARKER / 2);
        format!("('{one}' || '{other}{}' || {number})", kind.code())
    }

    /// The key as a key file holds it.
    pub(super) fn key(&self) -> String {
        hex(&self.key)
    }

    /// Every spelling of every canary.
    pub(super) fn needles(&self) -> Vec<Needle> {
        let mut needles: Vec<Needle> = Vec::new();
        let mut add = |kind, form: &str, bytes: Vec<u8>, kinds: Vec<(Kind, Vec<u8>)>| {
            if needles.iter().all(|needle| needle.bytes != bytes) {
                needles.push(Needle { kind, form: form.to_owned(), bytes, kinds });
            }
        };
        for (case, cased) in CASES {
            for (form, spell) in SPELLINGS {
                let whole =
                    |kind: Kind| spell(cased(&(self.marker.clone() + kind.code())).as_bytes());
                let kinds = Kind::MADE.map(|kind| (kind, whole(kind))).into();
                let form = format!("{form}{case}");
                add(Kind::Some, &form, spell(cased(&self.marker).as_bytes()), kinds);
            }
        }
        for kind in Kind::MADE {
            let backwards = (self.marker.clone() + kind.code()).bytes().rev().collect();
            add(kind, "text, backwards", backwards, Vec::new());
            // Those that are loaded, and one that is rejected.
            for number in [1, 2, 17] {
                let hash = blake3::hash(self.id(kind, number).as_bytes());
                let half = &hash.as_bytes()[..16];
                for (form, bytes) in spelled(half) {
                    add(kind, &format!("BLAKE3 without a key, {form}"), bytes, Vec::new());
                }
            }
        }
        for (form, bytes) in spelled(&self.key) {
            add(Kind::Key, &form, bytes, Vec::new());
        }
        needles
    }
}

/// A text in another case.
type Cased = fn(&str) -> String;

/// Bytes written down in another way.
type Spelled = fn(&[u8]) -> Vec<u8>;

/// The cases in which a canary is looked for.
const CASES: [(&str, Cased); 3] = [
    ("", |text| text.to_owned()),
    (", lower case", |text| text.to_ascii_lowercase()),
    (", upper case", |text| text.to_ascii_uppercase()),
];

/// How bytes can be written down.
const SPELLINGS: [(&str, Spelled); 13] = [
    ("text", <[u8]>::to_vec),
    ("hex", |bytes| hex(bytes).into_bytes()),
    ("hex in capitals", |bytes| hex(bytes).to_ascii_uppercase().into_bytes()),
    // Within a longer text it may begin at any place of a group of three.
    ("base64", |bytes| base64(bytes, *b"+/")),
    ("base64, one off", |bytes| base64(&bytes[1..], *b"+/")),
    ("base64, two off", |bytes| base64(&bytes[2..], *b"+/")),
    ("base64url", |bytes| base64(bytes, *b"-_")),
    ("base64url, one off", |bytes| base64(&bytes[1..], *b"-_")),
    ("base64url, two off", |bytes| base64(&bytes[2..], *b"-_")),
    ("UTF-16LE", |bytes| bytes.iter().flat_map(|byte| [*byte, 0]).collect()),
    ("UTF-16BE", |bytes| bytes.iter().flat_map(|byte| [0, *byte]).collect()),
    ("percent-encoded", |bytes| each(bytes, |byte| format!("%{byte:02X}"))),
    ("escaped as in JSON", |bytes| each(bytes, |byte| format!("\\u{byte:04x}"))),
];

/// Bytes that are no text, as they are and written down.
fn spelled(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    SPELLINGS[..9].iter().map(|(form, spell)| ((*form).to_owned(), spell(bytes))).collect()
}

fn each(bytes: &[u8], spell: impl Fn(u8) -> String) -> Vec<u8> {
    bytes.iter().flat_map(|byte| spell(*byte).into_bytes()).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Base64 of whole groups of three bytes: what follows does not change it.
fn base64(bytes: &[u8], last: [u8; 2]) -> Vec<u8> {
    let alphabet: Vec<u8> =
        (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(last).collect();
    bytes
        .chunks_exact(3)
        .flat_map(|group| {
            let bits = group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| alphabet[bits >> shift & 63])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_everybody() {
        assert_eq!(base64(b"any carnal pleas", *b"+/"), b"YW55IGNhcm5hbCBwbGVh");
        assert_eq!(base64(&[0xfb, 0xff, 0xfe], *b"-_"), b"-__-");
    }

    #[test]
    fn the_sql_of_a_canary_does_not_hold_it() {
        let canaries = Canaries::random();
        assert!(!canaries.sql(Kind::Claim, "1").contains(&canaries.marker));
    }

    #[test]
    fn no_needle_is_so_short_that_chance_would_find_it() {
        let needles = Canaries::random().needles();
        for needle in &needles {
            assert!(needle.bytes.len() >= 12, "{}", needle.form);
        }
        assert!(needles.len() > 100, "{}", needles.len());
    }
}
