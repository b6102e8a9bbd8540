//! Keys from files, variables and descriptors; which are refused; whose the warehouse is; and the
//! known answers of the documentation.

use std::fs::{self, File};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use claims_etl::config::Settings;
use claims_etl::error::Error;
use claims_etl::key::{Domain, MasterKey};
use claims_etl::secret::value::Secret;
use uuid::Uuid;

use crate::support::process::{self, KEY, OTHER_KEY};
use crate::support::program::Program;
use crate::support::test_env::{TestEnv, succeeded};

const CLAIM: &str = "C1,P1,V1,99213,10.00,2024-01-01";

// --- Known answers ---------------------------------------------------------------------------

/// The rows of the tables of known answers: what, of which text, and the answer.
fn known_answers() -> Vec<[String; 3]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/keys.md");
    let text = fs::read_to_string(path).expect("the documentation");
    let cells = |line: &str| -> Option<[String; 3]> {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        let [_, what, of, answer, _] = cells.as_slice() else { return None };
        let code = |cell: &String| Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned());
        Some([what.clone(), code(of)?, code(answer)?])
    };
    let (_, answers) = text.split_once("## Known answers").expect("the last chapter");
    answers.lines().filter_map(cells).collect()
}

fn domain(name: &str) -> Option<(Domain, &'static str, &'static str)> {
    Some(match name {
        "claim" => {
            let chain = "claims-etl 2026-11-23 claim chain v1";
            (Domain::Claim, "claims-etl 2026-11-22 claim token v2", chain)
        }
        "patient" => {
            let chain = "claims-etl 2026-11-23 patient chain v1";
            (Domain::Patient, "claims-etl 2026-11-22 patient token v2", chain)
        }
        "provider" => {
            let chain = "claims-etl 2026-11-23 provider chain v1";
            (Domain::Provider, "claims-etl 2026-11-22 provider token v2", chain)
        }
        "record" => {
            let chain = "claims-etl 2026-11-23 record chain v1";
            (Domain::Record, "claims-etl 2026-11-22 record token v2", chain)
        }
        "provider name" => {
            let chain = "claims-etl 2026-11-23 provider name chain v1";
            (Domain::ProviderName, "claims-etl 2026-11-23 provider name token v1", chain)
        }
        "specialty" => {
            let chain = "claims-etl 2026-11-23 specialty chain v1";
            (Domain::Specialty, "claims-etl 2026-11-23 specialty token v1", chain)
        }
        "location" => {
            let chain = "claims-etl 2026-11-23 location chain v1";
            (Domain::Location, "claims-etl 2026-11-23 location token v1", chain)
        }
        "date shift" => {
            let chain = "claims-etl 2026-11-23 date shift chain v1";
            (Domain::DateShift, "claims-etl 2026-11-23 date shift v1", chain)
        }
        _ => return None,
    })
}

/// The answer by BLAKE3's public functions and the words of the documentation alone.
fn by_the_book(what: &str, text: &str, keys: &[Vec<u8>]) -> String {
    let all = keys.concat();
    match what {
        "id" => {
            let context = match keys.len() {
                1 => "claims-etl 2026-11-22 key id v2",
                _ => "claims-etl 2026-11-23 chain id v1",
            };
            return blake3::Hash::from_bytes(blake3::derive_key(context, &all)).to_hex()[..16]
                .into();
        }
        "check value" => {
            return uuid(&blake3::derive_key("claims-etl 2026-11-23 key check v1", &all));
        }
        _ => {}
    }
    let (_, first, further) = domain(what).expect("a domain");
    let padded = |bytes: &[u8]| {
        let mut padded = bytes.to_vec();
        padded.push(0x80);
        while !padded.len().is_multiple_of(64) {
            padded.push(0);
        }
        padded
    };
    let token = |context: &str, key: &[u8], bytes: &[u8]| {
        let subkey = blake3::derive_key(context, key);
        *blake3::keyed_hash(&subkey, &padded(bytes)).as_bytes()
    };
    // As much of the canonical form as the answers need.
    let text = text.trim();
    let text = text.strip_prefix("=\"").and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let text = text.strip_suffix(".0").unwrap_or(text);
    let mut answer = token(first, &keys[0], text.as_bytes());
    for key in &keys[1..] {
        answer = token(further, key, &answer[..16]);
    }
    uuid(&answer)
}

fn uuid(bytes: &[u8; 32]) -> String {
    let mut half = [0; 16];
    half.copy_from_slice(&bytes[..16]);
    Uuid::from_bytes(half).to_string()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16).expect("a digit")).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("a byte")).collect()
}

#[test]
fn the_known_answers_of_the_documentation_are_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let answers = known_answers();
    let (mut chain, mut key) = (Vec::new(), None);
    let (mut wrong, mut domains) = (Vec::new(), std::collections::BTreeSet::new());
    for [what, of, answer] in &answers {
        if what == "key" || what == "further key" {
            if what == "key" {
                chain.clear();
            }
            chain.push(answer.clone());
            let path = private(folder.path(), &format!("{}.key", chain.len()), &chain.join("\n"));
            key = Some(MasterKey::load(&path).expect("the published key"));
            continue;
        }
        let key = key.as_ref().expect("the key stands before its answers");
        let made = match what.as_str() {
            "id" => key.id(),
            "check value" => Uuid::from_bytes(key.check_value().bytes()).to_string(),
            name => {
                let (domain, ..) = domain(name).expect("a domain");
                let token = key.tokenizer(domain).token(of).expect("not blank");
                Uuid::from_bytes(token).to_string()
            }
        };
        let keys: Vec<Vec<u8>> = chain.iter().map(|key| bytes(key)).collect();
        let book = by_the_book(what, of, &keys);
        domains.insert((chain.len(), what.as_str()));
        if made != *answer || book != *answer {
            wrong.push(format!("| {what} | `{of}` | `{made}` | by the book {book}, not {answer}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let of_one = domains.iter().filter(|(links, _)| *links == 1).count();
    assert_eq!((of_one, domains.len() - of_one), (10, 10), "every domain, id and check value");
}

// --- Where keys come from --------------------------------------------------------------------

fn private(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    path
}

/// A command with what a shell opens for it.
fn opened(program: &Program, arguments: &str, redirection: &str) -> (i32, String) {
    let mut command = Command::new("sh");
    let line = format!("exec {} {arguments} {redirection}", Program::BINARY);
    let output = command.args(["-c", &line]).env_clear().current_dir(program.path()).output();
    let output = output.expect("a shell");
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&printed).trim().to_owned())
}

fn id_of(text: &str) -> String {
    let mut settings = Settings::default();
    settings.privacy.key = Some(Secret::new(text));
    MasterKey::resolve(&settings.key_source()).expect("a key").id()
}

#[test]
fn a_descriptor_holds_a_key_and_what_is_none_is_refused() {
    let program = Program::new();
    private(program.path(), "key", KEY);
    private(program.path(), "long", &KEY.repeat(4));
    let id = id_of(KEY);
    let call = |redirection: &str| opened(&program, "key id --key-fd 3", redirection);
    assert_eq!(call("3< key"), (0, id.clone()));
    let from_pipe = format!("cat key | {} key id --key-fd 3 3<&0", Program::BINARY);
    let output = Command::new("sh").args(["-c", &from_pipe]).current_dir(program.path()).output();
    assert_eq!(String::from_utf8_lossy(&output.expect("a shell").stdout).trim(), id);
    for (redirection, why) in [
        ("3<&-", "it is not open"),
        ("3< long", "more than 200 bytes"),
        ("3< /dev/null", "there is nothing"),
    ] {
        let (code, printed) = call(redirection);
        assert!(
            code == 2 && printed.contains(why) && !printed.contains(KEY),
            "{redirection}: {printed}"
        );
    }
    fs::set_permissions(program.path().join("key"), fs::Permissions::from_mode(0o644))
        .expect("chmod");
    assert!(call("3< key").1.contains("lets others read"));
    for standard in 0..3 {
        let (code, printed) = opened(&program, &format!("key id --key-fd {standard}"), "0< key");
        assert!(code == 2 && printed.contains("what the program talks through"), "{printed}");
    }
}

#[test]
fn a_descriptor_is_read_once_closed_and_serves_the_whole_process() {
    let mut env = TestEnv::new().claims(&[CLAIM]);
    let path = private(env.folder.path(), "fd.key", KEY);
    let number = File::open(&path).expect("opened").into_raw_fd();
    fs::remove_file(path).expect("removed");
    env.settings.privacy.key_fd = Some(number);
    assert_eq!(MasterKey::resolve(&env.settings.key_source()).expect("a key").id(), id_of(KEY));
    assert!(!Path::new(&format!("/dev/fd/{number}")).exists(), "no child gets it");
    succeeded(&env.run());
    env = env.claims(&[CLAIM, "C2,P1,V1,99213,10.00,2024-01-01"]);
    succeeded(&env.run());
    let patients = "SELECT count(DISTINCT patient_token) FROM healthcare_analytics.claims_fact";
    assert_eq!(env.rows(patients), ["1"]);
}

#[test]
fn what_cannot_be_a_random_key_is_refused_wherever_it_comes_from() {
    let program = Program::new();
    let text: String = "correct horse battery staple ok!"
        .bytes()
        .fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
    for (key, why) in [
        ("00".repeat(32), "all of its bytes are zero"),
        ("0123456789abcdef".repeat(4), "its bytes repeat themselves"),
        (text, "its bytes are a text"),
        ("correct horse battery staple".into(), "64 hex digits"),
    ] {
        private(program.path(), "weak", &key);
        let calls = [
            opened(&program, "key id --key-file weak", ""),
            opened(&program, "key id --key-fd 4", "4< weak"),
        ];
        let mut command = program.command("key id");
        let (code, message) =
            crate::support::program::Call::of(command.env("CLAIMS_ETL_KEY", &key)).refused();
        for (code, printed) in calls.into_iter().chain([(code, message)]) {
            assert!(code == 2 && printed.contains(why), "{printed}");
            assert!(!printed.contains(&key) && !printed.contains("horse"), "{printed}");
        }
    }
}

#[test]
fn a_chain_is_made_over_a_key_file() {
    let program = Program::new();
    private(program.path(), "old", KEY);
    let (code, id) = opened(&program, "key generate --quiet --over old --key-file new", "");
    assert_eq!(code, 0, "{id}");
    let text = fs::read_to_string(program.path().join("new")).expect("the chain");
    assert!(text.starts_with(KEY) && text.lines().count() == 2, "the old key comes first");
    assert_eq!(id, id_of(&text));
    let mode = fs::metadata(program.path().join("new")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

// --- Whose the warehouse is ------------------------------------------------------------------

fn message(report: &claims_etl::pipeline::RunReport) -> String {
    report.error.as_ref().map(|error| error.message.clone()).unwrap_or_default()
}

#[test]
fn a_wrong_key_is_refused_before_a_row_is_read() {
    let mut env = TestEnv::new().claims(&[CLAIM]);
    succeeded(&env.run());
    let id = MasterKey::resolve(&env.settings.key_source()).expect("the key").id();
    env.settings.privacy.key = Some(Secret::new(KEY));
    env.settings.claims.sources = vec!["/nowhere/claims.csv".into()];
    let refused = env.run();
    assert_eq!(refused.exit_code, 2);
    let message = message(&refused);
    assert!(message.contains(&format!("was loaded with key {id}")), "{message}");
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.keys"), ["1"], "nothing is noted of it");
}

#[test]
fn a_key_with_the_right_id_is_compared_by_its_check_value() {
    let env = TestEnv::new().claims(&[CLAIM]);
    succeeded(&env.run());
    let key = MasterKey::resolve(&env.settings.key_source()).expect("the key");
    let value = Uuid::from_bytes(key.check_value().bytes()).to_string();
    assert_eq!(env.rows("SELECT check_value FROM claims_etl.keys").concat(), value);
    env.database
        .connect()
        .batch_execute("UPDATE claims_etl.keys SET check_value = gen_random_uuid()")
        .expect("updated");
    let refused = env.run();
    assert_eq!(refused.exit_code, 2);
    assert!(message(&refused).contains("but it is another one"), "{}", message(&refused));

    // A warehouse of an earlier version learns the value from the next run with its key.
    env.database.connect().batch_execute("DELETE FROM claims_etl.keys").expect("deleted");
    let env = env.claims(&["C2,P1,V1,99213,10.00,2024-01-01"]);
    succeeded(&env.run());
    let first =
        "SELECT check_value || ' ' || (first_used = (SELECT min(started_at) FROM claims_etl.runs))
         FROM claims_etl.keys";
    assert_eq!(env.rows(first), [format!("{value} true")]);
}

#[test]
fn check_says_whose_key_it_is() {
    let env = TestEnv::new().claims(&[CLAIM]);
    private(env.folder.path(), "right.key", KEY);
    private(env.folder.path(), "wrong.key", OTHER_KEY);
    let check = |file: &str, format: &str| {
        let mut command = process::command(&env);
        command.env_remove("CLAIMS_ETL_KEY").args(["key", "check", "--format", format]);
        let output = process::output(command.args(["--key-file", file]));
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert!(check("right.key", "text").1.contains("nothing is published there yet"));
    let loaded = process::output(&mut process::reading(&env, &["run"]));
    assert!(loaded.status.success());
    let (code, printed) = check("right.key", "text");
    assert_eq!(code, Some(0));
    let owner = nix::unistd::geteuid();
    for part in
        [id_of(KEY), format!("right.key (mode 0600, owner {owner})"), "are of this key".into()]
    {
        assert!(printed.contains(&part), "{printed}");
    }
    assert!(printed.lines().count() <= 5, "{printed}");
    let (code, printed) = check("wrong.key", "text");
    assert!(
        code == Some(2) && printed.contains(&format!("was loaded with key {}", id_of(KEY))),
        "{printed}"
    );
    let (code, printed) = check("wrong.key", "json");
    let json: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((code, json["belongs"].as_str()), (Some(2), Some("no")));
    assert_eq!(json["key_id"], serde_json::json!(id_of(OTHER_KEY)));
    assert!(!printed.contains(OTHER_KEY) && !printed.contains(KEY));
}

#[test]
fn an_open_key_file_is_an_error_that_says_what_to_do() {
    let mut settings = Settings::default();
    let folder = tempfile::tempdir().expect("a folder");
    let path = private(folder.path(), "key", KEY);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
    settings.privacy.key_file = Some(path);
    let error: Error = MasterKey::resolve(&settings.key_source()).expect_err("others can read it");
    assert!(error.message().contains("0640"), "{error}");
    assert!(error.way_out().is_some_and(|hint| hint.contains("chmod 600")));
}
