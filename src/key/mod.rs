//! The master key, and the tokens made with it.
//!
//! A module of its own because nothing else may hold key material: everyone above asks for a
//! [`Tokenizer`] of one domain and never sees the key. A token is a pseudonym, not an
//! anonymisation: who holds the key can recompute it, and equal identifiers stay equal.
//!
//! `subkey(domain) = BLAKE3 derive_key("claims-etl 2026-11-22 <domain> token v2", master key)`.

mod tokenizer;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use secrecy::{ExposeSecret, SecretBox};

pub use tokenizer::{TOKEN_BYTES, Token, Tokenizer, canonical};

use crate::config::{Settings, is_private};
use crate::error::{Error, ErrorKind, Result};

/// What an identifier names. The same text in two domains gives two unrelated tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// A claim id.
    Claim,
    /// A patient id.
    Patient,
    /// A provider id.
    Provider,
    /// The raw fields of a rejected record.
    Record,
}

impl Domain {
    /// The context string of BLAKE3's `derive_key`: fixed for ever, one a domain.
    fn context(self) -> &'static str {
        match self {
            Self::Claim => "claims-etl 2026-11-22 claim token v2",
            Self::Patient => "claims-etl 2026-11-22 patient token v2",
            Self::Provider => "claims-etl 2026-11-22 provider token v2",
            Self::Record => "claims-etl 2026-11-22 record token v2",
        }
    }
}

/// The 32 random bytes from which all subkeys are derived. Wiped from memory on drop.
pub struct MasterKey(SecretBox<[u8; 32]>);

impl MasterKey {
    /// The key that the settings name: the environment's, else the file's.
    ///
    /// # Errors
    /// `Config` when there is no key, the file is readable by others, or its content is not 32
    /// bytes in hex. There is no fallback to an unkeyed hash.
    pub fn resolve(settings: &Settings) -> Result<Self> {
        if let Some(key) = &settings.privacy.key {
            return Self::from_hex(key.expose()).map_err(|e| e.context("CLAIMS_ETL_KEY"));
        }
        Self::load(&settings.key_path())
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// As [`MasterKey::resolve`].
    pub fn load(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|error| {
            Error::io(ErrorKind::Config, path, &error).context("key file").hint(
                "`claims-etl key generate` makes one; keep it: tokens of another key do not match",
            )
        })?;
        if !is_private(&metadata) {
            let mode = metadata.permissions().mode() & 0o777;
            return Err(Error::config(format!(
                "key file {}: mode {mode:04o} lets others read it",
                path.display()
            ))
            .hint(format!("chmod 600 {}", path.display())));
        }
        let text = fs::read_to_string(path)
            .map_err(|error| Error::io(ErrorKind::Config, path, &error).context("key file"))?;
        Self::from_hex(&text).map_err(|e| e.context(format!("key file {}", path.display())))
    }

    /// Makes a new key from the operating system's random numbers and writes it with mode 0600.
    ///
    /// # Errors
    /// `Config` when the file exists already or cannot be written.
    pub fn generate(path: &Path) -> Result<Self> {
        let key = Self::ephemeral()?;
        let io = |error: std::io::Error| {
            let failure = Error::io(ErrorKind::Config, path, &error).context("key file");
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                failure.hint("a key is never overwritten: move the old file away if you mean it")
            } else {
                failure
            }
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io)?;
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        let text = zeroizing_hex(key.0.expose_secret());
        file.write_all(text.expose_secret().as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(io)?;
        Ok(key)
    }

    /// A key from the operating system's random numbers that is kept nowhere.
    ///
    /// # Errors
    /// `Config` when there are no random numbers.
    pub fn ephemeral() -> Result<Self> {
        let mut bytes = Box::new([0_u8; 32]);
        getrandom::fill(bytes.as_mut_slice())
            .map_err(|_| Error::config("the operating system gave no random numbers"))?;
        Ok(Self(SecretBox::new(bytes)))
    }

    /// Takes 64 hex digits.
    fn from_hex(text: &str) -> Result<Self> {
        let digits = text.trim().as_bytes();
        let refused = || {
            Error::config("not a key: 64 hex digits (32 random bytes) are needed")
                .hint("a passphrase would be guessable; `claims-etl key generate` makes a key")
        };
        if digits.len() != 64 {
            return Err(refused());
        }
        let mut bytes = Box::new([0_u8; 32]);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => return Err(refused()),
            }
        }
        Ok(Self(SecretBox::new(bytes)))
    }

    /// A short public name of the key, stored with every run: 16 hex digits.
    #[must_use]
    pub fn id(&self) -> String {
        let id = blake3::derive_key("claims-etl 2026-11-22 key id v2", self.0.expose_secret());
        blake3::Hash::from_bytes(id).to_hex()[..16].to_owned()
    }

    /// The maker of tokens for one domain.
    #[must_use]
    pub fn tokenizer(&self, domain: Domain) -> Tokenizer {
        Tokenizer::new(blake3::derive_key(domain.context(), self.0.expose_secret()))
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey([REDACTED])")
    }
}

/// The key file's content.
fn zeroizing_hex(bytes: &[u8; 32]) -> SecretBox<String> {
    let mut text = String::with_capacity(65);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).expect("four bits are a hex digit"));
        }
    }
    text.push('\n');
    SecretBox::new(Box::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MasterKey {
        MasterKey::from_hex(&"0123456789abcdef".repeat(4)).expect("64 hex digits")
    }

    #[test]
    fn domains_differ_and_blank_has_no_token() {
        let (claim, patient) = (key().tokenizer(Domain::Claim), key().tokenizer(Domain::Patient));
        assert_ne!(claim.token("123"), patient.token("123"));
        assert_eq!(claim.token("  "), None);
        assert_ne!(claim.token("0123"), claim.token("123"), "leading zeros count");
    }

    #[test]
    fn two_spellings_of_one_letter_are_one_identifier() {
        let tokenizer = key().tokenizer(Domain::Provider);
        assert_eq!(tokenizer.token("V\u{ed}ctor"), tokenizer.token("Vi\u{301}ctor"));
    }

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/claims.key");
        let made = MasterKey::generate(&path).expect("a key");
        assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        assert_eq!(MasterKey::load(&path).expect("loads").id(), made.id());
        let again = MasterKey::generate(&path).expect_err("must not overwrite");
        assert_eq!(again.kind(), ErrorKind::Config);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        let open = MasterKey::load(&path).expect_err("others can read it");
        assert!(open.message().contains("0644"), "{open}");
    }

    #[test]
    fn a_passphrase_is_refused_without_being_shown() {
        let error = MasterKey::from_hex("correct horse battery staple").expect_err("no key");
        assert!(!error.to_string().contains("horse"));
        assert!(MasterKey::from_hex(&"zz".repeat(32)).is_err());
    }

    #[test]
    fn nothing_prints_the_key() {
        assert_eq!(format!("{:?}", key()), "MasterKey([REDACTED])");
        assert_eq!(format!("{:?}", key().tokenizer(Domain::Claim)), "Tokenizer([REDACTED])");
    }
}
