//! The search: many texts at once in any number of bytes, in bounded memory.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};

use super::canary::{Kind, Needle};

/// Bytes that are looked through at a time.
const CHUNK: usize = 1 << 20;

/// Of so many places one is looked at: the four bytes there show whether they can be part of what is
/// sought, wherever it begins. What is sought must be at least so long, and three bytes more.
const STRIDE: usize = 8;

/// Slots of the table that excludes nearly all bytes that are not sought.
const SLOTS: usize = 1 << 16;

/// What is looked for.
pub(super) struct Search {
    needles: Vec<Needle>,
    /// Which four bytes can be part of something.
    possible: Vec<bool>,
    /// Four bytes to the texts that they are part of, and where in them.
    parts: HashMap<[u8; 4], Vec<(usize, usize)>>,
    /// The longest text that must be seen as a whole.
    longest: usize,
}

/// A spelling of a kind of identifier that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) kind: Kind,
    pub(super) form: String,
    /// Where the first one begins, in bytes.
    pub(super) offset: u64,
    /// How many there are.
    pub(super) times: u64,
}

/// What was found so far: by kind and spelling the first place and the number.
type Found<'a> = BTreeMap<(Kind, &'a str), (u64, u64)>;

impl Search {
    /// A search for these.
    pub(super) fn new(needles: Vec<Needle>) -> Self {
        let lengths = needles.iter().flat_map(|needle| {
            needle.kinds.iter().map(|(_, bytes)| bytes.len()).chain([needle.bytes.len()])
        });
        let longest = lengths.max().unwrap_or(1);
        let mut parts: HashMap<[u8; 4], Vec<(usize, usize)>> = HashMap::new();
        let mut possible = vec![false; SLOTS];
        for (number, needle) in needles.iter().enumerate() {
            for (place, part) in needle.bytes.windows(4).take(STRIDE).enumerate() {
                let part = [part[0], part[1], part[2], part[3]];
                possible[slot(part)] = true;
                parts.entry(part).or_default().push((number, place));
            }
        }
        Self { needles, possible, parts, longest }
    }

    /// Looks through bytes.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Vec<Hit> {
        let mut found = Found::new();
        self.part(bytes, bytes.len(), 0, &mut found);
        hits(found)
    }

    /// Looks through all that can be read; the number of bytes.
    ///
    /// # Errors
    /// When reading fails.
    pub(super) fn reader(&self, mut reader: impl Read) -> io::Result<(u64, Vec<Hit>)> {
        let mut found = Found::new();
        let mut buffer = vec![0; CHUNK + self.longest];
        let (mut held, mut before) = (0, 0);
        loop {
            let read = reader.read(&mut buffer[held..])?;
            held += read;
            if read > 0 && held < buffer.len() {
                continue;
            }
            // What begins in the last few bytes may go on behind them.
            let whole = if read == 0 { held } else { held - self.longest };
            self.part(&buffer[..held], whole, before, &mut found);
            before += whole as u64;
            if read == 0 {
                return Ok((before, hits(found)));
            }
            buffer.copy_within(whole..held, 0);
            held -= whole;
        }
    }

    /// Notes what begins in the first `whole` of some bytes.
    fn part<'a>(&'a self, bytes: &[u8], whole: usize, before: u64, found: &mut Found<'a>) {
        for (index, chunk) in bytes.chunks(STRIDE).enumerate() {
            let &[a, b, c, d, ..] = chunk else { break };
            if !self.possible[slot([a, b, c, d])] {
                continue;
            }
            for (number, inside) in self.parts.get(&[a, b, c, d]).into_iter().flatten() {
                let Some(place) = (index * STRIDE).checked_sub(*inside) else { continue };
                let needle = &self.needles[*number];
                if place >= whole || !bytes[place..].starts_with(&needle.bytes) {
                    continue;
                }
                let kind = needle.kinds.iter().find(|(_, all)| bytes[place..].starts_with(all));
                let kind = kind.map_or(needle.kind, |(kind, _)| *kind);
                let first = (before + place as u64, 0);
                let known = found.entry((kind, needle.form.as_str())).or_insert(first);
                *known = (known.0.min(first.0), known.1 + 1);
            }
        }
    }
}

/// The slot of four bytes.
fn slot(part: [u8; 4]) -> usize {
    (u32::from_le_bytes(part).wrapping_mul(0x9e37_79b1) >> 16) as usize
}

fn hits(found: Found<'_>) -> Vec<Hit> {
    let hit = |((kind, form), (offset, times)): ((Kind, &str), _)| Hit {
        kind,
        form: form.to_owned(),
        offset,
        times,
    };
    found.into_iter().map(hit).collect()
}

#[cfg(test)]
mod tests {
    use super::super::canary::Canaries;
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(70_001);
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn a_canary_is_found_wherever_a_chunk_ends() {
        let canaries = Canaries::random();
        let search = Search::new(canaries.needles());
        let id = canaries.id(Kind::Patient, 7);
        for place in (CHUNK - 20..CHUNK + 120).step_by(7) {
            let mut bytes = vec![b'.'; CHUNK * 2];
            bytes[place..place + id.len()].copy_from_slice(id.as_bytes());
            let hit =
                Hit { kind: Kind::Patient, form: "text".into(), offset: place as u64, times: 1 };
            if place % 2 == 0 {
                assert_eq!(search.bytes(&bytes), std::slice::from_ref(&hit));
            }
            let (length, hits) = search.reader(Slow(&bytes)).expect("read");
            assert_eq!((length, hits), (bytes.len() as u64, vec![hit]), "{place}");
        }
    }

    #[test]
    fn every_spelling_is_found_and_named() {
        let canaries = Canaries::random();
        let search = Search::new(canaries.needles());
        for needle in canaries.needles() {
            let hits = search.bytes(&[b"..", needle.bytes.as_slice(), b".."].concat());
            assert!(hits.iter().any(|hit| hit.form == needle.form), "{}", needle.form);
            for (kind, bytes) in &needle.kinds {
                let hits = search.bytes(&[b"....", bytes.as_slice(), b"="].concat());
                assert!(hits.iter().any(|hit| hit.kind == *kind), "{}: {kind:?}", needle.form);
            }
        }
        assert_eq!(search.bytes(b"nothing of it").len(), 0);
    }
}
