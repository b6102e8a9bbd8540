//! The command line as a contract: help, settings, refusals, exit codes. Nothing here needs a
//! warehouse.

use insta::{assert_snapshot, with_settings};

use crate::support::program::{Call, KEY, Program};

const COMMANDS: [&str; 45] = [
    "",
    "run",
    "check",
    "inspect",
    "explain",
    "runs",
    "quarantine",
    "quarantine list",
    "quarantine prune",
    "verify",
    "rules",
    "key",
    "key generate",
    "key id",
    "key check",
    "key rotate",
    "key rotate begin",
    "key rotate map",
    "key rotate chain",
    "key rotate status",
    "key rotate finish",
    "key rotate abort",
    "token",
    "generate",
    "warehouse",
    "warehouse start",
    "warehouse stop",
    "warehouse url",
    "warehouse psql",
    "warehouse migrate",
    "refresh",
    "risk",
    "risk explain",
    "risk rescore",
    "privacy",
    "privacy report",
    "schedule",
    "schedule preview",
    "schedule health",
    "backfill",
    "airflow",
    "airflow dag",
    "config show",
    "presets",
    "completions",
];

#[test]
fn help_of_every_command() {
    let program = Program::new();
    for command in COMMANDS {
        let name = format!("help {command}").trim_end().replace(' ', "_");
        with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
            assert_snapshot!(name, program.call(&format!("{command} --help")).done());
        });
    }
}

#[test]
fn the_version_is_printed() {
    let version = Program::new().call("--version").done();
    assert_eq!(version, format!("claims-etl {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn usage_errors_exit_with_2() {
    let program = Program::new();
    for arguments in [
        "",
        "load",
        "run --no-such-option",
        "run --mode upsert",
        "run --connections many",
        "token",
        "token --domain patient 12345",
        "runs --quiet --verbose",
        "warehouse",
    ] {
        let (code, message) = program.call(arguments).refused();
        assert_eq!(code, 2, "{arguments}: {message}");
        assert!(!message.contains("12345"), "{message}");
        assert!(message.contains("Usage:") || message.contains("--help"), "{arguments}: {message}");
    }
}

#[test]
fn config_show_prints_the_defaults() {
    with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        assert_snapshot!("config_show", Program::new().call("config show").done());
    });
}

#[test]
fn options_win_over_variables_over_the_file_over_defaults() {
    let program = Program::new();
    program.write("claims-etl.toml", "[run]\nretries = 5\nretry_delay_secs = 5\ndata_dir = \"d\"");
    let mut command = program.command("config show --format json --retries 7");
    command.env("CLAIMS_ETL_RETRIES", "6").env("CLAIMS_ETL_RETRY_DELAY_SECS", "6");
    let run = &Call::of(&mut command).json()["run"];
    assert_eq!((&run["retries"], &run["retry_delay_secs"]), (&7.into(), &6.into()));
    assert_eq!((&run["data_dir"], &run["already_loaded_exit_code"]), (&"d".into(), &0.into()));
}

#[test]
fn several_sources_may_follow_one_option() {
    let program = Program::new();
    let shown = program.call("config show --format json --claims a.csv b.csv --claims c.csv");
    assert_eq!(shown.json()["claims"]["sources"], serde_json::json!(["a.csv", "b.csv", "c.csv"]));
}

#[test]
fn secrets_are_never_shown() {
    let program = Program::new();
    let mut command = program.command("config show");
    command.env("DATABASE_URL", "postgres://me:hunter2@db/x").env("CLAIMS_ETL_KEY", KEY);
    command
        .env("CLAIMS_ETL_CLAIMS", "postgres://me:hunter2@db/claims")
        .env("PGPASSWORD", "hunter2");
    let shown = Call::of(&mut command).done();
    assert!(!shown.contains("hunter2") && !shown.contains(KEY), "{shown}");
    assert!(shown.contains("url = \"[REDACTED]\""), "{shown}");
    let mut help = program.command("run --help");
    let help = Call::of(help.env("CLAIMS_ETL_WAREHOUSE", "postgres://me:hunter2@db/x")).done();
    assert!(!help.contains("hunter2"), "{help}");
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() {
    let program = Program::new();
    program.write("claims-etl.toml", "[warehouse]\nurll = \"postgres://me:hunter2@db/x\"\n");
    let (code, message) = program.call("runs").refused();
    assert_eq!(code, 2);
    assert!(!message.contains("hunter2"), "{message}");
    assert_snapshot!(message, @"
error: configuration file claims-etl.toml, line 2: unknown field `urll`, expected one of `url`, `password_file`, `mode`, `on_duplicate`, `on_provider_conflict`, `connections`, `batch_rows`
  hint: `claims-etl config show` lists all keys
");
    let (code, message) = program.call("runs --config missing.toml").refused();
    assert_eq!(code, 2);
    assert_snapshot!(message, @"error: configuration file: missing.toml: no such file or directory");
    program.write("claims-etl.toml", "");
    let (code, message) = program.call("config show --max-reject-ratio 20").refused();
    assert_eq!(code, 2);
    assert_snapshot!(message, @"error: quality.max_reject_ratio must be from 0 to 1");
}

#[test]
fn a_configuration_file_with_a_password_must_be_private() {
    let program = Program::with_claims();
    let text = std::fs::read_to_string(program.path().join("claims-etl.toml")).expect("settings");
    let login = "postgres://me:hunter2@localhost:1/x";
    program.write("claims-etl.toml", &format!("{text}[warehouse]\nurl = \"{login}\"\n"));
    for arguments in ["run", "check", "config show", "runs", "refresh", "warehouse url"] {
        let (code, message) = program.call(arguments).refused();
        assert_eq!(code, 2, "{arguments}: {message}");
        assert!(message.contains("mode 0644 lets others read it"), "{arguments}: {message}");
        assert!(message.contains("a password in warehouse.url"), "{arguments}: {message}");
        assert!(message.contains("chmod 600 claims-etl.toml"), "{arguments}: {message}");
        assert!(!message.contains("hunter2"), "{arguments}: {message}");
    }
    program.private("claims-etl.toml");
    let shown = program.call("config show").done();
    assert!(shown.contains("url = \"[REDACTED]\"") && !shown.contains("hunter2"), "{shown}");
    // Nobody is there, but the file is no longer what is wrong.
    assert_eq!(program.call("runs").code, Some(5));
}

#[test]
fn a_run_with_refused_settings_still_ends_with_a_json_line() {
    let program = Program::new();
    let call = program.call("run --format json --connections 0");
    assert_eq!(call.code, Some(2));
    assert_eq!(call.stdout.lines().count(), 1);
    let report = call.json();
    assert_eq!(report["status"], "failed");
    assert_eq!(report["error"]["kind"], "config");
    let message = "warehouse.connections must be from 1 to 64";
    assert_eq!(report["error"]["message"], message);
    assert_eq!(report["claims"]["read"], 0);
    assert_eq!(report["amount"]["read"], "0.00");
    assert!(call.stderr.contains(message), "{}", call.stderr);
}

#[test]
fn messages_can_be_json_lines() {
    let program = Program::new();
    let (code, message) = program.call("runs --log-format json --config missing.toml").refused();
    assert_eq!(code, 2);
    let line: serde_json::Value = serde_json::from_str(message.trim()).expect("one JSON line");
    assert_eq!((&line["level"], &line["kind"]), (&"ERROR".into(), &"config".into()));
    assert_eq!(line["message"], "configuration file: missing.toml: no such file or directory");
}

#[test]
fn a_key_is_made_once_and_named() {
    let program = Program::new();
    let made = program.call("key generate").done();
    assert_eq!(made.trim().len(), 16);
    assert!(program.path().join("data/claims-etl.key").exists());
    assert_eq!(program.call("key id").done(), made);
    let (code, message) = program.call("key generate").refused();
    assert_eq!(code, 2);
    assert!(message.contains("a key is never overwritten"), "{message}");
    assert_eq!(program.call("key id").done(), made, "the key is untouched");
}

#[test]
fn without_a_key_there_is_no_token() {
    let (code, message) = Program::new().call("token --domain patient").refused();
    assert_eq!(code, 2);
    assert_snapshot!(message, @"
error: key file: data/claims-etl.key: no such file or directory
  hint: `claims-etl key generate` makes one; keep it: tokens of another key do not match
");
}

#[test]
fn tokens_come_from_standard_input() {
    let tokens = |domain: &str, identifiers: &str| {
        let program = Program::new();
        let mut command = program.command(&format!("token --domain {domain}"));
        Call::of(command.env("CLAIMS_ETL_KEY", KEY).write_stdin(identifiers)).done()
    };
    let patients = tokens("patient", "00016F745862898F\n\n 00016F745862898F\r\n");
    let lines: Vec<_> = patients.lines().collect();
    assert_eq!((lines.len(), lines[1], lines[0]), (3, "", lines[2]));
    assert_eq!(lines[0].len(), 36);
    assert!(!patients.contains("00016F745862898F"));
    assert_ne!(tokens("claim", "00016F745862898F").trim(), lines[0]);
    assert_snapshot!(lines[0], @"aadbc296-cccc-fd2e-1105-ef7286cdb097");
}

#[test]
fn generated_files_are_named_and_repeatable() {
    let generate = |seed: u32| {
        let program = Program::new();
        let arguments = format!("generate --claims 50 --providers 5 --seed {seed} --out made");
        let named = program.call(&arguments).done();
        let read = |name: &str| std::fs::read(program.path().join(name)).expect(name);
        named.lines().map(|name| (name.to_owned(), read(name))).collect::<Vec<_>>()
    };
    let first = generate(1);
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|(name, _)| name.starts_with("made/")));
    assert!(generate(1) == first, "the same seed");
    assert!(generate(2) != first, "another seed");
    let (code, message) = Program::new().call("generate --dirty 2").refused();
    assert_eq!((code, message.as_str()), (2, "error: --dirty must be from 0 to 1\n"));
}

#[test]
fn completions_are_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = Program::new().call(&format!("completions {shell}")).done();
        assert!(script.contains("quarantine"), "{shell}");
    }
}

#[test]
fn a_reader_may_leave_early() {
    let program = Program::new();
    let script =
        format!("'{}' completions zsh | head -c 1; echo ${{PIPESTATUS[0]}}", Program::BINARY);
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(program.path())
        .output()
        .expect("bash");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "#0\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
