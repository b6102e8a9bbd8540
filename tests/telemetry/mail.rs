//! Mail about failures and retries: over a real SMTP conversation, without holding up anything.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use claims_etl::config::{Mail, MailEncryption, Settings};
use claims_etl::pipeline::Status;
use claims_etl::secret::source::SecretSource;
use claims_etl::telemetry::mail;
use claims_etl::telemetry::mail::Mailer;
use tempfile::TempDir;

use crate::support::smtp_server::{Act, Protection, SmtpServer};
use crate::support::test_env::TestEnv;

const USER: &str = "etl";
const PASSWORD: &str = "CANARY-password-4e1b";
const ACCOUNT: Option<(&str, &str)> = Some((USER, PASSWORD));
const RUN: &str = "0192f0c1-0000-7000-8000-000000000001";

/// What a mailer may take in all.
const LIMIT: Duration = Duration::from_secs(20);

/// Settings for a server, and the folder with its certificate authority.
struct House {
    settings: Settings,
    folder: TempDir,
}

impl House {
    fn new(server: &SmtpServer, protection: Protection) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ca_file = folder.path().join("ca.crt");
        fs::write(&ca_file, &server.authority).expect("written");
        let (encryption, ca_file) = match protection {
            Protection::Starttls => (MailEncryption::Starttls, Some(ca_file)),
            Protection::Tls => (MailEncryption::Tls, Some(ca_file)),
            Protection::None => (MailEncryption::None, None),
        };
        let mail = Mail {
            on_failure: true,
            on_retry: true,
            to: vec!["ops@example.org".into(), "data@example.org".into()],
            from: "etl@example.org".into(),
            host: "localhost".into(),
            port: Some(server.port),
            encryption,
            ca_file,
            timeout_secs: 5,
            retry_delays_secs: Vec::new(),
            ..Mail::default()
        };
        Self { settings: Settings { mail, ..Settings::default() }, folder }
    }

    fn with(mut self, change: impl FnOnce(&mut Mail)) -> Self {
        change(&mut self.settings.mail);
        self
    }

    fn with_account(self) -> Self {
        self.with(|mail| {
            mail.username = Some(USER.into());
            mail.password = SecretSource::from_variable("MAIL_PASSWORD", PASSWORD);
        })
    }

    /// Sends the mail of one failure; returns the warnings.
    fn send(&self) -> Vec<String> {
        let mailer = Mailer::new(&self.settings).expect("mail is on");
        mailer.failure(RUN, "warehouse", "load.load_warehouse: the connection was lost", None);
        quiet(mailer.finish(LIMIT))
    }
}

/// Warnings contain no text of the server and no password.
fn quiet(warnings: Vec<String>) -> Vec<String> {
    for warning in &warnings {
        assert!(!warning.contains("CANARY"), "{warning}");
    }
    warnings
}

#[test]
fn a_failure_is_mailed_to_all() {
    for (protection, mechanisms) in [
        (Protection::Starttls, "PLAIN LOGIN"),
        (Protection::Starttls, "LOGIN"),
        (Protection::Tls, "PLAIN"),
    ] {
        let server = SmtpServer::start_with(protection, ACCOUNT, mechanisms, |_, _| None);
        let house = House::new(&server, protection).with_account();
        let mailer = Mailer::new(&house.settings).expect("mail is on");
        let message = "load.load_warehouse: the connection was lost";
        mailer.failure(RUN, "warehouse", message, Some("is the server up?"));
        assert_eq!(quiet(mailer.finish(LIMIT)), [""; 0]);
        let mails = server.mails();
        assert_eq!((mails.len(), server.connections()), (1, 1));
        let mail = &mails[0];
        assert!(mail.signed_in);
        assert_eq!(mail.from, "etl@example.org");
        assert_eq!(mail.to, ["ops@example.org", "data@example.org"]);
        let header = |name| mail.header(name).unwrap_or_default();
        assert_eq!(header("Subject"), "[claims-etl] run failed: load.load_warehouse");
        assert_eq!(header("From"), "etl@example.org");
        assert_eq!(header("To"), "ops@example.org, data@example.org");
        assert_eq!(header("Auto-Submitted"), "auto-generated");
        assert!(header("Content-Type").starts_with("text/plain; charset=utf-8"));
        let id = header("Message-ID");
        assert!(id.starts_with('<') && id.ends_with('>') && id.contains('@'), "{id}");
        let date = chrono::DateTime::parse_from_rfc2822(&header("Date")).expect("a date");
        assert!((chrono::Utc::now() - date.with_timezone(&chrono::Utc)).num_seconds().abs() < 60);
        let wanted = format!(
            "The run failed.\n\nrun    {RUN}\nkind   warehouse\nerror  {message}\n\
             hint   is the server up?\n"
        );
        assert!(mail.body().starts_with(&wanted), "{}", mail.body());
        // Secrets were sent over TLS only; pipelining was not offered and not used.
        for line in server.lines() {
            let open = ["EHLO ", "STARTTLS"].iter().any(|word| line.text.starts_with(word));
            assert!(line.encrypted || open, "{}", line.text);
        }
        assert_eq!(server.count("STARTTLS"), usize::from(protection == Protection::Starttls));
        assert_eq!(server.count("AUTH"), 1);
    }
}

#[test]
fn a_retry_is_mailed_where_that_is_set() {
    let server = SmtpServer::start(Protection::None, None);
    let run = |on_failure, on_retry| {
        let house = House::new(&server, Protection::None)
            .with(|mail| (mail.on_failure, mail.on_retry) = (on_failure, on_retry));
        let mailer = Mailer::new(&house.settings).expect("mail is on");
        let delay = Duration::from_mins(5);
        mailer.retry(RUN, "load.load_warehouse", 1, "the connection was lost", delay);
        mailer.failure(RUN, "warehouse", "load.load_warehouse: lost", None);
        assert_eq!(mailer.finish(LIMIT), [""; 0]);
    };
    run(false, true);
    let subjects = || -> Vec<String> {
        server.mails().iter().filter_map(|mail| mail.header("Subject")).collect()
    };
    let retry = "[claims-etl] retrying: load.load_warehouse".to_owned();
    let failure = "[claims-etl] run failed: load.load_warehouse".to_owned();
    assert_eq!(subjects(), [retry.as_str()]);
    let body = server.mails()[0].body();
    assert!(
        body.contains("Attempt 1 of a task failed; the next attempt starts in 300 s."),
        "{body}"
    );
    run(true, false);
    assert_eq!(subjects(), [retry.as_str(), &failure]);
    run(true, true);
    assert_eq!(subjects(), [retry.as_str(), &failure, &retry, &failure]);
    let ids: std::collections::BTreeSet<_> =
        server.mails().iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!(ids.len(), 4, "each mail has its own id");
}

#[test]
fn it_is_off_by_default() {
    let server = SmtpServer::start(Protection::None, None);
    let house = House::new(&server, Protection::None)
        .with(|mail| (mail.on_failure, mail.on_retry) = (false, false));
    assert!(Mailer::new(&house.settings).is_none());
    assert!(Mailer::new(&Settings::default()).is_none());
    assert_eq!(server.connections(), 0);
}

#[test]
fn nothing_is_sent_over_an_insecure_connection() {
    // Another authority's certificate, and one for another name.
    for protection in [Protection::Starttls, Protection::Tls] {
        let server = SmtpServer::start(protection, ACCOUNT);
        let other = SmtpServer::start(protection, ACCOUNT);
        let stranger = House::new(&other, protection).with_account();
        let stranger = stranger.with(|mail| mail.port = Some(server.port));
        let misnamed = House::new(&server, protection)
            .with_account()
            .with(|mail| mail.host = "127.0.0.1".into());
        for house in [stranger, misnamed] {
            let warnings = house.send();
            assert_eq!(warnings.len(), 1);
            assert!(warnings[0].contains("its certificate must be for this name"), "{warnings:?}");
            assert!(house.folder.path().exists());
        }
        assert_eq!((server.count("AUTH"), server.count("MAIL")), (0, 0));
    }
    // A server without TLS, or an attacker who has removed the offer from its reply.
    let bare = SmtpServer::start(Protection::None, ACCOUNT);
    let warnings = House::new(&bare, Protection::Starttls).with_account().send();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("does not offer STARTTLS"), "{warnings:?}");
    let words: Vec<String> =
        bare.lines().iter().map(|line| line.text.split(' ').next().unwrap_or("").into()).collect();
    assert_eq!(words, ["EHLO", "QUIT"]);
    // Even settings that nobody has checked send no password unencrypted.
    let far = House::new(&bare, Protection::None).with_account();
    let warnings = far.with(|mail| mail.host = "10.255.255.1".into()).send();
    assert!(warnings[0].contains("only sent over TLS"), "{warnings:?}");
    // On this machine it may be.
    let near = House::new(&bare, Protection::None).with_account();
    assert_eq!(near.send(), [""; 0]);
    assert!(bare.mails()[0].signed_in);
}

#[test]
fn a_wrong_password_is_not_tried_again() {
    let server = SmtpServer::start(Protection::Starttls, ACCOUNT);
    let house = House::new(&server, Protection::Starttls).with_account().with(|mail| {
        mail.password = SecretSource::from_variable("MAIL_PASSWORD", "CANARY-wrong");
        mail.retry_delays_secs = vec![0, 0];
    });
    let wanted = "a mail was not sent: signing in: the mail server answered 535 (user or password \
                  is wrong)";
    assert_eq!(house.send(), [wanted]);
    assert_eq!((server.count("AUTH"), server.count("MAIL")), (1, 0));
}

#[test]
fn what_can_pass_is_tried_again_with_the_same_id() {
    // A greylist, a busy server, a connection that breaks off before the mail was taken.
    type Script = fn(&str, usize) -> Option<Act>;
    let scripts: [(&str, Script); 4] = [
        ("greylist", |line, number| {
            (number == 1 && line.starts_with("RCPT"))
                .then_some(Act::Reply("451 4.7.1 CANARY later"))
        }),
        ("busy", |line, number| {
            (number == 1 && line.is_empty()).then_some(Act::Reply("421 CANARY busy"))
        }),
        ("break", |line, number| (number == 1 && line.starts_with("MAIL")).then_some(Act::Drop)),
        ("lost answer", |line, number| (number == 1 && line == ".").then_some(Act::Drop)),
    ];
    for (name, script) in scripts {
        let server = SmtpServer::start_with(Protection::None, None, "", script);
        let house = House::new(&server, Protection::None);
        let house = house.with(|mail| mail.retry_delays_secs = vec![0, 0]);
        assert_eq!(house.send(), [""; 0], "{name}");
        assert_eq!((server.mails().len(), server.connections()), (1, 2), "{name}");
    }
    // It is not tried forever,
    let grey = SmtpServer::start_with(Protection::None, None, "", |line, _| {
        line.starts_with("RCPT").then_some(Act::Reply("451 4.7.1 CANARY later"))
    });
    let house = House::new(&grey, Protection::None);
    let house = house.with(|mail| mail.retry_delays_secs = vec![0, 0]);
    let warnings = house.send();
    assert_eq!((warnings.len(), grey.connections()), (1, 3));
    assert!(warnings[0].contains("no address in mail.to was accepted"), "{warnings:?}");
    assert!(warnings[0].contains("451 (temporary: try again later)"), "{warnings:?}");
    // and at the end of a run at once instead of later.
    let house = house.with(|mail| mail.retry_delays_secs = vec![3600]);
    let began = Instant::now();
    assert_eq!(house.send().len(), 1);
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(grey.connections(), 5);
}

#[test]
fn a_refused_address_does_not_keep_the_others_from_it() {
    let server = SmtpServer::start_with(Protection::None, None, "", |line, _| {
        line.starts_with("RCPT TO:<ops").then_some(Act::Reply("550 5.1.1 CANARY unknown"))
    });
    let house = House::new(&server, Protection::None);
    let house = house.with(|mail| mail.retry_delays_secs = vec![0, 0]);
    assert_eq!(house.send(), ["the mail server refused 1 of the addresses in mail.to"]);
    assert_eq!(server.mails()[0].to, ["data@example.org"]);
    assert_eq!(server.connections(), 1);
    let nobody = SmtpServer::start_with(Protection::None, None, "", |line, _| {
        line.starts_with("RCPT").then_some(Act::Reply("550 5.1.1 CANARY unknown"))
    });
    let house = House::new(&nobody, Protection::None);
    let house = house.with(|mail| mail.retry_delays_secs = vec![0, 0]);
    let warnings = house.send();
    assert!(warnings[0].ends_with("550 (no such address, or not allowed)"), "{warnings:?}");
    assert_eq!((nobody.connections(), nobody.mails().len()), (1, 0));
}

#[test]
fn a_server_that_is_down_or_silent_holds_nothing_up() {
    // Nobody listens on port 1.
    let server = SmtpServer::start(Protection::None, None);
    let down = House::new(&server, Protection::None).with(|mail| mail.port = Some(1));
    let warnings = down.send();
    assert_eq!(warnings, ["a mail was not sent: no connection to the mail server localhost:1"]);

    let silent: [fn(&str) -> bool; 4] = [
        |line| line.is_empty(),
        |line| line.starts_with("EHLO"),
        |line| line.starts_with("DATA"),
        |line| line == ".",
    ];
    for is_silent in silent {
        let server = SmtpServer::start_with(Protection::None, None, "", move |line, _| {
            is_silent(line).then_some(Act::Hang)
        });
        let house = House::new(&server, Protection::None).with(|mail| mail.timeout_secs = 60);
        let mailer = Mailer::new(&house.settings).expect("mail is on");
        let began = Instant::now();
        for _ in 0..100 {
            mailer.failure(RUN, "warehouse", "load.load_warehouse: lost", None);
        }
        assert!(began.elapsed() < Duration::from_secs(5), "the run waited for the mail server");
        let warnings = mailer.finish(Duration::from_millis(300));
        assert!(began.elapsed() < Duration::from_secs(10), "its end waited for the mail server");
        assert!(warnings.iter().any(|one| one.contains("too many were waiting")), "{warnings:?}");
        let last = warnings.last().expect("a warning");
        assert!(last.ends_with("not sent: the mail server was too slow"), "{warnings:?}");
    }
    // Each answer has its time.
    let server = SmtpServer::start_with(Protection::None, None, "", |line, _| {
        line.starts_with("EHLO").then_some(Act::Hang)
    });
    let house = House::new(&server, Protection::None).with(|mail| mail.timeout_secs = 1);
    let warnings = house.send();
    assert!(warnings[0].ends_with("did not answer in time"), "{warnings:?}");
}

#[test]
fn dots_and_letters_of_all_kinds_arrive_as_they_were_sent() {
    let server = SmtpServer::start(Protection::None, None);
    let house = House::new(&server, Protection::None);
    let mailer = Mailer::new(&house.settings).expect("mail is on");
    // Long enough to be wrapped within the dots, where a line then begins with one.
    let message = format!("é {}\n.\nlast", ".".repeat(600));
    mailer.failure(RUN, "source", &message, None);
    assert_eq!(mailer.finish(LIMIT), [""; 0]);
    let mail = &server.mails()[0];
    assert!(mail.stuffed, "{}", mail.text);
    assert!(mail.text.is_ascii());
    assert!(mail.text.split("\r\n").all(|line| line.len() <= 998));
    let body = mail.body();
    assert!(
        body.contains(&format!("error  é {}\n       .\n       last\n", ".".repeat(600))),
        "{body}"
    );
}

#[test]
fn the_errors_of_real_runs_hold_no_identifier() {
    let server = SmtpServer::start(Protection::None, None);
    let house = House::new(&server, Protection::None);
    let rows = [
        "CANARY-CLAIM,CANARY-PATIENT,V1,99213,CANARY-AMOUNT,2024-01-01",
        "CANARY-CLAIM2,CANARY-PATIENT,V1,99213,1.00,CANARY-DATE",
    ];
    let mut env = TestEnv::new().claims(&rows);
    env.settings.quality.max_reject_ratio = 0.0;
    let mut missing = TestEnv::new();
    missing.settings.claims.sources = vec![missing.path("nothing.csv").display().to_string()];
    let kinds: Vec<String> = [&env, &missing]
        .iter()
        .map(|env| {
            let report = env.run();
            assert_eq!(report.status, Status::Failed);
            let error = report.error.expect("an error");
            let mailer = Mailer::new(&house.settings).expect("mail is on");
            let hint = error.hint.as_deref();
            mailer.failure(&report.run_id, error.kind, &error.message, hint);
            assert_eq!(mailer.finish(LIMIT), [""; 0]);
            error.kind.to_owned()
        })
        .collect();
    assert_eq!(kinds, ["quality", "source"]);
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    for mail in &mails {
        assert!(!mail.text.contains("CANARY"), "{}", mail.text);
        assert!(!mail.body().contains("CANARY"), "{}", mail.body());
    }
    assert_eq!(
        mails[1].header("Subject").as_deref(),
        Some("[claims-etl] run failed: extract.extract_claims")
    );
}

#[test]
fn a_check_signs_in_and_sends_nothing() {
    let server = SmtpServer::start(Protection::Starttls, ACCOUNT);
    let house = House::new(&server, Protection::Starttls).with_account();
    let found = mail::check(&house.settings).expect("mail is on").expect("all is well");
    let wanted = format!("localhost:{}, TLS, signed in; no mail was sent", server.port);
    assert_eq!(found, wanted);
    assert_eq!((server.count("AUTH"), server.count("MAIL")), (1, 0));
    let wrong = house.with(|mail| {
        mail.password = SecretSource::from_variable("MAIL_PASSWORD", "CANARY-wrong");
    });
    let error = mail::check(&wrong.settings).expect("mail is on").expect_err("refused");
    assert!(error.message().contains("535") && !error.message().contains("CANARY"), "{error}");
    let lost = wrong.with(|mail| mail.ca_file = Some(PathBuf::from("/nowhere/ca.crt")));
    let error = mail::check(&lost.settings).expect("mail is on").expect_err("no such file");
    assert!(error.message().starts_with("mail.ca_file: "), "{error}");
    assert_eq!(server.mails().len(), 0);
}
