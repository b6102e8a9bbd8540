//! The master key: reading, writing and derivation of subkeys.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox};

use super::check_value::CheckValue;
use super::domain::Domain;
use super::material::{self, KEY_BYTES, MAX_KEYS, Material};
use super::source::{self, KeyPlace, KeySource};
use super::tokenizer::Tokenizer;
use crate::error::{Error, ErrorKind, Result};

/// 32 random bytes from which all subkeys are derived, or a chain of such keys, oldest first. Wiped
/// from memory on drop.
pub struct MasterKey(Vec<Material>);

impl MasterKey {
    /// Reads the key.
    ///
    /// # Errors
    /// `Config` when there is no key, the file is readable by others, or its content is not 32
    /// bytes in hex. There is no fallback to an unkeyed hash.
    pub fn resolve(source: &KeySource) -> Result<Self> {
        Self::find(source).map(|(key, _)| key)
    }

    /// Reads the key and returns its location.
    ///
    /// # Errors
    /// As [`MasterKey::resolve`].
    pub(crate) fn find(source: &KeySource) -> Result<(Self, KeyPlace)> {
        let (chain, place) = source::read(source)?;
        Ok((Self(chain), place))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// As [`MasterKey::resolve`].
    pub fn load(path: &Path) -> Result<Self> {
        source::file(path).map(|(chain, _)| Self(chain))
    }

    /// Creates a random key from the operating system's generator and writes it with mode 0600.
    ///
    /// # Errors
    /// `Config` when the file exists or cannot be written.
    pub fn generate(path: &Path) -> Result<Self> {
        let key = Self::ephemeral()?;
        key.write(path)?;
        Ok(key)
    }

    /// Creates a chain of the key in `inner` and a new key, and writes it with mode 0600.
    ///
    /// # Errors
    /// As [`MasterKey::generate`] and [`MasterKey::load`]; `Config` when the chain would be too
    /// long.
    pub fn extend(inner: &Path, path: &Path) -> Result<Self> {
        let mut chain = Self::load(inner)?;
        if chain.0.len() == MAX_KEYS {
            return Err(Error::config(format!("a chain has {MAX_KEYS} keys at most"))
                .hint("change the key with the source files: docs/keys.md, \"Rotation\""));
        }
        chain.0.extend(Self::ephemeral()?.0);
        chain.write(path)?;
        Ok(chain)
    }

    /// Writes a key to a new file.
    fn write(&self, path: &Path) -> Result<()> {
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
        // Allocated at full size: a growing buffer would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(material::MAX_TEXT));
        for key in &self.0 {
            material::line(key.expose_secret(), &mut text);
        }
        let written = file.write_all(&text).and_then(|()| file.sync_all());
        if written.is_err() {
            // A partial key would block a later attempt, which never overwrites a file.
            let _ = fs::remove_file(path);
        }
        written.map_err(io)
    }

    /// A random key that is not stored.
    ///
    /// # Errors
    /// `Config` when the random generator fails.
    pub fn ephemeral() -> Result<Self> {
        let mut bytes = Box::new([0_u8; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice())
            .map_err(|_| Error::config("the operating system gave no random numbers"))?;
        Ok(Self(vec![SecretBox::new(bytes)]))
    }

    /// Parses 64 hex digits, or one such line per key of a chain.
    #[cfg(test)]
    fn from_text(text: &[u8]) -> Result<Self> {
        material::parse(text).map(Self)
    }

    /// Short public id of the key, stored with every run: 16 hex digits.
    #[must_use]
    pub fn id(&self) -> String {
        let id = match self.0.as_slice() {
            [_] => self.derived("claims-etl 2026-11-22 key id v2"),
            _ => self.derived("claims-etl 2026-11-23 chain id v1"),
        };
        blake3::Hash::from_bytes(id).to_hex()[..16].to_owned()
    }

    /// The check value stored in the warehouse.
    #[must_use]
    pub fn check_value(&self) -> CheckValue {
        let derived = self.derived("claims-etl 2026-11-23 key check v1");
        let mut value = [0; 16];
        value.copy_from_slice(&derived[..16]);
        CheckValue::new(value)
    }

    /// A value derived from all keys of the chain.
    fn derived(&self, context: &str) -> [u8; 32] {
        let mut all = Zeroizing::new(Vec::with_capacity(MAX_KEYS * KEY_BYTES));
        for key in &self.0 {
            all.extend_from_slice(key.expose_secret());
        }
        blake3::derive_key(context, &all)
    }

    /// Number of keys in the chain; 1 for a single key.
    #[must_use]
    pub(crate) fn links(&self) -> usize {
        self.0.len()
    }

    /// The chain without its last key; `None` for a single key.
    #[must_use]
    pub(crate) fn inner(&self) -> Option<Self> {
        let (_, inner) = self.0.split_last().filter(|(_, inner)| !inner.is_empty())?;
        Some(Self(inner.iter().map(|key| SecretBox::new(Box::new(*key.expose_secret()))).collect()))
    }

    /// The tokenizer of a domain.
    #[must_use]
    pub fn tokenizer(&self, domain: Domain) -> Tokenizer {
        let subkey = |context, key: &Material| blake3::derive_key(context, key.expose_secret());
        let (first, further) = (&self.0[0], &self.0[1..]);
        let links = further.iter().map(|key| subkey(domain.chain_context(), key));
        Tokenizer::new(domain.form(), subkey(domain.context(), first), links)
    }

    /// Maps tokens of the chain without its last key to tokens of the full chain; `None` for a
    /// single key.
    #[must_use]
    pub(crate) fn last_link(&self, domain: Domain) -> Option<Tokenizer> {
        let (last, _) = self.0.split_last().filter(|(_, inner)| !inner.is_empty())?;
        let subkey = blake3::derive_key(domain.chain_context(), last.expose_secret());
        Some(Tokenizer::new(domain.form(), subkey, []))
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c0ffee5";
    const NEXT: &str = "c0ffee5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c";

    fn key() -> MasterKey {
        MasterKey::from_text(KEY.as_bytes()).expect("64 hex digits")
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
    fn what_exports_do_to_an_identifier_changes_no_token() {
        for domain in [Domain::Claim, Domain::Patient, Domain::Provider, Domain::DateShift] {
            let tokenizer = key().tokenizer(domain);
            for damaged in ["=\"5001\"", "5001.0", "\u{feff}5001", "5001\u{a0}", "50\u{ad}01"] {
                assert_eq!(tokenizer.token(damaged), tokenizer.token("5001"), "{damaged:?}");
            }
            assert_ne!(tokenizer.token("05001"), tokenizer.token("5001"));
        }
        let name = key().tokenizer(Domain::ProviderName);
        assert_ne!(name.token("5001.0"), name.token("5001"), "a name is no identifier");
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
    fn a_chain_hashes_the_tokens_of_its_inner_key_again() {
        let chain = MasterKey::from_text(format!("{KEY}\n{NEXT}\n").as_bytes()).expect("a chain");
        let inner = chain.inner().expect("a chain has an inner key");
        assert_eq!((inner.id(), inner.check_value()), (key().id(), key().check_value()));
        assert!(key().inner().is_none() && key().last_link(Domain::Claim).is_none());
        assert_ne!(chain.id(), key().id());
        for domain in [Domain::Claim, Domain::Patient, Domain::Provider, Domain::Record] {
            let token = key().tokenizer(domain).token("123").expect("not blank");
            let link = chain.last_link(domain).expect("a link");
            assert_eq!(chain.tokenizer(domain).token("123"), Some(link.token_of_bytes(&token)));
        }
    }

    #[test]
    fn a_chain_file_reads_back_and_has_an_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let first = MasterKey::generate(&path("1")).expect("a key");
        let second = MasterKey::extend(&path("1"), &path("2")).expect("a chain");
        assert_eq!(second.inner().map(|inner| inner.id()), Some(first.id()));
        let third = MasterKey::extend(&path("2"), &path("3")).expect("a chain");
        assert_eq!(MasterKey::load(&path("3")).expect("loads").id(), third.id());
        let fourth = MasterKey::extend(&path("3"), &path("4")).expect_err("too long");
        assert!(fourth.message().contains('3'), "{fourth}");
    }

    #[test]
    fn check_values_are_compared_by_all_their_bits() {
        let value = key().check_value();
        let mut other = value.bytes();
        other[15] ^= 1;
        assert!(value == CheckValue::new(value.bytes()) && value != CheckValue::new(other));
    }

    #[test]
    fn nothing_prints_the_key() {
        assert_eq!(format!("{:?}", key()), "MasterKey([REDACTED])");
        assert_eq!(format!("{:?}", key().tokenizer(Domain::Claim)), "Tokenizer([REDACTED])");
    }
}
