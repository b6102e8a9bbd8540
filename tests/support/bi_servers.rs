//! A Power BI and a Tableau to try the program on: the mocks of the tests, as a program.
//!
//! `bi_servers FOLDER` starts both on free ports, writes `claims-etl.toml` and the two secrets into
//! the folder, says `ready`, and ends when its standard input does, or after ten minutes. Then it
//! prints what the servers have heard and when, with the moment of the commit from `run.json` in the
//! folder (`claims-etl runs RUN`) where that is there. `just demo-refresh` does all of it.

// Each test uses a part of them, and this program another one.
#[allow(dead_code, reason = "written for the tests")]
#[path = "mock_http.rs"]
mod mock_http;
#[allow(dead_code, reason = "written for the tests")]
#[path = "power_bi_server.rs"]
mod power_bi_server;
#[allow(dead_code, reason = "written for the tests")]
#[path = "tableau_server.rs"]
mod tableau_server;

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use mock_http::Heard;
use power_bi_server::PowerBiServer;
use tableau_server::TableauServer;

/// How long a refresh takes.
const TAKES: Duration = Duration::from_secs(3);
/// Whoever forgets it is rid of it after this time.
const LONGEST: Duration = Duration::from_mins(10);
/// How exactly the time line knows when something was heard.
const TICK: Duration = Duration::from_millis(2);

/// The model that Power BI refreshes.
const MODEL: &str = "cfafbeb1-8037-4d0c-896e-a46fb27ff229";

/// Whether nobody needs the servers any more.
static OVER: AtomicBool = AtomicBool::new(false);

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("which folder?")?.into();
    let power_bi = PowerBiServer::start_at("127.0.0.1:0", TAKES);
    let tableau = TableauServer::start_at("127.0.0.1:0", TAKES);
    private(&folder.join("power_bi.secret"), power_bi_server::SECRET)?;
    private(&folder.join("tableau.token"), tableau_server::TOKEN)?;
    std::fs::write(folder.join("claims-etl.toml"), settings(&folder, &power_bi, &tableau))?;
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    out.flush()?;

    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        OVER.store(true, Ordering::SeqCst);
    });
    let (began, mut times) = (Instant::now(), [Vec::new(), Vec::new()]);
    while !OVER.load(Ordering::SeqCst) && began.elapsed() < LONGEST {
        let heard = [power_bi.http().heard().len(), tableau.heard().len()];
        for (times, count) in times.iter_mut().zip(heard) {
            times.resize(count, Utc::now());
        }
        thread::sleep(TICK);
    }
    let mut line: Vec<(DateTime<Utc>, String)> = Vec::new();
    line.extend(
        committed(&folder).map(|at| (at, "the run publishes (its row in the ledger)".to_owned())),
    );
    line.extend(events("Power BI", &power_bi.http().heard(), &times[0]));
    line.extend(events("Tableau", &tableau.heard(), &times[1]));
    // Stable: what was heard within one tick stays in its order.
    line.sort_by_key(|(at, _)| *at);
    for (at, what) in line {
        writeln!(out, "{}  {what}", at.to_rfc3339_opts(SecondsFormat::Millis, true))?;
    }
    Ok(())
}

/// The lines about a server's requests: all that start or end something, and of the
/// questions only the last, which saw the end.
fn events(server: &str, heard: &[Heard], times: &[DateTime<Utc>]) -> Vec<(DateTime<Utc>, String)> {
    let mut line = Vec::new();
    let starts = |one: &Heard| {
        one.method == "POST" && (one.path.ends_with("/refreshes") || one.path.ends_with("/refresh"))
    };
    let asks = |one: &Heard| {
        one.method == "GET" && (one.path.contains("/refreshes/") || one.path.contains("/jobs/"))
    };
    for (one, at) in heard.iter().zip(times) {
        let what = match one.path.rsplit('/').next().unwrap_or_default() {
            _ if starts(one) => "receives a refresh request",
            "token" | "signin" => "signs the program in",
            "signout" => "signs it out",
            _ => continue,
        };
        line.push((*at, format!("{server} {what} ({} {})", one.method, one.path)));
        if starts(one) {
            let ends = *at + TAKES;
            line.push((ends, format!("{server} has done the requested refresh")));
        }
    }
    let questions: Vec<_> = heard.iter().zip(times).filter(|(one, _)| asks(one)).collect();
    if let Some((_, at)) = questions.last() {
        let count = questions.len();
        line.push((**at, format!("{server} is polled for the last time, of {count}")));
    }
    line
}

/// When the run has published.
fn committed(folder: &Path) -> Option<DateTime<Utc>> {
    let text = std::fs::read_to_string(folder.join("run.json")).ok()?;
    let run: serde_json::Value = serde_json::from_str(&text).ok()?;
    let at = run.get("published_at")?.as_str()?;
    DateTime::parse_from_rfc3339(at).ok().map(|at| at.with_timezone(&Utc))
}

fn settings(folder: &Path, power_bi: &PowerBiServer, tableau: &TableauServer) -> String {
    let (secret, token) = (folder.join("power_bi.secret"), folder.join("tableau.token"));
    let (secret, token) = (secret.display(), token.display());
    let (microsoft, pod) = (power_bi.address(), tableau.address());
    let (tenant, client) = (power_bi_server::TENANT, power_bi_server::CLIENT);
    let workspace = power_bi_server::WORKSPACE;
    let (name, site) = (tableau_server::TOKEN_NAME, tableau_server::SITE);
    let datasource = tableau_server::DATASOURCE;
    format!(
        "[refresh.power_bi]
tenant = \"{tenant}\"
client_id = \"{client}\"
client_secret = {{ file = \"{secret}\" }}
login_url = \"{microsoft}\"
api_url = \"{microsoft}\"
[refresh.power_bi.targets.claims]
workspace = \"{workspace}\"
dataset = \"{MODEL}\"
required = true

[refresh.tableau]
server = \"{pod}\"
site = \"{site}\"
token_name = \"{name}\"
token = {{ file = \"{token}\" }}
[refresh.tableau.targets.claims]
datasource = \"{datasource}\"
required = true
"
    )
}

/// Writes a file that only its owner can read.
fn private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
