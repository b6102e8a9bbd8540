//! Webhooks: what is posted, how it is signed, and what is sent again.
//!
//! The signatures are checked by an HMAC of the test's own, which is itself checked against the
//! vector that Standard Webhooks publishes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use claims_etl::adbc_postgres::PostgresConnection;
use claims_etl::config::{Settings, Webhook, WebhookStyle};
use claims_etl::error::Error;
use claims_etl::event::Cancellation;
use claims_etl::refresh::{self, PublishedRun, TargetResult};
use claims_etl::secret::source::SecretSource;
use claims_etl::totals::{ControlTotals, Example};
use serde_json::{Value, json};

use crate::support::fixtures;
use crate::support::mock_http::{Heard, MockHttp, Reply};

/// The bytes 0 to 31.
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const RUN: &str = "0192f0c1-0000-7000-8000-000000000001";

/// Settings with one webhook, whose tries follow one another at once.
fn settings(url: &str, change: impl FnOnce(&mut Webhook)) -> Settings {
    let mut hook = Webhook {
        url: format!("{url}/hook/path-7f3a"),
        secrets: vec![SecretSource::from_variable("HOOK", SECRET)],
        retry_delays_secs: vec![0, 0],
        timeout_secs: 5,
        ..Webhook::default()
    };
    change(&mut hook);
    let mut settings = Settings::default();
    settings.refresh.dashboard.enabled = false;
    settings.refresh.provider_month.enabled = false;
    settings.refresh.webhook.insert("ops".into(), hook);
    settings
}

/// A published run whose account has identifiers where an account can have texts.
fn occasion() -> PublishedRun {
    let mut account = ControlTotals::default();
    (account.claims.read, account.claims.loaded, account.claims.inserted) = (5, 4, 4);
    account.claims.rejected = 1;
    account.providers.read = 2;
    let example = Example { source: "CANARY-source.csv".into(), record: 1 };
    account.reject_examples.insert("CANARY-reason".into(), vec![example]);
    account.reject_reasons.insert("CANARY-reason".into(), 1);
    account.flags.insert("CANARY-flag".into(), 1);
    PublishedRun { run_id: Some(RUN.into()), account: Some(account), ..PublishedRun::default() }
}

fn all(settings: &Settings, cancel: &Cancellation) -> Vec<TargetResult> {
    let no_server = || Err::<PostgresConnection, _>(Error::warehouse("no server here"));
    refresh::refresh_all(&refresh::targets(settings), &occasion(), &no_server, cancel)
}

/// How the one webhook of these settings ended.
fn notify(settings: &Settings) -> TargetResult {
    let results = all(settings, &Cancellation::default());
    let result = results.into_iter().find(|one| one.target == "webhook.ops").expect("a webhook");
    for secret in ["path-7f3a", "127.0.0.1", "AAECAw", "c2hvcnQ", "<html", "CANARY"] {
        assert!(!result.detail.contains(secret), "{}", result.detail);
    }
    result
}

/// A server that gives these answers one after the other, and the last one ever after.
fn script(replies: Vec<Reply>) -> MockHttp {
    let next = AtomicUsize::new(0);
    MockHttp::start(move |_| {
        let place = next.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1);
        replies[place].clone()
    })
}

/// The result of a notification, and what the scripted receiver has heard.
fn scripted(replies: Vec<Reply>) -> (TargetResult, Vec<Heard>) {
    let server = script(replies);
    let result = notify(&settings(server.address(), |_| ()));
    (result, server.heard())
}

/// All deliveries are of one event: one id, the same bytes, each with a signature that holds.
fn one_event(heard: &[Heard]) {
    let ids: BTreeSet<_> = heard.iter().map(|one| one.header("webhook-id")).collect();
    let bodies: BTreeSet<_> = heard.iter().map(Heard::text).collect();
    assert_eq!((ids.len(), bodies.len()), (1, 1), "{ids:?} {bodies:?}");
    for one in heard {
        assert!(one.is("POST", "/hook/path-7f3a"));
        assert_eq!(one.header("content-type"), Some("application/json"));
        assert!(signature(one, SECRET) == one.header("webhook-signature").expect("signed"));
        let stamp: i64 = one.header("webhook-timestamp").expect("a stamp").parse().expect("number");
        assert!((Utc::now().timestamp() - stamp).abs() < 60, "{stamp} is of this attempt");
    }
}

#[test]
fn a_delivery_is_signed_and_thin() {
    let server = script(vec![Reply::status(204)]);
    let mut settings = settings(server.address(), |hook| {
        hook.secrets.push(SecretSource::from_variable("OLD", OTHER));
    });
    // It fails, for there is no warehouse; and it is not required.
    settings.refresh.dashboard.enabled = true;
    let result = notify(&settings);
    assert_eq!((result.outcome.as_str(), result.attempts), ("succeeded", 1), "{}", result.detail);
    let heard = server.heard();
    assert_eq!(heard.len(), 1);
    let signed: Vec<&str> = heard[0].header("webhook-signature").expect("two").split(' ').collect();
    assert_eq!(signed, [signature(&heard[0], SECRET), signature(&heard[0], OTHER)]);
    let id = heard[0].header("webhook-id").expect("an id");
    assert_eq!(result.remote_id.as_deref(), Some(id));
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{id}");

    let mut body: Value = serde_json::from_slice(&heard[0].body).expect("JSON");
    let at = body["timestamp"].take();
    let at = DateTime::parse_from_rfc3339(at.as_str().expect("text")).expect("a time");
    assert!((Utc::now() - at.with_timezone(&Utc)).num_seconds().abs() < 60);
    // Nothing more than this: the account's texts stay where they are.
    let wanted = json!({
        "type": "claims_etl.run.completed",
        "timestamp": null,
        "data": {
            "run_id": RUN,
            "dag_id": "healthcare_claims_etl",
            "task": "load.refresh_bi",
            "outcome": "success",
            "row_counts": {
                "claims": {
                    "read": 5, "loaded": 4, "inserted": 4, "updated": 0, "unchanged": 0,
                    "rejected": 1, "duplicates": 0, "conflicts": 0
                },
                "providers": {
                    "read": 2, "loaded": 0, "rejected": 0, "duplicates": 0, "conflicts": 0,
                    "inferred": 0
                }
            },
            "bi": [
                { "target": "dashboard", "outcome": "failed" },
                { "target": "provider_month", "outcome": "skipped" }
            ]
        }
    });
    assert_eq!(body, wanted);
}

#[test]
fn a_required_target_that_failed_makes_a_failed_run() {
    let server = script(vec![Reply::status(200)]);
    let mut settings = settings(server.address(), |_| ());
    (settings.refresh.dashboard.enabled, settings.refresh.dashboard.required) = (true, true);
    assert_eq!(notify(&settings).outcome.as_str(), "succeeded");
    let failed = server.heard().pop().expect("a request");
    let body: Value = serde_json::from_slice(&failed.body).expect("JSON");
    assert_eq!(body["type"], "claims_etl.run.failed");
    assert_eq!(body["data"]["outcome"], "failed");
    // The success after it is another event; sent twice, it is the same one.
    settings.refresh.dashboard.required = false;
    notify(&settings);
    notify(&settings);
    let ids: Vec<String> = server
        .heard()
        .iter()
        .map(|one| one.header("webhook-id").expect("an id").to_owned())
        .collect();
    assert_eq!(ids.len(), 3);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[1], ids[2]);
}

#[test]
fn what_can_pass_is_sent_again_as_the_same_event() {
    for replies in [
        vec![Reply::status(500), Reply::status(503), Reply::status(202)],
        vec![Reply::status(408), Reply::status(425), Reply::status(200)],
        vec![Reply::cut(), Reply::cut(), Reply::status(200)],
        vec![
            Reply::with(502, "text/html", "<html>CANARY"),
            Reply::status(429),
            // The body of an answer that takes it does not count.
            Reply::with(200, "text/html", "<html>CANARY"),
        ],
    ] {
        let (result, heard) = scripted(replies);
        assert_eq!(result.outcome.as_str(), "succeeded", "{}", result.detail);
        assert_eq!((heard.len(), result.attempts), (3, 3));
        assert!(result.detail.ends_with("at try 3"), "{}", result.detail);
        one_event(&heard);
    }
}

#[test]
fn a_slow_answer_is_not_waited_for() {
    let server =
        script(vec![Reply::status(200).after(Duration::from_secs(20)), Reply::status(200)]);
    let began = Instant::now();
    let result = notify(&settings(server.address(), |hook| hook.timeout_secs = 1));
    assert_eq!((result.outcome.as_str(), result.attempts), ("succeeded", 2), "{}", result.detail);
    assert!(began.elapsed() < Duration::from_secs(15), "it waited for the answer");
    assert_eq!(server.heard().len(), 2);
    one_event(&server.heard());
}

#[test]
fn tries_come_to_an_end() {
    for (reply, wanted) in [
        (Reply::with(500, "text/html", "<html>CANARY"), "the receiver answered 500; 3 tries"),
        (Reply::cut(), "the connection ended before the answer; 3 tries"),
    ] {
        let (result, heard) = scripted(vec![reply]);
        assert_eq!((result.outcome.as_str(), result.detail.as_str()), ("failed", wanted));
        assert_eq!((heard.len(), result.attempts), (3, 3));
        one_event(&heard);
    }
    // Nobody listens.
    let address = "http://127.0.0.1:1";
    let result = notify(&settings(address, |_| ()));
    assert_eq!(result.detail, "no connection could be made; 3 tries");
    let once = notify(&settings(address, |hook| hook.retry_delays_secs.clear()));
    assert_eq!((once.outcome.as_str(), once.attempts), ("failed", 1));
}

#[test]
fn what_cannot_pass_is_sent_once() {
    let elsewhere = MockHttp::start(|_| Reply::status(200));
    let there = format!("{}/there", elsewhere.address());
    for (reply, outcome, wanted) in [
        (Reply::status(302).header("Location", &there), "failed", "redirects are not followed"),
        (Reply::status(307).header("Location", &there), "failed", "redirects are not followed"),
        (Reply::status(400), "failed", "answered 400"),
        (Reply::status(401), "failed", "the same secret"),
        (Reply::status(404), "failed", "is the address right"),
        (Reply::status(410), "disabled", "switched this webhook off"),
        (Reply::with(422, "text/html", "<html>CANARY"), "failed", "answered 422"),
    ] {
        let (result, heard) = scripted(vec![reply]);
        assert_eq!(result.outcome.as_str(), outcome, "{}", result.detail);
        assert!(result.detail.contains(wanted), "{}", result.detail);
        assert_eq!((heard.len(), result.attempts), (1, 1), "{}", result.detail);
        one_event(&heard);
    }
    assert_eq!(elsewhere.heard().len(), 0, "a redirect was followed");
}

#[test]
fn a_wish_to_be_left_alone_is_heard() {
    // A short one is waited for,
    let began = Instant::now();
    let busy = |wait: &str| Reply::status(429).header("Retry-After", wait);
    let (result, heard) = scripted(vec![busy("1"), Reply::status(200)]);
    assert_eq!((result.outcome.as_str(), heard.len()), ("succeeded", 2), "{}", result.detail);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    one_event(&heard);
    // one that outlasts the deadline ends it at once,
    let date = (Utc::now() + chrono::Duration::hours(6)).format("%a, %d %b %Y %H:%M:%S GMT");
    for reply in [busy("86400"), Reply::status(503).header("Retry-After", &date.to_string())] {
        let (result, heard) = scripted(vec![reply]);
        assert_eq!((result.outcome.as_str(), heard.len()), ("rate_limited", 1));
        assert!(result.detail.contains("; again from 20"), "{}", result.detail);
    }
    // and after the last try the receiver's wish is reported.
    let (result, heard) = scripted(vec![busy("0"), busy("0"), busy("7")]);
    assert_eq!((result.outcome.as_str(), heard.len()), ("rate_limited", 3));
}

#[test]
fn no_wait_outlasts_the_deadline_or_a_signal() {
    let server = script(vec![Reply::status(200).after(Duration::from_secs(30))]);
    let began = Instant::now();
    let result = notify(&settings(server.address(), |hook| hook.deadline_secs = Some(1)));
    assert_eq!((result.outcome.as_str(), result.attempts), ("timed_out", 1), "{}", result.detail);
    // No try is begun that could not be waited for.
    let busy = script(vec![Reply::status(500)]);
    let result = notify(&settings(busy.address(), |hook| {
        hook.deadline_secs = Some(20);
        hook.retry_delays_secs = vec![3600];
    }));
    assert_eq!(result.detail, "the receiver answered 500; 1 try, and no time for another");
    assert_eq!(busy.heard().len(), 1);
    // A signal ends the wait before the next try.
    let busy = script(vec![Reply::status(500)]);
    let (settings, cancel) = (
        settings(busy.address(), |hook| hook.retry_delays_secs = vec![600]),
        Cancellation::default(),
    );
    let results = thread::scope(|scope| {
        let running = scope.spawn(|| all(&settings, &cancel));
        while busy.heard().is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        cancel.cancel(15);
        running.join().expect("no panic")
    });
    let result = results.iter().find(|one| one.target == "webhook.ops").expect("a webhook");
    assert_eq!((result.outcome.as_str(), busy.heard().len()), ("cancelled", 1));
    assert!(began.elapsed() < Duration::from_secs(20), "it waited on");
}

#[test]
fn a_bad_secret_is_reported_before_anything_is_sent() {
    let server = script(vec![Reply::status(200)]);
    let bad = settings(server.address(), |hook| {
        hook.secrets = vec![SecretSource::from_variable("HOOK", "whsec_c2hvcnQ=")];
    });
    let result = notify(&bad);
    assert_eq!((result.outcome.as_str(), result.attempts), ("failed", 0));
    assert!(result.detail.contains("refresh.webhook.ops.secrets[0]"), "{}", result.detail);
    assert!(result.detail.contains("24 to 64 bytes"), "{}", result.detail);
    assert_eq!(server.heard().len(), 0);
}

#[test]
fn nothing_is_sent_before_a_publish_or_when_switched_off() {
    let server = script(vec![Reply::status(200)]);
    let settings_on = settings(server.address(), |_| ());
    let no_server = || Err::<PostgresConnection, _>(Error::warehouse("no server here"));
    let (targets, cancel) = (refresh::targets(&settings_on), Cancellation::default());
    let results = refresh::refresh_all(&targets, &PublishedRun::default(), &no_server, &cancel);
    assert!(results.iter().all(|one| one.outcome.as_str() == "skipped"), "{results:?}");
    let off = notify(&settings(server.address(), |hook| hook.enabled = false));
    assert_eq!(off.detail, "refresh.webhook.ops.enabled is false");
    assert_eq!(server.heard().len(), 0);
}

#[test]
fn other_styles_are_signed_as_their_receivers_expect() {
    let text = "a secret of some length";
    let heard = |style| {
        let server = script(vec![Reply::status(200)]);
        let settings = settings(server.address(), |hook| {
            hook.style = style;
            hook.secrets = vec![SecretSource::from_variable("HOOK", text)];
        });
        assert_eq!(notify(&settings).outcome.as_str(), "succeeded");
        server.heard().pop().expect("a request")
    };
    let tag_of = |content: &str| hex(&hmac_sha256(text.as_bytes(), content.as_bytes()));
    let github = heard(WebhookStyle::Github);
    let wanted = format!("sha256={}", tag_of(&github.text()));
    assert_eq!(github.header("x-hub-signature-256"), Some(wanted.as_str()));
    assert!(github.header("webhook-id").is_some(), "repeats can be recognised");
    assert!(github.header("webhook-signature").is_none());

    let stripe = heard(WebhookStyle::Stripe);
    let header = stripe.header("stripe-signature").expect("signed");
    let (stamp, tag) =
        header.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).expect("both");
    assert_eq!(tag, tag_of(&format!("{stamp}.{}", stripe.text())));

    let slack = heard(WebhookStyle::Slack);
    let stamp = slack.header("x-slack-request-timestamp").expect("a stamp");
    let wanted = format!("v0={}", tag_of(&format!("v0:{stamp}:{}", slack.text())));
    assert_eq!(slack.header("x-slack-signature"), Some(wanted.as_str()));
}

/// What a Standard Webhooks receiver computes from what it has heard.
fn signature(heard: &Heard, secret: &str) -> String {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a prefix")).expect("base64");
    let header = |name| heard.header(name).expect("a header").to_owned();
    let content = [
        format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes(),
        &heard.body,
    ]
    .concat();
    format!("v1,{}", STANDARD.encode(hmac_sha256(&key, &content)))
}

#[test]
fn the_receiver_of_these_tests_knows_the_published_vectors() {
    // FIPS 180-4's example and RFC 4231, case 2.
    let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hex(&sha256(b"abc")), wanted);
    let wanted = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(hex(&hmac_sha256(b"Jefe", b"what do ya want for nothing?")), wanted);

    let Some(folder) = fixtures::folder("bi") else { return };
    let vector: Value =
        serde_json::from_str(&fixtures::read(&folder, "standard_webhooks_kat.json")).expect("JSON");
    let text = |name: &str| vector[name].as_str().expect(name).to_owned();
    let digits = text("key_hex");
    let key: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hex"))
        .collect();
    let heard = Heard {
        method: "POST".into(),
        path: "/".into(),
        headers: vec![
            ("webhook-id".into(), text("webhook-id")),
            ("webhook-timestamp".into(), vector["webhook-timestamp"].to_string()),
        ],
        body: text("body").into_bytes(),
    };
    let secret = format!("whsec_{}", STANDARD.encode(key));
    assert_eq!(signature(&heard, &secret), text("webhook-signature"));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// RFC 2104 over [`sha256`].
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&sha256(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = sha256(&[&block.map(|byte| byte ^ 0x36)[..], message].concat());
    sha256(&[&block.map(|byte| byte ^ 0x5c)[..], &inner].concat())
}

/// FIPS 180-4, word by word: nothing of the library that signs.
fn sha256(message: &[u8]) -> [u8; 32] {
    let primes: Vec<u32> =
        (2_u32..312).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)).collect();
    // The first 32 bits of the fractional parts of the roots, by integers: no float is exact enough.
    let root = |prime: u32, power: u32| {
        let wanted = u128::from(prime) << (32 * power);
        let (mut low, mut high) = (0_u128, 1_u128 << 40);
        while high - low > 1 {
            let middle = u128::midpoint(low, high);
            if middle.pow(power) <= wanted { low = middle } else { high = middle }
        }
        u32::try_from(low & 0xffff_ffff).expect("32 bits")
    };
    let constants: Vec<u32> = primes.iter().take(64).map(|&prime| root(prime, 3)).collect();
    let mut state: Vec<u32> = primes.iter().take(8).map(|&prime| root(prime, 2)).collect();
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64), 0);
    let bits = (message.len() as u64 * 8).to_be_bytes();
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&bits);
    for chunk in padded.chunks(64) {
        let mut words: Vec<u32> = chunk
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().expect("four bytes")))
            .collect();
        for place in 16..64 {
            let (early, late) = (words[place - 15], words[place - 2]);
            let first = early.rotate_right(7) ^ early.rotate_right(18) ^ (early >> 3);
            let second = late.rotate_right(17) ^ late.rotate_right(19) ^ (late >> 10);
            let sum = words[place - 16].wrapping_add(first).wrapping_add(words[place - 7]);
            words.push(sum.wrapping_add(second));
        }
        let mut turn = state.clone();
        for place in 0..64 {
            let (a, e) = (turn[0], turn[4]);
            let choice = (e & turn[5]) ^ (!e & turn[6]);
            let mixed = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let one = [mixed, choice, constants[place], words[place]]
                .iter()
                .fold(turn[7], |sum, part| sum.wrapping_add(*part));
            let majority = (a & turn[1]) ^ (a & turn[2]) ^ (turn[1] & turn[2]);
            let spread = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            turn.rotate_right(1);
            turn[4] = turn[4].wrapping_add(one);
            turn[0] = one.wrapping_add(spread.wrapping_add(majority));
        }
        for (kept, new) in state.iter_mut().zip(turn) {
            *kept = kept.wrapping_add(new);
        }
    }
    let bytes: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.try_into().expect("32 bytes")
}
