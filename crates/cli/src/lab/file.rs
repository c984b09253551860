//! The lab file: TOML to plain values, every mistake one line that names its place and the remedy.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, de};
use sockeye::Subnet;
use sockeye_link::NetemConfig;

use crate::error::CliError;
use values::{Table, table, worded};

mod values;

/// How long a program may take unless it says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(5);

/// A whole lab.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabFile {
    #[serde(default, deserialize_with = "table")]
    pub(crate) network: NetworkSection,
    /// The hosts, in the order of the file.
    #[serde(default, deserialize_with = "hosts")]
    pub(crate) host: IndexMap<String, HostSection>,
    #[serde(default, rename = "program", deserialize_with = "programs")]
    pub(crate) programs: Vec<ProgramSection>,
    /// What stands in front of what is said of the file: its name.
    #[serde(skip)]
    path: PathBuf,
    /// The lines on which the hosts' sections start.
    #[serde(skip)]
    lines: BTreeMap<String, usize>,
}

/// `[network]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkSection {
    /// The IPv4 subnet, as `10.77.0.0/16`.
    #[serde(default, deserialize_with = "subnet")]
    pub(crate) subnet: Option<Subnet>,
    #[serde(default, deserialize_with = "seed")]
    pub(crate) seed: Option<u64>,
    #[serde(default)]
    pub(crate) pcap: Option<String>,
}

/// `[host.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostSection {
    #[serde(default)]
    pub(crate) ip: Option<IpAddr>,
    #[serde(default, deserialize_with = "link_conditions")]
    pub(crate) link: Option<NetemConfig>,
    /// How often a SYN is sent again before the connection times out.
    #[serde(default, deserialize_with = "syn_retries")]
    pub(crate) syn_retries: Option<u8>,
}

/// `[[program]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProgramSection {
    pub(crate) host: String,
    pub(crate) run: Words,
    #[serde(default)]
    pub(crate) after: OneOrMany<After>,
    #[serde(default, deserialize_with = "environment")]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) cwd: Option<PathBuf>,
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub(crate) timeout: Duration,
    #[serde(default, deserialize_with = "expect")]
    pub(crate) expect: Option<Expect>,
}

/// `expect`: what makes a program a success.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// The exit status; 128 + the signal's number for a death by signal. 0 unless given.
    #[serde(default, deserialize_with = "exit_status")]
    pub(crate) exit: i32,
    #[serde(default, deserialize_with = "regex")]
    pub(crate) stdout: Option<Regex>,
    /// File → SHA-256 in hexadecimal, looked at when the program has ended.
    #[serde(default, deserialize_with = "digests")]
    pub(crate) sha256: BTreeMap<PathBuf, String>,
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Words(pub(crate) Vec<String>);

/// What has to happen before a program starts.
#[derive(Debug, Clone)]
pub(crate) enum After {
    /// The host listens on (or has bound, for UDP) the port.
    Listens { host: String, port: u16 },
    /// A program of the host has printed a line that matches.
    Printed { host: String, line: Regex },
}

/// One value or an array of them.
#[derive(Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        OneOrMany(Vec::new())
    }
}

impl LabFile {
    /// Reads and checks the file at `path`; `{scratch}` in it stands for `scratch`.
    pub(crate) fn read(path: &Path, scratch: &Path) -> Result<LabFile, CliError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| CliError::usage(format!("can't read lab file {}: {error}", path.display())))?;
        let text = text.replace("{scratch}", &scratch.display().to_string());
        let file =
            Self::parse(&text).map_err(|message| CliError::usage(format!("{}{message}", path.display())))?;
        Ok(LabFile { path: path.to_owned(), ..file })
    }

    /// Parses and checks; the error starts with `:LINE: ` or `: `.
    fn parse(text: &str) -> Result<LabFile, String> {
        let line_of = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let file: LabFile = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(span.start));
            format!(":{line}: {}", error.message().lines().collect::<Vec<_>>().join("; "))
        })?;
        file.check().map_err(|message| format!(": {message}"))?;
        // Read as a lab, it can be read as this.
        let places: Places = toml::from_str(text).map_err(|error| format!(": {}", error.message()))?;
        let lines = places.host.into_iter().map(|(name, place)| (name, line_of(place.span().start)));
        Ok(LabFile { lines: lines.collect(), ..file })
    }

    /// What is wrong with a host, or with the network as a whole, with its place in the file.
    pub(crate) fn mistake(&self, host: Option<&str>, message: &str) -> CliError {
        let line =
            host.and_then(|host| self.lines.get(host)).map_or(String::new(), |line| format!(":{line}"));
        CliError::usage(format!("{}{line}: {message}", self.path.display()))
    }

    fn check(&self) -> Result<(), String> {
        if self.host.is_empty() {
            return Err("no host: add a section such as [host.web]".to_string());
        }
        if self.programs.is_empty() {
            return Err("no program: add a section [[program]] with `host` and `run`".to_string());
        }
        for program in &self.programs {
            self.check_host(&program.host, "`host` of a program")?;
            for after in &program.after.0 {
                let (After::Listens { host, .. } | After::Printed { host, .. }) = after;
                self.check_host(host, "`after`")?;
            }
        }
        Ok(())
    }

    fn check_host(&self, name: &str, place: &str) -> Result<(), String> {
        if self.host.contains_key(name) {
            return Ok(());
        }
        let known = self.host.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        Err(format!("{place} names {name:?}, which is no host of this lab; the hosts are: {known}"))
    }
}

/// Where the hosts stand in a lab file.
#[derive(Deserialize)]
struct Places {
    #[serde(default)]
    host: IndexMap<String, toml::Spanned<de::IgnoredAny>>,
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            After::Listens { host, port } => write!(f, "{host} to listen on port {port}"),
            After::Printed { host, line } => write!(f, "{host} to print a line matching {line}"),
        }
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Words, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a command line: a string or an array of strings")]
        enum Raw {
            Line(String),
            Words(Vec<String>),
        }
        let words = match Raw::deserialize(deserializer)? {
            Raw::Line(line) => shlex::split(&line)
                .ok_or_else(|| de::Error::custom(format!("{line:?} has a quote that is not closed")))?,
            Raw::Words(words) => words,
        };
        if words.is_empty() {
            return Err(de::Error::custom("`run` is empty: name the program to run"));
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err(de::Error::custom("`run` holds a NUL character, which no argument can carry"));
        }
        Ok(Words(words))
    }
}

impl<'de> Deserialize<'de> for OneOrMany<After> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected \"HOST:PORT\" or { host = …, output = … }, or an array of them"
        )]
        enum Raw {
            One(RawAfter),
            Many(Vec<RawAfter>),
        }
        let raw = match Raw::deserialize(deserializer)? {
            Raw::One(one) => vec![one],
            Raw::Many(many) => many,
        };
        raw.into_iter()
            .map(RawAfter::check)
            .collect::<Result<_, _>>()
            .map(OneOrMany)
            .map_err(de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawAfter {
    Port(String),
    Output(Table<RawOutput>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutput {
    host: String,
    output: String,
}

impl RawAfter {
    fn check(self) -> Result<After, String> {
        match self {
            RawAfter::Port(text) => {
                let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
                let (host, port) =
                    parts.ok_or_else(|| format!("`after` is {text:?}; write it as \"HOST:PORT\""))?;
                Ok(After::Listens { host: host.to_string(), port })
            }
            RawAfter::Output(Table(RawOutput { host, output })) => {
                Ok(After::Printed { host, line: compile(&output)? })
            }
        }
    }
}

fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IndexMap<String, HostSection>, D::Error> {
    let tables = IndexMap::<String, Table<HostSection>>::deserialize(deserializer)?;
    Ok(tables.into_iter().map(|(name, Table(section))| (name, section)).collect())
}

fn programs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ProgramSection>, D::Error> {
    let tables = Vec::<Table<ProgramSection>>::deserialize(deserializer)?;
    Ok(tables.into_iter().map(|Table(section)| section).collect())
}

fn expect<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Expect>, D::Error> {
    table(deserializer).map(Some)
}

fn subnet<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Subnet>, D::Error> {
    let text: String = worded(deserializer, "`subnet`", "a string such as \"10.77.0.0/16\"")?;
    text.parse().map(Some).map_err(de::Error::custom)
}

fn seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    worded(deserializer, "`seed`", "a whole number from 0 to 9223372036854775807").map(Some)
}

fn syn_retries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    worded(deserializer, "`syn_retries`", "a whole number from 0 to 255").map(Some)
}

fn environment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    worded(deserializer, "`env`", "a table of strings, as in { A = \"1\" }")
}

fn exit_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    worded::<u8, _>(deserializer, "`exit`", "a whole number from 0 to 255").map(i32::from)
}

fn digests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<PathBuf, String>, D::Error> {
    worded(deserializer, "`sha256`", "a table of files and their SHA-256, as in { \"out\" = \"9f86d0…\" }")
}

fn default_timeout() -> Duration {
    DEFAULT_TIMEOUT
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a time such as \"30s\" or a number of seconds")]
    enum Raw {
        Seconds(f64),
        Text(String),
    }
    match Raw::deserialize(deserializer)? {
        Raw::Seconds(seconds) => Duration::try_from_secs_f64(seconds).map_err(de::Error::custom),
        Raw::Text(text) => humantime::parse_duration(&text)
            .map_err(|error| de::Error::custom(format!("{text:?} is no time such as \"30s\": {error}"))),
    }
}

fn link_conditions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NetemConfig>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

fn regex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    compile(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

/// A regular expression in which ^ and $ are the ends of lines.
fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).multi_line(true).build().map_err(|error| {
        let why = error.to_string();
        format!("{pattern:?} is no regular expression: {}", why.lines().last().unwrap_or_default().trim())
    })
}

#[cfg(test)]
mod tests;
