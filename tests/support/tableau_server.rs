//! A Tableau server as the REST interface's reference and Tableau's own client describe it, with a
//! script of faults. It keeps to the protocol: a second sign-in with the token ends the first session,
//! whoever comes without a session gets 401002, an object that is being refreshed is not queued twice.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::mock_http::{Heard, MockHttp, Reply};

pub(crate) const TOKEN_NAME: &str = "claims-etl";
pub(crate) const TOKEN: &str = "token-of-the-tests";
pub(crate) const SITE: &str = "analytics";
const SITE_ID: &str = "6b7179ba-b82b-4f0f-91ed-812074ac5da6";
pub(crate) const DATASOURCE: &str = "9dbd2263-16b5-46e1-9c43-a76bb8ab65fb";
pub(crate) const WORKBOOK: &str = "3cc6cd06-89ce-4fdc-b935-5294135d6d42";
/// A task that refreshes [`WORKBOOK`].
pub(crate) const TASK: &str = "f84901ac-72ad-4f9b-a87e-7a3500402ad6";
/// A text that no report may hold.
pub(crate) const SECRET_ROW: &str = "line 7: patient 123-45-6789";

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It gets this answer and has no effect.
    Instead(Reply),
    /// It has its effect and gets this answer.
    Then(Reply),
    /// It has its effect; the answer is late.
    Slow(Duration),
    /// The session has ended when it comes.
    SessionGone,
}

/// A Tableau server.
pub(crate) struct TableauServer {
    http: MockHttp,
    world: Arc<Mutex<World>>,
}

/// What the server knows.
pub(crate) struct World {
    /// The version that it offers.
    pub(crate) version: &'static str,
    /// How long a job takes.
    pub(crate) jobs_take: Duration,
    /// How a job ends.
    pub(crate) finish_code: u8,
    /// Whether the token's user may list jobs.
    pub(crate) lists_jobs: bool,
    /// Whether jobs can be shown.
    pub(crate) shows_jobs: bool,
    /// By how many seconds its clock is ahead, also in `Date` headers.
    pub(crate) ahead: i64,
    /// The site's users have a session of this token.
    pub(crate) session: Option<String>,
    pub(crate) sign_ins: usize,
    pub(crate) sign_outs: usize,
    pub(crate) jobs: Vec<Job>,
    faults: Vec<(&'static str, &'static str, Fault)>,
}

/// A job.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    id: String,
    object: &'static str,
    /// When it was created and when it will have ended, by a clock that is right.
    created: SystemTime,
    ends: SystemTime,
    finish_code: u8,
    pub(crate) cancelled: bool,
}

impl TableauServer {
    /// A server on a free port, whose jobs end at once.
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0", Duration::ZERO)
    }

    /// A server on this address, whose jobs take so long.
    pub(crate) fn start_at(address: &str, jobs_take: Duration) -> Self {
        let world = Arc::new(Mutex::new(World {
            version: "3.27",
            jobs_take,
            finish_code: 0,
            lists_jobs: true,
            shows_jobs: true,
            ahead: 0,
            session: None,
            sign_ins: 0,
            sign_outs: 0,
            jobs: Vec::new(),
            faults: Vec::new(),
        }));
        let shared = Arc::clone(&world);
        let http = MockHttp::start_at(address, move |heard| {
            let mut world = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let reply = world.answer(heard);
            let date = http_date(world.now());
            reply.header("Date", &date)
        });
        Self { http, world }
    }

    /// `http://127.0.0.1:…`
    pub(crate) fn address(&self) -> &str {
        self.http.address()
    }

    /// What it knows, to be looked at and changed.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request of this method on a path that holds `part` goes wrong; several of the same
    /// kind go wrong one after the other.
    pub(crate) fn fault(&self, method: &'static str, part: &'static str, fault: Fault) {
        self.world().faults.push((method, part, fault));
    }

    /// Somebody else refreshes an object; the refresh began `ago`.
    pub(crate) fn refreshed_elsewhere(&self, object: &'static str, ago: Duration, takes: Duration) {
        let created = SystemTime::now() - ago;
        self.world().add(object, created, created + takes);
    }

    /// All requests so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.http.heard()
    }

    /// How many requests were `method` on a path that holds `part`.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.http.count(method, part)
    }

    /// How many requests were for a refresh.
    pub(crate) fn starts(&self) -> usize {
        self.count("POST", "/refresh") + self.count("POST", "/runNow")
    }
}

impl World {
    /// The server's clock.
    fn now(&self) -> SystemTime {
        self.by_its_clock(SystemTime::now())
    }

    fn by_its_clock(&self, time: SystemTime) -> SystemTime {
        let ahead = Duration::from_secs(self.ahead.unsigned_abs());
        if self.ahead < 0 { time - ahead } else { time + ahead }
    }

    fn answer(&mut self, heard: &Heard) -> Reply {
        let due = |(method, part, _): &(&str, &str, Fault)| heard.is(method, part);
        let Some(place) = self.faults.iter().position(due) else { return self.act(heard) };
        match self.faults.remove(place).2 {
            Fault::Instead(reply) => reply,
            Fault::Then(reply) => {
                let _ = self.act(heard);
                reply
            }
            Fault::Slow(delay) => self.act(heard).after(delay),
            Fault::SessionGone => {
                self.session = None;
                self.act(heard)
            }
        }
    }

    fn act(&mut self, heard: &Heard) -> Reply {
        let (path, query) = heard.path.split_once('?').unwrap_or((heard.path.as_str(), ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let Some((&"api", [version, rest @ ..])) = parts.split_first() else {
            return error(404, "404000");
        };
        if (heard.method.as_str(), rest) == ("GET", &["serverinfo"]) {
            let version = self.version;
            return document(&format!(
                "<serverInfo><productVersion build='1'>x</productVersion>\
                 <restApiVersion>{version}</restApiVersion></serverInfo>"
            ));
        }
        if *version != self.version {
            return error(404, "404001");
        }
        if (heard.method.as_str(), rest) == ("POST", &["auth", "signin"]) {
            return self.sign_in(heard);
        }
        if self.session.is_none() || heard.header("x-tableau-auth") != self.session.as_deref() {
            return error(401, "401002");
        }
        if (heard.method.as_str(), rest) == ("POST", &["auth", "signout"]) {
            self.session = None;
            self.sign_outs += 1;
            return Reply::status(204);
        }
        let ["sites", SITE_ID, rest @ ..] = rest else { return error(404, "404000") };
        match (heard.method.as_str(), rest) {
            ("GET", ["datasources", DATASOURCE]) => self.object("datasource", DATASOURCE),
            ("GET", ["workbooks", WORKBOOK]) => self.object("workbook", WORKBOOK),
            ("GET", ["tasks", "extractRefreshes", TASK]) => document(&format!(
                "<task><extractRefresh id='{TASK}' type='RefreshExtractTask'>\
                 <workbook id='{WORKBOOK}'/></extractRefresh></task>"
            )),
            ("POST", ["datasources", DATASOURCE, "refresh"]) => self.begin(heard, DATASOURCE),
            (
                "POST",
                ["workbooks", WORKBOOK, "refresh"] | ["tasks", "extractRefreshes", TASK, "runNow"],
            ) => self.begin(heard, WORKBOOK),
            ("GET", ["jobs"]) => self.list(query),
            ("GET", ["jobs", id]) => self.show(id),
            ("PUT", ["jobs", id]) => self.cancel(id),
            _ => error(404, "404000"),
        }
    }

    fn sign_in(&mut self, heard: &Heard) -> Reply {
        let expected = format!(
            "<tsRequest><credentials personalAccessTokenName=\"{TOKEN_NAME}\" \
             personalAccessTokenSecret=\"{TOKEN}\"><site contentUrl=\"{SITE}\"/></credentials>\
             </tsRequest>"
        );
        if heard.text() != expected || heard.header("content-type") != Some("application/xml") {
            return error(401, "401001");
        }
        self.sign_ins += 1;
        let session = format!("session-{}", self.sign_ins);
        let reply = document(&format!(
            "<credentials token='{session}' estimatedTimeToExpiration='177:05:38'>\
             <site id='{SITE_ID}' contentUrl='{SITE}'/><user id='1a96d216'/></credentials>"
        ));
        self.session = Some(session);
        reply
    }

    fn object(&self, kind: &str, id: &str) -> Reply {
        let now = SystemTime::now();
        let ended = self.jobs.iter().filter(|job| job.object == id && job.ends <= now);
        let updated = ended.map(|job| job.ends).max().unwrap_or(UNIX_EPOCH);
        let updated = timestamp(self.by_its_clock(updated));
        document(&format!("<{kind} id='{id}' name='{SECRET_ROW}' updatedAt='{updated}'/>"))
    }

    fn begin(&mut self, heard: &Heard, object: &'static str) -> Reply {
        if !heard.text().starts_with("<tsRequest>") {
            return error(400, "400000");
        }
        let now = SystemTime::now();
        if self.jobs.iter().any(|job| job.object == object && job.ends > now && !job.cancelled) {
            return error(409, "409093");
        }
        let id = self.add(object, now, now + self.jobs_take);
        let kind = if object == DATASOURCE { "datasource" } else { "workbook" };
        let created = timestamp(self.now());
        // As the run of a task is answered: nothing but the id.
        if heard.path.ends_with("/runNow") {
            return document(&format!(
                "<job id='{id}' mode='Asynchronous' type='RefreshExtract'/>"
            ));
        }
        document(&format!(
            "<job id='{id}' mode='Asynchronous' type='RefreshExtract' createdAt='{created}'>\
             <extractRefreshJob><{kind} id='{object}' name='n'/></extractRefreshJob></job>"
        ))
    }

    fn add(&mut self, object: &'static str, created: SystemTime, ends: SystemTime) -> String {
        let id = format!("{:08x}-aa0c-41c4-8662-a76d89ed7336", self.jobs.len() + 1);
        let finish_code = self.finish_code;
        self.jobs.push(Job {
            id: id.clone(),
            object,
            created,
            ends,
            finish_code,
            cancelled: false,
        });
        id
    }

    fn list(&self, query: &str) -> Reply {
        if !self.lists_jobs {
            return error(403, "403004");
        }
        let filters = query.split('&').find_map(|part| part.strip_prefix("filter="));
        let mut listed = format!(
            "<pagination pageNumber='1' pageSize='1000' totalAvailable='{}'/><backgroundJobs>\
             <backgroundJob id='other-1' status='InProgress' jobType='single_subscription_notify'/>\
             <backgroundJob id='other-2' status='Pending' jobType='refresh_extracts'/>",
            self.jobs.len()
        );
        for job in &self.jobs {
            let created = timestamp(self.by_its_clock(job.created));
            let ended = job.cancelled || job.ends <= SystemTime::now();
            let status = if ended { "Success" } else { "InProgress" };
            let wanted = filters.unwrap_or_default().split(',').all(|filter| {
                match filter.splitn(3, ':').collect::<Vec<_>>()[..] {
                    ["createdAt", "gt", than] => created.as_str() > than,
                    ["status", "eq", wanted] => status == wanted,
                    _ => true,
                }
            });
            if wanted {
                let end = if ended { format!("endedAt='{created}'") } else { String::new() };
                let _ = write!(
                    listed,
                    "<backgroundJob id='{}' status='{status}' createdAt='{created}' {end} \
                     jobType='refresh_extracts'/>",
                    job.id
                );
            }
        }
        document(&format!("{listed}</backgroundJobs>"))
    }

    fn show(&self, id: &str) -> Reply {
        let Some(job) = self.jobs.iter().find(|job| job.id == id).filter(|_| self.shows_jobs)
        else {
            return error(400, "400031");
        };
        let kind = if job.object == DATASOURCE { "datasource" } else { "workbook" };
        let (object, created) = (job.object, timestamp(self.by_its_clock(job.created)));
        let end = match (job.cancelled, job.ends <= SystemTime::now()) {
            (true, _) => format!("completedAt='{created}' finishCode='2'"),
            (false, true) => {
                let ends = timestamp(self.by_its_clock(job.ends));
                format!("completedAt='{ends}' finishCode='{}'", job.finish_code)
            }
            (false, false) => String::new(),
        };
        document(&format!(
            "<job id='{id}' mode='x' type='y' progress='100' createdAt='{created}' {end}>\
             <extractRefreshJob><notes>{SECRET_ROW}</notes><{kind} id='{object}' name='n'/>\
             </extractRefreshJob></job>"
        ))
    }

    fn cancel(&mut self, id: &str) -> Reply {
        match self.jobs.iter_mut().find(|job| job.id == id) {
            Some(job) => {
                job.cancelled = true;
                document("")
            }
            None => error(400, "400031"),
        }
    }
}

/// A document of Tableau's.
pub(crate) fn document(inside: &str) -> Reply {
    Reply::with(
        200,
        "application/xml;charset=utf-8",
        format!(
            "<?xml version='1.0' encoding='UTF-8'?><tsResponse xmlns='http://tableau.com/api'>\
             {inside}</tsResponse>"
        ),
    )
}

/// An error of Tableau's; its texts are in a language that nobody counts on.
pub(crate) fn error(status: u16, code: &str) -> Reply {
    error_saying(status, code, SECRET_ROW)
}

/// An error with this detail.
pub(crate) fn error_saying(status: u16, code: &str, detail: &str) -> Reply {
    Reply::with(
        status,
        "application/xml;charset=utf-8",
        format!(
            "<tsResponse xmlns='http://tableau.com/api'><error code='{code}'>\
             <summary>Ressourcenkonflikt</summary><detail>{detail}</detail></error></tsResponse>"
        ),
    )
}

/// A page of somebody before the server.
pub(crate) fn page() -> Reply {
    Reply::with(200, "text/html", "<!DOCTYPE html><html><body><br>Sign in</body></html>")
}

/// A time as Tableau writes it: `2020-03-05T22:05:32Z`.
fn timestamp(time: SystemTime) -> String {
    let ([year, month, day], [hour, minute, second], _) = civil(time);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A time as HTTP writes it: `Thu, 05 Mar 2020 22:05:32 GMT`.
fn http_date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let ([year, month, day], [hour, minute, second], days) = civil(time);
    let weekday = DAYS[usize::try_from(days % 7).expect("small")];
    let month = MONTHS[usize::try_from(month - 1).expect("small")];
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Date, time of day, and days since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(time: SystemTime) -> ([u64; 3], [u64; 3], u64) {
    let seconds = time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    ([year, month, day], [second / 3600, second / 60 % 60, second % 60], days)
}
