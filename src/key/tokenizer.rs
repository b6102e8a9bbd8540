//! Converts identifiers to tokens, in batches.
//!
//! `token = first 128 bits of BLAKE3 keyed_hash(subkey, padded(canonical(identifier)))`. `canonical`
//! is the form of [`crate::identifier`] (a blank has no token; names, specialties and locations are
//! only trimmed and NFC). `padded` appends the byte 0x80 and zero bytes up to a multiple of 64
//! (ISO/IEC 7816-4, so distinct identifiers have distinct padded forms). An identifier of up to 63
//! bytes becomes one full block, and BLAKE3 hashes up to sixteen full blocks in parallel in the
//! lanes of a vector register, in a fifth of the sequential time.
//!
//! If the key is a chain, each further key replaces a token by `first 128 bits of
//! keyed_hash(link, padded(token))`.

use blake3::IncrementCounter;
use blake3::platform::{Platform, words_from_le_bytes_32};
use secrecy::{ExposeSecret, SecretBox};

use super::domain::Form;

pub const TOKEN_BYTES: usize = 16;

/// A 128-bit pseudonym, stored as a Postgres `uuid`.
pub type Token = [u8; TOKEN_BYTES];

/// Bytes of a BLAKE3 block.
const BLOCK_BYTES: usize = blake3::BLOCK_LEN;
/// First byte of the padding.
const PAD: u8 = 0x80;
/// Identifiers hashed at once: BLAKE3's maximum number of lanes.
const LANES: usize = 16;
/// BLAKE3's domain flags (section 2.2 of its specification).
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;
const KEYED_HASH: u8 = 1 << 4;

/// Creates the tokens of one domain.
pub struct Tokenizer {
    form: Form,
    subkey: Subkey,
    /// Subkeys of further keys of a chain, each of which hashes the tokens again.
    links: Vec<Subkey>,
}

type Subkey = SecretBox<[u8; 32]>;

impl Tokenizer {
    pub(super) fn new(
        form: Form,
        subkey: [u8; 32],
        links: impl IntoIterator<Item = [u8; 32]>,
    ) -> Self {
        let keep = |subkey| SecretBox::new(Box::new(subkey));
        Self { form, subkey: keep(subkey), links: links.into_iter().map(keep).collect() }
    }

    /// The token of an identifier; `None` for a blank one.
    #[must_use]
    pub fn token(&self, identifier: &str) -> Option<Token> {
        let canonical = (self.form)(identifier);
        if canonical.is_empty() { None } else { Some(self.token_of_bytes(canonical.as_bytes())) }
    }

    /// The token of bytes already in canonical form.
    #[must_use]
    pub(crate) fn token_of_bytes(&self, bytes: &[u8]) -> Token {
        let token = hash(&self.subkey, bytes);
        self.links.iter().fold(token, |token, link| hash(link, &token))
    }

    /// Appends the tokens of identifiers in canonical form to `tokens`, in order.
    pub(crate) fn tokens_of<'a>(
        &self,
        identifiers: impl Iterator<Item = &'a [u8]>,
        tokens: &mut Vec<Token>,
    ) {
        let start = tokens.len();
        hash_all(&self.subkey, identifiers, tokens);
        for link in &self.links {
            let inner = tokens.split_off(start);
            hash_all(link, inner.iter().map(Token::as_slice), tokens);
        }
    }
}

fn hash(subkey: &Subkey, bytes: &[u8]) -> Token {
    let mut padded = bytes.to_vec();
    padded.push(PAD);
    padded.resize(padded.len().next_multiple_of(BLOCK_BYTES), 0);
    first_half(blake3::keyed_hash(subkey.expose_secret(), &padded).as_bytes())
}

/// Appends the keyed hashes of many inputs.
fn hash_all<'a>(
    subkey: &Subkey,
    identifiers: impl Iterator<Item = &'a [u8]>,
    tokens: &mut Vec<Token>,
) {
    let key = words_from_le_bytes_32(subkey.expose_secret());
    let platform = Platform::detect();
    let mut blocks = [[0; BLOCK_BYTES]; LANES];
    let mut filled = 0;
    let flush = |blocks: &[[u8; BLOCK_BYTES]], tokens: &mut Vec<Token>| {
        let mut inputs = [&[0; BLOCK_BYTES]; LANES];
        for (input, block) in inputs.iter_mut().zip(blocks) {
            *input = block;
        }
        let mut out = [0; LANES * blake3::OUT_LEN];
        platform.hash_many(
            &inputs[..blocks.len()],
            &key,
            0,
            IncrementCounter::No,
            KEYED_HASH,
            CHUNK_START,
            CHUNK_END | ROOT,
            &mut out,
        );
        tokens.extend(out.as_chunks().0.iter().take(blocks.len()).map(first_half));
    };
    for identifier in identifiers {
        if identifier.len() >= BLOCK_BYTES {
            flush(&blocks[..filled], tokens);
            filled = 0;
            tokens.push(hash(subkey, identifier));
            continue;
        }
        let block = &mut blocks[filled];
        block[..identifier.len()].copy_from_slice(identifier);
        block[identifier.len()] = PAD;
        block[identifier.len() + 1..].fill(0);
        filled += 1;
        if filled == LANES {
            flush(&blocks, tokens);
            filled = 0;
        }
    }
    flush(&blocks[..filled], tokens);
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokenizer([REDACTED])")
    }
}

fn first_half(hash: &[u8; blake3::OUT_LEN]) -> Token {
    let mut token = [0; TOKEN_BYTES];
    token.copy_from_slice(&hash[..TOKEN_BYTES]);
    token
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identifier::canonical;

    const SUBKEY: [u8; 32] = [7; 32];

    #[test]
    fn a_token_is_the_public_keyed_hash_of_the_padded_identifier() {
        let mut padded = b"00016F745862898F\x80".to_vec();
        padded.resize(64, 0);
        let expected = blake3::keyed_hash(&SUBKEY, &padded);
        let token = Tokenizer::new(canonical, SUBKEY, []).token(" =\"00016F745862898F\"\t");
        assert_eq!(token.as_ref().map(<[u8; 16]>::as_slice), Some(&expected.as_bytes()[..16]));
    }

    proptest! {
        #[test]
        fn many_at_once_are_one_by_one(lengths in prop::collection::vec(0_usize..200, 0..50)) {
            let tokenizer = Tokenizer::new(canonical, SUBKEY, [[8; 32], [9; 32]]);
            let text = |(index, length): (usize, &usize)| vec![u8::try_from(index).expect("few"); *length];
            let identifiers: Vec<Vec<u8>> = lengths.iter().enumerate().map(text).collect();
            let mut tokens = Vec::new();
            tokenizer.tokens_of(identifiers.iter().map(Vec::as_slice), &mut tokens);
            let one_by_one: Vec<Token> =
                identifiers.iter().map(|id| tokenizer.token_of_bytes(id)).collect();
            prop_assert_eq!(tokens, one_by_one);
        }
    }
}
